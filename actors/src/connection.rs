//! [`Connection`]: recites the poem to one reader.
//!
//! Started by the listener that accepted the reader (or its steward) as the protocol says, as a temporary child of the
//! dynamic supervisor of that arbiter; nobody restarts it, for its socket cannot be had a second time. Talks to nobody but
//! the reader. Never copies the poem, and never lets a crash look like the end of one:
//!
//! - While the poem is unfinished the socket is armed (`SO_LINGER` 0): a panic, a kill, a forced drain and the death of
//!   the whole program all reach the reader as a reset, not as an end.
//! - When the kernel has every byte, it is disarmed, and the end is orderly: shut down the sending side, then read and
//!   forget what the reader says until it leaves, within bounds. A plain close would turn anything the reader said (an
//!   HTTP request, say) into a reset that destroys what it has not read yet.
//!
//! Where a proxy's header or TLS lies between the socket and the poem, the connection deals with it first, within its
//! limits; no acceptor ever waits for a peer. TLS says `close_notify` at the orderly end and never after a crash.
//!
//! The socket is not registered with the arbiter's reactor until a write does not fit. A fast poem never needs that; a
//! slow one lives on one timer, and a held reader costs no more memory than that.

mod line;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use actix::fut::{ActorFuture, ActorFutureExt, wrap_future};
use actix::{Actor, AsyncContext, Handler, Message, MessageResult};
use byron_supervisors::{Context, CustomFault, ExitReason};
use bytes::{Buf, Bytes};
use tokio::time::{Instant, Sleep};

use self::line::{Discarded, Line};
use crate::address::Address;
use crate::gate::{Fate, Permit};
use crate::recital::Manner;
use crate::stream::{Accepted, LINGER_BYTES_MAX, OpenError};
use crate::tally::Tally;

/// The first pause before a look whether the reader has left; each is twice the one before. There is one before the first
/// look too: nobody has left in the microseconds since the end was said, and a look costs as much as any system call.
const LINGER_LOOK: Duration = Duration::from_millis(10);

/// The longest of those pauses.
const LINGER_LOOK_MAX: Duration = Duration::from_millis(160);

/// How many writes one turn may make before the arbiter's other actors run.
const WRITES_PER_TURN: u32 = 16;

/// The bytes one write offers to the kernel.
const WRITE_BYTES_MAX: usize = 1 << 20;

/// The fault that connections know besides those of every process: the peer is cut off. The reader of a server's poem at
/// some byte of it, the same for the same seed; any other peer before it is answered.
pub const RESET: &str = "reset";

/// For an actor that has a peer which is not to be answered: whether it is cut off. Its stream is to be dropped then.
pub(crate) fn is_cut_off<A: Actor<Context = Context<A>>>(ctx: &mut Context<A>) -> bool {
    let Some(fault) = ctx.take_fault(RESET) else {
        return false;
    };
    // By a future: else it were a start that failed.
    ctx.spawn(
        wrap_future(async { fault })
            .map(|fault, _: &mut A, ctx: &mut Context<A>| ctx.suffer(fault)),
    );
    true
}

/// Recites a poem to one reader.
pub struct Connection {
    line: Line,
    /// What the kernel does not have yet.
    left: Bytes,
    phase: Phase,
    sleep: Option<Pin<Box<Sleep>>>,
    manner: Arc<Manner>,
    permit: Permit,
    /// Failures are rehearsed: `left` was cut short, and its end is a reset.
    cut: Option<Box<CustomFault>>,
}

