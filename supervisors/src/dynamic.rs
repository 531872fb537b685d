//! [`DynamicSupervisor`]: many children of one kind that come and go; OTP's `simple_one_for_one`, without its waits.
//!
//! A child is started, restarted and forgotten in constant time, whatever the others do. A start has no time limit of
//! its own; nobody else waits for it.

mod answers;
mod children;
mod ending;
mod life;
mod operated;

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Handler, Message, MessageResult, Running};
use parking_lot::Mutex;

use self::children::{Child, Children, Shown};
use self::operated::Stopper;
use crate::actor_ref::{ActorRef, Shared};
use crate::backoff::Backoff;
use crate::bound::Mailbox;
use crate::child_spec::{AutoShutdown, ChildId, ChildType, Restart, SHUTDOWN_TIMEOUT, Shutdown};
use crate::context::Context;
use crate::exit::{Down, ExitReason};
use crate::panics::drop_each;
use crate::path::Path;
use crate::pid::Pid;
use crate::process::{Observer, Options, Started};
use crate::promise::Promise;
use crate::snapshot::ChildState;
use crate::spawn::{Born, Placement, Spawn, Supervision};
use crate::supervisor::{
    ChildCounts, ChildError, ChildInfo, ChildSpecInfo, CountChildren, GetChildSpec,
    StartChildError, WhichChildren, start_root,
};

/// What holds for a dynamic supervisor and each of its children.
#[derive(Debug, Clone)]
pub struct DynamicFlags {
    /// The children's common name: the id of OTP's template.
    pub id: ChildId,
    /// When a child that ended is started again.
    pub restart: Restart,
    /// How children are stopped: all at once, with one timer for all.
    pub shutdown: Shutdown,
    /// Worker or supervisor.
    pub child_type: ChildType,
    /// Whether a child's end may end the supervisor.
    pub significant: bool,
    /// How many restarts within `period` are tolerated, over all children.
    pub intensity: u32,
    /// The window of `intensity`.
    pub period: Duration,
    /// Whether the supervisor ends with its significant children.
    pub auto_shutdown: AutoShutdown,
    /// How many children there may be; `None` sets no limit.
    pub children_max: Option<usize>,
    /// How long a start may take before the child is killed and the start has failed; `None` waits for ever, and is right
    /// for children without an async init.
    pub start_timeout: Option<Duration>,
    /// How long to wait before a restart; not at all if `None`.
    pub backoff: Option<Backoff>,
}

impl DynamicFlags {
    /// Temporary workers, stopped within 5 seconds, as many as come; the intensity is OTP's default, 1 in 5 seconds.
    pub fn new(id: impl Into<ChildId>) -> Self {
        Self {
            id: id.into(),
            restart: Restart::Temporary,
            shutdown: Shutdown::Timeout(SHUTDOWN_TIMEOUT),
            child_type: ChildType::Worker,
            significant: false,
            intensity: 1,
            period: Duration::from_secs(5),
            auto_shutdown: AutoShutdown::Never,
            children_max: None,
            start_timeout: None,
            backoff: None,
        }
    }
}

type OnceFn = dyn FnOnce(Box<Supervision>) -> Born + Send;
type ManyFn = dyn Fn(Box<Supervision>) -> Born + Send + Sync;

enum Start {
    Once(Option<Box<OnceFn>>),
    Many(Arc<ManyFn>),
}

/// Starts a child (`supervisor:start_child/2` of a `simple_one_for_one`). Answers its pid, or `None` if its init answered
/// [`Ignore`](crate::Init::Ignore).
#[derive(Message)]
#[rtype(result = "Result<Option<Pid>, StartChildError>")]
pub struct StartDynamicChild(Start);

impl fmt::Debug for StartDynamicChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StartDynamicChild")
    }
}

impl StartDynamicChild {
    /// A child that can be restarted: `make` is called for each incarnation, on the supervisor's arbiter.
    pub fn new<A, F>(make: F) -> Self
    where
        A: Actor<Context = Context<A>>,
        F: Fn(&mut Context<A>) -> A + Send + Sync + 'static,
    {
        Self::at(Placement::Here, make)
    }

