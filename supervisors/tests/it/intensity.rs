//! How many restarts are too many, and what a supervisor does then.

use std::time::Duration;

use byron_supervisors::{
    ActorRef, ChildSpec, ExitReason, Restart, Strategy, SupFlags, Supervisor, exited, whereis,
};

use crate::sup_support::{
    Ask, Deed, Log, MILLI, SECOND, Start, Worker, ends, flags, part, pass, paused, settle, start,
    unique,
};

fn limit(intensity: u32, period: Duration) -> SupFlags {
    SupFlags {
        intensity,
        period,
        ..SupFlags::default()
    }
}

/// A supervisor of one child that crashes at these times; how many crashes it survives.
fn survived(flags: SupFlags, at: &[Duration]) -> usize {
    paused(async {
        let sup = start(flags, vec![part("a", &Log::default()).spec()]).await;
        let mut now = Duration::ZERO;
        for (number, time) in at.iter().enumerate() {
            tokio::time::advance(*time - now).await;
            now = *time;
            sup.end("a", Deed::Panic).await;
            if !sup.is_alive() {
                return number;
            }
        }
        at.len()
    })
}

#[test]
fn with_intensity_zero_the_first_failure_ends_the_supervisor() {
    assert_eq!(survived(limit(0, SECOND), &[Duration::ZERO]), 0);
}

#[test]
fn a_burst_above_the_limit_ends_the_supervisor() {
    assert_eq!(survived(limit(3, SECOND), &[Duration::ZERO; 9]), 3);
}

#[test]
fn a_sustained_rate_below_the_limit_never_ends() {
    let at: Vec<_> = (0..60).map(|n| MILLI * 501 * n).collect();
    assert_eq!(survived(limit(2, SECOND), &at), 60);
    // kameo counts these together, because no gap is as long as the window; OTP does not.
    let at: Vec<_> = (0..20).map(|n| MILLI * 800 * n).collect();
    assert_eq!(survived(limit(2, SECOND), &at), 20);
}

#[test]
fn the_edge_of_the_window_counts() {
    assert_eq!(survived(limit(1, SECOND), &[Duration::ZERO, SECOND]), 1);
    let just_after = SECOND + MILLI;
    assert_eq!(survived(limit(1, SECOND), &[Duration::ZERO, just_after]), 2);
}

#[test]
fn the_window_slides_and_does_not_tumble() {
    let at = [0, 900, 1100, 1200].map(|at| MILLI * at);
    assert_eq!(survived(limit(2, SECOND), &at), 3);
}

#[test]
fn the_window_is_shared_by_all_children() {
    paused(async {
        let log = Log::default();
        let sup = start(
            flags(1),
            vec![part("a", &log).spec(), part("b", &log).spec()],
        )
        .await;
        sup.end("a", Deed::Panic).await;
        sup.end("b", Deed::Panic).await;
        assert!(!sup.is_alive());
    });
}

#[test]
fn the_restart_that_exceeds_the_limit_is_not_performed() {
    paused(async {
        let child = part("a", &Log::default());
        let sup = start(flags(2), vec![child.spec()]).await;
        for _ in 0..3 {
            sup.end("a", Deed::Panic).await;
        }
        assert_eq!(child.made(), 3, "the first, and two restarts");
    });
}

#[test]
fn giving_up_stops_the_others_in_reverse_and_says_shutdown() {
    for strategy in [
        Strategy::OneForOne,
        Strategy::OneForAll,
        Strategy::RestForOne,
    ] {
        paused(async {
            let log = Log::default();
            let flags = SupFlags {
                strategy,
                ..flags(0)
            };
            let children = ["a", "b", "c", "d"].map(|id| part(id, &log).spec());
            let sup = start(flags, children.into()).await;
            log.take();
            let end = exited(sup.pid());
            sup.worker("b").await.do_send(Deed::Panic);
            assert_eq!(end.await, ExitReason::SHUTDOWN);
            assert_eq!(
                log.take(),
                ["stop d: shutdown", "stop c: shutdown", "stop a: shutdown"]
            );
        });
    }
}

