//! Links and exit signals, row by row of "Receiving Exit Signals".

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use byron_supervisors::{
    ActorRef, ChildSpec, Context, ExitReason, Init, Pid, Placement, Spawn, SupFlags, Supervisor,
    exit, exited, is_alive, kill, shutdown,
};
use tokio::sync::Notify;

use crate::support::{
    LIMIT, Log, Puppet, Strings, eventually, panic_of, paused, puppet, settle, system, unique,
};

async fn link(one: &ActorRef<Puppet>, other: Pid) {
    one.tell(move |_, ctx| ctx.link(other)).await;
}

async fn trap(one: &ActorRef<Puppet>) {
    one.tell(|_, ctx| ctx.trap_exit(true)).await;
}

async fn one_exit(log: &Log) -> byron_supervisors::Exit {
    eventually("the Exit", || !log.exits().is_empty()).await;
    settle().await;
    let exits = log.exits();
    assert_eq!(exits.len(), 1, "{exits:?}");
    exits[0].clone()
}

#[test]
fn an_abnormal_end_goes_over_the_link_in_both_directions() {
    system(async {
        for turned in [false, true] {
            let (one, log) = puppet();
            let (other, _) = puppet();
            if turned {
                link(&other, one.pid()).await;
            } else {
                link(&one, other.pid()).await;
            }
            let end = exited(one.pid());
            exit(other.pid(), ExitReason::error("together"));
            assert_eq!(end.await, ExitReason::error("together"));
            assert_eq!(log.notes(), ["stopping: error: together", "stopped"]);
        }
    });
}

#[test]
fn shutdown_goes_over_a_link_and_normal_does_not() {
    system(async {
        let (one, _) = puppet();
        let (other, _) = puppet();
        link(&one, other.pid()).await;
        other.cast(|_, ctx| ctx.stop());
        assert_eq!(exited(other.pid()).await, ExitReason::Normal);
        settle().await;
        assert!(is_alive(one.pid()));
        let (third, _) = puppet();
        link(&one, third.pid()).await;
        let end = exited(one.pid());
        exit(third.pid(), ExitReason::SHUTDOWN);
        assert_eq!(end.await, ExitReason::SHUTDOWN);
    });
}

#[test]
fn spawn_link_is_there_before_the_new_process_can_die() {
    system(async {
        let arbiter = Arbiter::new();
        for placement in [Placement::Here, Placement::On(arbiter.handle())] {
            let (parent, _) = puppet();
            let end = exited(parent.pid());
            parent.cast(move |_, ctx| {
                Spawn::new()
                    .at(placement)
                    .linked_to(ctx)
                    .start(|_| -> Puppet { panic!("stillborn") });
            });
            assert_eq!(panic_of(&end.await).message, "stillborn");
        }
        let (parent, log) = puppet();
        trap(&parent).await;
        let child = parent
            .tell(|_, ctx| ctx.spawn_link(Puppet::default()).pid())
            .await;
        kill(child);
        let exit = one_exit(&log).await;
        assert_eq!((exit.from, exit.reason), (Some(child), ExitReason::Killed));
        arbiter.stop();
    });
}

#[test]
fn linking_twice_is_linking_once() {
    system(async {
        let (one, log) = puppet();
        let (other, _) = puppet();
        trap(&one).await;
        link(&one, other.pid()).await;
        link(&one, other.pid()).await;
        link(&other, one.pid()).await;
        kill(other.pid());
        assert_eq!(one_exit(&log).await.reason, ExitReason::Killed);
    });
}

#[test]
fn either_side_may_unlink() {
    system(async {
        for turned in [false, true] {
            let (one, log) = puppet();
            let (other, _) = puppet();
            trap(&one).await;
            link(&one, other.pid()).await;
            let (of_one, of_other) = (one.pid(), other.pid());
            if turned {
                other.tell(move |_, ctx| ctx.unlink(of_one)).await;
            } else {
                one.tell(move |_, ctx| ctx.unlink(of_other)).await;
            }
            kill(other.pid());
            eventually("the kill", || !is_alive(of_other)).await;
            settle().await;
            assert_eq!(log.exits().len(), 0);
            assert!(is_alive(one.pid()));
        }
    });
}