    /// As [`new`](Self::new), on another arbiter.
    pub fn at<A, F>(placement: Placement, make: F) -> Self
    where
        A: Actor<Context = Context<A>>,
        F: Fn(&mut Context<A>) -> A + Send + Sync + 'static,
    {
        let make = Arc::new(make);
        Self(Start::Many(Arc::new(move |supervision| {
            let make = Arc::clone(&make);
            Spawn::new()
                .at(placement.clone())
                .supervised(supervision)
                .start_child(None, move |ctx| make(ctx))
        })))
    }

    /// A child with an async init; see [`ChildSpec::with_init`](crate::ChildSpec::with_init).
    pub fn with_init<A, F, I>(init: F) -> Self
    where
        A: Actor<Context = Context<A>>,
        F: Fn() -> I + Send + Sync + 'static,
        I: Future<Output = Result<crate::Init<A>, ExitReason>> + 'static,
    {
        let init = Arc::new(init);
        Self(Start::Many(Arc::new(move |supervision| {
            let init = Arc::clone(&init);
            let spawn = Spawn::new().supervised(supervision);
            let (actor, _) = spawn.start_init(move || init());
            Born::not_ready(actor.pid())
        })))
    }

    /// A child that cannot be started a second time, such as one that owns a socket. Only for supervisors of
    /// [`Temporary`](Restart::Temporary) children; with another restart it is not restarted either.
    pub fn once<A, F>(make: F) -> Self
    where
        A: Actor<Context = Context<A>>,
        F: FnOnce(&mut Context<A>) -> A + Send + 'static,
    {
        Self(Start::Once(Some(Box::new(move |supervision| {
            Spawn::new()
                .supervised(supervision)
                .start_child_here(make)
                .1
        }))))
    }
}

impl StartDynamicChild {
    /// Bounds the child's mailbox; it has no bound if not said.
    pub fn mailbox(self, mailbox: Mailbox) -> Self {
        self.with_options(move |options| options.mailbox = mailbox)
    }

    /// How many messages one turn of the child may handle; see [`Spawn::messages_per_turn`].
    pub fn messages_per_turn(self, messages: u32) -> Self {
        self.with_options(move |options| options.messages_per_turn = messages)
    }

    fn with_options(self, set: impl Fn(&mut Options) + Send + Sync + 'static) -> Self {
        Self(match self.0 {
            Start::Once(start) => Start::Once(start.map(|start| -> Box<OnceFn> {
                Box::new(move |mut supervision| {
                    set(&mut supervision.options);
                    start(supervision)
                })
            })),
            Start::Many(start) => Start::Many(Arc::new(move |mut supervision| {
                set(&mut supervision.options);
                start(supervision)
            })),
        })
    }
}

/// The supervisor is on its way out.
struct Ending {
    reason: ExitReason,
    cause: u64,
    /// How many children ended otherwise than asked, by what they said.
    errors: Vec<(ExitReason, usize)>,
}

/// A supervisor of children that come and go; [`Supervisor`](crate::Supervisor) is the static one.
///
/// ```
/// # use actix::prelude::*;
/// # use byron_supervisors::{Context, CountChildren, DynamicFlags, DynamicSupervisor, StartDynamicChild};
/// struct Download { port: u16 }
/// impl Actor for Download {
///     type Context = Context<Self>;
/// }
///
/// # System::new().block_on(async {
/// let downloads = DynamicSupervisor::start("downloads", DynamicFlags::new("download")).await.expect("it starts");
/// for port in [10000, 10001, 10002] {
///     let start = StartDynamicChild::new(move |_ctx| Download { port });
///     downloads.send(start).await.expect("it lives").expect("it starts");
/// }
/// let counts = downloads.send(CountChildren::now()).await.expect("it lives");
/// assert_eq!(counts.active, 3);
/// # });
/// ```
pub struct DynamicSupervisor {
    flags: DynamicFlags,
    next_number: u64,
    children: Option<Arc<Mutex<Children>>>,
    starter: Option<Arc<dyn Observer>>,
    ending: Option<Ending>,
    is_over: bool,
    /// Questions to answer in turn, each with the last of the starts that were under way when it was asked.
    unsettled: VecDeque<(Option<Pid>, Unsettled)>,
}

enum Unsettled {
    /// A process that is nobody's: it may be the last one of a child that is being started again.
    Terminate(Pid, Promise<Result<(), ChildError>>),
    Which(Promise<Vec<ChildInfo>>),
    Count(Promise<ChildCounts>),
}

impl fmt::Debug for DynamicSupervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicSupervisor")
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}

