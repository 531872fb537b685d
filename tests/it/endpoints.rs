//! Endpoints through the program: poems over everything that is no plain port, with peers that are not byron.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::peers::{run, tool};
use crate::support::{
    FOREVER, Output, Process, assert_same, byron, connect, eventually, get, poem, poem_path,
    server, server_of,
};

/// Certificates of one test, in files.
struct Certificates(tempfile::TempDir);

impl Certificates {
    /// `ca.pem` has signed `server.pem`, for localhost, and `client.pem`; `other.pem` signs itself.
    fn new() -> Certificates {
        let certificates = Certificates(tempfile::tempdir().unwrap());
        let key = KeyPair::generate().unwrap();
        let mut params = named("authority", Vec::new());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).unwrap();
        certificates.write("ca", &ca.pem());
        let authority = Issuer::new(params, key);
        for (name, host) in [("server", "localhost"), ("client", "client.example")] {
            let key = KeyPair::generate().unwrap();
            let params = named(name, vec![host.to_owned()]);
            let certificate = params.signed_by(&key, &authority).unwrap();
            certificates.write(name, &(certificate.pem() + &key.serialize_pem()));
        }
        let key = KeyPair::generate().unwrap();
        let mut params = named("other", vec!["localhost".to_owned()]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let other = params.self_signed(&key).unwrap();
        certificates.write("other", &(other.pem() + &key.serialize_pem()));
        certificates
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(format!("{name}.pem")), text).unwrap();
    }

    fn path(&self, name: &str) -> String {
        let path = self.0.path().join(format!("{name}.pem"));
        path.to_str().unwrap().to_owned()
    }

    /// A server at a free port, whose endpoint has more keys.
    fn endpoint(&self, more: &str) -> String {
        format!("tls:0:cert={}{more}", self.path("server"))
    }
}

fn named(name: &str, hosts: Vec<String>) -> CertificateParams {
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn path_of(directory: &tempfile::TempDir, name: &str) -> PathBuf {
    directory.path().join(name)
}

/// A server with one poem at an endpoint that is no port, once it has said where it is.
fn serve_at(endpoint: &str) -> Process {
    let mut command = byron();
    command
        .arg("serve")
        .arg(poem_path("ecstasy"))
        .args(["--listen", endpoint]);
    let server = Process::start(&mut command);
    server.stdout.wait_for_lines(1);
    server
}

#[test]
fn a_poem_comes_through_a_unix_socket_whose_file_goes_with_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let (socket, ports) = (path_of(&directory, "p.sock"), path_of(&directory, "ports"));
    let endpoint = format!("unix:{}", socket.display());
    let mut command = byron();
    command.arg("serve").arg(poem_path("ecstasy")).args([
        "--listen",
        &format!("{endpoint}:mode=600"),
        "--port-file",
        ports.to_str().unwrap(),
    ]);
    let server = Process::start(&mut command);
    let line = server.stdout.wait_for_lines(1).remove(0);
    let said = format!("Serving {} on {endpoint}.", poem_path("ecstasy").display());
    assert_eq!(line, said);
    server
        .stderr
        .wait_for(&format!("3003 bytes at {endpoint}, pid "));
    eventually("the port file is there", || ports.exists());
    assert_eq!(fs::read_to_string(&ports).unwrap(), format!("{endpoint}\n"));
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    get([&endpoint])
        .run()
        .code(0)
        .said(poem("ecstasy"))
        .quietly();
    let address = format!("UNIX-CONNECT:{}", socket.display());
    run(&mut tool("socat", &["-u", &address, "-"])).said(poem("ecstasy"));

    server.signal("TERM");
    server.finish().code(0);
    assert!(!socket.exists());
    get([&endpoint])
        .args(["--retry", "0"])
        .run()
        .code(3)
        .complained(&format!("byron: {endpoint}: no such socket, 1 attempt in "))
        .complained("[refused]\n");
}

#[test]
fn a_dead_servers_socket_is_taken_over_and_a_living_ones_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let endpoint = format!("unix:{}", path_of(&directory, "p.sock").display());
    let dead = serve_at(&endpoint);
    dead.signal("KILL");
    dead.finish();
    let _living = serve_at(&endpoint);
    get([&endpoint]).run().code(0).said(poem("ecstasy"));
    server("science")
        .args(["--listen", &endpoint])
        .run()
        .code(1)
        .complained(&format!(
            "byron: cannot listen on {endpoint}: another server does\n"
        ));
}

