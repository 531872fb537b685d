//! [`Reader`]: recites a poem to one reader while it is still being fetched.
//!
//! Started by the listener that accepted the reader, as the proxy's protocol says, when there is no whole poem to recite
//! (which a [`Connection`](crate::Connection) would do). Reads from its seat in the flight: what is here at once, then what
//! comes. Nobody restarts it. Until the flight is whole and this reader has it all, the stream is armed: if the upstream
//! breaks off, or anything here crashes, the reader is reset and never sees an end.
//!
//! While there is nothing to say it listens whether the reader leaves, for a fetch that nobody waits for is cancelled.
//! TCP does not say whether somebody who has closed its sending side still reads. Such a reader stays, but does not keep
//! the fetch alive on its own, unless it has taken bytes since without a complaint.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::{ActorFutureExt, wrap_future};
use actix::{Actor, AsyncContext};
use byron_supervisors::{Context, ExitReason};
use bytes::{Buf, Bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

use super::flight::{Broken, Seat};
use crate::connection::{WriteTimeout, is_cut_off};
use crate::download::DownloadError;
use crate::gate::{Fate, Permit};
use crate::recital::Manner;
use crate::stream::{Accepted, LINGER_BYTES_MAX, OpenError, Stream};
use crate::tally::Tally;

/// How long a reader that has closed its sending side is believed to read on, without a sign of it.
pub const HALF_CLOSED_PATIENCE: Duration = Duration::from_millis(500);

/// How soon it is seen whether such a reader has complained about bytes that it was sent.
const HALF_CLOSED_LOOK: Duration = Duration::from_millis(100);

/// What is read and forgotten in one call.
const DISCARD_BYTES: usize = 4096;

/// How a reader is treated.
#[derive(Debug, Clone)]
pub(crate) struct Manners {
    pub(crate) manner: Arc<Manner>,
    /// How long it waits for the next bytes, whatever the fetch is about; longer than any of the fetch's own limits.
    pub(crate) wait_timeout: Duration,
}

/// Recites a poem as it comes.
pub struct Reader(Option<Reading>);

struct Reading {
    accepted: Accepted,
    permit: Permit,
    seat: Seat,
    or_kept: Option<Bytes>,
    manners: Manners,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

/// Why a reader did not get its poem.
#[derive(Debug, thiserror::Error)]
enum ReadingError {
    #[error("the poem does not come: {0}")]
    Broken(#[from] Broken),
    #[error("no more of the poem within {0:?}")]
    Overdue(Duration),
    #[error(transparent)]
    WriteTimeout(#[from] WriteTimeout),
    #[error("the reader has left")]
    ReaderGone,
    #[error(transparent)]
    Refused(OpenError),
    #[error(transparent)]
    Io(io::Error),
}

impl From<OpenError> for ReadingError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Io(error) => error.into(),
            error => Self::Refused(error),
        }
    }
}

impl From<io::Error> for ReadingError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::TimedOut => Self::ReaderGone,
            _ => Self::Io(error),
        }
    }
}

impl ReadingError {
    fn settle(self, permit: &mut Permit) -> ExitReason {
        let (fate, reason) = match self {
            Self::ReaderGone => (Fate::ClientGone, ExitReason::Normal),
            Self::Refused(error) => (Fate::Refused, ExitReason::shutdown(error)),
            Self::WriteTimeout(error) => (Fate::TimedOut, ExitReason::shutdown(error)),
            // Said once by the fetch, not by each of its readers.
            Self::Broken(error) => (Fate::Reset, ExitReason::shutdown(error)),
            error @ (Self::Overdue(_) | Self::Io(_)) => (Fate::Reset, ExitReason::error(error)),
        };
        permit.settle(fate);
        reason
    }
}

impl Reader {
    pub(crate) fn new(
        accepted: Accepted,
        permit: Permit,
        seat: Seat,
        or_kept: Option<Bytes>,
        manners: Manners,
    ) -> Self {
        Self(Some(Reading {
            accepted,
            permit,
            seat,
            or_kept,
            manners,
        }))
    }
}

impl Actor for Reader {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let reading = self.0.take().expect("it is started once");
        if is_cut_off(ctx) {
            return;
        }
        ctx.spawn(wrap_future(reading.recite()).map(|reason, _: &mut Self, ctx| ctx.exit(reason)));
    }
}

impl Reading {
    async fn recite(self) -> ExitReason {
        let Self {
            accepted,
            mut permit,
            mut seat,
            or_kept,
            manners,
        } = self;
        let told = tell(accepted, &permit, &mut seat, or_kept, &manners).await;
        // The fetch is not kept alive by somebody who needs no more of it.
        drop(seat);
        let ended = match told {
            Ok(stream) => {
                permit.settle(Fate::Served);
                let _lingering = Lingering::count(&permit);
                stream.finish(manners.manner.linger_timeout).await
            }
            Err(error) => return error.settle(&mut permit),
        };
        match ended {
            Ok(()) => ExitReason::Normal,
            Err(error) => ReadingError::from(error).settle(&mut permit),
        }
    }
}

