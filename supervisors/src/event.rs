//! The event log: what happened to supervised processes, and what brought it about.
//!
//! One bounded ring for the whole program. Processes outside every tree appear only when they crash, and dynamic
//! children only when they fail: a server of thousands of readers would otherwise wash away everything worth reading.

mod details;

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::mem;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicIsize, AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

pub use self::details::{EventDetails, TAKEN_ALONG_MAX, TakenAlong};
use crate::exit::ExitReason;
use crate::panics::{contained, drop_each};
use crate::path::Path;
use crate::pid::Pid;

/// How many events are kept.
pub const EVENTS_MAX: usize = 10_000;

/// How many bytes of events are kept, by estimate.
pub const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// As the lists count them: what a list has lost may be told before what another has won.
const BYTES_MAX: isize = EVENT_BYTES_MAX as isize;

/// How many bytes of an actor's own note are kept; the rest is cut off.
pub const NOTE_BYTES_MAX: usize = 500;

/// How many events [`next_events`] returns at most.
pub const EVENTS_PER_LOOK: usize = 256;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// A process was started.
    Started,
    /// Its init is over, it handles messages.
    Ready,
    /// It ended.
    Exit,
    /// Its supervisor begins a restart.
    Restart,
    /// Its supervisor waits before the next attempt.
    Backoff,
    /// A supervisor reached its restart intensity.
    GaveUp,
    /// A supervisor begins to stop its children.
    Stop,
    /// An exit signal went over a link and ends the process.
    Link,
    /// A person, or a program for one, did something from outside.
    Operator,
    /// A mailbox has become full, or, where it has no bound, very long.
    MailboxHigh,
    /// A turn of a process took long, and kept all others of its arbiter waiting.
    HandlerSlow,
    /// Something was made to fail on purpose; see [`chaos`](crate::chaos).
    Chaos,
    /// An actor says what its own work came to; see [`Context::note`](crate::Context::note).
    Note,
}

impl EventKind {
    /// The kind in one lower-case word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Ready => "ready",
            Self::Exit => "exit",
            Self::Restart => "restart",
            Self::Backoff => "backoff",
            Self::GaveUp => "gave_up",
            Self::Stop => "stop",
            Self::Link => "link",
            Self::Operator => "operator",
            Self::MailboxHigh => "mailbox_high",
            Self::HandlerSlow => "handler_slow",
            Self::Chaos => "chaos",
            Self::Note => "note",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Event {
    /// Counts all events of the program from 1; a gap means that some were dropped.
    pub seq: u64,
    /// When.
    pub at: SystemTime,
    /// What.
    pub kind: EventKind,
    /// The process's place in its tree, if it has one.
    pub path: Option<Path>,
    /// The process.
    pub pid: Option<Pid>,
    /// Which incarnation of its place the process is, from 1.
    pub incarnation: u32,
    /// Why it ended, or what made the supervisor act.
    pub reason: Option<ExitReason>,
    /// What an operator did, how long a supervisor waits, or what an actor says itself, for people.
    pub note: Option<Box<str>>,
    /// The same and more, for programs.
    pub details: EventDetails,
    /// The event that brought this one about.
    pub cause: Option<u64>,
}

impl Event {
    /// What the process's crash is called, if this tells of one: `crash-918`.
    pub fn crash_id(&self) -> Option<String> {
        matches!(self.details, EventDetails::Exit { crash: true, .. }).then(|| crash_id(self.seq))
    }
}

/// What the crash is called that this event tells of.
pub(crate) fn crash_id(seq: u64) -> String {
    format!("crash-{seq}")
}

/// Counts what is written to it.
struct Length(usize);

impl fmt::Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

/// One line for a person: `root/poems/ecstasy#2 exit: panicked at 'vanished' ... (#7, because of #3)`.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.path, self.pid) {
            (Some(path), _) if self.incarnation > 0 => write!(f, "{path}#{}", self.incarnation)?,
            (Some(path), _) => write!(f, "{path}")?,
            (None, Some(pid)) => write!(f, "{pid}")?,
            (None, None) => f.write_str("-")?,
        }
        write!(f, " {}", self.kind.name())?;
        if let Some(note) = &self.note {
            write!(f, " {note}")?;
        }
        if let Some(reason) = &self.reason {
            write!(f, ": {reason}")?;
        }
        write!(f, " (#{}", self.seq)?;
        if let Some(cause) = self.cause {
            write!(f, ", because of #{cause}")?;
        }
        f.write_str(")")
    }
}

