//! What OTP's users asked for and never got: a supervisor that never blocks, starts with a limit, backoff.
//!
//! Forks of OTP's supervisor with delayed restarts exist, and so do their bugs: RabbitMQ's `supervisor2`
//! (rabbitmq-common#201) and Klarna's `supervisor3` (#13, #14) are tests here.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use byron_supervisors::{
    ActorRef, Backoff, ChildError, ChildSpec, ChildState, Context, CountChildren, DeleteChild,
    DynamicFlags, DynamicSupervisor, ExitReason, GetChildSpec, Placement, Restart, RestartChild,
    SendError, Shutdown, StartChild, StartDynamicChild, Strategy, SupFlags, Supervisor,
    TerminateChild, TerminateDynamicChild, WhichChildren, exit, exited, is_alive, kill, whereis,
    whereis_actor,
};
use tokio::time::Instant;

use crate::sup_support::{
    Ask, Deed, Log, MILLI, Part, Ping, Ponder, SECOND, Start, Stop, Worker, flags, part, pass,
    paused, settle, start, system, unique,
};

const MINUTE: Duration = Duration::from_secs(60);

/// Exactly this long, again and again.
fn after(delay: Duration) -> Backoff {
    Backoff {
        factor: 1.0,
        jitter: 0.0,
        ..Backoff::new(delay, delay)
    }
}

fn fails(times: usize) -> Vec<Start> {
    vec![Start::Fail(ExitReason::error("no")); times]
}

// ---- it never blocks

#[test]
fn questions_are_answered_while_a_child_takes_a_minute_to_start() {
    paused(async {
        let log = Log::default();
        let sup = start(flags(0), vec![part("a", &log).spec()]).await;
        let slow = part("b", &log).starts([Start::Slow(MINUTE)]);
        let adding = sup.send(StartChild(slow.spec().start_timeout(None)));
        settle().await;
        let begin = Instant::now();
        assert_eq!(sup.picture().await, "a running, b starting");
        let counts = sup.send(CountChildren::now()).await.expect("it lives");
        assert_eq!((counts.specs, counts.active), (2, 2));
        assert!(
            sup.send(GetChildSpec::now("b"))
                .await
                .expect("it lives")
                .is_ok()
        );
        assert_eq!(begin.elapsed(), Duration::ZERO);
        assert!(matches!(adding.await, Ok(Ok(Some(_)))));
        assert_eq!(begin.elapsed(), MINUTE);
    });
}

#[test]
fn questions_are_answered_while_a_child_takes_a_minute_to_stop() {
    paused(async {
        let log = Log::default();
        let slow = Stop::Slow(MINUTE, ExitReason::SHUTDOWN);
        let spec = part("a", &log).stops(slow).shutdown(Shutdown::Infinity);
        let sup = start(flags(0), vec![spec, part("b", &log).spec()]).await;
        let stopping = sup.send(TerminateChild("a".into()));
        settle().await;
        let begin = Instant::now();
        assert_eq!(sup.picture().await, "a stopping, b running");
        assert_eq!(begin.elapsed(), Duration::ZERO);
        let settled = sup.send(WhichChildren::settled());
        assert_eq!(stopping.await, Ok(Ok(())));
        assert_eq!(begin.elapsed(), MINUTE);
        let settled = settled.await.expect("it lives");
        assert_eq!(settled[1].state, ChildState::Stopped, "in its turn, as OTP");
    });
}

#[test]
fn a_dynamic_supervisor_starts_others_while_one_takes_a_minute() {
    paused(async {
        let sup = DynamicSupervisor::start(&unique("d"), DynamicFlags::new("x")).await;
        let sup = sup.expect("it starts");
        let log = Log::default();
        let slow = part("slow", &log).starts([Start::Slow(MINUTE)]);
        let slow = sup.send(StartDynamicChild::with_init(move || slow.clone().init()));
        settle().await;
        let begin = Instant::now();
        let quick = part("quick", &log);
        let quick = sup.send(StartDynamicChild::with_init(move || quick.clone().init()));
        assert!(matches!(quick.await, Ok(Ok(Some(_)))));
        assert_eq!(begin.elapsed(), Duration::ZERO);
        assert!(matches!(slow.await, Ok(Ok(Some(_)))));
    });
}

