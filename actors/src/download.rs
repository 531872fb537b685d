//! [`Download`]: listens to one server, to the last line or to the first thing that goes wrong.
//!
//! One download is one attempt. It is started by the client under the downloads' supervisor, and its first act is to
//! report to the coordinator, which tells it what earlier attempts have passed on already. A failure that another
//! attempt may mend ends it as [`ExitReason::Error`], and its supervisor restarts it with backoff; one that no attempt
//! can mend ends it as `Shutdown`, for good. There is no retry loop here. Killing or stopping it closes its socket.
//!
//! Never decides what a person sees, and never passes a byte on twice.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::{ActorFutureExt, wrap_future};
use actix::{Actor, ActorContext, AsyncContext};
use byron_supervisors::{ActorRef, Context, ExitReason, Name, Pid, whereis_actor};
use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::address::Address;
use crate::connect::{ConnectError, Whereabouts, connect, error_text};
use crate::coordinator::{Attempt, Connected, Coordinator, Heard, HeardAll};
use crate::ear::{Ear, HearError};
use crate::framing::Framing;
use crate::netstring::frame;
use crate::poem::Title;
use crate::stream::Stream;
use crate::tls::{tls_error, tls_text};
use crate::wire::{Frame, PoemHash, Rereading};

/// How long an attempt may take to connect, if nothing else is said.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connected server may take to begin, if nothing else is said. A reader whose handshake was dropped from a
/// full queue believes that it is connected, and without this limit it would wait for ever.
pub const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a server may fall silent, if nothing else is said.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest poem that is listened to, if nothing else is said.
pub const POEM_BYTES_MAX: u64 = 1 << 40;

/// How many bytes of one poem may be on their way between its download and whoever takes the events; behind that the
/// server has to wait, and memory does not grow.
pub const IN_FLIGHT_BYTES_MAX: usize = 256 * 1024;

/// What one chunk counts at least, so that the number of chunks on their way is bounded too.
pub const CHUNK_BYTES_MIN: usize = 1024;

/// The credit of one poem: how much may be on its way.
pub(crate) fn credit() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(IN_FLIGHT_BYTES_MAX / CHUNK_BYTES_MIN))
}

fn credit_for(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(CHUNK_BYTES_MIN)).unwrap_or(u32::MAX)
}

/// How long a download waits for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// To be connected; over all addresses.
    pub connect_timeout: Duration,
    /// From the connection to the first byte.
    pub first_byte_timeout: Duration,
    /// From one byte to the next.
    pub idle_timeout: Duration,
    /// For everything, over all attempts.
    pub max_time: Option<Duration>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect_timeout: CONNECT_TIMEOUT,
            first_byte_timeout: FIRST_BYTE_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            max_time: None,
        }
    }
}

/// What makes bytes that ended a poem that is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expectation {
    /// The most bytes that are listened to.
    pub poem_bytes_max: u64,
    /// Its exact length, if it is known.
    pub bytes: Option<u64>,
    /// Its hash, if it is known.
    pub sha256: Option<PoemHash>,
    /// Whether nothing at all is a poem.
    pub allow_empty: bool,
}

impl Default for Expectation {
    fn default() -> Self {
        Self {
            poem_bytes_max: POEM_BYTES_MAX,
            bytes: None,
            sha256: None,
            allow_empty: false,
        }
    }
}

/// What went wrong, in one word that scripts can rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// The name means nothing.
    Resolve,
    /// Nobody listens there.
    Refused,
    /// There is no way there.
    Unreachable,
    /// Nobody answered.
    ConnectTimeout,
    /// The server fell silent, or never began.
    IdleTimeout,
    /// All attempts together took too long.
    MaxTime,
    /// It is not who it should be, or does not want us: TLS failed.
    Tls,
    /// The server cut us off.
    Reset,
    /// The poem ended before its known length.
    Truncated,
    /// It is another poem: than the one whose beginning was passed on, or than the one that was expected.
    Changed,
    /// The server said nothing.
    Empty,
    /// The system failed, the poem is longer than allowed, or the download itself crashed.
    Io,
    /// It could not be transformed.
    Transform,
    /// It was called off.
    Cancelled,
}

