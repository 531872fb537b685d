//! Whether the story of a failure can be told from its events, and is told once in the log.

use byron_supervisors::{
    Backoff, ChildSpec, DynamicFlags, DynamicSupervisor, Event, EventDetails, EventKind,
    ExitReason, Restart, StartDynamicChild, Strategy, SupFlags, Supervisor, causes_of, exit_event,
    exited, kill, whereis_actor,
};

use crate::reports::{Report, reports};
use crate::sup_support::{
    Ask, Deed, Log, MILLI, SECOND, Start, Worker, events_of, flags, now, part, pass, paused,
    settle, unique,
};

/// A chain of causes, oldest first: `a exit, a restart, a exit`.
fn chain(seq: u64) -> String {
    let line = |event: &Event| {
        let path = event.path.as_ref().expect("it has a place");
        format!("{} {}", path.id(), event.kind.name())
    };
    causes_of(seq)
        .iter()
        .map(line)
        .collect::<Vec<_>>()
        .join(", ")
}

fn last(root: &str, since: u64, kind: EventKind) -> Event {
    let events = events_of(root, since).into_iter().rev();
    let mut events = events.filter(|event| event.kind == kind);
    events.next().expect("it was told")
}

#[test]
fn each_attempt_is_caused_by_the_failed_start_before_it() {
    paused(async {
        let (root, since) = (unique("root"), now());
        let child = part("a", &Log::default());
        let sup = Supervisor::start(&root, flags(9), vec![child.spec()])
            .await
            .expect("it starts");
        child.next_starts(vec![Start::Fail(ExitReason::error("no")); 2]);
        sup.end("a", Deed::Panic).await;
        let ready = last(&root, since, EventKind::Ready);
        assert_eq!(
            chain(ready.seq),
            "a exit, a restart, a exit, a restart, a exit, a restart, a ready"
        );
    });
}

#[test]
fn a_start_that_takes_too_long_is_ended_because_of_the_restart_that_began_it() {
    paused(async {
        let (root, since) = (unique("root"), now());
        let child = part("a", &Log::default());
        let spec = child.spec().start_timeout(Some(SECOND));
        let sup = Supervisor::start(&root, flags(9), vec![spec])
            .await
            .expect("it starts");
        child.next_starts([Start::Slow(SECOND * 9)]);
        sup.end("a", Deed::Panic).await;
        pass(SECOND + MILLI).await;
        let exit = last(&root, since, EventKind::Exit);
        assert_eq!(exit.reason, Some(ExitReason::Killed));
        assert_eq!(chain(exit.seq), "a exit, a restart, a exit");
    });
}

#[test]
fn a_restart_says_by_which_strategy_at_what_cost_and_whom_it_takes_along() {
    paused(async {
        let (root, since) = (unique("root"), now());
        let specs = ["a", "b", "c"].map(|id| part(id, &Log::default()).spec());
        let flags = SupFlags {
            strategy: Strategy::RestForOne,
            ..flags(3)
        };
        let sup = Supervisor::start(&root, flags, specs.into())
            .await
            .expect("it starts");
        sup.end("a", Deed::Panic).await;
        sup.end("b", Deed::Panic).await;
        let EventDetails::Restart {
            strategy,
            budget,
            taken_along,
        } = last(&root, since, EventKind::Restart).details
        else {
            panic!("a restart has its details");
        };
        assert_eq!(
            (strategy, budget.used, budget.left()),
            ("rest_for_one", 2, 1)
        );
        assert_eq!(budget.to_string(), "2/3 in 5s");
        assert_eq!((taken_along.ids, taken_along.total), (vec!["c".into()], 1));
        let taken = last(&root, since, EventKind::Exit);
        assert_eq!(chain(taken.seq), "b exit, b restart, c exit");
    });
}

