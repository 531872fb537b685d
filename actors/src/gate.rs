//! The gate of a service: who may come in, who is inside, and what became of them. Counting only; it knows no sockets
//! and starts nothing.
//!
//! Every acceptor asks the gate before it accepts, so that a reader who finds no room waits in the kernel's queue, and
//! every connection owns a [`Permit`] that is given back when it is dropped, however the connection died.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::protocol::Limits;
use crate::tally::Tally;

/// Names an acceptor at the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AcceptorId(u64);

impl AcceptorId {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// What the gate answers.
#[derive(Debug)]
pub(crate) enum Entry {
    /// Come in.
    Open(Permit),
    /// No room, or suspended; the acceptor is woken when that changes.
    Full,
    /// Nobody comes in any more.
    Closed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Open,
    Suspended,
    Closed,
}

struct Waiting {
    acceptor: AcceptorId,
    waker: Waker,
    is_parked: bool,
}

struct State {
    mode: Mode,
    active: usize,
    active_max: usize,
    /// How many readers are still to be served, if that is limited. One who leaves early does not count.
    unserved: Option<u64>,
    acceptors: Vec<Waiting>,
}

impl State {
    fn has_room(&self) -> bool {
        self.active < self.active_max
            && self
                .unserved
                .is_none_or(|unserved| (self.active as u64) < unserved)
    }

    fn wake(&mut self, everybody: bool) {
        for acceptor in &mut self.acceptors {
            if everybody || acceptor.is_parked {
                acceptor.is_parked = false;
                acceptor.waker.wake_by_ref();
            }
        }
    }
}

/// The gate; its copies are one gate.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    changed: Notify,
    tally: Tally,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        f.debug_struct("Gate")
            .field("mode", &state.mode)
            .field("active", &state.active)
            .finish_non_exhaustive()
    }
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Self {
        let unserved = limits.connections;
        Self(Arc::new(Inner {
            state: Mutex::new(State {
                mode: if unserved == Some(0) {
                    Mode::Closed
                } else {
                    Mode::Open
                },
                active: 0,
                active_max: limits.connections_max,
                unserved,
                acceptors: Vec::new(),
            }),
            changed: Notify::new(),
            tally: Tally::default(),
        }))
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.0.tally
    }

    /// Asks to let one reader in.
    pub(crate) fn enter(&self, acceptor: AcceptorId, waker: &Waker) -> Entry {
        let mut state = self.0.state.lock();
        if state.mode == Mode::Closed {
            return Entry::Closed;
        }
        let is_open = state.mode == Mode::Open && state.has_room();
        let known = state
            .acceptors
            .iter_mut()
            .find(|known| known.acceptor == acceptor);
        match known {
            Some(known) => {
                known.waker.clone_from(waker);
                known.is_parked = !is_open;
            }
            None => state.acceptors.push(Waiting {
                acceptor,
                waker: waker.clone(),
                is_parked: !is_open,
            }),
        }
        if !is_open {
            return Entry::Full;
        }
        state.active += 1;
        drop(state);
        Entry::Open(Permit {
            gate: self.clone(),
            fate: None,
        })
    }

    /// An acceptor goes away.
    pub(crate) fn forget(&self, acceptor: AcceptorId) {
        let mut state = self.0.state.lock();
        state.acceptors.retain(|known| known.acceptor != acceptor);
    }

    /// How many readers are inside.
    pub(crate) fn active(&self) -> usize {
        self.0.state.lock().active
    }

    /// Lets nobody in for a while. Nothing can reopen a closed gate.
    pub(crate) fn suspend(&self) {
        self.set_mode(Mode::Suspended);
    }

    /// Ends a suspension.
    pub(crate) fn resume(&self) {
        self.set_mode(Mode::Open);
    }

    /// Lets nobody in any more; those inside stay.
    pub(crate) fn close(&self) {
        self.set_mode(Mode::Closed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.state.lock().mode == Mode::Closed
    }

    fn set_mode(&self, mode: Mode) {
        let mut state = self.0.state.lock();
        if state.mode != Mode::Closed {
            state.mode = mode;
        }
        state.wake(true);
        drop(state);
        self.0.changed.notify_waiters();
    }

    /// Waits until the gate is closed and nobody is inside.
    pub(crate) async fn emptied(&self) {
        self.wait_until(|state| state.mode == Mode::Closed && state.active == 0)
            .await;
    }

    async fn wait_until(&self, is_so: impl Fn(&State) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            // Registered before the look, or a change between the two would be missed.
            changed.as_mut().enable();
            if is_so(&self.0.state.lock()) {
                return;
            }
            changed.await;
        }
    }

    fn leave(&self, is_served: bool) {
        let mut state = self.0.state.lock();
        state.active -= 1;
        if is_served {
            state.unserved = state.unserved.map(|unserved| unserved.saturating_sub(1));
        }
        let closes = state.unserved == Some(0) && state.mode != Mode::Closed;
        if closes {
            state.mode = Mode::Closed;
        }
        state.wake(closes);
        let is_empty = state.active == 0;
        drop(state);
        if is_empty || closes {
            self.0.changed.notify_waiters();
        }
    }
}

