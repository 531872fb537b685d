//! [`Transformer`]: applies transforms, one poem after the other; and [`Transformers`], the pool of them.
//!
//! One on each arbiter, supervised; whatever protocol has a poem to transform asks the pool. A worker that crashes over a
//! poem costs that poem: its caller is told, the next incarnation has the same mailbox, and those who wait in it notice
//! nothing. That holds however often it happens, or a stranger who finds an engine's bug could end the program by it.
//! A worker's queue is bounded, and beyond that callers are told at once. A long poem is worked on beside the arbiter,
//! still one after the other. Never opens a socket, and knows no protocol.

use std::fmt;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, ThreadId};
use std::time::Duration;

use actix::dev::{MessageResponse, OneshotSender};
use actix::fut::wrap_future;
use actix::{Actor, AtomicResponse, Handler, Message};
use byron_supervisors::{
    ArbiterPool, ChildId, ChildSpec, Context, ExitReason, OnRestart, PartitionSupervisor,
    SendError, SupFlags,
};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::timeout;

use crate::transform::{TRANSFORMS, Transform, TransformError};

/// How many poems one worker has, at work and waiting, before callers are turned away. A burst of that many short ones is
/// over in some milliseconds.
pub const TRANSFORMS_WAITING_MAX: usize = 1024;

/// How many of them may be long, that is longer than [`INLINE_BYTES_MAX`].
pub const LONG_TRANSFORMS_WAITING_MAX: usize = 64;

/// Longer poems are worked on beside the arbiter, so that its other actors need not wait.
pub const INLINE_BYTES_MAX: usize = 16 * 1024;

/// How many poems more than the shortest queue the own arbiter's may have, and still be the better one for a short poem: to
/// wake another thread takes longer than that many short poems.
const OWN_QUEUE_LEAD: usize = 8;

/// How long a caller waits for its turn and its answer.
pub const TRANSFORM_TIMEOUT: Duration = Duration::from_secs(30);

/// The pool; its copies are one pool, and stay good over restarts of its workers.
#[derive(Clone)]
pub struct Transformers {
    workers: PartitionSupervisor<Transformer>,
    shared: Arc<Shared>,
}

struct Shared {
    transforms: Vec<Transform>,
    desks: Vec<Desk>,
    counts: Counters,
}

/// What is known of one worker over all its incarnations: how many poems have a place in its queue or are at work, and where
/// it runs.
#[derive(Default)]
struct Desk {
    short: AtomicUsize,
    long: AtomicUsize,
    thread: Mutex<Option<ThreadId>>,
}

impl Desk {
    fn count(&self, is_long: bool) -> &AtomicUsize {
        if is_long { &self.long } else { &self.short }
    }

    fn waiting(&self) -> usize {
        self.short.load(Ordering::Relaxed) + self.long.load(Ordering::Relaxed)
    }

    /// Takes a place for one poem more, if there is room.
    fn take_place(&self, is_long: bool) -> bool {
        let waiting_max = if is_long {
            LONG_TRANSFORMS_WAITING_MAX
        } else {
            TRANSFORMS_WAITING_MAX
        };
        let one_more = |waiting| (waiting < waiting_max).then_some(waiting + 1);
        self.count(is_long)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .is_ok()
    }
}

/// A poem's place at a desk.
struct Place {
    shared: Arc<Shared>,
    desk: usize,
    is_long: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        let desk = &self.shared.desks[self.desk];
        desk.count(self.is_long).fetch_sub(1, Ordering::Relaxed);
    }
}

/// A queue as it looks to somebody with a poem.
#[derive(Debug, Clone, Copy)]
struct Looks {
    waiting: usize,
    /// Some of those are long poems.
    has_long: bool,
    /// It is this arbiter's.
    is_here: bool,
}

/// Which queue to stand in: the shortest, but with a short poem rather the own arbiter's, unless it is much longer or has a
/// long poem in it.
fn choose(queues: impl Iterator<Item = Looks> + Clone, is_long: bool) -> Option<usize> {
    let shortest = queues.clone().map(|looks| looks.waiting).min()?;
    let is_good_enough = |looks: &Looks| {
        let lead = if is_long || looks.has_long || looks.waiting >= TRANSFORMS_WAITING_MAX {
            0
        } else {
            OWN_QUEUE_LEAD
        };
        looks.is_here && looks.waiting <= shortest + lead
    };
    let mut numbered = queues.enumerate();
    let own = numbered.clone().find(|(_, looks)| is_good_enough(looks));
    let chosen = own.or_else(|| numbered.find(|(_, looks)| looks.waiting == shortest));
    chosen.map(|(number, _)| number)
}

