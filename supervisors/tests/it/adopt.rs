//! Plain actix actors as processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix::prelude::*;
use byron_supervisors::{
    During, ExitReason, Pid, Placement, Spawn, addr_of, adopt, current_pid, exit, exited, is_alive,
    kill, register, whereis_addr,
};

use crate::support::{Log, Strings, eventually, panic_of, puppet, settle, system, unique};

/// Has never heard of processes.
#[derive(Default)]
struct Old {
    log: Log,
    nature: Nature,
}

#[derive(Default, Clone, Copy)]
struct Nature {
    is_stubborn: bool,
    panics_in_started: bool,
    panics_in_stopped: bool,
    panics_in_drop: bool,
}

impl Actor for Old {
    type Context = actix::Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        self.log.note("started");
        assert!(!self.nature.panics_in_started, "in started");
    }

    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        self.log.note("stopping");
        if self.nature.is_stubborn {
            Running::Continue
        } else {
            Running::Stop
        }
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.log.note("stopped");
        assert!(!self.nature.panics_in_stopped, "in stopped");
    }
}

impl Drop for Old {
    fn drop(&mut self) {
        assert!(!self.nature.panics_in_drop, "in drop");
    }
}

#[derive(Message)]
#[rtype(result = "Option<Pid>")]
struct WhoAmI;

impl Handler<WhoAmI> for Old {
    type Result = Option<Pid>;

    fn handle(&mut self, _: WhoAmI, _: &mut Self::Context) -> Option<Pid> {
        current_pid()
    }
}

#[derive(Message)]
#[rtype(result = "()")]
enum Order {
    Stop,
    Panic,
    PanicInTimer,
    Wait,
    Relent,
    Note,
}

impl Handler<Order> for Old {
    type Result = ();

    fn handle(&mut self, order: Order, ctx: &mut Self::Context) {
        match order {
            Order::Stop => ctx.stop(),
            Order::Panic => panic!("in a handler"),
            Order::PanicInTimer => {
                ctx.run_later(Duration::from_millis(1), |_, _| panic!("in a timer"));
            }
            Order::Wait => ctx.wait(std::future::pending::<()>().into_actor(self)),
            Order::Relent => self.nature.is_stubborn = false,
            Order::Note => self.log.note("note"),
        }
    }
}

fn with(nature: Nature) -> Old {
    Old {
        log: Log::default(),
        nature,
    }
}

fn old() -> (Addr<Old>, Pid, Log) {
    let old = Old::default();
    let log = old.log.clone();
    let (addr, pid) = adopt(actix::Context::new(), old);
    (addr, pid, log)
}

#[test]
fn an_adopted_actor_answers_and_knows_its_pid() {
    system(async {
        let (addr, pid, _) = old();
        assert_eq!(addr.send(WhoAmI).await.ok(), Some(Some(pid)));
        assert_eq!(current_pid(), None);
        assert!(is_alive(pid));
        let name = unique("old");
        register(name.as_str(), pid).expect("the name is free");
        assert_eq!(whereis_addr::<Old>(&name).as_ref(), Some(&addr));
        let end = exited(pid);
        addr.do_send(Order::Stop);
        assert_eq!(end.await, ExitReason::Normal);
        assert!(addr_of::<Old>(pid).is_none());
        assert_eq!(byron_supervisors::whereis(&name), None);
    });
}

#[test]
fn it_ends_when_nobody_holds_its_address_as_with_actix() {
    system(async {
        let (addr, pid, log) = old();
        let end = exited(pid);
        drop(addr);
        assert_eq!(end.await, ExitReason::Normal);
        assert_eq!(log.notes(), ["started", "stopping", "stopped"]);
    });
}

#[test]
fn a_panic_anywhere_in_it_is_one_down_and_no_hook_runs_after_it() {
    system(async {
        let (observer, log) = puppet();
        let mut expected = Vec::new();
        for (text, order) in [
            ("in a handler", Order::Panic),
            ("in a timer", Order::PanicInTimer),
        ] {
            let (addr, pid, hooks) = old();
            observer.watch(pid).await;
            addr.do_send(order);
            addr.do_send(Order::Note);
            eventually("the crash", || !is_alive(pid)).await;
            let before: Vec<_> = hooks.notes();
            assert!(!before.contains(&"stopped".to_owned()), "{before:?}");
            assert!(!before.contains(&"stopping".to_owned()), "{before:?}");
            expected.push(text);
        }
        for (at, text) in ["in started", "in stopped", "in drop"]
            .into_iter()
            .enumerate()
        {
            let nature = Nature {
                panics_in_started: at == 0,
                panics_in_stopped: at == 1,
                panics_in_drop: at == 2,
                ..Nature::default()
            };
            observer
                .tell(move |_, ctx| {
                    let (addr, ..) = Spawn::new()
                        .monitored_by(ctx)
                        .adopt_here(actix::Context::new(), with(nature));
                    addr.do_send(Order::Stop);
                })
                .await;
            expected.push(text);
            eventually("the end", || log.downs().len() == expected.len()).await;
        }
        let downs = log.wait_downs(expected.len()).await;
        for (down, text) in downs.iter().zip(expected) {
            let panic = panic_of(&down.reason);
            assert_eq!(panic.message, text);
            assert!(
                panic
                    .location
                    .as_deref()
                    .unwrap_or_default()
                    .contains("adopt.rs")
            );
            let during = if text == "in drop" {
                During::Drop
            } else {
                During::Turn
            };
            assert_eq!(panic.during, during);
        }
    });
}

