//! How a process ends, as a value: [`ExitReason`], and the messages that carry it, [`Down`] and [`Exit`].

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use actix::Message;

use crate::pid::Pid;
use crate::registry::Name;
use crate::report::Crash;

/// Any error, shared: exit reasons are copied to every monitor and link.
pub type ExitError = Arc<dyn Error + Send + Sync>;

/// Why a process ended. `ref_man_processes`, "Process Termination", with a panic in the place of Erlang's exceptions.
///
/// | reason | who says so | does a supervisor restart a transient child? |
/// | --- | --- | --- |
/// | `Normal` | the process: its work is done | no |
/// | `Shutdown` | its supervisor, or the process itself, in order | no |
/// | `Killed` | somebody called [`kill`](crate::kill) | yes |
/// | `NoProc` | a monitor or link to a process that was already dead | yes |
/// | `NoConnection` | the arbiter or the System that ran it went away | yes |
/// | `Error` | the process: it cannot go on | yes |
/// | `Panic` | a bug | yes |
///
/// Expected failures should leave as `Error`: unwinding a panic costs ten times as much.
#[derive(Clone)]
pub enum ExitReason {
    /// Done, as planned.
    Normal,
    /// Stopped in order; OTP's `shutdown` and `{shutdown, Term}`.
    Shutdown(Option<ExitError>),
    /// Killed from outside, without a word.
    Killed,
    /// There was no such process.
    NoProc,
    /// The arbiter (OTP: the node) that ran the process is gone.
    NoConnection,
    /// Failed, and says why.
    Error(ExitError),
    /// Panicked.
    Panic(Arc<Panic>),
}

impl ExitReason {
    /// `Shutdown` without a term.
    pub const SHUTDOWN: Self = Self::Shutdown(None);

    /// `Error` with this cause: any error type, or a text.
    pub fn error(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Error(Arc::from(cause.into()))
    }

    /// `Shutdown` with a term; OTP's `{shutdown, Term}`.
    pub fn shutdown(term: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Shutdown(Some(Arc::from(term.into())))
    }

    /// True for `Normal` and `Shutdown`: the reasons after which OTP neither restarts a transient child nor reports
    /// (`supervisor.erl`, `do_restart`).
    pub fn is_normal(&self) -> bool {
        matches!(self, Self::Normal | Self::Shutdown(_))
    }

    /// The reason's name in one lower-case word, for events and logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Shutdown(_) => "shutdown",
            Self::Killed => "killed",
            Self::NoProc => "noproc",
            Self::NoConnection => "noconnection",
            Self::Error(_) => "error",
            Self::Panic(_) => "panic",
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shutdown(Some(term)) => write!(f, "shutdown: {term}"),
            Self::Error(cause) => write!(f, "error: {cause}"),
            Self::Panic(panic) => fmt::Display::fmt(panic, f),
            plain => f.write_str(plain.kind()),
        }
    }
}

impl fmt::Debug for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal => f.write_str("Normal"),
            Self::Shutdown(term) => f.debug_tuple("Shutdown").field(term).finish(),
            Self::Killed => f.write_str("Killed"),
            Self::NoProc => f.write_str("NoProc"),
            Self::NoConnection => f.write_str("NoConnection"),
            Self::Error(cause) => f.debug_tuple("Error").field(cause).finish(),
            Self::Panic(panic) => fmt::Debug::fmt(panic, f),
        }
    }
}

/// Two reasons are equal when they are of one kind and say the same text.
impl PartialEq for ExitReason {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.to_string() == other.to_string()
    }
}

/// What is known of a panic.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Panic {
    /// The panic's text.
    pub message: String,
    /// `file:line:column` of the panic; `None` if it was raised by `resume_unwind`, which calls no hook.
    pub location: Option<String>,
    /// The type of the message that was being handled, if it was one.
    pub in_message: Option<&'static str>,
    /// What the process was doing.
    pub during: During,
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panicked at '{}'", self.message)?;
        if let Some(location) = &self.location {
            write!(f, " {location}")?;
        }
        match self.in_message {
            Some(message) => write!(f, " while handling {message}"),
            None => write!(f, " in {}", self.during),
        }
    }
}

/// The part of a process's life that was running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum During {
    /// Making the actor: the factory or its async init.
    #[default]
    Init,
    /// `Actor::started`.
    Started,
    /// A message's handler.
    Message,
    /// A future, timer or stream spawned into the context.
    Future,
    /// `Actor::stopping`.
    Stopping,
    /// `Actor::stopped`.
    Stopped,
    /// Dropping the actor, or what it had spawned.
    Drop,
    /// A turn of an [adopted](crate::adopt) actix actor: which part of it cannot be seen from outside.
    Turn,
}

impl fmt::Display for During {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Init => "init",
            Self::Started => "started",
            Self::Message => "a handler",
            Self::Future => "a future",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Drop => "drop",
            Self::Turn => "a turn",
        })
    }
}

/// Names one call of [`Context::monitor`](crate::Context::monitor); each has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MonitorRef {
    pub(crate) number: u64,
    pub(crate) target: Option<Pid>,
}

/// A monitored process ended: Erlang's `{'DOWN', MonitorRef, process, Pid, Reason}`.
///
/// Arrives exactly once for each monitor, as an ordinary message: after every message the dead process had sent to the
/// same receiver, and after its registered names are free.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct Down {
    /// Which monitor this answers.
    pub monitor: MonitorRef,
    /// Who ended. `None` if a name was monitored that nobody had.
    pub pid: Option<Pid>,
    /// The name that was monitored, if it was a name.
    pub name: Option<Name>,
    /// Why.
    pub reason: ExitReason,
    /// The event that tells of this exit, or 0.
    pub(crate) event: u64,
    /// When that was, if there is one.
    pub(crate) at: Option<SystemTime>,
    /// The crash, if it was one, for the supervisor to report with what it does about it.
    pub(crate) crash: Option<Arc<Crash>>,
    /// The children that it left behind, if it had any: they have been told, and may still be on their way out.
    pub(crate) orphans: Option<Arc<[Pid]>>,
}

impl Down {
    /// When the process ended; now, if that was not written down.
    pub(crate) fn at(&self) -> SystemTime {
        self.at.unwrap_or_else(SystemTime::now)
    }
}

/// A linked process ended, or somebody called [`exit`](crate::exit), and this process traps exits: Erlang's
/// `{'EXIT', From, Reason}`.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct Exit {
    /// The process the signal came from; `None` if it came from outside any process.
    pub from: Option<Pid>,
    /// Why.
    pub reason: ExitReason,
}
