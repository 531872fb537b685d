//! Looking into a running process, and holding it still: OTP's `sys`.
//!
//! What is asked here goes by the system lane, beside the mailbox: it is answered between two messages, also while the
//! process waits (`ctx.wait`), while its mailbox is full, and while it is suspended. It is not answered while a handler
//! runs, for nothing in Rust can look into code in the middle; then the time runs out, and the error says what runs.
//!
//! ```
//! # use std::time::Duration;
//! # use actix::prelude::*;
//! # use byron_supervisors::{Context, spawn, sys};
//! #[derive(Debug)]
//! struct Reciter {
//!     line: u32,
//! }
//!
//! impl Actor for Reciter {
//!     type Context = Context<Self>;
//!
//!     fn started(&mut self, ctx: &mut Context<Self>) {
//!         ctx.expose_state();
//!     }
//! }
//!
//! # System::new().block_on(async {
//! let reciter = spawn(Reciter { line: 7 });
//! let limit = Duration::from_secs(1);
//! assert_eq!(sys::get_state(reciter.pid(), limit).await, Ok("Reciter { line: 7 }".to_owned()));
//! sys::suspend(reciter.pid(), limit).await?;
//! // It handles nothing now, and its mailbox fills.
//! sys::resume(reciter.pid(), limit).await?;
//! # Ok::<(), sys::SysError>(())
//! # }).unwrap();
//! ```

use std::any::Any;
use std::fmt;
use std::time::{Duration, SystemTime};

use actix::Actor;
use tokio::sync::{broadcast, oneshot};
use tokio::time::Instant;

use crate::actor_ref::ActorRef;
use crate::context::Context;
use crate::exit::ExitReason;
use crate::pid::{self, Pid};
use crate::vitals::{Doing, Vitals};

/// How many requests may wait for one process.
pub const SYS_REQUESTS_MAX: usize = 64;

/// How much of a process's doings is kept for a tracer that is slow; the oldest go first, and are counted.
pub const TRACE_MAX: usize = 1024;

/// The process did not do what was asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SysError {
    /// There is no such process, or it ended first.
    #[error("there is no such process")]
    NoProc,
    /// Its init has not ended: there is no actor yet.
    #[error("the process is starting")]
    Starting,
    /// It is a plain actix actor, of which only actix has the state and the loop.
    #[error("an adopted actix actor cannot be looked into")]
    Adopted,
    /// It does not expose its state ([`Context::expose_state`]).
    #[error("the actor does not expose its state; it would in `started`, by `ctx.expose_state()`")]
    NotExposed,
    /// Its `Clone` panicked.
    #[error("the actor panicked while it was looked at")]
    Panicked,
    /// [`SYS_REQUESTS_MAX`] others wait already.
    #[error("{SYS_REQUESTS_MAX} requests wait for this process already")]
    TooManyRequests,
    /// It did not answer in time.
    #[error("no answer within {limit:?}: the process {}", Held(.doing, .held))]
    Timeout {
        /// How long that was.
        limit: Duration,
        /// What it does, if it has its turn now.
        doing: Option<Doing>,
        /// For how long it had been doing so.
        held: Duration,
    },
}

/// What keeps a process from answering.
struct Held<'a>(&'a Option<Doing>, &'a Duration);

impl fmt::Display for Held<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(doing) => write!(f, "has been {doing} for {:.1?}", self.1),
            None => f.write_str("had no turn, its arbiter is busy with others"),
        }
    }
}

/// The actor's state as its `Debug` shows it, cut after [`STATE_BYTES_MAX`](crate::STATE_BYTES_MAX) bytes
/// (`sys:get_state/2`).
///
/// # Errors
/// The actor does not [expose](Context::expose_state) its state, or the process does not answer in time.
pub async fn get_state(pid: Pid, timeout: Duration) -> Result<String, SysError> {
    let state = call(pid, What::Show, timeout).await?;
    state
        .downcast::<String>()
        .map(|state| *state)
        .map_err(|_| SysError::NotExposed)
}

/// A copy of the actor, as it is between two messages.
///
/// # Errors
/// The process does not answer in time.
pub async fn get_state_of<A>(actor: &ActorRef<A>, timeout: Duration) -> Result<A, SysError>
where
    A: Actor<Context = Context<A>> + Clone + Send,
{
    let copy = call(actor.pid(), What::Copy(copy::<A>), timeout).await?;
    copy.downcast::<A>()
        .map(|copy| *copy)
        .map_err(|_| SysError::NoProc)
}

