//! What an operator does to a tree: each deed in its turn, with its cause, or refused with a reason.

use std::time::Duration;

use actix::prelude::*;
use byron_supervisors::{
    Action, ActorRef, Backoff, ChildSpec, ChildState, DynamicFlags, DynamicSupervisor, Event,
    EventDetails, EventKind, ExitReason, Node, OPERATE_TIMEOUT, OperateError, Operated, Operator,
    Path, Pid, Refusal, Restart, Shutdown, StartDynamicChild, Strategy, SupFlags, Supervisor,
    causes_of, exited, find, operate, path_of, snapshot,
};

use crate::sup_support::{
    Ask, Deed, Log, MILLI, Part, SECOND, Start, Stop, Worker, count, events_of, flags, now, part,
    pass, paused, settle, unique,
};

fn operator() -> Operator {
    Operator {
        uid: Some(1000),
        pid: Some(4242),
        via: "socket".to_owned(),
    }
}

async fn done(action: Action, path: &Path) -> Result<Operated, OperateError> {
    let outcome = operate(action, path, &operator()).await;
    settle().await;
    outcome
}

async fn refused(action: Action, path: &Path) -> Refusal {
    let error = done(action, path).await.expect_err("it is refused");
    error.refusal
}

fn node(path: &Path) -> Option<Node> {
    fn below(node: Node, path: &Path) -> Option<Node> {
        if node.path == *path {
            return Some(node);
        }
        node.children.into_iter().find_map(|node| below(node, path))
    }
    snapshot().into_iter().find_map(|root| below(root, path))
}

fn state(path: &Path) -> &'static str {
    node(path).map_or("GONE", |node| node.state.name())
}

async fn tree(flags: SupFlags, specs: Vec<ChildSpec>) -> (ActorRef<Supervisor>, Path) {
    let name = unique("root");
    let sup = Supervisor::start(&name, flags, specs).await;
    (sup.expect("every child starts"), Path::root(name))
}

fn kinds(events: &[Event]) -> Vec<String> {
    let line = |event: &Event| {
        let path = event.path.as_ref().expect("it has a place");
        format!("{} {}", path.id(), event.kind.name())
    };
    events.iter().map(line).collect()
}

#[test]
fn stop_start_restart_and_kill_do_what_they_say_and_cause_what_follows() {
    paused(async {
        let log = Log::default();
        let (sup, root) = tree(flags(1), vec![part("a", &log).spec()]).await;
        let a = root.child("a");
        let first = sup.pid_of("a").await;
        for (action, wanted, follows) in [
            (Action::Stop, "STOPPED", vec!["a operator", "a exit"]),
            (
                Action::Start,
                "RUNNING",
                vec!["a operator", "a started", "a ready"],
            ),
            (
                Action::Restart,
                "RUNNING",
                vec!["a operator", "a exit", "a started", "a ready"],
            ),
            (
                Action::Kill,
                "RUNNING",
                vec!["a operator", "a exit", "a restart", "a started", "a ready"],
            ),
        ] {
            let since = now();
            let operated = done(action, &a).await.expect("it is done");
            assert_eq!(state(&a), wanted, "{action}");
            let events = events_of(&root.to_string(), since);
            assert_eq!(kinds(&events), follows, "{action}");
            assert_eq!(events[0].seq, operated.event);
            let note = events[0].note.as_deref();
            assert_eq!(note, Some(&*format!("uid 1000, pid 4242 {action}s {a}")));
            for event in &events[1..] {
                assert_eq!(causes_of(event.seq)[0].seq, operated.event, "{event}");
            }
            let is_start = matches!(action, Action::Start | Action::Restart);
            assert_eq!(operated.pid.is_some(), is_start);
            if is_start {
                assert_eq!(operated.pid, Some(sup.pid_of("a").await));
            }
        }
        assert_ne!(sup.pid_of("a").await, first);
        let node = node(&root).expect("it runs");
        let used = node.supervisor.expect("it supervises").restarts_used;
        assert_eq!(used, 1, "only the kill counts");
    });
}

#[test]
fn a_permanent_child_that_an_operator_has_stopped_says_so_until_it_runs_again() {
    paused(async {
        let (_sup, root) = tree(flags(1), vec![part("a", &Log::default()).spec()]).await;
        let a = root.child("a");
        done(Action::Stop, &a).await.expect("it runs");
        let stopped = node(&a).expect("its spec is kept");
        assert_eq!(stopped.stopped_by, Some(operator()));
        let picture = stopped.to_string();
        assert!(
            picture.contains("STOPPED") && picture.contains("by operator (uid 1000, pid 4242)"),
            "{picture}"
        );
        done(Action::Start, &a).await.expect("it starts");
        assert_eq!(node(&a).expect("it runs").stopped_by, None);
    });
}