/// What is yet to be told of an event; the log adds number and time.
#[derive(Default)]
pub(crate) struct Draft<'a> {
    pub(crate) path: Option<&'a Path>,
    pub(crate) pid: Option<Pid>,
    pub(crate) incarnation: u32,
    pub(crate) reason: Option<&'a ExitReason>,
    pub(crate) note: Option<String>,
    pub(crate) details: EventDetails,
    /// 0 = none known.
    pub(crate) cause: u64,
    /// Now, if not said.
    pub(crate) at: Option<SystemTime>,
}

impl Draft<'_> {
    /// How much is kept of it, by estimate.
    fn bytes(&self) -> usize {
        let reason = match self.reason {
            Some(ExitReason::Panic(panic)) => {
                panic.message.len() + panic.location.as_ref().map_or(0, String::len) + 64
            }
            // An error holds about as much as it says.
            Some(reason @ (ExitReason::Error(_) | ExitReason::Shutdown(Some(_)))) => {
                let mut length = Length(64);
                // An error that panics when it is shown must not stop whoever tells of it: a process tells of its end.
                contained(|| {
                    let _ = write!(length, "{reason}");
                });
                length.0
            }
            _ => 0,
        };
        mem::size_of::<Event>()
            + self.path.map_or(0, Path::bytes)
            + self.note.as_ref().map_or(0, String::len)
            + self.details.bytes()
            + reason
    }
}

/// How many threads record without meeting each other's locks and memory.
const LANES: usize = 16;

/// The events that some of the threads have recorded, oldest first; in one piece, for the oldest are far from every cache when
/// they are dropped, and what is read in a row is fetched ahead.
struct Recorded {
    records: VecDeque<Record>,
    /// By how much they have grown, or shrunk, since [`Totals::bytes`] was told.
    untold: isize,
}

struct Record {
    bytes: usize,
    event: Event,
}

impl Recorded {
    const fn new() -> Self {
        Self {
            records: VecDeque::new(),
            untold: 0,
        }
    }

    fn oldest(&self) -> Option<u64> {
        self.records.front().map(|record| record.event.seq)
    }

    #[inline(always)]
    fn push(&mut self, record: Record) {
        if self.records.len() == self.records.capacity() {
            self.grow();
        }
        self.untold += record.bytes as isize;
        self.records.push_back(record);
    }

    /// Never for more than are kept: a full log uses its places in turn.
    #[cold]
    fn grow(&mut self) {
        let len = self.records.len();
        let more = len.max(PLACES_MIN).min(EVENTS_MAX.saturating_sub(len));
        self.records.reserve_exact(more);
    }

    /// Takes the oldest.
    fn pop(&mut self) -> Option<Event> {
        let Record { bytes, event } = self.records.pop_front()?;
        self.untold -= bytes as isize;
        // After other threads have recorded most; amortised.
        if self.records.capacity() > PLACES_MIN && self.records.len() < self.records.capacity() / 8
        {
            let places = self.records.len() * 2;
            self.records.shrink_to(places);
        }
        Some(event)
    }

    /// Tells the totals how the list has changed; answers how much all lists together have.
    fn tell_bytes(&mut self) -> isize {
        let untold = mem::take(&mut self.untold);
        TOTALS.bytes.fetch_add(untold, Ordering::Relaxed) + untold
    }

    /// The events from this one on.
    fn since(&self, seq: u64) -> impl DoubleEndedIterator<Item = &Event> {
        let at = self
            .records
            .partition_point(|record| record.event.seq < seq);
        self.records.range(at..).map(|record| &record.event)
    }
}

/// How much a list may grow until it tells: in a full log a new event is about as large as the one that goes, and a number that
/// all threads write is not written for each.
const UNTOLD_MAX: isize = 16 * 1024;

/// A list this small is not worth shrinking.
const PLACES_MIN: usize = 64;

