//! [`Rewriting`]: has one poem transformed, once.
//!
//! One rewriting is one attempt, as a download is one: started by the editor under the rewritings' supervisor, its first act
//! is to report to the editor, which gives it the poem. A failure that another attempt may mend ends it as
//! [`ExitReason::Error`], and its supervisor restarts it with backoff; gibberish ends it as `Shutdown`, for good. A transform of
//! this program is applied here; another one is asked for by netstring. Never decides what becomes of the poem.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::{ActorFutureExt, wrap_future};
use actix::{Actor, ActorContext, AsyncContext};
use byron_supervisors::{ActorRef, Context, ExitReason, Name, Pid, whereis_actor};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_util::codec::FramedRead;

use crate::connect::{Whereabouts, connect, error_text};
use crate::editor::{Editor, Rewritten, TakeUp};
use crate::netstring::{Netstring, NetstringError, frame};
use crate::transform::{GROWTH_BYTES, GROWTH_MAX, Transform, TransformError};
use crate::transformer::INLINE_BYTES_MAX;

/// How long one attempt may take, if nothing else is said.
pub const REWRITING_TIMEOUT: Duration = Duration::from_secs(30);

/// A transform that the poems of a client go through.
#[derive(Debug, Clone)]
pub struct TransformStep {
    /// What people call it: `cummingsify@127.0.0.1:11000`.
    pub label: String,
    /// Who does it.
    pub by: TransformedBy,
}

/// Who transforms a poem.
#[derive(Debug, Clone)]
pub enum TransformedBy {
    /// This program.
    Here(Transform),
    /// A server.
    Server {
        /// The name of the transform there.
        name: String,
        /// Where it is.
        whereabouts: Whereabouts,
    },
}

/// One attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct RewritingError {
    pub(crate) message: String,
    /// It is no poem: no attempt can help, and neither can it stay as it was.
    pub(crate) is_gibberish: bool,
}

impl RewritingError {
    fn passing(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            is_gibberish: false,
        }
    }
}

impl From<TransformError> for RewritingError {
    fn from(error: TransformError) -> Self {
        Self {
            message: error.to_string(),
            is_gibberish: matches!(error, TransformError::Gibberish(_)),
        }
    }
}

/// What a rewriting is to do; the same for every attempt.
#[derive(Debug)]
pub(crate) struct Revision {
    pub(crate) task: usize,
    pub(crate) step: TransformStep,
    pub(crate) limit: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) editor: Name,
}

/// Has one poem transformed, once.
#[derive(Debug)]
pub struct Rewriting(Arc<Revision>);

impl Rewriting {
    pub(crate) fn new(revision: Arc<Revision>) -> Self {
        Self(revision)
    }
}

impl Actor for Rewriting {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let Some(editor) = whereis_actor::<Editor>(&self.0.editor) else {
            return ctx.exit(ExitReason::SHUTDOWN);
        };
        let (revision, pid) = (Arc::clone(&self.0), ctx.pid());
        let poem = editor.send(TakeUp {
            task: revision.task,
            pid,
        });
        let attempt = async move {
            match poem.await {
                Ok(Some(poem)) => rewrite(&revision, poem, pid, &editor).await,
                _ => Err(ExitReason::SHUTDOWN),
            }
        };
        ctx.spawn(
            wrap_future(attempt).map(
                |outcome, _: &mut Self, ctx: &mut Context<Self>| match outcome {
                    Ok(()) => ctx.stop(),
                    Err(reason) => ctx.exit(reason),
                },
            ),
        );
    }
}

async fn rewrite(
    revision: &Revision,
    poem: Bytes,
    pid: Pid,
    editor: &ActorRef<Editor>,
) -> Result<(), ExitReason> {
    let Revision {
        step,
        limit,
        connect_timeout,
        ..
    } = revision;
    match transform(step, *limit, *connect_timeout, poem).await {
        Ok(text) => {
            editor.do_send(Rewritten {
                task: revision.task,
                pid,
                text,
            });
            Ok(())
        }
        Err(error) if error.is_gibberish => Err(ExitReason::shutdown(error)),
        Err(error) => Err(ExitReason::error(error)),
    }
}

/// One step, within the limit.
pub(crate) async fn transform(
    step: &TransformStep,
    limit: Duration,
    connect_timeout: Duration,
    poem: Bytes,
) -> Result<Bytes, RewritingError> {
    let outcome = match &step.by {
        TransformedBy::Here(transform) => timeout(limit, apply(*transform, poem)).await,
        TransformedBy::Server { name, whereabouts } => {
            timeout(limit, ask(whereabouts, connect_timeout, name, &poem)).await
        }
    };
    outcome.unwrap_or_else(|_| {
        let text = format!("no answer within {limit:?}");
        Err(RewritingError::passing(text))
    })
}

/// Applies a transform of this program; a long poem beside the arbiter.
async fn apply(transform: Transform, poem: Bytes) -> Result<Bytes, RewritingError> {
    if poem.len() <= INLINE_BYTES_MAX {
        return Ok(transform.apply(&poem)?);
    }
    match tokio::task::spawn_blocking(move || transform.apply(&poem)).await {
        Ok(outcome) => Ok(outcome?),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Asks a server for a transform, as the tutorial's clients do.
async fn ask(
    whereabouts: &Whereabouts,
    connect_timeout: Duration,
    name: &str,
    poem: &Bytes,
) -> Result<Bytes, RewritingError> {
    let connected = connect(whereabouts, connect_timeout).await;
    let mut stream = connected.map_err(|error| RewritingError::passing(error.to_string()))?;
    let request = frame(&[name.as_bytes(), b".", poem].concat());
    // A server that refuses may have closed before it has heard everything: what it says counts, not that.
    let said = match stream.write_all(&request).await {
        Ok(()) => stream.flush().await,
        failed => failed,
    };
    let longest = poem.len().saturating_mul(GROWTH_MAX);
    let longest = longest.saturating_add(GROWTH_BYTES);
    let answer = FramedRead::new(stream, Netstring::new(longest))
        .next()
        .await;
    match answer {
        Some(Ok(answer)) => Ok(answer),
        Some(Err(error)) => Err(refusal(&error)),
        None => Err(said.err().map_or_else(
            || RewritingError::passing("closed without an answer"),
            |error| refusal(&error.into()),
        )),
    }
}

fn refusal(error: &NetstringError) -> RewritingError {
    RewritingError::passing(match error {
        NetstringError::Io(error) => match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                "the connection was reset".to_owned()
            }
            _ => error_text(error),
        },
        NetstringError::Cut { .. } => format!("an answer that was cut off: {error}"),
        error => format!("no answer: {error}"),
    })
}