/// Holds a process still (`sys:suspend/2`): from the answer on it handles no message and polls no future, until
/// [`resume`]. Its mailbox fills, within its bound. It still heeds exit signals and kills, and what is asked here.
///
/// # Errors
/// The process does not answer in time; then it is not suspended.
pub async fn suspend(pid: Pid, timeout: Duration) -> Result<(), SysError> {
    call(pid, What::Suspend(true), timeout).await.map(|_| ())
}

/// Lets a suspended process go on (`sys:resume/2`).
///
/// # Errors
/// The process does not answer in time.
pub async fn resume(pid: Pid, timeout: Duration) -> Result<(), SysError> {
    call(pid, What::Suspend(false), timeout).await.map(|_| ())
}

/// What is counted of a process (`sys:statistics/2`, and always on). It is not asked, and so answers at once.
///
/// # Errors
/// There is no such process.
pub fn statistics(pid: Pid) -> Result<Vitals, SysError> {
    crate::vitals::vitals(pid).ok_or(SysError::NoProc)
}

/// Follows what a process does, from its next turn on (`sys:trace/2`): each message it handles, how long that took, and
/// its end. Dropping the last [`Trace`] of a process ends its tracing, and costs it nothing more.
///
/// # Errors
/// There is no such process, or it is an adopted one.
pub fn trace(pid: Pid) -> Result<Trace, SysError> {
    let process = pid::lookup(pid).ok_or(SysError::NoProc)?;
    if !process.has_system_lane() {
        return Err(SysError::Adopted);
    }
    let receiver = process.core().trace().ok_or(SysError::NoProc)?;
    Ok(Trace {
        receiver,
        missed: 0,
    })
}

/// Something that a traced process did.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Traced {
    /// The process.
    pub pid: Pid,
    /// When it was done.
    pub at: SystemTime,
    /// What.
    pub what: Deed,
}

/// What a traced process did.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Deed {
    /// It handled a message. One in which it crashed is told by its end alone.
    Handled {
        /// The message's type.
        message: &'static str,
        /// How long its handler ran.
        took: Duration,
    },
    /// It ended.
    Exited(ExitReason),
}

/// `<0.7.0> handled Note in 1.2µs`
impl fmt::Display for Traced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            Deed::Handled { message, took } => {
                write!(f, "{} handled {message} in {took:.1?}", self.pid)
            }
            Deed::Exited(reason) => write!(f, "{} ended: {reason}", self.pid),
        }
    }
}

/// The doings of one process; see [`trace`].
#[derive(Debug)]
pub struct Trace {
    receiver: broadcast::Receiver<Traced>,
    missed: u64,
}

impl Trace {
    /// What it did next, when it has; `None` after its end. Cancel-safe.
    pub async fn next(&mut self) -> Option<Traced> {
        loop {
            match self.receiver.recv().await {
                Ok(traced) => return Some(traced),
                Err(broadcast::error::RecvError::Lagged(missed)) => self.missed += missed,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// How much this tracer was too slow for.
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

/// What the system lane carries.
pub(crate) struct Request {
    pub(crate) what: What,
    pub(crate) reply: oneshot::Sender<Reply>,
}

type Reply = Result<Box<dyn Any + Send>, SysError>;

pub(crate) enum What {
    /// The state, as text.
    Show,
    /// The state, copied.
    Copy(fn(&dyn Any) -> Option<Box<dyn Any + Send>>),
    /// To hold still, or to go on.
    Suspend(bool),
}

fn copy<A: Clone + Send + 'static>(actor: &dyn Any) -> Option<Box<dyn Any + Send>> {
    Some(Box::new(actor.downcast_ref::<A>()?.clone()))
}

async fn call(pid: Pid, what: What, limit: Duration) -> Reply {
    let process = pid::lookup(pid).ok_or(SysError::NoProc)?;
    if !process.has_system_lane() {
        return Err(SysError::Adopted);
    }
    let (reply, answer) = oneshot::channel();
    process.core().request(Request { what, reply })?;
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => answer.unwrap_or(Err(SysError::NoProc)),
        Err(_) => {
            let core = process.core();
            let doing = core.pulse.doing();
            Err(SysError::Timeout {
                limit,
                doing,
                held: doing.map_or(Duration::ZERO, |doing| {
                    Instant::now().saturating_duration_since(doing.since)
                }),
            })
        }
    }
}