#[test]
fn a_name_that_is_no_file_serves_too() {
    let name = format!("byron-test-{}", std::process::id());
    let _server = serve_at(&format!("unix:@{name}"));
    get([format!("unix:@{name}")])
        .run()
        .code(0)
        .said(poem("ecstasy"));
    let address = format!("ABSTRACT-CONNECT:{name}");
    run(&mut tool("socat", &["-u", &address, "-"])).said(poem("ecstasy"));
}

#[test]
fn a_poem_comes_through_tls_if_the_right_authority_is_named() {
    let certificates = Certificates::new();
    let server = server("ecstasy")
        .args(["--listen", &certificates.endpoint("")])
        .start();
    server.wait_for("3003 bytes, encrypted at 127.0.0.1:");
    let port = server.port();
    get([format!("tls:{port}:ca={}", certificates.path("ca"))])
        .run()
        .code(0)
        .said(poem("ecstasy"))
        .quietly();
    get([format!("ssl:{port}:ca={}", certificates.path("ca"))])
        .run()
        .code(0)
        .said(poem("ecstasy"))
        .complained("byron: ssl: is the old name of tls:, and is read as such\n");

    let refused = |target: String, problem: &str| {
        let finished = get([target]).run().code(3).said("");
        finished
            .complained(problem)
            .complained(", 1 attempt in ")
            .complained(" [tls]\n");
    };
    let nobody =
        "TLS with localhost failed: its certificate is signed by nobody who is trusted here";
    refused(
        format!("tls:{port}:ca={}", certificates.path("other")),
        nobody,
    );
    // Without ca= it is the system's authorities that count.
    for (system, code) in [("ca", 0), ("other", 3)] {
        let mut command = byron();
        command
            .args(["get", &format!("tls:{port}")])
            .env("SSL_CERT_FILE", certificates.path(system));
        Process::start(&mut command).finish().code(code);
    }
    refused(
        format!("tls:127.0.0.1:{port}:ca={}", certificates.path("ca")),
        "TLS with 127.0.0.1 failed: its certificate is for another name",
    );
    get([format!(
        "tls:127.0.0.1:{port}:ca={}:name=localhost",
        certificates.path("ca")
    )])
    .run()
    .code(0)
    .said(poem("ecstasy"));
}

#[test]
fn mutual_tls_refuses_a_stranger() {
    let certificates = Certificates::new();
    let clients = format!(":ca={}", certificates.path("ca"));
    let server = server("ecstasy")
        .args(["--listen", &certificates.endpoint(&clients)])
        .start();
    server.wait_for("3003 bytes, encrypted, for clients with certificates at ");
    let target = format!("tls:{}:ca={}", server.port(), certificates.path("ca"));
    get([&target])
        .run()
        .code(3)
        .said("")
        .complained("it wants a certificate of ours")
        .complained("[tls]\n");
    get([format!("{target}:cert={}", certificates.path("other"))])
        .run()
        .code(3)
        .said("")
        .complained("it does not believe our certificate")
        .complained("[tls]\n");
    get([format!("{target}:cert={}", certificates.path("client"))])
        .run()
        .code(0)
        .said(poem("ecstasy"));
    server
        .stop()
        .code(0)
        .complained("served 1 poem, 2 readers refused, 3003 bytes\n");
}

#[test]
fn a_file_that_is_no_certificate_is_named_and_nothing_is_served_or_fetched() {
    let certificates = Certificates::new();
    let missing = certificates.path("missing");
    server("ecstasy")
        .args(["--listen", &format!("tls:0:cert={missing}")])
        .run()
        .code(1)
        .said("")
        .complained(&format!("byron: cannot read {missing}: "));
    get([format!("tls:1:ca={missing}")])
        .run()
        .code(1)
        .said("")
        .complained(&format!("byron: cannot read {missing}: "));
}

#[test]
fn openssl_reads_a_poem() {
    let certificates = Certificates::new();
    let server = server("ecstasy")
        .args(["--listen", &certificates.endpoint("")])
        .start();
    let address = format!("127.0.0.1:{}", server.port());
    let ca = certificates.path("ca");
    run(&mut tool(
        "openssl",
        &[
            "s_client",
            "-quiet",
            "-verify_quiet",
            "-verify_return_error",
            "-CAfile",
            &ca,
            "-connect",
            &address,
        ],
    ))
    .said(poem("ecstasy"));
}

#[test]
fn a_server_killed_in_mid_poem_is_no_end_through_tls() {
    let certificates = Certificates::new();
    let server = server_of(&poem_path("ecstasy"))
        .pace(1000, FOREVER)
        .args(["--listen", &certificates.endpoint("")])
        .start();
    let target = format!("tls:{}:ca={}", server.port(), certificates.path("ca"));
    let get = get([target]).args(["--retry", "0"]).start();
    get.stdout.wait_for_bytes(1000);
    server.kill();
    get.finish()
        .code(3)
        .said(&poem("ecstasy")[..1000])
        .complained("after 1000 bytes had been printed [reset]\n");
}

