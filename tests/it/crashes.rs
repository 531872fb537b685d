//! What a person sees when a server dies, hangs or changes its poem, and when somebody ends a program in the middle.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::support::{
    FOREVER, Get, Output, Peer, Process, Server, assert_same, byron_after, connect, eventually,
    file, get, names, noise, poem, poem_path, server, server_of,
};

/// An address of this machine that only these tests serve at: a port there stays free between a crash and a restart.
const HOST: &str = "127.0.0.77";

/// The first words of a server that then says nothing more.
const BEGINNING: usize = 1000;

/// A server that dies in the middle of its poem, once it is told to.
fn doomed_server(poem: &Path) -> Server {
    server_of(poem)
        .pace(BEGINNING, FOREVER)
        .args(["--iface", HOST])
        .start()
}

/// The server that is started again where the doomed one was.
fn restarted_server(poem: &Path, port: u16) -> Server {
    server_of(poem)
        .args(["--iface", HOST, "--port", &port.to_string()])
        .start()
}

fn get_from(port: u16) -> Get {
    get([format!("{HOST}:{port}")])
}

/// Patient enough for a server that is started again.
fn persistent(get: Get) -> Get {
    get.args(["--retry", "9", "--retry-delay", "30ms"])
}

#[test]
fn half_a_poem_is_never_a_success() {
    let server = doomed_server(&poem_path("ecstasy"));
    let get = get_from(server.port()).with("--retry", "0").start();
    get.stdout.wait_for_bytes(BEGINNING);
    server.kill();
    get.finish()
        .code(3)
        .said(&poem("ecstasy")[..BEGINNING])
        .complained("connection reset by 127.0.0.77:")
        .complained(", after 1000 bytes had been printed [reset]\n");
}

