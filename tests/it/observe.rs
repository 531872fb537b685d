//! An instance can be found, asked and told to end: by its own user, and by nobody else.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{FOREVER, Finished, LIMIT, Process, Server, byron, runtime_directory, server};

/// `byron ctl` with these words.
#[track_caller]
pub(crate) fn ctl(words: &str) -> Finished {
    let mut command = byron();
    command.arg("ctl").args(words.split_whitespace());
    Process::start(&mut command).finish()
}

/// The socket of an instance.
pub(crate) fn socket(name: &str) -> PathBuf {
    runtime_directory().join(format!("byron/{name}.sock"))
}

/// What curl says of a path: the status, and the body.
#[track_caller]
pub(crate) fn curl(socket: &Path, arguments: &[&str], path: &str) -> (u16, Value) {
    let mut command = Command::new("curl");
    command
        .args(["-s", "-w", "\n%{http_code}", "--max-time"])
        .arg(LIMIT.as_secs().to_string())
        .arg("--unix-socket")
        .arg(socket)
        .args(arguments)
        .arg(format!("http://byron{path}"));
    let finished = Process::start(&mut command).finish().code(0);
    let text = String::from_utf8(finished.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (
        status.parse().unwrap(),
        serde_json::from_str(body).unwrap_or(Value::Null),
    )
}

/// A slow server, so that a reader stays.
#[track_caller]
fn slow_server() -> Server {
    server("ecstasy").pace(10, FOREVER).start()
}

#[test]
fn the_only_instance_needs_no_name() {
    let server = server("ecstasy").start();
    let status = ctl("status").code(0).quietly();
    let text = String::from_utf8(status.stdout).unwrap();
    assert!(text.starts_with("● ecstasy - byron serve "), "{text}");
    assert!(text.contains("Active: ready since "), "{text}");
    assert!(
        text.contains(&format!("Listen: 127.0.0.1:{} (ecstasy)", server.port())),
        "{text}"
    );
    ctl("is-running").code(0).said("running\n");
    let tree = ctl("tree").code(0).quietly();
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("└─ ecstasy-1 "), "{tree}");
    assert!(!tree.contains("\n\n"), "{tree}");
    ctl("stop").code(0).said("ecstasy has ended\n");
    server.process.finish().code(0);
    ctl("is-running").code(3).said("not running\n");
    ctl("status").code(4).complained("no byron is running here");
}

#[test]
fn two_instances_of_one_poem_have_two_names() {
    let (one, two) = (server("ecstasy").start(), server("ecstasy").start());
    ctl("tree")
        .code(2)
        .complained("which one: -i NAME, for several are running:\n  ecstasy  pid ")
        .complained("\n  ecstasy-2  pid ");
    ctl("-i ecstasy-3 tree")
        .code(4)
        .complained("no byron named ecstasy-3 is running; did you mean ecstasy-2");
    ctl("-i ecstasy-2 stop").code(0);
    two.process.finish().code(0);
    let status = ctl("status --json").code(0);
    let status = status.json();
    assert_eq!(status.len(), 1, "{status:?}");
    assert_eq!(status[0]["instance"]["name"], "ecstasy");
    assert_eq!(
        status[0]["instance"]["endpoints"][0]["port"],
        Value::from(one.port())
    );
}

#[test]
fn a_name_that_is_asked_for_and_taken_is_an_error_that_names_who_has_it() {
    let first = server("ecstasy").args(["--name", "poet"]).start();
    server("science")
        .args(["--name", "poet"])
        .run()
        .code(1)
        .complained(&format!(
            "the name poet is taken by another byron (pid {})",
            first.process.pid()
        ));
    ctl("-i poet is-running").code(0);
}

#[test]
fn what_a_killed_instance_left_behind_is_not_listed_and_is_replaced() {
    let first = server("ecstasy").start();
    let pid = first.process.pid();
    first.kill();
    assert!(
        socket("ecstasy").exists(),
        "a killed program cleans up nothing"
    );
    ctl("status").code(4).complained("no byron is running here");
    ctl("-i ecstasy is-running").code(3).said("not running\n");
    ctl("-i science is-running").code(4);
    let _second = server("ecstasy").start();
    let status = ctl("-i ecstasy status --json").code(0).json();
    assert_ne!(status[0]["instance"]["pid"], Value::from(pid));
}

#[test]
fn files_are_for_their_owner_alone_and_go_with_the_instance() {
    let server = server("ecstasy").start();
    let directory = runtime_directory().join("byron");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for name in ["ecstasy.sock", "ecstasy.json", "ecstasy.lock"] {
        assert_eq!(mode(&directory.join(name)), 0o600, "{name}");
    }
    server.stop().code(0);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}

#[test]
fn a_directory_that_others_can_write_to_is_not_used() {
    let directory = runtime_directory().join("byron");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o777)).unwrap();
    let open = format!("others can write to {}; chmod 700 it", directory.display());
    ctl("status").code(1).complained(&open);
    // Without being asked to, a server does not need it.
    let unobserved = server("ecstasy").start();
    unobserved.wait_for(&open);
    unobserved.wait_for("nobody can observe or steer this byron");
    server("ecstasy")
        .args(["--observe"])
        .run()
        .code(1)
        .complained(&open);
    server("ecstasy").args(["--observe=none"]).start();
}

