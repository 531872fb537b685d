//! Monitors: to be told, once, that a process has ended.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll, Waker, ready};

use parking_lot::Mutex;
use tokio::task::coop::poll_proceed;

use crate::exit::{Down, ExitReason, MonitorRef};
use crate::pid::{self, Pid};
use crate::process::{Monitor, Observer, Process};
use crate::registry::{self, Name};

/// How many numbers a thread takes at a time, so that threads do not meet at each monitor.
const NUMBERS: u64 = 1024;

thread_local! {
    /// The next number, and the first that is not this thread's.
    static OWN: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// A number that no other monitor has.
pub(crate) fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let take = |count| NEXT.fetch_add(count, Ordering::Relaxed);
    let own = OWN.try_with(|own| {
        let (mut next, mut end) = own.get();
        if next == end {
            next = take(NUMBERS);
            end = next + NUMBERS;
        }
        own.set((next + 1, end));
        next
    });
    own.unwrap_or_else(|_| take(1))
}

/// Monitors a pid on behalf of an observer; a dead one is a `Down` with `NoProc` at once.
pub(crate) fn monitor_pid(pid: Pid, observer: Arc<dyn Observer>) -> MonitorRef {
    let reference = MonitorRef {
        number: next_number(),
        target: Some(pid),
    };
    let monitor = Monitor {
        number: reference.number,
        observer,
    };
    let refused = match pid::lookup(pid) {
        Some(process) => process.core().add_monitor(monitor).err(),
        None => Some(monitor),
    };
    if let Some(Monitor { observer, .. }) = refused {
        observer.down(Down {
            monitor: reference,
            pid: Some(pid),
            name: None,
            reason: ExitReason::NoProc,
            event: 0,
            at: None,
            crash: None,
            orphans: None,
        });
    }
    reference
}

/// Monitors whoever has a name now.
pub(crate) fn monitor_name(name: Name, observer: Arc<dyn Observer>) -> MonitorRef {
    match registry::whereis(&name) {
        Some(pid) => monitor_pid(pid, Arc::new(ByName { name, observer })),
        None => {
            let reference = MonitorRef {
                number: next_number(),
                target: None,
            };
            observer.down(Down {
                monitor: reference,
                pid: None,
                name: Some(name),
                reason: ExitReason::NoProc,
                event: 0,
                at: None,
                crash: None,
                orphans: None,
            });
            reference
        }
    }
}

/// An observer that has asked for whoever had a name, and is told the name.
struct ByName {
    name: Name,
    observer: Arc<dyn Observer>,
}

impl Observer for ByName {
    fn down(&self, down: Down) {
        self.observer.down(Down {
            name: Some(Arc::clone(&self.name)),
            ..down
        });
    }

    fn is_gone(&self) -> bool {
        self.observer.is_gone()
    }
}

/// Ends a monitor. True if it was still there, so that no `Down` was sent for it.
pub(crate) fn demonitor(monitor: MonitorRef) -> bool {
    monitor
        .target
        // A dead one too: it may be about to tell this monitor.
        .and_then(pid::find)
        .is_some_and(|process| process.core().remove_monitor(monitor))
}

/// Waits for the end of a process, from anywhere.
///
/// The future ends with the exit reason, with `NoProc` if the process was dead already (Erlang's monitor and receive).
/// Whoever polls it again hears the same. Dropping it ends the monitor.
pub fn exited(pid: Pid) -> Exited {
    let watch = Watch::new();
    let monitor = monitor_pid(pid, Arc::clone(&watch) as Arc<dyn Observer>);
    Exited { monitor, watch }
}

/// As [`exited`], with the real reason of a process that is dead already.
pub(crate) fn exited_process(process: &dyn Process) -> Exited {
    let watch = Watch::new();
    let reference = MonitorRef {
        number: next_number(),
        target: Some(process.core().pid()),
    };
    let monitor = Monitor {
        number: reference.number,
        observer: Arc::clone(&watch) as Arc<dyn Observer>,
    };
    if process.core().add_monitor(monitor).is_err() {
        watch.end(process.core().exit_reason().unwrap_or(ExitReason::NoProc));
    }
    Exited {
        monitor: reference,
        watch,
    }
}

/// What a monitor and the future that waits for it share.
struct Watch(Mutex<Watched>);

enum Watched {
    Running { waiting: Option<Waker> },
    Ended(ExitReason),
}

impl Watch {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Watched::Running { waiting: None })))
    }

    fn end(&self, reason: ExitReason) {
        let before = mem::replace(&mut *self.0.lock(), Watched::Ended(reason));
        if let Watched::Running {
            waiting: Some(waker),
        } = before
        {
            waker.wake();
        }
    }
}

impl Observer for Watch {
    fn down(&self, down: Down) {
        self.end(down.reason);
    }
}

/// The end of a process; see [`exited`].
#[must_use = "futures do nothing unless awaited"]
pub struct Exited {
    monitor: MonitorRef,
    watch: Arc<Watch>,
}

impl fmt::Debug for Exited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Exited").field(&self.monitor.target).finish()
    }
}

impl Future for Exited {
    type Output = ExitReason;

    fn poll(self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<ExitReason> {
        // A task that awaits one end after the other must not keep its arbiter to itself.
        let budget = ready!(poll_proceed(cx));
        match &mut *self.watch.0.lock() {
            Watched::Ended(reason) => {
                budget.made_progress();
                Poll::Ready(reason.clone())
            }
            Watched::Running { waiting } => {
                match waiting {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => *waiting = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Exited {
    fn drop(&mut self) {
        let is_running = matches!(*self.watch.0.lock(), Watched::Running { .. });
        if is_running {
            demonitor(self.monitor);
        }
    }
}