#[test]
fn unlink_takes_back_a_signal_that_was_not_looked_at() {
    system(async {
        let arbiter = Arbiter::new();
        for _ in 0..200 {
            let (one, _) = puppet();
            let (other, _) = Spawn::new()
                .at(Placement::On(arbiter.handle()))
                .start(|_| Puppet::default());
            link(&one, other.pid()).await;
            let other = other.pid();
            one.tell(move |_, ctx| {
                kill(other);
                // Dead, and its signal is on its way or here.
                while is_alive(other) {
                    std::hint::spin_loop();
                }
                ctx.unlink(other);
            })
            .await;
            settle().await;
            assert!(is_alive(one.pid()));
            kill(one.pid());
        }
        arbiter.stop();
    });
}

#[test]
fn a_kill_is_not_trapped_and_its_victim_ends_with_killed() {
    system(async {
        let (victim, log) = puppet();
        trap(&victim).await;
        let end = exited(victim.pid());
        kill(victim.pid());
        assert_eq!(end.await, ExitReason::Killed);
        assert_eq!(log.notes(), [""; 0], "no hook runs");
        assert_eq!(log.exits().len(), 0);
    });
}

#[test]
fn killed_over_a_link_is_an_ordinary_reason() {
    system(async {
        let (one, _) = puppet();
        let (trapping, log) = puppet();
        let (victim, _) = puppet();
        trap(&trapping).await;
        link(&one, victim.pid()).await;
        link(&trapping, victim.pid()).await;
        let end = exited(one.pid());
        kill(victim.pid());
        assert_eq!(end.await, ExitReason::Killed);
        let exit = one_exit(&log).await;
        assert_eq!(exit.from, Some(victim.pid()));
        assert_eq!(exit.reason, ExitReason::Killed);
        assert!(is_alive(trapping.pid()));
    });
}

#[test]
fn a_link_to_the_dead_is_a_signal_noproc() {
    system(async {
        let (victim, _) = puppet();
        kill(victim.pid());
        eventually("the kill", || !is_alive(victim.pid())).await;
        let (trapping, log) = puppet();
        trap(&trapping).await;
        link(&trapping, victim.pid()).await;
        let exit = one_exit(&log).await;
        assert_eq!(exit.from, Some(victim.pid()));
        assert_eq!(exit.reason, ExitReason::NoProc);
        let (one, _) = puppet();
        let end = exited(one.pid());
        link(&one, victim.pid()).await;
        assert_eq!(end.await, ExitReason::NoProc);
    });
}

#[test]
fn a_link_to_oneself_is_nothing() {
    system(async {
        let (one, _) = puppet();
        link(&one, one.pid()).await;
        settle().await;
        exit(one.pid(), ExitReason::error("alone"));
        assert_eq!(exited(one.pid()).await, ExitReason::error("alone"));
    });
}

#[test]
fn a_chain_and_a_cycle_of_links_fall_with_one_reason() {
    system(async {
        let puppets: Vec<_> = (0..500).map(|_| puppet().0).collect();
        for (at, one) in puppets.iter().enumerate() {
            link(one, puppets[(at + 1) % puppets.len()].pid()).await;
        }
        let ends: Vec<_> = puppets.iter().map(|one| exited(one.pid())).collect();
        puppets[250].cast(|_, _| panic!("domino"));
        for end in ends {
            assert_eq!(panic_of(&end.await).message, "domino");
        }
    });
}

#[test]
fn linked_processes_that_die_at_once_on_two_arbiters_do_not_block_each_other() {
    system(async {
        let arbiters = [Arbiter::new(), Arbiter::new()];
        for round in 0..20 {
            let mut pids = Vec::new();
            for at in 0..100 {
                let (one, _) = Spawn::new()
                    .at(Placement::On(arbiters[at % 2].handle()))
                    .start(|_| Puppet::default());
                pids.push(one);
            }
            let mut ends = Vec::new();
            for (at, one) in pids.iter().enumerate() {
                ends.push(exited(one.pid()));
                let (next, far) = (pids[(at + 1) % 100].pid(), pids[(at * 7 + 3) % 100].pid());
                one.cast(move |_, ctx| {
                    ctx.link(next);
                    ctx.link(far);
                });
            }
            exit(pids[round].pid(), ExitReason::error("storm"));
            exit(pids[99 - round].pid(), ExitReason::error("storm"));
            kill(pids[50].pid());
            for end in ends {
                let reason = end.await;
                assert!(!reason.is_normal(), "{reason}");
            }
        }
        for arbiter in arbiters {
            arbiter.stop();
        }
    });
}

