//! What a person does to a running tree: restart, stop, start or kill one place of it.
//!
//! Each deed is an event with who did it, and that event is the cause of all that follows; so is a refused one, followed
//! by an event that says why. What takes a supervisor's decision waits for its turn there, one deed after the other, and
//! none of it blocks anybody.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use actix::Message;
use tokio::time::timeout;

use crate::actor_ref::{ActorRef, SendError};
use crate::child_spec::ChildId;
use crate::dynamic::DynamicSupervisor;
use crate::event::{self, Draft, EventDetails, EventKind};
use crate::exit::ExitReason;
use crate::monitor::exited;
use crate::path::Path;
use crate::pid::{self, Pid};
use crate::process::Process;
use crate::snapshot::{self, ChildState, Place};
use crate::supervisor::Supervisor;

/// How long a deed may take before the operator is told that it has not been done. What has begun goes on.
pub const OPERATE_TIMEOUT: Duration = Duration::from_secs(30);

/// What can be done to a place in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// `terminate_child` and `restart_child` in one turn of the supervisor; it does not count as a restart. What is
    /// stopped, or waits for its next attempt, is started.
    Restart,
    /// `terminate_child`: it stays stopped and its spec is kept, unless it is temporary. The root's children and the root
    /// itself end for good.
    Stop,
    /// `restart_child`: what is stopped runs again.
    Start,
    /// `exit(Pid, kill)`: the process ends at once, and its supervisor does about it what it does about any crash.
    Kill,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Restart, Self::Stop, Self::Start, Self::Kill];

    /// The action in one lower-case word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Stop => "stop",
            Self::Start => "start",
            Self::Kill => "kill",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text is not the name of an [`Action`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an action; expected restart, stop, start or kill")]
pub struct ParseActionError(String);

impl FromStr for Action {
    type Err = ParseActionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|action| action.name() == text)
            .ok_or_else(|| ParseActionError(text.to_owned()))
    }
}

/// Who does it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Operator {
    /// The user, if one is known.
    pub uid: Option<u32>,
    /// The process that asked, if one is known.
    pub pid: Option<u32>,
    /// By which way it was asked for: `socket`, `web`, or the name of a part of this program.
    pub via: String,
}

impl Operator {
    /// A part of this program.
    pub fn program(name: impl Into<String>) -> Self {
        Self {
            uid: None,
            pid: None,
            via: name.into(),
        }
    }

    /// Writes down another deed than [`operate`] knows, as the cause of what follows: `operator.record("drains", None)`.
    /// Answers the event's number.
    pub fn record(&self, deed: &str, path: Option<&Path>) -> u64 {
        self.tell(deed, None, path, None, 0)
    }

    fn tell(
        &self,
        deed: &str,
        action: Option<Action>,
        path: Option<&Path>,
        refused: Option<String>,
        cause: u64,
    ) -> u64 {
        let note = match &refused {
            None => format!("{self} {deed}"),
            Some(why) => format!("{self} {deed}: refused, {why}"),
        };
        let child = path.and_then(snapshot::place).map(|place| place.child);
        let child = child.as_ref();
        event::record(
            EventKind::Operator,
            Draft {
                path,
                pid: child.and_then(|child| child.state.pid()),
                incarnation: child.map_or(0, |child| child.incarnation),
                note: Some(note),
                details: EventDetails::Operator {
                    operator: Box::new(self.clone()),
                    action,
                    refused: refused.map(String::into_boxed_str),
                },
                cause,
                ..Draft::default()
            },
        )
    }
}

/// `uid 1000, pid 4242`; `the demo` for a part of this program.
impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.uid, self.pid) {
            (Some(uid), Some(pid)) => write!(f, "uid {uid}, pid {pid}"),
            (Some(uid), None) => write!(f, "uid {uid}"),
            (None, Some(pid)) => write!(f, "pid {pid}"),
            (None, None) => f.write_str(&self.via),
        }
    }
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operated {
    /// The event that tells of the request.
    pub event: u64,
    /// The process that runs there now, after a start or a restart.
    pub pid: Option<Pid>,
    /// The event of the request that it was done for, if that was another's: two restarts at a time are one.
    pub joined: Option<u64>,
}

