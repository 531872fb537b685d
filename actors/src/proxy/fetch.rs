//! [`Fetch`]: asks the upstream for its poem, once, and writes it into a flight.
//!
//! Started by the keeper under the upstream's dynamic supervisor, and restarted by nobody: a failure fails every reader
//! who waits, at once, and the next reader's fetch is the next attempt. It ends when the poem is whole, when something goes
//! wrong, or when nobody waits for it any more; however it ends otherwise, dropping its writer breaks the flight.
//!
//! If the poem goes through transforms, its readers hear nothing until it has: what they hear, and what is kept, is the
//! transformed one. A transform that fails is a fetch that has failed; the original is nobody's poem.
//!
//! Never talks to a reader, and never decides what is kept.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::{ActorFutureExt, wrap_future};
use actix::{Actor, ActorContext, AsyncContext};
use byron_supervisors::{Context, ExitReason};
use bytes::Bytes;
use tokio::time::timeout;

use super::cabinet::{Arrival, Desk};
use super::flight::{Flight, Writer};
use super::growing::Growing;
use crate::connect::{Whereabouts, connect};
use crate::download::{
    DownloadError, Expectation, FailureKind, Patience, check_length, check_whole, out_of_time,
    unheard,
};
use crate::ear::Ear;
use crate::framing::Framing;
use crate::netstring::frame;
use crate::rewriting::{REWRITING_TIMEOUT, TransformStep, transform};
use crate::stream::Stream;
use crate::wire::{Frame, Prefix, Rereading};

/// How long one fetch may take, if nothing else is said. A poem that comes at the tutorial's pace is over a megabyte long by
/// then; an upstream that dribbles for ever ends here, or at the longest poem that is allowed.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// What is fetched, and how.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) whereabouts: Whereabouts,
    pub(crate) patience: Patience,
    pub(crate) expectation: Expectation,
    pub(crate) transforms: Transforms,
    /// How the upstream ends its poem, and we ours.
    pub(crate) frame: Frame,
}

/// What an upstream's poem goes through.
#[derive(Debug, Clone)]
pub struct Transforms {
    /// In this order; none passes the poem on as it comes.
    pub steps: Vec<TransformStep>,
    /// How long each may take.
    pub timeout: Duration,
}

impl Default for Transforms {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            timeout: REWRITING_TIMEOUT,
        }
    }
}

/// Asks the upstream once.
#[derive(Debug)]
pub struct Fetch {
    wanted: Arc<Wanted>,
    desk: Desk,
    flight: Arc<Flight>,
}

impl Fetch {
    pub(crate) fn new(wanted: Arc<Wanted>, desk: Desk, flight: Arc<Flight>) -> Self {
        Self {
            wanted,
            desk,
            flight,
        }
    }
}

impl Actor for Fetch {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let Some(writer) = self.flight.claim(ctx.pid()) else {
            // Another fetch has it, or nobody wants it any more.
            return ctx.stop();
        };
        let (wanted, desk) = (Arc::clone(&self.wanted), self.desk.clone());
        let fetch = async move {
            tokio::select! {
                biased;
                () = writer.abandoned() => {
                    tracing::info!(upstream = %desk.label(), "cancelled; nobody waits any more");
                    ExitReason::Normal
                }
                outcome = within(wanted.patience.max_time, listen(&wanted, &desk, &writer)) => {
                    settle(outcome, &desk, &writer)
                }
            }
        };
        ctx.spawn(wrap_future(fetch).map(|reason, _: &mut Self, ctx| ctx.exit(reason)));
    }
}

/// Tells the readers, and those who come later, in one step.
fn settle(outcome: Result<Prefix, DownloadError>, desk: &Desk, writer: &Writer) -> ExitReason {
    match outcome {
        Ok(poem) => {
            let arrival = desk.arrived(writer, poem.hash());
            let bytes = poem.len();
            match arrival {
                Arrival::Kept => {
                    tracing::info!(upstream = %desk.label(), bytes, "fetched and kept")
                }
                Arrival::Passed => {
                    tracing::info!(upstream = %desk.label(), bytes, "fetched, not kept")
                }
                Arrival::Abandoned => {}
            }
            ExitReason::Normal
        }
        Err(error) => {
            let label = desk.label();
            tracing::warn!(upstream = %label, kind = %error.kind, %error, "the fetch failed");
            desk.failed(writer, error.clone());
            // An upstream's failure is no crash of ours, and nobody is to restart the fetch for it.
            ExitReason::shutdown(error)
        }
    }
}

