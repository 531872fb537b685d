//! What the supervisors' tests share: a worker that starts, lives and stops as a test says, and questions to ask.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix::prelude::*;
pub(crate) use byron_supervisors::testing::settle;
use byron_supervisors::{
    ActorRef, ChildInfo, ChildSpec, ChildState, Context, CountChildren, Event, EventKind,
    ExitReason, Init, Pid, Restart, Shutdown, SupFlags, Supervisor, WhichChildren, events_since,
    exited, kill, register,
};
use parking_lot::Mutex;

/// No test waits longer than this, by the wall clock, for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The same, by the paused clock.
const YEAR: Duration = Duration::from_secs(365 * 86_400);

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) const MILLI: Duration = Duration::from_millis(1);

/// Runs a test in a `System`.
pub(crate) fn system<F: Future>(test: F) -> F::Output {
    System::new().block_on(limited(LIMIT, test))
}

/// A test that waits for what never comes fails, and does not hang.
async fn limited<F: Future>(limit: Duration, test: F) -> F::Output {
    let outcome = tokio::time::timeout(limit, test).await;
    outcome.unwrap_or_else(|_| panic!("the test waits for something that never comes"))
}

/// Runs a test in a `System` whose clock jumps to the next timer when there is nothing else to do.
pub(crate) fn paused<F: Future>(test: F) -> F::Output {
    byron_supervisors::testing::run(limited(YEAR, test))
}

/// Lets everything else run until the condition holds. The paused clock does not move meanwhile.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the limit is for a test that hangs, whatever its clock says"
    )]
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < LIMIT, "never happened: {what}");
        tokio::task::yield_now().await;
    }
}

/// Moves the paused clock.
pub(crate) async fn pass(time: Duration) {
    settle().await;
    tokio::time::advance(time).await;
    settle().await;
}

/// A name that no other test has.
pub(crate) fn unique(name: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// What happened, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn note(&self, note: impl Into<String>) {
        self.0.lock().push(note.into());
    }

    /// What has happened since the last call.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

/// How one start of a worker goes.
#[derive(Clone)]
pub(crate) enum Start {
    Ready,
    Ignore,
    Fail(ExitReason),
    PanicInInit,
    PanicInStarted,
    /// `started` asks to end, for this reason.
    LeaveInStarted(ExitReason),
    /// Takes this long, then is ready.
    Slow(Duration),
}

/// What a worker does when it is told to stop.
#[derive(Clone, Default)]
pub(crate) enum Stop {
    #[default]
    AtOnce,
    /// Takes this long, then leaves for its own reason.
    Slow(Duration, ExitReason),
    /// Refuses.
    Stubborn,
    Panic,
}

/// A worker as a test describes it; the description outlives its incarnations.
#[derive(Clone)]
pub(crate) struct Part {
    pub(crate) id: &'static str,
    log: Log,
    starts: Arc<Mutex<VecDeque<Start>>>,
    stop: Stop,
    name: Option<String>,
    made: Arc<AtomicU32>,
}

/// A worker that starts and stops without ado.
pub(crate) fn part(id: &'static str, log: &Log) -> Part {
    Part {
        id,
        log: log.clone(),
        starts: Arc::default(),
        stop: Stop::AtOnce,
        name: None,
        made: Arc::default(),
    }
}

impl Part {
    /// How its starts go, one after the other; those after the last are `Ready`.
    pub(crate) fn starts(self, starts: impl IntoIterator<Item = Start>) -> Self {
        self.next_starts(starts);
        self
    }

    /// As [`starts`](Self::starts), also while it runs.
    pub(crate) fn next_starts(&self, starts: impl IntoIterator<Item = Start>) {
        self.starts.lock().extend(starts);
    }

    /// All its starts fail.
    pub(crate) fn never_starts(self) -> Self {
        self.starts(std::iter::repeat_n(
            Start::Fail(ExitReason::error("no")),
            1000,
        ))
    }

    pub(crate) fn stops(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// Registers this name in `started`.
    pub(crate) fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// How many actors were made of it.
    pub(crate) fn made(&self) -> u32 {
        self.made.load(Ordering::Relaxed)
    }

    pub(crate) fn spec(&self) -> ChildSpec {
        let part = self.clone();
        ChildSpec::with_init(self.id, move || {
            let part = part.clone();
            async move { part.init().await }
        })
    }

    pub(crate) fn restart(&self, restart: Restart) -> ChildSpec {
        self.spec().restart(restart)
    }

    pub(crate) fn shutdown(&self, shutdown: Shutdown) -> ChildSpec {
        self.spec().shutdown(shutdown)
    }

    pub(crate) async fn init(self) -> Result<Init<Worker>, ExitReason> {
        let start = self.starts.lock().pop_front().unwrap_or(Start::Ready);
        match &start {
            Start::Ignore => {
                self.log.note(format!("ignore {}", self.id));
                return Ok(Init::Ignore);
            }
            Start::Fail(reason) => {
                self.log.note(format!("fail {}", self.id));
                return Err(reason.clone());
            }
            Start::PanicInInit => {
                self.log.note(format!("fail {}", self.id));
                panic!("no init");
            }
            Start::Slow(time) => {
                self.log.note(format!("slow {}", self.id));
                tokio::time::sleep(*time).await;
            }
            Start::Ready | Start::PanicInStarted | Start::LeaveInStarted(_) => {}
        }
        self.made.fetch_add(1, Ordering::Relaxed);
        Ok(Init::Ready(Worker {
            part: self,
            start,
            seen: 0,
            is_leaving: false,
        }))
    }
}

pub(crate) struct Worker {
    part: Part,
    start: Start,
    /// Messages that this incarnation has seen.
    seen: u32,
    is_leaving: bool,
}

impl Actor for Worker {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        match &self.start {
            Start::PanicInStarted => panic!("no started"),
            Start::LeaveInStarted(reason) => return ctx.exit(reason.clone()),
            _ => {}
        }
        self.part.log.note(format!("start {}", self.part.id));
        if let Some(name) = &self.part.name {
            register(name.as_str(), ctx.pid()).expect("the last incarnation's name is free");
        }
    }

