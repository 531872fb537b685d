//! Starting processes: on which arbiter, with which monitor and link, from an actor or from its init.

use std::any;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::{Actor, ArbiterHandle, Handler};
use parking_lot::Mutex;

use crate::actor_ref::{ActorRef, Shared};
use crate::bound::Mailbox;
use crate::chaos::Lot;
use crate::context::Context;
use crate::event::EventKind;
use crate::exit::{Down, During, ExitReason, MonitorRef};
use crate::mailbox::{Kept, Queue, QueueOf};
use crate::monitor;
use crate::panics::{self, catch, drop_contained, drop_each};
use crate::path::{Label, Path};
use crate::pid::{self, Pid};
use crate::process::{Core, End, Monitor, Observer, Options, Process};
use crate::registry::{Names, register_core};
use crate::run::{Init, InitFuture, Run};
use crate::signal;

/// Where a process runs.
#[derive(Debug, Clone, Default)]
pub enum Placement {
    /// On the arbiter that starts it; a supervisor's children run beside it.
    #[default]
    Here,
    /// On this arbiter.
    On(ArbiterHandle),
    /// On the next arbiter of a pool, in turn.
    NextOf(ArbiterPool),
}

impl Placement {
    /// The arbiter for one process; `None` for the current one.
    pub(crate) fn arbiter(&self) -> Option<ArbiterHandle> {
        match self {
            Self::Here => None,
            Self::On(arbiter) => Some(arbiter.clone()),
            Self::NextOf(pool) => Some(pool.next()),
        }
    }
}

/// Arbiters that take processes in turn.
#[derive(Clone)]
pub struct ArbiterPool(Arc<Pool>);

struct Pool {
    arbiters: Vec<ArbiterHandle>,
    next: AtomicUsize,
}

impl fmt::Debug for ArbiterPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArbiterPool of {}", self.0.arbiters.len())
    }
}

impl ArbiterPool {
    /// A pool of these arbiters.
    ///
    /// # Panics
    /// There must be at least one.
    pub fn new(arbiters: impl IntoIterator<Item = ArbiterHandle>) -> Self {
        let arbiters: Vec<_> = arbiters.into_iter().collect();
        assert!(!arbiters.is_empty(), "a pool has at least one arbiter");
        Self(Arc::new(Pool {
            arbiters,
            next: AtomicUsize::new(0),
        }))
    }

    /// The arbiters, in order.
    pub fn arbiters(&self) -> &[ArbiterHandle] {
        &self.0.arbiters
    }

    /// The arbiter whose turn it is.
    pub fn next(&self) -> ArbiterHandle {
        let turn = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.0.arbiters[turn % self.0.arbiters.len()].clone()
    }
}

/// Starts an actor as a process on this arbiter (Erlang's `spawn`).
///
/// # Panics
/// There must be an arbiter on this thread (a running actix `System`).
pub fn spawn<A: Actor<Context = Context<A>>>(actor: A) -> ActorRef<A> {
    Spawn::new().start_here(|_| actor).0
}

/// How a process is started: placement, monitor, link. What is asked for here holds from the process's first instant.
///
/// ```
/// # use actix::prelude::*;
/// # use byron_supervisors::{Context, Spawn, Placement};
/// struct Reciter;
/// impl Actor for Reciter {
///     type Context = Context<Self>;
/// }
///
/// # System::new().block_on(async {
/// let arbiter = Arbiter::new();
/// let (reciter, _) = Spawn::new().at(Placement::On(arbiter.handle())).start(|_ctx| Reciter);
/// assert!(reciter.is_alive());
/// # });
/// ```
#[must_use = "nothing is started until `start` is called"]
#[derive(Default)]
pub struct Spawn {
    pub(crate) placement: Placement,
    monitor: Option<Arc<dyn Observer>>,
    link: Option<Arc<dyn Process>>,
    options: Options,
    /// Boxed, for it is large, and is handed on from hand to hand; most processes have none.
    pub(crate) supervision: Option<Box<Supervision>>,
}

/// A process that was just started, for its supervisor.
#[derive(Clone, Copy)]
pub(crate) struct Born {
    pub(crate) pid: Pid,
    /// Its init is over, and went well. If not, the starter is told how it went.
    pub(crate) is_ready: bool,
}

impl Born {
    pub(crate) fn not_ready(pid: Pid) -> Self {
        Self {
            pid,
            is_ready: false,
        }
    }
}

