//! How children are stopped, and what becomes of those whose supervisor does not get to it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix::prelude::*;
use byron_supervisors::{
    ActorRef, ChildSpec, Context, DeleteChild, Exit, ExitReason, Placement, Restart,
    SHUTDOWN_TIMEOUT, SendError, Shutdown, StartChild, SupFlags, Supervisor, TerminateChild, exit,
    exited, is_alive, kill, shutdown, whereis,
};
use tokio::time::Instant;

use crate::sup_support::{
    Ask, Deed, LIMIT, Log, MILLI, Ponder, SECOND, Start, Stop, eventually, flags, part, pass,
    paused, settle, start, system, unique,
};

async fn stop(sup: &ActorRef<Supervisor>) -> ExitReason {
    let end = exited(sup.pid());
    exit(sup.pid(), ExitReason::SHUTDOWN);
    end.await
}

#[test]
fn children_stop_in_reverse_one_after_the_other() {
    paused(async {
        let log = Log::default();
        let slow = || Stop::Slow(SECOND, ExitReason::SHUTDOWN);
        let sup = start(
            flags(0),
            vec![
                part("a", &log).stops(slow()).spec(),
                part("b", &log).spec(),
                part("c", &log).stops(slow()).spec(),
            ],
        )
        .await;
        log.take();
        let begin = Instant::now();
        assert_eq!(stop(&sup).await, ExitReason::SHUTDOWN);
        assert_eq!(
            log.take(),
            [
                "slow stop c",
                "stop c: shutdown",
                "stop b: shutdown",
                "slow stop a",
                "stop a: shutdown"
            ]
        );
        assert_eq!(begin.elapsed(), SECOND * 2, "each is waited for");
    });
}

#[test]
fn after_its_time_a_child_is_killed() {
    paused(async {
        let log = Log::default();
        let stubborn = part("a", &log).stops(Stop::Stubborn);
        let sup = start(
            flags(0),
            vec![stubborn.shutdown(Shutdown::Timeout(SECOND * 3))],
        )
        .await;
        let end = exited(sup.pid_of("a").await);
        let begin = Instant::now();
        let stopped = sup.send(TerminateChild("a".into())).await;
        assert_eq!(stopped, Ok(Ok(())));
        assert_eq!(begin.elapsed(), SECOND * 3);
        assert_eq!(end.await, ExitReason::Killed);
        assert_eq!(log.take(), ["start a"], "a killed actor runs no hook");
    });
}

#[test]
fn a_child_that_waits_for_something_is_told_all_the_same() {
    paused(async {
        let log = Log::default();
        let sup = start(flags(0), vec![part("a", &log).spec()]).await;
        sup.worker("a").await.do_send(Ponder);
        settle().await;
        let begin = Instant::now();
        stop(&sup).await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
        assert_eq!(log.take(), ["start a", "stop a: shutdown"]);
    });
}

#[test]
fn a_brutal_kill_is_not_a_question() {
    paused(async {
        let log = Log::default();
        let sup = start(
            flags(0),
            vec![part("a", &log).shutdown(Shutdown::BrutalKill)],
        )
        .await;
        let end = exited(sup.pid_of("a").await);
        stop(&sup).await;
        assert_eq!(end.await, ExitReason::Killed);
        assert_eq!(log.take(), ["start a"]);
    });
}

#[test]
fn infinity_waits() {
    paused(async {
        let log = Log::default();
        let slow = Stop::Slow(SECOND * 86_400, ExitReason::SHUTDOWN);
        let sup = start(
            flags(0),
            vec![part("a", &log).stops(slow).shutdown(Shutdown::Infinity)],
        )
        .await;
        let begin = Instant::now();
        stop(&sup).await;
        assert_eq!(begin.elapsed(), SECOND * 86_400);
    });
}

#[test]
fn a_supervisor_told_to_stop_leaves_with_that_reason() {
    for reason in [
        ExitReason::SHUTDOWN,
        ExitReason::shutdown("a term"),
        ExitReason::error("an error"),
    ] {
        paused(async {
            let log = Log::default();
            let sup = start(flags(0), vec![part("a", &log).spec()]).await;
            let end = exited(sup.pid());
            exit(sup.pid(), reason.clone());
            assert_eq!(end.await, reason);
            assert_eq!(log.take(), ["start a", "stop a: shutdown"]);
        });
    }
}

#[test]
fn a_root_is_shut_down_from_outside() {
    paused(async {
        let log = Log::default();
        let sup = start(flags(0), vec![part("a", &log).spec()]).await;
        assert_eq!(shutdown(sup.pid(), SECOND).await, ExitReason::SHUTDOWN);
        assert_eq!(log.take(), ["start a", "stop a: shutdown"]);
    });
}