#[test]
fn a_start_has_a_limit() {
    paused(async {
        let log = Log::default();
        let slow = part("a", &log).starts([Start::Ready, Start::Slow(MINUTE), Start::Ready]);
        let spec = slow.spec().start_timeout(Some(SECOND));
        let sup = start(flags(2), vec![spec]).await;
        sup.end("a", Deed::Panic).await;
        let hung = sup.pid_of("a").await;
        pass(SECOND).await;
        assert!(!is_alive(hung));
        assert_eq!(sup.picture().await, "a running");

        let slow = part("b", &log).starts([Start::Slow(MINUTE)]);
        let spec = slow.spec().start_timeout(Some(SECOND));
        let added = sup.send(StartChild(spec)).await.expect("it lives");
        assert_eq!(
            added.expect_err("it hangs").to_string(),
            "did not start: error: did not start within 1s"
        );
    });
}

#[test]
fn a_start_without_a_limit_waits_as_otp_does() {
    paused(async {
        let slow = part("a", &Log::default()).starts([Start::Slow(MINUTE * 1000)]);
        let sup = start(flags(0), vec![slow.spec().start_timeout(None)]).await;
        assert_eq!(sup.picture().await, "a running");
    });
}

#[test]
fn a_parent_shuts_down_during_a_slow_start_below() {
    paused(async {
        let log = Log::default();
        let name = unique("a");
        let (inner, inner_name) = (log.clone(), name.clone());
        let below = ChildSpec::supervisor("below", flags(9), move || {
            let slow = part("slow", &inner).starts([Start::Ready, Start::Slow(MINUTE)]);
            vec![
                part("a", &inner).named(&inner_name).spec(),
                slow.named(&format!("{inner_name}-slow")).spec(),
            ]
        });
        let sup = start(flags(9), vec![below]).await;
        let slow = whereis_actor::<Worker>(&format!("{name}-slow")).expect("it runs");
        slow.do_send(Deed::Panic);
        settle().await;
        log.take();
        let begin = Instant::now();
        let end = exited(sup.pid());
        exit(sup.pid(), ExitReason::SHUTDOWN);
        assert_eq!(end.await, ExitReason::SHUTDOWN);
        assert_eq!(begin.elapsed(), Duration::ZERO);
        assert_eq!(log.take(), ["stop a: shutdown"]);
        assert_eq!(whereis(&name), None);
    });
}

// ---- backoff

#[test]
fn a_child_that_waits_is_seen_to_wait() {
    paused(async {
        let child = part("a", &Log::default());
        let sup = start(flags(9), vec![child.spec().backoff(after(SECOND))]).await;
        let was = sup.pid_of("a").await;
        let begin = Instant::now();
        sup.end("a", Deed::Panic).await;
        assert_eq!(
            sup.state("a").await,
            Some(ChildState::Restarting {
                was: Some(was),
                until: Some(begin + SECOND)
            })
        );
        pass(SECOND - MILLI).await;
        assert_eq!(sup.picture().await, "a backoff");
        pass(MILLI * 2).await;
        assert_eq!(sup.picture().await, "a running");
        assert_eq!(child.made(), 2);
    });
}

#[test]
fn a_supervisor_works_while_a_child_waits() {
    paused(async {
        let log = Log::default();
        let waiting = part("a", &log).spec().backoff(after(MINUTE));
        let sup = start(flags(9), vec![waiting, part("b", &log).spec()]).await;
        sup.end("a", Deed::Panic).await;
        let begin = Instant::now();
        sup.end("b", Deed::Panic).await;
        let added = sup.send(StartChild(part("c", &log).spec())).await;
        assert!(matches!(added, Ok(Ok(Some(_)))));
        assert_eq!(sup.picture().await, "a backoff, b running, c running");
        assert_eq!(begin.elapsed(), Duration::ZERO);
    });
}

/// rabbitmq-common#201: a child that waited for its delayed restart could not be terminated, and came back.
#[test]
fn a_waiting_child_that_is_terminated_does_not_come_back() {
    paused(async {
        let child = part("a", &Log::default());
        let sup = start(flags(9), vec![child.spec().backoff(after(SECOND))]).await;
        sup.end("a", Deed::Panic).await;
        assert_eq!(sup.send(TerminateChild("a".into())).await, Ok(Ok(())));
        assert_eq!(sup.state("a").await, Some(ChildState::Stopped));
        pass(MINUTE).await;
        assert_eq!(child.made(), 1);
        let by_hand = sup.send(RestartChild("a".into())).await;
        assert!(matches!(by_hand, Ok(Ok(Some(_)))));
    });
}