/// What a supervisor adds to a child's start.
pub(crate) struct Supervision {
    /// `None` at the root of a tree.
    pub(crate) parent: Option<Arc<dyn Process>>,
    pub(crate) starter: Arc<dyn Observer>,
    pub(crate) label: Label,
    /// Registered before anything of the process runs; where one is taken, the start fails.
    pub(crate) names: Names,
    pub(crate) options: Options,
    pub(crate) cause: u64,
    /// What tells its fate, while failures are rehearsed.
    pub(crate) lot: Option<Lot>,
}

impl fmt::Debug for Spawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawn")
            .field("placement", &self.placement)
            .finish_non_exhaustive()
    }
}

impl Spawn {
    /// On this arbiter, without monitor or link.
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses the arbiter.
    pub fn at(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// Bounds the mailbox; it has no bound if not said. An adopted actix actor has actix's.
    pub fn mailbox(mut self, mailbox: Mailbox) -> Self {
        self.options.mailbox = mailbox;
        self
    }

    /// How many messages one turn may handle before the other processes of the arbiter run, and one more for each of the
    /// actor's futures; [`MESSAGES_PER_TURN`](crate::MESSAGES_PER_TURN) if not said. At least one.
    ///
    /// Fewer for an actor whose messages take long each, so that its neighbours wait less.
    pub fn messages_per_turn(mut self, messages: u32) -> Self {
        self.options.messages_per_turn = messages;
        self
    }

    /// The process whose context this is gets a [`Down`] when the new one ends.
    pub fn monitored_by<A>(mut self, ctx: &Context<A>) -> Self
    where
        A: Actor<Context = Context<A>> + Handler<Down>,
    {
        self.monitor = Some(ctx.observer());
        self
    }

    /// Links the new process to the one whose context this is.
    pub fn linked_to<A: Actor<Context = Context<A>>>(mut self, ctx: &Context<A>) -> Self {
        self.link = Some(Arc::clone(&ctx.shared) as Arc<dyn Process>);
        self
    }

    pub(crate) fn supervised(mut self, supervision: Box<Supervision>) -> Self {
        self.monitor = Some(Arc::clone(&supervision.starter));
        self.options = supervision.options;
        self.supervision = Some(supervision);
        self
    }

    /// Starts the actor that `make` returns, on the arbiter of the placement. The monitor's reference is there if a
    /// monitor was asked for.
    ///
    /// If the arbiter has stopped, the process ends at once, with `NoConnection`; if `make` panics, with that panic.
    ///
    /// # Panics
    /// With [`Placement::Here`] there must be an arbiter on this thread.
    pub fn start<A, F>(self, make: F) -> (ActorRef<A>, Option<MonitorRef>)
    where
        A: Actor<Context = Context<A>>,
        F: FnOnce(&mut Context<A>) -> A + Send + 'static,
    {
        let arbiter = self.placement.arbiter();
        let (launch, monitor) = Launch::of_actor(self, None);
        let actor = launch.actor();
        match arbiter {
            None => launch.ready(make),
            Some(arbiter) => launch.ready_at(arbiter, make),
        }
        (actor, monitor)
    }

    /// As [`start`](Self::start), of a supervisor's child, with a queue that outlives the process if there is one.
    pub(crate) fn start_child<A, F>(self, kept: Option<Arc<Kept<A>>>, make: F) -> Born
    where
        A: Actor<Context = Context<A>>,
        F: FnOnce(&mut Context<A>) -> A + Send + 'static,
    {
        let arbiter = self.placement.arbiter();
        let (launch, _) = Launch::of_actor(self, kept);
        let pid = launch.process.core.pid();
        let is_ready = match arbiter {
            None => launch.started(make),
            Some(arbiter) => {
                launch.ready_at(arbiter, make);
                false
            }
        };
        Born { pid, is_ready }
    }

    /// As [`start_child`](Self::start_child), on this arbiter, whatever the placement.
    pub(crate) fn start_child_here<A: Actor<Context = Context<A>>>(
        self,
        make: impl FnOnce(&mut Context<A>) -> A,
    ) -> (ActorRef<A>, Born) {
        let (launch, _) = Launch::of_actor(self, None);
        let actor = launch.actor();
        let (pid, is_ready) = (actor.pid(), launch.started(make));
        (actor, Born { pid, is_ready })
    }

    /// Starts the actor that `init` comes to, on the arbiter of the placement. Messages wait until then; an error is
    /// the process's exit reason.
    ///
    /// # Panics
    /// With [`Placement::Here`] there must be an arbiter on this thread.
    pub fn start_init<A, F, I>(self, init: F) -> (ActorRef<A>, Option<MonitorRef>)
    where
        A: Actor<Context = Context<A>>,
        F: FnOnce() -> I + Send + 'static,
        I: Future<Output = Result<Init<A>, ExitReason>> + 'static,
    {
        self.start_init_kept(None, init)
    }

    /// As [`start_init`](Self::start_init), with a queue that outlives the process.
    pub(crate) fn start_init_kept<A, F, I>(
        self,
        kept: Option<Arc<Kept<A>>>,
        init: F,
    ) -> (ActorRef<A>, Option<MonitorRef>)
    where
        A: Actor<Context = Context<A>>,
        F: FnOnce() -> I + Send + 'static,
        I: Future<Output = Result<Init<A>, ExitReason>> + 'static,
    {
        let arbiter = self.placement.arbiter();
        let (launch, monitor) = Launch::of_actor(self, kept);
        let actor = launch.actor();
        match arbiter {
            None => launch.init(init),
            Some(arbiter) => {
                arbiter.spawn_fn(move || launch.init(init));
            }
        }
        (actor, monitor)
    }

    /// As [`start`](Self::start) on this arbiter, whatever the placement: for actors that cannot be sent.
    pub fn start_here<A: Actor<Context = Context<A>>>(
        self,
        make: impl FnOnce(&mut Context<A>) -> A,
    ) -> (ActorRef<A>, Option<MonitorRef>) {
        let (launch, monitor) = Launch::of_actor(self, None);
        let actor = launch.actor();
        launch.ready(make);
        (actor, monitor)
    }
}

/// A process that has a pid, monitors and links, but does not run yet. Dropped unstarted, it ends.
pub(crate) struct Launch<P: Process + 'static> {
    pub(crate) process: Arc<P>,
    pub(crate) starter: Option<Arc<dyn Observer>>,
    pub(crate) cause: u64,
    is_launched: bool,
}

