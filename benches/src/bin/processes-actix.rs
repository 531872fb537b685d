//! What actix's own actors cost. They have no monitor, no exit reason and no restart after a panic, so those are left out.

use actix::prelude::*;
use actix_rt::task::yield_now;
use byron_benches::{BATCH, Tally, answer, cpu_each, flood, pin, resident_bytes, wall};
use mimalloc::MiMalloc;
use tokio::sync::oneshot;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    pin(0);
    answer(&[
        ("spawn", spawn_stop),
        ("idle", idle_bytes),
        ("send", send_here),
        ("send-across", send_across),
        ("ask", ask_here),
        ("ask-across", ask_across),
    ]);
}

/// Runs inside a task, as what programs do runs inside tasks and actors.
fn inside<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
    System::new().block_on(async move { actix_rt::spawn(future).await.expect("it ends") })
}

struct Worker {
    tally: Tally,
    starter: Option<Addr<Starter>>,
}

impl Worker {
    fn new(tally: &Tally) -> Self {
        Self {
            tally: tally.clone(),
            starter: None,
        }
    }
}

impl Actor for Worker {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Context<Self>) {
        if let Some(starter) = &self.starter {
            starter.do_send(Stopped);
        }
    }
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
struct Stop;

impl Handler<Stop> for Worker {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

/// Starts actors one after the other. Without a monitor: the actor's own `stopped` tells.
struct Starter {
    left: u64,
    done: Option<oneshot::Sender<()>>,
}

impl Starter {
    fn next(&mut self, ctx: &mut Context<Self>) {
        let worker = Worker {
            tally: Tally::default(),
            starter: Some(ctx.address()),
        };
        worker.start().do_send(Stop);
    }
}

impl Actor for Starter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.next(ctx);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Stopped;

impl Handler<Stopped> for Starter {
    type Result = ();

    fn handle(&mut self, _: Stopped, ctx: &mut Context<Self>) {
        self.left -= 1;
        if self.left > 0 {
            self.next(ctx);
        } else if let Some(done) = self.done.take() {
            let _ = done.send(());
        }
    }
}

fn spawn_stop(size: u64) -> f64 {
    let run = |count| {
        inside(async move {
            let (done, ended) = oneshot::channel();
            let done = Some(done);
            let _starter = Starter { left: count, done }.start();
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
            workers.push(Worker::new(&tally).start());
        }
        for _ in 0..3 {
            yield_now().await;
        }
        let handles = workers.len() * size_of::<Addr<Worker>>();
        (resident_bytes() - before - handles as u64) as f64 / size as f64
    })
}

fn send_here(size: u64) -> f64 {
    System::new().block_on(async move {
        let tally = Tally::default();
        let worker = Worker::new(&tally).start();
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

fn elsewhere(tally: &Tally) -> Addr<Worker> {
    let arbiter = Arbiter::new();
    arbiter.spawn_fn(|| pin(1));
    let of = tally.clone();
    Worker::start_in_arbiter(&arbiter.handle(), move |_| Worker::new(&of))
}

fn send_across(size: u64) -> f64 {
    System::new().block_on(async move {
        let tally = Tally::default();
        let worker = elsewhere(&tally);
        worker.send(HowMany).await.expect("it answers");
        flood(size, &tally, || worker.do_send(Tick))
    })
}

async fn ask(worker: &Addr<Worker>, size: u64) -> f64 {
    let before = wall();
    for _ in 0..size {
        worker.send(HowMany).await.expect("it answers");
    }
    (wall() - before).as_nanos() as f64 / size as f64
}

fn ask_here(size: u64) -> f64 {
    inside(async move { ask(&Worker::new(&Tally::default()).start(), size).await })
}

fn ask_across(size: u64) -> f64 {
    inside(async move { ask(&elsewhere(&Tally::default()), size).await })
}
