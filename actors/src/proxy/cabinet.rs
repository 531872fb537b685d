//! [`Cabinet`]: what the actors of one proxy share, with a [`Desk`] for each upstream.
//!
//! Plain shared state, not an actor, as a server's recital is: it has to survive the crash of every actor that uses it, and
//! the way of a poem must not lead through anybody's mailbox. What is kept is whole and never changes; a fetch puts its
//! poem here in the same moment in which it becomes whole for its readers, or not at all.
//!
//! Locks: the cabinet's room first, then one desk at a time, then that desk's flight.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::time::Instant;

use super::cache::{CacheRules, CacheStatus, Kept, Ledger, Moment, Occupied, Verdict, evictions};
use super::flight::{Abandon, Ending, Flight, Seat, Writer};
use super::report::{CacheReport, KeptReport, StatusCounts};
use crate::download::{DownloadError, FailureKind};
use crate::wire::PoemHash;

/// Wall time that never goes back, and stands still with the paused clock of tests.
#[derive(Debug)]
struct Clock {
    began_at: Moment,
    began: Instant,
}

impl Clock {
    fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            began_at: Moment(since_epoch.unwrap_or_default()),
            began: Instant::now(),
        }
    }

    fn now(&self) -> Moment {
        Moment(self.began_at.0 + self.began.elapsed())
    }
}

/// A whole poem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) bytes: Bytes,
    pub(crate) sha256: PoemHash,
}

/// The shared state of one proxy.
pub(crate) struct Cabinet {
    rules: CacheRules,
    clock: Clock,
    drawers: Vec<Drawer>,
    /// Held while room is made, so that two poems do not get the same room.
    room: Mutex<()>,
    /// The desks whose kept poem has changed since the store wrote it, and whether there is a store that cares.
    changed: Mutex<Changes>,
    has_changed: Condvar,
}

#[derive(Debug, Default)]
struct Changes {
    desks: Vec<usize>,
    has_store: bool,
    is_closing: bool,
}

/// One upstream's part of it.
struct Drawer {
    label: Arc<str>,
    abandon: Abandon,
    state: Mutex<State>,
    counts: [AtomicU64; CacheStatus::ALL.len()],
    fetches: AtomicU64,
}

struct State {
    ledger: Ledger<Text>,
    flight: Option<Arc<Flight>>,
    /// What the upstream's last failure said.
    complaint: Option<DownloadError>,
}

impl fmt::Debug for Cabinet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.drawers.iter().map(|drawer| &drawer.label);
        f.debug_list().entries(labels).finish()
    }
}

impl Cabinet {
    pub(crate) fn new(
        rules: CacheRules,
        abandon: Abandon,
        labels: impl IntoIterator<Item = Arc<str>>,
    ) -> Arc<Self> {
        let drawer = |label| Drawer {
            label,
            abandon,
            state: Mutex::new(State {
                ledger: Ledger::new(rules),
                flight: None,
                complaint: None,
            }),
            counts: Default::default(),
            fetches: AtomicU64::new(0),
        };
        Arc::new(Self {
            rules,
            clock: Clock::start(),
            drawers: labels.into_iter().map(drawer).collect(),
            room: Mutex::new(()),
            changed: Mutex::default(),
            has_changed: Condvar::new(),
        })
    }

    /// The desks, in the order of the upstreams.
    pub(crate) fn desks(self: &Arc<Self>) -> impl Iterator<Item = Desk> {
        (0..self.drawers.len()).map(|at| Desk {
            cabinet: Arc::clone(self),
            at,
        })
    }

    /// Frees room for a poem of so many bytes at one desk, at the cost of the others; called with the room held.
    fn make_room(&self, desk: usize, bytes: u64) {
        let others = self
            .drawers
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != desk);
        let occupied = others.filter_map(|(at, drawer)| {
            let state = drawer.state.lock();
            state.ledger.kept().map(|kept| Occupied {
                desk: at,
                bytes: kept.what.bytes.len() as u64,
                used_at: kept.used_at,
            })
        });
        for evicted in evictions(occupied.collect(), bytes, self.rules.bytes_max) {
            let drawer = &self.drawers[evicted];
            if drawer.state.lock().ledger.evict() {
                tracing::info!(upstream = %drawer.label, "evicted to make room");
                self.note_change(evicted);
            }
        }
    }

    fn note_change(&self, desk: usize) {
        let mut changed = self.changed.lock();
        if changed.has_store && !changed.desks.contains(&desk) {
            changed.desks.push(desk);
            self.has_changed.notify_one();
        }
    }

    /// From here on, changes are noted for a store.
    pub(crate) fn attach_store(&self) {
        self.changed.lock().has_store = true;
    }

    /// The store is to end when it has written what is noted.
    pub(crate) fn close_store(&self) {
        self.changed.lock().is_closing = true;
        self.has_changed.notify_one();
    }

    /// Blocks until a desk has changed, and answers which; `None` at the end. For the store's own thread.
    pub(crate) fn next_change(self: &Arc<Self>) -> Option<Desk> {
        let mut changed = self.changed.lock();
        loop {
            if let Some(at) = changed.desks.pop() {
                let cabinet = Arc::clone(self);
                return Some(Desk { cabinet, at });
            }
            if changed.is_closing {
                return None;
            }
            self.has_changed.wait(&mut changed);
        }
    }
}