impl<P: Process + 'static> Launch<P> {
    /// Gives birth to the process that `make` builds around its core.
    pub(crate) fn new(
        spawn: Spawn,
        kind: fn() -> &'static str,
        make: impl FnOnce(Core) -> P,
    ) -> (Self, Option<MonitorRef>) {
        panics::install_hook();
        let Spawn {
            monitor,
            link,
            supervision,
            options,
            ..
        } = spawn;
        let monitor = monitor.map(|observer| Monitor {
            number: monitor::next_number(),
            observer,
        });
        let number = monitor.as_ref().map(|monitor| monitor.number);
        let (label, starter, cause, parent, names, lot) = match supervision {
            None => (None, None, 0, None, Names::new(), None),
            Some(supervision) => {
                let Supervision {
                    parent,
                    starter,
                    label,
                    names,
                    options: _,
                    cause,
                    lot,
                } = *supervision;
                (Some(label), Some(starter), cause, parent, names, lot)
            }
        };
        let supervisor = parent.as_ref().map(|parent| parent.core().pid());
        let core = Core::new(kind, label, supervisor, monitor, options);
        let process = Arc::new(make(core));
        let core = process.core();
        let pid = core.pid();
        pid::insert(Arc::clone(&process) as Arc<dyn Process>);
        if let Some(parent) = parent {
            adopt_child(&*parent, &*process);
        }
        if let Some(link) = link
            && !signal::link_pids(&*link, pid)
        {
            // The process that links is dying right now: so does what it started.
            core.signal(Some(link.core().pid()), ExitReason::NoProc, 0);
        }
        for name in names {
            if let Err(error) = register_core(name, core) {
                core.signal(None, ExitReason::error(error), cause);
            }
        }
        core.tell_life(EventKind::Started, cause);
        if let Some(lot) = lot {
            core.meet_fate(lot);
        }
        let monitor = number.map(|number| MonitorRef {
            number,
            target: Some(pid),
        });
        let launch = Self {
            process,
            starter,
            cause,
            is_launched: false,
        };
        (launch, monitor)
    }

    /// The process is in the hands of the future that runs it.
    pub(crate) fn launched(mut self) {
        self.is_launched = true;
    }

    pub(crate) fn end(mut self, end: End) {
        self.end_now(end);
    }

    fn end_now(&mut self, mut end: End) {
        self.is_launched = true;
        let core = self.process.core();
        core.set_exiting();
        let _inside = panics::Inside::enter(core.pid());
        end.mailbox_len = self.process.close(&end.reason);
        core.retire(end);
    }
}

