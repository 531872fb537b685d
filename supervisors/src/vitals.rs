//! How a process fares, known without asking it: what it does now and since when, how long its turns take, whom it
//! waits for.
//!
//! Each process writes its own numbers, and nobody else does, so there are no locks and no contended additions; only a wait
//! and the count of lost messages, which few processes have, lie with its ties, under their lock. A turn costs two looks at
//! the clock; a message costs a comparison, and a store when its type is another than the last one's.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::time::Instant;

use crate::bound::Overflow;
use crate::exit::During;
use crate::pid::{self, Pid};
use crate::process::Process;

/// A turn that has taken longer than this makes a process BUSY.
pub const BUSY_AFTER: Duration = Duration::from_secs(1);

/// A turn that has taken longer than this makes a process STUCK.
pub const STUCK_AFTER: Duration = Duration::from_secs(10);

/// Processes that have waited for each other in a circle for longer than this are a DEADLOCK; answers that are on their
/// way make shorter circles.
pub const DEADLOCK_AFTER: Duration = Duration::from_secs(1);

/// A turn of a supervised process that took longer than this is a [`HandlerSlow`](crate::EventKind::HandlerSlow) event.
pub const HANDLER_SLOW: Duration = Duration::from_secs(1);

/// An unbounded mailbox that is longer than this is a [`MailboxHigh`](crate::EventKind::MailboxHigh) event, and is one
/// again when it has been half as long meanwhile.
pub const MAILBOX_HIGH: usize = 10_000;

/// What is known of a process without asking it; see [`vitals`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Vitals {
    /// How long the process has run.
    pub uptime: Duration,
    /// It was [suspended](crate::sys::suspend), and holds still.
    pub suspended: bool,
    /// Messages waiting; `None` where actix does not tell (adopted actors).
    pub mailbox_len: Option<usize>,
    /// How many may wait; `None` if that is not bounded.
    pub mailbox_capacity: Option<usize>,
    /// What happens to one more.
    pub mailbox_overflow: Option<Overflow>,
    /// How many messages found no room in the mailbox, whatever became of them.
    pub refused: u64,
    /// How many senders wait for room ([`Overflow::Block`]).
    pub senders_waiting: usize,
    /// Messages to it that became [dead letters](crate::dead_letters).
    pub lost: u64,
    /// The most that have waited, as the process saw it at its turns.
    pub mailbox_high: usize,
    /// Messages handled so far.
    pub handled: u64,
    /// Turns so far. A turn handles the messages that wait (up to a budget) and polls the futures.
    pub turns: u64,
    /// How long they took together.
    pub turn_time: Duration,
    /// How long the longest took.
    pub turn_longest: Duration,
    /// Half of the turns took no longer than this, within a factor of two. Only of static children of a supervisor.
    pub turn_p50: Option<Duration>,
    /// 99 of 100 turns took no longer than this, within a factor of two. Only of static children of a supervisor.
    pub turn_p99: Option<Duration>,
    /// What it does now; `None` while it has no turn.
    pub doing: Option<Doing>,
    /// The wait it is in (`ctx.wait`): it handles no messages meanwhile.
    pub waiting: Option<Waiting>,
    /// How many processes it is linked to.
    pub links: usize,
    /// How many monitors it is watched by, its supervisor's included.
    pub monitors: usize,
}

/// What a process does in the turn it has now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Doing {
    /// The part of its life that runs.
    pub during: During,
    /// The type of the message that is being handled, if it is one.
    pub in_message: Option<&'static str>,
    /// When the turn began.
    pub since: Instant,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.in_message {
            Some(message) => write!(f, "handling {message}"),
            None => write!(f, "in {}", self.during),
        }
    }
}

/// A wait of a process: a future in `ctx.wait`, until which it handles nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waiting {
    /// The type of the message whose handler began to wait, if it was one.
    pub in_message: Option<&'static str>,
    /// The process whose answer it waits for, if it is an answer ([`ActorRef::send`](crate::ActorRef::send)).
    pub on: Option<Pid>,
    /// When it began.
    pub since: Instant,
}