#[test]
fn an_end_is_not_put_off_by_a_slow_start() {
    paused(async {
        let log = Log::default();
        let slow = part("b", &log).starts([Start::Ready, Start::Slow(SECOND * 50)]);
        let sup = start(flags(9), vec![part("a", &log).spec(), slow.spec()]).await;
        sup.end("b", Deed::Panic).await;
        let starting = sup.pid_of("b").await;
        log.take();
        let begin = Instant::now();
        stop(&sup).await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
        assert!(!is_alive(starting));
        assert_eq!(log.take(), ["stop a: shutdown"]);
    });
}

#[test]
fn an_end_during_the_first_start_stops_what_has_started() {
    paused(async {
        let (log, root) = (Log::default(), unique("root"));
        let slow = part("b", &log).starts([Start::Slow(SECOND * 50)]);
        let specs = vec![part("a", &log).named(&root).spec(), slow.spec()];
        let name = root.clone();
        let starting = actix::spawn(async move { Supervisor::start(&name, flags(9), specs).await });
        settle().await;
        let a = whereis(&root).expect("a runs");
        let node = byron_supervisors::snapshot()
            .into_iter()
            .find(|node| node.path.to_string() == root)
            .expect("it is a root");
        exit(node.state.pid().expect("it runs"), ExitReason::SHUTDOWN);
        let outcome = starting.await.expect("it is waited for");
        assert_eq!(outcome.map(drop), Err(ExitReason::SHUTDOWN));
        assert!(!is_alive(a));
        assert_eq!(log.take(), ["start a", "slow b", "stop a: shutdown"]);
    });
}

#[test]
fn a_tree_stops_from_the_leaves_up_and_from_the_last_to_the_first() {
    paused(async {
        let log = Log::default();
        let below = |id: &'static str, first: &'static str, last: &'static str| {
            let log = log.clone();
            ChildSpec::supervisor(id, flags(0), move || {
                vec![part(first, &log).spec(), part(last, &log).spec()]
            })
        };
        let sup = start(
            flags(0),
            vec![below("left", "a", "b"), below("right", "c", "d")],
        )
        .await;
        log.take();
        stop(&sup).await;
        let order = ["d", "c", "b", "a"].map(|id| format!("stop {id}: shutdown"));
        assert_eq!(log.take(), order);
    });
}

/// A child of another supervisor, known by its name.
fn nested(log: &Log, name: &str, stop: Stop) -> ChildSpec {
    let (log, name) = (log.clone(), name.to_owned());
    ChildSpec::supervisor("below", flags(0), move || {
        vec![part("a", &log).named(&name).stops(stop.clone()).spec()]
    })
    .restart(Restart::Temporary)
}

#[test]
fn children_of_a_killed_supervisor_end_too() {
    paused(async {
        let (log, name) = (Log::default(), unique("a"));
        let sup = start(flags(0), vec![nested(&log, &name, Stop::AtOnce)]).await;
        let orphan = whereis(&name).expect("a runs");
        let end = exited(orphan);
        kill(sup.pid_of("below").await);
        // As in OTP: the reason that goes over the link is `killed`, and it can be handled.
        assert_eq!(end.await, ExitReason::Killed);
        assert_eq!(log.take(), ["start a", "stop a: killed"]);
        assert_eq!(sup.picture().await, "");
    });
}

#[test]
fn a_child_that_takes_its_time_outlives_its_killed_supervisor_by_no_more() {
    paused(async {
        let (log, name) = (Log::default(), unique("a"));
        let slow = Stop::Slow(SECOND, ExitReason::SHUTDOWN);
        let sup = start(flags(0), vec![nested(&log, &name, slow)]).await;
        let orphan = whereis(&name).expect("a runs");
        kill(sup.pid_of("below").await);
        settle().await;
        assert!(is_alive(orphan));
        pass(SECOND).await;
        assert!(!is_alive(orphan));
    });
}

#[test]
fn a_child_that_refuses_outlives_its_killed_supervisor_by_the_usual_time_and_is_killed() {
    paused(async {
        let (log, name) = (Log::default(), unique("a"));
        let sup = start(flags(0), vec![nested(&log, &name, Stop::Stubborn)]).await;
        let orphan = whereis(&name).expect("a runs");
        let end = exited(orphan);
        kill(sup.pid_of("below").await);
        pass(SHUTDOWN_TIMEOUT - MILLI).await;
        assert!(is_alive(orphan));
        assert_eq!(end.await, ExitReason::Killed);
    });
}

