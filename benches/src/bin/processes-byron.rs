//! What byron's processes cost: all that a supervised actor has is on (pid, monitor, events, panic isolation).

use std::time::Duration;

use actix::prelude::*;
use actix_rt::task::yield_now;
use byron_benches::{
    BATCH, Tally, answer, cpu, cpu_each, flood, median, pin, resident_bytes, wall,
};
use byron_supervisors::{
    ActorRef, ChildSpec, Context, CountChildren, Down, DynamicFlags, DynamicSupervisor, ExitReason,
    Placement, Restart, Spawn, StartDynamicChild, SupFlags, Supervisor, exited, kill, shutdown,
    spawn, whereis_actor,
};
use mimalloc::MiMalloc;
use tokio::sync::oneshot;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    pin(0);
    answer(&[
        ("spawn", spawn_monitor_stop),
        ("idle", idle_bytes),
        ("send", send_here),
        ("send-across", send_across),
        ("ask", ask_here),
        ("ask-across", ask_across),
        ("down-exit", |size| down(size, How::Exit)),
        ("down-panic", |size| down(size, How::Panic)),
        ("restart-exit", |size| restart(size, How::Exit)),
        ("restart-panic", |size| restart(size, How::Panic)),
        ("storm-exit", |size| storm(size, How::Exit, 1)),
        ("storm-panic", |size| storm(size, How::Panic, 1)),
        ("storm-exit-two", |size| storm(size, How::Exit, 2)),
        ("storm-panic-two", |size| storm(size, How::Panic, 2)),
        ("crowd-start", |size| crowd(size).0),
        ("crowd-exit", |size| crowd(size).1),
        ("crowd-shutdown", |size| crowd(size).2),
    ]);
}

/// How an actor is made to fail.
#[derive(Clone, Copy)]
enum How {
    Exit,
    Panic,
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
        match how {
            How::Exit => ctx.exit(ExitReason::error("told to")),
            How::Panic => panic!("told to"),
        }
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

fn spawn_monitor_stop(size: u64) -> f64 {
    let run = |count| {
        System::new().block_on(async move {
            let (done, ended) = oneshot::channel();
            spawn(Starter {
                left: count,
                done: Some(done),
            });
            ended.await.expect("it tells");
        });
    };
    run(size / 10);
    cpu_each(size, || run(size))
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
    System::new().block_on(async move {
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
    System::new().block_on(async move {
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
    System::new().block_on(async move {
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

fn restart(size: u64, how: How) -> f64 {
    System::new().block_on(async move {
        let spec = ChildSpec::new("worker", |_| Worker {
            tally: Tally::default(),
        })
        .registered("worker");
        let _root = Supervisor::start("root", flags(), vec![spec])
            .await
            .expect("it starts");
        let mut samples = Vec::new();
        for _ in 0..size {
            let worker = whereis_actor::<Worker>("worker").expect("it runs");
            let before = wall();
            worker.do_send(Fail(how));
            let pid = worker.pid();
            loop {
                match whereis_actor::<Worker>("worker").filter(|worker| worker.pid() != pid) {
                    Some(worker) => {
                        worker.send(HowMany).await.expect("it answers");
                        break;
                    }
                    None => yield_now().await,
                }
            }
            samples.push(wall() - before);
        }
        median(samples)
    })
}

/// A worker that tells when it runs.
struct Runner {
    running: Tally,
}

impl Actor for Runner {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        self.running.add();
    }
}

impl Handler<Fail> for Runner {
    type Result = ();

    fn handle(&mut self, Fail(how): Fail, ctx: &mut Context<Self>) {
        match how {
            How::Exit => ctx.exit(ExitReason::error("told to")),
            How::Panic => panic!("told to"),
        }
    }
}

async fn crowd_of(
    size: u64,
    restart: Restart,
    running: &Tally,
) -> (ActorRef<DynamicSupervisor>, Vec<ActorRef<Runner>>) {
    let flags = DynamicFlags {
        restart,
        intensity: u32::MAX,
        period: Duration::from_secs(1),
        ..DynamicFlags::new("runner")
    };
    let supervisor = DynamicSupervisor::start("crowd", flags)
        .await
        .expect("it starts");
    let mut runners = Vec::new();
    for _ in 0..size {
        let of = running.clone();
        let start = StartDynamicChild::new(move |_| Runner {
            running: of.clone(),
        });
        let pid = supervisor
            .send(start)
            .await
            .expect("it lives")
            .expect("it starts");
        runners.extend(pid.and_then(ActorRef::of));
    }
    (supervisor, runners)
}

/// Every child of one supervisor for each arbiter falls, and runs again: wall nanoseconds for each restart.
fn storm(size: u64, how: How, arbiters: u64) -> f64 {
    let each = size / arbiters;
    let threads: Vec<_> = (0..arbiters)
        .map(|number| {
            std::thread::spawn(move || {
                pin(usize::try_from(number).expect("few"));
                System::new().block_on(async move {
                    let running = Tally::default();
                    let (_supervisor, runners) = crowd_of(each, Restart::Permanent, &running).await;
                    let before = wall();
                    for runner in runners {
                        runner.do_send(Fail(how));
                    }
                    while running.count() < 2 * each {
                        yield_now().await;
                    }
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

/// A crowd under one dynamic supervisor: nanoseconds for each start, for each end, and for the shutdown of all in one.
fn crowd(size: u64) -> (f64, f64, f64) {
    System::new().block_on(async move {
        let running = Tally::default();
        let before = cpu();
        let (supervisor, runners) = crowd_of(size, Restart::Temporary, &running).await;
        let start = (cpu() - before).as_nanos() as f64 / size as f64;
        let half = size / 2;
        let before = cpu();
        for runner in &runners[..usize::try_from(half).expect("it fits")] {
            kill(runner.pid());
        }
        while supervisor
            .send(CountChildren::now())
            .await
            .expect("it lives")
            .specs
            > 0
            && runners
                .iter()
                .take(usize::try_from(half).expect("it fits"))
                .any(ActorRef::is_alive)
        {
            yield_now().await;
        }
        let exit = (cpu() - before).as_nanos() as f64 / half as f64;
        let before = wall();
        shutdown(supervisor.pid(), Duration::from_secs(60)).await;
        let stop = (wall() - before).as_nanos() as f64;
        (start, exit, stop)
    })
}