/// supervisor3#13: `which_children` showed a waiting child as `undefined`, as if nothing were coming.
#[test]
fn a_waiting_child_is_marked_restarting() {
    paused(async {
        let log = Log::default();
        let sup = start(
            flags(9),
            vec![part("a", &log).spec().backoff(after(SECOND))],
        )
        .await;
        sup.end("a", Deed::Panic).await;
        for question in [WhichChildren::now(), WhichChildren::settled()] {
            let children = sup.send(question).await.expect("it lives");
            assert!(matches!(children[0].state, ChildState::Restarting { .. }));
        }
        let restart = sup.send(RestartChild("a".into())).await;
        assert_eq!(restart, Ok(Err(ChildError::Restarting)));
        let counts = sup.send(CountChildren::now()).await.expect("it lives");
        assert_eq!((counts.specs, counts.active), (1, 0));
    });
}

/// supervisor3#14: a waiting child could not be deleted, not even after it was terminated.
#[test]
fn a_waiting_child_can_be_terminated_and_deleted() {
    paused(async {
        let child = part("a", &Log::default());
        let sup = start(flags(9), vec![child.spec().backoff(after(SECOND))]).await;
        sup.end("a", Deed::Panic).await;
        let delete = sup.send(DeleteChild("a".into())).await;
        assert_eq!(delete, Ok(Err(ChildError::Restarting)));
        assert_eq!(sup.send(TerminateChild("a".into())).await, Ok(Ok(())));
        assert_eq!(sup.send(DeleteChild("a".into())).await, Ok(Ok(())));
        pass(MINUTE).await;
        assert_eq!(sup.picture().await, "");
        assert_eq!(child.made(), 1);
    });
}

#[test]
fn a_waiting_child_does_not_delay_the_end_of_its_supervisor() {
    paused(async {
        let log = Log::default();
        let sup = start(
            flags(9),
            vec![part("a", &log).spec().backoff(after(MINUTE))],
        )
        .await;
        sup.end("a", Deed::Panic).await;
        let begin = Instant::now();
        let end = exited(sup.pid());
        exit(sup.pid(), ExitReason::SHUTDOWN);
        assert_eq!(end.await, ExitReason::SHUTDOWN);
        assert_eq!(begin.elapsed(), Duration::ZERO);
    });
}

#[test]
fn delays_grow_while_starts_fail_and_begin_anew_after_a_long_life() {
    paused(async {
        let log = Log::default();
        let child = part("a", &log);
        let backoff = Backoff {
            jitter: 0.0,
            reset_after: MINUTE,
            ..Backoff::new(SECOND, SECOND * 8)
        };
        let sup = start(flags(99), vec![child.spec().backoff(backoff)]).await;
        child.next_starts(fails(5));
        sup.end("a", Deed::Panic).await;
        let mut delays = Vec::new();
        while let Some(until) = sup.state("a").await.expect("a").until() {
            let delay = until - Instant::now();
            delays.push(delay.as_secs());
            pass(delay + MILLI).await;
        }
        assert_eq!(delays, [1, 2, 4, 8, 8, 8]);
        // It runs now, but not for long.
        pass(SECOND).await;
        sup.end("a", Deed::Panic).await;
        let until = sup.state("a").await.expect("a").until().expect("it waits");
        assert_eq!(until - Instant::now(), SECOND * 8);
        pass(SECOND * 9).await;
        // A minute is long.
        pass(MINUTE).await;
        sup.end("a", Deed::Panic).await;
        let until = sup.state("a").await.expect("a").until().expect("it waits");
        assert_eq!(until - Instant::now(), SECOND);
    });
}

