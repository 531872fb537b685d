//! Very many processes, ended from two threads at once in every way: each end is told once, nothing is left.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::prelude::*;
use byron_supervisors::{
    ActorRef, Context, Down, ExitReason, MonitorRef, Placement, Spawn, exit, is_alive, kill,
    register, spawn, whereis,
};
use parking_lot::Mutex;

use crate::support::{eventually, settle, system, unique};

const PROCESSES: usize = 20_000;

/// Counts those that are not dropped yet.
struct Leaf(Arc<AtomicUsize>);

impl Leaf {
    fn new(alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(alive))
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Actor for Leaf {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
enum End {
    Stop,
    Crash,
}

impl Handler<End> for Leaf {
    type Result = ();

    fn handle(&mut self, end: End, ctx: &mut Self::Context) {
        match end {
            End::Stop => ctx.stop(),
            End::Crash => panic!("storm"),
        }
    }
}

type Told = Arc<Mutex<HashMap<MonitorRef, Vec<ExitReason>>>>;

struct Coroner(Told);

impl Actor for Coroner {
    type Context = Context<Self>;
}

impl Handler<Down> for Coroner {
    type Result = ();

    fn handle(&mut self, down: Down, _: &mut Self::Context) {
        self.0
            .lock()
            .entry(down.monitor)
            .or_default()
            .push(down.reason);
    }
}

#[derive(Message)]
#[rtype(result = "Vec<(ActorRef<Leaf>, MonitorRef)>")]
struct Plant(Arc<AtomicUsize>, [ArbiterHandle; 2]);

impl Handler<Plant> for Coroner {
    type Result = MessageResult<Plant>;

    fn handle(&mut self, plant: Plant, ctx: &mut Self::Context) -> Self::Result {
        let Plant(alive, arbiters) = plant;
        let leaves = (0..PROCESSES).map(|at| {
            let alive = Arc::clone(&alive);
            let (leaf, monitor) = Spawn::new()
                .at(Placement::On(arbiters[at % 2].clone()))
                .monitored_by(ctx)
                .start(move |_| Leaf::new(&alive));
            (leaf, monitor.expect("asked for"))
        });
        MessageResult(leaves.collect())
    }
}

#[test]
fn twenty_thousand_processes_end_once_each_and_leave_nothing() {
    system(async {
        let arbiters = [Arbiter::new(), Arbiter::new()];
        let told = Told::default();
        let alive = Arc::new(AtomicUsize::new(0));
        let coroner = spawn(Coroner(Arc::clone(&told)));
        let handles = [arbiters[0].handle(), arbiters[1].handle()];
        let leaves = coroner
            .send(Plant(Arc::clone(&alive), handles))
            .await
            .expect("the coroner lives");
        let name = unique("leaf");
        for (at, (leaf, _)) in leaves.iter().enumerate().step_by(100) {
            // Some are dead by then? Nobody has ended one yet.
            register(format!("{name}-{at}"), leaf.pid()).expect("free");
        }
        let leaves = Arc::new(leaves);
        let threads: Vec<_> = (0..2)
            .map(|turned| {
                let leaves = Arc::clone(&leaves);
                std::thread::spawn(move || {
                    for at in 0..PROCESSES {
                        // Both threads go over all, in two orders, with two different ends for each.
                        let at = at * 7919 % PROCESSES;
                        let at = if turned == 0 { at } else { PROCESSES - 1 - at };
                        let leaf = &leaves[at].0;
                        match (at + turned) % 5 {
                            0 => kill(leaf.pid()),
                            1 => exit(leaf.pid(), ExitReason::error("storm")),
                            2 => leaf.do_send(End::Crash),
                            3 => leaf.do_send(End::Stop),
                            _ => leaf.addr().do_send(End::Crash),
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        eventually("every Down", || told.lock().len() == PROCESSES).await;
        settle().await;
        for (leaf, monitor) in leaves.iter() {
            let told = told.lock();
            let reasons = told.get(monitor).expect("told");
            assert_eq!(reasons.len(), 1);
            assert!(
                ["killed", "error", "panic", "normal"].contains(&reasons[0].kind()),
                "{}",
                reasons[0]
            );
            assert!(!is_alive(leaf.pid()));
            assert_eq!(leaf.exit_reason().as_ref(), Some(&reasons[0]));
            assert!(ActorRef::<Leaf>::of(leaf.pid()).is_none());
        }
        assert_eq!(alive.load(Ordering::SeqCst), 0, "every actor was dropped");
        for at in (0..PROCESSES).step_by(100) {
            assert_eq!(whereis(&format!("{name}-{at}")), None);
        }
        for arbiter in arbiters {
            arbiter.stop();
        }
    });
}
