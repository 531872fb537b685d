//! What an operator does to a running tree is what was announced, and nobody else notices.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::Value;

use crate::observe::{ctl, curl, socket};
use crate::support::{
    FOREVER, Process, Server, connect, eventually, on_terminal, runtime_directory, server,
};

const JSON: [&str; 3] = ["-X", "POST", "-HContent-Type: application/json"];

/// Each place of the tree, and the process that runs there.
#[track_caller]
fn pids() -> BTreeMap<String, Option<u64>> {
    fn walk(node: &Value, pids: &mut BTreeMap<String, Option<u64>>) {
        let path = node["path"].as_str().unwrap().to_owned();
        pids.insert(path, node["pid"].as_u64());
        for child in node["children"].as_array().into_iter().flatten() {
            walk(child, pids);
        }
    }
    let mut pids = BTreeMap::new();
    for root in ctl("tree --json").code(0).json()[0]["roots"]
        .as_array()
        .unwrap()
    {
        walk(root, &mut pids);
    }
    pids
}

/// Waits until every static place has a process.
#[track_caller]
fn wait_until_ready() {
    eventually("the tree is ready", || {
        curl(&socket("ecstasy"), &[], "/readyz").0 == 200
    });
}

/// A server whose readers stay.
#[track_caller]
fn slow_server() -> Server {
    server("ecstasy").pace(10, FOREVER).start()
}