impl Vitals {
    pub(crate) fn of(process: &dyn Process) -> Self {
        let core = process.core();
        let pulse = &core.pulse;
        let (links, monitors) = core.ties_count();
        let view = process.mailbox();
        let mailbox_len = view.as_ref().map(|view| view.len);
        let mailbox = view.as_ref().map(|view| view.mailbox).unwrap_or_default();
        let quantile = |share| {
            pulse
                .histogram
                .as_ref()
                .and_then(|turns| turns.quantile(share))
        };
        Self {
            uptime: core.uptime(),
            suspended: core.is_suspended(),
            mailbox_len,
            mailbox_capacity: mailbox.capacity(),
            mailbox_overflow: mailbox.overflow(),
            refused: view.as_ref().map_or(0, |view| view.refused),
            senders_waiting: view.as_ref().map_or(0, |view| view.senders_waiting),
            lost: core.lost(),
            mailbox_high: pulse.mailbox_high().max(mailbox_len.unwrap_or(0)),
            handled: core.handled.load(Ordering::Relaxed),
            turns: pulse.turns.load(Ordering::Relaxed),
            turn_time: Duration::from_nanos(pulse.turn_time.load(Ordering::Relaxed)),
            turn_longest: Duration::from_nanos(pulse.turn_longest.load(Ordering::Relaxed)),
            turn_p50: quantile(0.5),
            turn_p99: quantile(0.99),
            doing: pulse.doing(),
            waiting: core.waiting(),
            links,
            monitors,
        }
    }

    /// The process whose answer it waits for.
    pub fn waits_for(&self) -> Option<Pid> {
        self.waiting?.on
    }

    /// What is wrong with a process of these vitals at this moment, as far as they tell: [`Flags::deadlock`] takes those
    /// of the others, see [`deadlocked`].
    pub fn flags(&self, now: Instant) -> Flags {
        let turn = self
            .doing
            .map(|doing| now.saturating_duration_since(doing.since));
        // A wait on purpose, with nobody waiting for its end, keeps nothing up.
        let wait = self
            .waiting
            .filter(|_| self.mailbox_len.is_some_and(|len| len > 0))
            .map(|waiting| now.saturating_duration_since(waiting.since));
        let held = turn.max(wait).unwrap_or_default();
        Flags {
            busy: held > BUSY_AFTER,
            stuck: held > STUCK_AFTER,
            full: self
                .mailbox_capacity
                .zip(self.mailbox_len)
                .is_some_and(|(capacity, len)| len >= capacity),
            deadlock: false,
            suspended: self.suspended,
        }
    }
}

/// What is wrong with a process, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Flags {
    /// Its turn has taken longer than [`BUSY_AFTER`], or its wait has, and messages wait for its end.
    pub busy: bool,
    /// As `busy`, for [`STUCK_AFTER`].
    pub stuck: bool,
    /// Its mailbox is full.
    pub full: bool,
    /// It is one of several that wait for each other in a circle.
    pub deadlock: bool,
    /// It was [suspended](crate::sys::suspend).
    pub suspended: bool,
}

impl Flags {
    /// The flags that are set, in upper-case words; `STUCK` says `BUSY` too.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        [
            (self.suspended, "SUSPENDED"),
            (self.deadlock, "DEADLOCK"),
            (self.stuck, "STUCK"),
            (self.busy && !self.stuck, "BUSY"),
            (self.full, "FULL"),
        ]
        .into_iter()
        .filter_map(|(is_set, name)| is_set.then_some(name))
    }
}

/// What is known of a process without asking it; `None` if it is dead. It may be busy or stuck: the answer comes at once.
pub fn vitals(pid: Pid) -> Option<Vitals> {
    Some(Vitals::of(&*pid::lookup(pid)?))
}

