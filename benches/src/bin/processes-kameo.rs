//! What kameo's actors cost, with unbounded mailboxes as the others have, and its own supervision.

use std::time::Duration;

use byron_benches::{
    BATCH, Tally, answer, cpu_each, flood, median, pin, resident_bytes, silence_panics, wall,
};
use kameo::Actor;
use kameo::actor::{ActorId, ActorRef, Spawn, WeakActorRef};
use kameo::error::{ActorStopReason, Infallible, PanicError};
use kameo::mailbox;
use kameo::message::{Context, Message};
use kameo::supervision::RestartPolicy;
use mimalloc::MiMalloc;
use std::ops::ControlFlow;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() {
    pin(0);
    silence_panics();
    answer(&[
        ("spawn", spawn_monitor_stop),
        ("idle", idle_bytes),
        ("send", send_here),
        ("send-across", send_across),
        ("ask", |size| {
            inside(async move { ask(&worker(&Tally::default()), size).await })
        }),
        ("ask-across", ask_across),
        ("down-exit", |size| down(size, false)),
        ("down-panic", |size| down(size, true)),
        ("restart-exit", |size| restart(size, false)),
        ("restart-panic", |size| restart(size, true)),
        ("storm-exit", |size| storm(size, false)),
        ("storm-panic", |size| storm(size, true)),
    ]);
}

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Runs inside a task, as what programs do runs inside tasks and actors.
fn inside<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    runtime().block_on(async move { tokio::spawn(future).await.expect("it ends") })
}

/// Counts; tells when an incarnation runs.
struct Worker {
    tally: Tally,
}

#[derive(Clone)]
struct Birth {
    tally: Tally,
    runs: Option<mpsc::UnboundedSender<()>>,
}

impl Actor for Worker {
    type Args = Birth;
    type Error = Infallible;

    async fn on_start(birth: Birth, _: ActorRef<Self>) -> Result<Self, Infallible> {
        if let Some(runs) = birth.runs {
            let _ = runs.send(());
        }
        Ok(Self { tally: birth.tally })
    }

    async fn on_panic(
        &mut self,
        _: WeakActorRef<Self>,
        error: PanicError,
    ) -> Result<ControlFlow<ActorStopReason>, Infallible> {
        Ok(ControlFlow::Break(ActorStopReason::Panicked(error)))
    }
}

struct Tick;

impl Message<Tick> for Worker {
    type Reply = ();

    async fn handle(&mut self, _: Tick, _: &mut Context<Self, ()>) {
        self.tally.add();
    }
}

struct HowMany;

impl Message<HowMany> for Worker {
    type Reply = u64;

    async fn handle(&mut self, _: HowMany, _: &mut Context<Self, u64>) -> u64 {
        self.tally.count()
    }
}

/// kameo ends an actor whose `tell` was answered with an error.
struct Fail {
    panics: bool,
}

impl Message<Fail> for Worker {
    type Reply = Result<(), String>;

    async fn handle(&mut self, fail: Fail, _: &mut Context<Self, Self::Reply>) -> Self::Reply {
        if fail.panics {
            panic!("told to");
        }
        Err("told to".to_owned())
    }
}

/// Hears of the ends of its children.
struct Watcher {
    on_end: OnEnd,
}

/// What is done about the end of a child.
enum OnEnd {
    Tell(mpsc::UnboundedSender<()>),
    /// The next one is started, and stopped, so many times more.
    Next(u64, Option<oneshot::Sender<()>>),
}

impl Actor for Watcher {
    type Args = OnEnd;
    type Error = Infallible;

    async fn on_start(on_end: OnEnd, this: ActorRef<Self>) -> Result<Self, Infallible> {
        if let OnEnd::Next(..) = on_end {
            start_and_stop(&this).await;
        }
        Ok(Self { on_end })
    }