/// However it ends, killed or with its arbiter: whoever holds a handle of the dead supervisor holds this table too, and
/// must not keep the promises in it from being broken, nor what the children's starts have captured.
impl Drop for DynamicSupervisor {
    fn drop(&mut self) {
        if let Some(children) = &self.children {
            let left = children.lock().take_all();
            drop_each(left);
        }
    }
}

impl DynamicSupervisor {
    /// The actor, for a [`ChildSpec`](crate::ChildSpec) of one's own; [`start`](Self::start) and
    /// [`ChildSpec::dynamic_supervisor`](crate::ChildSpec::dynamic_supervisor) are the usual ways.
    pub fn new(flags: DynamicFlags) -> Self {
        Self {
            flags,
            next_number: 1,
            children: None,
            starter: None,
            ending: None,
            is_over: false,
            unsettled: VecDeque::new(),
        }
    }

    /// Starts a dynamic supervisor that is the root of a tree, on this arbiter.
    ///
    /// # Errors
    /// The flags contradict each other: significant children cannot be permanent, and need an [`AutoShutdown`].
    ///
    /// # Panics
    /// There must be an arbiter on this thread.
    pub async fn start(name: &str, flags: DynamicFlags) -> Result<ActorRef<Self>, ExitReason> {
        Self::start_with(name, move |_| Self::new(flags)).await
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

    fn shared(&self) -> &Mutex<Children> {
        self.children
            .as_ref()
            .expect("a started supervisor has its children")
    }
}

impl Actor for DynamicSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let path = match ctx.shared.core.label() {
            Some(label) => label.path.clone(),
            None => Path::root(ctx.pid().to_string()),
        };
        let is_bad = self.flags.significant
            && (self.flags.restart == Restart::Permanent
                || self.flags.auto_shutdown == AutoShutdown::Never);
        let children = Arc::new(Mutex::new(Children::new(path, self.flags.clone())));
        ctx.shared
            .core
            .set_introspect(Arc::new(Shown(Arc::clone(&children))));
        self.starter = Some(Arc::new(Starter {
            supervisor: Arc::clone(&ctx.shared),
            children: Arc::clone(&children),
        }));
        self.children = Some(children);
        if is_bad {
            self.is_over = true;
            ctx.exit(ExitReason::error(crate::InvalidSpec::BadCombination(
                Arc::clone(&self.flags.id),
            )));
        }
    }

    /// Told to stop: the children come first.
    fn stopping(&mut self, ctx: &mut Context<Self>) -> Running {
        if self.is_over {
            return Running::Stop;
        }
        let reason = ctx.exit_reason().cloned().unwrap_or(ExitReason::SHUTDOWN);
        let cause = ctx.cause;
        self.end(reason, cause, ctx);
        if self.is_over {
            Running::Stop
        } else {
            Running::Continue
        }
    }
}

/// Hears of the children's starts and ends. A start that nobody waits for is a line in the table, and no message.
struct Starter {
    supervisor: Arc<Shared<DynamicSupervisor>>,
    children: Arc<Mutex<Children>>,
}

impl Observer for Starter {
    fn down(&self, down: Down) {
        self.supervisor.tell(down);
    }

    fn started(&self, started: Started) {
        if !self.children.lock().note_start(started) {
            self.supervisor.tell(started);
        }
    }

    fn reports_crashes(&self) -> bool {
        true
    }

    fn is_gone(&self) -> bool {
        self.supervisor.core.is_exiting()
    }
}

impl Handler<Started> for DynamicSupervisor {
    type Result = ();

    fn handle(&mut self, started: Started, ctx: &mut Context<Self>) {
        self.child_started(started, ctx);
    }
}

impl Handler<Down> for DynamicSupervisor {
    type Result = ();

    fn handle(&mut self, down: Down, ctx: &mut Context<Self>) {
        self.child_down(down, ctx);
    }
}

/// A child, known by the process that failed last, is due for another attempt.
#[derive(Message)]
#[rtype(result = "()")]
struct TryAgain(Pid);

impl Handler<TryAgain> for DynamicSupervisor {
    type Result = ();

