//! What a person at a terminal sees; util-linux `script` is the terminal.

use std::io::Write;

use crate::support::{
    Nobody, Peer, Process, byron, file, names, on_terminal, on_terminal_with, server_of,
};

/// What a poem should not be able to do to a terminal: a new title, a clear screen, text that runs backwards.
const ATTACK: &str = "\x1b]0;owned\x07\x1b[2Jharmless\u{202e}\u{9b}1m\n";

const ATTACK_SHOWN: &str = r"\x1b]0;owned\x07\x1b[2Jharmless\u{202e}\u{9b}1m";

/// The lines that are left on a terminal on which nothing but single lines was ever rewritten.
fn screen(sent: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(sent).replace("\r\n", "\n");
    let rewritten = |line: &str| {
        let last = line.rsplit('\r').next().unwrap_or_default();
        ["\x1b[K", "\x1b[?7l", "\x1b[?7h"]
            .iter()
            .fold(last.to_owned(), |line, code| line.replace(code, ""))
    };
    text.split('\n').map(rewritten).collect()
}

#[test]
fn a_status_line_stands_below_the_poem_and_never_in_it() {
    let peer = Peer::listen();
    let get = on_terminal(&format!("get {} {}", peer.port(), peer.port()));
    let (mut one, two) = (peer.accept(), peer.accept());
    get.stdout.wait_for("byron: 0 of 2 poems");
    one.write_all(b"First ").unwrap();
    get.stdout.wait_for("First ");
    one.write_all(b"line.\n").unwrap();
    get.stdout
        .wait_for("line.\r\n\x1b[?7l\rbyron: 0 of 2 poems, 12 B");
    for (mut reader, text) in [
        (one, "Second line.\n"),
        (two, "First line.\nSecond line.\n"),
    ] {
        // Whichever of the two is the first poem: both are the same in the end.
        reader.write_all(text.as_bytes()).unwrap();
    }
    let finished = get.finish().code(0);
    let poem = ["First line.", "Second line."];
    assert_eq!(screen(&finished.stdout), [&poem[..], &poem, &[""]].concat());
}

#[test]
fn bars_stand_on_the_terminal_while_the_poems_go_to_a_file() {
    let (directory, path) = file("");
    let (first, second) = (Peer::listen(), Peer::listen());
    let words = format!(
        "get {} {} > {}",
        first.port(),
        second.port(),
        path.display()
    );
    let get = on_terminal(&words);
    let (mut one, mut two) = (first.accept(), second.accept());
    one.write_all(b"one").unwrap();
    two.write_all(b"two").unwrap();
    get.stdout
        .wait_for(&format!(" 1 {}     3 B", first.local_addr));
    get.stdout.wait_for(" streaming");
    get.stdout
        .wait_for(&format!(" 2 {}     3 B", second.local_addr));
    get.stdout.wait_for(" waiting for 1");
    drop((one, two));
    let finished = get.finish().code(0);
    assert!(
        finished.stdout.ends_with(b"\r\x1b[2K"),
        "the bars are still there"
    );
    assert_eq!(
        std::fs::read(directory.path().join("poem.txt")).unwrap(),
        b"onetwo"
    );
}

#[test]
fn a_failure_has_a_line_of_its_own() {
    let (peer, nobody) = (Peer::listen(), Nobody::new());
    let words = format!(
        "get --retry 0 --progress none {} {}",
        peer.port(),
        nobody.target()
    );
    let get = on_terminal(&words);
    let mut reader = peer.accept();
    get.stdout.wait_for(" [refused]");
    reader.write_all(b"half a line").unwrap();
    get.stdout.wait_for("half a line");
    drop(reader);
    let finished = get.finish().code(1);
    let lines = screen(&finished.stdout);
    assert!(lines[0].ends_with(" [refused]"), "{lines:?}");
    assert_eq!(lines[1], "half a line");
    assert!(lines[2].starts_with("byron: got 1 of 2 poems"), "{lines:?}");
}

#[test]
fn a_poem_cannot_attack_the_terminal() {
    let peer = Peer::listen();
    for (flags, expected) in [("", ATTACK_SHOWN), ("--raw", ATTACK.trim_end())] {
        let get = on_terminal(&format!("get --progress none {flags} {}", peer.port()));
        peer.accept().write_all(ATTACK.as_bytes()).unwrap();
        let finished = get.finish().code(0);
        assert_eq!(
            String::from_utf8(finished.stdout).unwrap(),
            format!("{expected}\r\n")
        );
    }
}

#[test]
fn a_poem_in_a_pipe_or_a_file_is_as_it_was() {
    let (directory, path) = file(ATTACK);
    let server = server_of(&path).start();
    let copy = directory.path().join("copy");
    for words in [
        format!("get {} > {}", server.port(), copy.display()),
        format!("get {} -o {}", server.port(), copy.display()),
    ] {
        on_terminal(&words).finish().code(0);
        assert_eq!(std::fs::read_to_string(&copy).unwrap(), ATTACK);
    }
    let mut command = byron();
    command.args(["get", &server.port().to_string()]);
    Process::start(&mut command).finish().code(0).said(ATTACK);
}

#[test]
fn ctrl_c_ends_it_and_leaves_the_terminal_clean() {
    let (peer, directory) = (Peer::listen(), tempfile::tempdir().unwrap());
    let path = directory.path().join("poem.txt");
    let mut get = on_terminal(&format!("get {} -o {}", peer.port(), path.display()));
    let mut reader = peer.accept();
    reader.write_all(b"half").unwrap();
    get.stdout.wait_for("     4 B");
    let mut keyboard = get.stdin.take().unwrap();
    keyboard.write_all(b"\x03").unwrap();
    let finished = get.finish().code(130);
    assert!(
        finished.stdout.ends_with(b"\r\x1b[2K"),
        "the bars are still there"
    );
    assert_eq!(names(directory.path()), [""; 0]);
}

#[test]
fn nothing_is_rewritten_where_that_is_not_wanted() {
    let peer = Peer::listen();
    for (flags, environment) in [
        ("-q", ("TERM", "xterm")),
        ("--progress none", ("TERM", "xterm")),
        ("", ("TERM", "dumb")),
    ] {
        let words = format!("get {flags} {}", peer.port());
        let get = on_terminal_with(&words, &[environment]);
        let mut reader = peer.accept();
        reader.write_all(b"one\n").unwrap();
        get.stdout.wait_for("one\r\n");
        reader.write_all(b"two\n").unwrap();
        drop(reader);
        let finished = get.finish().code(0);
        assert_eq!(
            String::from_utf8(finished.stdout).unwrap(),
            "one\r\ntwo\r\n"
        );
    }
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    for (words, environment, is_coloured) in [
        ("--help", ("TERM", "xterm"), true),
        ("--help", ("NO_COLOR", "1"), false),
        ("--help", ("TERM", "dumb"), false),
        ("--color never --help", ("TERM", "xterm"), false),
        ("--help", ("BYRON_COLOR", "never"), false),
        ("--help | cat", ("TERM", "xterm"), false),
    ] {
        let help = on_terminal_with(words, &[environment]).finish().code(0);
        assert_eq!(
            help.stdout.contains(&b'\x1b'),
            is_coloured,
            "{words} {environment:?}"
        );
    }
}