    fn stopping(&mut self, ctx: &mut Context<Self>) -> Running {
        if self.is_leaving {
            return Running::Stop;
        }
        match self.part.stop.clone() {
            Stop::AtOnce => Running::Stop,
            Stop::Slow(time, reason) => {
                self.is_leaving = true;
                self.part.log.note(format!("slow stop {}", self.part.id));
                ctx.run_later(time, move |_, ctx| ctx.exit(reason));
                Running::Continue
            }
            Stop::Stubborn => Running::Continue,
            Stop::Panic => panic!("no stopping"),
        }
    }

    fn stopped(&mut self, ctx: &mut Context<Self>) {
        let reason = ctx.exit_reason().expect("it ends for a reason");
        self.part
            .log
            .note(format!("stop {}: {reason}", self.part.id));
    }
}

/// What a worker does because a test says so.
#[derive(Message, Clone)]
#[rtype(result = "()")]
pub(crate) enum Deed {
    Leave(ExitReason),
    Panic,
    Killed,
}

impl Handler<Deed> for Worker {
    type Result = ();

    fn handle(&mut self, deed: Deed, ctx: &mut Context<Self>) {
        self.is_leaving = true;
        match deed {
            Deed::Leave(reason) => ctx.exit(reason),
            Deed::Panic => panic!("a deed"),
            Deed::Killed => kill(ctx.pid()),
        }
    }
}

/// Counts itself: how many this incarnation has seen.
#[derive(Message)]
#[rtype(result = "u32")]
pub(crate) struct Ping;

impl Handler<Ping> for Worker {
    type Result = u32;

    fn handle(&mut self, _: Ping, _: &mut Context<Self>) -> u32 {
        self.seen += 1;
        self.seen
    }
}

/// Never answered: the worker waits for ever.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Ponder;

impl Handler<Ponder> for Worker {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Ponder, _: &mut Context<Self>) -> Self::Result {
        Box::pin(std::future::pending::<()>().into_actor(self))
    }
}

/// Flags with room for this many restarts.
pub(crate) fn flags(intensity: u32) -> SupFlags {
    SupFlags {
        intensity,
        ..SupFlags::default()
    }
}

/// A root supervisor whose children all start.
pub(crate) async fn start(flags: SupFlags, children: Vec<ChildSpec>) -> ActorRef<Supervisor> {
    Supervisor::start(&unique("root"), flags, children)
        .await
        .expect("every child starts")
}

/// What a test asks of a supervisor.
pub(crate) trait Ask {
    fn children(&self) -> impl Future<Output = Vec<ChildInfo>>;

    async fn state(&self, id: &str) -> Option<ChildState> {
        let children = self.children().await;
        let child = children.into_iter().find(|child| &*child.id == id);
        child.map(|child| child.state)
    }

    /// The pid of a child that has one.
    async fn pid_of(&self, id: &str) -> Pid {
        let state = self.state(id).await;
        let pid = state.as_ref().and_then(ChildState::pid);
        pid.unwrap_or_else(|| panic!("{id} has no process: {state:?}"))
    }

    async fn worker(&self, id: &str) -> ActorRef<Worker> {
        ActorRef::of(self.pid_of(id).await).expect("a child of a test is a worker")
    }

    /// A child ends by itself; waits until its supervisor has seen to it.
    async fn end(&self, id: &str, deed: Deed) {
        let worker = self.worker(id).await;
        let end = exited(worker.pid());
        worker.do_send(deed);
        end.await;
        settle().await;
    }

    /// The ids of the children and how they fare, in start order.
    async fn picture(&self) -> String {
        let children = self.children().await;
        let children = children.iter().rev();
        let words: Vec<_> = children
            .map(|child| format!("{} {}", child.id, child.state.name().to_lowercase()))
            .collect();
        words.join(", ")
    }
}

impl Ask for ActorRef<Supervisor> {
    async fn children(&self) -> Vec<ChildInfo> {
        self.send(WhichChildren::now())
            .timeout(LIMIT)
            .await
            .expect("the supervisor lives")
    }
}

/// Waits until a supervisor has done what it has been asked so far.
pub(crate) async fn done(supervisor: &ActorRef<Supervisor>) {
    let _ = supervisor.send(CountChildren::settled()).await;
    settle().await;
}

/// The reason for which this crash ends the supervisor.
pub(crate) async fn ends(pid: Pid) -> ExitReason {
    exited(pid).await
}

/// Where the event log is now.
pub(crate) fn now() -> u64 {
    events_since(u64::MAX - 1).events.last().map_or_else(
        || events_since(0).events.last().map_or(0, |event| event.seq),
        |event| event.seq,
    )
}

/// The events below a root since then.
pub(crate) fn events_of(root: &str, since: u64) -> Vec<Event> {
    let below = format!("{root}/");
    events_since(since)
        .events
        .into_iter()
        .filter(|event| {
            event.path.as_ref().is_some_and(|path| {
                let path = path.to_string();
                path == root || path.starts_with(&below)
            })
        })
        .collect()
}

/// How many events of a kind there are.
pub(crate) fn count(events: &[Event], kind: EventKind) -> usize {
    events.iter().filter(|event| event.kind == kind).count()
}