/// A reader was not served.
enum Failure {
    /// It never got as far as the poem.
    Open(OpenError),
    Io(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

enum Phase {
    /// Whatever lies between the socket and the poem has its say.
    Opening,
    /// The next bytes are due; of the current chunk so many are left.
    Reciting { due: Instant, chunk_left: usize },
    /// A write did not fit; the timer says how long it may take until one does.
    Blocked { due: Instant, chunk_left: usize },
    /// Everything is written; the last of it waits for the kernel to take it.
    Closing { since: Instant, is_taken: bool },
    /// The kernel has everything; waiting for the reader to leave. It was looked so often whether it has, and it said so
    /// many bytes.
    Lingering {
        until: Instant,
        looks: u32,
        said: u32,
    },
}

/// The reader did not read for as long as the server allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the reader read nothing for {0:?}")]
pub struct WriteTimeout(pub Duration);

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("peer_addr", &self.line.peer_addr())
            .field("left", &self.left.len())
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// For a reader who was just accepted.
    pub(crate) fn new(
        accepted: Accepted,
        text: Bytes,
        manner: Arc<Manner>,
        permit: Permit,
    ) -> Self {
        Self {
            line: accepted.into(),
            left: text,
            phase: Phase::Opening,
            sleep: None,
            manner,
            permit,
            cut: None,
        }
    }

    /// Failures are rehearsed: recites up to some byte, and then cuts the reader off.
    fn cut_short(&mut self, fault: CustomFault) {
        let bytes = fault.place_of(self.left.len() as u64);
        // Shorter than what is in memory.
        self.left.truncate(bytes as usize);
        self.cut = Some(Box::new(fault));
    }

    /// Recites as far as it goes now; ready when it is over.
    fn turn(&mut self, task: &mut TaskContext<'_>) -> Poll<Result<Fate, Failure>> {
        // A turn is short: one look at the clock does for all of it.
        let now = Instant::now();
        for _ in 0..WRITES_PER_TURN {
            match self.phase {
                Phase::Opening => {
                    ready!(self.line.poll_open(task)).map_err(Failure::Open)?;
                    self.phase = Phase::Reciting {
                        due: now,
                        chunk_left: 0,
                    };
                }
                Phase::Reciting { due, chunk_left } => {
                    ready!(self.recite(due, chunk_left, now, task))?;
                }
                Phase::Blocked { due, chunk_left } => {
                    if !ready!(self.unblock(task))? {
                        return Poll::Ready(Ok(Fate::TimedOut));
                    }
                    self.phase = Phase::Reciting { due, chunk_left };
                }
                Phase::Closing { since, is_taken } => {
                    if !ready!(self.close(since, is_taken, now, task))? {
                        return Poll::Ready(Ok(Fate::TimedOut));
                    }
                }
                Phase::Lingering { until, looks, said } => {
                    return self.linger(until, looks, said, now, task).map(Ok);
                }
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }

    /// One write, when it is due; or the end of the poem.
    fn recite(
        &mut self,
        mut due: Instant,
        mut chunk_left: usize,
        now: Instant,
        task: &mut TaskContext<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left.is_empty() {
            if self.cut.is_some() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            self.phase = Phase::Closing {
                since: now,
                is_taken: false,
            };
            return Poll::Ready(Ok(()));
        }
        if chunk_left == 0 {
            match self.manner.pace {
                None => chunk_left = self.left.len(),
                Some(pace) => {
                    ready!(self.sleep_until(due, now, task));
                    (chunk_left, due) = pace.chunk(self.left.len(), due, now);
                }
            }
        }
        let bytes = &self.left[..chunk_left.min(WRITE_BYTES_MAX)];
        // A reader who is to be cut off hears what comes before the cut.
        let is_last = bytes.len() == self.left.len() && self.cut.is_none();
        let Poll::Ready(outcome) = self.line.poll_write(bytes, is_last, task) else {
            self.phase = Phase::Blocked { due, chunk_left };
            self.set_sleep(now + self.manner.write_timeout);
            return Poll::Ready(Ok(()));
        };
        match outcome {
            Ok(written) => {
                Tally::add(&self.permit.tally().bytes, written as u64);
                self.left.advance(written);
                chunk_left -= written;
                let due = match self.manner.pace {
                    Some(pace) if chunk_left == 0 => pace.next_due(due, now),
                    _ => due,
                };
                self.phase = Phase::Reciting { due, chunk_left };
                Poll::Ready(Ok(()))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    /// Waits until the kernel takes bytes again; false if the reader let us wait too long.
    fn unblock(&mut self, task: &mut TaskContext<'_>) -> Poll<io::Result<bool>> {
        if self.line.poll_writable(task)?.is_ready() {
            self.sleep = None;
            return Poll::Ready(Ok(true));
        }
        if let Some(limit) = &mut self.sleep {
            ready!(limit.as_mut().poll(task));
        }
        Poll::Ready(Ok(false))
    }

    /// Ends the poem once the kernel has every byte: from there on, a close is an end. False if the reader let us wait
    /// too long.
    fn close(
        &mut self,
        since: Instant,
        mut is_taken: bool,
        now: Instant,
        task: &mut TaskContext<'_>,
    ) -> Poll<io::Result<bool>> {
        let mut is_ended = false;
        if !is_taken && self.line.poll_flush(task)?.is_ready() {
            is_taken = true;
            self.phase = Phase::Closing { since, is_taken };
            // Counted before the reader can know that it has everything.
            Tally::add(&self.permit.tally().lingering, 1);
            self.permit.settle(Fate::Served);
        }
        if is_taken {
            is_ended = self.line.poll_end(task)?.is_ready();
        }
        if !is_ended {
            ready!(self.sleep_until(since + self.manner.write_timeout, now, task));
            return Poll::Ready(Ok(false));
        }
        let until = now + self.manner.linger_timeout;
        self.phase = Phase::Lingering {
            until,
            looks: 0,
            said: 0,
        };
        self.set_sleep(until.min(now + LINGER_LOOK));
        Poll::Ready(Ok(true))
    }

    /// Waits for the reader to leave.
    fn linger(
        &mut self,
        until: Instant,
        mut looks: u32,
        mut said: u32,
        now: Instant,
        task: &mut TaskContext<'_>,
    ) -> Poll<Fate> {
        loop {
            if let Some(pause) = &mut self.sleep {
                ready!(pause.as_mut().poll(task));
            }
            match self.line.discard(LINGER_BYTES_MAX - said as usize) {
                Ok(Discarded::Said(bytes)) => said += bytes as u32,
                Ok(Discarded::Left) => return Poll::Ready(Fate::Served),
                Err(_) => return Poll::Ready(Fate::ClientGone),
            }
            if said as usize >= LINGER_BYTES_MAX || now >= until {
                return Poll::Ready(Fate::Served);
            }
            let pause = LINGER_LOOK.saturating_mul(2_u32.saturating_pow(looks));
            looks += 1;
            self.phase = Phase::Lingering { until, looks, said };
            self.set_sleep(until.min(now + pause.min(LINGER_LOOK_MAX)));
        }
    }

    /// One timer for everything: a sleep that is under way is for the moment that was asked for first.
    fn sleep_until(
        &mut self,
        moment: Instant,
        now: Instant,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        let is_under_way = self.sleep.as_ref().is_some_and(|sleep| !sleep.is_elapsed());
        if !is_under_way {
            if moment <= now {
                return Poll::Ready(());
            }
            self.set_sleep(moment);
        }
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().poll(task),
            None => Poll::Ready(()),
        }
    }

    /// Sets the timer, which stays where it is from chunk to chunk.
    fn set_sleep(&mut self, moment: Instant) {
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(moment),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(moment))),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let is_lingering = matches!(
            self.phase,
            Phase::Lingering { .. } | Phase::Closing { is_taken: true, .. }
        );
        if is_lingering {
            Tally::subtract(&self.permit.tally().lingering, 1);
        }
    }
}

impl Actor for Connection {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.expose_state();
        if let Some(fault) = ctx.take_fault(RESET) {
            self.cut_short(fault);
        }
        ctx.spawn(Turns);
    }
}

/// Gives the connection its turns. Without fields: boxing it allocates nothing.
struct Turns;

impl ActorFuture<Connection> for Turns {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        connection: &mut Connection,
        ctx: &mut Context<Connection>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        let outcome = ready!(connection.turn(task));
        if outcome.is_err()
            && connection.left.is_empty()
            && let Some(fault) = connection.cut.take()
        {
            connection.permit.settle(Fate::Reset);
            ctx.suffer(*fault);
            return Poll::Ready(());
        }
        let (fate, reason) = match outcome {
            Ok(Fate::TimedOut) => {
                let limit = connection.manner.write_timeout;
                (Fate::TimedOut, ExitReason::shutdown(WriteTimeout(limit)))
            }
            Ok(fate) => (fate, ExitReason::Normal),
            Err(Failure::Open(error)) => {
                tracing::info!(%error, "refused before the poem");
                (Fate::Refused, ExitReason::shutdown(error))
            }
            Err(Failure::Io(error)) if is_reader_gone(&error) => {
                (Fate::ClientGone, ExitReason::Normal)
            }
            Err(Failure::Io(error)) => (Fate::Reset, ExitReason::error(error)),
        };
        connection.permit.settle(fate);
        ctx.exit(reason);
        Poll::Ready(())
    }
}

/// What a write says when there is nobody to write to any more.
fn is_reader_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
            | io::ErrorKind::TimedOut
    )
}

/// Asks a connection how far it is.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Progress")]
pub struct HowFar;

/// How far a connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The reader, or whoever a proxy speaks for; `None` if it has left already, or has not said yet who it is.
    pub peer_addr: Option<Address>,
    /// How many bytes are still to be said.
    pub left_bytes: usize,
}

impl Handler<HowFar> for Connection {
    type Result = MessageResult<HowFar>;

    fn handle(&mut self, _: HowFar, _: &mut Context<Self>) -> Self::Result {
        MessageResult(Progress {
            peer_addr: self.line.peer_addr(),
            left_bytes: self.left.len(),
        })
    }
}

/// Makes a connection forget its lines: a panic on purpose, for demonstrations and rehearsals.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Stumble;

impl Handler<Stumble> for Connection {
    type Result = ();

    fn handle(&mut self, _: Stumble, _: &mut Context<Self>) {
        panic!(
            "forgot the next line, {} bytes before the end",
            self.left.len()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_small() {
        let connection = size_of::<Connection>();
        assert!(connection <= 128, "it has {connection} bytes");
    }
}
