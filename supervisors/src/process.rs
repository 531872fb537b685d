//! What every process has, whatever actor runs in it: who watches it, whom it is linked to, and its one way to end.

mod end;
mod lane;

use std::any::Any;
use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;
use tokio::sync::broadcast;

pub(crate) use self::end::End;
use crate::bound::Mailbox;
use crate::child_spec::SHUTDOWN_TIMEOUT;
use crate::context::MESSAGES_PER_TURN;
use crate::event::{self, Draft, EventKind};
use crate::exit::{Down, Exit, ExitReason, MonitorRef};
use crate::fault::{CustomFault, Fate};
use crate::path::Label;
use crate::pid::{self, Pid, PidHasher};
use crate::registry::Names;
use crate::snapshot::Introspect;
use crate::sys::{Request, Traced};
use crate::vitals::{self, HANDLER_SLOW, Pulse, Wait, Waiting};

/// The erased side of a process: enough to watch it, signal it and show it.
pub(crate) trait Process: Send + Sync {
    fn core(&self) -> &Core;
    /// How the mailbox fares, if that can be known.
    fn mailbox(&self) -> Option<MailboxView>;
    /// Refuses messages from now on, and drops those that wait; returns how many.
    fn close(&self, reason: &ExitReason) -> usize;
    /// An asker that a bounded mailbox knows by number waits no more.
    fn withdraw(&self, _number: u64) {}
    /// Whether a bounded mailbox dropped the message of this asker.
    fn was_dropped(&self, _number: u64) -> bool {
        false
    }
    /// Why messages to this process were lost, if that is another question than why it ended.
    fn loss(&self) -> Option<ExitReason> {
        None
    }
    /// Whether its loop is ours, and heeds more than signals.
    fn has_system_lane(&self) -> bool {
        true
    }
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// A mailbox as it is now.
pub(crate) struct MailboxView {
    pub(crate) len: usize,
    pub(crate) mailbox: Mailbox,
    pub(crate) senders_waiting: usize,
    pub(crate) refused: u64,
}

/// How a process is to run, besides where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    pub(crate) mailbox: Mailbox,
    pub(crate) messages_per_turn: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mailbox: Mailbox::UNBOUNDED,
            messages_per_turn: MESSAGES_PER_TURN,
        }
    }
}

/// Whoever wants to know how a process fares.
pub(crate) trait Observer: Send + Sync {
    fn down(&self, down: Down);
    /// The process came to the end of its init. Only its starter is told.
    fn started(&self, _started: Started) {}
    /// It reports the crashes of those it watches, with what it does about them.
    fn reports_crashes(&self) -> bool {
        false
    }
    /// The observer is dead; its monitors may be swept.
    fn is_gone(&self) -> bool {
        false
    }
}

/// A process that traps exits takes them here.
pub(crate) trait TrapExit: Send + Sync {
    fn exit(&self, exit: Exit);
}

/// How the init of a process went, if it went well; a failed one is a `Down`.
#[derive(Debug, Clone, Copy, actix::Message)]
#[rtype(result = "()")]
pub(crate) struct Started {
    pub(crate) pid: Pid,
    /// The init answered `Ignore`: there is no process, and none is wanted.
    pub(crate) ignored: bool,
}

pub(crate) struct Monitor {
    pub(crate) number: u64,
    pub(crate) observer: Arc<dyn Observer>,
}

/// An exit signal on its way into the process.
pub(crate) struct Signal {
    pub(crate) reason: ExitReason,
    /// The process at the other end of the link it came over: an `unlink` takes it back.
    pub(crate) link: Option<Pid>,
    /// The event behind it, or 0.
    pub(crate) cause: u64,
}

/// There is a signal to look at.
const SIGNALLED: u8 = 1;
/// The process is over, or about to be: its actor is being dropped.
const EXITING: u8 = 2;
/// The process is dead and its names are free. It is in the table until every monitor was told.
const DEAD: u8 = 4;
/// The process holds still.
const SUSPENDED: u8 = 8;
/// Somebody wants to know what the process does.
const TRACED: u8 = 16;
/// The process is in a wait, or was in one when its turn began.
const WAITING: u8 = 32;

