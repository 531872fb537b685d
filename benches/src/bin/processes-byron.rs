//! What byron's processes cost: all that a supervised actor has is on (pid, monitor, events, panic isolation).

use std::sync::{Arc, Barrier};
use std::time::Duration;

use actix::prelude::*;
use actix_rt::task::yield_now;
use byron_benches::{BATCH, Tally, answer, cpu, flood, median, pin, resident_bytes, wall};
use byron_supervisors::{
    ActorRef, ChildSpec, Context, CountChildren, Down, DynamicFlags, DynamicSupervisor, ExitReason,
    Placement, Restart, Spawn, StartDynamicChild, SupFlags, Supervisor, exited, kill, shutdown,
    spawn, whereis_actor,
};
use mimalloc::MiMalloc;
use tokio::sync::{mpsc, oneshot};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How often something is measured among others.
const AMONG: u64 = 20_000;

fn main() {
    pin(0);
    answer(&[
        ("spawn", |size| spawn_monitor_stop(size, 0)),
        ("idle", idle_bytes),
        ("send", send_here),
        ("send-across", send_across),
        ("ask", ask_here),
        ("ask-across", ask_across),
        ("down-exit", |size| down(size, How::Exit)),
        ("down-panic", |size| down(size, How::Panic)),
        ("restart-exit", |size| restart(size, How::Exit, 0)),
        ("restart-panic", |size| restart(size, How::Panic, 0)),
        ("storm-exit", |size| storm(size, How::Exit, 1)),
        ("storm-panic", |size| storm(size, How::Panic, 1)),
        ("storm-exit-two", |size| storm(size, How::Exit, 2)),
        ("storm-panic-two", |size| storm(size, How::Panic, 2)),
        ("crowd-start", crowd_start),
        ("crowd-exit", crowd_exit),
        ("crowd-shutdown", crowd_shutdown),
        // What one more costs where there are so many already.
        ("spawn-among", |others| spawn_monitor_stop(AMONG, others)),
        ("restart-among", |others| restart(AMONG, How::Exit, others)),
    ]);
}

/// Runs inside a task, as what programs do runs inside tasks and actors: the future that a runtime blocks on is woken through
/// the system.
fn inside<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
    System::new().block_on(async move { actix_rt::spawn(future).await.expect("it ends") })
}

/// How an actor is made to fail.
#[derive(Clone, Copy)]
enum How {
    Exit,
    Panic,
}

impl How {
    fn fail<A: Actor<Context = Context<A>>>(self, ctx: &mut Context<A>) {
        match self {
            Self::Exit => ctx.exit(ExitReason::error("told to")),
            Self::Panic => panic!("told to"),
        }
    }
}

/// Counts what it is sent, answers, and fails when it is told to.
struct Worker {
    tally: Tally,
}

impl Worker {
    fn new(tally: &Tally) -> Self {
        Self {
            tally: tally.clone(),
        }
    }
}

impl Actor for Worker {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Tick;

impl Handler<Tick> for Worker {
    type Result = ();

    fn handle(&mut self, _: Tick, _: &mut Context<Self>) {
        self.tally.add();
    }
}

#[derive(Message)]
#[rtype(result = "u64")]
struct HowMany;

impl Handler<HowMany> for Worker {
    type Result = u64;

    fn handle(&mut self, _: HowMany, _: &mut Context<Self>) -> u64 {
        self.tally.count()
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Fail(How);

impl Handler<Fail> for Worker {
    type Result = ();

    fn handle(&mut self, Fail(how): Fail, ctx: &mut Context<Self>) {
        how.fail(ctx);
    }
}

/// Starts actors one after the other, and is told of the end of each.
struct Starter {
    left: u64,
    done: Option<oneshot::Sender<()>>,
}

impl Starter {
    fn next(&mut self, ctx: &mut Context<Self>) {
        let (worker, _) = ctx.spawn_monitor(Worker {
            tally: Tally::default(),
        });
        byron_supervisors::exit(worker.pid(), ExitReason::SHUTDOWN);
    }
}

impl Actor for Starter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.next(ctx);
    }
}

impl Handler<Down> for Starter {
    type Result = ();

