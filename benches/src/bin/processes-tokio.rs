//! What the same things cost with nothing but tokio: a task and a channel in the place of an actor and its mailbox.

use byron_benches::{
    BATCH, Tally, answer, cpu_each, flood, median, pin, resident_bytes, silence_panics, wall,
};
use mimalloc::MiMalloc;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local, yield_now};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

enum Mail {
    Tick,
    HowMany(oneshot::Sender<u64>),
    Exit,
    Panic,
}

fn main() {
    pin(0);
    silence_panics();
    answer(&[
        ("spawn", spawn_monitor_stop),
        ("idle", idle_bytes),
        ("send", send_here),
        ("send-across", send_across),
        ("ask", |size| {
            local(ask(worker_here(Tally::default()), size))
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

/// Runs inside a task, as what programs do runs inside tasks.
fn local<T: 'static>(future: impl Future<Output = T> + 'static) -> T {
    LocalSet::new().block_on(&runtime(), async move {
        spawn_local(future).await.expect("it ends")
    })
}

async fn work(
    mut mailbox: mpsc::UnboundedReceiver<Mail>,
    tally: Tally,
) -> Result<(), &'static str> {
    while let Some(mail) = mailbox.recv().await {
        match mail {
            Mail::Tick => tally.add(),
            Mail::HowMany(answer) => {
                let _ = answer.send(tally.count());
            }
            Mail::Exit => return Err("told to"),
            Mail::Panic => panic!("told to"),
        }
    }
    Ok(())
}

/// Starts the worker when it is first polled: inside a `LocalSet`.
async fn worker_here(tally: Tally) -> mpsc::UnboundedSender<Mail> {
    let (sender, mailbox) = mpsc::unbounded_channel();
    spawn_local(work(mailbox, tally));
    sender
}

fn spawn_monitor_stop(size: u64) -> f64 {
    let run = |count| {
        local(async move {
            for _ in 0..count {
                let (sender, mailbox) = mpsc::unbounded_channel();
                let worker = spawn_local(work(mailbox, Tally::default()));
                drop(sender);
                let _ = worker.await;
            }
        });
    };
    run(size / 10);
    cpu_each(size, || run(size))
}

fn idle_bytes(size: u64) -> f64 {
    local(async move {
        let tally = Tally::default();
        let before = resident_bytes();
        let mut workers = Vec::with_capacity(usize::try_from(size).expect("it fits"));
        for _ in 0..size {
            workers.push(worker_here(tally.clone()).await);
        }
        for _ in 0..3 {
            yield_now().await;
        }
        let handles = workers.len() * size_of::<mpsc::UnboundedSender<Mail>>();
        (resident_bytes() - before - handles as u64) as f64 / size as f64
    })
}

fn send_here(size: u64) -> f64 {
    local(async move {
        let tally = Tally::default();
        let worker = worker_here(tally.clone()).await;
        let before = wall();
        for _ in 0..size / BATCH {
            let until = tally.count() + BATCH;
            for _ in 0..BATCH {
                let _ = worker.send(Mail::Tick);
            }
            while tally.count() < until {
                yield_now().await;
            }
        }
        (wall() - before).as_nanos() as f64 / size as f64
    })
}

/// A worker on a thread of its own, on the other processor.
fn elsewhere(tally: Tally) -> mpsc::UnboundedSender<Mail> {
    let (sender, mailbox) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        pin(1);
        runtime().block_on(work(mailbox, tally))
    });
    sender
}

fn send_across(size: u64) -> f64 {
    let tally = Tally::default();
    let worker = elsewhere(tally.clone());
    flood(size, &tally, || {
        let _ = worker.send(Mail::Tick);
    })
}

async fn ask(worker: impl Future<Output = mpsc::UnboundedSender<Mail>>, size: u64) -> f64 {
    let worker = worker.await;
    let before = wall();
    for _ in 0..size {
        let (sender, answer) = oneshot::channel();
        let _ = worker.send(Mail::HowMany(sender));
        answer.await.expect("it answers");
    }
    (wall() - before).as_nanos() as f64 / size as f64
}

fn ask_across(size: u64) -> f64 {
    let worker = elsewhere(Tally::default());
    local(ask(async move { worker }, size))
}

fn down(size: u64, fail: fn() -> Mail) -> f64 {
    local(async move {
        let mut samples = Vec::new();
        for _ in 0..size {
            let (sender, mailbox) = mpsc::unbounded_channel();
            let worker = spawn_local(work(mailbox, Tally::default()));
            yield_now().await;
            let before = wall();
            let _ = sender.send(fail());
            let _ = worker.await;
            samples.push(wall() - before);
        }
        median(samples)
    })
}

fn restart(size: u64, fail: fn() -> Mail) -> f64 {
    local(async move {
        let mut samples = Vec::new();
        let (mut sender, mailbox) = mpsc::unbounded_channel();
        let mut worker = spawn_local(work(mailbox, Tally::default()));
        yield_now().await;
        for _ in 0..size {
            let before = wall();
            let _ = sender.send(fail());
            let _ = worker.await;
            let (again, mailbox) = mpsc::unbounded_channel();
            worker = spawn_local(work(mailbox, Tally::default()));
            sender = again;
            let (question, answer) = oneshot::channel();
            let _ = sender.send(Mail::HowMany(question));
            answer.await.expect("it answers");
            samples.push(wall() - before);
        }
        median(samples)
    })
}

/// The supervisor is a task for each worker, which starts the next one.
fn storm(size: u64, fail: fn() -> Mail) -> f64 {
    local(async move {
        let running = Tally::default();
        let mut workers = Vec::new();
        for _ in 0..size {
            let (sender, mailbox) = mpsc::unbounded_channel();
            let worker = spawn_local(work(mailbox, Tally::default()));
            let of = running.clone();
            spawn_local(async move {
                let _ = worker.await;
                let (_sender, mailbox) = mpsc::unbounded_channel();
                let again = spawn_local(async move {
                    of.add();
                    work(mailbox, Tally::default()).await
                });
                let _ = again.await;
            });
            workers.push(sender);
        }
        yield_now().await;
        let before = wall();
        for worker in workers {
            let _ = worker.send(fail());
        }
        while running.count() < size {
            yield_now().await;
        }
        (wall() - before).as_nanos() as f64 / size as f64
    })
}