#[test]
fn exit_with_normal_is_no_signal_unless_trapped() {
    system(async {
        let (one, log) = puppet();
        exit(one.pid(), ExitReason::Normal);
        settle().await;
        assert!(is_alive(one.pid()));
        trap(&one).await;
        exit(one.pid(), ExitReason::Normal);
        let message = one_exit(&log).await;
        assert_eq!((message.from, message.reason), (None, ExitReason::Normal));
        // To itself it is one.
        one.tell(|_, ctx| ctx.trap_exit(false)).await;
        let end = exited(one.pid());
        one.cast(|_, ctx| exit(ctx.pid(), ExitReason::Normal));
        assert_eq!(end.await, ExitReason::Normal);
    });
}

#[test]
fn a_trapped_exit_knows_who_sent_it() {
    system(async {
        let (one, log) = puppet();
        let (sender, _) = puppet();
        trap(&one).await;
        let to = one.pid();
        sender.cast(move |_, _| exit(to, ExitReason::error("for you")));
        let message = one_exit(&log).await;
        assert_eq!(message.from, Some(sender.pid()));
        assert_eq!(message.reason, ExitReason::error("for you"));
    });
}

#[test]
fn stopping_may_refuse_signals_one_by_one_but_not_a_kill() {
    system(async {
        let (one, log) = puppet();
        one.tell(|me, _| me.is_stubborn = true).await;
        exit(one.pid(), ExitReason::error("first"));
        exit(one.pid(), ExitReason::error("second"));
        eventually("both are refused", || log.notes().len() == 2).await;
        assert_eq!(
            log.notes(),
            ["stopping: error: first", "stopping: error: second"]
        );
        assert!(one.tell(|_, ctx| ctx.exit_reason().is_none()).await);
        let end = exited(one.pid());
        kill(one.pid());
        assert_eq!(end.await, ExitReason::Killed);
        assert_eq!(log.notes().len(), 2);
    });
}

#[test]
fn a_refused_reason_does_not_come_back() {
    system(async {
        let (one, _) = puppet();
        one.tell(|me, _| me.is_stubborn = true).await;
        exit(one.pid(), ExitReason::error("refused"));
        settle().await;
        let end = exited(one.pid());
        one.cast(|me, ctx| {
            me.is_stubborn = false;
            ctx.stop();
        });
        assert_eq!(end.await, ExitReason::Normal);
    });
}

#[test]
fn a_signal_reaches_a_process_that_waits() {
    system(async {
        let (one, log) = puppet();
        one.cast(|_, ctx| ctx.wait(actix::fut::wrap_future(std::future::pending::<()>())));
        settle().await;
        let end = exited(one.pid());
        exit(one.pid(), ExitReason::SHUTDOWN);
        assert_eq!(end.await, ExitReason::SHUTDOWN);
        assert_eq!(log.notes(), ["stopping: shutdown", "stopped"]);
    });
}

#[test]
fn a_signal_before_the_first_turn_ends_a_process_that_has_not_begun() {
    system(async {
        for is_kill in [false, true] {
            let (one, log) = puppet();
            let end = exited(one.pid());
            let expected = if is_kill {
                kill(one.pid());
                ExitReason::Killed
            } else {
                exit(one.pid(), ExitReason::error("early"));
                ExitReason::error("early")
            };
            assert_eq!(end.await, expected);
            assert_eq!(log.notes(), [""; 0], "no hook of an actor that never ran");
        }
    });
}

