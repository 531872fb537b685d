//! A replayed tree is the live one; a recording says where it is broken.

use std::time::Duration;

use actix::{Actor, System};
use byron_supervisors::{
    Backoff, ChildSpec, Context, DynamicFlags, ExitReason, Restart, Strategy, SupFlags, Supervisor,
    events_since, exit, kill, next_events,
};
use proptest::prelude::{ProptestConfig, any, prop, proptest};

use super::*;
use crate::observe::model::{Gap, Instance, Line};
use crate::present::json;

/// No test waits longer for anything.
const LIMIT: Duration = Duration::from_secs(20);

struct Reciter;

impl Actor for Reciter {
    type Context = Context<Self>;
}

fn reciter(id: &str) -> ChildSpec {
    ChildSpec::new(id, |_| Reciter)
}

fn flags(strategy: Strategy) -> SupFlags {
    SupFlags {
        strategy,
        intensity: 1000,
        period: Duration::from_secs(3600),
        ..SupFlags::default()
    }
}

/// Places of every kind, in two levels.
fn specs() -> Vec<ChildSpec> {
    let backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(2));
    let below = |restart: Strategy| {
        ChildSpec::supervisor(restart.name(), flags(restart), move || {
            vec![
                reciter("a"),
                reciter("b").restart(Restart::Transient).backoff(backoff),
                reciter("c"),
            ]
        })
    };
    vec![
        reciter("permanent"),
        reciter("waits").backoff(backoff),
        reciter("transient").restart(Restart::Transient),
        below(Strategy::OneForAll),
        below(Strategy::RestForOne),
        ChildSpec::dynamic_supervisor("crowd", DynamicFlags::new("reader")),
    ]
}

/// What must be equal: each place, its state, its incarnation and its restarts.
fn places(tree: &Tree, root: &str) -> Vec<(String, State, u32, u32)> {
    tree.nodes()
        .filter(|node| node.path.split('/').next() == Some(root))
        .map(|node| {
            let state = node.state.clone();
            (node.path.clone(), state, node.incarnation, node.restarts)
        })
        .collect()
}

/// Waits until the replayed tree is the live one, and says how the two differ if it never is.
async fn follow(replay: &mut Replay, root: &str) -> Tree {
    let mut difference = String::new();
    let caught_up = async {
        loop {
            for event in &events_since(replay.tree.seq).events {
                replay.apply(&Event::from(event));
            }
            let live = Tree::now();
            let (replayed, now) = (places(&replay.tree(), root), places(&live, root));
            let is_calm = now
                .iter()
                .all(|(_, state, ..)| matches!(state, State::Running | State::Stopped));
            if is_calm && replayed == now && live.seq == replay.tree.seq {
                return live;
            }
            difference = format!("{replayed:#?}\nis not\n{now:#?}");
            next_events(replay.tree.seq).await;
        }
    };
    match tokio::time::timeout(LIMIT, caught_up).await {
        Ok(tree) => tree,
        Err(_) => panic!("the replayed tree never is the live one: {difference}"),
    }
}

/// What is done to the nth of the processes that live.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Kill,
    Fail,
    EndInOrder,
}

fn deed() -> impl proptest::strategy::Strategy<Value = (prop::sample::Index, Deed)> {
    let deeds = prop::sample::select(vec![Deed::Kill, Deed::Fail, Deed::EndInOrder]);
    (any::<prop::sample::Index>(), deeds)
}

proptest! {
    // Each attempt to find a smaller failure may wait for the whole limit.
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 4, ..ProptestConfig::default() })]

    #[test]
    fn a_replayed_tree_is_the_live_one(deeds in prop::collection::vec(deed(), 1..8), case in any::<u64>()) {
        let name = format!("replayed-{case}");
        System::new().block_on(async {
            let begin = events_since(u64::MAX).last;
            let root = Supervisor::start(&name, flags(Strategy::OneForOne), specs()).await.unwrap();
            let mut from_nothing = Replay::new(Tree { seq: begin, ..Tree::new(Timestamp::UNIX_EPOCH) });
            let mut replay = Replay::new(Tree::now());
            follow(&mut replay, &name).await;
            for (which, deed) in deeds {
                let live = Tree::now();
                let alive: Vec<_> = live.nodes()
                    .filter(|node| node.path.starts_with(&format!("{name}/")))
                    .filter_map(|node| node.pid)
                    .collect();
                let pid = which.get(&alive).to_string().parse().unwrap();
                match deed {
                    Deed::Kill => kill(pid),
                    Deed::Fail => exit(pid, ExitReason::error("ink")),
                    Deed::EndInOrder => exit(pid, ExitReason::SHUTDOWN),
                }
                let end = byron_supervisors::exited(pid);
                end.await;
                follow(&mut replay, &name).await;
            }
            let live = follow(&mut from_nothing, &name).await;
            let budget = |tree: &Tree| {
                tree.find(&name).and_then(|node| node.supervisor.as_ref()?.budget.clone())
            };
            assert_eq!(budget(&replay.tree()), budget(&live));
            exit(root.pid(), ExitReason::SHUTDOWN);
            byron_supervisors::exited(root.pid()).await;
            for event in &events_since(replay.tree.seq).events {
                replay.apply(&Event::from(event));
            }
            // The live tree has no root any more; whoever looks back sees how it ended.
            let root = replay.tree();
            let root = root.find(&name).unwrap();
            assert_eq!(root.state, State::Exited);
            assert!(root.children.iter().all(|child| child.state == State::Stopped));
        });
    }
}

