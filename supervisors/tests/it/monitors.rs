//! Each monitor gets exactly one `Down`, after the last words of the dead and after its names are free.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::prelude::*;
use byron_supervisors::{
    Context, Down, ExitReason, Pid, Placement, Spawn, exit, exited, is_alive, kill, register,
    spawn, vitals,
};

use crate::support::{
    Entry, Log, Note, Puppet, Strings, eventually, panic_of, puppet, settle, system, unique,
};

/// A pid that was never given to anybody alive.
async fn dead() -> Pid {
    let (victim, _) = puppet();
    kill(victim.pid());
    eventually("the kill", || !is_alive(victim.pid())).await;
    victim.pid()
}

#[test]
fn each_monitor_has_its_own_ref_and_one_down() {
    system(async {
        let (observer, log) = puppet();
        let (victim, _) = puppet();
        let mut refs = Vec::new();
        for _ in 0..3 {
            refs.push(observer.watch(victim.pid()).await);
        }
        exit(victim.pid(), ExitReason::error("enough"));
        let downs = log.wait_downs(3).await;
        let told: Vec<_> = downs.iter().map(|down| down.monitor).collect();
        assert_eq!(told, refs, "told in the order of the monitors");
        for down in downs {
            assert_eq!(down.pid, Some(victim.pid()));
            assert_eq!(down.name, None);
            assert_eq!(down.reason, ExitReason::error("enough"));
        }
    });
}

#[test]
fn a_monitor_of_the_dead_is_a_down_with_noproc_at_once() {
    system(async {
        let pid = dead().await;
        let (observer, log) = puppet();
        let monitor = observer.watch(pid).await;
        let down = log.wait_downs(1).await.remove(0);
        assert_eq!(down.monitor, monitor);
        assert_eq!(down.reason, ExitReason::NoProc);
        assert_eq!(exited(pid).await, ExitReason::NoProc);
    });
}

#[test]
fn a_monitor_by_name_carries_the_name() {
    system(async {
        let name = unique("poet");
        let nobody = unique("nobody");
        let (observer, log) = puppet();
        let (victim, _) = puppet();
        register(name.as_str(), victim.pid()).expect("the name is free");
        let (by_name, to_nobody) = (name.clone(), nobody.clone());
        observer
            .tell(move |_, ctx| {
                ctx.monitor_name(by_name);
                ctx.monitor_name(to_nobody);
            })
            .await;
        let down = log.wait_downs(1).await.remove(0);
        assert_eq!(down.name.as_deref(), Some(nobody.as_str()));
        assert_eq!(down.pid, None);
        assert_eq!(down.reason, ExitReason::NoProc);
        exit(victim.pid(), ExitReason::SHUTDOWN);
        let down = log.wait_downs(2).await.remove(1);
        assert_eq!(down.name.as_deref(), Some(name.as_str()));
        assert_eq!(down.pid, Some(victim.pid()));
        assert_eq!(down.reason, ExitReason::SHUTDOWN);
    });
}

#[test]
fn a_monitor_that_was_ended_says_nothing() {
    system(async {
        let (observer, log) = puppet();
        let (victim, _) = puppet();
        let monitor = observer.watch(victim.pid()).await;
        let kept = observer.watch(victim.pid()).await;
        assert!(observer.tell(move |_, ctx| ctx.demonitor(monitor)).await);
        assert!(!observer.tell(move |_, ctx| ctx.demonitor(monitor)).await);
        kill(victim.pid());
        let downs = log.wait_downs(1).await;
        assert_eq!(downs[0].monitor, kept);
        assert!(!observer.tell(move |_, ctx| ctx.demonitor(kept)).await);
    });
}

#[test]
fn demonitor_flush_takes_back_a_down_from_the_queue_and_from_the_current_turn() {
    system(async {
        let arbiter = Arbiter::new();
        let (observer, log) = puppet();
        let (on_arbiter, _) = Spawn::new()
            .at(Placement::On(arbiter.handle()))
            .start(|_| Puppet::default());
        let (victim, _) = puppet();
        let (queued, taken) = (on_arbiter.pid(), victim.pid());
        let first = observer.watch(queued).await;
        let second = observer.watch(taken).await;
        // One batch: this deed, with the Down of `taken` behind it in the same turn.
        kill(taken);
        observer.cast(move |_, ctx| {
            kill(queued);
            // On another thread: its Down comes into the queue while this handler runs.
            while is_alive(queued) {
                std::thread::yield_now();
            }
            // Still active or just sent: either way it does not arrive.
            ctx.demonitor_flush(first);
        });
        let last = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&last);
        observer
            .tell(move |me, ctx| {
                seen.store(me.log.downs().len(), Ordering::SeqCst);
                ctx.demonitor_flush(second);
            })
            .await;
        settle().await;
        assert_eq!(
            log.downs().len(),
            last.load(Ordering::SeqCst),
            "nothing comes after the flush"
        );
        assert!(log.downs().iter().all(|down| down.monitor != first));
        arbiter.stop();
    });
}