#[test]
fn a_handler_that_panics_and_a_drop_that_panics_do_not_abort() {
    system(async {
        let (addr, pid) = adopt(
            actix::Context::new(),
            with(Nature {
                panics_in_stopped: true,
                panics_in_drop: true,
                ..Nature::default()
            }),
        );
        let end = exited(pid);
        addr.do_send(Order::Panic);
        assert_eq!(panic_of(&end.await).message, "in a handler");
    });
}

#[test]
fn a_kill_runs_no_hook() {
    system(async {
        let (_addr, pid, log) = old();
        settle().await;
        let end = exited(pid);
        kill(pid);
        assert_eq!(end.await, ExitReason::Killed);
        assert_eq!(log.notes(), ["started"]);
    });
}

#[test]
fn an_exit_signal_stops_it_with_the_reason_even_while_it_waits() {
    system(async {
        let (addr, pid, log) = old();
        addr.do_send(Order::Wait);
        settle().await;
        let end = exited(pid);
        exit(pid, ExitReason::error("enough"));
        assert_eq!(end.await, ExitReason::error("enough"));
        assert_eq!(log.notes(), ["started", "stopping", "stopped"]);
    });
}

#[test]
fn a_signal_before_its_first_turn_ends_it_unstarted() {
    system(async {
        let (_addr, pid, log) = old();
        let end = exited(pid);
        exit(pid, ExitReason::SHUTDOWN);
        assert_eq!(end.await, ExitReason::SHUTDOWN);
        assert_eq!(log.notes(), [""; 0]);
    });
}

#[test]
fn it_may_refuse_a_signal_and_end_for_a_reason_of_its_own() {
    system(async {
        let (addr, pid) = adopt(
            actix::Context::new(),
            with(Nature {
                is_stubborn: true,
                ..Nature::default()
            }),
        );
        settle().await;
        exit(pid, ExitReason::error("refused"));
        settle().await;
        assert!(is_alive(pid));
        let end = exited(pid);
        addr.do_send(Order::Relent);
        addr.do_send(Order::Stop);
        assert_eq!(end.await, ExitReason::Normal);
    });
}

#[test]
fn it_is_monitored_and_linked_from_its_first_instant_on_any_arbiter() {
    system(async {
        let arbiter = Arbiter::new();
        for placement in [Placement::Here, Placement::On(arbiter.handle())] {
            let (observer, log) = puppet();
            observer.tell(|_, ctx| ctx.trap_exit(true)).await;
            let pid = observer
                .tell(move |_, ctx| {
                    let (_, pid, monitor) = Spawn::new()
                        .at(placement)
                        .monitored_by(ctx)
                        .linked_to(ctx)
                        .adopt(|_| -> Old { panic!("stillborn") });
                    assert!(monitor.is_some());
                    pid
                })
                .await;
            let downs = log.wait_downs(1).await;
            assert_eq!(panic_of(&downs[0].reason).message, "stillborn");
            assert_eq!(panic_of(&downs[0].reason).during, During::Init);
            assert_eq!(log.exits()[0].from, Some(pid));
        }
        let (observer, log) = puppet();
        let handle = arbiter.handle();
        let addr = observer
            .tell(move |_, ctx| {
                Spawn::new()
                    .at(Placement::On(handle))
                    .monitored_by(ctx)
                    .adopt(|_| Old::default())
                    .0
            })
            .await;
        assert!(addr.send(WhoAmI).await.is_ok());
        arbiter.stop();
        arbiter.join().expect("no panic");
        let downs = log.wait_downs(1).await;
        assert_eq!(downs[0].reason, ExitReason::NoConnection);
    });
}

#[test]
fn an_arbiter_that_is_gone_is_noconnection() {
    system(async {
        let arbiter = Arbiter::new();
        let handle = arbiter.handle();
        arbiter.stop();
        arbiter.join().expect("no panic");
        let (observer, log) = puppet();
        let addr = observer
            .tell(move |_, ctx| {
                Spawn::new()
                    .at(Placement::On(handle))
                    .monitored_by(ctx)
                    .adopt(|_| Old::default())
                    .0
            })
            .await;
        assert_eq!(log.wait_downs(1).await[0].reason, ExitReason::NoConnection);
        assert!(!addr.connected());
    });
}

#[test]
fn nothing_of_it_runs_while_its_arbiter_goes_away() {
    struct Counting(Arc<AtomicUsize>);
    impl Actor for Counting {
        type Context = actix::Context<Self>;
        fn stopping(&mut self, _: &mut Self::Context) -> Running {
            self.0.fetch_add(1, Ordering::SeqCst);
            Running::Stop
        }
    }
    system(async {
        let arbiter = Arbiter::new();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let (_addr, pid, _) = Spawn::new()
            .at(Placement::On(arbiter.handle()))
            .adopt(move |_| Counting(counted));
        let end = exited(pid);
        arbiter.stop();
        arbiter.join().expect("no panic");
        assert_eq!(end.await, ExitReason::NoConnection);
        assert_eq!(count.load(Ordering::SeqCst), 0);
    });
}