/// The processes that are on a circle, where each waits for the one it leads to.
///
/// ```
/// # use std::collections::HashMap;
/// # use byron_supervisors::{Pid, deadlocked};
/// let [a, b, c]: [Pid; 3] = ["1", "2", "3"].map(|pid| pid.parse().expect("a pid"));
/// // `c` waits for one of the circle, and is not on it.
/// let waits_for = HashMap::from([(a, b), (b, a), (c, a)]);
/// assert_eq!(deadlocked(&waits_for), [a, b].into());
/// ```
pub fn deadlocked(waits_for: &HashMap<Pid, Pid>) -> HashSet<Pid> {
    let mut deadlocked = HashSet::new();
    let mut seen = HashSet::new();
    for &start in waits_for.keys() {
        // Each leads to one other at the most: a walk ends, or meets itself, or an earlier one.
        let mut walk = Vec::new();
        let mut at = start;
        while seen.insert(at) {
            walk.push(at);
            match waits_for.get(&at) {
                Some(&next) => at = next,
                None => break,
            }
        }
        if let Some(first) = walk.iter().position(|pid| *pid == at)
            && waits_for.contains_key(&at)
        {
            deadlocked.extend(&walk[first..]);
        }
    }
    deadlocked
}

/// The long waits of a snapshot and of whomever they lead to, in it or not.
pub(crate) fn long_waits<'a>(
    shown: impl IntoIterator<Item = (Pid, &'a Vitals)>,
    now: Instant,
) -> HashMap<Pid, Pid> {
    let long = |waiting: Waiting| {
        let target = waiting.on?;
        (now.saturating_duration_since(waiting.since) > DEADLOCK_AFTER).then_some(target)
    };
    let mut waits = HashMap::new();
    for (pid, vitals) in shown {
        let mut next = vitals.waiting.and_then(long).map(|target| (pid, target));
        while let Some((pid, target)) = next.filter(|(pid, _)| !waits.contains_key(pid)) {
            waits.insert(pid, target);
            next = pid::lookup(target)
                .and_then(|process| process.core().waiting())
                .and_then(long)
                .map(|further| (target, further));
        }
    }
    waits
}

/// Before everything that is written down: a paused clock, in a test, may stand before the one that was first looked at.
static EPOCH: LazyLock<Instant> = LazyLock::new(|| {
    let now = Instant::now();
    now.checked_sub(Duration::from_secs(24 * 60 * 60))
        .unwrap_or(now)
});

/// The moment, as one number that is never 0: nanoseconds after the epoch.
pub(crate) fn now() -> u64 {
    EPOCH.elapsed().as_nanos() as u64 + 1
}

/// A moment that was written down.
fn moment(nanos: u64) -> Option<Instant> {
    Some(*EPOCH + Duration::from_nanos(nanos.checked_sub(1)?))
}

/// What a process writes down of itself; moments as [`now`] says them.
pub(crate) struct Pulse {
    /// When the turn began that runs now; 0 = none runs.
    turn_since: AtomicU64,
    /// What runs, as [`code`] says it.
    doing: AtomicU32,
    mailbox_high: AtomicU32,
    turns: AtomicU64,
    turn_time: AtomicU64,
    turn_longest: AtomicU64,
    histogram: Option<Box<Histogram>>,
}

impl Pulse {
    /// With a histogram of turns for those processes that are few and live long.
    #[inline(always)]
    pub(crate) fn new(has_histogram: bool) -> Self {
        Self {
            turn_since: AtomicU64::new(0),
            doing: AtomicU32::new(0),
            mailbox_high: AtomicU32::new(0),
            turns: AtomicU64::new(0),
            turn_time: AtomicU64::new(0),
            turn_longest: AtomicU64::new(0),
            histogram: has_histogram.then(Box::default),
        }
    }

    pub(crate) fn begin_turn(&self, now: u64) {
        self.turn_since.store(now, Ordering::Relaxed);
    }

