//! What a child is: how it starts, when it is restarted, how it is stopped.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix::Actor;

use crate::backoff::Backoff;
use crate::bound::Mailbox;
use crate::context::Context;
use crate::dynamic::{DynamicFlags, DynamicSupervisor};
use crate::exit::ExitReason;
use crate::mailbox::{Kept, KeptMailbox};
use crate::process::Options;
use crate::registry::Name;
use crate::run::Init;
use crate::spawn::{Born, Placement, Spawn, Supervision};
use crate::strategy::Strategy;
use crate::supervisor::Supervisor;

/// A child's name among its siblings.
pub type ChildId = Arc<str>;

/// How long a worker may take to stop before it is killed (OTP's default).
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a worker may take to start before that counts as a failure. OTP waits for ever.
pub const START_TIMEOUT: Duration = Duration::from_secs(60);

/// When a child that ended is started again.
///
/// | | `Normal`, `Shutdown` | any other reason |
/// | --- | --- | --- |
/// | `Permanent` | yes | yes |
/// | `Transient` | no, its spec stays | yes |
/// | `Temporary` | no, its spec goes | no, its spec goes |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Restart {
    /// Always.
    #[default]
    Permanent,
    /// Only if it ended abnormally.
    Transient,
    /// Never.
    Temporary,
}

impl Restart {
    /// OTP's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::Transient => "transient",
            Self::Temporary => "temporary",
        }
    }

    /// Whether a child that ended by itself with this reason is started again (`do_restart` in `supervisor.erl`).
    pub fn applies(self, reason: &ExitReason) -> bool {
        match self {
            Self::Permanent => true,
            Self::Transient => !reason.is_normal(),
            Self::Temporary => false,
        }
    }
}

/// How a child is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shutdown {
    /// Killed, unasked.
    BrutalKill,
    /// Asked to stop; killed if it has not by then.
    Timeout(Duration),
    /// Asked to stop, and waited for. The default of supervisors, whose subtrees need time.
    Infinity,
}

impl fmt::Display for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BrutalKill => f.write_str("brutal_kill"),
            Self::Timeout(limit) => write!(f, "{}ms", limit.as_millis()),
            Self::Infinity => f.write_str("infinity"),
        }
    }
}

/// Whether a child is itself a supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ChildType {
    /// It does the work.
    #[default]
    Worker,
    /// It supervises others.
    Supervisor,
}

impl ChildType {
    /// OTP's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Supervisor => "supervisor",
        }
    }
}

/// When a supervisor ends because its significant children have (OTP 24, EEP 56).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AutoShutdown {
    /// Never; no child may be significant.
    #[default]
    Never,
    /// When one of them ends by itself and is not restarted.
    AnySignificant,
    /// When the last of them has ended.
    AllSignificant,
}

/// What holds for a supervisor and all its children (OTP's `sup_flags()`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SupFlags {
    /// Whom a failed child takes along.
    pub strategy: Strategy,
    /// How many restarts within `period` are tolerated (Elixir's `max_restarts`). One more, and the supervisor gives up.
    pub intensity: u32,
    /// The window of `intensity` (Elixir's `max_seconds`).
    pub period: Duration,
    /// Whether the supervisor ends with its significant children.
    pub auto_shutdown: AutoShutdown,
}

impl Default for SupFlags {
    /// OTP's defaults: `OneForOne`, 1 restart in 5 seconds, no automatic shutdown.
    fn default() -> Self {
        Self {
            strategy: Strategy::OneForOne,
            intensity: 1,
            period: Duration::from_secs(5),
            auto_shutdown: AutoShutdown::Never,
        }
    }
}

/// What a restarted child has of the one before it, besides its place and its names. See "What survives a restart" in the
/// [crate's documentation](crate).
///
/// | | `FreshAddress` | `KeepMailbox` |
/// | --- | --- | --- |
/// | messages that wait when it ends | lost; who asked hears the exit reason | the next incarnation handles them |
/// | the message that made it end | lost | lost, and not tried again |
/// | handles and addresses from before | dead | lead to the next incarnation |
/// | its monitors, links, timers, futures, state | gone | gone |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnRestart {
    /// Nothing: as in OTP, where a new process has a new mailbox. Callers ask for it by name.
    #[default]
    FreshAddress,
    /// Its mailbox, with what still waits in it. If the child is not started again (it is terminated, or ended for good,
    /// or its supervisor did), what waits is lost as with `FreshAddress`.
    KeepMailbox,
}

/// Starts an incarnation, with the mailbox that its supervisor keeps for it, if it does.
pub(crate) type StartFn =
    dyn Fn(Placement, Box<Supervision>, Option<Arc<dyn KeptMailbox>>) -> Born + Send + Sync;

/// Makes the mailbox that a supervisor keeps for one child: the copies of a spec have each their own.
type KeepFn = fn(Mailbox) -> Arc<dyn KeptMailbox>;

