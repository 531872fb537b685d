//! [`Context`]: actix's execution context with a pid, an exit reason, monitors and links.

use std::any;
use std::cell::{Cell, OnceCell};
use std::fmt::{self, Write as _};
use std::future::Future as _;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, SystemTime};

use actix::dev::{MessageResponse, SpawnHandle};
use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, ActorState, Addr, AsyncContext, Handler, Message};
use smallvec::SmallVec;
use tokio::sync::broadcast;
use tokio::time::{Instant, Sleep};

use crate::actor_ref::{ActorRef, ByLetter, Shared};
use crate::bounded_text::{Bounded, cut};
use crate::chaos;
use crate::event::{EventKind, NOTE_BYTES_MAX};
use crate::exit::{Down, During, Exit, ExitReason, MonitorRef};
use crate::fault::CustomFault;
use crate::mailbox::BoxedMail;
use crate::monitor;
use crate::pid::Pid;
use crate::process::{DetailsFn, Observer, TrapExit};
use crate::registry::Name;
use crate::signal;
use crate::spawn::Spawn;
use crate::sys::{Deed, Traced};
use crate::vitals;

/// How many messages, and how many futures a handler spawned, one turn of a process may take before it lets the other
/// processes of its arbiter run, if its spec or [`Spawn::messages_per_turn`] does not say otherwise.
pub const MESSAGES_PER_TURN: u32 = 200;

/// The most that is shown of an actor's state, in bytes.
pub const STATE_BYTES_MAX: usize = 4096;

pub(crate) type BoxedFuture<A> = Pin<Box<dyn ActorFuture<A, Output = ()>>>;

/// Futures in a process's care. Most processes have one at the most, and keep it without a list.
pub(crate) type Spawned<A> = SmallVec<[(SpawnHandle, BoxedFuture<A>); 1]>;

/// The context of an actor that is a process: `type Context = byron_supervisors::Context<Self>`.
///
/// It does what `actix::Context` does (messages, timers, streams, `spawn`, `wait`), and is also the actor's side of the
/// process: its [`pid`](Self::pid), [`exit`](Self::exit), [`monitor`](Self::monitor), [`link`](Self::link).
///
/// Three things differ from `actix::Context`. A panic ends this actor alone, with its reason. An actor lives until it
/// stops or is stopped, not until nobody holds its address. Its turns are short: after [`MESSAGES_PER_TURN`] messages
/// the arbiter's other actors run.
pub struct Context<A: Actor<Context = Self>> {
    pub(crate) shared: Arc<Shared<A>>,
    pub(crate) state: ActorState,
    pub(crate) exit: Option<ExitReason>,
    /// The event behind `exit`, or 0.
    pub(crate) cause: u64,
    /// `exit` came from another process.
    pub(crate) is_signalled_exit: bool,
    pub(crate) is_started: bool,
    /// It was told that the mailbox is long, and has not been half as long since.
    pub(crate) is_high: bool,
    /// Spawned since the futures were last polled.
    pub(crate) spawned: Spawned<A>,
    pub(crate) budget: Cell<u32>,
    /// Something had to wait because the budget was spent: there is work left for the next turn.
    pub(crate) is_cut: Cell<bool>,
    pub(crate) during: During,
    pub(crate) in_message: Option<&'static str>,
    /// Whoever sent the message that is being handled waits for an answer.
    pub(crate) is_asked: bool,
    /// The init goes on after `started`; see [`defer_ready`](Self::defer_ready).
    pub(crate) is_deferred: bool,
    /// How the actor shows its state, if it does.
    pub(crate) show: Option<fn(&A) -> String>,
    last_handle: SpawnHandle,
    /// What few actors have; made when it is needed.
    extras: OnceCell<Box<Extras<A>>>,
}

