//! Starting one child and waiting for its init; stopping children, last to first (`do_start_child`, `do_terminate` and
//! `shutdown/1` in `supervisor.erl`).

use std::sync::Arc;
use std::time::Duration;

use tokio::task::coop::consume_budget;
use tokio::time::Instant;
use tracing::Level;

use super::{Limit, Op, StartOutcome, Work};
use crate::chaos::{self, Lot};
use crate::child_spec::{ChildType, Restart, SHUTDOWN_TIMEOUT, Shutdown};
use crate::exit::{Down, ExitReason};
use crate::monitor;
use crate::path::Label;
use crate::pid::{self, Pid};
use crate::process::{Options, Started};
use crate::registry::Names;
use crate::report::{self, ReportContext};
use crate::snapshot::ChildState;
use crate::spawn::{Born, Supervision};
use crate::supervisor::children::Key;

/// How long the children of a killed supervisor may take to end before the next incarnation is started beside them. Who
/// refuses to end is killed after half of it.
const ORPHAN_TIMEOUT: Duration = SHUTDOWN_TIMEOUT.saturating_mul(2);

impl Work {
    /// Starts a child and waits for its init. The child's state afterwards is `Running`, or `Stopped` if it was ignored;
    /// if it failed, what it was before.
    pub(super) async fn start(&self, key: Key, cause: u64) -> StartOutcome {
        // A start does not wait for the child's own turn: the others of the arbiter have theirs among very many starts.
        consume_budget().await;
        self.outlive_orphans(key).await;
        if self.is_stopping() {
            return Err(ExitReason::SHUTDOWN);
        }
        let (start, placement, timeout, how, mailbox, label, lot, before) = {
            let mut children = self.children.lock();
            let Some(child) = children.get_mut(key) else {
                return Err(ExitReason::NoProc);
            };
            child.incarnation += 1;
            child.waits_for = None;
            let label = Label {
                path: child.path.clone(),
                incarnation: child.incarnation,
                dynamic: false,
            };
            (
                Arc::clone(&child.spec.start),
                child.spec.placement.clone(),
                child.spec.start_timeout,
                // A worker that starts has nothing to lose; a supervisor has children to stop.
                match child.spec.child_type {
                    ChildType::Worker => Shutdown::BrutalKill,
                    ChildType::Supervisor => child.spec.shutdown,
                },
                child.mailbox.clone(),
                label,
                chaos::lot(|| Lot {
                    template: None,
                    is_restarted: child.spec.restart != Restart::Temporary,
                }),
                child.state.clone(),
            )
        };
        let supervision = Box::new(Supervision {
            parent: Some(Arc::clone(&self.process)),
            starter: Arc::clone(&self.starter),
            label,
            names: Names::new(),
            options: Options::default(),
            cause,
            lot,
        });
        let Born { pid, is_ready } = start(placement, supervision, mailbox);
        let (outcome, down) = if is_ready {
            (Ok(Some(pid)), None)
        } else {
            self.children
                .lock()
                .set_state(key, ChildState::Starting(pid));
            self.started_or_down(pid, timeout, how, cause).await
        };
        let before_this = down.and_then(|down| {
            let mut children = self.children.lock();
            let child = children.get_mut(key)?;
            let before_this = child.note_exit(&down);
            child.crash = down.crash;
            before_this
        });
        drop(before_this);
        let mut children = self.children.lock();
        match &outcome {
            Ok(Some(_)) => {
                children.set_state(key, ChildState::Running(pid));
                let path = children.path.clone();
                let offender = children.get_mut(key).and_then(|child| {
                    child.started_at = child.spec.backoff.map(|_| Instant::now());
                    child.stopped_by = None;
                    report::is_heard(Level::INFO).then(|| child.offender())
                });
                drop(children);
                if let Some(offender) = offender {
                    report::progress(&path, &offender);
                }
            }
            Ok(None) => children.set_state(key, ChildState::Stopped),
            Err(_) => children.set_state(key, before),
        }
        outcome
    }

    /// A supervisor that was killed has left its children to end by themselves. They have the names and the files that the
    /// next ones want: an attempt that met them would fail, and count. OTP makes it, and fails.
    async fn outlive_orphans(&self, key: Key) {
        let orphans = {
            let mut children = self.children.lock();
            children.get_mut(key).and_then(|child| child.orphans.take())
        };
        let Some(orphans) = orphans else { return };
        let deadline = Instant::now() + ORPHAN_TIMEOUT;
        for orphan in orphans.iter().copied() {
            if !pid::is_alive(orphan) {
                continue;
            }
            let monitor = monitor::monitor_pid(orphan, Arc::clone(&self.starter));
            let ended = self.wait_until(Limit::At(deadline), || {
                let ended = self.take_down(orphan).map(|_| true);
                ended.or_else(|| self.is_stopping().then_some(false))
            });
            if ended.await != Some(true) {
                monitor::demonitor(monitor);
                return;
            }
        }
    }

