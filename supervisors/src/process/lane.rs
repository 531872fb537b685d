//! The lane beside the mailbox: what is asked of a process itself (`sys`), and whether it holds still or is traced.

use std::mem;
use std::sync::atomic::Ordering;

use tokio::sync::broadcast;

use super::{Core, SIGNALLED, SUSPENDED, TRACED};
use crate::sys::{Request, SYS_REQUESTS_MAX, SysError, TRACE_MAX, Traced};

impl Core {
    /// Puts a request into the system lane.
    pub(crate) fn request(&self, request: Request) -> Result<(), SysError> {
        let mut state = self.state();
        if state.dead.is_some() {
            return Err(SysError::NoProc);
        }
        let requests = &mut state.ties().requests;
        requests.retain(|request| !request.reply.is_closed());
        if requests.len() >= SYS_REQUESTS_MAX {
            return Err(SysError::TooManyRequests);
        }
        requests.push(request);
        self.interrupt(state);
        Ok(())
    }

    /// What came through the system lane, in order.
    pub(crate) fn take_requests(&self) -> Vec<Request> {
        let mut state = self.state();
        state
            .known_ties()
            .map_or_else(Vec::new, |ties| mem::take(&mut ties.requests))
    }

    /// Leaves what came through the system lane for the next turn.
    pub(crate) fn put_off_requests(&self) {
        let mut state = self.state();
        if state
            .known_ties()
            .is_some_and(|ties| !ties.requests.is_empty())
        {
            self.control.fetch_or(SIGNALLED, Ordering::AcqRel);
        }
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.control.load(Ordering::Relaxed) & SUSPENDED != 0
    }

    pub(crate) fn set_suspended(&self, is_suspended: bool) {
        if is_suspended {
            self.control.fetch_or(SUSPENDED, Ordering::AcqRel);
        } else {
            self.control.fetch_and(!SUSPENDED, Ordering::AcqRel);
        }
    }

    pub(crate) fn is_traced(&self) -> bool {
        self.control.load(Ordering::Relaxed) & TRACED != 0
    }

    /// Hears of what the process does from now on; `None` if it is dead.
    pub(crate) fn trace(&self) -> Option<broadcast::Receiver<Traced>> {
        let mut state = self.state();
        if state.dead.is_some() {
            return None;
        }
        let tracer = state
            .ties()
            .tracer
            .get_or_insert_with(|| broadcast::Sender::new(TRACE_MAX));
        let receiver = tracer.subscribe();
        self.control.fetch_or(TRACED, Ordering::AcqRel);
        Some(receiver)
    }

    /// Where the process is to tell what it does; `None` if nobody listens any more.
    pub(crate) fn tracer(&self) -> Option<broadcast::Sender<Traced>> {
        let mut state = self.state();
        let tracer = &mut state.known_ties()?.tracer;
        if tracer
            .as_ref()
            .is_some_and(|tracer| tracer.receiver_count() == 0)
        {
            *tracer = None;
            self.control.fetch_and(!TRACED, Ordering::AcqRel);
        }
        tracer.clone()
    }
}