    /// Answers how long the turn took.
    pub(crate) fn end_turn(&self, now: u64) -> Duration {
        let began = self.turn_since.load(Ordering::Relaxed);
        let took = now.saturating_sub(began);
        add(&self.turns, 1);
        add(&self.turn_time, took);
        if took > self.turn_longest.load(Ordering::Relaxed) {
            self.turn_longest.store(took, Ordering::Relaxed);
        }
        if let Some(histogram) = &self.histogram {
            histogram.add(took);
        }
        self.turn_since.store(0, Ordering::Relaxed);
        Duration::from_nanos(took)
    }

    /// Another part of the process's life runs from now on.
    pub(crate) fn set_doing(&self, during: During, in_message: Option<&'static str>) {
        self.doing
            .store(code(during, in_message), Ordering::Relaxed);
    }

    /// A wait that begins now.
    pub(crate) fn wait(&self) -> Wait {
        Wait {
            since: 0,
            waits_for: None,
            waits_in: self.doing.load(Ordering::Relaxed),
        }
    }

    fn mailbox_high(&self) -> usize {
        self.mailbox_high.load(Ordering::Relaxed) as usize
    }

    /// The mailbox is so long.
    pub(crate) fn saw_mailbox(&self, len: usize) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        if len > self.mailbox_high.load(Ordering::Relaxed) {
            self.mailbox_high.store(len, Ordering::Relaxed);
        }
    }

    pub(crate) fn doing(&self) -> Option<Doing> {
        self.last_doing(self.turn_since.load(Ordering::Relaxed))
    }

    /// What was done last, in the turn that began then, over or not.
    pub(crate) fn last_doing(&self, since: u64) -> Option<Doing> {
        let (during, in_message) = decode(self.doing.load(Ordering::Relaxed));
        Some(Doing {
            during,
            in_message,
            since: moment(since)?,
        })
    }
}

/// A wait of a process, as it is written down.
pub(crate) struct Wait {
    /// When it began; 0 until the end of that turn.
    since: u64,
    waits_for: Option<Pid>,
    /// What ran when it began, as [`code`] says it.
    waits_in: u32,
}

impl Wait {
    pub(crate) fn set_waits_for(&mut self, pid: Option<Pid>) {
        self.waits_for = pid;
    }

    /// It is not over at the end of a turn.
    pub(crate) fn stays(&mut self, now: u64) {
        if self.since == 0 {
            self.since = now;
        }
    }

    pub(crate) fn shown(&self) -> Option<Waiting> {
        Some(Waiting {
            in_message: decode(self.waits_in).1,
            on: self.waits_for,
            since: moment(self.since)?,
        })
    }
}

/// Only the process itself counts, so this needs no read-modify-write of the processor's.
pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.store(
        counter.load(Ordering::Relaxed).wrapping_add(more),
        Ordering::Relaxed,
    );
}

/// How long turns took: one count for each doubling from 64 ns.
#[derive(Default)]
struct Histogram([AtomicU64; 32]);

/// What fits into the first count.
const SHORTEST_BITS: u32 = 6;

impl Histogram {
    fn add(&self, nanos: u64) {
        let bits = u64::BITS - (nanos >> SHORTEST_BITS).leading_zeros();
        add(&self.0[(bits as usize).min(self.0.len() - 1)], 1);
    }