    pub(super) async fn started_or_down(
        &self,
        pid: Pid,
        timeout: Option<std::time::Duration>,
        how: Shutdown,
        cause: u64,
    ) -> (StartOutcome, Option<Down>) {
        let mut fallen = None;
        let outcome = self
            .wait_until(Limit::after(timeout), || {
                if let Some(started) = self.take_started(pid) {
                    return Some(Ok((!started.ignored).then_some(pid)));
                }
                if let Some(down) = self.take_down(pid) {
                    let reason = down.reason.clone();
                    fallen = Some(down);
                    return Some(Err(reason));
                }
                // An end that was asked for does not wait for a child to start.
                self.is_stopping().then_some(Err(ExitReason::SHUTDOWN))
            })
            .await;
        let failure = match outcome {
            Some(Err(_)) if self.is_stopping() => ExitReason::SHUTDOWN,
            Some(outcome) => return (outcome, fallen),
            None => ExitReason::error(format!(
                "did not start within {:?}",
                timeout.unwrap_or_default()
            )),
        };
        // Else its end is what was just taken, or is on its way, and no child's.
        if pid::is_alive(pid) {
            let mut down = self.ask_to_end(pid, how, cause).await;
            down.reason = failure.clone();
            fallen = Some(down);
        }
        // It may have come to the end of its init just before.
        self.take_started(pid);
        (Err(failure), fallen)
    }

    pub(super) fn take_started(&self, pid: Pid) -> Option<Started> {
        let mut starts = self.starts.borrow_mut();
        let at = starts.iter().position(|started| started.pid == pid)?;
        Some(starts.swap_remove(at))
    }

    /// The end of this process, if it is among the things to do. OTP: `receive {'EXIT', Pid, _}` after `unlink`.
    pub(super) fn take_down(&self, pid: Pid) -> Option<Down> {
        let mut ops = self.ops.borrow_mut();
        let at = ops
            .iter()
            .position(|op| matches!(op, Op::Down(down) if down.pid == Some(pid)))?;
        match ops.remove(at) {
            Some(Op::Down(down)) => Some(down),
            _ => None,
        }
    }

    pub(super) async fn terminate_all(&self, cause: u64) {
        let keys = self.children.lock().keys();
        self.terminate_some(&keys, cause).await;
        self.close_orphaned_mailboxes(true);
    }

    /// Stops children, last to first, each waited for. Temporary ones are forgotten; of the others, those that were not
    /// stopped already are returned.
    pub(super) async fn terminate_some(&self, keys: &[Key], cause: u64) -> Vec<Key> {
        let mut stopped = Vec::new();
        for key in keys.iter().rev().copied() {
            let Some((state, restart)) = self.stop_one(key, cause).await else {
                continue;
            };
            if restart == Restart::Temporary {
                self.forget(key);
            } else if state != ChildState::Stopped {
                stopped.push(key);
            }
        }
        stopped
    }

    /// Stops a child and waits for it. Answers what state it was in.
    pub(super) async fn stop_one(&self, key: Key, cause: u64) -> Option<(ChildState, Restart)> {
        let (state, how, restart) = {
            let children = self.children.lock();
            let child = children.get(key)?;
            (child.state.clone(), child.spec.shutdown, child.spec.restart)
        };
        if let Some(pid) = state.pid() {
            let down = self.end_of(key, pid, how, cause).await;
            self.note_stop(key, &down, how, restart);
        }
        self.children.lock().set_state(key, ChildState::Stopped);
        Some((state, restart))
    }

    /// Stops one process, if it is not dead already; how, is what there is to report.
    pub(super) async fn end_of(&self, key: Key, pid: Pid, how: Shutdown, cause: u64) -> Down {
        if let Some(down) = self.take_down(pid) {
            return down;
        }
        self.children
            .lock()
            .set_state(key, ChildState::Stopping(pid));
        self.ask_to_end(pid, how, cause).await
    }

    /// Reports a process that did not end as it was asked to (`do_terminate`).
    pub(super) fn note_stop(&self, key: Key, down: &Down, how: Shutdown, restart: Restart) {
        let before = {
            let mut children = self.children.lock();
            children.get_mut(key).map(|child| {
                child.crash.clone_from(&down.crash);
                child.note_exit(down)
            })
        };
        drop(before);
        let is_expected = match how {
            Shutdown::BrutalKill => matches!(down.reason, ExitReason::Killed),
            Shutdown::Timeout(_) | Shutdown::Infinity => {
                matches!(down.reason, ExitReason::Shutdown(None))
            }
        };
        let is_tolerated = down.reason.is_normal()
            && restart != Restart::Permanent
            && (how != Shutdown::BrutalKill || matches!(down.reason, ExitReason::Normal));
        if !is_expected && !is_tolerated {
            self.report(ReportContext::ShutdownError, key, &down.reason);
        }
        self.tell_crash(key, &"it was being stopped", 0);
    }

    /// Signals, and waits as long as its spec says (`shutdown/1`).
    pub(super) async fn ask_to_end(&self, pid: Pid, how: Shutdown, cause: u64) -> Down {
        let own = self.process.core().pid();
        if let Some(process) = pid::lookup(pid) {
            match how {
                Shutdown::BrutalKill => process.core().kill(cause),
                _ => process
                    .core()
                    .signal(Some(own), ExitReason::SHUTDOWN, cause),
            }
        }
        let limit = match how {
            Shutdown::Timeout(limit) => Limit::After(limit),
            Shutdown::BrutalKill | Shutdown::Infinity => Limit::None,
        };
        if let Some(down) = self.wait_until(limit, || self.take_down(pid)).await {
            return down;
        }
        if let Some(process) = pid::lookup(pid) {
            process.core().kill(cause);
        }
        loop {
            if let Some(down) = self.wait_until(Limit::None, || self.take_down(pid)).await {
                return down;
            }
        }
    }
}