impl FailureKind {
    /// The word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::ConnectTimeout => "connect-timeout",
            Self::IdleTimeout => "idle-timeout",
            Self::MaxTime => "max-time",
            Self::Tls => "tls",
            Self::Reset => "reset",
            Self::Truncated => "truncated",
            Self::Changed => "changed",
            Self::Empty => "empty",
            Self::Io => "io",
            Self::Transform => "transform",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DownloadError {
    /// The stable word.
    pub kind: FailureKind,
    /// What happened, for people; it names the addresses tried where there were several.
    pub message: String,
    /// True if another attempt cannot help.
    pub is_final: bool,
}

impl DownloadError {
    pub(crate) fn passing(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            is_final: false,
        }
    }

    pub(crate) fn for_good(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            is_final: true,
            ..Self::passing(kind, message)
        }
    }

    /// The exit reason that makes the supervisor do the right thing.
    pub(crate) fn into_exit_reason(self) -> ExitReason {
        if self.is_final {
            ExitReason::shutdown(self)
        } else {
            ExitReason::error(self)
        }
    }
}

impl From<ConnectError> for DownloadError {
    fn from(error: ConnectError) -> Self {
        let (kind, is_final) = match &error {
            ConnectError::Resolve { is_passing, .. } => (FailureKind::Resolve, !is_passing),
            ConnectError::Timeout { .. } => (FailureKind::ConnectTimeout, false),
            ConnectError::Tls { is_passing, .. } => (FailureKind::Tls, !is_passing),
            // Nobody is there, or nobody has time.
            ConnectError::Unix(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::WouldBlock
                ) =>
            {
                (FailureKind::Refused, false)
            }
            ConnectError::Failed(_) | ConnectError::Unix(..) => match error.main_kind() {
                Some(io::ErrorKind::ConnectionRefused) => (FailureKind::Refused, false),
                Some(io::ErrorKind::TimedOut) => (FailureKind::ConnectTimeout, false),
                // Accepted and cut off before we had looked.
                Some(io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted) => {
                    (FailureKind::Reset, false)
                }
                Some(
                    io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
                    | io::ErrorKind::AddrNotAvailable,
                ) => (FailureKind::Unreachable, false),
                Some(_) => (FailureKind::Io, false),
                None => (FailureKind::Io, true),
            },
        };
        Self {
            kind,
            message: error.to_string(),
            is_final,
        }
    }
}

/// What a download is to do; the same for every attempt.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) task: usize,
    pub(crate) whereabouts: Whereabouts,
    pub(crate) title: Option<Title>,
    pub(crate) frame: Frame,
    pub(crate) patience: Patience,
    pub(crate) expectation: Expectation,
    pub(crate) coordinator: Name,
}

/// Listens to one server, once.
#[derive(Debug)]
pub struct Download {
    errand: Arc<Errand>,
}

impl Download {
    pub(crate) fn new(errand: Arc<Errand>) -> Self {
        Self { errand }
    }
}

impl Actor for Download {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let Some(coordinator) = whereis_actor::<Coordinator>(&self.errand.coordinator) else {
            let gone = DownloadError::for_good(FailureKind::Cancelled, "nobody wants it any more");
            return ctx.exit(gone.into_exit_reason());
        };
        let (errand, pid) = (Arc::clone(&self.errand), ctx.pid());
        // The first act, and not the future's: a download killed before its first turn has reported too.
        let answer = coordinator.send(Attempt {
            task: errand.task,
            pid,
        });
        let attempt = async move {
            let Ok(Some(resume)) = answer.await else {
                return Err(DownloadError::for_good(FailureKind::Cancelled, "cancelled"));
            };
            let mut listening = Listening {
                task: errand.task,
                errand,
                pid,
                coordinator,
                credit: resume.credit,
                rereading: Rereading::new(resume.known),
            };
            listening.listen(resume.deadline).await
        };
        ctx.spawn(
            wrap_future(attempt).map(
                |outcome, _: &mut Self, ctx: &mut Context<Self>| match outcome {
                    Ok(()) => ctx.stop(),
                    Err(error) => ctx.exit(error.into_exit_reason()),
                },
            ),
        );
    }
}

/// One attempt, as plain code. All that it keeps is here, once: what a future is given, it has room for twice. While the poem
/// comes, nobody looks at the errand: it is elsewhere in memory, and not at hand for each chunk among a thousand downloads.
struct Listening {
    task: usize,
    errand: Arc<Errand>,
    pid: Pid,
    coordinator: ActorRef<Coordinator>,
    credit: Arc<Semaphore>,
    rereading: Rereading,
}

