//! `byron serve DIR --library`, `byron get lib:…` and `--frame netstring`, from outside.

use std::io::Write;

use crate::peers::tool;
use crate::support::{Process, get, poem, poem_path, server, server_of};

/// A server of the project's own poems.
fn poetry() -> crate::support::Server {
    server_of(poem_path("ecstasy").parent().unwrap())
        .args(["--library"])
        .start()
}

fn lib(port: u16, title: &str) -> String {
    format!("lib:{port}/{title}")
}

#[test]
fn a_directory_of_poems_is_served_by_title() {
    let library = poetry();
    library.wait_for("poems at 127.0.0.1:");
    let wanted = ["science.txt", "ecstasy.txt"].map(|title| lib(library.port(), title));
    get(wanted)
        .run()
        .code(0)
        .quietly()
        .said([poem("science"), poem("ecstasy")].concat());
    library
        .stop()
        .code(0)
        .complained("byron: served 2 readers, ");
}

#[test]
fn a_poem_that_a_library_has_not_is_said_at_once() {
    let library = poetry();
    let target = format!("lib:127.0.0.1:{}/..ecstasy", library.port());
    get([lib(library.port(), "..ecstasy")])
        .run()
        .code(3)
        .said("")
        .complained(&format!(
            "byron: {target}: the library has no poem \"..ecstasy\", 1 attempt in "
        ));
}

#[test]
fn a_poem_of_a_library_is_a_file_of_its_title() {
    let library = poetry();
    let directory = tempfile::tempdir().unwrap();
    get([lib(library.port(), "science.txt")])
        .with("-O", directory.path())
        .run()
        .code(0);
    let path = directory.path().join("science.txt");
    assert_eq!(std::fs::read(path).unwrap(), poem("science"));
}

#[test]
fn netcat_reads_a_library() {
    let library = poetry();
    let mut nc = tool("nc", &["-q", "5", "127.0.0.1", &library.port().to_string()]);
    let mut nc = Process::start(nc.stdin(std::process::Stdio::piped()));
    nc.stdin
        .take()
        .unwrap()
        .write_all(b"4:LIST,11:science.txt,")
        .unwrap();
    let heard = String::from_utf8(nc.finish().code(0).stdout).unwrap();
    assert!(heard.contains("ecstasy.txt\nfascination.txt\n"), "{heard}");
    assert!(heard.ends_with(&format!(
        "653:{},",
        String::from_utf8(poem("science")).unwrap()
    )));
}

#[test]
fn a_library_is_a_directory() {
    server("ecstasy")
        .args(["--library"])
        .run()
        .code(1)
        .said("")
        .complained("byron: cannot open the library ")
        .complained(": not a directory");
}

#[test]
fn a_poem_in_a_frame_is_whole_or_no_poem() {
    let framed = server("science").args(["--frame", "netstring"]).start();
    get([framed.port()])
        .args(["--frame", "netstring"])
        .run()
        .code(0)
        .quietly()
        .said(poem("science"));
    let expected = [b"653:".to_vec(), poem("science"), b",".to_vec()].concat();
    get([framed.port()]).run().code(0).said(expected);
    get([server("science").start().port()])
        .args(["--frame", "netstring"])
        .run()
        .code(3)
        .complained("where the length of a netstring should be, 1 attempt in ");
}
