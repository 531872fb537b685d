//! [`Supervisor`]: starts children in order, restarts those that fail, stops them in reverse.
//!
//! The rules are OTP's (`supervisor.erl`). The difference is that it never blocks: what takes time (a start, a stop, a
//! restart of several) is done one after the other in `supervisor/work.rs`, while questions are answered at once from
//! the state in `supervisor/children.rs`.

mod children;
mod work;

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use actix::fut::{ActorFutureExt, WrapFuture};
use actix::{Actor, AsyncContext, Handler, Message, Running};
use parking_lot::Mutex;
use tokio::sync::oneshot;

pub use self::children::FailedToStartChild;
use self::children::{Children, Shown};
pub(crate) use self::work::chance;
use self::work::{Op, Work};
use crate::actor_ref::{ActorRef, AsStarter};
use crate::backoff::Backoff;
use crate::child_spec::{ChildId, ChildSpec, ChildType, InvalidSpec, Restart, Shutdown, SupFlags};
use crate::context::Context;
use crate::dynamic::DynamicFlags;
use crate::exit::{Down, ExitReason};
use crate::operate::{Answer, Operate};
use crate::path::Path;
use crate::pid::Pid;
use crate::process::{Observer, Options, Process, Started};
use crate::promise::Promise;
use crate::registry::Names;
use crate::snapshot::{self, ChildState};
use crate::spawn::{Spawn, Supervision, root_label};

/// A supervisor of children that are known beforehand; for those that come and go there is
/// [`DynamicSupervisor`](crate::DynamicSupervisor).
///
/// ```
/// # use actix::prelude::*;
/// # use byron_supervisors::{ChildSpec, Context, SupFlags, Supervisor, WhichChildren};
/// struct Reciter;
/// impl Actor for Reciter {
///     type Context = Context<Self>;
/// }
///
/// # System::new().block_on(async {
/// let poems = Supervisor::start("poems", SupFlags::default(), vec![
///     ChildSpec::new("ecstasy", |_ctx| Reciter),
///     ChildSpec::new("science", |_ctx| Reciter),
/// ])
/// .await
/// .expect("both start");
///
/// let children = poems.send(WhichChildren::now()).await.expect("it lives");
/// let ids: Vec<_> = children.iter().map(|child| &*child.id).collect();
/// assert_eq!(ids, ["science", "ecstasy"], "last started first, as in OTP");
/// # });
/// ```
pub struct Supervisor {
    flags: SupFlags,
    specs: Vec<ChildSpec>,
    work: Option<Rc<Work>>,
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor")
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}

impl Supervisor {
    /// The actor, for a [`ChildSpec`] of one's own; [`start`](Self::start) and [`ChildSpec::supervisor`] are the usual ways.
    pub fn new(flags: SupFlags, specs: Vec<ChildSpec>) -> Self {
        Self {
            flags,
            specs,
            work: None,
        }
    }

    /// Starts a supervisor that is the root of a tree, on this arbiter, and all its children in order (OTP's
    /// `supervisor:start_link`, without the link).
    ///
    /// # Errors
    /// A child did not start: those before it were stopped again, and the reason is `Shutdown` with a
    /// [`FailedToStartChild`](crate::FailedToStartChild); or a spec is [invalid](InvalidSpec).
    ///
    /// # Panics
    /// There must be an arbiter on this thread.
    pub async fn start(
        name: &str,
        flags: SupFlags,
        children: Vec<ChildSpec>,
    ) -> Result<ActorRef<Self>, ExitReason> {
        Self::start_with(name, move |_| Self::new(flags, children)).await
    }

    /// As [`start`](Self::start), for a supervisor that is made once its pid is known.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with(
        name: &str,
        make: impl FnOnce(&mut Context<Self>) -> Self,
    ) -> Result<ActorRef<Self>, ExitReason> {
        start_root(name, make).await
    }

    fn work(&self) -> Rc<Work> {
        Rc::clone(self.work.as_ref().expect("a started supervisor works"))
    }
}

