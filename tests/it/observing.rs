//! What happens can be followed, recorded, looked at afterwards and sent to others.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::observe::{ctl, curl, socket};
use crate::support::{FOREVER, LIMIT, Peer, Process, byron, eventually, get, names, poem, server};

/// `byron observe` with these words.
#[track_caller]
fn observe(words: &str) -> Process {
    let mut command = byron();
    command.arg("observe").args(words.split_whitespace());
    Process::start(&mut command)
}

#[track_caller]
fn text(process: Process) -> String {
    String::from_utf8(process.finish().code(0).stdout).unwrap()
}

#[test]
fn once_it_tells_status_tree_and_the_last_events() {
    let _server = server("ecstasy").start();
    let seen = text(observe("--once ecstasy"));
    for part in [
        "● ecstasy - byron serve ",
        "     Active: ready since ",
        "\nbyron  ",
        "└─ ecstasy-1 ",
        " ready    byron",
    ] {
        assert!(seen.contains(part), "no {part:?} in:\n{seen}");
    }
    let seen = observe("--json").finish().code(0).json();
    assert_eq!(seen[0]["status"]["instance"]["name"], "ecstasy");
    assert_eq!(seen[0]["tree"]["roots"][0]["path"], "byron");
    assert_eq!(seen[0]["events"].as_array().unwrap().len(), 10);
    assert!(text(observe("--dot")).starts_with("digraph byron {"));
}

#[test]
fn a_follower_hears_what_happens_up_to_the_end() {
    let server = server("ecstasy").start();
    let follower = observe("--follow --since 0");
    follower.stdout.wait_for("byron/ecstasy-1#1");
    ctl("restart ecstasy-1/server").code(0);
    follower.stdout.wait_for("restarts byron/ecstasy-1/server");
    server.stop().code(0);
    let followed = follower.finish().code(0).complained("ecstasy has ended");
    let last = followed.lines().last().copied().unwrap_or_default();
    assert!(last.contains("exit     byron#1  shutdown"), "{last}");
}

#[test]
fn an_instance_that_is_killed_is_gone_without_a_word() {
    let server = server("ecstasy").start();
    let follower = observe("-f --since 0");
    follower.stdout.wait_for("byron/ecstasy-1#1");
    server.kill();
    follower
        .finish()
        .code(0)
        .complained("ecstasy is gone without a word");
}

#[test]
fn several_instances_are_followed_at_once() {
    let (ecstasy, science) = (server("ecstasy").start(), server("science").start());
    let follower = observe("-f ecstasy science");
    // Both are followed from before they end.
    follower.stdout.wait_for("");
    for name in ["ecstasy", "science"] {
        eventually("it is followed", || {
            curl(&socket(name), &[], "/v1/status").1["followers"] == 1
        });
    }
    ecstasy.stop().code(0);
    science.stop().code(0);
    let followed = follower.finish().code(0);
    let followed = followed
        .complained("ecstasy has ended")
        .complained("science has ended");
    let lines = followed.lines();
    for name in ["ecstasy: ", "science: "] {
        assert!(lines.iter().any(|line| line.starts_with(name)), "{lines:?}");
    }
}

#[test]
fn what_was_recorded_is_replayed_without_the_program() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("story.jsonl");
    let record = path.display().to_string();
    let server = server("ecstasy").args(["--record", &record]).start();
    ctl("kill ecstasy-1/listeners --yes").code(0);
    eventually("it is ready again", || {
        curl(&socket("ecstasy"), &[], "/readyz").0 == 200
    });
    // The same, written by whoever watches.
    let copy = directory.path().join("copy.jsonl").display().to_string();
    let copying = observe(&format!("--record {copy}"));
    eventually("it is followed", || {
        curl(&socket("ecstasy"), &[], "/v1/status").1["followers"] == 1
    });
    let live = ctl("tree --json").code(0).json();
    server.stop().code(0);
    copying.finish().code(0).complained("ecstasy has ended");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let last = text(observe(&record));
    assert!(last.contains("as it was recorded: pid "), "{last}");
    assert!(last.contains("└─ ecstasy-1 "), "{last}");
    let seq = live[0]["seq"].as_u64().unwrap();
    let replayed = observe(&format!("{record} --at {seq} --json"))
        .finish()
        .code(0)
        .json();
    assert_eq!(states(&replayed[0]), states(&live[0]));

    let events = text(observe(&format!("{record} --follow")));
    assert!(
        events.contains(" kills byron/ecstasy-1/listeners"),
        "{events}"
    );
    let why = text(observe(&format!(
        "{record} --why byron/ecstasy-1/listeners/steward-0"
    )));
    assert!(why.contains("what led to it"), "{why}");
    let copied = text(observe(&copy));
    assert!(copied.contains("└─ ecstasy-1 "), "{copied}");

    let mut step = byron();
    step.args(["observe", &record, "--step"]);
    let mut step = Process::start(step.stdin(std::process::Stdio::piped()));
    step.stdin
        .take()
        .unwrap()
        .write_all(b"j\nk\n#30\nwhat\nq\n")
        .unwrap();
    let stepped = step
        .finish()
        .code(0)
        .complained("Enter, j, k, a number, or q");
    let stepped = String::from_utf8(stepped.stdout).unwrap();
    assert!(stepped.contains(" #30 "), "{stepped}");
}