/// What a reader gets.
#[derive(Debug)]
pub(crate) enum Offer {
    /// A whole poem.
    Kept(Bytes),
    /// One that is on its way. If it does not come, and this reader has heard nothing of it, the old one.
    Live { seat: Seat, or_kept: Option<Bytes> },
    /// Nothing, for this reason.
    Nothing(DownloadError),
}

/// The answer to a reader.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: CacheStatus,
    pub(crate) offer: Offer,
    /// Whether the keeper is to be told to begin a fetch.
    pub(crate) begins: bool,
}

/// What became of a poem that arrived whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    Kept,
    /// Its readers have it, but it is not kept.
    Passed,
    /// Everybody had left a moment before.
    Abandoned,
}

/// The shared state of one upstream; its copies are one desk.
#[derive(Clone)]
pub(crate) struct Desk {
    cabinet: Arc<Cabinet>,
    at: usize,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Desk of {}", self.label())
    }
}

impl Desk {
    fn drawer(&self) -> &Drawer {
        &self.cabinet.drawers[self.at]
    }

    pub(crate) fn label(&self) -> &Arc<str> {
        &self.drawer().label
    }

    pub(crate) fn now(&self) -> Moment {
        self.cabinet.clock.now()
    }

    /// A reader comes.
    pub(crate) fn ask(&self) -> Answer {
        let now = self.now();
        let drawer = self.drawer();
        let mut state = drawer.state.lock();
        let state = &mut *state;
        state.look_after_flight(now);
        let verdict = state.ledger.ask(now);
        let kept = || state.ledger.kept().map(|kept| kept.what.bytes.clone());
        let (offer, begins) = match verdict {
            Verdict::Serve { refresh, .. } => {
                let text = kept().expect("the ledger serves what it keeps");
                if refresh {
                    // Nobody waits for it, so nobody can abandon it.
                    state.flight = Some(Flight::new(Abandon::Finish));
                }
                (Offer::Kept(text), refresh)
            }
            Verdict::Join { or_kept } => {
                let seat = state.flight.as_ref().and_then(Flight::join);
                // It cannot have ended between the look above and here but by an abandonment: nobody else has the lock.
                match seat {
                    Some(seat) => {
                        let or_kept = or_kept.then(kept).flatten();
                        (Offer::Live { seat, or_kept }, false)
                    }
                    None => {
                        let or_kept = or_kept.then(kept).flatten();
                        let seat = state.take_off(drawer.abandon);
                        (Offer::Live { seat, or_kept }, true)
                    }
                }
            }
            Verdict::Fetch { or_kept, .. } => {
                let or_kept = or_kept.then(kept).flatten();
                let seat = state.take_off(drawer.abandon);
                (Offer::Live { seat, or_kept }, true)
            }
            Verdict::Refuse => {
                let complaint = state.complaint.clone();
                let unknown = || DownloadError::passing(FailureKind::Io, "the upstream failed");
                (Offer::Nothing(complaint.unwrap_or_else(unknown)), false)
            }
        };
        if begins {
            state.ledger.begin();
        }
        let status = verdict.status();
        drawer.counts[status as usize].fetch_add(1, Ordering::Relaxed);
        Answer {
            status,
            offer,
            begins,
        }
    }

    /// The fetch under way, once it is known to be.
    pub(crate) fn flight(&self) -> Option<Arc<Flight>> {
        let now = self.now();
        let mut state = self.drawer().state.lock();
        state.look_after_flight(now);
        state.flight.clone()
    }

    /// A flight has ended without this desk; see [`flight`](Self::flight).
    pub(crate) fn look_after_flight(&self) {
        self.flight();
    }

    /// A fetch connects to the upstream.
    pub(crate) fn count_fetch(&self) {
        self.drawer().fetches.fetch_add(1, Ordering::Relaxed);
    }

