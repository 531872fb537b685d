//! `byron serve`, as long as nothing goes wrong: which poem at which port, to whom, and how long.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, Shutdown, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use crate::support::{
    FOREVER, Output, Process, assert_same, byron, byron_after, connect, eventually, file, get,
    names, noise, poem, poem_path, server, server_of,
};

#[test]
fn one_process_serves_several_poems_each_on_a_port_of_its_own() {
    let server = server("ecstasy").and("science").and("fascination").start();
    let [ecstasy, science, fascination] = server.ports[..] else {
        panic!("{:?}", server.ports)
    };
    let poems = [poem("fascination"), poem("ecstasy"), poem("science")].concat();
    get([fascination, ecstasy, science])
        .run()
        .code(0)
        .said(poems);
    let finished = server.stop().code(0);
    assert_eq!(finished.lines().len(), 3);
    for line in ["3003 bytes at 127.0.0.1:", "served 3 poems, 4271 bytes"] {
        assert!(finished.stderr.contains(line), "{}", finished.stderr);
    }
}

#[test]
fn the_first_line_of_a_server_is_the_tutorials() {
    let server = server("ecstasy").start();
    let port = server.port();
    let finished = server.stop().code(0);
    let [line] = finished.lines()[..] else {
        panic!("{finished:?}")
    };
    assert!(line.starts_with("Serving "), "{line}");
    assert!(
        line.ends_with(&format!("/poetry/ecstasy.txt on port {port}.")),
        "{line}"
    );
}

#[test]
fn localhost_is_both_families_and_iface_is_one_place() {
    let both = server("science").start();
    let one = server("science").args(["--iface", "::1"]).start();
    let mut text = Vec::new();
    TcpStream::connect((Ipv6Addr::LOCALHOST, both.port()))
        .unwrap()
        .read_to_end(&mut text)
        .unwrap();
    assert_same(&text, &poem("science"));
    assert_same(&both.reader().whole(), &poem("science"));
    get([format!("[::1]:{}", one.port())])
        .run()
        .code(0)
        .said(poem("science"));
    let finished = one.stop().code(0);
    assert!(
        !finished.stderr.contains("127.0.0.1"),
        "{}",
        finished.stderr
    );
}

#[test]
fn every_interface_is_announced() {
    let server = server("science").args(["--iface", "*"]).start();
    server.wait_for("is open to everyone who can reach this machine");
    assert_same(&server.reader().whole(), &poem("science"));
}

#[test]
fn a_port_file_has_the_ports_of_all_poems() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ports");
    let server = server("ecstasy")
        .and("science")
        .args(["--port-file", path.to_str().unwrap()])
        .start();
    eventually("the port file", || path.exists());
    let ports: Vec<u16> = fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    assert_eq!(ports, server.ports);
    assert_eq!(names(directory.path()), ["ports"]);
}

#[test]
fn readiness_is_told_on_a_file_descriptor() {
    let mut command = byron_after("exec 3>&1 1>&2");
    command.args(["serve", "--ready-fd", "3"]);
    command.arg(poem_path("science"));
    let process = Process::start(&mut command);
    assert_eq!(process.stdout.wait_for_bytes(1), b"\n");
    process.stderr.wait_for("Serving ");
}