type Signals = SmallVec<[Signal; 1]>;

pub(crate) type PidSet = HashSet<Pid, BuildHasherDefault<PidHasher>>;

pub(crate) struct State {
    /// Set once, by [`Core::retire`].
    pub(crate) dead: Option<ExitReason>,
    pub(crate) waker: Option<Waker>,
    /// Not empty if there. Most processes get one in their life, at its end.
    signals: Option<Box<Signals>>,
    pub(crate) monitors: SmallVec<[Monitor; 1]>,
    /// The supervisor: its exit signals are obeyed, trapped or not, as `gen_server` does with its parent's.
    pub(crate) parent: Option<Pid>,
    /// What few processes have; made when it is needed.
    ties: Option<Box<Ties>>,
}

/// What ties a process to others, and is not a monitor; and what befalls few.
#[derive(Default)]
pub(crate) struct Ties {
    /// It is to end at once, without a word of its own.
    doom: Option<Box<End>>,
    /// The wait that it is in.
    wait: Option<Wait>,
    /// Messages to this process that were lost.
    lost: u64,
    pub(crate) trap: Option<Arc<dyn TrapExit>>,
    pub(crate) links: PidSet,
    /// Processes whose parent this one is. They hear of its end; it hears of theirs by monitor.
    pub(crate) children: PidSet,
    pub(crate) names: Names,
    /// What a supervisor tells of its children.
    introspect: Option<Arc<dyn Introspect>>,
    /// What the actor tells of itself in snapshots.
    pub(crate) details: Option<Arc<DetailsFn>>,
    /// What is to befall it on purpose; its task takes it.
    pub(crate) fate: Option<Box<Fate>>,
    pub(crate) custom_faults: Vec<CustomFault>,
    /// A test wants the next message to panic.
    #[cfg(feature = "testing")]
    panics_next: bool,
    requests: Vec<Request>,
    tracer: Option<broadcast::Sender<Traced>>,
}