impl Listening {
    async fn listen(&mut self, deadline: Option<Instant>) -> Result<(), DownloadError> {
        let Some(deadline) = deadline else {
            return self.connect_and_read().await;
        };
        let limit = self.errand.patience.max_time.unwrap_or_default();
        match timeout_at(deadline, self.connect_and_read()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(out_of_time(limit)),
        }
    }

    async fn connect_and_read(&mut self) -> Result<(), DownloadError> {
        let limit = self.errand.patience.connect_timeout;
        // On the heap, or there would be room for it as long as the poem comes.
        let connected = Box::pin(connect(&self.errand.whereabouts, limit)).await;
        let mut ear = Ear::new(connected?);
        self.coordinator.do_send(Connected {
            task: self.task,
            pid: self.pid,
            peer_addr: ear.stream().peer_addr().clone(),
        });
        if let Some(title) = &self.errand.title {
            let asked = frame(title.as_str().as_bytes());
            let asked = ear.stream_mut().write_all(&asked).await;
            asked.map_err(|error| read_error(&error, ear.stream().peer_addr()))?;
        }
        self.read_to_end(&mut ear).await?;
        check_whole(&self.rereading, &self.errand.expectation)?;
        self.coordinator.do_send(HeardAll {
            task: self.task,
            pid: self.pid,
        });
        Ok(())
    }

    async fn read_to_end(&mut self, ear: &mut Ear<Stream>) -> Result<(), DownloadError> {
        let Patience {
            first_byte_timeout,
            idle_timeout,
            ..
        } = self.errand.patience;
        let expectation = self.errand.expectation;
        let mut framing = Framing::new(self.errand.frame, expectation.poem_bytes_max);
        let mut has_heard = false;
        loop {
            let has_begun = !self.rereading.read().is_empty();
            let limit = if has_begun {
                idle_timeout
            } else {
                first_byte_timeout
            };
            // Counted from here: the time that our own side took to take the bytes is not the server's silence.
            let heard = ear.hear(limit).await;
            let bytes = heard
                .map_err(|error| unheard(&error, has_begun, limit, ear.stream().peer_addr()))?;
            if bytes.is_empty() {
                if let (Some(title), false) = (&self.errand.title, has_heard) {
                    let text = format!("the library has no poem \"{title}\"");
                    return Err(DownloadError::for_good(FailureKind::Empty, text));
                }
                return framing.finish();
            }
            has_heard = true;
            let bytes = framing.pass(bytes)?;
            let new = self.rereading.pass(bytes).map_err(|error| {
                DownloadError::for_good(FailureKind::Changed, error.to_string())
            })?;
            check_length(self.rereading.read().len(), &expectation)?;
            if new.is_empty() {
                // Nothing to wait for, and a fast server would keep us here.
                tokio::task::coop::consume_budget().await;
            } else {
                self.pass_on(new).await?;
            }
            if framing.is_complete() {
                return Ok(());
            }
        }
    }

    async fn pass_on(&self, bytes: Bytes) -> Result<(), DownloadError> {
        let credit = Arc::clone(&self.credit)
            .acquire_many_owned(credit_for(bytes.len()))
            .await
            .map_err(|_| DownloadError::for_good(FailureKind::Cancelled, "cancelled"))?;
        self.coordinator.do_send(Heard {
            task: self.task,
            pid: self.pid,
            bytes,
            read: self.rereading.read().clone(),
            credit,
        });
        Ok(())
    }
}

/// Why nothing was heard of a server that was connected.
pub(crate) fn unheard(
    error: &HearError,
    has_begun: bool,
    limit: Duration,
    peer_addr: &Address,
) -> DownloadError {
    match error {
        HearError::Io(error) => read_error(error, peer_addr),
        HearError::Silence => silence(has_begun, limit, peer_addr),
    }
}

fn read_error(error: &io::Error, peer_addr: &Address) -> DownloadError {
    if let Some(problem) = tls_error(error) {
        let text = format!("TLS with {peer_addr} failed: {}", tls_text(problem));
        return DownloadError::for_good(FailureKind::Tls, text);
    }
    let (kind, text) = match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => (
            FailureKind::Reset,
            format!("connection reset by {peer_addr}"),
        ),
        // Only TLS can tell: nobody has signed the end.
        io::ErrorKind::UnexpectedEof => (
            FailureKind::Truncated,
            format!("{peer_addr} cut off the TLS without a close"),
        ),
        io::ErrorKind::TimedOut => (FailureKind::IdleTimeout, error_text(error)),
        _ => (FailureKind::Io, error_text(error)),
    };
    DownloadError::passing(kind, text)
}

