//! What every process has, whatever actor runs in it: who watches it, whom it is linked to, and its one way to end.

use std::any::Any;
use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;
use tokio::time::Instant;

use crate::event::{self, Draft, EventKind};
use crate::exit::{Down, Exit, ExitReason, MonitorRef};
use crate::path::Label;
use crate::pid::{self, Pid, PidHasher};
use crate::registry::{self, Name};
use crate::report;
use crate::snapshot::Introspect;

/// The erased side of a process: enough to watch it, signal it and show it.
pub(crate) trait Process: Send + Sync {
    fn core(&self) -> &Core;
    /// How many messages wait, if that can be known.
    fn mailbox_len(&self) -> Option<usize>;
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// Whoever wants to know how a process fares.
pub(crate) trait Observer: Send + Sync {
    fn down(&self, down: Down);
    /// The process came to the end of its init. Only its starter is told.
    fn started(&self, _started: Started) {}
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
    pub(crate) name: Option<Name>,
    pub(crate) observer: Arc<dyn Observer>,
}

/// An exit signal on its way into the process.
pub(crate) struct Signal {
    pub(crate) reason: ExitReason,
    /// The event behind it, or 0.
    pub(crate) cause: u64,
}

/// There is a signal to look at.
const SIGNALLED: u8 = 1;
/// The process is over, or about to be: its actor is being dropped.
const EXITING: u8 = 2;

pub(crate) type PidSet = HashSet<Pid, BuildHasherDefault<PidHasher>>;

#[derive(Default)]
pub(crate) struct State {
    /// Set once, by [`Core::retire`].
    pub(crate) dead: Option<ExitReason>,
    pub(crate) waker: Option<Waker>,
    pub(crate) killed: Option<u64>,
    pub(crate) signals: Vec<Signal>,
    pub(crate) trap: Option<Arc<dyn TrapExit>>,
    pub(crate) monitors: SmallVec<[Monitor; 1]>,
    pub(crate) links: PidSet,
    /// The supervisor: its exit signals are obeyed, trapped or not, as `gen_server` does with its parent's.
    pub(crate) parent: Option<Pid>,
    /// Processes whose parent this one is. They hear of its end; it hears of theirs by monitor.
    pub(crate) children: PidSet,
    pub(crate) names: Vec<Name>,
}

pub(crate) struct Core {
    pid: Pid,
    kind: &'static str,
    label: Option<Label>,
    born: Instant,
    control: AtomicU8,
    /// Messages handled so far, counted by the process itself.
    pub(crate) handled: AtomicU64,
    introspect: OnceLock<Arc<dyn Introspect>>,
    state: Mutex<State>,
}

impl Core {
    pub(crate) fn new(kind: &'static str, label: Option<Label>, state: State) -> Self {
        Self {
            pid: Pid::next(),
            kind,
            label,
            born: Instant::now(),
            control: AtomicU8::new(0),
            handled: AtomicU64::new(0),
            introspect: OnceLock::new(),
            state: Mutex::new(state),
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    pub(crate) fn kind(&self) -> &'static str {
        self.kind
    }

    pub(crate) fn label(&self) -> Option<&Label> {
        self.label.as_ref()
    }

    pub(crate) fn born(&self) -> Instant {
        self.born
    }

    pub(crate) fn introspect(&self) -> Option<&Arc<dyn Introspect>> {
        self.introspect.get()
    }

    /// Tells the observer what this process supervises.
    pub(crate) fn set_introspect(&self, introspect: Arc<dyn Introspect>) {
        let _ = self.introspect.set(introspect);
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
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

    /// True once per batch of signals.
    pub(crate) fn take_signalled(&self) -> bool {
        self.control.load(Ordering::Acquire) & SIGNALLED != 0
            && self.control.fetch_and(!SIGNALLED, Ordering::AcqRel) & SIGNALLED != 0
    }

    pub(crate) fn is_signalled(&self) -> bool {
        self.control.load(Ordering::Relaxed) & SIGNALLED != 0
    }

    /// Adds a monitor, unless the process is dead.
    pub(crate) fn add_monitor(&self, monitor: Monitor) -> Result<(), Monitor> {
        let mut swept = SmallVec::<[Monitor; 1]>::new();
        let mut state = self.state();
        if state.dead.is_some() {
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

    /// An exit signal; "Receiving Exit Signals" in `ref_man_processes`.
    pub(crate) fn signal(&self, from: Option<Pid>, reason: ExitReason, cause: u64) {
        let mut state = self.state();
        if state.dead.is_some() {
            return;
        }
        let from_parent = from.is_some() && from == state.parent;
        if !from_parent {
            if let Some(trap) = state.trap.clone() {
                drop(state);
                return trap.exit(Exit { from, reason });
            }
            if matches!(reason, ExitReason::Normal) && from != Some(self.pid) {
                return;
            }
        }
        state.signals.push(Signal { reason, cause });
        self.interrupt(state);
    }

    /// The signal that can neither be trapped nor refused.
    pub(crate) fn kill(&self, cause: u64) {
        let mut state = self.state();
        if state.dead.is_none() {
            state.killed.get_or_insert(cause);
            self.interrupt(state);
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

    /// Makes the end known, once and in OTP's order: names, pid, links, monitors.
    ///
    /// Only three callers exist, and each owns the process when it calls: the future that runs it, the launch that
    /// could not start it, and the drop of either.
    pub(crate) fn retire(&self, reason: ExitReason, cause: u64, mailbox_len: usize) {
        let mut state = self.state();
        if state.dead.is_some() {
            return;
        }
        self.control.fetch_or(EXITING, Ordering::AcqRel);
        state.dead = Some(reason.clone());
        let State {
            waker,
            signals,
            trap,
            monitors,
            links,
            parent,
            children,
            names,
            ..
        } = mem::replace(
            &mut *state,
            State {
                dead: Some(reason.clone()),
                ..State::default()
            },
        );
        drop(state);
        drop((waker, signals, trap));

        registry::release(self.pid, &names);
        pid::remove(self.pid);
        let event = self.tell(&reason, cause, mailbox_len);

        if let Some(parent) = parent.and_then(pid::lookup) {
            parent.core().state().children.remove(&self.pid);
        }
        for linked in links {
            if let Some(linked) = pid::lookup(linked) {
                linked.core().state().links.remove(&self.pid);
                self.propagate(&*linked, &reason, event);
            }
        }
        for child in children {
            if let Some(child) = pid::lookup(child) {
                self.propagate(&*child, &reason, event);
            }
        }
        for Monitor {
            number,
            name,
            observer,
        } in monitors
        {
            let down = Down {
                monitor: MonitorRef {
                    number,
                    target: Some(self.pid),
                },
                pid: Some(self.pid),
                name,
                reason: reason.clone(),
                event,
            };
            // A broken observer must not rob the others of their Down.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| observer.down(down)));
        }
    }

    fn propagate(&self, to: &dyn Process, reason: &ExitReason, event: u64) {
        let core = to.core();
        let fatal = !matches!(reason, ExitReason::Normal) && core.state().trap.is_none();
        let cause = match core.label() {
            Some(label) if fatal => event::record(
                EventKind::Link,
                Draft {
                    path: Some(&label.path),
                    pid: Some(core.pid),
                    incarnation: label.incarnation,
                    reason: Some(reason),
                    cause: event,
                    ..Draft::default()
                },
            ),
            _ => event,
        };
        core.signal(Some(self.pid), reason.clone(), cause);
    }

    /// Writes the exit down, and a crash report if it was one.
    fn tell(&self, reason: &ExitReason, cause: u64, mailbox_len: usize) -> u64 {
        let is_told = match &self.label {
            Some(label) => !label.dynamic || !reason.is_normal(),
            None => matches!(reason, ExitReason::Panic(_)),
        };
        if !is_told {
            return 0;
        }
        let event = event::record(
            EventKind::Exit,
            Draft {
                path: self.label.as_ref().map(|label| &label.path),
                pid: Some(self.pid),
                incarnation: self.label.as_ref().map_or(0, |label| label.incarnation),
                reason: Some(reason),
                cause,
                ..Draft::default()
            },
        );
        if matches!(reason, ExitReason::Panic(_) | ExitReason::Error(_)) {
            report::crash(self, reason, mailbox_len, event);
        }
        event
    }

    /// Writes down that the process starts or is ready.
    pub(crate) fn tell_life(&self, kind: EventKind, cause: u64) {
        if let Some(label) = self.label.as_ref().filter(|label| !label.dynamic) {
            event::record(
                kind,
                Draft {
                    path: Some(&label.path),
                    pid: Some(self.pid),
                    incarnation: label.incarnation,
                    cause,
                    ..Draft::default()
                },
            );
        }
    }
}