/// Starts an actor as the root of a tree and waits for its init.
pub(crate) async fn start_root<A>(
    name: &str,
    make: impl FnOnce(&mut Context<A>) -> A,
) -> Result<ActorRef<A>, ExitReason>
where
    A: Actor<Context = Context<A>>,
{
    let (sender, receiver) = oneshot::channel();
    let starter = Arc::new(RootStarter(Mutex::new(Some(sender))));
    let supervision = Box::new(Supervision {
        parent: None,
        starter,
        label: root_label(name),
        names: Names::new(),
        options: Options::default(),
        cause: 0,
        // Nobody is above it who would start it again.
        lot: None,
    });
    let spawn = Spawn::new().supervised(supervision);
    let (actor, born) = spawn.start_child_here(make);
    snapshot::add_root(born.pid);
    if born.is_ready {
        return Ok(actor);
    }
    receiver
        .await
        .unwrap_or(Err(ExitReason::NoProc))
        .map(|()| actor)
}

struct RootStarter(Mutex<Option<oneshot::Sender<Result<(), ExitReason>>>>);

impl RootStarter {
    fn answer(&self, outcome: Result<(), ExitReason>) {
        if let Some(sender) = self.0.lock().take() {
            let _ = sender.send(outcome);
        }
    }
}

impl Observer for RootStarter {
    fn down(&self, down: Down) {
        self.answer(Err(down.reason));
    }

    fn started(&self, _: Started) {
        self.answer(Ok(()));
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let path = match ctx.shared.core.label() {
            Some(label) => label.path.clone(),
            None => Path::root(ctx.pid().to_string()),
        };
        let children = Arc::new(Mutex::new(Children::new(path, self.flags)));
        ctx.shared
            .core
            .set_introspect(Arc::new(Shown(Arc::clone(&children))));
        let process = Arc::clone(&ctx.shared) as Arc<dyn Process>;
        let starter = Arc::new(AsStarter(Arc::clone(&ctx.shared)));
        let work = Rc::new(Work::new(process, starter, children));
        self.work = Some(Rc::clone(&work));
        ctx.defer_ready();
        let specs = std::mem::take(&mut self.specs);
        let init = Rc::clone(&work);
        ctx.spawn(async move { init.init(specs).await }.into_actor(self).map(
            |outcome, supervisor, ctx| match outcome {
                Ok(()) => {
                    ctx.ready();
                    let work = supervisor.work();
                    ctx.spawn(async move { work.run().await }.into_actor(supervisor).map(
                        |reason, supervisor, ctx| {
                            supervisor.leave(reason, ctx);
                        },
                    ));
                }
                Err(reason) => supervisor.leave(reason, ctx),
            },
        ));
    }

    /// Told to stop: the children come first.
    fn stopping(&mut self, ctx: &mut Context<Self>) -> Running {
        let work = self.work();
        if work.is_over() {
            return Running::Stop;
        }
        let reason = ctx.exit_reason().cloned().unwrap_or(ExitReason::SHUTDOWN);
        work.stop(reason, ctx.cause);
        Running::Continue
    }
}

impl Supervisor {
    /// What is asked takes its turn in the work.
    fn queue<R>(&self, op: impl FnOnce(Promise<R>) -> Op) -> Promise<R> {
        let (promise, answer) = Promise::pair();
        self.work().push(op(promise));
        answer
    }

    fn leave(&mut self, reason: ExitReason, ctx: &mut Context<Self>) {
        let work = self.work();
        work.set_over();
        ctx.cause = work.cause();
        ctx.exit(reason);
    }
}

impl Handler<Down> for Supervisor {
    type Result = ();

    fn handle(&mut self, down: Down, _: &mut Context<Self>) {
        self.work().push(Op::Down(down));
    }
}

impl Handler<Started> for Supervisor {
    type Result = ();

    fn handle(&mut self, started: Started, _: &mut Context<Self>) {
        self.work().started(started);
    }
}

/// Adds a child at the end of the start order and starts it (`supervisor:start_child/2`). Answers its pid, or `None` if
/// its init answered [`Ignore`](crate::Init::Ignore).
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<Pid>, StartChildError>")]
pub struct StartChild(pub ChildSpec);