/// The specification of one child.
///
/// ```
/// # use std::time::Duration;
/// # use actix::prelude::*;
/// # use byron_supervisors::{ChildSpec, Context, Restart, Shutdown};
/// struct Reciter { poem: &'static str }
/// impl Actor for Reciter {
///     type Context = Context<Self>;
/// }
///
/// let spec = ChildSpec::new("reciter", |_ctx| Reciter { poem: "She walks in beauty" })
///     .restart(Restart::Transient)
///     .shutdown(Shutdown::Timeout(Duration::from_secs(1)));
/// assert_eq!(&**spec.id(), "reciter");
/// ```
#[derive(Clone)]
pub struct ChildSpec {
    pub(crate) id: ChildId,
    pub(crate) start: Arc<StartFn>,
    pub(crate) restart: Restart,
    pub(crate) shutdown: Shutdown,
    pub(crate) child_type: ChildType,
    pub(crate) significant: bool,
    pub(crate) placement: Placement,
    pub(crate) start_timeout: Option<Duration>,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) on_restart: OnRestart,
    mailbox: Mailbox,
    /// `None` for actors whose mailbox cannot be kept.
    keep: Option<KeepFn>,
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("id", &self.id)
            .field("restart", &self.restart)
            .field("shutdown", &self.shutdown)
            .field("child_type", &self.child_type)
            .field("significant", &self.significant)
            .finish_non_exhaustive()
    }
}

impl ChildSpec {
    fn with_start(id: impl Into<ChildId>, start: Arc<StartFn>) -> Self {
        Self {
            id: id.into(),
            start,
            restart: Restart::Permanent,
            shutdown: Shutdown::Timeout(SHUTDOWN_TIMEOUT),
            child_type: ChildType::Worker,
            significant: false,
            placement: Placement::Here,
            start_timeout: Some(START_TIMEOUT),
            backoff: None,
            on_restart: OnRestart::FreshAddress,
            mailbox: Mailbox::UNBOUNDED,
            keep: None,
        }
    }

    /// A worker. `make` is called for each incarnation, on the arbiter where it will run: a restarted actor is a new
    /// value. The start is over when the actor's `started` has returned; a panic until then is a failed start.
    pub fn new<A, F>(id: impl Into<ChildId>, make: F) -> Self
    where
        A: Actor<Context = Context<A>>,
        F: Fn(&mut Context<A>) -> A + Send + Sync + 'static,
    {
        let make = Arc::new(make);
        let spec = Self::with_start(
            id,
            Arc::new(move |placement, supervision, mailbox| {
                let make = Arc::clone(&make);
                Spawn::new()
                    .at(placement)
                    .supervised(supervision)
                    .start_child(Kept::of(mailbox), move |ctx| make(ctx))
            }),
        );
        Self {
            keep: Some(Kept::<A>::boxed),
            ..spec
        }
    }

    /// A worker whose start waits for something: `init` is the async form of `gen_server:init/1`. Its error is the
    /// reason of the failed start.
    pub fn with_init<A, F, I>(id: impl Into<ChildId>, init: F) -> Self
    where
        A: Actor<Context = Context<A>>,
        F: Fn() -> I + Send + Sync + 'static,
        I: Future<Output = Result<Init<A>, ExitReason>> + 'static,
    {
        let init = Arc::new(init);
        let spec = Self::with_start(
            id,
            Arc::new(move |placement, supervision, mailbox| {
                let init = Arc::clone(&init);
                let spawn = Spawn::new().at(placement).supervised(supervision);
                let (actor, _) = spawn.start_init_kept(Kept::of(mailbox), move || init());
                Born::not_ready(actor.pid())
            }),
        );
        Self {
            keep: Some(Kept::<A>::boxed),
            ..spec
        }
    }

    /// A worker that is a plain actix actor, as it is. `make` gets actix's own context, and is called for each
    /// incarnation; [`adopt`](crate::adopt()) says what such an actor has, and what it cannot have.
    pub fn adopt<A, F>(id: impl Into<ChildId>, make: F) -> Self
    where
        A: Actor<Context = actix::Context<A>>,
        F: Fn(&mut actix::Context<A>) -> A + Send + Sync + 'static,
    {
        let make = Arc::new(make);
        Self::with_start(
            id,
            Arc::new(move |placement, supervision, _| {
                let make = Arc::clone(&make);
                let spawn = Spawn::new().at(placement).supervised(supervision);
                let (_, pid, _) = spawn.adopt(move |ctx| make(ctx));
                Born::not_ready(pid)
            }),
        )
    }

    /// A supervisor below this one. `children` is called for each incarnation.
    pub fn supervisor<F>(id: impl Into<ChildId>, flags: SupFlags, children: F) -> Self
    where
        F: Fn() -> Vec<ChildSpec> + Send + Sync + 'static,
    {
        Self::new(id, move |_| Supervisor::new(flags, children())).into_supervisor()
    }