#[test]
fn delayed_attempts_count_in_the_window_when_they_are_made() {
    let lives_on = |intensity, period| {
        paused(async {
            let flags = SupFlags {
                intensity,
                period,
                ..SupFlags::default()
            };
            let child = part("a", &Log::default());
            let sup = start(flags, vec![child.spec().backoff(after(SECOND))]).await;
            child.next_starts(fails(20));
            sup.end("a", Deed::Panic).await;
            for _ in 0..15 {
                pass(SECOND + MILLI).await;
            }
            (sup.is_alive(), child.made())
        })
    };
    assert_eq!(
        lives_on(3, SECOND * 5),
        (false, 1),
        "four attempts in four seconds"
    );
    assert_eq!(
        lives_on(3, SECOND * 2),
        (true, 1),
        "never more than three in two"
    );
    let backoff = after(SECOND);
    assert!(backoff.gives_up_after(3, SECOND * 5).is_some());
    assert!(backoff.gives_up_after(3, SECOND * 2).is_none());
}

#[test]
fn after_max_failures_the_child_is_given_up_and_its_supervisor_is_not() {
    paused(async {
        let child = part("a", &Log::default());
        let backoff = Backoff {
            max_failures: Some(3),
            ..after(SECOND)
        };
        let sup = start(flags(99), vec![child.spec().backoff(backoff)]).await;
        child.next_starts(fails(99));
        sup.end("a", Deed::Panic).await;
        for _ in 0..9 {
            pass(SECOND + MILLI).await;
        }
        assert_eq!(sup.picture().await, "a stopped");
        assert!(sup.is_alive());
        // Started by hand it may fail as often again.
        let failed = sup.send(RestartChild("a".into())).await;
        assert!(matches!(failed, Ok(Err(ChildError::Failed(_)))));
        assert_eq!(sup.picture().await, "a stopped");
    });
}

#[test]
fn a_child_that_is_started_by_hand_has_all_its_failures_before_it() {
    paused(async {
        let child = part("a", &Log::default());
        let backoff = Backoff {
            max_failures: Some(1),
            ..after(SECOND)
        };
        let sup = start(flags(99), vec![child.spec().backoff(backoff)]).await;
        sup.end("a", Deed::Panic).await;
        pass(SECOND * 2).await;
        sup.end("a", Deed::Panic).await;
        assert_eq!(sup.picture().await, "a stopped");
        let by_hand = sup.send(RestartChild("a".into())).await;
        assert!(matches!(by_hand, Ok(Ok(Some(_)))));
        sup.end("a", Deed::Panic).await;
        assert_eq!(sup.picture().await, "a backoff");
    });
}

// ---- backoff of a group

async fn group(strategy: Strategy, parts: &[&Part], backoff: Backoff) -> ActorRef<Supervisor> {
    let flags = SupFlags {
        strategy,
        ..flags(99)
    };
    let specs = parts.iter().map(|part| part.spec().backoff(backoff));
    start(flags, specs.collect()).await
}

fn three(log: &Log) -> [Part; 3] {
    ["a", "b", "c"].map(|id| part(id, log))
}

#[test]
fn siblings_of_a_waiting_child_do_not_run_on_without_it() {
    paused(async {
        let log = Log::default();
        let [a, b, c] = three(&log);
        let sup = group(Strategy::OneForAll, &[&a, &b, &c], after(SECOND)).await;
        log.take();
        sup.end("b", Deed::Panic).await;
        assert_eq!(sup.picture().await, "a stopped, b backoff, c stopped");
        assert_eq!(log.take(), ["stop c: shutdown", "stop a: shutdown"]);
        pass(SECOND + MILLI).await;
        assert_eq!(sup.picture().await, "a running, b running, c running");
        assert_eq!(log.take(), ["start a", "start b", "start c"]);

        let sup = group(Strategy::RestForOne, &[&a, &b, &c], after(SECOND)).await;
        sup.end("b", Deed::Panic).await;
        assert_eq!(sup.picture().await, "a running, b backoff, c stopped");
        pass(SECOND + MILLI).await;
        assert_eq!(sup.picture().await, "a running, b running, c running");
    });
}

#[test]
fn terminating_the_waiting_child_releases_its_siblings() {
    paused(async {
        let log = Log::default();
        let [a, b, c] = three(&log);
        let sup = group(Strategy::OneForAll, &[&a, &b, &c], after(SECOND)).await;
        sup.end("b", Deed::Panic).await;
        log.take();
        assert_eq!(sup.send(TerminateChild("b".into())).await, Ok(Ok(())));
        assert_eq!(sup.picture().await, "a running, b stopped, c running");
        assert_eq!(log.take(), ["start a", "start c"]);
        pass(MINUTE).await;
        assert_eq!(log.take(), [""; 0]);
    });
}