#[test]
fn demonitor_flush_removes_a_down_behind_it_in_the_same_turn() {
    system(async {
        let (observer, log) = puppet();
        let (victim, _) = puppet();
        let monitor = observer.watch(victim.pid()).await;
        let pid = victim.pid();
        // Both messages are taken out of the queue in one go: the deed, and the Down behind it.
        observer.cast(move |_, ctx| {
            // The first turn ends with the wait; what came meanwhile is taken afterwards, at once.
            ctx.wait(actix::fut::wrap_future(async move {
                kill(pid);
                while is_alive(pid) {
                    tokio::task::yield_now().await;
                }
            }));
        });
        settle().await;
        assert!(!is_alive(pid));
        let was_active = observer
            .tell(move |_, ctx| ctx.demonitor_flush(monitor))
            .await;
        assert!(!was_active);
        let came_before = log.downs().len();
        settle().await;
        assert_eq!(log.downs().len(), came_before);

        // And with the flush in front of the Down.
        let (victim, _) = puppet();
        let monitor = observer.watch(victim.pid()).await;
        let pid = victim.pid();
        observer.cast(move |_, ctx| ctx.wait(actix::fut::wrap_future(tokio::task::yield_now())));
        observer.cast(move |_, ctx| {
            ctx.demonitor_flush(monitor);
        });
        kill(pid);
        settle().await;
        assert_eq!(log.downs().len(), came_before);
    });
}

#[test]
fn a_flush_on_another_thread_leaves_no_down_behind() {
    // The dead one tells its monitors while the observer flushes: either it was in time, or the Down is gone.
    system(async {
        let arbiter = Arbiter::new();
        let (observer, log) = puppet();
        for _ in 0..500 {
            let (victim, _) = Spawn::new()
                .at(Placement::On(arbiter.handle()))
                .start(|_| Puppet::default());
            let pid = victim.pid();
            observer
                .tell(move |_, ctx| {
                    let monitor = ctx.monitor(pid);
                    kill(pid);
                    while is_alive(pid) {
                        std::hint::spin_loop();
                    }
                    ctx.demonitor_flush(monitor);
                })
                .await;
        }
        settle().await;
        assert_eq!(log.downs().len(), 0);
        arbiter.stop();
    });
}

/// Says some last words to a puppet, and dies.
struct Swan {
    to: byron_supervisors::ActorRef<Puppet>,
    by_addr: bool,
}

impl Actor for Swan {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        for number in 0..300 {
            let note = Note(number.to_string());
            if self.by_addr {
                self.to.addr().do_send(note);
            } else {
                self.to.do_send(note);
            }
        }
        ctx.exit(ExitReason::error("sung"));
    }
}

#[test]
fn a_down_comes_after_every_message_of_the_dead() {
    system(async {
        let arbiter = Arbiter::new();
        for by_addr in [false, true] {
            for placement in [Placement::Here, Placement::On(arbiter.handle())] {
                let (observer, log) = puppet();
                let to = observer.clone();
                observer
                    .tell(move |_, ctx| {
                        Spawn::new()
                            .at(placement)
                            .monitored_by(ctx)
                            .start(move |_| Swan { to, by_addr });
                    })
                    .await;
                let downs = log.wait_downs(1).await;
                assert_eq!(downs[0].reason, ExitReason::error("sung"));
                let entries = log.entries();
                assert_eq!(entries.len(), 301);
                assert!(
                    matches!(entries[300], Entry::Down(_)),
                    "the Down is last (by address: {by_addr})"
                );
            }
        }
        arbiter.stop();
    });
}

#[test]
fn exited_waits_from_outside_and_leaves_nothing_when_dropped() {
    system(async {
        let (victim, _) = puppet();
        let mut end = exited(victim.pid());
        settle().await;
        assert!(futures_util::FutureExt::now_or_never(&mut end).is_none());
        for _ in 0..1000 {
            drop(exited(victim.pid()));
        }
        assert_eq!(vitals(victim.pid()).unwrap().monitors, 1);
        exit(victim.pid(), ExitReason::error("later"));
        assert_eq!((&mut end).await, ExitReason::error("later"));
        // Whoever asks again hears the same.
        assert_eq!(end.await, ExitReason::error("later"));
    });
}

#[test]
fn a_task_that_awaits_the_ends_of_the_dead_lets_others_run() {
    const ENDS: u32 = 10_000;
    system(async {
        let pid = dead().await;
        let heard = Rc::new(Cell::new(0));
        let count = Rc::clone(&heard);
        let awaits = actix_rt::spawn(async move {
            for _ in 0..ENDS {
                assert_eq!(exited(pid).await, ExitReason::NoProc);
                count.set(count.get() + 1);
            }
        });
        let other = actix_rt::spawn(async move { heard.get() });
        let heard_before = other.await.unwrap();
        assert!(heard_before < ENDS, "nobody else ran before the last");
        awaits.await.unwrap();
    });
}

