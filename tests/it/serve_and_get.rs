//! Poems from servers to readers, as long as nothing goes wrong: order, files, lines for programs, and what is served to whom.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, Shutdown, TcpStream};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use crate::support::{
    ECSTASY_SHA256, FOREVER, Nobody, Output, Peer, Process, assert_same, byron, byron_after,
    connect, eventually, file, full_disk, get, names, noise, poem, poem_path, server, server_of,
};

/// More than any buffer on the way holds.
const LONG_POEM_BYTES: usize = 8 << 20;

/// Serves `poem`, gets it, and compares.
#[track_caller]
fn check_poem(text: &[u8]) {
    let (_directory, path) = file(text);
    let server = server_of(&path).start();
    get([server.port()]).run().code(0).quietly().said(text);
}

#[test]
fn three_poems_come_in_the_order_of_the_arguments() {
    let slow = server("ecstasy")
        .pace(300, Duration::from_millis(40))
        .start();
    let (fast, medium) = (
        server("fascination").start(),
        server("science")
            .pace(100, Duration::from_millis(10))
            .start(),
    );
    let poems = [poem("ecstasy"), poem("fascination"), poem("science")].concat();
    get([slow.port(), fast.port(), medium.port()])
        .run()
        .code(0)
        .quietly()
        .said(poems);
}

#[test]
fn the_first_poem_streams_while_the_others_gather() {
    let (first, second) = (Peer::listen(), Peer::listen());
    let get = get([first.port(), second.port()]).start();
    let mut second = second.accept();
    second.write_all(b"2 whole. ").unwrap();
    drop(second);
    let mut first = first.accept();
    first.write_all(b"1 half").unwrap();
    get.stdout.wait_for("1 half");
    assert_eq!(get.stdout.so_far(), b"1 half");
    first.write_all(b", 1 whole. ").unwrap();
    drop(first);
    get.finish().code(0).said("1 half, 1 whole. 2 whole. ");
}

#[test]
fn a_poem_that_failed_gives_its_turn_to_the_next() {
    let (nobody, server) = (Nobody::new(), server("science").start());
    let finished = get([nobody.target().to_string(), server.port().to_string()])
        .with("--retry-delay", "1ms")
        .run()
        .code(1)
        .said(poem("science"));
    let lines: Vec<_> = finished.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let target = nobody.target();
    let failure = format!("byron: {target}: connection refused, 3 attempts in ");
    assert!(lines[0].starts_with(&failure), "{lines:?}");
    assert!(lines[0].ends_with(" [refused]"), "{lines:?}");
    assert!(
        lines[1].starts_with("byron: got 1 of 2 poems, 653 bytes in "),
        "{lines:?}"
    );
}

#[test]
fn nobody_anywhere_is_exit_3() {
    let nobody = Nobody::new();
    get([nobody.target()])
        .with("--retry", "0")
        .run()
        .code(3)
        .said("")
        .complained("connection refused, 1 attempt in ");
    get([nobody.target(), nobody.target()])
        .with("--retry", "0")
        .run()
        .code(3)
        .complained("got 0 of 2 poems, 0 bytes");
}

#[test]
fn downloads_overlap() {
    let peers = [Peer::listen(), Peer::listen(), Peer::listen()];
    let get = get(peers.iter().map(Peer::port)).start();
    // Nobody says a byte before all are connected.
    let streams = peers.each_ref().map(Peer::accept);
    for mut stream in streams {
        stream.write_all(b"x").unwrap();
    }
    get.finish().code(0).said("xxx");
}

#[test]
fn with_one_job_a_poem_waits_for_the_end_of_the_one_before() {
    let (first, second) = (Peer::listen(), Peer::listen());
    let get = get([first.port(), second.port()])
        .with("--jobs", "1")
        .start();
    let mut reader = first.accept();
    for line in ["one\n", "two\n", "three\n"] {
        reader.write_all(line.as_bytes()).unwrap();
        get.stdout.wait_for(line);
        assert!(second.is_alone());
    }
    drop(reader);
    second.accept().write_all(b"four\n").unwrap();
    get.finish().code(0).said("one\ntwo\nthree\nfour\n");
}

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
fn poems_are_bytes() {
    check_poem(&noise(100_000));
    check_poem(b"\0\r\n\x1b[2J\xff");
    check_poem(b"no newline at the end");
}