/// A child was not added.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StartChildError {
    /// There is a child with this id, and it runs.
    #[error("already started as {0}")]
    AlreadyStarted(Pid),
    /// There is a child with this id, and it does not run.
    #[error("already present")]
    AlreadyPresent,
    /// It did not start; its spec was thrown away.
    #[error("did not start: {0}")]
    Failed(ExitReason),
    /// The spec is wrong.
    #[error(transparent)]
    Invalid(InvalidSpec),
    /// The dynamic supervisor has as many children as it may.
    #[error("the supervisor has {0} children already, its maximum")]
    MaxChildren(usize),
}

impl Handler<StartChild> for Supervisor {
    type Result = Promise<Result<Option<Pid>, StartChildError>>;

    fn handle(&mut self, StartChild(spec): StartChild, _: &mut Context<Self>) -> Self::Result {
        self.queue(|promise| Op::Start(Box::new(spec), promise))
    }
}

/// Stops a child; its spec stays, unless it is temporary (`supervisor:terminate_child/2`).
#[derive(Debug, Message)]
#[rtype(result = "Result<(), ChildError>")]
pub struct TerminateChild(pub ChildId);

/// Starts a child that is stopped (`supervisor:restart_child/2`). Does not count as a restart.
#[derive(Debug, Message)]
#[rtype(result = "Result<Option<Pid>, ChildError>")]
pub struct RestartChild(pub ChildId);

/// Forgets a child that is stopped (`supervisor:delete_child/2`).
#[derive(Debug, Message)]
#[rtype(result = "Result<(), ChildError>")]
pub struct DeleteChild(pub ChildId);

/// What was asked cannot be done with this child.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChildError {
    /// There is no such child.
    #[error("no such child")]
    NotFound,
    /// It runs.
    #[error("the child is running")]
    Running,
    /// The supervisor is about to try it again.
    #[error("the child is restarting")]
    Restarting,
    /// It did not start, and stays stopped.
    #[error("did not start: {0}")]
    Failed(ExitReason),
}

impl Handler<TerminateChild> for Supervisor {
    type Result = Promise<Result<(), ChildError>>;

    fn handle(
        &mut self,
        TerminateChild(id): TerminateChild,
        _: &mut Context<Self>,
    ) -> Self::Result {
        self.queue(|promise| Op::Terminate(id, promise))
    }
}

impl Handler<RestartChild> for Supervisor {
    type Result = Promise<Result<Option<Pid>, ChildError>>;

    fn handle(&mut self, RestartChild(id): RestartChild, _: &mut Context<Self>) -> Self::Result {
        self.queue(|promise| Op::Restart(id, promise))
    }
}

impl Handler<DeleteChild> for Supervisor {
    type Result = Promise<Result<(), ChildError>>;

    fn handle(&mut self, DeleteChild(id): DeleteChild, _: &mut Context<Self>) -> Self::Result {
        self.queue(|promise| Op::Delete(id, promise))
    }
}

impl Handler<Operate> for Supervisor {
    type Result = Promise<Answer>;

    fn handle(&mut self, operate: Operate, _: &mut Context<Self>) -> Self::Result {
        self.work().operate(operate)
    }
}

/// A child, as `supervisor:which_children/1` tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildInfo {
    /// Its name; of a dynamic child, its number.
    pub id: ChildId,
    /// Its process, or what there is instead of one.
    pub state: ChildState,
    /// Worker or supervisor.
    pub child_type: ChildType,
}

/// The children, last started first (`supervisor:which_children/1`).
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<ChildInfo>")]
pub struct WhichChildren {
    pub(crate) settled: bool,
}

impl WhichChildren {
    /// As they are now, answered at once, also while the supervisor starts or stops something.
    pub fn now() -> Self {
        Self { settled: false }
    }

    /// As they are once everything that was asked of the supervisor before is done; OTP's answer.
    pub fn settled() -> Self {
        Self { settled: true }
    }
}

