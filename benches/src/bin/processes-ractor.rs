//! What ractor's actors cost. Restarts are the user's code there: the supervisor starts the next one by hand.

use std::collections::HashMap;

use byron_benches::{
    BATCH, Tally, answer, cpu_each, flood, median, pin, resident_bytes, silence_panics, wall,
};
use mimalloc::MiMalloc;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent, call};
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
            inside(async move { ask(&worker(&Tally::default()).await, size).await })
        }),
        ("ask-across", ask_across),
        ("down-exit", |size| down(size, || Mail::Exit)),
        ("down-panic", |size| down(size, || Mail::Panic)),
        ("restart-exit", |size| restart(size, || Mail::Exit)),
        ("restart-panic", |size| restart(size, || Mail::Panic)),
        ("storm-exit", |size| storm(size, || Mail::Exit)),
        ("storm-panic", |size| storm(size, || Mail::Panic)),
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

enum Mail {
    Tick,
    HowMany(RpcReplyPort<u64>),
    Exit,
    Panic,
}

struct Worker;

impl Actor for Worker {
    type Msg = Mail;
    type State = Tally;
    type Arguments = Tally;

    async fn pre_start(
        &self,
        _: ActorRef<Mail>,
        tally: Tally,
    ) -> Result<Tally, ActorProcessingErr> {
        Ok(tally)
    }

    async fn handle(
        &self,
        _: ActorRef<Mail>,
        mail: Mail,
        tally: &mut Tally,
    ) -> Result<(), ActorProcessingErr> {
        match mail {
            Mail::Tick => tally.add(),
            Mail::HowMany(answer) => {
                let _ = answer.send(tally.count());
            }
            Mail::Exit => return Err("told to".into()),
            Mail::Panic => panic!("told to"),
        }
        Ok(())
    }
}

async fn worker(tally: &Tally) -> ActorRef<Mail> {
    Actor::spawn(None, Worker, tally.clone())
        .await
        .expect("it starts")
        .0
}

/// Hears of the ends of its children, and starts them again if it is told to.
struct Watcher;

struct Watching {
    on_end: OnEnd,
    children: HashMap<ActorId, ActorRef<Mail>>,
}

/// What is done about the end of a child.
enum OnEnd {
    Tell(mpsc::UnboundedSender<()>),
    /// It is started again, and here it is.
    Restart(mpsc::UnboundedSender<ActorRef<Mail>>),
    /// The next one is started, and stopped, so many times more.
    Next(u64, Option<oneshot::Sender<()>>),
}

enum Watch {
    Start(RpcReplyPort<ActorRef<Mail>>),
    StartAndStop,
}

impl Actor for Watcher {
    type Msg = Watch;
    type State = Watching;
    type Arguments = Watching;

    async fn pre_start(
        &self,
        _: ActorRef<Watch>,
        watching: Watching,
    ) -> Result<Watching, ActorProcessingErr> {
        Ok(watching)
    }

