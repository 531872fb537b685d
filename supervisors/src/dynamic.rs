//! [`DynamicSupervisor`]: many children of one kind that come and go; OTP's `simple_one_for_one`, without its waits.
//!
//! A child is started, restarted and forgotten in constant time, whatever the others do. A start has no time limit of
//! its own; nobody else waits for it.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use actix::dev::SpawnHandle;
use actix::{Actor, AsyncContext, Handler, Message, MessageResult, Running};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::actor_ref::{ActorRef, AsStarter};
use crate::backoff::Backoff;
use crate::child_spec::{AutoShutdown, ChildId, ChildType, Restart, SHUTDOWN_TIMEOUT, Shutdown};
use crate::context::Context;
use crate::event::{self, Draft, EventKind};
use crate::exit::{Down, ExitReason};
use crate::intensity::Intensity;
use crate::panics::drop_each;
use crate::path::{Label, Path};
use crate::pid::{self, Pid, PidMap};
use crate::process::{Observer, Process, Started};
use crate::promise::Promise;
use crate::report::{self, Offender, ReportContext};
use crate::snapshot::{ChildState, ChildView, Introspect, LastExit, SupervisorView};
use crate::spawn::{Placement, Spawn, Supervision};
use crate::supervisor::{
    ChildCounts, ChildError, ChildInfo, ChildSpecInfo, CountChildren, GetChildSpec,
    StartChildError, WhichChildren, chance, start_root,
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
            backoff: None,
        }
    }
}

type OnceFn = dyn FnOnce(Supervision) -> Pid + Send;
type ManyFn = dyn Fn(Supervision) -> Pid + Send + Sync;

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
                .start(move |ctx| make(ctx))
                .0
                .pid()
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
            Spawn::new()
                .supervised(supervision)
                .start_init(move || init())
                .0
                .pid()
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
                .start_here(make)
                .0
                .pid()
        }))))
    }
}

struct Child {
    start: Start,
    number: u64,
    incarnation: u32,
    restarts: u32,
    failures: u32,
    started_at: Option<Instant>,
    last_exit: Option<Box<LastExit>>,
    state: ChildState,
    /// The last process whose start succeeded: OTP's `{restarting, OldPid}`.
    last_good: Option<Pid>,
    /// Who waits for the first start.
    waiting: Option<Promise<Result<Option<Pid>, StartChildError>>>,
    timer: Option<SpawnHandle>,
    /// Not empty: it is being stopped on request, is not restarted, and these are told.
    terminated: Vec<Promise<Result<(), ChildError>>>,
}

/// What the observer sees; changed by the supervisor only.
struct Children {
    path: Path,
    intensity: Intensity,
    /// By current pid, or by the last one while there is none: OTP's `{restarting, OldPid}`.
    /// Boxed, for the table has more places than children.
    by_pid: PidMap<Box<Child>>,
    /// The processes whose starts are under way, oldest first.
    starting: BTreeSet<Pid>,
}

/// A table this small is not worth shrinking.
const PLACES_MIN: usize = 1024;

impl Children {
    /// After a crowd has left: amortised, for it takes as many ends again before the next time.
    fn give_room_back(&mut self) {
        if self.by_pid.capacity() > PLACES_MIN && self.by_pid.len() < self.by_pid.capacity() / 8 {
            self.by_pid.shrink_to(self.by_pid.len() * 2);
        }
    }
}

struct Shown(Arc<Mutex<Children>>);