    /// The poem is whole: for its readers, and for those who come later, in one step.
    pub(crate) fn arrived(&self, writer: &Writer, sha256: PoemHash) -> Arrival {
        let bytes = writer.whole();
        let room = self.cabinet.room.lock();
        if self
            .drawer()
            .state
            .lock()
            .ledger
            .would_keep(bytes.len() as u64)
        {
            self.cabinet.make_room(self.at, bytes.len() as u64);
        }
        let now = self.now();
        let mut state = self.drawer().state.lock();
        if !writer.finish() {
            state.look_after_flight(now);
            return Arrival::Abandoned;
        }
        if !state.is_flying(writer.flight()) {
            return Arrival::Passed;
        }
        state.flight = None;
        state.complaint = None;
        let len = bytes.len() as u64;
        let is_kept = state.ledger.fetched(Text { bytes, sha256 }, len, now);
        drop(state);
        drop(room);
        if !is_kept {
            return Arrival::Passed;
        }
        self.cabinet.note_change(self.at);
        Arrival::Kept
    }

    /// The poem does not come.
    pub(crate) fn failed(&self, writer: &Writer, error: DownloadError) {
        let now = self.now();
        let mut state = self.drawer().state.lock();
        writer.fail(error);
        state.look_after_flight(now);
    }

    /// Removes what is kept, or lets it be old from now on. True if something was kept.
    pub(crate) fn purge(&self, softly: bool) -> bool {
        let now = self.now();
        let mut state = self.drawer().state.lock();
        let had_some = if softly {
            state.ledger.purge_softly(now)
        } else {
            state.ledger.purge()
        };
        drop(state);
        if had_some {
            self.cabinet.note_change(self.at);
        }
        had_some
    }

    /// What is kept now.
    pub(crate) fn kept(&self) -> Option<Kept<Text>> {
        self.drawer().state.lock().ledger.kept().cloned()
    }

    /// Takes up what an earlier run has kept.
    pub(crate) fn restore(&self, mut kept: Kept<Text>) {
        // A clock that was put back makes a poem new, not one from the future.
        let now = self.now();
        kept.fetched_at = now.min(kept.fetched_at);
        kept.outdated_at = kept.outdated_at.map(|outdated_at| now.min(outdated_at));
        kept.used_at = kept.fetched_at;
        let room = self.cabinet.room.lock();
        let bytes = kept.what.bytes.len() as u64;
        if bytes <= self.cabinet.rules.bytes_max {
            self.cabinet.make_room(self.at, bytes);
            self.drawer().state.lock().ledger.restore(kept);
        }
        drop(room);
    }

    /// How it looks, without asking any actor.
    pub(crate) fn report(&self) -> CacheReport {
        let now = self.now();
        let drawer = self.drawer();
        let state = drawer.state.lock();
        let flight = state.flight.as_ref().filter(|flight| flight.is_under_way());
        let counts = drawer.counts.each_ref();
        CacheReport {
            upstream: Arc::clone(&drawer.label),
            counts: StatusCounts(counts.map(|count| count.load(Ordering::Relaxed))),
            fetches: drawer.fetches.load(Ordering::Relaxed),
            kept: state.ledger.kept().map(|kept| KeptReport {
                bytes: kept.what.bytes.len(),
                sha256: kept.what.sha256,
                age: now.since(kept.fetched_at),
                freshness: kept.freshness(&self.cabinet.rules, now),
            }),
            fetching: flight.map(|flight| flight.progress()),
            complaint: state.ledger.trouble().and(state.complaint.clone()),
        }
    }
}

impl State {
    fn is_flying(&self, flight: &Arc<Flight>) -> bool {
        self.flight
            .as_ref()
            .is_some_and(|own| Arc::ptr_eq(own, flight))
    }

    /// A new flight with its first reader.
    fn take_off(&mut self, abandon: Abandon) -> Seat {
        let flight = Flight::new(abandon);
        let seat = flight.join().expect("a new flight takes readers");
        self.flight = Some(flight);
        seat
    }

    /// A flight can end without the desk: abandoned by its readers, or broken by the crash of its fetch.
    fn look_after_flight(&mut self, now: Moment) {
        let Some(flight) = &self.flight else { return };
        match flight.ending() {
            None => {}
            Some(Ending::Whole | Ending::Abandoned) => {
                self.flight = None;
                self.ledger.call_off();
            }
            Some(Ending::Broken(error)) => {
                let is_dead = error.is_final || flight.progress().bytes == 0;
                self.flight = None;
                self.ledger.failed(is_dead, now);
                self.complaint = Some(error);
            }
        }
    }
}
