//! The end of a process: what is known of it, and how it is made known, once and in order.

use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use tracing::Level;

use super::{Core, DEAD, Monitor, Ties};
use crate::event::{self, Draft, EventDetails, EventKind};
use crate::exit::{Down, During, ExitReason, MonitorRef, Panic};
use crate::panics::{Caught, drop_contained};
use crate::pid::{self, Pid};
use crate::registry;
use crate::report::{self, Crash};
use crate::sys::{Deed, Traced};
use crate::vitals::Wait;

/// How a process ended, and what its end should say of it.
pub(crate) struct End {
    pub(crate) reason: ExitReason,
    /// The event behind it, or 0.
    pub(crate) cause: u64,
    /// The reason came from another process: its crash, if it is one, is told there.
    pub(crate) is_signal: bool,
    /// A panic of the actor's `Drop` that is not the reason.
    pub(crate) drop_panic: Option<Panic>,
    pub(crate) mailbox_len: usize,
    pub(crate) mailbox_capacity: Option<usize>,
    /// How many children a supervisor had.
    pub(crate) children: Option<usize>,
    /// What the actor showed of its state, if it does and this is a crash.
    pub(crate) state: Option<String>,
    /// The process whose answer it waited for.
    pub(crate) waits_for: Option<Pid>,
}

impl End {
    pub(crate) fn new(reason: ExitReason, cause: u64) -> Self {
        Self {
            reason,
            cause,
            is_signal: false,
            drop_panic: None,
            mailbox_len: 0,
            mailbox_capacity: None,
            children: None,
            state: None,
            waits_for: None,
        }
    }

    pub(crate) fn panic(panic: Panic, cause: u64) -> Self {
        Self::new(ExitReason::Panic(Arc::new(panic)), cause)
    }

    pub(crate) fn by_signal(reason: ExitReason, cause: u64) -> Self {
        Self {
            is_signal: true,
            ..Self::new(reason, cause)
        }
    }

    /// The process failed by itself.
    pub(crate) fn is_crash(&self) -> bool {
        !self.is_signal && matches!(self.reason, ExitReason::Panic(_) | ExitReason::Error(_))
    }

    /// A panic while the actor was dropped. It is the reason of a process that would have ended in order; where
    /// something went wrong before, or somebody killed the process, that stands.
    pub(crate) fn dropped(&mut self, panic: Option<Caught>) {
        let Some(panic) = panic else { return };
        let panic = panic.describe(During::Drop, None);
        if self.reason.is_normal() {
            self.reason = ExitReason::Panic(Arc::new(panic));
            self.is_signal = false;
        } else {
            self.drop_panic = Some(panic);
        }
    }
}

impl Core {
    /// Makes the end known, once and in OTP's order: names, pid, links, monitors.
    ///
    /// Only three callers exist, and each owns the process when it calls: the future that runs it, the launch that
    /// could not start it, and the drop of either.
    pub(crate) fn retire(&self, mut end: End) {
        let mut state = self.state();
        if state.dead.is_some() {
            return;
        }
        debug_assert!(self.is_exiting(), "its actor is dropped before");
        let reason = end.reason.clone();
        state.dead = Some(reason.clone());
        let parent = state.parent.take();
        let mut ties = state.ties.take();
        let (waker, signals) = (state.waker.take(), state.signals.take());
        // Told from the back, in the order in which they were made.
        state.monitors.reverse();
        drop(state);
        // Most processes die with nothing but their waker, which is tokio's.
        drop(waker);
        if signals.is_some() {
            drop_contained(signals);
        }
        if let Some(ties) = &mut ties {
            let waiting = ties.wait.as_ref().and_then(Wait::shown);
            end.waits_for = waiting.and_then(|waiting| waiting.on);
            drop_contained((ties.doom.take(), ties.trap.take()));
            drop_contained((ties.details.take(), mem::take(&mut ties.requests)));
            drop_contained(ties.introspect.take());
            if let Some(tracer) = ties.tracer.take() {
                let _ = tracer.send(Traced {
                    pid: self.pid,
                    at: SystemTime::now(),
                    what: Deed::Exited(reason.clone()),
                });
            }
            registry::release(self.pid, &ties.names);
        }
        self.control.fetch_or(DEAD, Ordering::AcqRel);
        // A subscriber or an error's `Display` that panics must not rob those who wait for this end.
        let told = panic::catch_unwind(AssertUnwindSafe(|| self.tell(&end)));
        let (event, at, crash) = told.unwrap_or_default();

        if let Some(parent) = parent.and_then(pid::lookup)
            && let Some(ties) = parent.core().state().known_ties()
        {
            ties.children.remove(&self.pid);
        }
        let mut orphans: Option<Arc<[Pid]>> = None;
        if let Some(ties) = ties {
            let Ties {
                links, children, ..
            } = *ties;
            for linked in links {
                if let Some(linked) = pid::lookup(linked) {
                    let cause = self.tell_link(linked.core(), &reason, event);
                    linked
                        .core()
                        .signal_over_link(self.pid, reason.clone(), cause);
                }
            }
            orphans = (!children.is_empty()).then(|| children.iter().copied().collect());
            for child in children {
                if let Some(child) = pid::lookup(child) {
                    let cause = self.tell_link(child.core(), &reason, event);
                    child.core().signal(Some(self.pid), reason.clone(), cause);
                }
            }
        }
        while self.tell_next_monitor(&reason, (event, at), &crash, &orphans) {}
        // If the supervisor has not taken it, or there is none, it is reported now.
        if crash.is_some() {
            drop_contained(crash);
        }
        pid::remove(self.pid);
    }