#[test]
fn a_killed_root_takes_a_tree_of_three_levels_with_it() {
    paused(async {
        let (log, name) = (Log::default(), unique("a"));
        let inner = (log.clone(), name.clone());
        let middle = ChildSpec::supervisor("middle", flags(0), move || {
            vec![nested(&inner.0, &inner.1, Stop::AtOnce)]
        });
        let sup = start(flags(0), vec![middle]).await;
        let (middle, leaf) = (sup.pid_of("middle").await, whereis(&name).expect("a runs"));
        kill(sup.pid());
        settle().await;
        assert!(!is_alive(middle) && !is_alive(leaf));
        assert_eq!(whereis(&name), None);
    });
}

#[test]
fn children_on_other_arbiters_end_with_their_killed_supervisor() {
    system(async {
        let (log, name) = (Log::default(), unique("a"));
        let arbiter = Arbiter::new();
        let spec = part("a", &log)
            .named(&name)
            .spec()
            .at(Placement::On(arbiter.handle()));
        let sup = start(flags(0), vec![spec]).await;
        let orphan = whereis(&name).expect("a runs");
        kill(sup.pid());
        assert_eq!(exited(orphan).await, ExitReason::Killed);
        arbiter.stop();
    });
}

/// Starts a process by itself, and panics.
struct Careless;

impl Actor for Careless {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Adopt(String);

impl Handler<Adopt> for Careless {
    type Result = ();

    fn handle(&mut self, Adopt(name): Adopt, ctx: &mut Context<Self>) {
        let child = ctx.spawn_link(Linked);
        byron_supervisors::register(name, child.pid()).expect("nobody has it");
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Stumble;

impl Handler<Stumble> for Careless {
    type Result = ();

    fn handle(&mut self, _: Stumble, _: &mut Context<Self>) {
        panic!("careless");
    }
}

struct Linked;

impl Actor for Linked {
    type Context = Context<Self>;
}

#[test]
fn what_a_child_had_linked_ends_with_it() {
    paused(async {
        let name = unique("linked");
        let sup = start(flags(1), vec![ChildSpec::new("careless", |_| Careless)]).await;
        let careless = ActorRef::<Careless>::of(sup.pid_of("careless").await).expect("it is one");
        careless.do_send(Adopt(name.clone()));
        settle().await;
        assert!(whereis(&name).is_some());
        careless.do_send(Stumble);
        settle().await;
        assert_eq!(whereis(&name), None);
        assert!(sup.is_alive());
    });
}

/// A trap is no shield from one's own supervisor.
struct Trapping;

impl Actor for Trapping {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.trap_exit(true);
    }
}

impl Handler<Exit> for Trapping {
    type Result = ();

    fn handle(&mut self, exit: Exit, _: &mut Context<Self>) {
        panic!("{exit:?} is not a message to it");
    }
}

#[test]
fn a_child_that_traps_exits_obeys_its_supervisor() {
    paused(async {
        let spec = ChildSpec::new("a", |_| Trapping).shutdown(Shutdown::Infinity);
        let sup = start(flags(0), vec![spec]).await;
        let end = exited(sup.pid_of("a").await);
        stop(&sup).await;
        assert_eq!(end.await, ExitReason::SHUTDOWN);

        let sup = start(flags(0), vec![ChildSpec::new("a", |_| Trapping)]).await;
        let end = exited(sup.pid_of("a").await);
        kill(sup.pid());
        assert_eq!(end.await, ExitReason::Killed);
    });
}

#[test]
fn a_supervisor_whose_children_panic_while_it_stops_ends_all_the_same() {
    paused(async {
        let log = Log::default();
        let sup = start(
            flags(0),
            vec![
                part("a", &log).spec(),
                part("b", &log).stops(Stop::Panic).spec(),
                part("c", &log).spec(),
            ],
        )
        .await;
        log.take();
        assert_eq!(stop(&sup).await, ExitReason::SHUTDOWN);
        assert_eq!(log.take(), ["stop c: shutdown", "stop a: shutdown"]);
    });
}

/// Panics when it is dropped.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        panic!("a grenade");
    }
}

#[test]
fn children_of_a_supervisor_that_panics_are_told() {
    paused(async {
        let (log, name) = (Log::default(), unique("a"));
        let inner = (log.clone(), name.clone());
        let spec = ChildSpec::supervisor("below", flags(9), move || {
            vec![part("a", &inner.0).named(&inner.1).spec()]
        });
        let sup = start(flags(9), vec![spec]).await;
        let orphan = whereis(&name).expect("a runs");
        let end = exited(orphan);
        let below = ActorRef::<Supervisor>::of(sup.pid_of("below").await).expect("it is one");
        // A spec holds what its closure holds, and that is the user's.
        let (grenade, ignored) = (Grenade, part("b", &log).starts([Start::Ignore]));
        let spec = ChildSpec::with_init("b", move || {
            let _ = &grenade;
            ignored.clone().init()
        });
        let added = below.send(StartChild(spec)).await;
        assert_eq!(added, Ok(Ok(None)));
        let deleted = below.send(DeleteChild("b".into())).await;

        let Err(SendError::Exited(ExitReason::Panic(panic))) = deleted else {
            panic!("{deleted:?}");
        };
        assert_eq!(panic.message, "a grenade");
        assert_eq!(end.await, ExitReason::Panic(panic));
        eventually("the tree is up again", || {
            whereis(&name).is_some_and(|pid| pid != orphan)
        })
        .await;
        assert!(sup.pid_of("below").await > below.pid());
    });
}