    fn handle(&mut self, _: Down, ctx: &mut Context<Self>) {
        self.left -= 1;
        if self.left > 0 {
            self.next(ctx);
        } else if let Some(done) = self.done.take() {
            let _ = done.send(());
        }
    }
}

/// Lives one after the other, while so many others idle.
fn spawn_monitor_stop(size: u64, others: u64) -> f64 {
    inside(async move {
        let idle: Vec<_> = (0..others).map(|_| spawn(Plain)).collect();
        let run = async |count| {
            let (done, ended) = oneshot::channel();
            let done = Some(done);
            spawn(Starter { left: count, done });
            ended.await.expect("it tells");
        };
        run(size / 10).await;
        let before = cpu();
        run(size).await;
        let spent = cpu() - before;
        drop(idle);
        spent.as_nanos() as f64 / size as f64
    })
}

fn idle_bytes(size: u64) -> f64 {
    System::new().block_on(async move {
        let tally = Tally::default();
        let before = resident_bytes();
        let mut workers = Vec::with_capacity(usize::try_from(size).expect("it fits"));
        for _ in 0..size {
            workers.push(spawn(Worker::new(&tally)));
        }
        // Every one of them has had its first turn.
        for _ in 0..3 {
            yield_now().await;
        }
        workers
            .last()
            .expect("there are some")
            .send(HowMany)
            .await
            .expect("it answers");
        let handles = workers.len() * size_of::<ActorRef<Worker>>();
        (resident_bytes() - before - handles as u64) as f64 / size as f64
    })
}

fn send_here(size: u64) -> f64 {
    System::new().block_on(async move {
        let tally = Tally::default();
        let worker = spawn(Worker::new(&tally));
        yield_now().await;
        let before = wall();
        for _ in 0..size / BATCH {
            let until = tally.count() + BATCH;
            for _ in 0..BATCH {
                worker.do_send(Tick);
            }
            while tally.count() < until {
                yield_now().await;
            }
        }
        (wall() - before).as_nanos() as f64 / size as f64
    })
}

/// Another arbiter, on the other processor.
fn elsewhere() -> Arbiter {
    let arbiter = Arbiter::new();
    arbiter.spawn_fn(|| pin(1));
    arbiter
}

fn send_across(size: u64) -> f64 {
    System::new().block_on(async move {
        let (arbiter, tally) = (elsewhere(), Tally::default());
        let of = tally.clone();
        let (worker, _) = Spawn::new()
            .at(Placement::On(arbiter.handle()))
            .start(move |_| Worker::new(&of));
        worker.send(HowMany).await.expect("it answers");
        flood(size, &tally, || worker.do_send(Tick))
    })
}

async fn ask(worker: &ActorRef<Worker>, size: u64) -> f64 {
    let before = wall();
    for _ in 0..size {
        worker.send(HowMany).await.expect("it answers");
    }
    (wall() - before).as_nanos() as f64 / size as f64
}

fn ask_here(size: u64) -> f64 {
    inside(async move {
        ask(
            &spawn(Worker {
                tally: Tally::default(),
            }),
            size,
        )
        .await
    })
}

fn ask_across(size: u64) -> f64 {
    inside(async move {
        let arbiter = elsewhere();
        let (worker, _) = Spawn::new()
            .at(Placement::On(arbiter.handle()))
            .start(|_| Worker {
                tally: Tally::default(),
            });
        ask(&worker, size).await
    })
}

fn down(size: u64, how: How) -> f64 {
    inside(async move {
        let mut samples = Vec::new();
        for _ in 0..size {
            let worker = spawn(Worker {
                tally: Tally::default(),
            });
            let end = exited(worker.pid());
            yield_now().await;
            let before = wall();
            worker.do_send(Fail(how));
            end.await;
            samples.push(wall() - before);
        }
        median(samples)
    })
}

fn flags() -> SupFlags {
    SupFlags {
        intensity: u32::MAX,
        period: Duration::from_secs(1),
        ..SupFlags::default()
    }
}

/// One child falls and runs again, among so many.
fn restart(size: u64, how: How, siblings: u64) -> f64 {
    inside(async move {
        let (runs, mut running) = mpsc::unbounded_channel();
        let sibling = |number| ChildSpec::new(format!("sibling-{number}"), |_| Plain);
        let mut specs: Vec<_> = (0..siblings).map(sibling).collect();
        let spec = ChildSpec::new("worker", move |_| Heard { runs: runs.clone() });
        specs.push(spec.registered("worker"));
        let _root = Supervisor::start("root", flags(), specs)
            .await
            .expect("it starts");
        running.recv().await.expect("it runs");
        let mut samples = Vec::new();
        for _ in 0..size {
            let worker = whereis_actor::<Heard>("worker").expect("it runs");
            let before = wall();
            worker.do_send(Fail(how));
            running.recv().await.expect("it runs");
            let worker = whereis_actor::<Heard>("worker").expect("it runs");
            worker.send(HowMany).await.expect("it answers");
            samples.push(wall() - before);
        }
        median(samples)
    })
}

struct Plain;

impl Actor for Plain {
    type Context = Context<Self>;
}

/// A worker whose start is heard of.
struct Heard {
    runs: mpsc::UnboundedSender<()>,
}

impl Actor for Heard {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        let _ = self.runs.send(());
    }
}