#[test]
fn two_restarts_at_a_time_are_one() {
    paused(async {
        let child = part("a", &Log::default()).stops(Stop::Slow(SECOND, ExitReason::SHUTDOWN));
        let (_sup, root) = tree(flags(1), vec![child.spec()]).await;
        let a = root.child("a");
        let (operator, since) = (operator(), now());
        let (one, other, third) = tokio::join!(
            operate(Action::Restart, &a, &operator),
            operate(Action::Restart, &a, &operator),
            async {
                // The first is under way.
                settle().await;
                operate(Action::Restart, &a, &operator).await
            }
        );
        settle().await;
        let one = one.expect("it is done");
        assert_eq!(one.joined, None);
        for joined in [other, third] {
            let joined = joined.expect("it is done");
            assert_eq!((joined.joined, joined.pid), (Some(one.event), one.pid));
            assert_ne!(joined.event, one.event, "each request is told");
        }
        assert_eq!(child.made(), 2);
        let events = events_of(&root.to_string(), since);
        assert_eq!(count(&events, EventKind::Operator), 3);
        assert_eq!(count(&events, EventKind::Started), 1);
    });
}

#[test]
fn a_restart_after_a_stop_is_another_restart() {
    paused(async {
        let child = part("a", &Log::default());
        let (_sup, root) = tree(flags(1), vec![child.spec()]).await;
        let (a, operator) = (root.child("a"), operator());
        let (one, stop, other) = tokio::join!(
            operate(Action::Restart, &a, &operator),
            operate(Action::Stop, &a, &operator),
            operate(Action::Restart, &a, &operator),
        );
        one.expect("it is done");
        stop.expect("it is done");
        assert_eq!(other.expect("it is done").joined, None);
        assert_eq!((child.made(), state(&a)), (3, "RUNNING"));
    });
}

#[test]
fn what_cannot_be_done_is_refused_with_the_reason_and_told() {
    paused(async {
        let log = Log::default();
        let slow = Backoff {
            jitter: 0.0,
            ..Backoff::new(SECOND * 9, SECOND * 9)
        };
        let specs = vec![
            part("a", &log).spec(),
            part("waits", &log).spec().backoff(slow),
        ];
        let (sup, root) = tree(flags(9), specs).await;
        let (a, waits) = (root.child("a"), root.child("waits"));
        let none = root.child("none");
        for action in Action::ALL {
            assert_eq!(refused(action, &none).await, Refusal::NoSuchPlace);
            assert_eq!(
                refused(action, &a.child("below")).await,
                Refusal::NoSuchPlace
            );
        }
        assert_eq!(refused(Action::Start, &a).await, Refusal::AlreadyRunning);
        done(Action::Stop, &a).await.expect("it runs");
        assert_eq!(refused(Action::Stop, &a).await, Refusal::NotRunning);
        assert_eq!(refused(Action::Kill, &a).await, Refusal::NotRunning);
        sup.end("waits", Deed::Killed).await;
        assert_eq!(state(&waits), "BACKOFF");
        assert_eq!(refused(Action::Kill, &waits).await, Refusal::Restarting);
        assert_eq!(refused(Action::Start, &waits).await, Refusal::Restarting);
        assert_eq!(refused(Action::Restart, &root).await, Refusal::IsRoot);
        assert_eq!(refused(Action::Start, &root).await, Refusal::AlreadyRunning);

        let since = now();
        let error = done(Action::Kill, &a).await.expect_err("it does not run");
        assert_eq!(
            error.to_string(),
            format!("cannot kill {a}: it is not running")
        );
        let events = events_of(&root.to_string(), since);
        assert_eq!(kinds(&events), ["a operator", "a operator"]);
        assert_eq!(
            (events[0].seq, events[1].cause),
            (error.event, Some(error.event))
        );
        let EventDetails::Operator {
            operator: who,
            action,
            refused,
        } = &events[1].details
        else {
            panic!("{:?}", events[1]);
        };
        assert_eq!((&**who, *action), (&operator(), Some(Action::Kill)));
        assert_eq!(refused.as_deref(), Some("it is not running"));
    });
}