/// See [`Context::describe`](crate::Context::describe).
pub(crate) type DetailsFn = dyn Fn() -> Vec<(&'static str, String)> + Send + Sync;

impl State {
    /// The ties, to add one.
    pub(crate) fn ties(&mut self) -> &mut Ties {
        self.ties.get_or_insert_default()
    }

    /// The ties, if there are any.
    pub(crate) fn known_ties(&mut self) -> Option<&mut Ties> {
        self.ties.as_deref_mut()
    }

    /// Its end, if somebody else has decided on that, once.
    pub(crate) fn take_doom(&mut self) -> Option<Box<End>> {
        self.known_ties()?.doom.take()
    }

    /// What is to befall the process on purpose, once.
    pub(crate) fn take_fate(&mut self) -> Option<Box<Fate>> {
        self.known_ties()?.fate.take()
    }

    fn trap(&self) -> Option<&Arc<dyn TrapExit>> {
        self.ties.as_ref()?.trap.as_ref()
    }
}

pub(crate) struct Core {
    pid: Pid,
    kind: fn() -> &'static str,
    label: Option<Label>,
    /// When its first turn began, as [`vitals::now`] says it; 0 = there was none yet.
    born: AtomicU64,
    control: AtomicU8,
    pub(crate) is_bounded: bool,
    /// Messages handled so far, counted by the process itself.
    pub(crate) handled: AtomicU64,
    /// Messages that the process has taken out of its queue and not handled yet.
    pub(crate) taken: AtomicUsize,
    pub(crate) messages_per_turn: u32,
    pub(crate) pulse: Pulse,
    state: Mutex<State>,
}

impl Core {
    #[inline(always)]
    pub(crate) fn new(
        kind: fn() -> &'static str,
        label: Option<Label>,
        parent: Option<Pid>,
        monitor: Option<Monitor>,
        options: Options,
    ) -> Self {
        let is_static = label.as_ref().is_some_and(|label| !label.dynamic);
        Self {
            pid: Pid::next(),
            kind,
            label,
            born: AtomicU64::new(0),
            control: AtomicU8::new(0),
            is_bounded: options.mailbox != Mailbox::UNBOUNDED,
            handled: AtomicU64::new(0),
            taken: AtomicUsize::new(0),
            messages_per_turn: options.messages_per_turn.max(1),
            pulse: Pulse::new(is_static),
            state: Mutex::new(State {
                dead: None,
                waker: None,
                signals: None,
                monitors: monitor
                    .map_or_else(SmallVec::new, |monitor| SmallVec::from_buf([monitor])),
                parent,
                ties: None,
            }),
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    pub(crate) fn kind(&self) -> &'static str {
        (self.kind)()
    }

    pub(crate) fn label(&self) -> Option<&Label> {
        self.label.as_ref()
    }

    /// How long it has run.
    pub(crate) fn uptime(&self) -> Duration {
        match self.born.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            born => Duration::from_nanos(vitals::now().saturating_sub(born)),
        }
    }

    /// What it tells of its children, if it is a supervisor.
    pub(crate) fn introspect(&self) -> Option<Arc<dyn Introspect>> {
        self.state().ties.as_ref()?.introspect.clone()
    }

    /// For a process that refuses to end: if its supervisor is dead, nobody is left to kill it when its time is up, so
    /// that is seen to now. `gen_server` obeys its parent's end in any case. A supervisor is no orphan: it refuses only
    /// until its children have gone.
    pub(crate) fn condemn_orphan(&self) {
        let parent = self.state().parent;
        if self.introspect().is_none() && parent.is_some_and(|parent| !pid::is_alive(parent)) {
            let pid = self.pid;
            actix_rt::spawn(async move {
                tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
                if let Some(process) = pid::lookup(pid) {
                    process.core().kill(0);
                }
            });
        }
    }

    /// Tells the observer what this process supervises.
    pub(crate) fn set_introspect(&self, introspect: Arc<dyn Introspect>) {
        self.state().ties().introspect = Some(introspect);
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// How many links and monitors there are.
    pub(crate) fn ties_count(&self) -> (usize, usize) {
        let state = self.state();
        let links = state.ties.as_ref().map_or(0, |ties| ties.links.len());
        (links, state.monitors.len())
    }

    /// What the actor tells of itself.
    pub(crate) fn details(&self) -> Option<Arc<DetailsFn>> {
        self.state().ties.as_ref()?.details.clone()
    }

    /// A turn begins.
    pub(crate) fn begin_turn(&self) {
        // One look at the clock is enough for both.
        let now = vitals::now();
        if self.born.load(Ordering::Relaxed) == 0 {
            self.born.store(now, Ordering::Relaxed);
        }
        self.pulse.begin_turn(now);
    }

    /// The turn is over.
    pub(crate) fn end_turn(&self, is_waiting: bool) {
        let now = vitals::now();
        if self.control.load(Ordering::Relaxed) & WAITING != 0 {
            self.see_wait(is_waiting, now);
        }
        let took = self.pulse.end_turn(now);
        if took > HANDLER_SLOW
            && let Some(doing) = self.pulse.last_doing(now - took.as_nanos() as u64)
        {
            self.tell_note(
                EventKind::HandlerSlow,
                format!("a turn took {took:.1?}, at the end {doing}"),
            );
        }
    }

    /// A wait begins; when, is known at the end of the turn.
    pub(crate) fn begin_wait(&self) {
        self.state().ties().wait = Some(self.pulse.wait());
        self.control.fetch_or(WAITING, Ordering::AcqRel);
    }

    /// The process whose answer it waits for.
    pub(crate) fn set_waits_for(&self, pid: Option<Pid>) {
        let mut state = self.state();
        if let Some(wait) = state.known_ties().and_then(|ties| ties.wait.as_mut()) {
            wait.set_waits_for(pid);
        }
    }

    /// At the end of a turn that a wait was in: whether it still is.
    fn see_wait(&self, is_waiting: bool, now: u64) {
        let mut state = self.state();
        let Some(ties) = state.known_ties() else {
            return;
        };
        if is_waiting {
            if let Some(wait) = &mut ties.wait {
                wait.stays(now);
            }
        } else {
            ties.wait = None;
            self.control.fetch_and(!WAITING, Ordering::AcqRel);
        }
    }

    /// The wait it is in.
    pub(crate) fn waiting(&self) -> Option<Waiting> {
        self.state().known_ties()?.wait.as_ref()?.shown()
    }

    /// So many messages to it were lost.
    pub(crate) fn note_lost(&self, lost: u64) {
        let mut state = self.state();
        // Nobody sees the numbers of the dead.
        if state.dead.is_none() {
            state.ties().lost += lost;
        }
    }

    /// How many messages to it were lost.
    pub(crate) fn lost(&self) -> u64 {
        self.state().known_ties().map_or(0, |ties| ties.lost)
    }

    /// Writes down something worth knowing of a process of a tree.
    pub(crate) fn tell_note(&self, kind: EventKind, note: String) -> Option<u64> {
        let label = self.label.as_ref()?;
        let draft = Draft {
            path: Some(&label.path),
            pid: Some(self.pid),
            incarnation: label.incarnation,
            note: Some(note),
            ..Draft::default()
        };
        Some(event::record(kind, draft))
    }

    pub(crate) fn exit_reason(&self) -> Option<ExitReason> {
        self.state().dead.clone()
    }

    pub(crate) fn is_exiting(&self) -> bool {
        self.control.load(Ordering::Acquire) & EXITING != 0
    }

    pub(crate) fn set_exiting(&self) {
        self.control.fetch_or(EXITING, Ordering::AcqRel);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.control.load(Ordering::Acquire) & DEAD != 0
    }

    /// True once per batch of signals.
    pub(crate) fn take_signalled(&self) -> bool {
        self.control.load(Ordering::Acquire) & SIGNALLED != 0
            && self.control.fetch_and(!SIGNALLED, Ordering::AcqRel) & SIGNALLED != 0
    }

    pub(crate) fn is_signalled(&self) -> bool {
        self.control.load(Ordering::Relaxed) & SIGNALLED != 0
    }

    /// Adds a monitor, unless the process is dead: one that has ended and whose names are not free yet tells it with the
    /// others.
    pub(crate) fn add_monitor(&self, monitor: Monitor) -> Result<(), Monitor> {
        let mut swept = SmallVec::<[Monitor; 1]>::new();
        let mut state = self.state();
        if self.is_dead() {
            return Err(monitor);
        }
        // Amortised: a dead observer's monitors go before the list grows.
        if state.monitors.len() > 4 && state.monitors.len() == state.monitors.capacity() {
            let (gone, kept) = mem::take(&mut state.monitors)
                .into_iter()
                .partition(|monitor| monitor.observer.is_gone());
            (swept, state.monitors) = (gone, kept);
        }
        state.monitors.push(monitor);
        drop(state);
        drop(swept);
        Ok(())
    }

    pub(crate) fn remove_monitor(&self, monitor: MonitorRef) -> bool {
        let mut state = self.state();
        let at = state
            .monitors
            .iter()
            .position(|known| known.number == monitor.number);
        let removed = at.map(|at| state.monitors.swap_remove(at));
        drop(state);
        removed.is_some()
    }

    /// The next exit signal, in the order they came.
    pub(crate) fn next_signal(&self) -> Option<Signal> {
        let mut state = self.state();
        let mut signals = state.signals.take()?;
        let signal = signals.remove(0);
        if !signals.is_empty() {
            state.signals = Some(signals);
            // One at a time: `stopping` may refuse the first and not the second.
            self.control.fetch_or(SIGNALLED, Ordering::AcqRel);
        }
        Some(signal)
    }

    /// An exit signal; "Receiving Exit Signals" in `ref_man_processes`.
    pub(crate) fn signal(&self, from: Option<Pid>, reason: ExitReason, cause: u64) {
        let signal = Signal {
            reason,
            link: None,
            cause,
        };
        self.receive(signal, from, self.state());
    }

    /// An exit signal over a link, which ends with it. If the link was ended before, there is no signal.
    fn signal_over_link(&self, from: Pid, reason: ExitReason, cause: u64) {
        let mut state = self.state();
        if state
            .known_ties()
            .is_some_and(|ties| ties.links.remove(&from))
        {
            let signal = Signal {
                reason,
                link: Some(from),
                cause,
            };
            self.receive(signal, Some(from), state);
        }
    }

    /// All under one lock: after an `unlink`, a `trap_exit` or the death of this process nothing arrives that was sent
    /// before it.
    fn receive(&self, signal: Signal, from: Option<Pid>, mut state: MutexGuard<'_, State>) {
        if state.dead.is_some() {
            return;
        }
        let from_parent = from.is_some() && from == state.parent;
        if !from_parent {
            if let Some(trap) = state.trap() {
                return trap.exit(Exit {
                    from,
                    reason: signal.reason,
                });
            }
            if matches!(signal.reason, ExitReason::Normal) && from != Some(self.pid) {
                return;
            }
        }
        state.signals.get_or_insert_default().push(signal);
        self.interrupt(state);
    }

    /// Forgets a link, and the signals that came over it but were not looked at.
    pub(crate) fn unlink(&self, other: Pid) {
        let mut state = self.state();
        if let Some(ties) = state.known_ties() {
            ties.links.remove(&other);
        }
        let Some(signals) = state.signals.take() else {
            return;
        };
        let (taken_back, kept): (Signals, Signals) = signals
            .into_iter()
            .partition(|signal| signal.link == Some(other));
        state.signals = (!kept.is_empty()).then(|| Box::new(kept));
        drop(state);
        drop(taken_back);
    }

    /// The signal that can neither be trapped nor refused.
    pub(crate) fn kill(&self, cause: u64) {
        let mut state = self.state();
        if state.dead.is_none() {
            let doom = &mut state.ties().doom;
            doom.get_or_insert_with(|| Box::new(End::by_signal(ExitReason::Killed, cause)));
            self.interrupt(state);
        }
    }

    /// The next message panics.
    #[cfg(feature = "testing")]
    pub(crate) fn panic_next(&self) {
        let mut state = self.state();
        if state.dead.is_none() {
            state.ties().panics_next = true;
            self.interrupt(state);
        }
    }

    /// Whether somebody has asked for it, once.
    #[cfg(feature = "testing")]
    pub(crate) fn take_panics_next(&self) -> bool {
        let mut state = self.state();
        state
            .known_ties()
            .is_some_and(|ties| mem::take(&mut ties.panics_next))
    }

    /// As a kill, but the process fails by itself, and for this reason.
    pub(crate) fn condemn(&self, reason: ExitReason) {
        let mut state = self.state();
        if state.dead.is_none() && state.ties().doom.is_none() {
            state.ties().doom = Some(Box::new(End::new(reason, 0)));
            self.interrupt(state);
        }
    }

    /// Writes down that a bounded mailbox has become full. Dynamic children are too many for that.
    pub(crate) fn tell_full(&self) {
        if self.label.as_ref().is_some_and(|label| !label.dynamic) {
            self.tell_note(EventKind::MailboxHigh, "the mailbox is full".to_owned());
        }
    }

    fn interrupt(&self, state: MutexGuard<'_, State>) {
        self.control.fetch_or(SIGNALLED, Ordering::AcqRel);
        let waker = state.waker.clone();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