impl Handler<Fail> for Heard {
    type Result = ();

    fn handle(&mut self, Fail(how): Fail, ctx: &mut Context<Self>) {
        how.fail(ctx);
    }
}

impl Handler<HowMany> for Heard {
    type Result = u64;

    fn handle(&mut self, _: HowMany, _: &mut Context<Self>) -> u64 {
        0
    }
}

async fn crowd_of(
    size: u64,
    restart: Restart,
    runs: &mpsc::UnboundedSender<()>,
) -> (ActorRef<DynamicSupervisor>, Vec<ActorRef<Heard>>) {
    let flags = DynamicFlags {
        restart,
        intensity: u32::MAX,
        period: Duration::from_secs(1),
        ..DynamicFlags::new("worker")
    };
    let supervisor = DynamicSupervisor::start("crowd", flags)
        .await
        .expect("it starts");
    let mut workers = Vec::new();
    for _ in 0..size {
        let runs = runs.clone();
        let start = StartDynamicChild::new(move |_| Heard { runs: runs.clone() });
        let pid = supervisor
            .send(start)
            .await
            .expect("it lives")
            .expect("it starts");
        workers.extend(pid.and_then(ActorRef::of));
    }
    (supervisor, workers)
}

async fn hear(running: &mut mpsc::UnboundedReceiver<()>, size: u64) {
    for _ in 0..size {
        running.recv().await.expect("it runs");
    }
}

/// Every child of one supervisor for each arbiter falls, and runs again: wall nanoseconds for each restart.
fn storm(size: u64, how: How, arbiters: u64) -> f64 {
    let each = size / arbiters;
    let ready = Arc::new(Barrier::new(usize::try_from(arbiters).expect("few")));
    let threads: Vec<_> = (0..arbiters)
        .map(|number| {
            let ready = Arc::clone(&ready);
            std::thread::spawn(move || {
                pin(usize::try_from(number).expect("few"));
                inside(async move {
                    let (runs, mut running) = mpsc::unbounded_channel();
                    let (_supervisor, workers) = crowd_of(each, Restart::Permanent, &runs).await;
                    hear(&mut running, each).await;
                    ready.wait();
                    let before = wall();
                    for worker in workers {
                        worker.do_send(Fail(how));
                    }
                    hear(&mut running, each).await;
                    wall() - before
                })
            })
        })
        .collect();
    let longest = threads
        .into_iter()
        .map(|thread| thread.join().expect("it measures"))
        .max();
    longest.expect("there is one").as_nanos() as f64 / size as f64
}

/// Nanoseconds for each start of a crowd under one dynamic supervisor.
fn crowd_start(size: u64) -> f64 {
    inside(async move {
        let (runs, mut running) = mpsc::unbounded_channel();
        let before = cpu();
        let _crowd = crowd_of(size, Restart::Temporary, &runs).await;
        hear(&mut running, size).await;
        (cpu() - before).as_nanos() as f64 / size as f64
    })
}

/// Nanoseconds for each end of a crowd, until the supervisor knows of all of them.
fn crowd_exit(size: u64) -> f64 {
    inside(async move {
        let (runs, _running) = mpsc::unbounded_channel();
        let (supervisor, workers) = crowd_of(size, Restart::Temporary, &runs).await;
        let before = cpu();
        for worker in &workers {
            kill(worker.pid());
        }
        for worker in &workers {
            exited(worker.pid()).await;
        }
        let counts = supervisor.send(CountChildren::settled()).await;
        assert_eq!(counts.expect("it lives").workers, 0);
        (cpu() - before).as_nanos() as f64 / size as f64
    })
}

/// Nanoseconds for the shutdown of all of a crowd with its supervisor.
fn crowd_shutdown(size: u64) -> f64 {
    inside(async move {
        let (runs, _running) = mpsc::unbounded_channel();
        let (supervisor, _workers) = crowd_of(size, Restart::Temporary, &runs).await;
        let before = wall();
        shutdown(supervisor.pid(), Duration::from_secs(60)).await;
        (wall() - before).as_nanos() as f64
    })
}
