//! [`TransformNetstring`]: the tutorial's protocol for transforms (Part 12), byte for byte.
//!
//! ```text
//! peer:  27:cummingsify.HERE IS MY POEM,        one request, the name up to the first dot
//! here:  15:here is my poem,                    one answer, and the connection is closed
//! ```
//!
//! Whatever fails, an unknown name, gibberish, a pool without room, closes the connection without an answer: the protocol
//! has no other word. Here it is counted and logged, where the tutorial's server says nothing. A request ends within
//! [`Courtesy::request_timeout`], however few bytes of it come at a time. What follows the request is not read as another.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use byron_supervisors::StartDynamicChild;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};
use tokio_util::codec::FramedRead;

use crate::address::Address;
use crate::conversation::{Conversation, ConversationError, Courtesy};
use crate::gate::{Fate, Permit};
use crate::netstring::{Netstring, NetstringError, frame, request};
use crate::patience::Patient;
use crate::protocol::Protocol;
use crate::stream::{Accepted, Stream};
use crate::tally::Tally;
use crate::transformer::{CallTransformError, Transformers};

/// What a connection's buffer has room for when something comes; an idle peer has none.
pub(crate) const FIRST_READ_BYTES: usize = 4096;

/// How much of a name that a peer made up is logged.
const LOGGED_BYTES_MAX: usize = 64;

/// Transforms for whoever sends netstrings.
#[derive(Debug)]
pub struct TransformNetstring {
    /// Who does the work.
    pub transformers: Transformers,
    /// The limits.
    pub courtesy: Courtesy,
}

impl Protocol for TransformNetstring {
    fn name(&self) -> &'static str {
        "netstring"
    }

    fn start(self: Arc<Self>, accepted: Accepted, permit: Permit) -> StartDynamicChild {
        Conversation::start(permit, |mut permit| async move {
            let outcome = self.talk(accepted, &mut permit).await;
            (permit, outcome)
        })
    }
}

/// Where requests come from.
pub(crate) type Requests = FramedRead<Patient<Stream>, Netstring>;

/// The requests of a peer. There is no buffer for them until something comes.
pub(crate) fn requests(stream: Stream, courtesy: Courtesy) -> Requests {
    FramedRead::with_capacity(
        Patient::new(stream, courtesy.write_timeout),
        Netstring::new(courtesy.request_bytes_max),
        0,
    )
}

impl TransformNetstring {
    async fn talk(&self, accepted: Accepted, permit: &mut Permit) -> Result<(), ConversationError> {
        let stream = accepted.open().await?;
        let mut requests = requests(stream, self.courtesy);
        let asked = next_request(&mut requests, permit, self.courtesy).await;
        let mut stream = requests.into_inner();
        let outcome = match asked {
            Ok(Some(asked)) => self.answer(asked, &mut stream, permit).await,
            Ok(None) => {
                permit.settle(Fate::ClientGone);
                Ok(())
            }
            Err(error) => Err(error),
        };
        end(stream, outcome, self.courtesy).await
    }

    async fn answer(
        &self,
        asked: Bytes,
        stream: &mut Patient<Stream>,
        permit: &mut Permit,
    ) -> Result<(), ConversationError> {
        let (name, poem) = request(asked)?;
        match self.transformers.transform(&name, poem).await {
            Ok(answer) => {
                write(stream, frame(&answer), permit, self.courtesy).await?;
                permit.settle(Fate::Served);
            }
            Err(error) => {
                log_refusal(stream.get_ref().peer_addr(), &name, &error);
                permit.settle(Fate::Refused);
            }
        }
        Ok(())
    }
}

/// Ends a stream as the conversation on it ended: in order if all was said, or if it is to be closed on a mistake of the
/// peer; by a reset if somebody was too slow, or the connection is broken anyway.
pub(crate) async fn end(
    stream: Patient<Stream>,
    outcome: Result<(), ConversationError>,
    courtesy: Courtesy,
) -> Result<(), ConversationError> {
    let is_orderly = match &outcome {
        Ok(()) | Err(ConversationError::Netstring(_) | ConversationError::NoDot(_)) => true,
        Err(_) => false,
    };
    if is_orderly {
        let finished = stream.into_inner().finish(courtesy.linger_timeout).await;
        outcome?;
        finished?;
        return Ok(());
    }
    outcome
}

/// The next request; `None` if the peer leaves, or the service closes, before one has begun.
pub(crate) async fn next_request(
    requests: &mut Requests,
    permit: &Permit,
    courtesy: Courtesy,
) -> Result<Option<Bytes>, ConversationError> {
    let deadline = Instant::now() + courtesy.request_timeout;
    let mut closing = std::pin::pin!(permit.closing());
    let mut is_closing = false;
    loop {
        tokio::select! {
            biased;
            next = timeout_at(deadline, next(requests)) => return match next {
                Ok(Some(Ok(request))) => Ok(Some(request)),
                Ok(Some(Err(error))) => Err(error.into()),
                Ok(None) => Ok(None),
                Err(_) => Err(ConversationError::TooSlow(courtesy.request_timeout)),
            },
            () = &mut closing, if !is_closing => {
                is_closing = true;
                if requests.read_buffer().is_empty() && requests.decoder().is_between() {
                    return Ok(None);
                }
            }
        }
    }
}

async fn next(requests: &mut Requests) -> Option<Result<Bytes, NetstringError>> {
    if requests.read_buffer().is_empty() {
        // Whatever is wrong with the stream, the read says.
        let _ = poll_fn(|task| requests.get_ref().get_ref().poll_readable(task)).await;
        requests.read_buffer_mut().reserve(FIRST_READ_BYTES);
    }
    requests.next().await
}

/// Writes an answer.
pub(crate) async fn write(
    stream: &mut Patient<Stream>,
    answer: Bytes,
    permit: &Permit,
    courtesy: Courtesy,
) -> Result<(), ConversationError> {
    Tally::add(&permit.tally().bytes, answer.len() as u64);
    match stream.write_all(&answer).await {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            Err(ConversationError::WriteTimeout(courtesy.write_timeout))
        }
        outcome => Ok(outcome?),
    }
}

/// A request that gets no answer is somebody's question to whoever runs the server.
pub(crate) fn log_refusal(peer_addr: &Address, name: &[u8], error: &CallTransformError) {
    let transform = name[..name.len().min(LOGGED_BYTES_MAX)].escape_ascii();
    match error {
        CallTransformError::Crashed(_) | CallTransformError::Nobody => {
            tracing::warn!(%peer_addr, %transform, reason = %error, "transform failed");
        }
        CallTransformError::Unknown(_) => {
            tracing::info!(%peer_addr, %transform, "no such transform");
        }
        _ => tracing::info!(%peer_addr, %transform, reason = %error, "not transformed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most that a peer costs who only stays, beside its socket.
    const TALK_BYTES_MAX: usize = 2048;

    fn size<F: Future>(
        _: impl FnOnce(&'static TransformNetstring, Accepted, &'static mut Permit) -> F,
    ) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_peer_is_small() {
        let bytes = size(|of, accepted, permit| of.talk(accepted, permit));
        assert!(bytes <= TALK_BYTES_MAX, "{bytes} bytes");
    }
}