/// How many children there are (`supervisor:count_children/1`).
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "ChildCounts")]
pub struct CountChildren {
    pub(crate) settled: bool,
}

impl CountChildren {
    /// Answered at once; see [`WhichChildren::now`].
    pub fn now() -> Self {
        Self { settled: false }
    }

    /// Answered in turn; see [`WhichChildren::settled`].
    pub fn settled() -> Self {
        Self { settled: true }
    }
}

/// The answer to [`CountChildren`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ChildCounts {
    /// Specs, of children alive or dead.
    pub specs: usize,
    /// Children that have a living process.
    pub active: usize,
    /// Children that are supervisors, alive or dead.
    pub supervisors: usize,
    /// Children that are workers, alive or dead.
    pub workers: usize,
}

impl Handler<WhichChildren> for Supervisor {
    type Result = Promise<Vec<ChildInfo>>;

    fn handle(&mut self, question: WhichChildren, _: &mut Context<Self>) -> Self::Result {
        if question.settled {
            self.queue(Op::Which)
        } else {
            Promise::ready(self.work().which())
        }
    }
}

impl Handler<CountChildren> for Supervisor {
    type Result = Promise<ChildCounts>;

    fn handle(&mut self, question: CountChildren, _: &mut Context<Self>) -> Self::Result {
        if question.settled {
            self.queue(Op::Count)
        } else {
            Promise::ready(self.work().count())
        }
    }
}

/// What a child's spec says (`supervisor:get_childspec/2`).
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<ChildSpecInfo, ChildError>")]
pub struct GetChildSpec {
    pub(crate) id: ChildId,
    pub(crate) settled: bool,
}

impl GetChildSpec {
    /// Answered at once; see [`WhichChildren::now`].
    pub fn now(id: impl Into<ChildId>) -> Self {
        Self {
            id: id.into(),
            settled: false,
        }
    }

    /// Answered in turn; see [`WhichChildren::settled`].
    pub fn settled(id: impl Into<ChildId>) -> Self {
        Self {
            id: id.into(),
            settled: true,
        }
    }
}

/// What a child's spec says: the answer to [`GetChildSpec`], and a part of each [`Node`](crate::Node).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ChildSpecInfo {
    /// Its name.
    pub id: ChildId,
    /// When it is restarted.
    pub restart: Restart,
    /// How it is stopped.
    pub shutdown: Shutdown,
    /// Worker or supervisor.
    pub child_type: ChildType,
    /// Whether its end may end the supervisor.
    pub significant: bool,
    /// How long the supervisor waits before it restarts it, if it does.
    pub backoff: Option<Backoff>,
    /// It can be started one single time, whatever `restart` says:
    /// [`StartDynamicChild::once`](crate::StartDynamicChild::once).
    pub is_once: bool,
}

impl ChildSpecInfo {
    pub(crate) fn is_supervisor(&self) -> bool {
        self.child_type == ChildType::Supervisor
    }

    pub(crate) fn of_spec(spec: &ChildSpec) -> Self {
        Self {
            id: Arc::clone(&spec.id),
            restart: spec.restart,
            shutdown: spec.shutdown,
            child_type: spec.child_type,
            significant: spec.significant,
            backoff: spec.backoff,
            is_once: false,
        }
    }

    /// What a dynamic supervisor's children have in common.
    pub(crate) fn of_template(flags: &DynamicFlags) -> Self {
        Self {
            id: Arc::clone(&flags.id),
            restart: flags.restart,
            shutdown: flags.shutdown,
            child_type: flags.child_type,
            significant: flags.significant,
            backoff: flags.backoff,
            is_once: false,
        }
    }
}

impl Handler<GetChildSpec> for Supervisor {
    type Result = Promise<Result<ChildSpecInfo, ChildError>>;

    fn handle(&mut self, question: GetChildSpec, _: &mut Context<Self>) -> Self::Result {
        if question.settled {
            self.queue(|promise| Op::Spec(question.id, promise))
        } else {
            Promise::ready(self.work().child_spec(&question.id))
        }
    }
}
