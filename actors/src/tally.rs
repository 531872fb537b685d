//! What a server counts: [`Tally`], one atomic addition per event, readable from anywhere.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of one server, from its start; they survive the restart of any of its actors.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) accepted: AtomicU64,
    pub(crate) served: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) client_gone: AtomicU64,
    pub(crate) write_timeout: AtomicU64,
    pub(crate) reset: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) parked: AtomicU64,
    pub(crate) exhausted: AtomicU64,
    pub(crate) stewarded: AtomicU64,
    pub(crate) stalled: AtomicU64,
    pub(crate) lingering: AtomicU64,
}

/// What a server has counted, as it was at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TallyCounts {
    /// Readers accepted.
    pub accepted: u64,
    /// Readers to whom every byte was handed.
    pub served: u64,
    /// Peers who asked for what cannot be had, or never got as far as asking.
    pub refused: u64,
    /// Readers who left before the end.
    pub client_gone: u64,
    /// Readers cut off because they did not read.
    pub write_timeout: u64,
    /// Readers cut off by us: a crash, a kill, or the end of a drain.
    pub reset: u64,
    /// Bytes of poetry handed to the kernel.
    pub bytes: u64,
    /// Readers who are here now.
    pub active: u64,
    /// Those of them who have been sent everything and have not left yet.
    pub lingering: u64,
    /// How often a listener found no room, and parked.
    pub parked: u64,
    /// How often a listener found no descriptor or no memory, and paused.
    pub exhausted: u64,
    /// Readers accepted by a steward in place of a listener that stalled.
    pub stewarded: u64,
    /// Listeners in whose place a steward accepts now.
    pub stalled: u64,
}

impl Tally {
    pub(crate) fn add(counter: &AtomicU64, number: u64) {
        counter.fetch_add(number, Ordering::Relaxed);
    }

    pub(crate) fn subtract(counter: &AtomicU64, number: u64) {
        counter.fetch_sub(number, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self, active: usize) -> TallyCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TallyCounts {
            accepted: read(&self.accepted),
            served: read(&self.served),
            refused: read(&self.refused),
            client_gone: read(&self.client_gone),
            write_timeout: read(&self.write_timeout),
            reset: read(&self.reset),
            bytes: read(&self.bytes),
            active: active as u64,
            lingering: read(&self.lingering),
            parked: read(&self.parked),
            exhausted: read(&self.exhausted),
            stewarded: read(&self.stewarded),
            stalled: read(&self.stalled),
        }
    }
}
