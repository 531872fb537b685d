//! What `byron get` tells of its poems: in which order, as lines for programs, as progress, or hardly at all.

use std::io::Write;

use serde_json::json;

use crate::support::{ECSTASY_SHA256, Nobody, Peer, file, get, poem, server, server_of};

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