    /// Under the lock, so that whoever ends a monitor finds either the monitor or its `Down`.
    fn tell_next_monitor(
        &self,
        reason: &ExitReason,
        (event, at): (u64, Option<SystemTime>),
        crash: &Option<Arc<Crash>>,
        orphans: &Option<Arc<[Pid]>>,
    ) -> bool {
        let mut state = self.state();
        let Some(Monitor { number, observer }) = state.monitors.pop() else {
            return false;
        };
        let crash = crash.as_ref().filter(|_| observer.reports_crashes());
        observer.down(Down {
            monitor: MonitorRef {
                number,
                target: Some(self.pid),
            },
            pid: Some(self.pid),
            name: None,
            reason: reason.clone(),
            event,
            at,
            crash: crash.cloned(),
            orphans: orphans.clone(),
        });
        // A dead process gets no more of them.
        let is_last = state.monitors.is_empty();
        drop(state);
        // It may hold the last handle of a process that is gone as well.
        drop_contained(observer);
        !is_last
    }

    /// Writes down that a signal goes over a link and ends a process of a tree; the event is that one's cause.
    fn tell_link(&self, to: &Core, reason: &ExitReason, event: u64) -> u64 {
        let is_fatal = !matches!(reason, ExitReason::Normal) && to.state().trap().is_none();
        match to.label() {
            Some(label) if is_fatal => event::record(
                EventKind::Link,
                Draft {
                    path: Some(&label.path),
                    pid: Some(to.pid),
                    incarnation: label.incarnation,
                    reason: Some(reason),
                    cause: event,
                    ..Draft::default()
                },
            ),
            _ => event,
        }
    }

    /// Writes the exit down. A crash, if anybody can hear of one, is reported by the supervisor, or when nobody has it any more.
    fn tell(&self, end: &End) -> (u64, Option<SystemTime>, Option<Arc<Crash>>) {
        let reason = &end.reason;
        let is_crash = end.is_crash();
        let is_told = match &self.label {
            Some(label) => !label.dynamic || !reason.is_normal(),
            None => is_crash || end.drop_panic.is_some(),
        };
        if !is_told {
            return (0, None, None);
        }
        let (uptime, at) = (self.uptime(), Some(SystemTime::now()));
        let event = event::record(
            EventKind::Exit,
            Draft {
                path: self.label.as_ref().map(|label| &label.path),
                pid: Some(self.pid),
                incarnation: self.label.as_ref().map_or(0, |label| label.incarnation),
                reason: Some(reason),
                details: EventDetails::Exit {
                    crash: is_crash || end.drop_panic.is_some(),
                    uptime,
                    mailbox_len: end.mailbox_len,
                },
                cause: end.cause,
                at,
                ..Draft::default()
            },
        );
        if !report::is_heard(Level::ERROR) {
            return (event, at, None);
        }
        if is_crash {
            let crash = Crash::new(self, reason, end, uptime, event);
            return (event, at, Some(Arc::new(crash)));
        }
        let drop_panic = end.drop_panic.clone();
        let crash = drop_panic.map(|panic| {
            let reason = ExitReason::Panic(Arc::new(panic));
            Arc::new(Crash::new(self, &reason, end, uptime, event))
        });
        (event, at, crash)
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
