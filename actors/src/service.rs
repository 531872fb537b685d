//! What the actors of one service share: its protocol, the gate with the tally, and the listeners' beats.
//!
//! Plain shared state, not an actor: it has to survive the restart of every actor that uses it, and the way of a
//! connection must not lead through anybody's mailbox.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use byron_supervisors::StartDynamicChild;
use tokio::time::Instant;

use crate::gate::{Gate, Permit};
use crate::protocol::{Limits, Protocol};
use crate::stream::Accepted;
use crate::tally::{Tally, TallyCounts};

/// One service's shared state.
pub(crate) struct Service {
    /// What people call it.
    id: Arc<str>,
    protocol: Arc<dyn Protocol>,
    pub(crate) gate: Gate,
    /// How many acceptors find no descriptor or no memory now.
    exhausted: AtomicUsize,
    epoch: Instant,
    /// When each listener last beat, in milliseconds since the epoch.
    beats: Box<[AtomicU64]>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("id", &self.id)
            .field("protocol", &self.protocol.name())
            .field("gate", &self.gate)
            .finish_non_exhaustive()
    }
}

impl Service {
    pub(crate) fn new(
        id: Arc<str>,
        protocol: Arc<dyn Protocol>,
        limits: Limits,
        listeners: usize,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            protocol,
            gate: Gate::new(limits),
            exhausted: AtomicUsize::new(0),
            epoch: Instant::now(),
            beats: (0..listeners).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    pub(crate) fn protocol_name(&self) -> &'static str {
        self.protocol.name()
    }

    /// Makes the child that serves a connection.
    pub(crate) fn start(&self, accepted: Accepted, mut permit: Permit) -> StartDynamicChild {
        permit.admit();
        Arc::clone(&self.protocol).start(accepted, permit)
    }

    pub(crate) fn tally(&self) -> &Tally {
        self.gate.tally()
    }

    pub(crate) fn counts(&self) -> TallyCounts {
        self.tally().counts(self.gate.active())
    }

    /// An acceptor finds no room for another socket. Said once for all of them, until the last one goes on.
    pub(crate) fn runs_out(&self, error: &io::Error) {
        if self.exhausted.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(service = %self.id, %error, "cannot accept; new readers wait");
        }
    }

    /// It has accepted everybody who waited.
    pub(crate) fn goes_on(&self) {
        if self.gives_up_waiting() {
            tracing::warn!(service = %self.id, "accepts again; nobody waits");
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