#[test]
fn what_waits_for_its_next_attempt_is_restarted_at_once_or_stopped() {
    paused(async {
        let backoff = Backoff::new(SECOND * 9, SECOND * 9);
        let child = part("a", &Log::default());
        let (sup, root) = tree(flags(9), vec![child.spec().backoff(backoff)]).await;
        let a = root.child("a");
        sup.end("a", Deed::Killed).await;
        assert_eq!(state(&a), "BACKOFF");
        done(Action::Restart, &a).await.expect("it is done");
        assert_eq!((state(&a), child.made()), ("RUNNING", 2));
        sup.end("a", Deed::Killed).await;
        done(Action::Stop, &a).await.expect("it is done");
        pass(SECOND * 20).await;
        assert_eq!((state(&a), child.made()), ("STOPPED", 2));
    });
}

#[test]
fn those_that_wait_for_a_sibling_come_back_when_it_is_restarted() {
    paused(async {
        let log = Log::default();
        let backoff = Backoff::new(SECOND * 9, SECOND * 9);
        let specs = vec![
            part("a", &log).spec().backoff(backoff),
            part("b", &log).spec(),
        ];
        let all = SupFlags {
            strategy: Strategy::OneForAll,
            ..flags(9)
        };
        let (sup, root) = tree(all, specs).await;
        let (a, b) = (root.child("a"), root.child("b"));
        sup.end("a", Deed::Killed).await;
        assert_eq!((state(&a), state(&b)), ("BACKOFF", "STOPPED"));
        let waiting = node(&b).expect("its spec is kept");
        assert_eq!(waiting.waits_for.as_deref(), Some("a"));
        assert_eq!(refused(Action::Start, &b).await, Refusal::Restarting);
        done(Action::Restart, &a).await.expect("it is done");
        assert_eq!((state(&a), state(&b)), ("RUNNING", "RUNNING"));
        assert_eq!(node(&b).expect("it runs").waits_for, None);
    });
}

#[test]
fn a_start_that_fails_is_told_with_its_reason_and_the_child_stays_stopped() {
    paused(async {
        let child = part("a", &Log::default());
        let (_sup, root) = tree(flags(9), vec![child.spec()]).await;
        let a = root.child("a");
        child.next_starts([Start::Fail(ExitReason::error("no ink"))]);
        let error = done(Action::Restart, &a)
            .await
            .expect_err("it does not start");
        assert_eq!(
            error.to_string(),
            format!("cannot restart {a}: it cannot be started again: error: no ink")
        );
        pass(SECOND * 9).await;
        assert_eq!(state(&a), "STOPPED");
        let stopped = node(&a).expect("its spec is kept");
        assert_eq!(stopped.stopped_by, Some(operator()));
        done(Action::Start, &a).await.expect("now it starts");
        assert_eq!(state(&a), "RUNNING");
    });
}

#[test]
fn a_temporary_child_can_be_restarted_and_is_gone_once_it_is_stopped() {
    paused(async {
        let child = part("a", &Log::default());
        let (_sup, root) = tree(flags(0), vec![child.restart(Restart::Temporary)]).await;
        let a = root.child("a");
        done(Action::Restart, &a).await.expect("its spec is there");
        assert_eq!((state(&a), child.made()), ("RUNNING", 2));
        done(Action::Stop, &a).await.expect("it runs");
        assert_eq!(state(&a), "GONE");
        assert_eq!(refused(Action::Start, &a).await, Refusal::NoSuchPlace);
    });
}

#[test]
fn a_deed_waits_for_a_busy_supervisor_and_a_kill_does_not() {
    paused(async {
        let log = Log::default();
        let slow = part("slow", &log);
        let (sup, root) = tree(flags(9), vec![slow.spec(), part("a", &log).spec()]).await;
        let (a, a_pid) = (root.child("a"), sup.pid_of("a").await);
        // From here on the supervisor waits for a start.
        slow.next_starts([Start::Slow(SECOND * 5)]);
        sup.end("slow", Deed::Killed).await;
        assert_eq!(state(&root.child("slow")), "STARTING");
        let dead = exited(a_pid);
        done(Action::Kill, &a).await.expect("it runs");
        assert_eq!(dead.await, ExitReason::Killed);
        let begin = tokio::time::Instant::now();
        done(Action::Restart, &a).await.expect("its turn comes");
        assert!(begin.elapsed() >= SECOND * 4, "{:?}", begin.elapsed());
        assert_eq!(state(&a), "RUNNING");
    });
}