/// Place by place: what it was in, and which incarnation.
fn states(tree: &Value) -> Vec<(String, String, u64)> {
    fn walk(node: &Value, states: &mut Vec<(String, String, u64)>) {
        let text = |key: &str| node[key].as_str().unwrap_or_default().to_owned();
        states.push((
            text("path"),
            text("state"),
            node["inc"].as_u64().unwrap_or(0),
        ));
        for child in node["children"].as_array().into_iter().flatten() {
            walk(child, states);
        }
    }
    let mut states = Vec::new();
    for root in tree["roots"].as_array().unwrap() {
        walk(root, &mut states);
    }
    states
}

#[test]
fn a_recording_that_is_there_is_kept_and_one_that_cannot_begin_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("story.jsonl");
    fs::write(&path, "the last run\n").unwrap();
    let record = path.display().to_string();
    server("ecstasy")
        .args(["--record", &record])
        .start()
        .stop()
        .code(0);
    assert_eq!(names(directory.path()), ["story.jsonl", "story.jsonl.old"]);
    let old = fs::read(directory.path().join("story.jsonl.old")).unwrap();
    assert_eq!(old, b"the last run\n");
    server("ecstasy")
        .args(["--record", "/no/such/place"])
        .run()
        .code(1)
        .complained("cannot record to /no/such/place: No such file or directory");
    fs::write(&path, "Had we but world enough, and time\n").unwrap();
    observe(&record)
        .finish()
        .code(1)
        .complained("is no recording of byron");
    fs::write(&path, "{\"v\":2,\"type\":\"instance\"}\n").unwrap();
    observe(&record).finish().code(1).complained("version 2");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_said_once_and_counted_and_the_server_goes_on() {
    let server = server("ecstasy").args(["--record", "/dev/full"]).start();
    server.wait_for("cannot record to /dev/full: No space left on device");
    ctl("restart ecstasy-1/server").code(0);
    assert_eq!(server.reader().whole(), poem("ecstasy"));
    eventually("what is lost is counted", || {
        let (_, status) = curl(&socket("ecstasy"), &[], "/v1/status");
        status["recorded"]["lost"].as_u64() == status["seq"].as_u64()
    });
    let status = ctl("status").code(0);
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(
        status.contains("Record: /dev/full (0 written, "),
        "{status}"
    );
    let finished = server
        .stop()
        .code(0)
        .complained(" events are not in /dev/full");
    assert_eq!(
        finished.stderr.matches("cannot record").count(),
        1,
        "{}",
        finished.stderr
    );
}

#[test]
fn a_follower_who_does_not_read_misses_events_and_nobody_else_notices() {
    /// So that the ring of 10 000 events overruns, with what waits in the socket.
    const DEEDS: usize = 8_000;
    /// How many requests are under way at once.
    const BURST: usize = 100;

    let server = server("ecstasy").pace(10, FOREVER).start();
    let reader = server.reader();
    reader.wait_for_bytes(10);
    let path = socket("ecstasy");
    let mut follower = UnixStream::connect(&path).unwrap();
    follower.set_read_timeout(Some(LIMIT)).unwrap();
    follower
        .write_all(b"GET /v1/events?since=0 HTTP/1.1\r\nHost: byron\r\n\r\n")
        .unwrap();

    // A deed that is refused is two events.
    let mut operator = UnixStream::connect(&path).unwrap();
    operator.set_read_timeout(Some(LIMIT)).unwrap();
    let deed = "POST /v1/children/byron%2Fecstasy-1%2Fserver/start HTTP/1.1\r\nHost: byron\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n";
    let mut answers = 0;
    let mut chunk = vec![0; 64 * 1024];
    let mut rest = Vec::new();
    for _ in 0..DEEDS / BURST {
        operator.write_all(deed.repeat(BURST).as_bytes()).unwrap();
        while answers < BURST {
            let read = operator.read(&mut chunk).unwrap();
            assert!(read > 0, "it closed the connection");
            rest.extend_from_slice(&chunk[..read]);
            let answered = rest
                .split(|byte| *byte == b'\n')
                .filter(|line| line.starts_with(b"HTTP/1.1 409"));
            answers = answered.count();
        }
        (answers, rest) = (0, Vec::new());
    }
    // The last to be told is what happens now.
    let (_, status) = curl(&path, &[], "/v1/status");
    let last = status["seq"].as_u64().unwrap();
    assert!(last > 2 * DEEDS as u64, "{status}");

    let (mut heard, mut said) = (0, Vec::new());
    let mut told = |bytes: &[u8]| {
        said.extend_from_slice(bytes);
        while let Some(end) = said.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = said.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line).into_owned();
            let Some(data) = line.strip_prefix("data: ") else {
                continue;
            };
            let event: Value = serde_json::from_str(data).unwrap();
            heard = match event["missed"].as_u64() {
                Some(missed) => event["after"].as_u64().unwrap() + missed,
                None => {
                    assert_eq!(event["seq"], heard + 1, "one is missing without a word");
                    heard + 1
                }
            };
        }
        heard
    };
    loop {
        let read = follower.read(&mut chunk).unwrap();
        assert!(read > 0, "it closed the connection");
        if told(&chunk[..read]) >= last {
            break;
        }
    }
    let (_, status) = curl(&path, &[], "/v1/status");
    assert!(status["followers_missed"].as_u64().unwrap() > 0, "{status}");
    assert!(status["dropped"].as_u64().unwrap() > 0, "{status}");
    assert_eq!(reader.so_far().len(), 10, "the reader is where he was");
    server.reader().wait_for_bytes(10);
}