#[test]
fn ten_thousand_monitors_of_one_process_are_told_once_each() {
    system(async {
        let (observer, log) = puppet();
        let (victim, _) = puppet();
        let pid = victim.pid();
        let refs = observer
            .tell(move |_, ctx| (0..10_000).map(|_| ctx.monitor(pid)).collect::<Vec<_>>())
            .await;
        kill(pid);
        let told: Vec<_> = log
            .wait_downs(10_000)
            .await
            .iter()
            .map(|down| down.monitor)
            .collect();
        assert_eq!(told, refs);
    });
}

#[test]
fn monitors_of_dead_observers_are_swept() {
    system(async {
        let (victim, _) = puppet();
        for _ in 0..100 {
            let (observer, _) = puppet();
            observer.watch(victim.pid()).await;
            kill(observer.pid());
            eventually("the kill", || !is_alive(observer.pid())).await;
        }
        let (observer, log) = puppet();
        observer.watch(victim.pid()).await;
        kill(victim.pid());
        assert_eq!(log.wait_downs(1).await[0].reason, ExitReason::Killed);
    });
}

#[test]
fn a_process_that_monitors_itself_ends_as_any_other() {
    system(async {
        let (victim, log) = puppet();
        victim.watch(victim.pid()).await;
        exit(victim.pid(), ExitReason::error("self"));
        assert_eq!(exited(victim.pid()).await, ExitReason::error("self"));
        assert_eq!(log.downs().len(), 0);
    });
}

#[test]
fn an_observer_that_panics_does_not_rob_the_others() {
    system(async {
        let (victim, _) = puppet();
        let (broken, _) = puppet();
        let (observer, log) = puppet();
        broken.tell(|me, _| me.panics_on_down = true).await;
        broken.watch(victim.pid()).await;
        observer.watch(victim.pid()).await;
        observer.watch(broken.pid()).await;
        exit(victim.pid(), ExitReason::SHUTDOWN);
        let downs = log.wait_downs(2).await;
        assert_eq!(downs[0].reason, ExitReason::SHUTDOWN);
        let panic = panic_of(&downs[1].reason);
        assert_eq!(panic.message, "panics on Down");
        assert_eq!(panic.in_message, Some("byron_supervisors::exit::Down"));
    });
}

#[test]
fn names_are_free_when_the_down_comes() {
    system(async {
        let arbiter = Arbiter::new();
        for placement in [Placement::Here, Placement::On(arbiter.handle())] {
            let (observer, log) = puppet();
            let (victim, _) = Spawn::new().at(placement).start(|_| Puppet::default());
            let name = unique("owner");
            register(name.as_str(), victim.pid()).expect("the name is free");
            observer.tell(move |me, _| me.names.push(name)).await;
            observer.watch(victim.pid()).await;
            kill(victim.pid());
            log.wait_downs(1).await;
            assert_eq!(log.notes(), [""; 0]);
        }
        arbiter.stop();
    });
}

#[test]
fn a_system_that_stops_ends_its_processes_with_noconnection() {
    let runner = System::new();
    let (pid, end) = runner.block_on(async {
        let (victim, _) = puppet();
        settle().await;
        (victim.pid(), exited(victim.pid()))
    });
    assert!(is_alive(pid));
    drop(runner);
    assert!(!is_alive(pid));
    assert_eq!(
        futures_util::FutureExt::now_or_never(end),
        Some(ExitReason::NoConnection)
    );
}

/// Wants to hear of a process that another thread starts and ends at the same time.
struct Racer(Log, Arc<AtomicUsize>);

impl Actor for Racer {
    type Context = Context<Self>;
}

impl Handler<Down> for Racer {
    type Result = ();

    fn handle(&mut self, down: Down, _: &mut Self::Context) {
        self.0.note(down.reason.to_string());
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Watch(Pid);

impl Handler<Watch> for Racer {
    type Result = ();

    fn handle(&mut self, watch: Watch, ctx: &mut Self::Context) {
        ctx.monitor(watch.0);
    }
}

#[test]
fn a_monitor_that_races_the_end_is_told_once_the_reason_or_noproc() {
    system(async {
        let arbiter = Arbiter::new();
        let (log, count) = (Log::default(), Arc::new(AtomicUsize::new(0)));
        let racer = spawn(Racer(log.clone(), Arc::clone(&count)));
        for _ in 0..2000 {
            let (victim, _) = Spawn::new()
                .at(Placement::On(arbiter.handle()))
                .start(|_| Puppet::default());
            racer.do_send(Watch(victim.pid()));
            exit(victim.pid(), ExitReason::error("raced"));
            tokio::task::yield_now().await;
        }
        eventually("every Down", || count.load(Ordering::SeqCst) >= 2000).await;
        settle().await;
        assert_eq!(count.load(Ordering::SeqCst), 2000);
        assert!(
            log.notes()
                .iter()
                .all(|reason| reason == "error: raced" || reason == "noproc")
        );
        arbiter.stop();
    });
}