fn texts(value: &Value) -> Vec<String> {
    let values = value.as_array().unwrap().iter();
    values
        .map(|value| value.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn killed_listeners_are_back_and_no_connection_drops() {
    let server = server("ecstasy")
        .pace(10, std::time::Duration::from_millis(50))
        .start();
    let before = server.reader();
    before.wait_for_bytes(10);
    ctl("kill ecstasy-1/listeners/listener-* --yes")
        .code(0)
        .complained("drops no connection");
    let heard = before.so_far().len();
    let after = server.reader();
    after.wait_for_bytes(10);
    before.wait_for_bytes(heard + 20);
    wait_until_ready();
    let why = ctl("why ecstasy-1/listeners/listener-0-127.0.0.1").code(0);
    let why = String::from_utf8(why.stdout).unwrap();
    for part in [
        "listener-0-127.0.0.1#1: killed",
        "kills byron/ecstasy-1/listeners/listener-0-127.0.0.1",
        "supervisor  byron/ecstasy-1/listeners: one_for_one, waits, then restarts it",
        "#2 was ready after",
    ] {
        assert!(why.contains(part), "no {part:?} in:\n{why}");
    }
}

#[test]
fn what_is_announced_of_a_supervisor_is_what_happens() {
    let server = slow_server();
    let readers = [server.reader(), server.reader(), server.reader()];
    for reader in &readers {
        reader.wait_for_bytes(10);
    }
    for pattern in ["*/listeners", "*/connections-0", "*/connections-1"] {
        wait_until_ready();
        let before = pids();
        let announced = ctl(&format!("kill {pattern} --dry-run --json")).code(0);
        let announced = announced.json()[0]["places"][0].clone();
        assert_eq!(pids(), before, "a rehearsal changes nothing");
        ctl(&format!("kill {pattern} --yes"))
            .code(0)
            .complained(announced["text"].as_str().unwrap());
        wait_until_ready();
        let after = pids();
        let is_connection = |path: &str| path.rsplit('/').next().unwrap().parse::<u64>().is_ok();
        let changed: Vec<&String> = before
            .iter()
            .filter(|(path, pid)| !is_connection(path) && after.get(*path) != Some(*pid))
            .map(|(path, _)| path)
            .collect();
        let mut starts = texts(&announced["starts"]);
        starts.sort();
        assert_eq!(changed, starts.iter().collect::<Vec<_>>(), "{pattern}");
        let dropped = before
            .keys()
            .filter(|path| is_connection(path) && !after.contains_key(*path))
            .count();
        assert_eq!(announced["drops"], dropped, "{pattern}");
    }
    for reader in &readers {
        reader.cut_off();
    }
    let again = server.reader();
    again.wait_for_bytes(10);
}

#[test]
fn more_than_was_named_is_done_only_when_it_is_confirmed() {
    let _server = slow_server();
    let before = pids();
    for words in [
        "kill ecstasy-1",
        "stop ecstasy-1/listeners --no-input",
        "restart ecstasy-1/listeners/*",
    ] {
        ctl(words)
            .code(5)
            .said("")
            .complained("refused: this affects more than what was named")
            .complained("say --yes");
    }
    assert_eq!(pids(), before);
    // One worker that nothing depends on needs no questions.
    ctl("restart ecstasy-1/server")
        .code(0)
        .complained("restart byron/ecstasy-1/server: restarts 1 child (server)");
    assert_ne!(
        pids()["byron/ecstasy-1/server"],
        before["byron/ecstasy-1/server"]
    );
}

#[test]
fn whoever_is_at_a_terminal_is_asked_and_enter_means_no() {
    let _server = slow_server();
    let before = pids();
    for (answer, code) in [("\n", 5), ("n\n", 5), ("yes\n", 0)] {
        let mut kill = on_terminal("ctl kill ecstasy-1/listeners");
        kill.stdout
            .wait_for("kill byron/ecstasy-1/listeners? [y/N] ");
        let mut keyboard = kill.stdin.take().unwrap();
        keyboard.write_all(answer.as_bytes()).unwrap();
        kill.finish().code(code);
        let is_same = pids()["byron/ecstasy-1/listeners"] == before["byron/ecstasy-1/listeners"];
        assert_eq!(is_same, code != 0, "{answer:?}");
    }
}

#[test]
fn what_is_stopped_stays_stopped_until_it_is_started() {
    let server = server("ecstasy").start();
    ctl("stop ecstasy-1/listeners --yes")
        .code(0)
        .complained("stop byron/ecstasy-1/listeners: ends ");
    let (status, health) = curl(&socket("ecstasy"), &[], "/readyz");
    assert_eq!(status, 503);
    assert_eq!(health["not_ready"][0]["path"], "byron/ecstasy-1/listeners");
    assert_eq!(health["not_ready"][0]["state"], "STOPPED");
    ctl("stop ecstasy-1/listeners --yes")
        .code(1)
        .complained("it is not running");
    let waiting = server.reader();
    ctl("start ecstasy-1/listeners").code(0);
    wait_until_ready();
    assert_eq!(waiting.whole(), crate::support::poem("ecstasy"));
    ctl("start ecstasy-1/listeners")
        .code(1)
        .complained("it is already running");
}

#[test]
fn a_place_that_is_not_there_is_an_error_with_a_hint() {
    let _server = server("ecstasy").start();
    ctl("kill listners")
        .code(4)
        .complained("there is no listners in the tree; did you mean byron/ecstasy-1/listeners");
    ctl("why crash-99999")
        .code(4)
        .complained("there is no event #99999 yet");
    let socket = socket("ecstasy");
    let check = |arguments: &[&str], path: &str, status: u16, kind: &str| {
        let (got, body) = curl(&socket, arguments, path);
        assert_eq!(
            (got, &body["error"]["kind"]),
            (status, &kind.into()),
            "{path}: {body}"
        );
    };
    check(&JSON, "/v1/children/nowhere/kill", 404, "place");
    check(&JSON, "/v1/children/byron%2F%2A%2F%2A/kill", 409, "several");
    check(&JSON, "/v1/children/byron/ecstasy-1/vanish", 404, "action");
    check(&JSON, "/v1/children//kill", 400, "path");
    check(&[], "/v1/children/byron/ecstasy-1/kill", 405, "method");
    check(&[], "/v1/consequence?action=kill", 400, "query");
    check(&[], "/v1/consequence?action=vanish&path=x", 400, "action");
    check(&[], "/v1/why/no/such/place", 404, "event");
}

#[test]
fn every_deed_is_an_event_with_who_did_it() {
    let _server = server("ecstasy").start();
    ctl("restart ecstasy-1/server").code(0);
    let (_, recent) = curl(&socket("ecstasy"), &[], "/v1/recent");
    let events = recent["events"].as_array().unwrap();
    let deed = events
        .iter()
        .find(|event| event["type"] == "operator")
        .unwrap();
    let own_uid = std::process::Command::new("id")
        .arg("-u")
        .output()
        .unwrap()
        .stdout;
    let own_uid = String::from_utf8(own_uid).unwrap();
    let note = deed["note"].as_str().unwrap();
    let who = format!("uid {}, pid ", own_uid.trim());
    assert!(note.starts_with(&who), "{note}");
    assert!(note.ends_with(" restarts byron/ecstasy-1/server"), "{note}");
    assert!(
        events.iter().any(|event| event["cause"] == deed["seq"]),
        "it caused nothing: {recent}"
    );
}

#[test]
fn too_many_failures_end_the_program_with_6_and_the_chain() {
    let server = server("ecstasy").start();
    let socket = socket("ecstasy");
    // Ten restarts in ten seconds are tolerated; a kill that comes too early finds nothing to kill.
    let kill = |_| {
        let _ = std::process::Command::new("curl")
            .args(["-s", "--max-time", "5", "--unix-socket"])
            .arg(&socket)
            .args(JSON)
            .arg("http://byron/v1/children/byron%2Fecstasy-1/kill")
            .output();
    };
    (0..40).take_while(|_| socket.exists()).for_each(kill);
    server
        .process
        .finish()
        .code(6)
        .complained("the root supervisor gave up (shutdown); what led to it:")
        .complained("kills byron/ecstasy-1")
        .complained("gave_up");
    assert!(!runtime_directory().join("byron/ecstasy.json").exists());
}

#[test]
fn the_port_answers_while_its_listeners_are_replaced() {
    let server = slow_server();
    for _ in 0..5 {
        ctl("kill ecstasy-1/listeners --yes").code(0);
        // Nobody is refused, whenever he comes: the socket is not the listener's.
        drop(connect(server.port()));
        server.reader().wait_for_bytes(10);
    }
    let process: &Process = &server.process;
    assert!(process.stdout.so_far().starts_with(b"Serving "));
}