#[test]
fn the_log_can_be_read_and_made_to_say_more_for_a_while() {
    let server = server("ecstasy").start();
    ctl("log-level").code(0).said("warn\n");
    ctl("log-level nonsense=nothing")
        .code(1)
        .complained("`nonsense=nothing` is no filter");
    ctl("log-level info --for 5m")
        .code(0)
        .said("info for 5m00s\n");
    ctl("restart ecstasy-1/server").code(0);
    server.wait_for("restart by an operator");
    let logs = ctl("logs ecstasy-1/server").code(0);
    let logs = String::from_utf8(logs.stdout).unwrap();
    assert!(logs.contains("restart by an operator"), "{logs}");
    assert!(!logs.contains("listener"), "{logs}");
    ctl("log-level default").code(0).said("warn\n");
}

#[test]
fn a_bundle_tells_everything_but_where_people_live() {
    let _server = server("ecstasy").start();
    ctl("kill ecstasy-1/listeners --yes").code(0);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bundle.jsonl");
    let mut bundle = byron();
    bundle
        .env("HOME", env!("CARGO_MANIFEST_DIR"))
        .args(["ctl", "bundle", "-o"])
        .arg(&path);
    Process::start(&mut bundle).finish().code(0).said(format!(
        "{}: look through it before you send it; byron observe shows it\n",
        path.display()
    ));
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let lines = fs::read_to_string(&path).unwrap();
    assert!(!lines.contains(env!("CARGO_MANIFEST_DIR")), "{lines}");
    assert!(lines.contains("~/poetry/ecstasy.txt"), "{lines}");
    let kinds: Vec<String> = lines
        .lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["type"].as_str().unwrap().to_owned()
        })
        .collect();
    for kind in ["instance", "tree", "operator", "exit", "log"] {
        assert!(
            kinds.iter().any(|known| known == kind),
            "no {kind} in {kinds:?}"
        );
    }
    let shown = text(observe(&path.display().to_string()));
    assert!(shown.contains("└─ ecstasy-1 "), "{shown}");
    let why = text(observe(&format!(
        "{} --why ecstasy-1/listeners",
        path.display()
    )));
    assert!(why.contains("kills byron/ecstasy-1/listeners"), "{why}");
}

#[test]
fn a_port_that_another_byron_has_is_an_error_that_names_it() {
    let first = server("ecstasy").start();
    let port = first.port();
    server("science")
        .args(["--port", &port.to_string()])
        .run()
        .code(1)
        .complained(&format!(
            "cannot listen on 127.0.0.1:{port}: address in use by byron serve \"ecstasy\" (pid {}); try --port 0 or: byron ctl -i ecstasy stop",
            first.process.pid()
        ));
}

#[test]
fn a_client_can_be_observed_and_called_off_if_that_was_asked_for() {
    let peer = Peer::listen();
    let unobserved = get([peer.port()]).start();
    let _first = peer.accept();
    ctl("status").code(4).complained("no byron is running here");
    let observed = get([peer.port()]).args(["--observe"]).start();
    let _second = peer.accept();
    let tree = ctl("-i get tree").code(0);
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("coordinator"), "{tree}");
    ctl("stop")
        .code(0)
        .said("get has ended with exit code 143: Stopped by SIGTERM or SIGHUP.\n");
    observed.finish().code(143);
    drop(unobserved);
}