#[derive(Default)]
struct Counters {
    transformed: AtomicU64,
    gibberish: AtomicU64,
    unknown: AtomicU64,
    overloaded: AtomicU64,
    crashed: AtomicU64,
}

/// What a pool has counted, as it was at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransformCounts {
    /// Poems that became other poems.
    pub transformed: u64,
    /// Poems that could not, by their own fault: gibberish, or too long an answer.
    pub gibberish: u64,
    /// Requests for a transform that there is not.
    pub unknown: u64,
    /// Requests turned away because too many were waiting, or that waited too long.
    pub overloaded: u64,
    /// Requests that a worker died of.
    pub crashed: u64,
    /// Poems at work and waiting now.
    pub waiting: u64,
}

/// A pool has no answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CallTransformError {
    /// There is no such transform.
    #[error("no transform is called \"{}\"", .0.escape_ascii())]
    Unknown(Bytes),
    /// There is no other poem to be made of it.
    #[error(transparent)]
    Transform(#[from] TransformError),
    /// Too many are waiting.
    #[error("too many poems are waiting to be transformed")]
    Overloaded,
    /// The turn or the answer did not come in time.
    #[error("not transformed within {0:?}")]
    Overdue(Duration),
    /// The worker died of it.
    #[error("the transform crashed: {0}")]
    Crashed(ExitReason),
    /// There is no worker now.
    #[error("nobody is there to transform poems")]
    Nobody,
}

impl fmt::Debug for Transformers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transformers")
            .field("transforms", &self.shared.transforms)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

impl Transformers {
    /// A pool for all of [`TRANSFORMS`], with one worker on each arbiter.
    pub fn new(arbiters: &ArbiterPool) -> Self {
        Self::with(TRANSFORMS.to_vec(), arbiters)
    }

    /// A pool for these transforms.
    pub fn with(transforms: Vec<Transform>, arbiters: &ArbiterPool) -> Self {
        let desk = |_: &_| Desk::default();
        let shared = Arc::new(Shared {
            transforms,
            desks: arbiters.arbiters().iter().map(desk).collect(),
            counts: Counters::default(),
        });
        let of = Arc::clone(&shared);
        let workers = PartitionSupervisor::with_template(
            arbiters.clone(),
            |spec| spec.on_restart(OnRestart::KeepMailbox),
            move |_, worker| {
                *of.desks[worker].thread.lock() = Some(thread::current().id());
                Transformer
            },
        );
        Self { workers, shared }
    }

    /// The tree of the workers.
    pub fn child_spec(&self, id: impl Into<ChildId>) -> ChildSpec {
        let flags = SupFlags {
            intensity: u32::MAX,
            period: Duration::from_secs(1),
            ..SupFlags::default()
        };
        self.workers.child_spec(id, flags)
    }

    /// What it can do.
    pub fn transforms(&self) -> &[Transform] {
        &self.shared.transforms
    }

    /// What was counted so far. Asks no actor.
    pub fn counts(&self) -> TransformCounts {
        let counts = &self.shared.counts;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        TransformCounts {
            transformed: read(&counts.transformed),
            gibberish: read(&counts.gibberish),
            unknown: read(&counts.unknown),
            overloaded: read(&counts.overloaded),
            crashed: read(&counts.crashed),
            waiting: self.shared.desks.iter().map(Desk::waiting).sum::<usize>() as u64,
        }
    }