    /// The end of the count in which this share of all lies.
    fn quantile(&self, share: f64) -> Option<Duration> {
        let counts: Vec<u64> = self
            .0
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        let total: u64 = counts.iter().sum();
        let wanted = ((total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let at = counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(Duration::from_nanos(1 << (SHORTEST_BITS + at as u32)))
    }
}

const PARTS: [During; 8] = [
    During::Init,
    During::Started,
    During::Message,
    During::Future,
    During::Stopping,
    During::Stopped,
    During::Drop,
    During::Turn,
];

/// What runs, in one number: a part of life, or the type of a message.
fn code(during: During, in_message: Option<&'static str>) -> u32 {
    match in_message {
        Some(message) => PARTS.len() as u32 + number_of(message),
        None => PARTS
            .iter()
            .position(|part| *part == during)
            .unwrap_or_default() as u32,
    }
}

fn decode(code: u32) -> (During, Option<&'static str>) {
    match PARTS.get(code as usize) {
        Some(during) => (*during, None),
        None => {
            let names = NAMES.read();
            (
                During::Message,
                names.get(code as usize - PARTS.len()).copied(),
            )
        }
    }
}

/// The types of messages that were ever handled; as many as the program has.
static NAMES: RwLock<Vec<&'static str>> = RwLock::new(Vec::new());

/// How many types a thread remembers the number of.
const REMEMBERED: usize = 64;

thread_local! {
    static REMEMBERED_NAMES: [Cell<(&'static str, u32)>; REMEMBERED] =
        const { [const { Cell::new(("", 0)) }; REMEMBERED] };
}

/// Whether two texts are one and the same text; two that only read the same are not, and that does no harm here.
pub(crate) fn is_same(one: &'static str, other: &'static str) -> bool {
    std::ptr::eq(one, other)
}

/// The number of a type's name.
fn number_of(name: &'static str) -> u32 {
    let at = name.as_ptr() as usize;
    let place = (at ^ (at >> 6)) % REMEMBERED;
    let remembered = REMEMBERED_NAMES
        .try_with(|names| names[place].get())
        .ok()
        .filter(|(known, _)| is_same(known, name));
    if let Some((_, number)) = remembered {
        return number;
    }
    let known = NAMES.read().iter().position(|known| *known == name);
    let number = known.unwrap_or_else(|| {
        let mut names = NAMES.write();
        names
            .iter()
            .position(|known| *known == name)
            .unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            })
    }) as u32;
    let _ = REMEMBERED_NAMES.try_with(|names| names[place].set((name, number)));
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(number: u64) -> Pid {
        number.to_string().parse().expect("a pid")
    }

    #[test]
    fn circles_of_waits_are_found_and_those_who_wait_for_one_are_not_on_it() {
        let circles = |waits: &[(u64, u64)]| {
            let waits = waits.iter().map(|(a, b)| (pid(*a), pid(*b))).collect();
            let mut found: Vec<_> = deadlocked(&waits).into_iter().map(Pid::as_u64).collect();
            found.sort();
            found
        };
        assert_eq!(circles(&[]), []);
        assert_eq!(circles(&[(1, 2), (2, 3)]), []);
        assert_eq!(circles(&[(1, 1)]), [1]);
        assert_eq!(
            circles(&[(1, 2), (2, 3), (3, 1), (4, 1), (5, 4)]),
            [1, 2, 3]
        );
        assert_eq!(
            circles(&[(1, 2), (2, 1), (3, 4), (4, 3), (5, 6)]),
            [1, 2, 3, 4]
        );
    }

    #[test]
    fn quantiles_are_right_within_a_factor_of_two() {
        let turns = Histogram::default();
        assert_eq!(turns.quantile(0.5), None);
        for _ in 0..98 {
            turns.add(1_000);
        }
        turns.add(5_000_000);
        turns.add(u64::MAX);
        let within = |share, nanos: u64| {
            let found = turns.quantile(share).expect("there were turns").as_nanos() as u64;
            assert!((nanos..=2 * nanos).contains(&found), "{found} for {nanos}");
        };
        within(0.5, 1_000);
        within(0.99, 5_000_000);
        // The last count has no end, and is shown as what it begins at.
        assert_eq!(turns.quantile(1.0), Some(Duration::from_nanos(1 << 37)));
    }

    #[test]
    fn what_runs_is_one_number_and_back() {
        for during in PARTS {
            assert_eq!(decode(code(during, None)), (during, None));
        }
        for message in ["a::Message", "another::Message", "a::Message"] {
            let back = decode(code(During::Message, Some(message)));
            assert_eq!(back, (During::Message, Some(message)));
        }
    }
}