#[test]
fn a_deed_whose_turn_comes_too_late_is_not_done() {
    paused(async {
        let log = Log::default();
        let slow = part("slow", &log);
        let specs = vec![slow.spec().start_timeout(None), part("a", &log).spec()];
        let (sup, root) = tree(flags(9), specs).await;
        let a = root.child("a");
        slow.next_starts([Start::Slow(OPERATE_TIMEOUT + SECOND)]);
        sup.end("slow", Deed::Killed).await;
        assert_eq!(refused(Action::Stop, &a).await, Refusal::Withdrawn);
        pass(SECOND * 2).await;
        assert_eq!(state(&root.child("slow")), "RUNNING");
        assert_eq!(state(&a), "RUNNING", "it was withdrawn");
    });
}

#[test]
fn a_deed_that_takes_too_long_goes_on_and_the_operator_is_told() {
    paused(async {
        let child = part("a", &Log::default()).stops(Stop::Stubborn);
        let limit = Shutdown::Timeout(OPERATE_TIMEOUT + SECOND);
        let (_sup, root) = tree(flags(9), vec![child.shutdown(limit)]).await;
        let a = root.child("a");
        assert_eq!(refused(Action::Stop, &a).await, Refusal::TimedOut);
        assert_eq!(state(&a), "STOPPING");
        pass(SECOND * 2).await;
        assert_eq!(state(&a), "STOPPED");
    });
}

#[test]
fn a_deed_ends_with_the_supervisor_it_waits_for() {
    paused(async {
        let log = Log::default();
        let slow = part("slow", &log);
        let (sup, root) = tree(flags(9), vec![slow.spec(), part("a", &log).spec()]).await;
        slow.next_starts([Start::Slow(SECOND * 5)]);
        sup.end("slow", Deed::Killed).await;
        let (a, operator) = (root.child("a"), operator());
        let (outcome, ()) = tokio::join!(operate(Action::Restart, &a, &operator), async {
            settle().await;
            byron_supervisors::kill(sup.pid());
        });
        let refusal = outcome.expect_err("nobody is left to do it").refusal;
        assert_eq!(refusal, Refusal::Died(ExitReason::Killed));
    });
}

#[test]
fn the_root_is_stopped_in_order_and_killed_at_once() {
    for (action, wanted) in [
        (Action::Stop, ExitReason::SHUTDOWN),
        (Action::Kill, ExitReason::Killed),
    ] {
        paused(async {
            let log = Log::default();
            let specs = vec![part("a", &log).spec(), part("b", &log).spec()];
            let (sup, root) = tree(flags(9), specs).await;
            let end = exited(sup.pid());
            log.take();
            let since = now();
            let operated = done(action, &root).await.expect("it runs");
            assert_eq!(end.await, wanted);
            if action == Action::Stop {
                assert_eq!(log.take(), ["stop b: shutdown", "stop a: shutdown"]);
            }
            let events = events_of(&root.to_string(), since);
            let ends = events.iter().filter(|event| event.kind == EventKind::Exit);
            let ends: Vec<_> = ends.collect();
            assert_eq!(ends.len(), 3);
            for end in ends {
                assert_eq!(causes_of(end.seq)[0].seq, operated.event, "{end}");
            }
        });
    }
}

// ---- dynamic children

async fn readers(
    flags: DynamicFlags,
    part: &Part,
    count: usize,
) -> (ActorRef<DynamicSupervisor>, Path) {
    let name = unique("readers");
    let sup = DynamicSupervisor::start(&name, flags).await;
    let sup = sup.expect("it starts");
    for _ in 0..count {
        let child = part.clone();
        let start = StartDynamicChild::with_init(move || child.clone().init());
        sup.send(start).await.expect("it lives").expect("it starts");
    }
    (sup, Path::root(name))
}

fn pid(path: &Path) -> Option<Pid> {
    node(path).and_then(|node| node.state.pid())
}