#[test]
fn a_wait_says_until_when_and_a_crash_has_a_name() {
    paused(async {
        let (root, since) = (unique("root"), now());
        let backoff = Backoff {
            jitter: 0.0,
            ..Backoff::new(SECOND * 2, SECOND * 9)
        };
        let spec = part("a", &Log::default()).spec().backoff(backoff);
        let sup = Supervisor::start(&root, flags(9), vec![spec])
            .await
            .expect("it starts");
        sup.end("a", Deed::Panic).await;
        let wait = last(&root, since, EventKind::Backoff);
        let EventDetails::Backoff {
            delay,
            until,
            failures,
            ..
        } = wait.details
        else {
            panic!("a backoff has its details");
        };
        assert_eq!((delay, failures), (SECOND * 2, 1));
        assert!(until > wait.at);
        let exit = last(&root, since, EventKind::Exit);
        assert_eq!(exit.crash_id(), Some(format!("crash-{}", exit.seq)));
    });
}

#[test]
fn who_ends_otherwise_than_by_its_own_failure_has_not_crashed() {
    paused(async {
        let (root, since) = (unique("root"), now());
        let spec = part("a", &Log::default()).spec();
        let sup = Supervisor::start(&root, flags(9), vec![spec])
            .await
            .expect("it starts");
        for deed in [Deed::Killed, Deed::Leave(ExitReason::Normal)] {
            sup.end("a", deed).await;
            assert_eq!(last(&root, since, EventKind::Exit).crash_id(), None);
        }
    });
}

#[test]
fn a_root_that_has_given_up_leaves_the_whole_chain() {
    paused(async {
        let (root, name) = (unique("root"), unique("a"));
        let named = name.clone();
        let middle = ChildSpec::supervisor("middle", flags(0), move || {
            vec![part("a", &Log::default()).named(&named).spec()]
        });
        let sup = Supervisor::start(&root, flags(0), vec![middle])
            .await
            .expect("it starts");
        let end = exited(sup.pid());
        let worker = whereis_actor::<Worker>(&name).expect("it runs");
        worker.do_send(Deed::Panic);
        assert_eq!(end.await, ExitReason::SHUTDOWN, "as OTP has it");
        let exit = exit_event(sup.pid()).expect("it is told");
        let told = chain(exit.seq).replace(&root, "root");
        assert_eq!(
            told,
            "a exit, middle gave_up, middle exit, root gave_up, root exit"
        );
        let first = causes_of(exit.seq).remove(0);
        let Some(ExitReason::Panic(panic)) = first.reason else {
            panic!("{first}");
        };
        assert!(
            panic
                .in_message
                .is_some_and(|message| message.ends_with("Deed"))
        );
        let EventDetails::GaveUp { budget } = causes_of(exit.seq)[1].details else {
            panic!("it gave up");
        };
        assert_eq!((budget.used, budget.limit), (1, 0));
    });
}

// ---- the log

/// The crash, of which there must be one, and what else is told at the level ERROR.
fn crash(all: impl Fn(&str) -> Vec<Report>) -> Report {
    let mut crashes = all("crash");
    assert_eq!(crashes.len(), 1, "{crashes:#?}");
    crashes.remove(0)
}

/// A child of a supervisor panics; how that is reported.
fn crash_of(spec: impl Fn(ChildSpec) -> ChildSpec, intensity: u32) -> Report {
    crash(|target| {
        reports(target, async {
            let child = part("a", &Log::default());
            let sibling = part("b", &Log::default());
            let flags = SupFlags {
                strategy: Strategy::OneForAll,
                ..flags(intensity)
            };
            let root = unique("root");
            let specs = vec![spec(child.spec()), sibling.spec()];
            let sup = Supervisor::start(&root, flags, specs)
                .await
                .expect("it starts");
            sup.end("a", Deed::Panic).await;
            kill(sup.pid());
            settle().await;
        })
    })
}