impl Introspect for Shown {
    fn view(&self, children_max: usize) -> SupervisorView {
        let children = self.0.lock();
        let mut shown: Vec<_> = children
            .by_pid
            .values()
            .take(children_max)
            .map(|child| ChildView {
                path: children.path.numbered(child.number),
                state: child.state.clone(),
                incarnation: child.incarnation,
                restarts: child.restarts,
                last_exit: child.last_exit.as_deref().cloned(),
            })
            .collect();
        shown.sort_by_key(|child| child.state.pid());
        SupervisorView {
            strategy: "simple_one_for_one",
            restarts_used: children.intensity.used(Instant::now()),
            intensity: children.intensity.limit(),
            period: children.intensity.period(),
            children_total: children.by_pid.len(),
            children: shown,
        }
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
            let left = mem::take(&mut children.lock().by_pid);
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

    fn shared(&self) -> Arc<Mutex<Children>> {
        Arc::clone(
            self.children
                .as_ref()
                .expect("a started supervisor has its children"),
        )
    }

    // ---- starts

    /// Starts an incarnation of a child that is in nobody's map.
    fn launch(&mut self, mut child: Box<Child>, cause: u64, ctx: &mut Context<Self>) {
        let children = self.shared();
        child.incarnation += 1;
        let label = Label {
            path: children.lock().path.numbered(child.number),
            incarnation: child.incarnation,
            dynamic: true,
        };
        let supervision = Supervision {
            parent: Some(Arc::clone(&ctx.shared) as Arc<dyn Process>),
            starter: Arc::clone(
                self.starter
                    .as_ref()
                    .expect("a started supervisor can start"),
            ),
            label,
            names: Vec::new(),
            cause,
        };
        let pid = match &mut child.start {
            Start::Many(start) => start(supervision),
            Start::Once(start) => match start.take() {
                Some(start) => start(supervision),
                None => return,
            },
        };
        child.state = ChildState::Starting(pid);
        let mut children = children.lock();
        children.starting.insert(pid);
        children.by_pid.insert(pid, child);
    }

    fn child_started(&mut self, started: Started, ctx: &mut Context<Self>) {
        let children = self.shared();
        let mut children = children.lock();
        let Some(child) = children.by_pid.get_mut(&started.pid) else {
            return;
        };
        let waiting = child.waiting.take();
        let mut ignored = None;
        if started.ignored {
            ignored = children.by_pid.remove(&started.pid);
        } else if matches!(child.state, ChildState::Starting(_)) {
            child.state = ChildState::Running(started.pid);
            child.last_good = Some(started.pid);
            child.started_at = Some(Instant::now());
        }
        children.starting.remove(&started.pid);
        drop(children);
        if let Some(promise) = waiting {
            promise.answer(Ok((!started.ignored).then_some(started.pid)));
        }
        if let Some(mut child) = ignored {
            // It may have been told to stop just before.
            if let Some(timer) = child.timer.take() {
                ctx.cancel_future(timer);
            }
            for promise in mem::take(&mut child.terminated) {
                promise.answer(Ok(()));
            }
            self.end_if_empty(ctx);
        }
        self.settle();
    }

    // ---- ends

    fn child_down(&mut self, down: Down, ctx: &mut Context<Self>) {
        let Some(pid) = down.pid else { return };
        let shared = self.shared();
        let mut children = shared.lock();
        let Some(mut child) = children.by_pid.remove(&pid) else {
            return;
        };
        children.give_room_back();
        let was_starting = matches!(child.state, ChildState::Starting(_));
        children.starting.remove(&pid);
        drop(children);
        if let Some(timer) = child.timer.take() {
            ctx.cancel_future(timer);
        }
        if let Some(ending) = &mut self.ending {
            note_error(ending, &self.flags, &down.reason);
            if let Some(promise) = child.waiting.take() {
                promise.answer(Err(StartChildError::Failed(down.reason)));
            }
            for promise in mem::take(&mut child.terminated) {
                promise.answer(Ok(()));
            }
            self.end_if_empty(ctx);
        } else if !child.terminated.is_empty() {
            // Stopped on request: neither restarted, nor a reason to end.
            if is_shutdown_error(&self.flags, &down.reason) {
                self.report(ReportContext::ShutdownError, &down.reason, Some(pid), None);
            }
            if let Some(promise) = child.waiting.take() {
                promise.answer(Err(StartChildError::Failed(down.reason)));
            }
            for promise in child.terminated {
                promise.answer(Ok(()));
            }
        } else if let Some(promise) = child.waiting.take() {
            // The first start failed: nothing is kept, nothing counts.
            promise.answer(Err(StartChildError::Failed(down.reason)));
        } else if was_starting {
            self.report(ReportContext::StartError, &down.reason, Some(pid), None);
            note_exit(&mut child, &down);
            let was = child.last_good.unwrap_or(pid);
            self.restart(child, was, ctx);
        } else {
            self.ended_by_itself(child, pid, down, ctx);
        }
        self.settle();
    }

    fn ended_by_itself(
        &mut self,
        mut child: Box<Child>,
        pid: Pid,
        down: Down,
        ctx: &mut Context<Self>,
    ) {
        if !down.reason.is_normal() || self.flags.restart == Restart::Permanent {
            self.report(
                ReportContext::ChildTerminated,
                &down.reason,
                Some(pid),
                None,
            );
        }
        note_exit(&mut child, &down);
        let can_start = matches!(child.start, Start::Many(_));
        if can_start && self.flags.restart.applies(&down.reason) {
            return self.restart(child, pid, ctx);
        }
        self.auto_shutdown(down.event, ctx);
    }

    fn auto_shutdown(&mut self, cause: u64, ctx: &mut Context<Self>) {
        let ends = self.flags.significant
            && match self.flags.auto_shutdown {
                AutoShutdown::Never => false,
                AutoShutdown::AnySignificant => true,
                AutoShutdown::AllSignificant => self.shared().lock().by_pid.is_empty(),
            };
        if ends {
            self.end(ExitReason::SHUTDOWN, cause, ctx);
        }
    }

    // ---- restarts

    /// A child failed: tries again, now or after its backoff.
    fn restart(&mut self, mut child: Box<Child>, was: Pid, ctx: &mut Context<Self>) {
        child.failures = child.failures.saturating_add(1);
        let Some(backoff) = self.flags.backoff else {
            return self.attempt_or_wait(child, was, ctx);
        };
        let cause = child.last_exit.as_ref().map_or(0, |exit| exit.event);
        if backoff.max_failures.is_some_and(|max| child.failures > max) {
            let note = format!("on it after {} failures", child.failures);
            let cause = self.tell(
                EventKind::GaveUp,
                Some(&child),
                None,
                cause,
                Some(note),
                ctx,
            );
            return self.auto_shutdown(cause, ctx);
        }
        let delay = backoff.delay(child.failures, chance());
        self.tell(
            EventKind::Backoff,
            Some(&child),
            None,
            cause,
            Some(format!("waits {} ms", delay.as_millis())),
            ctx,
        );
        child.state = ChildState::Restarting {
            was: Some(was),
            until: Some(Instant::now() + delay),
        };
        child.timer = Some(ctx.notify_later(TryAgain(was), delay));
        self.shared().lock().by_pid.insert(was, child);
    }

    /// The first attempt is made at once; after a failed start, what else was asked comes first.
    fn attempt_or_wait(&mut self, mut child: Box<Child>, was: Pid, ctx: &mut Context<Self>) {
        if matches!(child.state, ChildState::Starting(_)) {
            child.state = ChildState::Restarting {
                was: Some(was),
                until: None,
            };
            self.shared().lock().by_pid.insert(was, child);
            ctx.this().do_send(TryAgain(was));
        } else {
            self.attempt(child, ctx);
        }
    }

    fn attempt(&mut self, mut child: Box<Child>, ctx: &mut Context<Self>) {
        let cause = child.last_exit.as_ref().map_or(0, |exit| exit.event);
        let shared = self.shared();
        if !shared.lock().intensity.admit(Instant::now()) {
            let reason = ExitReason::error("reached_max_restart_intensity");
            self.report(
                ReportContext::Shutdown,
                &"reached_max_restart_intensity",
                child.state.pid(),
                None,
            );
            let note = format!(
                "after more than {} restarts in {:?}",
                self.flags.intensity, self.flags.period
            );
            let event = self.tell(
                EventKind::GaveUp,
                None,
                Some(&reason),
                cause,
                Some(note),
                ctx,
            );
            return self.end(ExitReason::SHUTDOWN, event, ctx);
        }
        child.restarts += 1;
        child.timer = None;
        let event = self.tell(EventKind::Restart, Some(&child), None, cause, None, ctx);
        self.launch(child, event, ctx);
    }

    // ---- the supervisor's own end

    /// Tells every child at once to stop, with one timer for all.
    fn end(&mut self, reason: ExitReason, cause: u64, ctx: &mut Context<Self>) {
        if self.ending.is_some() {
            return;
        }
        let event = self.tell(EventKind::Stop, None, Some(&reason), cause, None, ctx);
        self.ending = Some(Ending {
            reason,
            cause,
            errors: Vec::new(),
        });
        let shared = self.shared();
        let mut children = shared.lock();
        // Those that wait for a restart have no process to stop.
        let waiting: Vec<_> = children
            .by_pid
            .iter()
            .filter(|(_, child)| child.state.pid().is_none())
            .map(|(pid, _)| *pid)
            .collect();
        let forgotten: Vec<_> = waiting
            .into_iter()
            .filter_map(|pid| children.by_pid.remove(&pid))
            .collect();
        let pids: Vec<_> = children.by_pid.keys().copied().collect();
        drop(children);
        for child in forgotten {
            for promise in child.terminated {
                promise.answer(Ok(()));
            }
        }
        for pid in pids {
            self.stop_child(pid, event, ctx);
        }
        if let Shutdown::Timeout(limit) = self.flags.shutdown {
            ctx.run_later(limit, move |supervisor, _| {
                for pid in supervisor.shared().lock().by_pid.keys() {
                    kill(*pid, event);
                }
            });
        }
        self.end_if_empty(ctx);
    }

    fn stop_child(&self, pid: Pid, cause: u64, ctx: &Context<Self>) {
        let Some(process) = pid::lookup(pid) else {
            return;
        };
        match self.flags.shutdown {
            Shutdown::BrutalKill => process.core().kill(cause),
            _ => process
                .core()
                .signal(Some(ctx.pid()), ExitReason::SHUTDOWN, cause),
        }
    }

    fn end_if_empty(&mut self, ctx: &mut Context<Self>) {
        if self.is_over || !self.shared().lock().by_pid.is_empty() {
            return;
        }
        let Some(ending) = &mut self.ending else {
            return;
        };
        let (reason, cause) = (ending.reason.clone(), ending.cause);
        for (reason, count) in mem::take(&mut ending.errors) {
            self.report(ReportContext::ShutdownError, &reason, None, Some(count));
        }
        self.is_over = true;
        ctx.cause = cause;
        ctx.exit(reason);
    }

    // ---- telling

    fn report(
        &self,
        context: ReportContext,
        reason: &dyn fmt::Display,
        pid: Option<Pid>,
        children: Option<usize>,
    ) {
        let path = self.shared().lock().path.clone();
        let offender = Offender {
            id: Arc::clone(&self.flags.id),
            pid,
            children,
            restart: self.flags.restart.name(),
            significant: self.flags.significant,
            shutdown: self.flags.shutdown,
            child_type: self.flags.child_type.name(),
        };
        report::supervisor(&path, context, reason, &offender);
    }

    fn tell(
        &self,
        kind: EventKind,
        child: Option<&Child>,
        reason: Option<&ExitReason>,
        cause: u64,
        note: Option<String>,
        ctx: &Context<Self>,
    ) -> u64 {
        let own = self.shared().lock().path.clone();
        let (path, pid, incarnation) = match child {
            Some(child) => (own.numbered(child.number), None, child.incarnation),
            None => (
                own,
                Some(ctx.pid()),
                ctx.shared.core.label().map_or(0, |label| label.incarnation),
            ),
        };
        event::record(
            kind,
            Draft {
                path: Some(&path),
                pid,
                incarnation,
                reason,
                note,
                cause,
            },
        )
    }

    // ---- questions

    /// Answers once the starts that are under way now have ended; at once if there are none.
    fn ask_settled(&mut self, question: Unsettled) {
        let last = self.shared().lock().starting.last().copied();
        self.unsettled.push_back((last, question));
        self.settle();
    }

    /// Answers what waits for no start any more, in the order asked.
    fn settle(&mut self) {
        // One that ends answers no more; who waits hears of its end.
        if self.unsettled.is_empty() || self.ending.is_some() {
            return;
        }
        let oldest = self.shared().lock().starting.first().copied();
        // Pids are in the order of the starts.
        while let Some((last, _)) = self.unsettled.front()
            && oldest.is_none_or(|oldest| *last < Some(oldest))
            && let Some((_, question)) = self.unsettled.pop_front()
        {
            match question {
                Unsettled::Which(promise) => promise.answer(self.which()),
                Unsettled::Count(promise) => promise.answer(self.count()),
                Unsettled::Terminate(pid, promise) => {
                    let waiting = self.shared().lock().by_pid.remove(&pid);
                    // As OTP: a dead process is terminated, a living stranger is not ours to end.
                    promise.answer(if waiting.is_some() || !pid::is_alive(pid) {
                        Ok(())
                    } else {
                        Err(ChildError::NotFound)
                    });
                }
            }
        }
    }

    fn which(&self) -> Vec<ChildInfo> {
        let shared = self.shared();
        let children = shared.lock();
        let mut all: Vec<_> = children.by_pid.values().collect();
        all.sort_by_key(|child| std::cmp::Reverse(child.number));
        all.into_iter()
            .map(|child| ChildInfo {
                id: child.number.to_string().into(),
                state: child.state.clone(),
                child_type: self.flags.child_type,
            })
            .collect()
    }

    fn count(&self) -> ChildCounts {
        let shared = self.shared();
        let children = shared.lock();
        let total = children.by_pid.len();
        let is_supervisor = self.flags.child_type == ChildType::Supervisor;
        ChildCounts {
            specs: 1,
            active: children
                .by_pid
                .values()
                .filter(|child| child.state.pid().is_some_and(pid::is_alive))
                .count(),
            supervisors: if is_supervisor { total } else { 0 },
            workers: if is_supervisor { 0 } else { total },
        }
    }
}

fn kill(pid: Pid, cause: u64) {
    if let Some(process) = pid::lookup(pid) {
        process.core().kill(cause);
    }
}

fn is_shutdown_error(flags: &DynamicFlags, reason: &ExitReason) -> bool {
    match (flags.shutdown, reason) {
        (Shutdown::BrutalKill, ExitReason::Killed) => false,
        (Shutdown::BrutalKill, _) => true,
        (_, ExitReason::Shutdown(None)) => false,
        (_, ExitReason::Normal | ExitReason::Shutdown(_)) => flags.restart == Restart::Permanent,
        _ => true,
    }
}

fn note_error(ending: &mut Ending, flags: &DynamicFlags, reason: &ExitReason) {
    if !is_shutdown_error(flags, reason) {
        return;
    }
    match ending.errors.iter_mut().find(|(known, _)| known == reason) {
        Some((_, count)) => *count += 1,
        None => ending.errors.push((reason.clone(), 1)),
    }
}

fn note_exit(child: &mut Child, down: &Down) {
    child.last_exit = Some(Box::new(LastExit {
        reason: down.reason.clone(),
        at: SystemTime::now(),
        event: down.event,
    }));
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
        let children = Arc::new(Mutex::new(Children {
            path,
            intensity: Intensity::new(self.flags.intensity, self.flags.period),
            by_pid: PidMap::default(),
            starting: BTreeSet::new(),
        }));
        ctx.shared
            .core
            .set_introspect(Arc::new(Shown(Arc::clone(&children))));
        self.children = Some(children);
        self.starter = Some(Arc::new(AsStarter(Arc::clone(&ctx.shared))));
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
        let shared = self.shared();
        let mut children = shared.lock();
        // Terminated meanwhile, or everything ends.
        if self.ending.is_some()
            || !matches!(
                children.by_pid.get(&was).map(|child| &child.state),
                Some(ChildState::Restarting { .. })
            )
        {
            return;
        }
        let child = children.by_pid.remove(&was);
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
        let count = self.shared().lock().by_pid.len();
        if self.ending.is_some() {
            return Promise::ready(Err(StartChildError::Failed(ExitReason::SHUTDOWN)));
        }
        if self.flags.children_max.is_some_and(|max| count >= max) {
            return Promise::ready(Err(StartChildError::MaxChildren(count)));
        }
        let (waiting, answer) = Promise::pair();
        let number = self.next_number;
        self.next_number += 1;
        let child = Box::new(Child {
            start,
            number,
            incarnation: 0,
            restarts: 0,
            failures: 0,
            started_at: None,
            last_exit: None,
            state: ChildState::Stopped,
            last_good: None,
            waiting: Some(waiting),
            timer: None,
            terminated: Vec::new(),
        });
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
        let shared = self.shared();
        let mut children = shared.lock();
        let Some(child) = children.by_pid.get_mut(&pid) else {
            drop(children);
            let (promise, answer) = Promise::pair();
            self.ask_settled(Unsettled::Terminate(pid, promise));
            return answer;
        };
        if child.state.pid().is_none() {
            let timer = child.timer.take();
            let forgotten = children.by_pid.remove(&pid);
            drop(children);
            drop(forgotten);
            if let Some(timer) = timer {
                ctx.cancel_future(timer);
            }
            return Promise::ready(Ok(()));
        }
        let (promise, answer) = Promise::pair();
        let is_first = child.terminated.is_empty();
        child.terminated.push(promise);
        if is_first && matches!(child.state, ChildState::Running(_)) {
            child.state = ChildState::Stopping(pid);
        }
        drop(children);
        if is_first {
            self.stop_child(pid, 0, ctx);
            if let Shutdown::Timeout(limit) = self.flags.shutdown {
                let timer = ctx.run_later(limit, move |_, _| kill(pid, 0));
                if let Some(child) = shared.lock().by_pid.get_mut(&pid) {
                    child.timer = Some(timer);
                }
            }
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