#[test]
fn dynamic_children_are_stopped_killed_and_restarted_by_number() {
    paused(async {
        let child = part("x", &Log::default());
        let (_sup, root) = readers(DynamicFlags::new("x"), &child, 3).await;
        let [one, two, three] = ["1", "2", "3"].map(|number| root.child(number));
        done(Action::Stop, &one).await.expect("it runs");
        done(Action::Kill, &two).await.expect("it runs");
        let before = pid(&three);
        let restarted = done(Action::Restart, &three).await.expect("it can be");
        assert_eq!(restarted.pid, pid(&three));
        assert_ne!(pid(&three), before);
        assert_eq!(
            (state(&one), state(&two), state(&three)),
            ("GONE", "GONE", "RUNNING")
        );
        assert_eq!(refused(Action::Start, &one).await, Refusal::NoSuchPlace);
        assert_eq!(
            refused(Action::Start, &three).await,
            Refusal::AlreadyRunning
        );
        let incarnation = node(&three).map(|node| node.incarnation);
        assert_eq!(incarnation, Some(2));
    });
}

#[test]
fn two_restarts_of_a_dynamic_child_at_a_time_are_one() {
    paused(async {
        let child = part("x", &Log::default()).stops(Stop::Slow(SECOND, ExitReason::SHUTDOWN));
        let (_sup, root) = readers(DynamicFlags::new("x"), &child, 1).await;
        let (one, operator) = (root.child("1"), operator());
        let (first, second) = tokio::join!(
            operate(Action::Restart, &one, &operator),
            operate(Action::Restart, &one, &operator),
        );
        let first = first.expect("it is done");
        assert_eq!(second.expect("it is done").joined, Some(first.event));
        assert_eq!(child.made(), 2);
    });
}

#[test]
fn a_stop_overrules_the_restart_of_a_dynamic_child() {
    paused(async {
        let child = part("x", &Log::default()).stops(Stop::Slow(SECOND, ExitReason::SHUTDOWN));
        let (_sup, root) = readers(DynamicFlags::new("x"), &child, 1).await;
        let (one, operator) = (root.child("1"), operator());
        let (restart, stop) = tokio::join!(
            operate(Action::Restart, &one, &operator),
            operate(Action::Stop, &one, &operator),
        );
        let refusal = restart.expect_err("it is overruled").refusal;
        assert_eq!(refusal, Refusal::Overruled);
        stop.expect("it is done");
        assert_eq!((state(&one), child.made()), ("GONE", 1));
    });
}

#[test]
fn what_can_be_started_only_once_is_not_restarted() {
    paused(async {
        struct Once;
        impl Actor for Once {
            type Context = byron_supervisors::Context<Self>;
        }
        let (sup, root) = readers(DynamicFlags::new("x"), &part("x", &Log::default()), 0).await;
        sup.send(StartDynamicChild::once(|_| Once))
            .await
            .expect("it lives")
            .expect("it starts");
        let one = root.child("1");
        let refusal = refused(Action::Restart, &one).await;
        let wanted = "it cannot be started again: it can be started only once";
        assert_eq!(refusal.to_string(), wanted);
        assert_eq!(state(&one), "RUNNING");
    });
}

#[test]
fn a_dynamic_child_that_waits_for_its_next_attempt_is_restarted_at_once() {
    paused(async {
        let child = part("x", &Log::default());
        let flags = DynamicFlags {
            restart: Restart::Permanent,
            backoff: Some(Backoff::new(SECOND * 9, SECOND * 9)),
            ..DynamicFlags::new("x")
        };
        let (_sup, root) = readers(flags, &child, 1).await;
        let one = root.child("1");
        done(Action::Kill, &one).await.expect("it runs");
        assert_eq!(state(&one), "BACKOFF");
        assert_eq!(refused(Action::Start, &one).await, Refusal::Restarting);
        done(Action::Restart, &one).await.expect("it is done");
        assert_eq!((state(&one), child.made()), ("RUNNING", 2));
        pass(SECOND * 20).await;
        assert_eq!(child.made(), 2, "the attempt it waited for was this one");
    });
}