    fn handle(&mut self, TryAgain(was): TryAgain, ctx: &mut Context<Self>) {
        let mut children = self.shared().lock();
        // Terminated meanwhile, or everything ends.
        if self.ending.is_some()
            || !matches!(
                children.get(was).map(|child| &child.state),
                Some(ChildState::Restarting { .. })
            )
        {
            return;
        }
        let child = children.remove(was);
        drop(children);
        if let Some(child) = child {
            self.attempt(child, ctx);
        }
    }
}

impl Handler<StartDynamicChild> for DynamicSupervisor {
    type Result = Promise<Result<Option<Pid>, StartChildError>>;

    fn handle(
        &mut self,
        StartDynamicChild(start): StartDynamicChild,
        ctx: &mut Context<Self>,
    ) -> Self::Result {
        let (count, path) = {
            let children = self.shared().lock();
            (children.len(), children.path.numbered(self.next_number))
        };
        if self.ending.is_some() {
            return Promise::ready(Err(StartChildError::Failed(ExitReason::SHUTDOWN)));
        }
        if self.flags.children_max.is_some_and(|max| count >= max) {
            return Promise::ready(Err(StartChildError::MaxChildren(count)));
        }
        let (waiting, answer) = Promise::if_asked(ctx);
        self.next_number += 1;
        let child = Box::new(Child::new(start, path, waiting));
        self.launch(child, 0, ctx);
        answer
    }
}

/// Stops one child of a dynamic supervisor and forgets it (`supervisor:terminate_child/2` with a pid).
#[derive(Debug, Message)]
#[rtype(result = "Result<(), ChildError>")]
pub struct TerminateDynamicChild(pub Pid);

impl Handler<TerminateDynamicChild> for DynamicSupervisor {
    type Result = Promise<Result<(), ChildError>>;

    fn handle(
        &mut self,
        TerminateDynamicChild(pid): TerminateDynamicChild,
        ctx: &mut Context<Self>,
    ) -> Self::Result {
        let (promise, answer) = Promise::pair();
        let is_known = self.shared().lock().get(pid).is_some();
        if is_known {
            self.terminate(pid, Stopper::Caller(promise), 0, ctx);
        } else {
            self.ask_settled(Unsettled::Terminate(pid, promise));
        }
        answer
    }
}

impl Handler<WhichChildren> for DynamicSupervisor {
    type Result = Promise<Vec<ChildInfo>>;

    fn handle(&mut self, question: WhichChildren, _: &mut Context<Self>) -> Self::Result {
        if !question.settled {
            return Promise::ready(self.which());
        }
        let (promise, answer) = Promise::pair();
        self.ask_settled(Unsettled::Which(promise));
        answer
    }
}

impl Handler<CountChildren> for DynamicSupervisor {
    type Result = Promise<ChildCounts>;

    fn handle(&mut self, question: CountChildren, _: &mut Context<Self>) -> Self::Result {
        if !question.settled {
            return Promise::ready(self.count());
        }
        let (promise, answer) = Promise::pair();
        self.ask_settled(Unsettled::Count(promise));
        answer
    }
}

impl Handler<GetChildSpec> for DynamicSupervisor {
    type Result = MessageResult<GetChildSpec>;

    /// The template's, under its id. It never changes, so there is no turn to wait for.
    fn handle(&mut self, question: GetChildSpec, _: &mut Context<Self>) -> Self::Result {
        MessageResult(if question.id == self.flags.id {
            Ok(ChildSpecInfo::of_template(&self.flags))
        } else {
            Err(ChildError::NotFound)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::ending::kill;
    use super::*;
    use crate::monitor::exited;

    struct Idle;

    impl Actor for Idle {
        type Context = Context<Self>;
    }

    #[test]
    fn a_supervisor_keeps_nothing_of_children_that_are_gone() {
        actix::System::new().block_on(async {
            let supervisor = DynamicSupervisor::start("kept", DynamicFlags::new("idle"))
                .await
                .expect("it starts");
            let mut pids = Vec::new();
            for _ in 0..100 {
                let started = supervisor.send(StartDynamicChild::new(|_| Idle)).await;
                pids.extend(started.expect("it lives").expect("it starts"));
            }
            let tied = || supervisor.0.core.state().ties().children.len();
            assert_eq!(tied(), 100);
            for pid in pids {
                kill(pid, 0);
                exited(pid).await;
            }
            let left = supervisor.send(CountChildren::settled()).await;
            assert_eq!(left.map(|counts| counts.workers), Ok(0));
            assert_eq!(tied(), 0);
        });
    }
}