// ---- made-up events

fn ts(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_782_000_000 + seconds).unwrap()
}

fn event(seq: u64, kind: EventKind, place: &str) -> Event {
    let (path, incarnation) = place.split_once('#').unwrap();
    Event {
        path: Some(path.into()),
        incarnation: incarnation.parse().ok(),
        ..Event::new(seq, ts(seq as i64), kind)
    }
}

fn failed(seq: u64, place: &str) -> Event {
    Event {
        reason: Some(Reason::new(ReasonKind::Error)),
        ..event(seq, EventKind::Exit, place)
    }
}

fn tree() -> Tree {
    let mut root = Node::new("root", State::Running);
    (root.pid, root.incarnation, root.since) = (Some(1), 1, Some(ts(0)));
    root.supervisor = Some(Supervision {
        strategy: "one_for_one".into(),
        budget: Some(crate::observe::model::Budget {
            used: 2,
            intensity: 3,
            period: Duration::from_secs(5),
        }),
        children_total: 1,
        ..Supervision::default()
    });
    let mut child = Node::new("root/a", State::Running);
    (child.pid, child.incarnation) = (Some(2), 4);
    root.children = vec![child];
    Tree {
        seq: 10,
        roots: vec![root],
        ..Tree::new(ts(10))
    }
}

fn used(replay: &Replay) -> u64 {
    let tree = replay.tree();
    let budget = tree.roots[0].supervisor.as_ref().unwrap().budget.as_ref();
    budget.unwrap().used
}

#[test]
fn what_the_tree_knows_already_changes_nothing() {
    let mut replay = Replay::new(tree());
    replay.apply(&failed(9, "root/a#4"));
    replay.apply(&failed(11, "root/a#3"));
    assert_eq!(replay.tree().roots[0].children, tree().roots[0].children);
    replay.apply(&failed(12, "root/a#4"));
    assert_eq!(
        replay.tree().find("root/a").unwrap().state,
        State::Restarting
    );
}

#[test]
fn a_wait_is_shown_until_its_end_and_a_budget_recovers() {
    let mut replay = Replay::new(tree());
    replay.apply(&failed(12, "root/a#4"));
    replay.apply(&Event {
        delay: Some(Duration::from_secs(2)),
        ..event(13, EventKind::Backoff, "root/a#4")
    });
    let waiting = replay.tree();
    let node = waiting.find("root/a").unwrap();
    assert_eq!(
        (&node.state, node.next_attempt),
        (&State::Backoff, Some(ts(15)))
    );
    assert_eq!(waiting.roots[0].uptime, Some(Duration::from_secs(13)));
    replay.apply(&event(14, EventKind::Restart, "root/a#4"));
    assert_eq!(used(&replay), 3);
    // The two of before the look are over, the one of 14 still counts.
    replay.apply(&event(18, EventKind::Ready, "root/a#5"));
    assert_eq!(used(&replay), 1);
    replay.apply(&event(20, EventKind::Ready, "root/a#5"));
    assert_eq!(used(&replay), 0);
}

#[test]
fn the_failures_of_a_crowd_are_counted_and_the_last_are_kept() {
    let mut tree = tree();
    let supervisor = tree.roots[0].supervisor.as_mut().unwrap();
    supervisor.strategy = DYNAMIC.into();
    supervisor.children_total = 80;
    let mut replay = Replay::new(tree);
    for seq in 11..81 {
        replay.apply(&failed(seq, &format!("root/{seq}#1")));
    }
    let tree = replay.tree();
    let supervisor = tree.roots[0].supervisor.as_ref().unwrap();
    let crowd = supervisor.dynamic.as_ref().unwrap();
    assert_eq!((crowd.crashed, crowd.ended), (70, 70));
    assert_eq!(supervisor.children_total, 10);
    let kept: Vec<_> = crowd.exits.iter().map(|exit| exit.path.as_str()).collect();
    assert_eq!((kept.len(), kept[0]), (EXITS_MAX, "root/31"));
}

// ---- files

fn instance() -> Line {
    Line::Instance(Box::new(Instance {
        name: "ecstasy".into(),
        pid: 4242,
        uid: Some(1000),
        command_line: vec!["byron".into(), "serve".into()],
        version: "0.1.0".into(),
        started: ts(0),
        endpoints: Vec::new(),
    }))
}

fn file(lines: &[Line]) -> String {
    lines.iter().map(|line| json::line(line).unwrap()).collect()
}