#[test]
fn a_server_killed_before_a_byte_was_printed_is_a_reset_too() {
    let (server, first) = (doomed_server(&poem_path("ecstasy")), Peer::listen());
    let targets = [
        first.port().to_string(),
        format!("{HOST}:{}", server.port()),
    ];
    let get = get(targets).args(["--retry", "0", "--json=events"]).start();
    get.stdout.wait_for(r#""event":"chunk","task":2"#);
    server.kill();
    get.stdout.wait_for(r#""kind":"reset""#);
    first.accept().write_all(b"whole").unwrap();
    get.finish().code(1);
}

#[test]
fn a_retry_continues_the_same_output_without_a_byte_twice() {
    for poem_bytes in [3003, 300_000] {
        let text = noise(poem_bytes);
        let (_directory, path) = file(&text);
        let server = doomed_server(&path);
        let port = server.port();
        let get = persistent(get_from(port)).start();
        get.stdout.wait_for_bytes(BEGINNING);
        server.kill();
        let _server = restarted_server(&path, port);
        get.finish().code(0).quietly().said(&text);
    }
}

#[test]
fn a_poem_that_changed_is_not_continued() {
    let server = doomed_server(&poem_path("ecstasy"));
    let port = server.port();
    let get = persistent(get_from(port)).start();
    get.stdout.wait_for_bytes(BEGINNING);
    server.kill();
    let (_directory, other) = file(noise(3003));
    let _server = restarted_server(&other, port);
    get.finish()
        .code(3)
        .said(&poem("ecstasy")[..BEGINNING])
        .complained("the poem changed within its first 1000 bytes")
        .complained(" [changed]\n");
}

#[test]
fn a_poem_that_became_shorter_is_not_whole() {
    let peer = Peer::listen();
    let get = get([peer.port()])
        .args(["--idle-timeout", "200ms"])
        .args(["--retry", "1", "--retry-delay", "1ms"])
        .start();
    let mut first = peer.accept();
    first.write_all(b"half a poem").unwrap();
    peer.accept().write_all(b"half").unwrap();
    get.finish()
        .code(3)
        .said("half a poem")
        .complained("ended after 4 bytes, less than there were before")
        .complained(" [truncated]\n");
}

#[test]
fn a_server_that_never_says_a_byte_is_tried_again() {
    let peer = Peer::listen();
    let get = get([peer.port()])
        .args(["--first-byte-timeout", "200ms", "--retry-delay", "1ms"])
        .start();
    let _silent = peer.accept();
    peer.accept().write_all(b"sorry").unwrap();
    get.finish().code(0).quietly().said("sorry");
}

#[test]
fn a_server_that_never_says_a_byte_is_given_up() {
    let peer = Peer::listen();
    get([peer.port()])
        .args(["--first-byte-timeout", "50ms", "--retry", "1"])
        .args(["--retry-delay", "1ms"])
        .run()
        .code(3)
        .complained("but it said nothing for 50ms, 2 attempts in ")
        .complained(" [idle-timeout]\n");
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let peer = Peer::listen();
    let get = get([peer.port()])
        .args(["--idle-timeout", "100ms", "--retry", "0"])
        .start();
    let mut reader = peer.accept();
    reader.write_all(b"er, ").unwrap();
    get.finish()
        .code(3)
        .said("er, ")
        .complained("fell silent for 100ms, 1 attempt in ")
        .complained(", after 4 bytes had been printed [idle-timeout]\n");
}

#[test]
fn a_poem_may_have_a_limit_in_all() {
    let server = server("ecstasy").pace(1, Duration::from_millis(10)).start();
    get([server.port()])
        .with("--max-time", "200ms")
        .run()
        .code(3)
        .complained(" [max-time]\n");
}

#[test]
fn fail_fast_calls_off_the_others() {
    let (slow, empty) = (Peer::listen(), Peer::listen());
    let get = get([slow.port(), empty.port()])
        .args(["--fail-fast", "--retry", "0"])
        .start();
    let mut reader = slow.accept();
    reader.write_all(b"half").unwrap();
    get.stdout.wait_for("half");
    drop(empty.accept());
    let (_, end) = Output::of(reader).wait_for_end();
    assert_eq!(end, Ok(()));
    get.finish()
        .code(3)
        .said("half")
        .complained(" [empty]\n")
        .complained(" [cancelled]\n");
}

/// Interrupts `get` in mid-poem, for which there is a part of a file.
#[track_caller]
fn check_interrupted(signal: &str, code: i32) {
    let (peer, directory) = (Peer::listen(), tempfile::tempdir().unwrap());
    let get = get([peer.port()])
        .with("-o", directory.path().join("poem.txt"))
        .start();
    let mut reader = peer.accept();
    reader.write_all(b"half").unwrap();
    eventually("a part", || names(directory.path()) == ["poem.txt.part"]);
    get.signal(signal);
    let finished = get.finish().code(code);
    assert!(!finished.stderr.contains("[cancelled]"), "{finished:?}");
    assert_eq!(names(directory.path()), [""; 0]);
    let (said, _) = Output::of(reader).wait_for_end();
    assert_eq!(said, b"");
}

#[test]
fn an_interrupted_get_leaves_nothing_half_done() {
    check_interrupted("INT", 130);
    check_interrupted("TERM", 143);
    check_interrupted("HUP", 143);
}

#[test]
fn a_get_that_is_interrupted_keeps_what_is_whole() {
    let (whole, half) = (Peer::listen(), Peer::listen());
    let get = get([whole.port(), half.port()]).start();
    let _reader = half.accept();
    whole.accept().write_all(b"whole").unwrap();
    get.stdout.wait_for("whole");
    get.signal("INT");
    get.finish()
        .code(130)
        .said("whole")
        .complained("got 1 of 2 poems, 5 bytes in ");
}

#[test]
fn a_reader_who_leaves_is_normal() {
    let server = server("ecstasy")
        .pace(10, Duration::from_millis(10))
        .start();
    let get = get([server.port()]).start();
    get.stdout.wait_for_bytes(1);
    get.signal("KILL");
    let (_, whole) = (get.finish(), server.reader());
    assert_same(&whole.whole(), &poem("ecstasy"));
    server
        .stop()
        .code(0)
        .complained("served 1 poem, 1 reader left early");
}

#[test]
fn a_server_that_is_told_to_end_lets_poems_finish() {
    for signal in ["TERM", "INT"] {
        let server = server("ecstasy")
            .pace(60, Duration::from_millis(30))
            .start();
        let (port, reader) = (server.port(), server.reader());
        reader.wait_for_bytes(1);
        server.process.signal(signal);
        server.wait_for("byron: 1 poem still going; waiting up to 10.0s for them (again: end now)");
        eventually("no more readers", || {
            TcpStream::connect(("127.0.0.1", port)).is_err()
        });
        assert_same(&reader.whole(), &poem("ecstasy"));
        server
            .process
            .finish()
            .code(0)
            .complained("byron: served 1 poem, ");
    }
}

#[test]
fn an_idle_server_ends_at_once() {
    for signal in ["TERM", "INT", "HUP"] {
        let server = server("ecstasy").start();
        server.process.signal(signal);
        server.process.finish().code(0);
    }
}

#[test]
fn a_poem_that_outlasts_the_drain_is_reset() {
    let server = server("ecstasy")
        .pace(10, FOREVER)
        .args(["--drain", "50ms"])
        .start();
    let reader = server.reader();
    reader.wait_for_bytes(10);
    let finished = server.stop().code(7);
    assert!(
        finished.stderr.ends_with("byron: 1 reader cut off\n"),
        "{}",
        finished.stderr
    );
    assert_eq!(reader.cut_off(), poem("ecstasy")[..10]);
}

#[test]
fn a_second_signal_means_now() {
    let server = server("ecstasy")
        .pace(10, FOREVER)
        .args(["--drain", "1h"])
        .start();
    let readers = [server.reader(), server.reader()];
    for reader in &readers {
        reader.wait_for_bytes(10);
    }
    server.process.signal("TERM");
    server.wait_for("2 poems still going; waiting up to ");
    server.process.signal("TERM");
    server
        .process
        .finish()
        .code(7)
        .complained("2 readers cut off");
    for reader in &readers {
        reader.cut_off();
    }
}

#[test]
fn a_signal_shows_the_tree_and_ends_nothing() {
    let server = server("ecstasy").and("science").start();
    server.process.signal("USR2");
    server.wait_for("byron: this is the tree:\nbyron  ");
    for line in ["─ ecstasy-1 ", "─ science-2 ", "─ listeners ", "RUNNING"] {
        server.wait_for(line);
    }
    get(&server.ports).run().code(0);

    let peer = Peer::listen();
    let get = get([peer.port()]).start();
    let mut reader = peer.accept();
    reader.write_all(b"be").unwrap();
    get.stdout.wait_for("be");
    get.signal("USR2");
    reader.write_all(b"fore and after").unwrap();
    drop(reader);
    get.finish().code(0).said("before and after");
}

#[test]
fn a_port_in_use_is_told_with_a_way_out() {
    // Nobody knows whose it is; a byron that can be observed is named.
    let owner = server("science").args(["--observe=none"]).start();
    let port = owner.port().to_string();
    server("ecstasy")
        .args(["--port", &port])
        .run()
        .code(1)
        .said("")
        .complained(&format!(
            "byron: cannot listen on 127.0.0.1:{port}: address in use; try --port 0\n"
        ));
    get([&port]).run().code(0).said(poem("science"));

    let other = Peer::listen();
    server("ecstasy")
        .args(["--port", &other.port().to_string()])
        .run()
        .code(1)
        .complained(": address in use; try --port 0\n");
}

#[test]
fn a_poem_that_is_not_there_is_named_before_anything_is_served() {
    let (directory, _path) = file("");
    let missing = directory.path().join("lost.txt");
    server("science")
        .args([&missing])
        .run()
        .code(1)
        .said("")
        .complained(&format!(
            "byron: cannot read the poem {}: No such file or directory",
            missing.display()
        ));
    server_of(directory.path())
        .run()
        .code(1)
        .said("")
        .complained(": Is a directory");
}

#[test]
fn a_watched_poem_that_goes_away_is_still_served() {
    let (directory, path) = file("old");
    let server = server_of(&path).args(["--watch"]).start();
    std::fs::remove_file(&path).unwrap();
    get([server.port()]).run().code(0).said("old");
    // Back again, and new: the watch has outlived the file.
    let next = directory.path().join("next");
    std::fs::write(&next, "new").unwrap();
    std::fs::rename(&next, &path).unwrap();
    server.wait_for("has changed; 3 bytes from the next reader on");
    get([server.port()]).run().code(0).said("new");
}

#[test]
fn a_server_that_cannot_tell_its_port_does_not_serve() {
    let (_directory, path) = file("poem");
    server_of(&path)
        .args(["--port-file", "/nowhere/port"])
        .run()
        .code(1)
        .complained("byron: cannot write /nowhere/port: No such file or directory");
}

#[test]
fn a_reader_that_only_connects_is_nobodys_poem() {
    let server = server("science").start();
    drop(connect(server.port()));
    get([server.port()]).run().code(0).said(poem("science"));
    server.stop().code(0);
}

#[cfg(target_os = "linux")]
#[test]
fn nohup_outlives_its_terminal() {
    let peer = Peer::listen();
    let mut command = byron_after("trap '' HUP");
    let get = Process::start(command.args(["get", &peer.port().to_string()]));
    let mut reader = peer.accept();
    reader.write_all(b"half a poem, ").unwrap();
    get.stdout.wait_for("half a poem, ");
    get.signal("HUP");
    reader.write_all(b"whole").unwrap();
    drop(reader);
    get.finish().code(0).said("half a poem, whole");
}

#[test]
fn a_reader_who_has_everything_is_no_poem_still_going() {
    let server = server("science").args(["--linger", "500ms"]).start();
    let mut reader = connect(server.port());
    let mut heard = Vec::new();
    reader.read_to_end(&mut heard).unwrap();
    assert_same(&heard, &poem("science"));
    server.process.signal("TERM");
    let finished = server.process.finish().code(0);
    drop(reader);
    let said: Vec<_> = finished.stderr.lines().skip(1).collect();
    assert_eq!(said, ["byron: served 1 poem, 653 bytes"]);
}