#[test]
fn a_group_restart_counts_once() {
    paused(async {
        let log = Log::default();
        let flags = SupFlags {
            strategy: Strategy::OneForAll,
            ..flags(2)
        };
        let children = ["a", "b", "c", "d"].map(|id| part(id, &log).spec());
        let sup = start(flags, children.into()).await;
        sup.end("a", Deed::Panic).await;
        sup.end("d", Deed::Panic).await;
        assert!(sup.is_alive());
        sup.end("b", Deed::Panic).await;
        assert!(!sup.is_alive());
    });
}

#[test]
fn each_failed_attempt_counts() {
    paused(async {
        let log = Log::default();
        let child = part("a", &log);
        let sup = start(flags(5), vec![child.spec()]).await;
        child.next_starts(vec![Start::Fail(ExitReason::error("no")); 99]);
        log.take();
        let end = exited(sup.pid());
        sup.worker("a").await.do_send(Deed::Panic);
        // No time passes between the attempts, as in OTP.
        let before = tokio::time::Instant::now();
        assert_eq!(end.await, ExitReason::SHUTDOWN);
        assert_eq!(before.elapsed(), Duration::ZERO);
        assert_eq!(log.take(), ["fail a"; 5]);
    });
}

/// A tree of two levels; the child `below` is a supervisor that gives up at once.
fn below(log: &Log, name: &str, restart: Restart) -> ChildSpec {
    let (log, name) = (log.clone(), name.to_owned());
    ChildSpec::supervisor("below", flags(0), move || {
        vec![part("a", &log).named(&name).spec()]
    })
    .restart(restart)
}

async fn crash(name: &str) {
    let pid = whereis(name).expect("it is registered");
    let worker = ActorRef::<Worker>::of(pid).expect("it is a worker");
    worker.do_send(Deed::Panic);
    settle().await;
}

#[test]
fn a_permanent_supervisor_that_gives_up_is_restarted_with_its_tree() {
    paused(async {
        let (log, name) = (Log::default(), unique("a"));
        let sup = start(flags(1), vec![below(&log, &name, Restart::Permanent)]).await;
        let first = sup.pid_of("below").await;
        crash(&name).await;
        assert!(sup.pid_of("below").await > first);
        assert_eq!(log.take(), ["start a", "start a"]);
        // And so upwards: the next one is one too many here as well.
        crash(&name).await;
        assert!(!sup.is_alive());
        assert_eq!(sup.exit_reason(), Some(ExitReason::SHUTDOWN));
    });
}

#[test]
fn a_transient_supervisor_that_gives_up_is_not_restarted() {
    paused(async {
        let (log, name) = (Log::default(), unique("a"));
        let sup = start(flags(1), vec![below(&log, &name, Restart::Transient)]).await;
        crash(&name).await;
        assert_eq!(sup.picture().await, "below stopped");
        assert_eq!(log.take(), ["start a"]);
    });
}

#[test]
fn escalation_ends_every_level_with_shutdown() {
    paused(async {
        let (log, name) = (Log::default(), unique("a"));
        let inner = (log.clone(), name.clone());
        let middle = ChildSpec::supervisor("middle", flags(0), move || {
            vec![below(&inner.0, &inner.1, Restart::Permanent)]
        });
        let root = Supervisor::start(
            &unique("root"),
            flags(0),
            vec![part("beside", &log).spec(), middle],
        )
        .await
        .expect("they start");
        let root_pid = root.pid();
        let end = tokio::task::spawn_local(ends(root_pid));
        crash(&name).await;
        assert_eq!(end.await.expect("it waits"), ExitReason::SHUTDOWN);
        assert_eq!(
            log.take(),
            ["start beside", "start a", "stop beside: shutdown"]
        );
    });
}

#[test]
fn a_manual_restart_does_not_count() {
    paused(async {
        let log = Log::default();
        let sup = start(flags(0), vec![part("a", &log).spec()]).await;
        for _ in 0..5 {
            let id = "a".into();
            let stopped = sup.send(byron_supervisors::TerminateChild(id)).await;
            assert_eq!(stopped, Ok(Ok(())));
            let id = "a".into();
            let started = sup.send(byron_supervisors::RestartChild(id)).await;
            assert!(matches!(started, Ok(Ok(Some(_)))));
        }
        pass(SECOND).await;
        assert!(sup.is_alive());
    });
}