#[test]
fn a_socket_can_be_elsewhere_or_not_at_all() {
    let there = tempfile::tempdir().unwrap();
    let path = there.path().join("poem.sock");
    let argument = format!("--observe=unix:{}", path.display());
    let elsewhere = server("ecstasy").args([&argument]).start();
    let address = format!("-i unix:{}", path.display());
    ctl(&format!("{address} is-running")).code(0);
    ctl("-i ecstasy is-running").code(0);
    server("science")
        .args([&argument])
        .run()
        .code(1)
        .complained(&format!("{} is in use by another program", path.display()));
    elsewhere.stop().code(0);
    assert!(!path.exists());
    fs::write(&path, "precious").unwrap();
    server("science")
        .args([&argument])
        .run()
        .code(1)
        .complained("is there already, and is no socket");
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    let hidden = server("science").args(["--observe=none"]).start();
    ctl("status").code(4);
    hidden.stop().code(0).complained("served 0 poems");
}

#[test]
fn a_stranger_with_curl_gets_sensible_answers() {
    let server = server("ecstasy").start();
    let socket = socket("ecstasy");
    let check = |arguments: &[&str], path: &str, status: u16, kind: &str| {
        let (got, body) = curl(&socket, arguments, path);
        assert_eq!(got, status, "{arguments:?} {path}: {body}");
        assert_eq!(body["v"], 1, "{arguments:?} {path}: {body}");
        assert_eq!(body["error"]["kind"], kind, "{arguments:?} {path}: {body}");
    };
    let json = ["-H", "Content-Type: application/json", "--data-binary"];
    let long = "x".repeat(20_000);
    check(&[], "/favicon.ico", 404, "path");
    check(&[], "/v2/tree", 404, "version");
    check(&[], "/v1/stop", 405, "method");
    check(&["-X", "POST"], "/v1/tree", 405, "method");
    check(&["-d", "a=b"], "/v1/stop", 415, "content_type");
    check(&["-X", "POST"], "/v1/stop", 415, "content_type");
    check(
        &[&json[..], &[&long]].concat(),
        "/v1/stop",
        413,
        "too_large",
    );
    check(&[&json[..], &["{"]].concat(), "/v1/stop", 400, "body");
    check(
        &[&json[..], &[r#"{"limit_s":-1}"#]].concat(),
        "/v1/drain",
        400,
        "body",
    );
    check(&[], "/v1/events?since=yesterday", 400, "since");
    check(
        &["-H", "Last-Event-ID: yesterday"],
        "/v1/events",
        400,
        "since",
    );
    let (status, index) = curl(&socket, &[], "/");
    assert_eq!((status, &index["name"]), (200, &Value::from("ecstasy")));
    assert_eq!(curl(&socket, &[], "/healthz").0, 200);
    assert_eq!(curl(&socket, &[], "/readyz").0, 200);
    // Nothing of this has ended it.
    server.stop().code(0);
}

#[test]
fn stop_and_drain_end_an_instance_as_a_signal_does() {
    let server = slow_server();
    let reader = server.reader();
    reader.wait_for_bytes(10);
    let mut drain = byron();
    let drain = Process::start(drain.args(["ctl", "drain"]));
    server.wait_for("1 poem still going; waiting for them (again: end now)");
    ctl("stop")
        .code(0)
        .said("ecstasy has ended with exit code 7: The drain deadline passed and connections were reset.\n");
    reader.cut_off();
    drain.finish().code(0);
    server.process.finish().code(7);
}

#[test]
fn another_users_process_hears_nothing_and_is_counted() {
    // Only root can be somebody else.
    if !is_root() {
        return;
    }
    let there = tempfile::tempdir().unwrap();
    let path = there.path().join("poem.sock");
    let server = server("ecstasy")
        .args([format!("--observe=unix:{}", path.display())])
        .start();
    // As open as a mistake could make it.
    fs::set_permissions(there.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    let mut stranger = Command::new("setpriv");
    stranger
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .args(["curl", "-sS", "--unix-socket"])
        .arg(&path)
        .arg("http://byron/v1/status");
    let finished = Process::start(&mut stranger).finish();
    assert_eq!(finished.stdout, b"");
    // How far it got before it was closed is chance: connecting (7), sending (55) or listening (52, 56).
    let ways = ["curl: (7)", "curl: (52)", "curl: (55)", "curl: (56)"];
    assert!(
        ways.iter().any(|way| finished.stderr.contains(way)),
        "{}",
        finished.stderr
    );
    server.wait_for("another user's connection to the observer closed");
    server.wait_for("65534");
    let status = ctl("status --json").code(0).json();
    assert_eq!(status[0]["strangers"], 1);
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

#[test]
fn an_instance_on_another_machine_is_reached_over_ssh() {
    let server = server("ecstasy").start();
    // The other machine is this one: what ssh would run there is run here.
    let there = tempfile::tempdir().unwrap();
    let ssh = there.path().join("ssh");
    let program = env!("CARGO_BIN_EXE_byron");
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> '{log}'\nshift 2\nshift\nexec '{program}' \"$@\"\n",
        log = there.path().join("log").display()
    );
    fs::write(&ssh, script).unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", there.path().display());
    let remote = |address: &str, words: &str| {
        let mut command = byron();
        command
            .env("PATH", &path)
            .args(["ctl", "-i", address])
            .args(words.split_whitespace());
        Process::start(&mut command).finish()
    };
    let status = remote("ssh://john@donne.example/ecstasy", "status --json");
    let status = status.code(0).json();
    assert_eq!(status[0]["instance"]["name"], "ecstasy");
    assert_eq!(
        fs::read_to_string(there.path().join("log")).unwrap(),
        "-T john@donne.example byron ctl stdio -i ecstasy\n"
    );
    remote("ssh://donne.example/science", "tree")
        .code(4)
        .complained("no byron named science is running")
        .complained("ssh does not lead to ssh://donne.example/science: it ended with exit code 4");
    remote("ssh://donne.example", "stop")
        .code(0)
        .said("ssh://donne.example has ended\n");
    server.process.finish().code(0);
}