#[test]
fn a_server_of_one_poem_ends_when_it_is_served() {
    let server = server("science").args(["--once"]).start();
    let (port, first) = (server.port(), server.reader());
    assert_same(&first.whole(), &poem("science"));
    server.process.finish().code(0);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn a_reader_who_leaves_early_is_not_one_of_the_served() {
    let server = server("ecstasy")
        .pace(1500, Duration::from_millis(50))
        .args(["--once=2"])
        .start();
    let early = connect(server.port());
    // The server has to see that this one is gone before it can let another in: its next write does.
    Output::of(early.try_clone().unwrap()).wait_for_bytes(1);
    early.shutdown(Shutdown::Both).unwrap();
    drop(early);
    for _ in 0..2 {
        get([server.port()]).run().code(0).said(poem("ecstasy"));
    }
    server.process.finish().code(0);
}

#[test]
fn a_watched_poem_changes_for_the_next_reader_only() {
    let (old, new) = (noise(3000), noise(2000));
    let (directory, path) = file(&old);
    let server = server_of(&path)
        .pace(100, Duration::from_millis(40))
        .args(["--watch"])
        .start();
    let in_flight = server.reader();
    in_flight.wait_for_bytes(1);
    let next = directory.path().join("next");
    fs::write(&next, &new).unwrap();
    fs::rename(&next, &path).unwrap();
    server.wait_for("poem.txt has changed; 2000 bytes from the next reader on");
    get([server.port()]).run().code(0).said(&new);
    assert_same(&in_flight.whole(), &old);
}

#[test]
fn a_watched_poem_may_change_with_its_directory() {
    let (above, _) = file("");
    let (old, new) = (above.path().join("old"), above.path().join("new"));
    for (directory, text) in [(&old, "old"), (&new, "a new one")] {
        fs::create_dir(directory).unwrap();
        fs::write(directory.join("poem.txt"), text).unwrap();
    }
    let path = old.join("poem.txt");
    let server = server_of(&path).args(["--watch"]).start();
    fs::rename(&old, above.path().join("older")).unwrap();
    fs::rename(&new, &old).unwrap();
    server.wait_for("poem.txt has changed; 9 bytes from the next reader on");
    get([server.port()]).run().code(0).said("a new one");
    // The new directory is watched as the old one was.
    fs::write(&path, "and another").unwrap();
    server.wait_for("poem.txt has changed; 11 bytes from the next reader on");
}

#[test]
fn a_poem_of_the_same_name_elsewhere_has_not_changed() {
    let ((_one, first), (_two, second)) = (file("first"), file("second"));
    let server = server_of(&first).args([&second]).args(["--watch"]).start();
    fs::write(&second, "another second").unwrap();
    server.wait_for("poem.txt has changed; 14 bytes from the next reader on");
    let finished = server.stop().code(0);
    let changes = finished.stderr.matches(" has changed; ").count();
    assert_eq!(changes, 1, "{}", finished.stderr);
}

#[cfg(unix)]
#[test]
fn a_watched_poem_that_becomes_a_pipe_keeps_nobody_waiting() {
    let (directory, path) = file("old");
    let other = directory.path().join("other.txt");
    fs::write(&other, "other").unwrap();
    let server = server_of(&path).args([&other]).args(["--watch"]).start();
    fs::remove_file(&path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    // Whoever sees this one has seen the pipe.
    fs::write(&other, "another").unwrap();
    server.wait_for("other.txt has changed; 7 bytes from the next reader on");
    get([server.port()]).run().code(0).said("old");
    server.stop().code(0);
}

#[test]
fn a_poem_may_come_from_standard_input() {
    let mut command = byron();
    command.args(["serve", "-", "--once"]).stdin(Stdio::piped());
    let mut server = Process::start(&mut command);
    server
        .stdin
        .take()
        .unwrap()
        .write_all(b"unwritten\n")
        .unwrap();
    let line = server.stdout.wait_for_lines(1).remove(0);
    let port = line
        .strip_prefix("Serving standard input on port ")
        .and_then(|rest| rest.strip_suffix('.'))
        .unwrap();
    get([port]).run().code(0).said("unwritten\n");
    server.finish().code(0);
}

#[test]
fn a_quiet_server_says_one_line() {
    let quiet = server("science").args(["-q"]).start();
    get([quiet.port()]).run().code(0);
    let finished = quiet.stop().code(0).quietly();
    assert_eq!(finished.lines().len(), 1);
}

#[test]
fn readers_beyond_the_limit_wait_for_their_turn() {
    let server = server("science")
        .pace(400, Duration::from_millis(20))
        .args(["--max-connections", "2"])
        .start();
    let readers: Vec<_> = (0..8).map(|_| server.reader()).collect();
    for reader in readers {
        assert_same(&reader.whole(), &poem("science"));
    }
}

#[test]
fn a_server_never_waits_for_its_readers_patience() {
    // Each of these would block the next, if the pace of one were the pace of all.
    let server = server("science").pace(100, FOREVER).start();
    let readers: Vec<_> = (0..10).map(|_| server.reader()).collect();
    for reader in &readers {
        assert_same(&reader.wait_for_bytes(100), &poem("science")[..100]);
    }
}
