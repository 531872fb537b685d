//! What the measuring programs have in common: clocks, memory, processors, and one way to be asked.
//!
//! A `processes-*` program measures one framework. It is started as `processes-byron METRIC SIZE`, prints one number, and
//! ends: the harness starts them in turn, so that all frameworks of a table meet the same weather.

use std::fmt::Display;
use std::fs;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// What one measurement does with a size; answers nanoseconds, bytes or a rate, as the harness's table says.
pub type Metric = (&'static str, fn(u64) -> f64);

/// Answers what the command line asks for.
pub fn answer(metrics: &[Metric]) {
    let mut arguments = std::env::args().skip(1);
    let (Some(name), Some(size)) = (arguments.next(), arguments.next()) else {
        refuse("say METRIC SIZE");
    };
    let Ok(size) = size.parse() else {
        refuse(format!("{size} is no size"));
    };
    let Some((_, measure)) = metrics.iter().find(|(known, _)| *known == name) else {
        let names: Vec<_> = metrics.iter().map(|(name, _)| *name).collect();
        refuse(format!("no metric {name}; there are {}", names.join(", ")));
    };
    println!("{}", measure(size));
}

fn refuse(why: impl Display) -> ! {
    eprintln!("{why}");
    exit(2)
}

/// The processor time of this program so far.
pub fn cpu() -> Duration {
    duration(ClockId::ProcessCPUTime)
}

/// A clock that only goes forward.
pub fn wall() -> Duration {
    duration(ClockId::Monotonic)
}

fn duration(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(
        u64::try_from(time.tv_sec).expect("clocks begin at 0"),
        u32::try_from(time.tv_nsec).expect("a second has so many"),
    )
}

/// The processor time of `f` in nanoseconds, for each of `count`.
pub fn cpu_each(count: u64, f: impl FnOnce()) -> f64 {
    let before = cpu();
    f();
    (cpu() - before).as_nanos() as f64 / count as f64
}

/// The memory of this program that is in use now, in bytes.
pub fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let kilobytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.expect("a process has memory") * 1024
}

/// Keeps this thread on one processor.
pub fn pin(processor: usize) {
    let mut processors = CpuSet::new();
    processors.set(processor);
    // On a machine with fewer processors the thread stays where it is.
    let _ = sched_setaffinity(None, &processors);
}

/// Counts what was handled, where another thread can see it.
#[derive(Clone, Default)]
pub struct Tally(Arc<AtomicU64>);

impl Tally {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Looks until there are so many, without a pause: for waits across threads.
    pub fn spin_until(&self, count: u64) {
        while self.count() < count {
            std::hint::spin_loop();
        }
    }
}

/// How many messages may be under way at most while a sender on one thread floods a receiver on another.
pub const UNDER_WAY_MAX: u64 = 10_000;

/// How many messages a sender sends before it lets the receiver on the same thread run.
pub const BATCH: u64 = 1_000;

/// Sends `count` messages from this thread to a receiver on another, which counts them; answers nanoseconds each.
pub fn flood(count: u64, handled: &Tally, mut send: impl FnMut()) -> f64 {
    let before = wall();
    for sent in 1..=count {
        send();
        if sent % BATCH == 0 {
            handled.spin_until(sent.saturating_sub(UNDER_WAY_MAX));
        }
    }
    handled.spin_until(count);
    (wall() - before).as_nanos() as f64 / count as f64
}

/// The middle of some durations in nanoseconds.
pub fn median(mut samples: Vec<Duration>) -> f64 {
    samples.sort_unstable();
    samples[samples.len() / 2].as_nanos() as f64
}

/// A panic says nothing here: a thousand of them would measure the terminal.
pub fn silence_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}