    /// A dynamic supervisor below this one.
    pub fn dynamic_supervisor(id: impl Into<ChildId>, flags: DynamicFlags) -> Self {
        Self::new(id, move |_| DynamicSupervisor::new(flags.clone())).into_supervisor()
    }

    fn into_supervisor(self) -> Self {
        self.child_type(ChildType::Supervisor)
            .shutdown(Shutdown::Infinity)
            .start_timeout(None)
    }

    /// Whether it is itself a supervisor; a worker if not said.
    pub fn child_type(mut self, child_type: ChildType) -> Self {
        self.child_type = child_type;
        self
    }

    /// The child's name among its siblings.
    pub fn id(&self) -> &ChildId {
        &self.id
    }

    /// When it is restarted; [`Restart::Permanent`] if not said.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// How it is stopped; 5 seconds for a worker, infinity for a supervisor if not said.
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// Registers each incarnation under this name from its first instant (the name of OTP's `start_link/4`), so that
    /// others find it after a restart. If another process has the name, the start fails.
    pub fn registered(mut self, name: impl Into<Name>) -> Self {
        let (start, name) = (self.start, name.into());
        self.start = Arc::new(move |placement, mut supervision, mailbox| {
            supervision.names.push(Arc::clone(&name));
            start(placement, supervision, mailbox)
        });
        self
    }

    /// Whether its end may end the supervisor; see [`AutoShutdown`].
    pub fn significant(mut self, significant: bool) -> Self {
        self.significant = significant;
        self
    }

    /// Where it runs; beside its supervisor if not said.
    pub fn at(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// How long a start may take; `None` waits for ever. [`START_TIMEOUT`] for a worker if not said.
    pub fn start_timeout(mut self, limit: Option<Duration>) -> Self {
        self.start_timeout = limit;
        self
    }

    /// What a restart leaves it; nothing if not said. Adopted actix actors keep nothing.
    pub fn on_restart(mut self, on_restart: OnRestart) -> Self {
        self.on_restart = on_restart;
        self
    }

    /// Bounds its mailbox; it has no bound if not said. An adopted actix actor keeps actix's.
    pub fn mailbox(mut self, mailbox: Mailbox) -> Self {
        self.mailbox = mailbox;
        self.with_options(move |options| options.mailbox = mailbox)
    }

    /// How many messages one turn may handle; see [`Spawn::messages_per_turn`].
    pub fn messages_per_turn(self, messages: u32) -> Self {
        self.with_options(move |options| options.messages_per_turn = messages)
    }

    fn with_options(mut self, set: impl Fn(&mut Options) + Send + Sync + 'static) -> Self {
        let start = self.start;
        self.start = Arc::new(move |placement, mut supervision, mailbox| {
            set(&mut supervision.options);
            start(placement, supervision, mailbox)
        });
        self
    }

    /// How long the supervisor waits before it restarts it; not at all if not said.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = Some(backoff);
        self
    }

    /// A mailbox to keep for a child of this spec, if it is to have one.
    pub(crate) fn mailbox_to_keep(&self) -> Option<Arc<dyn KeptMailbox>> {
        match self.on_restart {
            OnRestart::FreshAddress => None,
            OnRestart::KeepMailbox => self.keep.map(|keep| keep(self.mailbox)),
        }
    }

    /// Checks a spec against its supervisor's flags (OTP's `do_check_childspec`).
    pub(crate) fn check(&self, auto_shutdown: AutoShutdown) -> Result<(), InvalidSpec> {
        let is_bad = self.significant
            && (self.restart == Restart::Permanent || auto_shutdown == AutoShutdown::Never);
        if is_bad {
            Err(InvalidSpec::BadCombination(self.id.clone()))
        } else {
            Ok(())
        }
    }
}

/// A spec that no supervisor takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSpec {
    /// A significant child cannot be permanent, and needs a supervisor with an [`AutoShutdown`].
    #[error(
        "child `{0}` is significant, but permanent, or its supervisor never shuts down by itself"
    )]
    BadCombination(ChildId),
    /// Two children of one supervisor have this id.
    #[error("two children have the id `{0}`")]
    DuplicateId(ChildId),
}

/// The specs of a supervisor's first children, checked (OTP's `check_startspec`).
pub(crate) fn check_all(
    specs: &[ChildSpec],
    auto_shutdown: AutoShutdown,
) -> Result<(), InvalidSpec> {
    let mut ids = std::collections::HashSet::new();
    for spec in specs {
        spec.check(auto_shutdown)?;
        if !ids.insert(&spec.id) {
            return Err(InvalidSpec::DuplicateId(spec.id.clone()));
        }
    }
    Ok(())
}