    /// Has a poem transformed.
    ///
    /// # Errors
    /// There is no other poem to be made of it, or nobody to make it now.
    pub async fn transform(&self, name: &Bytes, poem: Bytes) -> Result<Bytes, CallTransformError> {
        let outcome = match timeout(TRANSFORM_TIMEOUT, self.ask(name, poem)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(CallTransformError::Overdue(TRANSFORM_TIMEOUT)),
        };
        let counts = &self.shared.counts;
        let counter = match &outcome {
            Ok(_) => &counts.transformed,
            Err(CallTransformError::Transform(_)) => &counts.gibberish,
            Err(CallTransformError::Unknown(_)) => &counts.unknown,
            Err(CallTransformError::Crashed(_)) => &counts.crashed,
            Err(_) => &counts.overloaded,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        outcome
    }

    async fn ask(&self, name: &Bytes, poem: Bytes) -> Result<Bytes, CallTransformError> {
        let transforms = &self.shared.transforms;
        let transform = transforms
            .iter()
            .find(|transform| transform.name.as_bytes() == name)
            .copied()
            .ok_or_else(|| CallTransformError::Unknown(name.clone()))?;
        let place = self.take_place(is_long(&poem))?;
        let worker = self
            .workers
            .whereis_partition(place.desk as u64)
            .ok_or(CallTransformError::Nobody)?;
        let apply = Apply {
            transform,
            poem,
            place,
        };
        match worker.send(apply).await {
            Ok(outcome) => Ok(outcome?),
            Err(SendError::Exited(reason)) => Err(CallTransformError::Crashed(reason)),
            Err(_) => Err(CallTransformError::Nobody),
        }
    }

    /// A place in the queue that is the one to stand in; see [`choose`].
    fn take_place(&self, is_long: bool) -> Result<Place, CallTransformError> {
        let here = thread::current().id();
        let desks = &self.shared.desks;
        let queues = desks.iter().map(|desk| Looks {
            // A long poem is long enough for the short ones before it.
            waiting: if is_long {
                desk.long.load(Ordering::Relaxed)
            } else {
                desk.waiting()
            },
            has_long: desk.long.load(Ordering::Relaxed) > 0,
            is_here: *desk.thread.lock() == Some(here),
        });
        let desk = choose(queues, is_long).ok_or(CallTransformError::Nobody)?;
        if !desks[desk].take_place(is_long) {
            return Err(CallTransformError::Overloaded);
        }
        Ok(Place {
            shared: Arc::clone(&self.shared),
            desk,
            is_long,
        })
    }
}

/// Applies transforms, one poem after the other.
#[derive(Debug)]
pub struct Transformer;

impl Actor for Transformer {
    type Context = Context<Self>;
}

/// A poem is to be transformed.
#[derive(Message)]
#[rtype(result = "Result<Bytes, TransformError>")]
struct Apply {
    transform: Transform,
    poem: Bytes,
    place: Place,
}

/// Whether a poem is worked on beside the arbiter.
fn is_long(poem: &[u8]) -> bool {
    poem.len() > INLINE_BYTES_MAX
}

/// What became of a poem: a short one's answer at once; a long one's when it is there, and no other poem is begun meanwhile.
enum Applied {
    Now(Result<Bytes, TransformError>),
    Later(AtomicResponse<Transformer, Result<Bytes, TransformError>>),
}

impl MessageResponse<Transformer, Apply> for Applied {
    fn handle(
        self,
        ctx: &mut Context<Transformer>,
        asker: Option<OneshotSender<Result<Bytes, TransformError>>>,
    ) {
        match (self, asker) {
            (Self::Now(answer), Some(asker)) => {
                let _ = asker.send(answer);
            }
            (Self::Now(_), None) => {}
            (Self::Later(answer), asker) => {
                MessageResponse::<Transformer, Apply>::handle(answer, ctx, asker);
            }
        }
    }
}

impl Handler<Apply> for Transformer {
    type Result = Applied;

    fn handle(&mut self, apply: Apply, _: &mut Context<Self>) -> Applied {
        let Apply {
            transform,
            poem,
            place,
        } = apply;
        if !place.is_long {
            return Applied::Now(transform.apply(&poem));
        }
        let beside = tokio::task::spawn_blocking(move || transform.apply(&poem));
        Applied::Later(AtomicResponse::new(Box::pin(wrap_future(async move {
            let answer = beside.await;
            drop(place);
            match answer {
                Ok(answer) => answer,
                // As if it had happened here.
                Err(error) => panic::resume_unwind(error.into_panic()),
            }
        }))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(waiting: usize, has_long: bool, is_here: bool) -> Looks {
        Looks {
            waiting,
            has_long,
            is_here,
        }
    }

    #[test]
    fn a_short_poem_stays_on_its_arbiter_unless_the_queue_is_long_or_slow() {
        let choose = |own, is_slow, other, is_long| {
            let queues = [looks(other, false, false), looks(own, is_slow, true)];
            choose(queues.into_iter(), is_long)
        };
        const OTHER: Option<usize> = Some(0);
        const OWN: Option<usize> = Some(1);
        assert_eq!(choose(0, false, 0, false), OWN);
        assert_eq!(choose(8, false, 0, false), OWN);
        assert_eq!(choose(9, false, 0, false), OTHER);
        assert_eq!(choose(1, true, 0, false), OTHER, "a long poem is before it");
        assert_eq!(choose(1, true, 1, false), OWN);
        assert_eq!(
            choose(1, false, 0, true),
            OTHER,
            "a long poem can go further"
        );
        assert_eq!(choose(0, false, 0, true), OWN);
        let full = TRANSFORMS_WAITING_MAX;
        assert_eq!(choose(full, false, full - 1, false), OTHER, "there is room");
        assert_eq!(super::choose([].into_iter(), false), None);
        let elsewhere = [looks(3, false, false), looks(2, false, false)];
        assert_eq!(super::choose(elsewhere.into_iter(), false), Some(1));
    }
}