#[test]
fn a_character_may_be_cut_anywhere() {
    let text = "„Größe“ 🌙\n".repeat(20);
    let (_directory, path) = file(&text);
    for bytes in [1, 2, 3, 7] {
        let server = server_of(&path)
            .pace(bytes, Duration::from_millis(1))
            .start();
        get([server.port()]).run().code(0).said(&text);
        let json = get([server.port()]).args(["--json"]).run().code(0).json();
        assert_eq!(json[0]["poem"]["text"], text);
    }
}

#[test]
fn a_long_poem_is_whole_first_or_spooled() {
    let text = noise(LONG_POEM_BYTES);
    let (_directory, path) = file(&text);
    let server = server_of(&path).start();
    get([server.port(), server.port()])
        .with("--buffer", "1MiB")
        .run()
        .code(0)
        .said([&text[..], &text].concat());
}

#[test]
fn nothing_is_a_poem_only_if_that_is_allowed() {
    let (_directory, path) = file("");
    let server = server_of(&path).start();
    get([server.port()])
        .with("--retry", "0")
        .run()
        .code(3)
        .said("")
        .complained(" [empty]\n");
    get([server.port()])
        .args(["--allow-empty"])
        .run()
        .code(0)
        .quietly()
        .said("");
}

#[test]
fn a_file_has_its_name_when_the_poem_is_whole() {
    let peer = Peer::listen();
    let (directory, path) = file("old");
    let get = get([peer.port()]).with("-o", &path).start();
    let mut reader = peer.accept();
    reader.write_all(b"new ").unwrap();
    eventually("a part", || {
        names(directory.path()) == ["poem.txt", "poem.txt.part"]
    });
    assert_eq!(fs::read(&path).unwrap(), b"old");
    reader.write_all(b"poem").unwrap();
    drop(reader);
    get.finish().code(0).quietly().said("");
    assert_eq!(fs::read(&path).unwrap(), b"new poem");
    assert_eq!(names(directory.path()), ["poem.txt"]);
}

#[test]
fn a_file_of_several_poems_has_them_in_order() {
    let server = server("science").and("fascination").start();
    let (_directory, path) = file("old");
    get(&server.ports)
        .with("--separator", r"---\n")
        .with("-o", &path)
        .run()
        .code(0)
        .quietly();
    let text = [&poem("science")[..], b"---\n", &poem("fascination")].concat();
    assert_same(&fs::read(&path).unwrap(), &text);
}

#[test]
fn an_old_file_outlives_a_new_poem_that_fails() {
    let (directory, path) = file("old");
    get([Nobody::new().target()])
        .with("--retry", "0")
        .with("-o", &path)
        .run()
        .code(3);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    let new = directory.path().join("new.txt");
    get([Nobody::new().target()])
        .with("--retry", "0")
        .with("-o", &new)
        .run()
        .code(3);
    assert_eq!(names(directory.path()), ["poem.txt"]);
}

#[test]
fn a_poem_cut_off_leaves_a_part_only_if_asked() {
    let server = server("ecstasy").start();
    for (flags, left) in [(&[][..], vec![]), (&["--keep-partial"][..], vec!["p.part"])] {
        let directory = tempfile::tempdir().unwrap();
        get([server.port()])
            .with("--max-bytes", "1000")
            .with("-o", directory.path().join("p"))
            .args(flags)
            .run()
            .code(3)
            .complained("longer than 1000 bytes");
        assert_eq!(names(directory.path()), left);
    }
}

