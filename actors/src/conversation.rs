//! [`Conversation`]: serves one connection whose peer speaks first.
//!
//! The actor of every protocol that asks and answers (transforms by netstring and by HTTP, the library). Started by the
//! listener that accepted, as a temporary child; what is said is a future that the protocol gives it, and that owns the
//! stream and the permit. If it crashes or is killed, both are dropped: the peer is reset, and counted so. A peer's own
//! mistake is no crash, and ends it as `Shutdown`.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use actix::fut::{ActorFutureExt, wrap_future};
use actix::{Actor, ActorContext, AsyncContext};
use byron_supervisors::{Context, ExitReason, StartDynamicChild};

use crate::connection::is_cut_off;
use crate::gate::{Fate, Permit};
use crate::netstring::{NetstringError, NoDot};
use crate::stream::OpenError;

/// How long a peer may take to say all of one request, if nothing else is said; and how long it may say nothing at all
/// before it does.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a peer may take for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Courtesy {
    /// The longest request.
    pub request_bytes_max: usize,
    /// For all of a request, from the end of the one before it.
    pub request_timeout: Duration,
    /// To take any of an answer.
    pub write_timeout: Duration,
    /// To leave, once it has been answered.
    pub linger_timeout: Duration,
}

impl Default for Courtesy {
    fn default() -> Self {
        Self {
            request_bytes_max: crate::netstring::NETSTRING_BYTES_MAX,
            request_timeout: REQUEST_TIMEOUT,
            write_timeout: crate::recital::WRITE_TIMEOUT,
            linger_timeout: crate::stream::LINGER_TIMEOUT,
        }
    }
}

/// A conversation ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConversationError {
    /// What the peer said is no netstring.
    #[error("the peer said {0}")]
    Netstring(NetstringError),
    /// What the peer said is no request.
    #[error("the peer said {0}")]
    NoDot(#[from] NoDot),
    /// The peer did not say a whole request in time.
    #[error("the peer did not ask within {0:?}")]
    TooSlow(Duration),
    /// The peer did not take the answer.
    #[error("the peer took nothing of the answer for {0:?}")]
    WriteTimeout(Duration),
    /// What the peer said is no HTTP.
    #[error("the peer said no HTTP")]
    Http(#[source] hyper::Error),
    /// The peer never got as far as speaking.
    #[error(transparent)]
    Open(OpenError),
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<NetstringError> for ConversationError {
    fn from(error: NetstringError) -> Self {
        match error {
            NetstringError::Io(error) => Self::Io(error),
            error => Self::Netstring(error),
        }
    }
}

impl From<OpenError> for ConversationError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Io(error) => Self::Io(error),
            error => Self::Open(error),
        }
    }
}

impl ConversationError {
    /// What became of the connection.
    fn fate(&self) -> Fate {
        match self {
            Self::Io(error) if is_peer_gone(error) => Fate::ClientGone,
            Self::Io(_) => Fate::Reset,
            Self::TooSlow(_) | Self::WriteTimeout(_) => Fate::TimedOut,
            Self::Netstring(_) | Self::NoDot(_) | Self::Http(_) | Self::Open(_) => Fate::Refused,
        }
    }

    /// How the actor ends: a mistake of the peer is none of ours.
    fn into_exit_reason(self) -> ExitReason {
        match self.fate() {
            Fate::ClientGone | Fate::Served => ExitReason::Normal,
            Fate::Refused | Fate::TimedOut => ExitReason::shutdown(self),
            Fate::Reset => ExitReason::error(self),
        }
    }
}

/// What a stream says when there is nobody at the other end any more.
pub(crate) fn is_peer_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::NotConnected
            | io::ErrorKind::UnexpectedEof
    )
}

type Talk = Pin<Box<dyn Future<Output = Result<(), ConversationError>> + Send>>;

/// Serves one connection whose peer speaks first.
pub struct Conversation(Option<Talk>);

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation").finish_non_exhaustive()
    }
}

impl Conversation {
    /// The child that has this conversation; `talk` settles what became of it, unless it fails.
    pub(crate) fn start<F>(
        mut permit: Permit,
        talk: impl FnOnce(Permit) -> F + Send + 'static,
    ) -> StartDynamicChild
    where
        F: Future<Output = (Permit, Result<(), ConversationError>)> + Send + 'static,
    {
        permit.settle(Fate::Reset);
        let talk: Talk = Box::pin(async move {
            // Made where it stays: it is long, and moving it costs.
            let (mut permit, outcome) = talk(permit).await;
            if let Err(error) = &outcome {
                permit.settle(error.fate());
            }
            outcome
        });
        StartDynamicChild::once(move |_| Self(Some(talk)))
    }
}

impl Actor for Conversation {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let Some(talk) = self.0.take() else {
            return ctx.stop();
        };
        if is_cut_off(ctx) {
            return;
        }
        ctx.spawn(
            wrap_future(talk).map(
                |outcome, _: &mut Self, ctx: &mut Context<Self>| match outcome {
                    Ok(()) => ctx.stop(),
                    Err(error) => ctx.exit(error.into_exit_reason()),
                },
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_one_pointer_until_it_begins() {
        assert_eq!(size_of::<Conversation>(), size_of::<Talk>());
    }

    #[test]
    fn only_what_is_our_fault_is_a_crash() {
        let limit = Duration::from_secs(30);
        let io = |kind: io::ErrorKind| ConversationError::Io(kind.into());
        for (error, fate, is_crash) in [
            (io(io::ErrorKind::ConnectionReset), Fate::ClientGone, false),
            (io(io::ErrorKind::OutOfMemory), Fate::Reset, true),
            (ConversationError::TooSlow(limit), Fate::TimedOut, false),
            (
                ConversationError::WriteTimeout(limit),
                Fate::TimedOut,
                false,
            ),
            (NetstringError::NoLength.into(), Fate::Refused, false),
            (NoDot.into(), Fate::Refused, false),
        ] {
            assert_eq!(error.fate(), fate, "{error}");
            assert_eq!(!error.into_exit_reason().is_normal(), is_crash);
        }
    }
}