#[test]
fn a_stranger_who_speaks_no_tls_keeps_nobody_waiting() {
    let certificates = Certificates::new();
    let server = server("ecstasy")
        .args(["--listen", &certificates.endpoint("")])
        .start();
    let _silent = connect(server.port());
    let mut loud = connect(server.port());
    loud.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let loud = Output::of(loud);
    get([format!(
        "tls:{}:ca={}",
        server.port(),
        certificates.path("ca")
    )])
    .run()
    .code(0)
    .said(poem("ecstasy"));
    let (heard, _) = loud.wait_for_end();
    assert!(heard.len() < 100, "{}", heard.escape_ascii());
}

/// haproxy in front, with both versions of the header and both kinds of sockets.
#[test]
fn haproxy_says_for_whom_it_speaks() {
    let directory = tempfile::tempdir().unwrap();
    let socket = path_of(&directory, "p.sock");
    let server = server("ecstasy").args(["--listen", "haproxy:0"]).start();
    let _by_file = serve_at(&format!("haproxy:unix:{}", socket.display()));
    let (server_port, config) = (server.port(), path_of(&directory, "haproxy.cfg"));
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let listen = |port: u16, server: &str| {
        format!("listen l{port}\n  bind 127.0.0.1:{port}\n  server s {server}\n")
    };
    let text = [
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 50s\n  timeout server 50s\n"
            .to_owned(),
        listen(ports[0], &format!("127.0.0.1:{server_port} send-proxy")),
        listen(ports[1], &format!("127.0.0.1:{server_port} send-proxy-v2")),
        listen(
            ports[2],
            &format!("unix@{} send-proxy-v2", socket.display()),
        ),
    ];
    fs::write(&config, text.concat()).unwrap();
    let haproxy = tool("haproxy", &["-db", "-f", config.to_str().unwrap()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _haproxy = Stopped(haproxy.expect("haproxy is there; tests/run installs it"));
    for port in ports {
        get([port])
            .args(["--retry", "20", "--retry-delay", "50ms"])
            .run()
            .code(0)
            .said(poem("ecstasy"));
    }
}

struct Stopped(std::process::Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn a_peer_without_a_proxys_header_gets_nothing() {
    let server = server("ecstasy").args(["--listen", "haproxy:0"]).start();
    let mut stranger = connect(server.port());
    stranger.write_all(b"a poem, please\n").unwrap();
    assert_eq!(Output::of(stranger).wait_for_end().0, b"");
    let mut proxy = connect(server.port());
    proxy
        .write_all(b"PROXY TCP6 ::1 ::1 51000 10000\r\n")
        .unwrap();
    assert_same(&Output::of(proxy).whole(), &poem("ecstasy"));
    server
        .stop()
        .code(0)
        .complained("served 1 poem, 1 reader refused, 3003 bytes\n");
}

/// Sockets that somebody else has bound, passed as systemd does or by number.
fn activated(how: &str, endpoint: &str) -> Process {
    let mut command = crate::peers::python("activate.py");
    command
        .arg(how)
        .arg(env!("CARGO_BIN_EXE_byron"))
        .arg("serve")
        .arg(poem_path("ecstasy"))
        .args(["--once", "--listen", endpoint])
        .env("XDG_RUNTIME_DIR", crate::support::runtime_directory());
    Process::start(&mut command)
}

#[test]
fn inherited_sockets_serve_by_name_and_by_number() {
    for (how, endpoint) in [("poem:web", "systemd:name=web"), ("--by-number", "fd:3")] {
        let server = activated(how, endpoint);
        let line = server.stdout.wait_for_lines(1).remove(0);
        let (_, port) = line.rsplit_once(" on port ").unwrap();
        get([port.trim_end_matches('.')])
            .run()
            .code(0)
            .said(poem("ecstasy"));
        server.finish().code(0);
    }
}

#[test]
fn what_systemd_did_not_pass_is_named() {
    activated("poem:web", "systemd:name=prose")
        .finish()
        .code(1)
        .complained("byron: cannot listen on systemd:name=prose: no socket called prose; there are: poem, web\n");
    activated("--by-number", "systemd:name=poem")
        .finish()
        .code(1)
        .complained(
            "byron: cannot listen on systemd:name=poem: no socket was passed to this process",
        );
    server("ecstasy")
        .args(["--listen", "fd:99"])
        .run()
        .code(1)
        .complained("byron: cannot listen on fd:99: cannot take file descriptor 99: ");
}

#[test]
fn standard_output_takes_a_poem_and_the_exit_code_tells_whether_it_is_whole() {
    let mut command = byron();
    command
        .arg("serve")
        .arg(poem_path("ecstasy"))
        .args(["--listen", "stdio:"]);
    Process::start(&mut command)
        .finish()
        .code(0)
        .said(poem("ecstasy"))
        .complained("on standard input and output.\n");

    let mut command = byron();
    command.arg("serve").arg(poem_path("ecstasy")).args([
        "--listen",
        "stdio:",
        "--num-bytes",
        "1000",
        "--delay",
        "0.1",
    ]);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let process = Process::start_into(&mut command, writer);
    drop(command);
    let mut beginning = [0; 1000];
    reader.read_exact(&mut beginning).unwrap();
    drop(reader);
    process.finish().code(1);
}

#[test]
fn inetd_gives_a_reader_its_own_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let reader = Output::of(connect(listener.local_addr().unwrap().port()));
    let (socket, _) = listener.accept().unwrap();
    let mut command = byron();
    command
        .arg("serve")
        .arg(poem_path("ecstasy"))
        .args(["--listen", "stdio:"])
        .stdin(std::os::fd::OwnedFd::from(socket.try_clone().unwrap()));
    let server = Process::start_into(&mut command, std::os::fd::OwnedFd::from(socket));
    drop(command);
    assert_same(&reader.whole(), &poem("ecstasy"));
    drop(reader);
    server.finish().code(0);
}

#[test]
fn a_reader_on_a_unix_socket_hears_a_killed_servers_poem_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = path_of(&directory, "p.sock");
    let mut command = byron();
    command
        .arg("serve")
        .arg(poem_path("ecstasy"))
        .args(["--num-bytes", "10", "--delay", "1h", "--listen"])
        .arg(format!("unix:{}", path.display()));
    let server = Process::start(&mut command);
    server.stdout.wait_for_lines(1);
    let reader = Output::of(UnixStream::connect(&path).unwrap());
    reader.wait_for_bytes(10);
    server.signal("KILL");
    server.finish();
    let (heard, end) = reader.wait_for_end();
    assert_eq!((heard.len(), end), (10, Ok(())));
}

#[test]
fn every_endpoint_is_one_line_of_the_port_file() {
    let directory = tempfile::tempdir().unwrap();
    let ports = path_of(&directory, "ports");
    let socket = path_of(&directory, "p.sock");
    let poem = |at: &str| format!("{}@{at}", poem_path("ecstasy").display());
    let mut command = byron();
    command
        .arg("serve")
        .args([
            poem("0"),
            poem(&format!("unix:{}", socket.display())),
            poem("haproxy:0"),
        ])
        .arg("--port-file")
        .arg(&ports);
    let server = Process::start(&mut command);
    let lines = server.stdout.wait_for_lines(3);
    eventually("the port file is there", || ports.exists());
    let told = fs::read_to_string(&ports).unwrap();
    for (line, told) in lines.iter().zip(told.lines()) {
        let place = line.rsplit_once(" on ").unwrap().1.trim_end_matches('.');
        assert_eq!(place.trim_start_matches("port "), told);
    }
    assert_eq!(told.lines().count(), 3);
}

#[test]
fn a_proxy_hears_a_poem_over_tls_and_tells_it_on_a_unix_socket() {
    let certificates = Certificates::new();
    let directory = tempfile::tempdir().unwrap();
    let server = server("ecstasy")
        .pace(500, Duration::from_millis(10))
        .args(["--listen", &certificates.endpoint("")])
        .start();
    let local = format!("unix:{}", path_of(&directory, "p.sock").display());
    let mut command = byron();
    command.args(["proxy", "--listen", &local]).arg(format!(
        "tls:{}:ca={}",
        server.port(),
        certificates.path("ca")
    ));
    let proxy = Process::start(&mut command);
    proxy.stdout.wait_for_lines(1);
    for _ in 0..2 {
        get([&local]).run().code(0).said(poem("ecstasy"));
    }
    server.stop().code(0).complained("served 1 poem, ");
}

/// A command line that has to be wrong: nothing starts.
#[test]
fn a_poem_from_standard_input_leaves_no_connection_there() {
    let mut command = byron();
    command.args(["serve", "-", "--listen", "stdio:"]);
    Process::start(&mut command)
        .finish()
        .code(2)
        .complained("standard input cannot be the poem and stdio: too; put the poem into a file\n");
}