/// Says the poem as it comes, to its last byte, and gives back the stream that has it all.
async fn tell(
    accepted: Accepted,
    permit: &Permit,
    seat: &mut Seat,
    mut or_kept: Option<Bytes>,
    manners: &Manners,
) -> Result<Stream, ReadingError> {
    let mut listener = Listener {
        stream: accepted.open().await?,
        side: Side::Open { said: 0 },
    };
    loop {
        let bytes = match next(seat, &mut listener, manners.wait_timeout).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(listener.stream),
            // Nothing of the new poem was said: the old one will do, if there is one.
            Err(error @ (ReadingError::Broken(_) | ReadingError::Overdue(_)))
                if seat.place() == 0 =>
            {
                let kept = or_kept.take().ok_or(error)?;
                listener
                    .say(kept, permit, manners.manner.write_timeout)
                    .await?;
                return Ok(listener.stream);
            }
            Err(error) => return Err(error),
        };
        listener
            .say(bytes, permit, manners.manner.write_timeout)
            .await?;
    }
}

/// Waits for the next bytes, and for a sign that the reader has left.
async fn next(
    seat: &mut Seat,
    listener: &mut Listener,
    wait_timeout: Duration,
) -> Result<Option<Bytes>, ReadingError> {
    let until = Instant::now() + wait_timeout;
    loop {
        tokio::select! {
            biased;
            bytes = seat.next() => return Ok(bytes?),
            outcome = listener.listen() => outcome?,
            () = sleep_until(until) => return Err(ReadingError::Overdue(wait_timeout)),
        }
        seat.doubt(listener.may_have_left());
    }
}

/// A reader, and what is known of its side.
struct Listener {
    stream: Stream,
    side: Side,
}

#[derive(Debug, Clone, Copy)]
enum Side {
    /// It may speak; so many bytes were forgotten.
    Open { said: usize },
    /// It has closed its sending side, and perhaps everything.
    HalfClosed {
        since: Instant,
        /// When it was sent something after that, the first time.
        said_at: Option<Instant>,
    },
    /// It is not listened to any more: it has said too much, or has proved that it reads on.
    Ignored,
}

impl Listener {
    /// Says these bytes, for as long as the reader takes some of them now and then.
    async fn say(
        &mut self,
        mut bytes: Bytes,
        permit: &Permit,
        write_timeout: Duration,
    ) -> Result<(), ReadingError> {
        while !bytes.is_empty() {
            let written = timeout(write_timeout, self.stream.write(&bytes))
                .await
                .map_err(|_| WriteTimeout(write_timeout))??;
            if written == 0 {
                return Err(ReadingError::ReaderGone);
            }
            Tally::add(&permit.tally().bytes, written as u64);
            bytes.advance(written);
        }
        // What TLS holds back must not wait for the next bytes.
        timeout(write_timeout, self.stream.flush())
            .await
            .map_err(|_| WriteTimeout(write_timeout))??;
        if let Side::HalfClosed { said_at, .. } = &mut self.side {
            said_at.get_or_insert(Instant::now());
        }
        Ok(())
    }

    /// Ends when there is something to think about; fails when the reader has left.
    async fn listen(&mut self) -> Result<(), ReadingError> {
        match self.side {
            Side::Open { said } => {
                let mut bytes = [0; DISCARD_BYTES];
                self.side = match self.stream.read(&mut bytes).await? {
                    0 => Side::HalfClosed {
                        since: Instant::now(),
                        said_at: None,
                    },
                    read if said + read > LINGER_BYTES_MAX => Side::Ignored,
                    read => Side::Open { said: said + read },
                };
            }
            Side::HalfClosed { since, said_at } => {
                let now = Instant::now();
                sleep_until(next_look(since, said_at, now)).await;
                // Says nothing, but fails if bytes said before were answered by a reset.
                let _nothing = self.stream.write(&[]).await?;
                let is_proven =
                    said_at.is_some_and(|said_at| said_at + HALF_CLOSED_LOOK <= Instant::now());
                if is_proven {
                    self.side = Side::Ignored;
                }
            }
            Side::Ignored => std::future::pending().await,
        }
        Ok(())
    }

    fn may_have_left(&self) -> bool {
        match self.side {
            Side::HalfClosed { since, .. } => since + HALF_CLOSED_PATIENCE <= Instant::now(),
            Side::Open { .. } | Side::Ignored => false,
        }
    }
}

/// When to look again at a reader that has closed its sending side: soon, while its time runs; then now and then.
fn next_look(since: Instant, said_at: Option<Instant>, now: Instant) -> Instant {
    let doubted_at = since + HALF_CLOSED_PATIENCE;
    let due = match said_at {
        Some(said_at) => (said_at + HALF_CLOSED_LOOK).max(now),
        None => doubted_at,
    };
    if due > now || said_at.is_some() {
        due
    } else {
        now + HALF_CLOSED_PATIENCE
    }
}

/// Counts a reader who has been sent everything and has not left yet.
struct Lingering<'a>(&'a Permit);

impl<'a> Lingering<'a> {
    fn count(permit: &'a Permit) -> Self {
        Tally::add(&permit.tally().lingering, 1);
        Self(permit)
    }
}

impl Drop for Lingering<'_> {
    fn drop(&mut self) {
        Tally::subtract(&self.0.tally().lingering, 1);
    }
}

/// A reader for whom there is nothing: it is reset, and this says why.
#[derive(Debug)]
pub struct TurnedAway {
    _held: (Accepted, Permit),
    why: DownloadError,
}

impl TurnedAway {
    pub(crate) fn new(accepted: Accepted, permit: Permit, why: DownloadError) -> Self {
        Self {
            _held: (accepted, permit),
            why,
        }
    }
}

impl Actor for TurnedAway {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.exit(ExitReason::shutdown(self.why.clone()));
    }
}
