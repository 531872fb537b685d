//! Links and exit signals: how the end of one process reaches another.

use std::time::Duration;

use crate::exit::ExitReason;
use crate::monitor::exited;
use crate::panics::current_pid;
use crate::pid::{self, Pid};
use crate::process::Process;

/// Sends an exit signal (Erlang's `exit/2`).
///
/// A process that traps exits gets an [`Exit`](crate::Exit) message. Any other ends with this reason, as if it had
/// called `ctx.exit`: its `stopping` (which may answer `Running::Continue`, and so ignore the signal) and `stopped` run.
/// `Normal` is not a signal to anybody who does not trap. Nothing happens if the process is dead.
pub fn exit(pid: Pid, reason: ExitReason) {
    exit_because(pid, reason, 0);
}

pub(crate) fn exit_because(pid: Pid, reason: ExitReason, cause: u64) {
    if let Some(process) = pid::lookup(pid) {
        process.core().signal(current_pid(), reason, cause);
    }
}

/// Ends a process without asking it (Erlang's `exit(Pid, kill)`): the reason is [`ExitReason::Killed`], no hook of the
/// actor runs. A handler that is running is not interrupted; the kill waits for its return.
pub fn kill(pid: Pid) {
    kill_because(pid, 0);
}

pub(crate) fn kill_because(pid: Pid, cause: u64) {
    if let Some(process) = pid::lookup(pid) {
        process.core().kill(cause);
    }
}

/// Asks a process to end with `Shutdown`, waits, and kills it if it has not ended in time (a supervisor's
/// `shutdown => Timeout`). Answers the exit reason; `NoProc` if there was no such process.
pub async fn shutdown(pid: Pid, timeout: Duration) -> ExitReason {
    let mut end = exited(pid);
    exit(pid, ExitReason::SHUTDOWN);
    match tokio::time::timeout(timeout, &mut end).await {
        Ok(reason) => reason,
        Err(_) => {
            kill(pid);
            end.await
        }
    }
}

/// Links two processes; false if the second is dead.
pub(crate) fn link_pids(one: &dyn Process, other: Pid) -> bool {
    let own = one.core().pid();
    if own == other {
        return true;
    }
    let Some(two) = pid::lookup(other) else {
        return false;
    };
    // The older process's lock first, so that two processes that link each other do not wait for each other.
    let (mut first, mut second) = if own < other {
        let first = one.core().state();
        (first, two.core().state())
    } else {
        let second = two.core().state();
        (second, one.core().state())
    };
    if first.dead.is_some() || second.dead.is_some() {
        return false;
    }
    let (older, newer) = if own < other {
        (own, other)
    } else {
        (other, own)
    };
    first.ties().links.insert(newer);
    second.ties().links.insert(older);
    true
}

/// Ends a link, from either side.
pub(crate) fn unlink_pids(one: &dyn Process, other: Pid) {
    one.core().unlink(other);
    if let Some(other) = pid::lookup(other) {
        other.core().unlink(one.core().pid());
    }
}