#[test]
fn each_poem_may_have_a_file() {
    let server = server("science").and("fascination").start();
    let directory = tempfile::tempdir().unwrap();
    let poems = directory.path().join("new/poems");
    let [science, fascination] = server.ports[..] else {
        panic!("{:?}", server.ports)
    };
    get([format!("{science}=poe.txt"), fascination.to_string()])
        .with("-O", &poems)
        .run()
        .code(0)
        .quietly()
        .said("");
    let unnamed = format!("127.0.0.1-{fascination}.txt");
    assert_same(&fs::read(poems.join("poe.txt")).unwrap(), &poem("science"));
    assert_same(
        &fs::read(poems.join(unnamed)).unwrap(),
        &poem("fascination"),
    );
    assert_eq!(names(&poems).len(), 2);

    get([
        format!("{fascination}=poe.txt"),
        format!("{science}=too.txt"),
    ])
    .with("-O", &poems)
    .args(["--no-clobber"])
    .run()
    .code(1)
    .complained("poe.txt exists already; to replace it leave out --no-clobber");
    assert_same(&fs::read(poems.join("poe.txt")).unwrap(), &poem("science"));
    assert_same(&fs::read(poems.join("too.txt")).unwrap(), &poem("science"));
}

#[test]
fn no_clobber_keeps_the_file() {
    let (directory, path) = file("old");
    let server = server("science").start();
    get([server.port()])
        .args(["--no-clobber"])
        .with("-o", &path)
        .run()
        .code(1)
        .complained("poem.txt exists already; to replace it leave out --no-clobber");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(names(directory.path()), ["poem.txt"]);
}

#[test]
fn a_full_disk_is_told() {
    let server = server("science").start();
    get([server.port()])
        .with("-o", "/dev/full")
        .run()
        .code(1)
        .complained("byron: cannot write /dev/full: No space left on device");
    get([server.port()])
        .run_into(full_disk())
        .code(1)
        .complained("byron: cannot write to standard output: No space left on device");
    get([server.port()])
        .args(["--json"])
        .run_into(full_disk())
        .code(1)
        .complained("byron: cannot write to standard output: No space left on device");
}

#[test]
fn a_poem_that_cannot_wait_for_its_turn_is_lost_alone() {
    let (first, second) = (Peer::listen(), server("science").start());
    let (directory, _) = file("");
    let mut command = byron();
    command.env("TMPDIR", directory.path().join("nowhere"));
    command.args(["get", "--buffer", "10"]);
    let ports = [first.port(), second.port()];
    let get = Process::start(command.args(ports.map(|port| port.to_string())));
    let mut first = first.accept();
    first.write_all(b"half, ").unwrap();
    get.stderr
        .wait_for("cannot keep the poem until its turn in ");
    first.write_all(b"whole").unwrap();
    drop(first);
    let finished = get.finish().code(1).said("half, whole");
    let start = format!("byron: 127.0.0.1:{}: cannot keep ", second.port());
    assert!(finished.stderr.starts_with(&start), "{}", finished.stderr);
}

#[test]
fn a_reader_of_the_output_who_leaves_ends_it_quietly() {
    let server = server("ecstasy")
        .pace(100, Duration::from_millis(1))
        .start();
    for flags in [&[][..], &["--json=events"]] {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut command = byron();
        command
            .arg("get")
            .arg(server.port().to_string())
            .args(flags);
        let get = Process::start_into(&mut command, writer);
        // The command has a copy of the writer, which must not keep the pipe open.
        drop(command);
        reader.read_exact(&mut [0]).unwrap();
        drop(reader);
        get.finish().code(141).quietly();
    }
}

#[test]
fn a_known_hash_is_compared() {
    let server = server("ecstasy").start();
    get([server.port()])
        .with("--sha256", ECSTASY_SHA256)
        .run()
        .code(0)
        .quietly()
        .said(poem("ecstasy"));
    let (directory, path) = file("old");
    get([server.port()])
        .with("--sha256", "0".repeat(64))
        .with("-o", &path)
        .run()
        .code(3)
        .complained(ECSTASY_SHA256)
        .complained(" [changed]\n");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(names(directory.path()), ["poem.txt"]);
}