#[test]
fn a_supervisor_is_gone_when_its_arbiter_is() {
    system(async {
        let arbiter = Arbiter::new();
        let (log, name) = (Log::default(), unique("a"));
        let inner = (log.clone(), name.clone());
        let below = ChildSpec::supervisor("below", flags(0), move || {
            vec![part("a", &inner.0).named(&inner.1).spec()]
        })
        .restart(Restart::Temporary)
        .at(Placement::On(arbiter.handle()));
        let sup = start(flags(0), vec![below]).await;
        let leaf = exited(whereis(&name).expect("a runs"));
        let below = exited(sup.pid_of("below").await);
        arbiter.stop();
        assert_eq!(below.await, ExitReason::NoConnection);
        let leaf = leaf.await;
        // Either went first.
        assert!(
            matches!(leaf, ExitReason::NoConnection),
            "the leaf says {leaf}"
        );
        let begin = Instant::now();
        while !sup.children().await.is_empty() {
            assert!(begin.elapsed() < LIMIT);
        }
    });
}

#[test]
fn a_dead_supervisor_holds_no_handle_of_itself() {
    struct Idle;

    impl Actor for Idle {
        type Context = Context<Self>;
    }

    paused(async {
        for is_killed in [false, true] {
            let held = Arc::new(());
            let token = Arc::clone(&held);
            let sup = Supervisor::start_with("itself", move |ctx| {
                let this = ctx.this();
                let child = ChildSpec::new("child", move |_: &mut Context<Idle>| {
                    let _ = (&this, &token);
                    Idle
                });
                Supervisor::new(SupFlags::default(), vec![child])
            });
            let sup = sup.await.expect("it starts");
            if is_killed {
                kill(sup.pid());
            } else {
                exit(sup.pid(), ExitReason::SHUTDOWN);
            }
            drop(sup);
            settle().await;
            assert_eq!(Arc::strong_count(&held), 1);
        }
    });
}

#[test]
fn a_supervisor_that_is_stopped_while_it_starts_stops_what_it_has_started() {
    paused(async {
        let log = Log::default();
        let first = part("first", &log).stops(Stop::Slow(SECOND, ExitReason::SHUTDOWN));
        let second = part("second", &log).starts([Start::Slow(60 * SECOND)]);
        let below =
            ChildSpec::supervisor("below", flags(0), move || vec![first.spec(), second.spec()]);
        let name = unique("above");
        let (theirs, above) = (name.clone(), Arc::new(OnceLock::new()));
        let this = Arc::clone(&above);
        let start = Supervisor::start_with(&theirs, move |ctx| {
            let _ = this.set(ctx.pid());
            Supervisor::new(flags(0), vec![below])
        });
        let start = tokio::time::timeout(10 * SECOND, start);
        assert!(start.await.is_err(), "it takes a minute");
        assert_eq!(log.take(), ["start first", "slow second"]);
        let above = *above.get().expect("it was made");
        let end = exited(above);
        exit(above, ExitReason::SHUTDOWN);
        end.await;
        assert_eq!(
            log.take(),
            ["slow stop first", "stop first: shutdown"],
            "before its supervisor's supervisor"
        );
    });
}

#[test]
fn what_a_killed_supervisor_left_behind_has_ended_before_the_next_one_starts() {
    paused(async {
        let log = Log::default();
        let name = unique("slow");
        let slow = part("a", &log)
            .named(&name)
            .stops(Stop::Slow(SECOND, ExitReason::SHUTDOWN));
        let inner = ChildSpec::supervisor("inner", flags(0), move || vec![slow.spec()]);
        // An attempt that met the name of the old one would be one too many.
        let sup = start(flags(1), vec![inner]).await;
        let (old, before) = (sup.pid_of("inner").await, whereis(&name));
        log.take();
        kill(old);
        pass(SECOND - MILLI).await;
        assert_eq!(whereis(&name), before, "the old one is on its way out");
        pass(MILLI).await;
        settle().await;
        assert!(whereis(&name).is_some_and(|now| Some(now) != before));
        assert_eq!(
            log.take(),
            ["slow stop a", "stop a: shutdown", "start a"],
            "one after the other"
        );
        assert!(sup.is_alive(), "one restart was enough");
    });
}