/// It was not done.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("cannot {action} {path}: {refusal}")]
#[non_exhaustive]
pub struct OperateError {
    /// What was asked for.
    pub action: Action,
    /// To which place.
    pub path: Path,
    /// Why not.
    pub refusal: Refusal,
    /// The event that tells of the request. The one that tells of the refusal has it as its cause.
    pub event: u64,
}

/// Why a deed was not done.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such place.
    #[error("there is no such place")]
    NoSuchPlace,
    /// There is no process to end.
    #[error("it is not running")]
    NotRunning,
    /// It runs.
    #[error("it is already running")]
    AlreadyRunning,
    /// It has no process now, and its supervisor is about to start it.
    #[error("it is about to be started again; restart it to have that at once, or stop it")]
    Restarting,
    /// It is the root of a tree: nobody is above it who could start it.
    #[error(
        "it is the root of the tree, and nobody would start it again; stop or kill ends the program's tree"
    )]
    IsRoot,
    /// It did not start, or it cannot be started a second time. It stays stopped.
    #[error("it cannot be started again: {0}")]
    CannotStart(Box<str>),
    /// It ended meanwhile, for another reason.
    #[error("it ended meanwhile: {0}")]
    Died(ExitReason),
    /// Somebody has it stopped meanwhile.
    #[error("it is being stopped")]
    Overruled,
    /// Its supervisor is busy. Nothing was done.
    #[error("its supervisor had no time for it within {limit}; nothing was done", limit = snapshot::human(OPERATE_TIMEOUT))]
    Withdrawn,
    /// It was begun, and goes on.
    #[error("it is not done after {limit}, and goes on", limit = snapshot::human(OPERATE_TIMEOUT))]
    TimedOut,
}

impl Refusal {
    /// Of a dynamic child that was started with [`once`](crate::StartDynamicChild::once).
    pub(crate) fn once() -> Self {
        Self::CannotStart("it can be started only once".into())
    }
}

/// Does something to one place of a running tree, from any task of any thread.
///
/// # Errors
/// It was not done; the [`Refusal`] says why.
///
/// ```
/// # use actix::prelude::*;
/// # use byron_supervisors::{Action, ChildSpec, Context, Operator, SupFlags, Supervisor, find, operate};
/// # struct Reciter;
/// # impl Actor for Reciter {
/// #     type Context = Context<Self>;
/// # }
/// # System::new().block_on(async {
/// let reciter = ChildSpec::new("reciter", |_ctx| Reciter);
/// let _root = Supervisor::start("poems", SupFlags::default(), vec![reciter]).await;
///
/// let operator = Operator::program("the example");
/// for path in find(&"poems/*".parse().expect("a pattern")) {
///     operate(Action::Stop, &path, &operator).await.expect("it runs");
///     let error = operate(Action::Stop, &path, &operator).await.expect_err("it does not");
///     assert_eq!(error.to_string(), "cannot stop poems/reciter: it is not running");
///     operate(Action::Start, &path, &operator).await.expect("it starts");
/// }
/// # });
/// ```
pub async fn operate(
    action: Action,
    path: &Path,
    operator: &Operator,
) -> Result<Operated, OperateError> {
    let deed = format!("{action}s {path}");
    let event = operator.tell(&deed, Some(action), Some(path), None, 0);
    let refusal = match perform(action, path, operator, event).await {
        Ok(Done { pid, cause }) => {
            let joined = (cause != event).then_some(cause);
            return Ok(Operated { event, pid, joined });
        }
        Err(refusal) => refusal,
    };
    let why = refusal.to_string();
    operator.tell(&deed, Some(action), Some(path), Some(why), event);
    Err(OperateError {
        action,
        path: path.clone(),
        refusal,
        event,
    })
}

