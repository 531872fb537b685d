//! The first thing that anyone runs.

use crate::support::{Process, byron, poem};

#[test]
fn the_demo_loses_actors_and_none_of_its_poems() {
    let poems = [poem("ecstasy"), poem("fascination"), poem("science")].concat();
    let finished = Process::start(byron().arg("demo"))
        .finish()
        .code(0)
        .said(poems);
    for told in [
        "byron: three servers (ports ",
        // One download is killed …
        "client/downloads/1#1 fell: killed\n",
        "client/downloads/1: its supervisor waits ",
        "client/downloads/1: restarted by client/downloads\n",
        // … and one connection panics, which its reader takes for what it is.
        "fell: panicked at 'forgot the next line, ",
        "client/downloads/2#1 fell: error: connection reset by 127.0.0.1:",
        "client/downloads/2: restarted by client/downloads\n",
        // The tree is whole again.
        "byron: the trees, now that all is said:\nservers  ",
        "─ ecstasy ",
        "─ fascination ",
        "─ science ",
        "\nclient  ",
        "─ coordinator ",
        "─ downloads ",
    ] {
        assert!(
            finished.stderr.contains(told),
            "it does not tell {told:?}:\n{}",
            finished.stderr
        );
    }
    assert!(
        !finished.stderr.contains("client/downloads/3"),
        "the third fell too:\n{}",
        finished.stderr
    );
}

#[test]
fn the_demo_may_be_quiet() {
    let finished = Process::start(byron().args(["demo", "-q"]))
        .finish()
        .code(0)
        .quietly();
    assert_eq!(finished.stdout.len(), 3003 + 615 + 653);
}
