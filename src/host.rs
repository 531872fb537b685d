//! What the program needs of the machine it runs on: signals, logs, what was open before it, and a thread for the actors.

use std::mem;
use std::panic;
use std::thread;

use actix::System;

pub mod descriptors;
pub mod logs;
pub mod signals;
pub mod stdio;
pub mod terminal;

/// Longer than any program runs: `off`, where a limit has to be a duration.
pub const FOREVER: std::time::Duration = std::time::Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// Runs actors on a thread of their own, so that this one may wait for a slow terminal without keeping them waiting.
///
/// # Panics
/// The system gives no thread, or `actors` panicked.
pub fn beside<T: Send + 'static, F>(
    actors: impl FnOnce() -> F + Send + 'static,
) -> thread::JoinHandle<T>
where
    F: Future<Output = T> + 'static,
{
    thread::Builder::new()
        .name("actors".to_owned())
        .spawn(move || {
            let system = System::new();
            // As a task it is woken like an actor; to wake what the system itself runs takes a system call each time.
            let outcome = system.block_on(async move { actix_rt::spawn(actors()).await });
            let outcome = outcome.unwrap_or_else(|error| panic::resume_unwind(error.into_panic()));
            // Dropped, it would wait for every name that is being looked up, which nothing can call off.
            mem::forget(system);
            outcome
        })
        .expect("the system has a thread for the actors")
}