/// What only a supervisor can do for one of its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Restart,
    Stop,
    Start,
}

/// Something was done, because of this event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Done {
    pub(crate) pid: Option<Pid>,
    pub(crate) cause: u64,
}

pub(crate) type Answer = Result<Done, Refusal>;

/// A deed, on its way to the supervisor.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Answer")]
pub(crate) struct Operate {
    pub(crate) deed: Deed,
    pub(crate) id: ChildId,
    pub(crate) operator: Operator,
    pub(crate) cause: u64,
    pub(crate) turn: Turn,
}

/// Whether a deed has begun, or the operator has given up waiting: one of the two, once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turn(Arc<AtomicU8>);

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
const WITHDRAWN: u8 = 2;

impl Turn {
    fn is_now(&self, now: u8) -> bool {
        let before = self
            .0
            .compare_exchange(WAITING, now, Ordering::AcqRel, Ordering::Acquire);
        before.is_ok() || before == Err(now)
    }

    /// False if it was withdrawn.
    pub(crate) fn begin(&self) -> bool {
        self.is_now(BEGUN)
    }

    /// False if it has begun.
    fn withdraw(&self) -> bool {
        self.is_now(WITHDRAWN)
    }
}

async fn perform(action: Action, path: &Path, operator: &Operator, cause: u64) -> Answer {
    let Place { child, supervisor } = snapshot::place(path).ok_or(Refusal::NoSuchPlace)?;
    let deed = match action {
        Action::Kill => {
            let pid = match child.state {
                ChildState::Restarting { .. } => return Err(Refusal::Restarting),
                ref state => state.pid().ok_or(Refusal::NotRunning)?,
            };
            return end(pid, cause, |process| process.core().kill(cause)).await;
        }
        Action::Restart => Deed::Restart,
        Action::Stop => Deed::Stop,
        Action::Start => Deed::Start,
    };
    let Some(supervisor) = supervisor else {
        let pid = child.state.pid().ok_or(Refusal::NotRunning)?;
        return match deed {
            Deed::Stop => {
                end(pid, cause, |process| {
                    process.core().signal(None, ExitReason::SHUTDOWN, cause);
                })
                .await
            }
            Deed::Start => Err(Refusal::AlreadyRunning),
            Deed::Restart => Err(Refusal::IsRoot),
        };
    };
    let turn = Turn::default();
    let operate = Operate {
        deed,
        id: child.path.id().into(),
        operator: operator.clone(),
        cause,
        turn: turn.clone(),
    };
    let answer = async {
        if let Some(supervisor) = ActorRef::<Supervisor>::of(supervisor) {
            supervisor.send(operate).await
        } else if let Some(supervisor) = ActorRef::<DynamicSupervisor>::of(supervisor) {
            supervisor.send(operate).await
        } else {
            // It died just now: there is no third kind.
            Ok(Err(Refusal::Died(ExitReason::NoProc)))
        }
    };
    match timeout(OPERATE_TIMEOUT, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(SendError::Exited(reason))) => Err(Refusal::Died(reason)),
        Ok(Err(_)) => Err(Refusal::Died(ExitReason::NoProc)),
        Err(_) if turn.withdraw() => Err(Refusal::Withdrawn),
        Err(_) => Err(Refusal::TimedOut),
    }
}

/// Sends a process a signal that ends it, and waits for that.
async fn end(pid: Pid, cause: u64, signal: impl FnOnce(&dyn Process)) -> Answer {
    let Some(process) = pid::lookup(pid) else {
        return Err(Refusal::Died(ExitReason::NoProc));
    };
    let end = exited(pid);
    signal(&*process);
    drop(process);
    match timeout(OPERATE_TIMEOUT, end).await {
        Ok(ExitReason::Killed | ExitReason::Shutdown(None)) => Ok(Done { pid: None, cause }),
        Ok(reason) => Err(Refusal::Died(reason)),
        Err(_) => Err(Refusal::TimedOut),
    }
}
