//! `byron get`, as long as nothing goes wrong: all at once, whole, in order, into files.

use std::fs;
use std::io::{Read, Write};
use std::time::Duration;

use crate::support::{
    ECSTASY_SHA256, Nobody, Peer, Process, assert_same, byron, eventually, file, full_disk, get,
    names, noise, poem, server, server_of,
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