fn recorded() -> Vec<Line> {
    vec![
        instance(),
        Line::Tree(Box::new(tree())),
        Line::Event(Box::new(failed(12, "root/a#4"))),
        Line::Gap(Gap {
            after: 12,
            missed: 3,
        }),
        Line::Event(Box::new(event(16, EventKind::Ready, "root/a#5"))),
        Line::Tree(Box::new(Tree { seq: 16, ..tree() })),
        Line::Event(Box::new(failed(17, "root/a#5"))),
    ]
}

#[test]
fn a_recording_is_stepped_through() {
    let recording = Recording::read(file(&recorded()).as_bytes()).unwrap();
    assert_eq!(recording.instance.name, "ecstasy");
    assert!(!recording.was_cut);
    let state = |seq| {
        let (tree, missed) = recording.tree_at(seq)?;
        Some((tree.find("root/a")?.state.clone(), missed))
    };
    for (seq, expected) in [
        (9, None),
        (10, Some((State::Running, 0))),
        (12, Some((State::Restarting, 3))),
        (13, Some((State::Restarting, 3))),
        (16, Some((State::Running, 0))),
        (u64::MAX, Some((State::Restarting, 0))),
    ] {
        assert_eq!(state(seq), expected, "at {seq}");
    }
}

#[test]
fn a_last_line_that_was_cut_is_left_out() {
    let whole = file(&recorded());
    for cut in [1, 2, 20, 80] {
        let recording = Recording::read(&whole.as_bytes()[..whole.len() - cut]).unwrap();
        // Without its newline the line is whole all the same.
        let lines = recorded().len() - 1 - usize::from(cut > 1);
        assert_eq!((recording.lines.len(), recording.was_cut), (lines, cut > 1));
    }
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_line() {
    let first = file(&[instance()]);
    let tree = file(&[Line::Tree(Box::new(tree()))]);
    let event = file(&[Line::Event(Box::new(failed(12, "root/a#4")))]);
    for (text, expected) in [
        (
            String::new(),
            "is no recording of byron: its first line is not an instance",
        ),
        (
            "poetry\n".to_owned(),
            "is no recording of byron: its first line is not an instance",
        ),
        (
            event.clone(),
            "is no recording of byron: its first line is not an instance",
        ),
        (
            first.replace("\"v\":1", "\"v\":2"),
            "is of version 2 of the format; this byron reads version 1",
        ),
        (
            format!("{first}\n{tree}{{\"type\":\"exit\",\"seq\":}}\n"),
            "line 4, column 22: expected value",
        ),
        (
            format!("{first}{tree}{{\"type\":\"exit\",\"seq\":1}}\n{event}"),
            "line 3, column 23: missing field `v`",
        ),
        (
            format!("{first}{event}"),
            "line 2: has an event, but no tree was before it",
        ),
    ] {
        let error = Recording::read(text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let mut bytes = first.clone().into_bytes();
    bytes.extend(b"{\"type\":\"\xff\"}\n");
    let error = Recording::read(bytes.as_slice()).unwrap_err();
    assert_eq!(error.to_string(), "line 2, column 10: is not UTF-8");
}

#[test]
fn a_line_without_end_is_read_in_bounded_memory() {
    let head = file(&[instance()]);
    let endless = std::io::Read::chain(head.as_bytes(), std::io::repeat(b'x'));
    let error = Recording::read(std::io::BufReader::new(endless)).unwrap_err();
    assert!(
        matches!(error, ReadRecordingError::TooLong { line: 2 }),
        "{error}"
    );
}

#[test]
fn lines_of_a_later_version_are_passed_over() {
    let mut text = file(&recorded()[..2]);
    text += "{\"v\":1,\"type\":\"weather\",\"sky\":\"clear\"}\n";
    text += &file(&recorded()[2..3]);
    let recording = Recording::read(text.as_bytes()).unwrap();
    assert_eq!(recording.lines[1], Line::Other("weather".into()));
    assert_eq!(recording.events().count(), 1);
}

#[test]
fn the_late_end_of_an_older_process_does_not_end_the_one_that_runs() {
    let event = |seq, kind, pid| Event {
        path: Some("root/a".to_owned()),
        pid: Some(pid),
        incarnation: Some(1),
        ..Event::new(seq, Timestamp::UNIX_EPOCH, kind)
    };
    let mut tree = Tree::new(Timestamp::UNIX_EPOCH);
    tree.roots.push(Node::new("root", State::Running));
    let mut replay = Replay::new(tree);
    // Its supervisor was restarted before it was over.
    for event in [
        event(1, EventKind::Started, 7),
        event(2, EventKind::Ready, 7),
        event(3, EventKind::Started, 9),
        event(4, EventKind::Ready, 9),
        event(5, EventKind::Exit, 7),
    ] {
        replay.apply(&event);
    }
    let tree = replay.tree();
    let node = tree.find("root/a").unwrap();
    assert_eq!((node.state.clone(), node.pid), (State::Running, Some(9)));
}
