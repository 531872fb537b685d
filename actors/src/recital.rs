//! What the actors of one server share: the poem, the pace, the limits, the gate and the tally.
//!
//! Plain shared state, not an actor: it has to survive the restart of every actor that uses it, and the way of a poem
//! must not lead through anybody's mailbox.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::gate::Gate;
use crate::poem::Poem;
use crate::tally::{Tally, TallyCounts};
use crate::wire::Pace;

/// How many readers one server serves at once, if nothing else is said.
pub const CONNECTIONS_MAX: usize = 1024;

/// How long a reader may read nothing at all before it is cut off, if nothing else is said.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a reader who has been sent everything may take to leave, if nothing else is said (nginx's `lingering_time`).
/// What the kernel holds may take a slow reader long to read, and whatever it says after the close destroys the rest.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(30);

/// How a poem is served.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// `None` recites as fast as the reader reads.
    pub pace: Option<Pace>,
    /// How many readers are served at once; the next ones wait in the kernel's queue.
    pub connections_max: usize,
    /// How long a reader may read nothing at all.
    pub write_timeout: Duration,
    /// How long a reader who has been sent everything may take to leave.
    pub linger_timeout: Duration,
    /// Serve so many readers to the end, then close; those who leave early do not count.
    pub readers: Option<u64>,
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            pace: None,
            connections_max: CONNECTIONS_MAX,
            write_timeout: WRITE_TIMEOUT,
            linger_timeout: LINGER_TIMEOUT,
            readers: None,
        }
    }
}

/// One server's shared state.
#[derive(Debug)]
pub(crate) struct Recital {
    poem: Mutex<Poem>,
    pub(crate) pace: Option<Pace>,
    pub(crate) write_timeout: Duration,
    pub(crate) linger_timeout: Duration,
    pub(crate) gate: Gate,
    pub(crate) tally: Tally,
    /// How many acceptors find no descriptor or no memory now.
    exhausted: AtomicUsize,
    epoch: Instant,
    /// When each listener last beat, in milliseconds since the epoch.
    beats: Box<[AtomicU64]>,
}

impl Recital {
    pub(crate) fn new(poem: Poem, manner: Manner, listeners: usize) -> Arc<Self> {
        Arc::new(Self {
            poem: Mutex::new(poem),
            pace: manner.pace,
            write_timeout: manner.write_timeout,
            linger_timeout: manner.linger_timeout,
            gate: Gate::new(manner.connections_max, manner.readers),
            tally: Tally::default(),
            exhausted: AtomicUsize::new(0),
            epoch: Instant::now(),
            beats: (0..listeners).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    /// The poem that the next reader hears.
    pub(crate) fn poem(&self) -> Poem {
        self.poem.lock().clone()
    }

    /// From the next reader on, another poem; those who are listening hear the old one to its end.
    pub(crate) fn set_poem(&self, poem: Poem) -> Poem {
        std::mem::replace(&mut self.poem.lock(), poem)
    }

    pub(crate) fn counts(&self) -> TallyCounts {
        self.tally.counts(self.gate.active())
    }

    /// An acceptor finds no room for another socket. Said once for all of them, until the last one goes on.
    pub(crate) fn runs_out(&self, error: &io::Error) {
        if self.exhausted.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(poem = %self.poem().title, %error, "cannot accept; new readers wait");
        }
    }

    /// It has accepted everybody who waited.
    pub(crate) fn goes_on(&self) {
        if self.gives_up_waiting() {
            tracing::warn!(poem = %self.poem().title, "accepts again; nobody waits");
        }
    }

    /// It has ended; true if no other one is without room.
    pub(crate) fn gives_up_waiting(&self) -> bool {
        self.exhausted.fetch_sub(1, Ordering::Relaxed) == 1
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A listener says that it is well.
    pub(crate) fn beat(&self, listener: usize) {
        self.beats[listener].store(self.now_ms(), Ordering::Relaxed);
    }

    /// How long a listener has been silent.
    pub(crate) fn silent_for(&self, listener: usize) -> Duration {
        let beat = self.beats[listener].load(Ordering::Relaxed);
        Duration::from_millis(self.now_ms().saturating_sub(beat))
    }
}