#[test]
fn a_known_length_is_compared() {
    let server = server("ecstasy").start();
    for (bytes, code, message) in [
        ("3003", 0, ""),
        ("3000", 3, "longer than the 3000 bytes expected"),
        ("4000", 3, " [truncated]"),
    ] {
        get([server.port()])
            .with("--expect-bytes", bytes)
            .with("--retry", "0")
            .run()
            .code(code)
            .complained(message);
    }
}

#[test]
fn a_poem_longer_than_allowed_is_not_read_on() {
    let (_directory, path) = file(noise(100_000));
    let server = server_of(&path).start();
    let finished = get([server.port()])
        .with("--max-bytes", "1000")
        .run()
        .code(3)
        .complained("longer than 1000 bytes, 1 attempt in ");
    assert!(finished.stdout.len() <= 1000, "{}", finished.stdout.len());
}

#[test]
fn done_prints_each_poem_whole_when_it_ends() {
    let (slow, fast) = (Peer::listen(), Peer::listen());
    let get = get([slow.port(), fast.port()])
        .with("--order", "done")
        .start();
    let mut slow = slow.accept();
    slow.write_all(b"slow, ").unwrap();
    fast.accept().write_all(b"fast. ").unwrap();
    get.stdout.wait_for("fast. ");
    slow.write_all(b"but whole.").unwrap();
    drop(slow);
    get.finish().code(0).said("fast. slow, but whole.");
}

#[test]
fn interleave_prints_whole_lines_behind_labels() {
    let (first, second) = (Peer::listen(), Peer::listen());
    let get = get([first.port().to_string(), format!("{}=two", second.port())])
        .with("--order", "interleave")
        .start();
    let (mut one, mut two) = (first.accept(), second.accept());
    one.write_all(b"a line").unwrap();
    two.write_all(b"another\nand").unwrap();
    get.stdout.wait_for("two | another\n");
    one.write_all(b" and its end\n").unwrap();
    let label = first.port();
    get.stdout
        .wait_for(&format!("{label} | a line and its end\n"));
    drop(one);
    two.write_all(b" more").unwrap();
    drop(two);
    get.finish().code(0).said(format!(
        "two | another\n{label} | a line and its end\ntwo | and more\n"
    ));
}

#[test]
fn json_tells_each_poem_and_failure_and_the_sum() {
    let (_directory, path) = file(b"\xff\xfe");
    let (text, binary, nobody) = (
        server("ecstasy").start(),
        server_of(&path).start(),
        Nobody::new(),
    );
    let finished = get([
        text.port().to_string(),
        nobody.target().to_string(),
        binary.port().to_string(),
    ])
    .args(["--json", "--retry", "1", "--retry-delay", "1ms"])
    .run()
    .code(1)
    .quietly();
    let mut lines = finished.json();
    for line in &mut lines {
        assert_eq!(line["v"], 1);
        assert!(
            line.as_object_mut()
                .unwrap()
                .remove("elapsed_s")
                .unwrap()
                .is_f64()
        );
    }
    assert_eq!(
        lines.pop().unwrap(),
        json!({"v": 1, "event": "summary", "ok": 2, "failed": 1, "bytes": 3005, "exit": 1})
    );
    lines.sort_by_key(|line| line["task"].as_u64());
    let [ecstasy, failed, noise] = &lines[..] else {
        panic!("{lines:?}")
    };
    assert_eq!(
        *ecstasy,
        json!({
            "v": 1, "event": "poem", "task": 1, "target": format!("127.0.0.1:{}", text.port()), "bytes": 3003,
            "sha256": ECSTASY_SHA256, "attempts": 1, "end": "eof",
            "poem": {"text": String::from_utf8(poem("ecstasy")).unwrap()},
        })
    );
    assert_eq!(
        *failed,
        json!({
            "v": 1, "event": "failed", "task": 2, "target": nobody.target().to_string(), "kind": "refused",
            "attempts": 2, "bytes": 0, "message": "connection refused",
        })
    );
    assert_eq!(noise["poem"], json!({"bytes": "//4="}));
}