/// What became of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The peer has everything. Counts where the number of connections to serve is limited.
    Served,
    /// The peer asked for what cannot be had, or never got as far as asking (no proxy's header, no TLS), and the connection
    /// is closed on that.
    Refused,
    /// The peer left before the end.
    ClientGone,
    /// The peer did not read, or did not speak, for as long as it may.
    TimedOut,
    /// We cut it off: a crash, a kill, the end of a drain, or an error of ours.
    Reset,
}

/// One connection's place inside, and how it is counted. Dropping it gives the place back; a connection that is dropped
/// before its fate is [settled](Self::settle) was cut off by us.
pub struct Permit {
    gate: Gate,
    /// `None` until somebody comes in with it.
    fate: Option<Fate>,
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.fate).finish()
    }
}

impl Permit {
    /// Says what became of the connection; the last word counts.
    pub fn settle(&mut self, fate: Fate) {
        self.fate = Some(fate);
    }

    /// Waits until the service lets nobody in any more: a connection that is idle then may as well end.
    pub fn closing(&self) -> impl Future<Output = ()> + use<> {
        let gate = self.gate.clone();
        async move { gate.wait_until(|state| state.mode == Mode::Closed).await }
    }

    /// Somebody comes in with it.
    pub(crate) fn admit(&mut self) {
        Tally::add(&self.tally().accepted, 1);
        self.fate = Some(Fate::Reset);
    }

    /// The counters of the service.
    pub(crate) fn tally(&self) -> &Tally {
        self.gate.tally()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let tally = self.gate.tally();
        let counter = match self.fate {
            None => None,
            Some(Fate::Served) => Some(&tally.served),
            Some(Fate::Refused) => Some(&tally.refused),
            Some(Fate::ClientGone) => Some(&tally.client_gone),
            Some(Fate::TimedOut) => Some(&tally.write_timeout),
            Some(Fate::Reset) => Some(&tally.reset),
        };
        if let Some(counter) = counter {
            Tally::add(counter, 1);
        }
        self.gate.leave(self.fate == Some(Fate::Served));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    fn gate(connections_max: usize, connections: Option<u64>) -> Gate {
        Gate::new(Limits {
            connections_max,
            connections,
        })
    }

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Acceptor {
        id: AcceptorId,
        bell: Arc<Bell>,
        gate: Gate,
    }

    impl Acceptor {
        fn at(gate: &Gate) -> Self {
            Self {
                id: AcceptorId::next(),
                bell: Arc::default(),
                gate: gate.clone(),
            }
        }

        fn enter(&self) -> Entry {
            self.gate
                .enter(self.id, &Waker::from(Arc::clone(&self.bell)))
        }

        fn permit(&self) -> Permit {
            match self.enter() {
                Entry::Open(permit) => permit,
                other => panic!("expected room, not {other:?}"),
            }
        }

        fn rings(&self) -> usize {
            self.bell.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_full_gate_parks_an_acceptor_and_a_leaving_reader_wakes_it() {
        let gate = gate(1, None);
        let (first, second) = (Acceptor::at(&gate), Acceptor::at(&gate));
        let permit = first.permit();
        assert!(matches!(second.enter(), Entry::Full));
        drop(permit);
        assert_eq!((first.rings(), second.rings()), (0, 1));
        drop(second.permit());
        assert_eq!(gate.active(), 0);
    }

    #[test]
    fn a_reader_who_leaves_early_does_not_count_as_served() {
        let gate = gate(9, Some(1));
        let acceptor = Acceptor::at(&gate);
        let permit = acceptor.permit();
        assert!(matches!(acceptor.enter(), Entry::Full));
        drop(permit);
        assert!(!gate.is_closed());
        let mut permit = acceptor.permit();
        permit.settle(Fate::Served);
        drop(permit);
        assert!(matches!(acceptor.enter(), Entry::Closed));
    }

    #[test]
    fn a_suspended_gate_lets_nobody_in_until_resumed_and_a_closed_one_never() {
        let gate = gate(9, None);
        let acceptor = Acceptor::at(&gate);
        gate.suspend();
        assert!(matches!(acceptor.enter(), Entry::Full));
        gate.resume();
        assert_eq!(acceptor.rings(), 1);
        drop(acceptor.permit());
        gate.close();
        gate.resume();
        assert!(matches!(acceptor.enter(), Entry::Closed));
    }

    #[tokio::test]
    async fn a_closed_gate_is_emptied_when_the_last_reader_leaves() {
        let gate = gate(9, None);
        let permit = Acceptor::at(&gate).permit();
        gate.close();
        let mut emptied = std::pin::pin!(gate.emptied());
        let is_early = tokio::select! { biased; () = &mut emptied => true, () = std::future::ready(()) => false };
        assert!(!is_early);
        drop(permit);
        emptied.await;
    }
}