#[test]
fn what_was_stopped_before_is_not_released() {
    paused(async {
        let log = Log::default();
        let [a, b, c] = three(&log);
        let sup = group(Strategy::OneForAll, &[&a, &b, &c], after(SECOND)).await;
        // c was stopped before b failed, a while it waited.
        assert_eq!(sup.send(TerminateChild("c".into())).await, Ok(Ok(())));
        sup.end("b", Deed::Panic).await;
        assert_eq!(sup.send(TerminateChild("a".into())).await, Ok(Ok(())));
        assert_eq!(sup.send(TerminateChild("b".into())).await, Ok(Ok(())));
        assert_eq!(sup.picture().await, "a stopped, b stopped, c stopped");
    });
}

#[test]
fn a_sibling_that_was_started_by_hand_is_not_started_twice() {
    paused(async {
        let log = Log::default();
        let [a, b, c] = three(&log);
        let sup = group(Strategy::OneForAll, &[&a, &b, &c], after(SECOND)).await;
        sup.end("b", Deed::Panic).await;
        let by_hand = sup.send(RestartChild("a".into())).await;
        let by_hand = by_hand.expect("it lives").expect("it starts");
        assert_eq!(sup.send(TerminateChild("b".into())).await, Ok(Ok(())));
        assert_eq!(sup.picture().await, "a running, b stopped, c running");
        assert_eq!(Some(sup.pid_of("a").await), by_hand);
        assert_eq!(a.made(), 2);
    });
}

#[test]
fn a_sibling_that_fails_while_another_waits_takes_over_those_that_wait() {
    paused(async {
        let log = Log::default();
        let [a, b, c] = three(&log);
        let sup = group(Strategy::OneForAll, &[&a, &b, &c], after(SECOND)).await;
        sup.end("b", Deed::Panic).await;
        let by_hand = sup.send(RestartChild("a".into())).await;
        assert!(matches!(by_hand, Ok(Ok(Some(_)))));
        sup.end("a", Deed::Panic).await;
        assert_eq!(sup.picture().await, "a backoff, b stopped, c stopped");
        assert_eq!(sup.send(TerminateChild("a".into())).await, Ok(Ok(())));
        assert_eq!(sup.picture().await, "a stopped, b running, c running");
        assert_eq!((a.made(), b.made(), c.made()), (2, 2, 2));
    });
}

#[test]
fn a_group_restart_that_fails_half_way_waits_for_the_child_that_failed() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        paused(async {
            let log = Log::default();
            let [a, b, c] = three(&log);
            let sup = group(strategy, &[&a, &b, &c], after(SECOND)).await;
            b.next_starts(fails(1));
            sup.end("a", Deed::Panic).await;
            pass(SECOND + MILLI).await;
            let first = if strategy == Strategy::OneForAll {
                "stopped"
            } else {
                "running"
            };
            assert_eq!(
                sup.picture().await,
                format!("a {first}, b backoff, c stopped")
            );
            // Given up by hand, it keeps nobody.
            assert_eq!(sup.send(TerminateChild("b".into())).await, Ok(Ok(())));
            assert_eq!(sup.picture().await, "a running, b stopped, c running");
        });
    }
}

#[test]
fn siblings_of_a_child_that_is_given_up_run_without_it() {
    for strategy in [Strategy::OneForAll, Strategy::RestForOne] {
        paused(async {
            let log = Log::default();
            let [a, b, c] = three(&log);
            let backoff = Backoff {
                max_failures: Some(2),
                ..after(SECOND)
            };
            let sup = group(strategy, &[&a, &b, &c], backoff).await;
            b.next_starts(fails(9));
            sup.end("b", Deed::Panic).await;
            for _ in 0..5 {
                pass(SECOND + MILLI).await;
            }
            assert_eq!(sup.picture().await, "a running, b stopped, c running");
        });
    }
}

#[test]
fn temporary_siblings_are_not_released() {
    paused(async {
        let log = Log::default();
        let flags = SupFlags {
            strategy: Strategy::OneForAll,
            ..flags(9)
        };
        let sup = start(
            flags,
            vec![
                part("a", &log).spec().backoff(after(SECOND)),
                part("b", &log).restart(Restart::Temporary),
            ],
        )
        .await;
        sup.end("a", Deed::Panic).await;
        assert_eq!(sup.picture().await, "a backoff");
        pass(SECOND * 2).await;
        assert_eq!(sup.picture().await, "a running");
    });
}