    async fn handle(
        &self,
        this: ActorRef<Watch>,
        mail: Watch,
        state: &mut Watching,
    ) -> Result<(), ActorProcessingErr> {
        match mail {
            Watch::Start(answer) => {
                let (child, _) =
                    Actor::spawn_linked(None, Worker, Tally::default(), this.get_cell()).await?;
                state.children.insert(child.get_id(), child.clone());
                let _ = answer.send(child);
            }
            Watch::StartAndStop => {
                let (child, _) =
                    Actor::spawn_linked(None, Worker, Tally::default(), this.get_cell()).await?;
                child.stop(None);
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        this: ActorRef<Watch>,
        event: SupervisionEvent,
        state: &mut Watching,
    ) -> Result<(), ActorProcessingErr> {
        let (SupervisionEvent::ActorFailed(who, _) | SupervisionEvent::ActorTerminated(who, _, _)) =
            event
        else {
            return Ok(());
        };
        state.children.remove(&who.get_id());
        match &mut state.on_end {
            OnEnd::Tell(ended) => {
                let _ = ended.send(());
            }
            OnEnd::Restart(running) => {
                let (child, _) =
                    Actor::spawn_linked(None, Worker, Tally::default(), this.get_cell()).await?;
                let _ = running.send(child.clone());
                state.children.insert(child.get_id(), child);
            }
            OnEnd::Next(left, done) if *left == 0 => {
                if let Some(done) = done.take() {
                    let _ = done.send(());
                }
            }
            OnEnd::Next(left, _) => {
                *left -= 1;
                let (child, _) =
                    Actor::spawn_linked(None, Worker, Tally::default(), this.get_cell()).await?;
                child.stop(None);
            }
        }
        Ok(())
    }
}

async fn watcher(on_end: OnEnd) -> ActorRef<Watch> {
    let watching = Watching {
        on_end,
        children: HashMap::new(),
    };
    let (watcher, _) = Actor::spawn(None, Watcher, watching)
        .await
        .expect("it starts");
    watcher
}

fn spawn_monitor_stop(size: u64) -> f64 {
    let run = |count| {
        inside(async move {
            let (done, ended) = oneshot::channel();
            let watcher = watcher(OnEnd::Next(count - 1, Some(done))).await;
            let _ = watcher.send_message(Watch::StartAndStop);
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
            workers.push(worker(&tally).await);
        }
        for _ in 0..3 {
            yield_now().await;
        }
        let handles = workers.len() * size_of::<ActorRef<Mail>>();
        (resident_bytes() - before - handles as u64) as f64 / size as f64
    })
}

fn send_here(size: u64) -> f64 {
    runtime().block_on(async move {
        let tally = Tally::default();
        let worker = worker(&tally).await;
        let before = wall();
        for _ in 0..size / BATCH {
            let until = tally.count() + BATCH;
            for _ in 0..BATCH {
                let _ = worker.send_message(Mail::Tick);
            }
            while tally.count() < until {
                yield_now().await;
            }
        }
        (wall() - before).as_nanos() as f64 / size as f64
    })
}

fn elsewhere(tally: &Tally) -> ActorRef<Mail> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let tally = tally.clone();
    std::thread::spawn(move || {
        pin(1);
        runtime().block_on(async move {
            let (worker, end) = Actor::spawn(None, Worker, tally).await.expect("it starts");
            let _ = sender.send(worker);
            let _ = end.await;
        });
    });
    receiver.recv().expect("it starts")
}

fn send_across(size: u64) -> f64 {
    let tally = Tally::default();
    let worker = elsewhere(&tally);
    flood(size, &tally, || {
        let _ = worker.send_message(Mail::Tick);
    })
}

async fn ask(worker: &ActorRef<Mail>, size: u64) -> f64 {
    let before = wall();
    for _ in 0..size {
        call!(worker, Mail::HowMany).expect("it answers");
    }
    (wall() - before).as_nanos() as f64 / size as f64
}

fn ask_across(size: u64) -> f64 {
    let worker = elsewhere(&Tally::default());
    inside(async move { ask(&worker, size).await })
}

fn down(size: u64, fail: fn() -> Mail) -> f64 {
    inside(async move {
        let (tell, mut ended) = mpsc::unbounded_channel();
        let watcher = watcher(OnEnd::Tell(tell)).await;
        let mut samples = Vec::new();
        for _ in 0..size {
            let child = call!(watcher, Watch::Start).expect("it starts");
            yield_now().await;
            let before = wall();
            let _ = child.send_message(fail());
            ended.recv().await.expect("it ends");
            samples.push(wall() - before);
        }
        median(samples)
    })
}

fn restart(size: u64, fail: fn() -> Mail) -> f64 {
    inside(async move {
        let (runs, mut running) = mpsc::unbounded_channel();
        let watcher = watcher(OnEnd::Restart(runs)).await;
        let mut child = call!(watcher, Watch::Start).expect("it starts");
        let mut samples = Vec::new();
        for _ in 0..size {
            let before = wall();
            let _ = child.send_message(fail());
            child = running.recv().await.expect("it runs again");
            call!(child, Mail::HowMany).expect("it answers");
            samples.push(wall() - before);
        }
        median(samples)
    })
}

fn storm(size: u64, fail: fn() -> Mail) -> f64 {
    inside(async move {
        let (runs, mut running) = mpsc::unbounded_channel();
        let watcher = watcher(OnEnd::Restart(runs)).await;
        let mut children = Vec::new();
        for _ in 0..size {
            children.push(call!(watcher, Watch::Start).expect("it starts"));
        }
        let before = wall();
        for child in children {
            let _ = child.send_message(fail());
        }
        for _ in 0..size {
            running.recv().await.expect("it runs again");
        }
        (wall() - before).as_nanos() as f64 / size as f64
    })
}