    async fn on_link_died(
        &mut self,
        this: WeakActorRef<Self>,
        _: ActorId,
        _: ActorStopReason,
    ) -> Result<ControlFlow<ActorStopReason>, Infallible> {
        match &mut self.on_end {
            OnEnd::Tell(ended) => {
                let _ = ended.send(());
            }
            OnEnd::Next(left, done) if *left == 0 => {
                if let Some(done) = done.take() {
                    let _ = done.send(());
                }
            }
            OnEnd::Next(left, _) => {
                *left -= 1;
                start_and_stop(&this.upgrade().expect("it runs")).await;
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

fn birth(tally: &Tally, runs: Option<&mpsc::UnboundedSender<()>>) -> Birth {
    Birth {
        tally: tally.clone(),
        runs: runs.cloned(),
    }
}

fn worker(tally: &Tally) -> ActorRef<Worker> {
    Worker::spawn_with_mailbox(birth(tally, None), mailbox::unbounded())
}

async fn start_and_stop(watcher: &ActorRef<Watcher>) {
    let birth = birth(&Tally::default(), None);
    let worker = Worker::spawn_link_with_mailbox(watcher, birth, mailbox::unbounded()).await;
    worker.stop_gracefully().await.expect("it lives");
}

fn watcher(on_end: OnEnd) -> ActorRef<Watcher> {
    Watcher::spawn_with_mailbox(on_end, mailbox::unbounded())
}

fn spawn_monitor_stop(size: u64) -> f64 {
    let run = |count| {
        inside(async move {
            let (done, ended) = oneshot::channel();
            let _watcher = watcher(OnEnd::Next(count - 1, Some(done)));
            ended.await.expect("it tells");
        });
    };
    run(size / 10);
    cpu_each(size, || run(size))
}

fn idle_bytes(size: u64) -> f64 {
    runtime().block_on(async move {
        let tally = Tally::default();
        let before = resident_bytes();
        let mut workers = Vec::with_capacity(usize::try_from(size).expect("it fits"));
        for _ in 0..size {
            workers.push(worker(&tally));
        }
        for _ in 0..3 {
            yield_now().await;
        }
        let handles = workers.len() * size_of::<ActorRef<Worker>>();
        (resident_bytes() - before - handles as u64) as f64 / size as f64
    })
}

fn send_here(size: u64) -> f64 {
    runtime().block_on(async move {
        let tally = Tally::default();
        let worker = worker(&tally);
        worker.ask(HowMany).await.expect("it answers");
        let before = wall();
        for _ in 0..size / BATCH {
            let until = tally.count() + BATCH;
            for _ in 0..BATCH {
                worker.tell(Tick).try_send().expect("it lives");
            }
            while tally.count() < until {
                yield_now().await;
            }
        }
        (wall() - before).as_nanos() as f64 / size as f64
    })
}

fn elsewhere(tally: &Tally) -> ActorRef<Worker> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let tally = tally.clone();
    std::thread::spawn(move || {
        pin(1);
        runtime().block_on(async move {
            let worker = worker(&tally);
            let _ = sender.send(worker.clone());
            worker.wait_for_shutdown().await;
        });
    });
    receiver.recv().expect("it starts")
}

fn send_across(size: u64) -> f64 {
    let tally = Tally::default();
    let worker = elsewhere(&tally);
    flood(size, &tally, || {
        worker.tell(Tick).try_send().expect("it lives");
    })
}

async fn ask(worker: &ActorRef<Worker>, size: u64) -> f64 {
    let before = wall();
    for _ in 0..size {
        worker.ask(HowMany).await.expect("it answers");
    }
    (wall() - before).as_nanos() as f64 / size as f64
}

fn ask_across(size: u64) -> f64 {
    let worker = elsewhere(&Tally::default());
    inside(async move { ask(&worker, size).await })
}

fn down(size: u64, panics: bool) -> f64 {
    inside(async move {
        let (tell, mut ended) = mpsc::unbounded_channel();
        let watcher = watcher(OnEnd::Tell(tell));
        let mut samples = Vec::new();
        for _ in 0..size {
            let birth = birth(&Tally::default(), None);
            let worker =
                Worker::spawn_link_with_mailbox(&watcher, birth, mailbox::unbounded()).await;
            worker.wait_for_startup().await;
            let before = wall();
            worker.tell(Fail { panics }).try_send().expect("it lives");
            ended.recv().await.expect("it ends");
            samples.push(wall() - before);
        }
        median(samples)
    })
}

/// Its watcher restarts it, and hears of nothing.
async fn supervised(
    watcher: &ActorRef<Watcher>,
    runs: &mpsc::UnboundedSender<()>,
) -> ActorRef<Worker> {
    Worker::supervise(watcher, birth(&Tally::default(), Some(runs)))
        .restart_policy(RestartPolicy::Permanent)
        .restart_limit(u32::MAX, Duration::from_secs(3600))
        .spawn_with_mailbox(mailbox::unbounded())
        .await
}

fn restart(size: u64, panics: bool) -> f64 {
    inside(async move {
        let (runs, mut running) = mpsc::unbounded_channel();
        let watcher = watcher(OnEnd::Tell(mpsc::unbounded_channel().0));
        let worker = supervised(&watcher, &runs).await;
        running.recv().await.expect("it runs");
        let mut samples = Vec::new();
        for _ in 0..size {
            let before = wall();
            worker.tell(Fail { panics }).try_send().expect("it lives");
            running.recv().await.expect("it runs again");
            worker.ask(HowMany).await.expect("it answers");
            samples.push(wall() - before);
        }
        median(samples)
    })
}

fn storm(size: u64, panics: bool) -> f64 {
    inside(async move {
        let (runs, mut running) = mpsc::unbounded_channel();
        let watcher = watcher(OnEnd::Tell(mpsc::unbounded_channel().0));
        let mut workers = Vec::new();
        for _ in 0..size {
            workers.push(supervised(&watcher, &runs).await);
        }
        for _ in 0..size {
            running.recv().await.expect("it runs");
        }
        let before = wall();
        for worker in &workers {
            worker.tell(Fail { panics }).try_send().expect("it lives");
        }
        for _ in 0..size {
            running.recv().await.expect("it runs again");
        }
        (wall() - before).as_nanos() as f64 / size as f64
    })
}
