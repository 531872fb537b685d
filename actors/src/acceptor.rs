//! The acceptor: the loop that takes readers out of a queue and starts a connection for each.
//!
//! A future, not an actor: a listener runs one on its own queue, a steward one on a queue whose listener stalls. It asks
//! the gate before it accepts, takes connections in bounded batches and then lets the arbiter's other actors run, and pauses
//! when the system has no descriptors or memory left.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use byron_supervisors::{ActorRef, DynamicSupervisor, Name, whereis_actor};
use tokio::time::Sleep;

use crate::gate::{AcceptorId, Entry};
use crate::service::Service;
use crate::socket::{Accepting, Lent, Queue};
use crate::stream::{Accepted, Front};
use crate::tally::Tally;

/// How many readers are accepted before the arbiter's other actors run: a flood of new readers must not starve those
/// who are listening already.
pub const ACCEPT_BATCH: u32 = 64;

/// How long accepting pauses when the system has run out of descriptors or memory, or when there is nobody to take a
/// reader. Readers wait in the queue meanwhile.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Accepts from one queue until the gate is closed.
pub(crate) struct Acceptor {
    id: AcceptorId,
    queue: Queue,
    /// What lies between a socket and the protocol.
    front: Option<Arc<Front>>,
    service: Arc<Service>,
    /// The name of the supervisor that takes the connections.
    connections: Name,
    supervisor: Option<ActorRef<DynamicSupervisor>>,
    pause: Option<Pin<Box<Sleep>>>,
    /// There was no room for the last reader, and nobody has seen the queue empty since.
    is_exhausted: bool,
    is_steward: bool,
}

impl Acceptor {
    pub(crate) fn new(
        lent: Lent,
        front: Option<Arc<Front>>,
        service: Arc<Service>,
        connections: Name,
        is_steward: bool,
    ) -> io::Result<Self> {
        Ok(Self {
            id: AcceptorId::next(),
            queue: Queue::new(lent)?,
            front,
            service,
            connections,
            supervisor: None,
            pause: None,
            is_exhausted: false,
            is_steward,
        })
    }

    /// The supervisor of the connections, by name: a restarted one is another process.
    fn find_supervisor(&mut self) -> Option<ActorRef<DynamicSupervisor>> {
        if self
            .supervisor
            .as_ref()
            .is_none_or(|known| !known.is_alive())
        {
            self.supervisor = whereis_actor(&self.connections);
        }
        self.supervisor.clone()
    }

    fn begin_pause(&mut self) {
        self.pause = Some(Box::pin(tokio::time::sleep(ACCEPT_PAUSE)));
    }
}

impl Future for Acceptor {
    /// `Ok` when the gate is closed; an error that no waiting mends otherwise.
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let mut accepted = 0;
        while accepted < ACCEPT_BATCH {
            if let Some(pause) = &mut this.pause {
                // The gate can close meanwhile, and wakes us.
                if pause.as_mut().poll(task).is_pending() && !this.service.gate.is_closed() {
                    return Poll::Pending;
                }
                this.pause = None;
            }
            let permit = match this.service.gate.enter(this.id, task.waker()) {
                Entry::Open(permit) => permit,
                Entry::Closed => return Poll::Ready(Ok(())),
                Entry::Full => {
                    Tally::add(&this.service.tally().parked, 1);
                    return Poll::Pending;
                }
            };
            let Some(supervisor) = this.find_supervisor() else {
                drop(permit);
                this.begin_pause();
                continue;
            };
            match this.queue.poll_accept(task) {
                Poll::Pending => {
                    if std::mem::take(&mut this.is_exhausted) {
                        this.service.goes_on();
                    }
                    return Poll::Pending;
                }
                Poll::Ready(Ok(accepting)) => {
                    let socket = match accepting {
                        Accepting::Next(socket) => socket,
                        Accepting::Last(socket) => {
                            this.service.gate.close();
                            socket
                        }
                    };
                    accepted += 1;
                    if this.is_steward {
                        Tally::add(&this.service.tally().stewarded, 1);
                    }
                    let accepted = Accepted::new(socket, this.front.clone());
                    supervisor.do_send(this.service.start(accepted, permit));
                }
                Poll::Ready(Err(error)) => match what_to_do(&error) {
                    Remedy::GoOn => accepted += 1,
                    Remedy::Pause => {
                        Tally::add(&this.service.tally().exhausted, 1);
                        if !std::mem::replace(&mut this.is_exhausted, true) {
                            this.service.runs_out(&error);
                        }
                        drop(permit);
                        this.begin_pause();
                    }
                    Remedy::GiveUp => return Poll::Ready(Err(error)),
                },
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.service.gate.forget(self.id);
        if self.is_exhausted {
            self.service.gives_up_waiting();
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// The reader is gone already, or its network is broken; the next one is not.
    GoOn,
    /// There is no room for another socket now.
    Pause,
    /// The listening socket itself is broken.
    GiveUp,
}

/// `accept(2)` hands down the errors of the new socket, and those say nothing about the listening one.
fn what_to_do(error: &io::Error) -> Remedy {
    const EXHAUSTED: [i32; 3] = [
        /* ENFILE */ 23, /* EMFILE */ 24, /* ENOMEM */ 12,
    ];
    #[cfg(target_os = "linux")]
    const NO_BUFFERS: i32 = 105;
    #[cfg(not(target_os = "linux"))]
    const NO_BUFFERS: i32 = 55;
    const BROKEN: [i32; 2] = [/* EBADF */ 9, /* EINVAL */ 22];

    match error.raw_os_error() {
        Some(code) if EXHAUSTED.contains(&code) || code == NO_BUFFERS => Remedy::Pause,
        Some(code) if BROKEN.contains(&code) => Remedy::GiveUp,
        _ => Remedy::GoOn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_broken_listening_socket_is_given_up() {
        let of = |code| what_to_do(&io::Error::from_raw_os_error(code));
        assert_eq!(
            what_to_do(&io::ErrorKind::ConnectionAborted.into()),
            Remedy::GoOn
        );
        if cfg!(target_os = "linux") {
            for code in [23, 24, 12, 105] {
                assert_eq!(of(code), Remedy::Pause, "{code}");
            }
            for code in [103, 71, 92, 112, 113, 101] {
                assert_eq!(of(code), Remedy::GoOn, "{code}");
            }
            assert_eq!((of(9), of(22)), (Remedy::GiveUp, Remedy::GiveUp));
        }
    }
}