impl<P: Process + 'static> Drop for Launch<P> {
    fn drop(&mut self) {
        if !self.is_launched {
            self.end_now(End::by_signal(ExitReason::NoConnection, self.cause));
        }
    }
}

impl<A: Actor<Context = Context<A>>> Launch<Shared<A>> {
    fn of_actor(spawn: Spawn, kept: Option<Arc<Kept<A>>>) -> (Self, Option<MonitorRef>) {
        let mailbox = spawn.options.mailbox;
        let queue = kept.map_or_else(|| QueueOf::Own(Mutex::new(Queue::new(mailbox))), Kept::open);
        Self::new(spawn, any::type_name::<A>, |core| Shared { core, queue })
    }

    fn actor(&self) -> ActorRef<A> {
        ActorRef(Arc::clone(&self.process))
    }

    /// Starts the actor on this arbiter.
    fn ready(self, make: impl FnOnce(&mut Context<A>) -> A) {
        self.run(make, |run| {
            actix_rt::spawn(run);
        });
    }

    /// As [`ready`](Self::ready), on another arbiter.
    fn ready_at<F>(self, arbiter: ArbiterHandle, make: F)
    where
        F: FnOnce(&mut Context<A>) -> A + Send + 'static,
    {
        // If the arbiter is gone, or goes before it gets there, the launch is dropped, and that is the end.
        arbiter.spawn_fn(move || self.ready(make));
    }

    /// As [`ready`](Self::ready), with the actor's `started` at once; true if that was all of a good start.
    fn started(self, make: impl FnOnce(&mut Context<A>) -> A) -> bool {
        let is_ready = self.run(make, |mut run| {
            let is_ready = run.start();
            if !run.is_over() {
                actix_rt::spawn(run);
            }
            is_ready
        });
        is_ready.unwrap_or(false)
    }

    /// Makes the actor, and does this with the future that runs it; `None` if it panics, which is the process's end.
    #[inline(always)]
    fn run<T>(
        mut self,
        make: impl FnOnce(&mut Context<A>) -> A,
        with: impl FnOnce(Box<Run<A>>) -> T,
    ) -> Option<T> {
        let mut ctx = Context::new(Arc::clone(&self.process));
        match catch(self.process.core.pid(), || make(&mut ctx)) {
            Ok(actor) => {
                let shared = Arc::clone(&self.process);
                let run = Run::ready(shared, self.starter.take(), self.cause, ctx, actor);
                self.launched();
                Some(with(run))
            }
            Err(caught) => {
                let panic = caught.describe(During::Init, None);
                drop_each(ctx.take_waits());
                drop_each(std::mem::take(&mut ctx.spawned));
                drop_contained(ctx);
                let cause = self.cause;
                self.end(End::panic(panic, cause));
                None
            }
        }
    }

    fn init<I>(mut self, init: impl FnOnce() -> I)
    where
        I: Future<Output = Result<Init<A>, ExitReason>> + 'static,
    {
        match catch(self.process.core.pid(), || -> InitFuture<A> {
            Box::pin(init())
        }) {
            Ok(init) => {
                let shared = Arc::clone(&self.process);
                let run = Run::init(shared, self.starter.take(), self.cause, init);
                self.launched();
                actix_rt::spawn(run);
            }
            Err(caught) => {
                let panic = caught.describe(During::Init, None);
                let cause = self.cause;
                self.end(End::panic(panic, cause));
            }
        }
    }
}

/// Ties a child to its supervisor; if that one is dead already, the child hears of it at once.
pub(crate) fn adopt_child(parent: &dyn Process, child: &dyn Process) {
    let mut state = parent.core().state();
    match state.dead.clone() {
        None => {
            state.ties().children.insert(child.core().pid());
        }
        Some(reason) => {
            drop(state);
            child.core().signal(Some(parent.core().pid()), reason, 0);
        }
    }
}

/// The path of a process that is the root of a tree.
pub(crate) fn root_label(name: &str) -> Label {
    Label {
        path: Path::root(name),
        incarnation: 1,
        dynamic: false,
    }
}