#[test]
fn one_crash_is_one_report_and_says_what_is_done_about_it() {
    let same = |spec: ChildSpec| spec;
    let report = crash_of(same, 3);
    assert_eq!(report.level, tracing::Level::ERROR);
    for (field, wanted) in [
        ("effect", "restarted now"),
        ("strategy", "one_for_all"),
        ("restarts_used", "1"),
        ("intensity", "3"),
        ("period_ms", "5000"),
        ("taken_along", "1"),
        ("incarnation", "1"),
        ("during", "a handler"),
        ("reason", "panic"),
    ] {
        assert_eq!(report.get(field), wanted, "{field}");
    }
    assert_eq!(
        report.get("crash"),
        format!("crash-{}", report.get("event"))
    );
    assert_eq!(
        report.get("path"),
        format!("{}/a", report.get("supervisor"))
    );

    let backoff = |spec: ChildSpec| {
        spec.backoff(Backoff {
            jitter: 0.0,
            ..Backoff::new(SECOND * 2, SECOND * 9)
        })
    };
    assert_eq!(crash_of(backoff, 3).get("effect"), "restarted after 2s");
    let temporary = |spec: ChildSpec| spec.restart(Restart::Temporary);
    assert_eq!(crash_of(temporary, 3).get("effect"), "not restarted");
    let gives_up = crash_of(same, 0);
    assert_eq!(
        gives_up.get("effect"),
        "not restarted: its supervisor gives up"
    );
    assert_eq!(gives_up.get("restarts_used"), "1");
}

#[test]
fn what_the_crash_report_has_told_is_no_error_of_the_supervisors() {
    let all = reports("supervisor", async {
        let child = part("a", &Log::default());
        let sup = Supervisor::start(&unique("root"), flags(1), vec![child.spec()])
            .await
            .expect("it starts");
        child.next_starts([Start::Fail(ExitReason::error("no"))]);
        sup.end("a", Deed::Panic).await;
    });
    let told: Vec<_> = all
        .iter()
        .map(|report| (report.get("context"), report.level))
        .collect();
    let debug = tracing::Level::DEBUG;
    assert_eq!(
        told,
        [
            ("child_terminated", debug),
            ("start_error", debug),
            ("shutdown", debug)
        ]
    );
    let killed = reports("supervisor", async {
        let child = part("a", &Log::default());
        let sup = Supervisor::start(&unique("root"), flags(1), vec![child.spec()])
            .await
            .expect("it starts");
        sup.end("a", Deed::Killed).await;
    });
    assert_eq!(
        killed[0].level,
        tracing::Level::ERROR,
        "nobody else tells it"
    );
}

#[test]
fn a_crash_without_a_supervisor_to_tell_it_is_told_all_the_same() {
    let report = crash(|target| {
        reports(target, async {
            let name = unique("a");
            let child = part("a", &Log::default()).named(&name);
            let sup = Supervisor::start(&unique("root"), flags(1), vec![child.spec()])
                .await
                .expect("it starts");
            let worker = whereis_actor::<Worker>(&name).expect("it runs");
            worker.do_send(Deed::Panic);
            // Before it hears of the end.
            kill(sup.pid());
            settle().await;
        })
    });
    assert_eq!(report.get("effect"), "");
    assert_eq!(report.get("reason"), "panic");
}

#[test]
fn the_crash_of_a_dynamic_child_is_one_report_too() {
    for (restart, wanted) in [
        (Restart::Temporary, "not restarted"),
        (Restart::Transient, "restarted now"),
    ] {
        let report = crash(|target| {
            reports(target, async {
                let flags = DynamicFlags {
                    restart,
                    ..DynamicFlags::new("x")
                };
                let sup = DynamicSupervisor::start(&unique("root"), flags).await;
                let sup = sup.expect("it starts");
                let name = unique("x");
                let child = part("x", &Log::default()).named(&name);
                let start = StartDynamicChild::with_init(move || child.clone().init());
                sup.send(start).await.expect("it lives").expect("it starts");
                let worker = whereis_actor::<Worker>(&name).expect("it runs");
                let end = exited(worker.pid());
                worker.do_send(Deed::Panic);
                end.await;
                settle().await;
            })
        });
        assert_eq!(report.get("effect"), wanted);
        assert_eq!(report.get("strategy"), "simple_one_for_one");
    }
}