#[test]
fn a_signal_during_an_async_init_ends_it() {
    system(async {
        for is_kill in [false, true] {
            let (one, _) = Spawn::new().start_init(|| async {
                std::future::pending::<()>().await;
                Ok(Init::Ready(Puppet::default()))
            });
            settle().await;
            let end = exited(one.pid());
            let expected = if is_kill {
                kill(one.pid());
                ExitReason::Killed
            } else {
                exit(one.pid(), ExitReason::SHUTDOWN);
                ExitReason::SHUTDOWN
            };
            assert_eq!(end.await, expected);
        }
    });
}

#[test]
fn an_init_may_fail_ignore_or_come_to_an_actor() {
    system(async {
        let start = |answer: fn() -> Result<Init<Puppet>, ExitReason>| {
            let (one, _) = Spawn::new().start_init(move || async move {
                tokio::task::yield_now().await;
                answer()
            });
            one
        };
        let failed = start(|| Err(ExitReason::error("no port")));
        assert_eq!(exited(failed.pid()).await, ExitReason::error("no port"));
        let ignored = start(|| Ok(Init::Ignore));
        assert_eq!(exited(ignored.pid()).await, ExitReason::Normal);
        let ready = start(|| Ok(Init::Ready(Puppet::default())));
        assert_eq!(ready.tell(|_, _| 1).await, 1, "messages wait for the init");
    });
}

#[test]
fn a_factory_that_exits_is_obeyed() {
    system(async {
        let log = Log::default();
        let actor_log = log.clone();
        let (one, _) = Spawn::new().start(move |ctx| {
            ctx.exit(ExitReason::error("from the factory"));
            Puppet {
                log: actor_log,
                ..Puppet::default()
            }
        });
        assert_eq!(
            exited(one.pid()).await,
            ExitReason::error("from the factory")
        );
        assert_eq!(
            log.notes(),
            ["stopping: error: from the factory", "stopped"]
        );
    });
}

#[test]
fn the_first_reason_stands() {
    system(async {
        let (one, _) = puppet();
        let end = exited(one.pid());
        one.cast(|_, ctx| {
            ctx.exit(ExitReason::error("first"));
            ctx.exit(ExitReason::error("second"));
            ctx.stop();
        });
        assert_eq!(end.await, ExitReason::error("first"));
    });
}

#[test]
fn shutdown_waits_and_then_kills() {
    paused(async {
        let limit = Duration::from_secs(5);
        let (obedient, log) = puppet();
        settle().await;
        assert_eq!(shutdown(obedient.pid(), limit).await, ExitReason::SHUTDOWN);
        assert_eq!(log.notes(), ["stopping: shutdown", "stopped"]);
        let (stubborn, _) = puppet();
        stubborn.tell(|me, _| me.is_stubborn = true).await;
        let begin = tokio::time::Instant::now();
        assert_eq!(shutdown(stubborn.pid(), limit).await, ExitReason::Killed);
        assert!(begin.elapsed() >= limit);
        assert_eq!(shutdown(stubborn.pid(), limit).await, ExitReason::NoProc);
    });
}

/// An error that cannot even say what it is.
#[derive(Debug)]
struct Unspeakable;

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("unspeakable")
    }
}

impl std::error::Error for Unspeakable {}

#[test]
fn an_error_that_panics_when_it_is_shown_keeps_nobody_from_hearing_of_an_end() {
    system(async {
        let gate = Arc::new(Notify::new());
        let opened = Arc::clone(&gate);
        let (crier, _) = Spawn::new().start_init(move || async move {
            opened.notified().await;
            Err::<Init<Puppet>, _>(ExitReason::error(Unspeakable))
        });
        let pid = crier.pid();
        // The event of a link is told of processes in a tree only.
        let spec = ChildSpec::new("linked", move |ctx: &mut Context<Puppet>| {
            ctx.link(pid);
            Puppet::default()
        });
        let _sup = Supervisor::start(&unique("linked"), SupFlags::default(), vec![spec])
            .await
            .expect("it starts");
        let end = exited(pid);
        gate.notify_one();
        let end = tokio::time::timeout(LIMIT / 4, end).await;
        assert_eq!(end.map(|reason| reason.kind()), Ok("error"));
        assert!(!is_alive(pid));
    });
}