async fn within(
    limit: Option<Duration>,
    work: impl Future<Output = Result<Prefix, DownloadError>>,
) -> Result<Prefix, DownloadError> {
    match limit {
        None => work.await,
        Some(limit) => timeout(limit, work)
            .await
            .unwrap_or_else(|_| Err(out_of_time(limit))),
    }
}

async fn listen(wanted: &Wanted, desk: &Desk, writer: &Writer) -> Result<Prefix, DownloadError> {
    desk.count_fetch();
    let stream = connect(&wanted.whereabouts, wanted.patience.connect_timeout).await?;
    tracing::debug!(upstream = %desk.label(), peer_addr = %stream.peer_addr(), "fetching");
    let mut said = Prefix::default();
    let is_framed = wanted.frame == Frame::Netstring;
    if wanted.transforms.steps.is_empty() {
        let pass_on = |bytes: Bytes, _| {
            if is_framed {
                said.extend(&bytes);
            }
            writer.push(bytes);
        };
        let poem = read_to_end(stream, wanted, pass_on).await?;
        return Ok(if is_framed { said } else { poem });
    }
    let mut text = Growing::default();
    read_to_end(stream, wanted, |_, poem| text.push(poem)).await?;
    let text = rewritten(text.whole(), wanted).await?;
    // What is known beforehand is of the original.
    let transformed = Expectation {
        bytes: None,
        ..wanted.expectation
    };
    check_length(text.len() as u64, &transformed)?;
    let text = if is_framed { frame(&text) } else { text };
    said.extend(&text);
    writer.push(text);
    Ok(said)
}

/// What the transforms make of a poem.
async fn rewritten(mut text: Bytes, wanted: &Wanted) -> Result<Bytes, DownloadError> {
    let Transforms { steps, timeout } = &wanted.transforms;
    for step in steps {
        let made = transform(step, *timeout, wanted.patience.connect_timeout, text).await;
        text = made.map_err(|error| {
            let message = format!("{}: {error}", step.label);
            DownloadError::passing(FailureKind::Transform, message)
        })?;
    }
    Ok(text)
}

/// Reads a poem to its end, and passes on what came: as it was said, and what of it is the poem.
async fn read_to_end(
    stream: Stream,
    wanted: &Wanted,
    mut pass_on: impl FnMut(Bytes, Bytes),
) -> Result<Prefix, DownloadError> {
    let mut poem = Rereading::new(Prefix::default());
    let mut framing = Framing::new(wanted.frame, wanted.expectation.poem_bytes_max);
    let mut ear = Ear::new(stream);
    loop {
        let has_begun = !poem.read().is_empty();
        let limit = if has_begun {
            wanted.patience.idle_timeout
        } else {
            wanted.patience.first_byte_timeout
        };
        let heard = ear.hear(limit).await;
        let bytes =
            heard.map_err(|error| unheard(&error, has_begun, limit, ear.stream().peer_addr()))?;
        if bytes.is_empty() {
            framing.finish()?;
            check_whole(&poem, &wanted.expectation)?;
            return Ok(poem.read().clone());
        }
        let inside = poem
            .pass(framing.pass(bytes.clone())?)
            .map_err(|error| DownloadError::for_good(FailureKind::Changed, error.to_string()))?;
        check_length(poem.read().len(), &wanted.expectation)?;
        if framing.is_complete() {
            // Before anybody hears the last byte.
            check_whole(&poem, &wanted.expectation)?;
            pass_on(bytes, inside);
            return Ok(poem.read().clone());
        }
        pass_on(bytes, inside);
    }
}