/// What an actor has that waits, watches, cancels or is watched closely.
pub(crate) struct Extras<A: Actor<Context = Context<A>>> {
    /// Polled last to first, as `actix::Context` does; messages and futures wait meanwhile.
    pub(crate) waits: Vec<BoxedFuture<A>>,
    pub(crate) cancelled: Vec<SpawnHandle>,
    /// Monitors flushed during this turn: their `Down` may be among the letters already taken out of the queue.
    pub(crate) flushed: Vec<MonitorRef>,
    /// Where it is told what the process does, as long as somebody wants to know.
    pub(crate) tracer: Option<broadcast::Sender<Traced>>,
    /// What its monitors tell; made for the first one.
    observer: OnceCell<Arc<dyn Observer>>,
}

impl<A: Actor<Context = Context<A>>> Default for Extras<A> {
    fn default() -> Self {
        Self {
            waits: Vec::new(),
            cancelled: Vec::new(),
            flushed: Vec::new(),
            tracer: None,
            observer: OnceCell::new(),
        }
    }
}

impl<A: Actor<Context = Self>> fmt::Debug for Context<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("pid", &self.pid())
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl<A: Actor<Context = Self>> Context<A> {
    #[inline(always)]
    pub(crate) fn new(shared: Arc<Shared<A>>) -> Self {
        Self {
            shared,
            state: ActorState::Started,
            exit: None,
            cause: 0,
            is_signalled_exit: false,
            is_started: false,
            is_high: false,
            spawned: Spawned::<A>::new(),
            budget: Cell::new(MESSAGES_PER_TURN),
            is_cut: Cell::new(false),
            during: During::Init,
            in_message: None,
            is_asked: false,
            is_deferred: false,
            show: None,
            last_handle: SpawnHandle::default(),
            extras: OnceCell::new(),
        }
    }

    /// The extras, to add one.
    fn extras(&mut self) -> &mut Extras<A> {
        self.extras.get_or_init(Box::default);
        self.extras.get_mut().expect("made above")
    }

    /// The extras, if there are any.
    pub(crate) fn known_extras(&mut self) -> Option<&mut Extras<A>> {
        self.extras.get_mut().map(|extras| &mut **extras)
    }

    /// A wait keeps messages and futures waiting.
    pub(crate) fn is_in_wait(&self) -> bool {
        let extras = self.extras.get();
        extras.is_some_and(|extras| !extras.waits.is_empty())
    }

    /// The waits of an actor that is over.
    pub(crate) fn take_waits(&mut self) -> Vec<BoxedFuture<A>> {
        self.known_extras()
            .map_or_else(Vec::new, |extras| mem::take(&mut extras.waits))
    }

    /// How many futures were cancelled since they were last polled.
    pub(crate) fn cancelled_len(&self) -> usize {
        self.extras.get().map_or(0, |extras| extras.cancelled.len())
    }

    /// Whether a letter that was taken out of the queue is the `Down` of a monitor that was flushed since.
    pub(crate) fn is_flushed(&self, letter: &BoxedMail<A>) -> bool {
        let Some(extras) = self.extras.get() else {
            return false;
        };
        !extras.flushed.is_empty()
            && letter
                .monitor()
                .is_some_and(|monitor| extras.flushed.contains(&monitor))
    }

    fn tracer(&self) -> Option<&broadcast::Sender<Traced>> {
        self.extras.get()?.tracer.as_ref()
    }

    /// At the beginning of a turn: whether somebody wants to know what the process does in it.
    pub(crate) fn look_for_tracer(&mut self) {
        if self.shared.core.is_traced() {
            self.extras().tracer = self.shared.core.tracer();
        } else if let Some(extras) = self.known_extras() {
            extras.tracer = None;
        }
    }

    /// This process's pid (Erlang's `self/0`).
    pub fn pid(&self) -> Pid {
        self.shared.core.pid()
    }

    /// This process's own handle.
    pub fn this(&self) -> ActorRef<A> {
        ActorRef(Arc::clone(&self.shared))
    }

    /// Ends this process with a reason, once the current handler returns (Erlang's `exit/1`).
    ///
    /// `stopping` and `stopped` run as after `ctx.stop()`, which is `exit(Normal)`. The first reason stands.
    pub fn exit(&mut self, reason: ExitReason) {
        if self.state.alive() {
            self.state = ActorState::Stopping;
            self.exit.get_or_insert(reason);
        }
    }

    /// Why this process is ending; for `stopping` and `stopped` (the argument of OTP's `terminate/2`).
    pub fn exit_reason(&self) -> Option<&ExitReason> {
        self.exit.as_ref()
    }

    /// Asks to be told when a process ends (Erlang's `monitor/2`). Each call is a monitor of its own and gets one
    /// [`Down`]; a dead process's comes at once, with `NoProc`.
    pub fn monitor(&mut self, pid: Pid) -> MonitorRef
    where
        A: Handler<Down>,
    {
        monitor::monitor_pid(pid, self.observer())
    }

    /// As [`monitor`](Self::monitor), for whoever has a name now; the `Down` carries the name.
    pub fn monitor_name(&mut self, name: impl Into<Name>) -> MonitorRef
    where
        A: Handler<Down>,
    {
        monitor::monitor_name(name.into(), self.observer())
    }

    /// Ends a monitor and removes its `Down` from the mailbox if it is there already (Erlang's
    /// `demonitor(Ref, [flush, info])`). True if the monitor was still active.
    pub fn demonitor_flush(&mut self, monitor: MonitorRef) -> bool {
        let was_active = monitor::demonitor(monitor);
        if !was_active {
            let mut queue = self.shared.queue.lock();
            let at = queue
                .mail
                .iter()
                .position(|letter| letter.monitor() == Some(monitor));
            match at.and_then(|at| queue.mail.remove(at)) {
                // Its reason may hold the last copy of an error, whose `Drop` is not run under the lock.
                Some(down) => {
                    drop(queue);
                    drop(down);
                }
                None => {
                    drop(queue);
                    self.extras().flushed.push(monitor);
                }
            }
        }
        was_active
    }

    /// Ends a monitor (Erlang's `demonitor(Ref, [info])`). True if it was still active; if not, its `Down` was sent and
    /// may still be waiting in the mailbox.
    pub fn demonitor(&mut self, monitor: MonitorRef) -> bool {
        monitor::demonitor(monitor)
    }

    /// Starts an actor and monitors it in one step, so that no end can be missed (Erlang's `spawn_monitor`). It runs on
    /// this arbiter; [`Spawn`] has the other choices.
    pub fn spawn_monitor<B>(&mut self, actor: B) -> (ActorRef<B>, MonitorRef)
    where
        A: Handler<Down>,
        B: Actor<Context = Context<B>>,
    {
        let (actor, monitor) = Spawn::new().monitored_by(self).start_here(|_| actor);
        (actor, monitor.expect("a monitored spawn has a monitor"))
    }

    /// Starts an actor and links to it in one step (Erlang's `spawn_link`).
    pub fn spawn_link<B>(&mut self, actor: B) -> ActorRef<B>
    where
        B: Actor<Context = Context<B>>,
    {
        Spawn::new().linked_to(self).start_here(|_| actor).0
    }

    /// Links this process and another: when one ends abnormally, so does the other, unless it traps exits (Erlang's
    /// `link/1`). Linking twice is linking once. A dead process answers with an exit signal `NoProc`.
    pub fn link(&mut self, pid: Pid) {
        if !signal::link_pids(&*self.shared, pid) {
            self.shared.core.signal(Some(pid), ExitReason::NoProc, 0);
        }
    }

    /// Ends a link, from either side (Erlang's `unlink/1`).
    pub fn unlink(&mut self, pid: Pid) {
        signal::unlink_pids(&*self.shared, pid);
    }

    /// From here on, exit signals arrive as [`Exit`] messages instead of ending this process (Erlang's
    /// `process_flag(trap_exit, Flag)`). A kill, and the supervisor's own signal, are not trapped.
    pub fn trap_exit(&mut self, trap: bool)
    where
        A: Handler<Exit>,
    {
        self.shared.core.state().ties().trap =
            trap.then(|| Arc::clone(&self.shared) as Arc<dyn TrapExit>);
    }

    /// Says that the init is not over when `started` returns: whoever starts this process waits for
    /// [`ready`](Self::ready). If the process ends before, its start has failed with that reason.
    ///
    /// For actors whose init takes messages; `proc_lib:start_link` and `init_ack` in OTP. Call it in `started`.
    pub fn defer_ready(&mut self) {
        self.is_deferred = true;
    }

    /// The init that was [deferred](Self::defer_ready) is over (`proc_lib:init_ack`).
    pub fn ready(&mut self) {
        self.is_deferred = false;
    }

    /// Lets others see this actor's state, as its `Debug` shows it: the crash report, and whoever asks for
    /// it ([`sys::get_state`](crate::sys::get_state)). Call it in `started`.
    ///
    /// It is formatted when somebody looks, never before, and cut after [`STATE_BYTES_MAX`] bytes. A panic in it is nobody's
    /// crash.
    pub fn expose_state(&mut self)
    where
        A: fmt::Debug,
    {
        self.show = Some(show_state::<A>);
    }

    /// Tells more of this process in [`snapshot`](crate::snapshot())s: pairs of a name and a text, such as an address or
    /// a count ([`Node::details`](crate::Node::details)). `details` is called for each snapshot, on the thread of whoever
    /// takes it, also while this actor runs: let it read atomics, not lock what a handler holds. Up to
    /// [`DETAILS_MAX`](crate::DETAILS_MAX) pairs are shown; a panic in it shows none.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use std::sync::atomic::{AtomicU64, Ordering};
    /// # use actix::prelude::*;
    /// # use byron_supervisors::{ChildSpec, Context, SupFlags, Supervisor, snapshot};
    /// struct Listener {
    ///     readers: Arc<AtomicU64>,
    /// }
    ///
    /// impl Actor for Listener {
    ///     type Context = Context<Self>;
    ///
    ///     fn started(&mut self, ctx: &mut Context<Self>) {
    ///         let readers = Arc::clone(&self.readers);
    ///         ctx.describe(move || vec![("readers", readers.load(Ordering::Relaxed).to_string())]);
    ///     }
    /// }
    ///
    /// # System::new().block_on(async {
    /// let listener = ChildSpec::new("listener", |_| Listener { readers: Arc::default() });
    /// let _root = Supervisor::start("root", SupFlags::default(), vec![listener]).await.expect("it starts");
    /// assert_eq!(snapshot()[0].children[0].details, [("readers", "0".to_owned())]);
    /// # });
    /// ```
    pub fn describe(
        &mut self,
        details: impl Fn() -> Vec<(&'static str, String)> + Send + Sync + 'static,
    ) {
        let details: Arc<DetailsFn> = Arc::new(details);
        let before = self.shared.core.state().ties().details.replace(details);
        // Outside the lock.
        drop(before);
    }

    /// Writes an event of this process's own into the log: what its work came to, in words for people, cut after
    /// [`NOTE_BYTES_MAX`](crate::NOTE_BYTES_MAX) bytes. Returns its number; `None` outside every tree, where nobody looks.
    ///
    /// The log holds the last [`EVENTS_MAX`](crate::EVENTS_MAX) events of the whole program: note what is rare, count the
    /// rest ([`describe`](Self::describe)).
    ///
    /// ```
    /// # use actix::prelude::*;
    /// # use byron_supervisors::{ChildSpec, Context, EventKind, SupFlags, Supervisor, events_since};
    /// struct Cache;
    ///
    /// impl Actor for Cache {
    ///     type Context = Context<Self>;
    ///
    ///     fn started(&mut self, ctx: &mut Context<Self>) {
    ///         ctx.note("MISS: asks the server");
    ///     }
    /// }
    ///
    /// # System::new().block_on(async {
    /// let cache = ChildSpec::new("cache", |_| Cache);
    /// let _root = Supervisor::start("root", SupFlags::default(), vec![cache]).await.expect("it starts");
    /// let events = events_since(0).events;
    /// let note = events.iter().find(|event| event.kind == EventKind::Note).expect("it is there");
    /// assert_eq!(note.path.as_ref().expect("a place").to_string(), "root/cache");
    /// assert_eq!(note.note.as_deref(), Some("MISS: asks the server"));
    /// # });
    /// ```
    pub fn note(&self, text: impl Into<String>) -> Option<u64> {
        let mut text = text.into();
        cut(&mut text, NOTE_BYTES_MAX);
        self.shared.core.tell_note(EventKind::Note, text)
    }

    /// The custom fault of this name that the rules of a rehearsal have in store for this process, once; see
    /// [`chaos`](crate::chaos). Costs one load while nothing is rehearsed.
    pub fn take_fault(&mut self, name: &str) -> Option<CustomFault> {
        if !chaos::is_on() {
            return None;
        }
        let mut state = self.shared.core.state();
        let faults = &mut state.known_ties()?.custom_faults;
        let at = faults.iter().position(|fault| fault.name() == name)?;
        Some(faults.swap_remove(at))
    }

    /// Ends this process with an error, because of a fault that it took.
    pub fn suffer(&mut self, fault: CustomFault) {
        let (reason, event) = fault.strike();
        self.fall(reason, event);
    }

    /// Ends this process because of an event.
    pub(crate) fn fall(&mut self, reason: ExitReason, event: u64) {
        if self.state.alive() {
            self.cause = event;
        }
        self.exit(reason);
    }

    /// Notes what runs now, for the crash report and for whoever looks.
    pub(crate) fn handling<M>(&mut self) {
        self.handling_of(any::type_name::<M>());
    }

    /// As [`handling`](Self::handling), for a message whose type only the letter knows.
    pub(crate) fn handling_of(&mut self, message: &'static str) {
        // Most messages are of the type of the one before.
        let is_known = self
            .in_message
            .is_some_and(|known| vitals::is_same(known, message));
        if !is_known {
            self.during = During::Message;
            self.in_message = Some(message);
            self.shared
                .core
                .pulse
                .set_doing(self.during, self.in_message);
        }
    }

    /// As [`handling`](Self::handling), for what is not a message.
    pub(crate) fn doing(&mut self, during: During) {
        if self.during != during || self.in_message.is_some() {
            self.during = during;
            self.in_message = None;
            self.shared.core.pulse.set_doing(during, None);
        }
    }

    /// A message begins to be handled, and somebody may want to know how long that takes.
    pub(crate) fn begin_traced(&mut self) -> Option<Instant> {
        self.tracer()?;
        // Or a question that is skipped would be told as the message before it.
        self.doing(During::Future);
        Some(Instant::now())
    }

    #[inline]
    pub(crate) fn end_traced(&self, began: Option<Instant>) {
        if let Some(began) = began {
            self.tell_handled(began);
        }
    }

    fn tell_handled(&self, began: Instant) {
        if let (Some(tracer), Some(message)) = (self.tracer(), self.in_message) {
            let _ = tracer.send(Traced {
                pid: self.pid(),
                at: SystemTime::now(),
                what: Deed::Handled {
                    message,
                    took: began.elapsed(),
                },
            });
        }
    }

    pub(crate) fn observer(&self) -> Arc<dyn Observer>
    where
        A: Handler<Down>,
    {
        let extras = self.extras.get_or_init(Box::default);
        let observer = extras
            .observer
            .get_or_init(|| Arc::new(ByLetter(Arc::clone(&self.shared))));
        Arc::clone(observer)
    }

    /// What was asked of the context by a signal.
    pub(crate) fn obey(&mut self, reason: ExitReason, cause: u64) {
        if self.state.alive() {
            self.cause = cause;
            self.is_signalled_exit = true;
        }
        self.exit(reason);
    }

    /// `stopping` answered `Running::Continue`.
    pub(crate) fn refuse_exit(&mut self) {
        self.exit = None;
        self.cause = 0;
        self.is_signalled_exit = false;
        self.state = ActorState::Running;
    }

    /// Nothing more in this turn, and so there must be another.
    pub(crate) fn is_spent(&self) -> bool {
        let is_spent = self.budget.get() == 0;
        if is_spent {
            self.is_cut.set(true);
        }
        is_spent
    }

    /// Takes work done off this turn's budget.
    pub(crate) fn spend(&self, work: u32) {
        self.budget.set(self.budget.get().saturating_sub(work));
    }

    fn next_handle(&mut self) -> SpawnHandle {
        self.last_handle = self.last_handle.next();
        self.last_handle
    }
}

impl<A: Actor<Context = Self>> ActorContext for Context<A> {
    fn stop(&mut self) {
        self.exit(ExitReason::Normal);
    }

    fn terminate(&mut self) {
        self.exit.get_or_insert(ExitReason::Normal);
        self.state = ActorState::Stopped;
    }

    fn state(&self) -> ActorState {
        self.state
    }
}

impl<A: Actor<Context = Self>> AsyncContext<A> for Context<A> {
    fn spawn<F>(&mut self, future: F) -> SpawnHandle
    where
        F: ActorFuture<A, Output = ()> + 'static,
    {
        let handle = self.next_handle();
        self.spawned.push((handle, Box::pin(future)));
        handle
    }

    fn wait<F>(&mut self, future: F)
    where
        F: ActorFuture<A, Output = ()> + 'static,
    {
        if !self.is_in_wait() {
            self.shared.core.begin_wait();
        }
        self.extras().waits.push(Box::pin(future));
    }

    /// Asked by actix's streams before each item: the one place where a stream that is always ready lets others in.
    fn waiting(&self) -> bool {
        if self.is_in_wait() || self.state.stopping() || self.shared.core.is_signalled() {
            return true;
        }
        if self.is_spent() {
            return true;
        }
        self.spend(1);
        false
    }

    fn cancel_future(&mut self, handle: SpawnHandle) -> bool {
        self.extras().cancelled.push(handle);
        true
    }

    fn address(&self) -> Addr<A> {
        self.this().addr()
    }

    fn notify<M>(&mut self, message: M)
    where
        A: Handler<M>,
        M: Message + 'static,
    {
        self.spawn(Notify {
            message: Some(message),
            after: None,
        });
    }

    fn notify_later<M>(&mut self, message: M, after: Duration) -> SpawnHandle
    where
        A: Handler<M>,
        M: Message + 'static,
    {
        self.spawn(Notify {
            message: Some(message),
            after: Some(Box::pin(tokio::time::sleep(after))),
        })
    }
}

/// A message of an actor to itself: as a letter, known by its type in the crash report.
struct Notify<M> {
    message: Option<M>,
    after: Option<Pin<Box<Sleep>>>,
}

impl<M> Unpin for Notify<M> {}

impl<A, M> ActorFuture<A> for Notify<M>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message + 'static,
{
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        actor: &mut A,
        ctx: &mut Context<A>,
        task: &mut TaskContext<'_>,
    ) -> Poll<()> {
        if let Some(after) = &mut self.after {
            ready!(after.as_mut().poll(task));
        }
        if let Some(message) = self.message.take() {
            let began = ctx.begin_traced();
            ctx.handling::<M>();
            Handler::handle(actor, message, ctx).handle(ctx, None);
            ctx.end_traced(began);
        }
        Poll::Ready(())
    }
}

/// An actor's `Debug`, cut where it gets long. For the length of a page it is not worth the lines of `{:#?}`.
fn show_state<A: fmt::Debug>(actor: &A) -> String {
    let mut text = Bounded::new(STATE_BYTES_MAX);
    // The error is our own: enough was said.
    let _ = write!(text, "{actor:?}");
    text.into_text()
}