#[test]
fn json_events_tell_everything_that_happens_in_order() {
    let peer = Peer::listen();
    let get = get([peer.port()]).args(["--json=events"]).start();
    let mut reader = peer.accept();
    reader.write_all(b"one").unwrap();
    get.stdout.wait_for(r#""event":"chunk""#);
    reader.write_all(b"two!").unwrap();
    drop(reader);
    let lines = get.finish().code(0).json();
    let target = json!(peer.local_addr.to_string());
    let events: Vec<_> = lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        events,
        ["start", "connected", "chunk", "chunk", "poem", "summary"]
    );
    let (_, tasks) = lines.split_last().unwrap();
    for line in tasks {
        assert_eq!(line["task"], 1);
        assert_eq!(line["target"], target);
    }
    assert_eq!(lines[1]["peer_addr"], target);
    assert_eq!(
        (&lines[2]["bytes"], &lines[2]["total"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(
        (&lines[3]["bytes"], &lines[3]["total"]),
        (&json!(4), &json!(7))
    );
    assert_eq!(lines[4]["poem"]["text"], "onetwo!");
}

#[test]
fn json_events_tell_retries() {
    let lines = get([Nobody::new().target()])
        .args(["--json=events", "--retry", "1", "--retry-delay", "1ms"])
        .run()
        .code(3)
        .json();
    let events: Vec<_> = lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["start", "retry", "failed", "summary"]);
    assert_eq!(lines[1]["kind"], "refused");
    assert_eq!(lines[3]["exit"], 3);
}

#[test]
fn classic_progress_is_the_tutorials() {
    let (first, second) = (Peer::listen(), Peer::listen());
    let get = get([first.port(), second.port()])
        .with("--progress", "classic")
        .start();
    let (mut one, mut two) = (first.accept(), second.accept());
    one.write_all(b"1234567890").unwrap();
    get.stderr.wait_for_lines(1);
    two.write_all(b"123").unwrap();
    get.stderr.wait_for_lines(2);
    drop(one);
    get.stderr.wait_for_lines(3);
    drop(two);
    let finished = get.finish().code(0).said("1234567890123");
    let lines: Vec<_> = finished.stderr.lines().collect();
    assert_eq!(
        lines[..4],
        [
            format!("Task 1: got 10 bytes of poetry from {}", first.local_addr),
            format!("Task 2: got 3 bytes of poetry from {}", second.local_addr),
            "Task 1 finished".to_owned(),
            "Task 2 finished".to_owned(),
        ]
    );
    assert!(lines[4].starts_with("Got 2 poems in 0:00:"), "{}", lines[4]);
    assert_eq!(lines.len(), 5);
}

#[test]
fn quiet_says_errors_only_and_verbose_says_more() {
    let (nobody, server) = (Nobody::new(), server("science").start());
    let targets = [nobody.target().to_string(), server.port().to_string()];
    let finished = get(&targets).args(["-q", "--retry", "0"]).run().code(1);
    assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
    assert!(
        finished.stderr.ends_with(" [refused]\n"),
        "{}",
        finished.stderr
    );
    get([server.port(), server.port()])
        .args(["-v"])
        .run()
        .code(0)
        .complained("byron: got 2 of 2 poems, 1306 bytes in ");
    let finished = get(&targets)
        .args(["-v", "--retry", "1", "--retry-delay", "1ms"])
        .run()
        .code(1)
        .complained("connection refused; again in 0.0s [refused]");
    // The retry, the failure and the sum.
    assert_eq!(finished.stderr.lines().count(), 3, "{}", finished.stderr);
    get(&targets)
        .args(["-vv", "--retry", "0"])
        .run()
        .code(1)
        .complained("\"level\":\"ERROR\"");
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