/// On cache lines of its own.
#[repr(align(128))]
struct Lane(Mutex<Recorded>);

static RING: [Lane; LANES] = [const { Lane(Mutex::new(Recorded::new())) }; LANES];

/// What all lanes have in common. An event gets its number under the lock of its lane: whoever holds all locks sees every
/// event up to the last number.
#[repr(align(128))]
struct Totals {
    last: AtomicU64,
    /// As far as the lanes have told.
    bytes: AtomicIsize,
    /// The newest event that was dropped because all together were too large.
    dropped: AtomicU64,
}

static TOTALS: Totals = Totals {
    last: AtomicU64::new(0),
    bytes: AtomicIsize::new(0),
    dropped: AtomicU64::new(0),
};

thread_local! {
    static LANE: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % LANES
    };
}

static CHANGED: LazyLock<Notify> = LazyLock::new(Notify::new);
/// How many wait for an event.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// One of those who wait, until it is dropped.
struct Waiter;

impl Waiter {
    fn new() -> Self {
        WAITING.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Adds an event and returns its number.
pub(crate) fn record(kind: EventKind, draft: Draft<'_>) -> u64 {
    let bytes = draft.bytes();
    let at = draft.at.unwrap_or_else(SystemTime::now);
    let note = draft.note.map(String::into_boxed_str);
    let lane = LANE.try_with(|lane| *lane).unwrap_or_default();
    let mut old = None;
    let mut older = Vec::new();
    let (seq, is_full) = {
        let mut lane = RING[lane].0.lock();
        let seq = TOTALS.last.fetch_add(1, Ordering::Relaxed) + 1;
        // Those of other lanes that have become too old are not shown, and go when their threads record again.
        let first = oldest_of(seq);
        while lane.oldest().is_some_and(|oldest| oldest < first)
            && let Some(event) = lane.pop()
        {
            match old {
                None => old = Some(event),
                Some(_) => older.push(event),
            }
        }
        // Made where it stays, for it is large.
        lane.push(Record {
            bytes,
            event: Event {
                seq,
                at,
                kind,
                path: draft.path.cloned(),
                pid: draft.pid,
                incarnation: draft.incarnation,
                reason: draft.reason.cloned(),
                note,
                details: draft.details,
                cause: (draft.cause != 0).then_some(draft.cause),
            },
        });
        let has_changed = lane.untold.abs() > UNTOLD_MAX;
        (seq, has_changed && lane.tell_bytes() > BYTES_MAX)
    };
    // Reasons hold errors of the user's, whose Drop is not run under our lock, and may panic.
    if old.is_some() {
        contained(|| old = None);
    }
    if !older.is_empty() {
        drop_each(older);
    }
    if is_full {
        make_room();
    }
    // Whoever waits said so before it looked, under the lock: either it has seen this event, or it is seen here.
    if WAITING.load(Ordering::Relaxed) > 0 {
        CHANGED.notify_waiters();
    }
    seq
}

/// The number of the oldest event that is kept where this is the newest.
fn oldest_of(last: u64) -> u64 {
    (last + 1).saturating_sub(EVENTS_MAX as u64)
}

/// Drops the oldest events, whoever has recorded them, until all together are small enough.
fn make_room() {
    let mut dropped = Vec::new();
    let mut lanes = lock_all();
    lanes.iter_mut().for_each(|lane| {
        lane.tell_bytes();
    });
    while TOTALS.bytes.load(Ordering::Relaxed) > BYTES_MAX {
        let lanes = lanes.iter_mut();
        let filled = lanes.filter_map(|lane| Some((lane.oldest()?, lane)));
        let oldest = filled.min_by_key(|(oldest, _)| *oldest);
        let Some((_, lane)) = oldest else { break };
        dropped.extend(lane.pop());
        lane.tell_bytes();
    }
    if let Some(Event { seq, .. }) = dropped.last() {
        TOTALS.dropped.fetch_max(*seq, Ordering::Relaxed);
    }
    drop(lanes);
    drop_each(dropped);
}

/// In order, so that two who do it do not wait for each other.
fn lock_all() -> [MutexGuard<'static, Recorded>; LANES] {
    RING.each_ref().map(|lane| lane.0.lock())
}

/// All events that are kept, at one moment.
struct Kept {
    lanes: [MutexGuard<'static, Recorded>; LANES],
    first: u64,
    last: u64,
}

impl Kept {
    fn now() -> Self {
        let lanes = lock_all();
        let last = TOTALS.last.load(Ordering::Relaxed);
        let dropped = TOTALS.dropped.load(Ordering::Relaxed);
        Self {
            lanes,
            first: oldest_of(last).max(dropped + 1),
            last,
        }
    }

    /// From this one on, oldest first.
    fn since(&self, seq: u64) -> impl Iterator<Item = &Event> {
        let first = seq.max(self.first);
        let mut lanes = self
            .lanes
            .each_ref()
            .map(|lane| lane.since(first).peekable());
        std::iter::from_fn(move || {
            let next = lanes.iter_mut().filter_map(|lane| {
                let seq = lane.peek()?.seq;
                Some((seq, lane))
            });
            next.min_by_key(|(seq, _)| *seq)?.1.next()
        })
    }

    fn get(&self, seq: u64) -> Option<&Event> {
        self.since(seq).next().filter(|event| event.seq == seq)
    }
}

/// Records what a person did to a part of the tree, so that what follows has a cause to point at.
pub fn record_operator(action: impl Into<String>, target: Option<Pid>) -> u64 {
    let process = target.and_then(crate::pid::lookup);
    let label = process.as_ref().and_then(|process| process.core().label());
    record(
        EventKind::Operator,
        Draft {
            path: label.map(|label| &label.path),
            pid: target,
            incarnation: label.map_or(0, |label| label.incarnation),
            note: Some(action.into()),
            ..Draft::default()
        },
    )
}

/// Events, oldest first, and how many are missing before them.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Events {
    /// The events that are still there.
    pub events: Vec<Event>,
    /// How many after the asked-for number were already dropped.
    pub missed: u64,
    /// How many the ring has dropped since the program began.
    pub dropped: u64,
    /// The number of the newest event there is; 0 before the first.
    pub last: u64,
}

/// The events after number `seq`; 0 asks for all that are left, `u64::MAX` only for the numbers.
pub fn events_since(seq: u64) -> Events {
    page(seq, usize::MAX)
}

fn page(seq: u64, count_max: usize) -> Events {
    let kept = Kept::now();
    let next = seq.saturating_add(1);
    Events {
        events: kept.since(next).take(count_max).cloned().collect(),
        missed: kept.first.saturating_sub(next),
        dropped: kept.first - 1,
        last: kept.last,
    }
}

/// The event with this number and what brought it about, oldest first: the chain of causes. Where the ring has dropped a
/// cause, the chain begins after it, and its first event still names it.
pub fn causes_of(seq: u64) -> Vec<Event> {
    let kept = Kept::now();
    let mut chain: Vec<Event> = Vec::new();
    let mut next = kept.get(seq);
    while let Some(link) = next {
        chain.push(link.clone());
        // A cause is older than what it causes, so this comes to an end.
        next = link
            .cause
            .filter(|cause| *cause < link.seq)
            .and_then(|cause| kept.get(cause));
    }
    chain.reverse();
    chain
}

/// The event that tells how a process ended, if it is still there.
pub fn exit_event(pid: Pid) -> Option<Event> {
    let kept = Kept::now();
    // A process ends once.
    let mut exits = kept.lanes.iter().filter_map(|lane| {
        let mut newest_first = lane.since(kept.first).rev();
        newest_first.find(|event| event.kind == EventKind::Exit && event.pid == Some(pid))
    });
    exits.next().cloned()
}

/// Waits until there are events after number `seq`, and returns them, at most [`EVENTS_PER_LOOK`]: whoever is far behind
/// keeps those who record events waiting for a moment only.
pub async fn next_events(seq: u64) -> Events {
    let _waiter = Waiter::new();
    loop {
        let changed = CHANGED.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let events = page(seq, EVENTS_PER_LOOK);
        if !events.events.is_empty() || events.missed > 0 {
            return events;
        }
        changed.await;
    }
}