#[test]
fn a_dynamic_supervisor_counts_its_children_and_keeps_their_last_ends() {
    paused(async {
        let child = part("x", &Log::default());
        let flags = DynamicFlags {
            restart: Restart::Transient,
            intensity: 99,
            ..DynamicFlags::new("x")
        };
        let (_sup, root) = readers(flags, &child, 5).await;
        let end = async |number: u32, deed: Deed| {
            let pid = pid(&root.child(number.to_string())).expect("it runs");
            ActorRef::<Worker>::of(pid).expect("a worker").do_send(deed);
            exited(pid).await;
            settle().await;
        };
        end(1, Deed::Leave(ExitReason::Normal)).await;
        end(2, Deed::Leave(ExitReason::error("ink"))).await;
        done(Action::Stop, &root.child("3")).await.expect("it runs");
        let info = node(&root)
            .and_then(|node| node.supervisor)
            .expect("it runs");
        let dynamic = info.dynamic.expect("it is dynamic");
        let counts = dynamic.counts;
        assert_eq!((counts.started, counts.ended), (6, 3));
        assert_eq!((counts.crashed, counts.restarted), (1, 1));
        assert_eq!((dynamic.running, info.children_total), (3, 3));
        assert_eq!(
            (dynamic.starting, dynamic.stopping, dynamic.restarting),
            (0, 0, 0)
        );
        assert_eq!(&*dynamic.template.id, "x");
        assert_eq!(dynamic.exits.len(), 1);
        let exit = &dynamic.exits[0];
        assert_eq!((exit.path.clone(), exit.incarnation), (root.child("2"), 1));
        assert_eq!(exit.exit.reason, ExitReason::error("ink"));
        let event = causes_of(exit.exit.event).pop().expect("it is told");
        assert_eq!(event.path, Some(root.child("2")));

        for _ in 0..60 {
            end(2, Deed::Leave(ExitReason::error("more"))).await;
        }
        let info = node(&root)
            .and_then(|node| node.supervisor)
            .expect("it runs");
        let dynamic = info.dynamic.expect("it is dynamic");
        assert_eq!(dynamic.exits.len(), byron_supervisors::EXITS_MAX);
        assert_eq!(dynamic.counts.crashed, 61);
        let last = dynamic.exits.last().expect("there are some");
        assert_eq!(last.incarnation, 61);
    });
}

// ---- places

#[test]
fn places_are_found_by_pattern_with_and_without_the_roots_name() {
    paused(async {
        let log = Log::default();
        let below = ChildSpec::supervisor("poems", flags(1), move || {
            vec![part("ecstasy", &log).spec(), part("science", &log).spec()]
        });
        let (_sup, root) = tree(flags(1), vec![below]).await;
        let (poems, text) = (root.child("poems"), root.to_string());
        let found = |pattern: &str| find(&pattern.parse().expect("a pattern"));
        assert_eq!(found(&text), std::slice::from_ref(&root));
        assert_eq!(found("poems"), std::slice::from_ref(&poems));
        assert_eq!(found(&format!("{text}/poems/e*")), [poems.child("ecstasy")]);
        assert_eq!(
            found("poems/*"),
            [poems.child("ecstasy"), poems.child("science")]
        );
        assert_eq!(found("**/science"), [poems.child("science")]);
        assert_eq!(found(&format!("{text}/**")).len(), 3);
        assert_eq!(found("nowhere/*"), []);
    });
}

#[test]
fn a_crowd_is_found_whole() {
    paused(async {
        let child = part("x", &Log::default());
        let (_sup, root) = readers(DynamicFlags::new("x"), &child, 130).await;
        let all = find(&format!("{root}/*").parse().expect("a pattern"));
        assert_eq!(all.len(), 130);
        let hidden = root.child("130");
        let found = find(&"130".parse().expect("a pattern"));
        assert_eq!(found, std::slice::from_ref(&hidden));
        let pid = all.iter().find_map(pid).expect("some are shown");
        let shown = path_of(pid).expect("it has a place");
        assert!(all.contains(&shown));
        for path in [hidden, root.child("1")] {
            done(Action::Kill, &path).await.expect("it runs");
        }
        assert_eq!(
            find(&format!("{root}/*").parse().expect("a pattern")).len(),
            128
        );
    });
}

#[test]
fn a_spec_can_be_read_off_a_snapshot() {
    paused(async {
        let backoff = Backoff::new(MILLI, SECOND);
        let spec = part("a", &Log::default())
            .restart(Restart::Transient)
            .shutdown(Shutdown::Timeout(Duration::from_secs(3)))
            .backoff(backoff);
        let (_sup, root) = tree(flags(1), vec![spec]).await;
        let spec = node(&root.child("a")).and_then(|node| node.spec);
        let spec = spec.expect("it is supervised");
        assert_eq!(
            (spec.restart, spec.significant),
            (Restart::Transient, false)
        );
        assert_eq!(spec.shutdown, Shutdown::Timeout(Duration::from_secs(3)));
        assert_eq!(spec.backoff, Some(backoff));
        let root = node(&root).expect("it runs");
        assert_eq!(root.spec, None);
        assert!(matches!(root.state, ChildState::Running(_)));
    });
}
