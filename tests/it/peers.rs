//! Readers and servers that are not byron: the usual tools, and Twisted and Erlang programs in the manner of the tutorial.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::proxy::proxy_of;
use crate::support::{
    FOREVER, Finished, Process, Server, assert_same, file, get, noise, peer_path, poem, poem_path,
    server, server_of,
};

/// Where Debian has the modules of its packages, whatever other Python there is.
const PYTHON: &str = "/usr/bin/python3";

/// What a tool that talks first has to get whole.
const LONG_POEM_BYTES: usize = 1 << 20;

pub(crate) fn tool(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    command
}

/// A Twisted program of `tests/peers`.
#[track_caller]
pub(crate) fn twisted(program: &str) -> Command {
    let found = tool(PYTHON, &["-c", "import twisted"]).output();
    assert!(
        found.is_ok_and(|found| found.status.success()),
        "no Twisted; apt-get install python3-twisted, or let tests/run do it"
    );
    python(program)
}

/// A Python program of `tests/peers`.
pub(crate) fn python(program: &str) -> Command {
    let mut command = tool(PYTHON, &[]);
    command.arg(peer_path(program));
    command
}

/// A server that prints its port first.
#[track_caller]
pub(crate) fn started(command: &mut Command) -> (Process, u16) {
    let server = Process::start(command);
    let line = server.stdout.wait_for_lines(1).remove(0);
    (server, line.parse().unwrap())
}

#[track_caller]
pub(crate) fn run(command: &mut Command) -> Finished {
    Process::start(command).finish().code(0)
}

fn slow(name: &str) -> Server {
    server(name).pace(100, Duration::from_millis(5)).start()
}

/// A poem at once and one that takes its time, with `tool` as the reader: every byte of both.
#[track_caller]
fn check_reader(reader: impl Fn(&str) -> Command) {
    let long = noise(LONG_POEM_BYTES);
    let (_directory, path) = file(&long);
    for (server, text) in [
        (server("ecstasy").start(), poem("ecstasy")),
        (slow("ecstasy"), poem("ecstasy")),
        (server_of(&path).start(), long),
    ] {
        run(&mut reader(&server.port().to_string())).said(text);
    }
}

#[test]
fn netcat_receives_every_byte() {
    check_reader(|port| tool("nc", &["-d", "127.0.0.1", port]));
}

#[test]
fn netcat_that_has_nothing_to_say_receives_every_byte() {
    check_reader(|port| tool("nc", &["-N", "127.0.0.1", port]));
}

#[test]
fn curl_talks_first_and_receives_every_byte() {
    check_reader(|port| {
        let url = format!("http://127.0.0.1:{port}/");
        tool("curl", &["--http0.9", "-sS", "--output", "-", &url])
    });
}

#[test]
fn socat_receives_every_byte() {
    check_reader(|port| tool("socat", &["-u", &format!("TCP:127.0.0.1:{port}"), "STDOUT"]));
}

/// Three servers, and a client that is given their ports and prints the poems in that order.
#[track_caller]
fn check_client(mut client: Command) {
    let servers = [
        slow("ecstasy"),
        slow("fascination"),
        server("science").start(),
    ];
    client.args(servers.each_ref().map(|server| server.port().to_string()));
    let poems = [poem("ecstasy"), poem("fascination"), poem("science")].concat();
    run(&mut client).said(poems);
}

#[test]
fn a_twisted_client_collects_from_byron() {
    check_client(twisted("twisted_client.py"));
}

#[test]
fn a_twisted_client_collects_through_a_proxy_while_it_fetches_and_afterwards() {
    let servers = [slow("ecstasy"), slow("fascination"), slow("science")];
    let proxies = servers
        .each_ref()
        .map(|server| proxy_of(server.port(), &[]));
    let poems = [poem("ecstasy"), poem("fascination"), poem("science")].concat();
    let collect = || {
        let mut client = twisted("twisted_client.py");
        client.args(proxies.each_ref().map(|proxy| proxy.port().to_string()));
        run(&mut client).said(&poems);
    };
    collect();
    servers.into_iter().for_each(Server::kill);
    collect();
}

#[test]
fn a_proxy_keeps_the_poem_of_a_twisted_server_and_nothing_of_one_that_was_killed() {
    let start = |end: &[&str]| {
        let mut command = twisted("twisted_server.py");
        command
            .arg(poem_path("ecstasy"))
            .args(["300", "0.02"])
            .args(end);
        started(&mut command)
    };
    let (whole, port) = start(&[]);
    let proxy = proxy_of(port, &[]);
    get([proxy.port()]).run().code(0).said(poem("ecstasy"));
    drop(whole);
    get([proxy.port()]).run().code(0).said(poem("ecstasy"));

    let (_aborts, port) = start(&["abort"]);
    let proxy = proxy_of(port, &["-v"]);
    for _ in 0..2 {
        get([proxy.port()])
            .with("--retry", "0")
            .run()
            .code(3)
            .complained(" [reset]\n");
    }
    proxy.stop().code(0).complained("nothing kept");
}

#[test]
fn an_erlang_client_collects_from_byron() {
    let mut client = tool("escript", &[]);
    client.arg(peer_path("collect.erl"));
    check_client(client);
}

#[test]
fn an_erlang_client_knows_half_a_poem_from_a_whole_one() {
    let server = server("ecstasy").pace(100, FOREVER).start();
    let mut client = tool("escript", &[]);
    client
        .arg(peer_path("collect.erl"))
        .arg(server.port().to_string());
    let client = Process::start(&mut client);
    client.stderr.wait_for("got 100 bytes");
    server.kill();
    client.finish().code(1).said("").complained("econnreset");
}

/// A server that is given a poem and a pace, and says its port.
#[track_caller]
fn check_server(server: impl Fn() -> Command) {
    let start = |name: &str, pace: [&str; 2]| {
        let mut command = server();
        started(command.arg(poem_path(name)).args(pace))
    };
    let servers = [
        start("ecstasy", ["300", "0.02"]),
        start("fascination", ["10", "0"]),
        start("science", ["1000000", "0"]),
    ];
    let poems = [poem("ecstasy"), poem("fascination"), poem("science")].concat();
    // Twice, since a server is no good for one reader only.
    for _ in 0..2 {
        get(servers.each_ref().map(|(_, port)| *port))
            .run()
            .code(0)
            .quietly()
            .said(&poems);
    }
}

#[test]
fn byron_collects_from_a_blocking_server() {
    check_server(|| python("blocking_server.py"));
}

#[test]
fn byron_collects_from_a_twisted_server() {
    check_server(|| twisted("twisted_server.py"));
}

#[test]
fn byron_tells_a_twisted_server_that_was_killed_from_one_that_was_done() {
    let mut command = twisted("twisted_server.py");
    let (server, port) = started(
        command
            .arg(poem_path("ecstasy"))
            .args(["100", "0.05", "abort"]),
    );
    get([port])
        .with("--retry", "0")
        .run()
        .code(3)
        .complained(" [reset]\n");
    drop(server);
}

#[test]
fn byron_gets_from_netcat() {
    let text = noise(100_000);
    let (_directory, path) = file(&text);
    let mut command = tool("nc", &["-l", "-v", "-N", "127.0.0.1", "0"]);
    command.stdin(std::fs::File::open(&path).unwrap());
    let netcat = Process::start(&mut command);
    let line = netcat.stderr.wait_for_lines(1).remove(0);
    let (_, port) = line.rsplit_once(' ').unwrap();
    let finished = get([port]).run().code(0).quietly();
    assert_same(&finished.stdout, &text);
    netcat.finish();
}