// ---- backoff of dynamic children

#[test]
fn a_dynamic_child_waits_can_be_seen_and_terminated() {
    paused(async {
        let flags = DynamicFlags {
            restart: Restart::Permanent,
            intensity: 99,
            backoff: Some(after(SECOND)),
            ..DynamicFlags::new("x")
        };
        let sup = DynamicSupervisor::start(&unique("d"), flags)
            .await
            .expect("it starts");
        let child = part("x", &Log::default());
        let mut pids = Vec::new();
        for _ in 0..2 {
            let child = child.clone();
            let started = sup.send(StartDynamicChild::with_init(move || child.clone().init()));
            pids.extend(started.await.expect("it lives").expect("it starts"));
        }
        for pid in &pids {
            ActorRef::<Worker>::of(*pid)
                .expect("it runs")
                .do_send(Deed::Panic);
        }
        settle().await;
        let states = async || {
            let children = sup.send(WhichChildren::now()).await.expect("it lives");
            let states = children.iter().map(|child| child.state.name());
            states.collect::<Vec<_>>()
        };
        assert_eq!(states().await, ["BACKOFF", "BACKOFF"]);
        // By its last process, as OTP knows a restarting child.
        let terminated = sup.send(TerminateDynamicChild(pids[0])).await;
        assert_eq!(terminated, Ok(Ok(())));
        pass(SECOND + MILLI).await;
        assert_eq!(states().await, ["RUNNING"]);
        assert_eq!(child.made(), 3);
    });
}

// ---- what survives a restart

#[test]
fn a_failed_send_says_how_the_process_ended() {
    paused(async {
        let log = Log::default();
        let sup = start(flags(9), vec![part("a", &log).spec()]).await;
        let first = sup.worker("a").await;
        let asked = first.send(Ponder);
        settle().await;
        kill(first.pid());
        assert_eq!(asked.await, Err(SendError::Exited(ExitReason::Killed)));

        let second = sup.worker("a").await;
        let before = second.send(Ping);
        second.do_send(Deed::Panic);
        let behind = second.send(Ping);
        assert_eq!(before.await, Ok(1));
        let Err(SendError::Exited(ExitReason::Panic(panic))) = behind.await else {
            panic!("a letter behind a panic is not answered");
        };
        assert_eq!(panic.message, "a deed");
        settle().await;
        let late = second.send(Ping).await;
        assert_eq!(late, Err(SendError::Exited(ExitReason::Panic(panic))));
    });
}

#[test]
fn names_resolve_to_the_new_incarnation() {
    paused(async {
        let name = unique("poet");
        let sup = start(
            flags(9),
            vec![part("a", &Log::default()).named(&name).spec()],
        )
        .await;
        let old = whereis_actor::<Worker>(&name).expect("it runs");
        sup.end("a", Deed::Killed).await;
        let new = whereis_actor::<Worker>(&name).expect("it runs again");
        assert_ne!(old, new);
        assert_eq!(new.send(Ping).await, Ok(1));
    });
}

/// Counts, on whichever arbiter it runs.
struct Elsewhere;

impl Actor for Elsewhere {
    type Context = Context<Self>;
}

#[test]
fn a_child_of_a_stopped_arbiter_fails_to_start_until_the_supervisor_gives_up() {
    system(async {
        let arbiter = Arbiter::new();
        let spec = ChildSpec::new("a", |_| Elsewhere).at(Placement::On(arbiter.handle()));
        let sup = start(flags(3), vec![spec]).await;
        let end = exited(sup.pid());
        arbiter.stop();
        assert_eq!(end.await, ExitReason::SHUTDOWN);
    });
}

#[test]
fn others_have_turns_while_very_many_children_start() {
    system(async {
        let turns = Rc::new(Cell::new(0));
        let neighbour = actix_rt::spawn({
            let turns = Rc::clone(&turns);
            async move {
                loop {
                    turns.set(turns.get() + 1);
                    tokio::task::yield_now().await;
                }
            }
        });
        let specs = (0..1000).map(|number| ChildSpec::new(number.to_string(), |_| Elsewhere));
        let _sup = start(flags(0), specs.collect()).await;
        neighbour.abort();
        assert!(turns.get() > 5, "{}", turns.get());
    });
}