fn silence(has_begun: bool, limit: Duration, peer_addr: &Address) -> DownloadError {
    let text = if has_begun {
        format!("{peer_addr} fell silent for {limit:?}")
    } else {
        format!("connected to {peer_addr}, but it said nothing for {limit:?}")
    };
    DownloadError::passing(FailureKind::IdleTimeout, text)
}

pub(crate) fn out_of_time(limit: Duration) -> DownloadError {
    DownloadError::for_good(FailureKind::MaxTime, format!("not done within {limit:?}"))
}

/// Too long is known as soon as it happens.
pub(crate) fn check_length(read: u64, expectation: &Expectation) -> Result<(), DownloadError> {
    if read > expectation.poem_bytes_max {
        let text = format!("longer than {} bytes", expectation.poem_bytes_max);
        return Err(DownloadError::for_good(FailureKind::Io, text));
    }
    match expectation.bytes {
        Some(expected) if read > expected => {
            let text = format!("longer than the {expected} bytes expected");
            Err(DownloadError::for_good(FailureKind::Changed, text))
        }
        _ => Ok(()),
    }
}

/// Too short, empty or different is known at the end.
pub(crate) fn check_whole(
    rereading: &Rereading,
    expectation: &Expectation,
) -> Result<(), DownloadError> {
    let read = rereading.read();
    if rereading.is_behind() {
        let text = format!(
            "ended after {} bytes, less than there were before",
            read.len()
        );
        return Err(DownloadError::passing(FailureKind::Truncated, text));
    }
    match expectation.bytes {
        Some(expected) if read.len() < expected => {
            let text = format!("ended after {} of {expected} bytes", read.len());
            return Err(DownloadError::passing(FailureKind::Truncated, text));
        }
        _ => {}
    }
    if read.is_empty() && !expectation.allow_empty && expectation.bytes != Some(0) {
        return Err(DownloadError::passing(
            FailureKind::Empty,
            "the poem is empty",
        ));
    }
    match expectation.sha256 {
        Some(expected) if read.hash() != expected => {
            let text = format!("the SHA-256 is {}, not {expected}", read.hash());
            Err(DownloadError::for_good(FailureKind::Changed, text))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ear::HEARD_BYTES_MAX;
    use crate::wire::Prefix;

    fn read(bytes: &'static [u8]) -> Rereading {
        let mut rereading = Rereading::new(Prefix::default());
        rereading.pass(Bytes::from_static(bytes)).unwrap();
        rereading
    }

    fn kind(outcome: Result<(), DownloadError>) -> Option<(FailureKind, bool)> {
        outcome.err().map(|error| (error.kind, error.is_final))
    }

    #[test]
    fn an_end_is_a_poem_only_if_it_is_what_was_expected() {
        let any = Expectation::default();
        assert_eq!(kind(check_whole(&read(b"poem"), &any)), None);
        assert_eq!(
            kind(check_whole(&read(b""), &any)),
            Some((FailureKind::Empty, false))
        );
        let empty = Expectation {
            allow_empty: true,
            ..any
        };
        assert_eq!(kind(check_whole(&read(b""), &empty)), None);
        let five = Expectation {
            bytes: Some(5),
            ..any
        };
        assert_eq!(
            kind(check_whole(&read(b"poem"), &five)),
            Some((FailureKind::Truncated, false))
        );
        assert_eq!(
            kind(check_length(6, &five)),
            Some((FailureKind::Changed, true))
        );
        let other = Expectation {
            sha256: Some(read(b"prose").read().hash()),
            ..any
        };
        assert_eq!(
            kind(check_whole(&read(b"poem"), &other)),
            Some((FailureKind::Changed, true))
        );
        let short = Expectation {
            poem_bytes_max: 3,
            ..any
        };
        assert_eq!(kind(check_length(4, &short)), Some((FailureKind::Io, true)));
    }

    #[test]
    fn a_download_holds_little_beside_its_poem() {
        fn size<'a, F: Future + 'a>(
            _: impl FnOnce(&'a mut Listening, Option<Instant>) -> F,
        ) -> usize {
            size_of::<F>()
        }
        let bytes = size_of::<Listening>() + size(Listening::listen);
        assert!(bytes <= 1_024, "{bytes}");
    }

    #[test]
    fn the_largest_read_fits_the_credit() {
        assert!(credit_for(HEARD_BYTES_MAX) as usize <= credit().available_permits());
    }
}
