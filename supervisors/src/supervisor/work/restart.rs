//! What a supervisor does when a child ends by itself: the decisions of `restart_child`, `do_restart`, `restart/2` and
//! `add_restart` in `supervisor.erl`, with a backoff where OTP has none.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::{Flow, Op, Work, chance};
use crate::chaos;
use crate::child_spec::Restart;
use crate::event::{Draft, EventDetails, EventKind, TakenAlong};
use crate::exit::{Down, ExitReason};
use crate::intensity::Budget;
use crate::report::ReportContext;
use crate::snapshot::{ChildState, human};
use crate::strategy::Strategy;
use crate::supervisor::children::Key;

impl Work {
    pub(super) async fn child_down(&self, down: Down) -> Flow {
        let key = down
            .pid
            .and_then(|pid| self.children.lock().key_of_pid(pid));
        // A process that is no child of ours, or no longer.
        let Some(key) = key else { return Flow::GoOn };
        let (restart, significant, before) = {
            let mut children = self.children.lock();
            let Some(child) = children.get_mut(key) else {
                return Flow::GoOn;
            };
            let before = child.note_exit(&down);
            child.crash = down.crash;
            (child.spec.restart, child.spec.significant, before)
        };
        drop(before);
        if !down.reason.is_normal() || restart == Restart::Permanent {
            self.report(ReportContext::ChildTerminated, key, &down.reason);
        }
        if restart.applies(&down.reason) {
            let state = ChildState::Restarting {
                was: down.pid,
                until: None,
            };
            self.children.lock().set_state(key, state);
            return self.restart(key).await;
        }
        if restart != Restart::Temporary {
            self.children.lock().set_state(key, ChildState::Stopped);
        }
        self.tell_crash(key, &"not restarted", 0);
        if restart == Restart::Temporary {
            self.forget(key);
        }
        if self.children.lock().ends_with(significant) {
            self.cause.set(down.event);
            return Flow::End(ExitReason::SHUTDOWN);
        }
        Flow::GoOn
    }

    /// A child has failed: tries again now, or after its backoff.
    pub(super) async fn restart(&self, key: Key) -> Flow {
        let wait = {
            let mut children = self.children.lock();
            let Some(child) = children.get_mut(key) else {
                return Flow::GoOn;
            };
            child.failures = child.failures.saturating_add(1);
            child
                .spec
                .backoff
                .map(|backoff| (backoff, child.failures, child.last_event()))
        };
        let Some((backoff, failures, cause)) = wait else {
            return self.attempt(key).await;
        };
        if backoff.max_failures.is_some_and(|max| failures > max) {
            return self.give_up_on(key, failures).await;
        }
        let delay = backoff.delay(failures, chance());
        // Those that it takes along do not run on without it.
        let affected = self.children.lock().affected(key);
        let siblings: Vec<_> = affected
            .into_iter()
            .filter(|sibling| *sibling != key)
            .collect();
        let draft = Draft {
            note: Some(format!("waits {} ms", delay.as_millis())),
            details: EventDetails::Backoff {
                delay,
                until: SystemTime::now() + delay,
                failures,
                taken_along: self.taken_along(&siblings),
            },
            cause,
            ..Draft::default()
        };
        let event = self.tell(EventKind::Backoff, Some(key), draft);
        let effect = format!("restarted after {}", human(delay));
        self.tell_crash(key, &effect, siblings.len());
        let stopped = self.terminate_some(&siblings, event).await;
        let mut children = self.children.lock();
        // Those that waited for a sibling wait for this one now: it brings all of them back.
        let waiting = siblings
            .into_iter()
            .filter(|sibling| {
                let sibling = children.get(*sibling);
                sibling.is_some_and(|sibling| sibling.waits_for.is_some())
            })
            .collect::<Vec<_>>();
        children.wait_for(waiting.into_iter().chain(stopped), key);
        let was = match children.get(key).map(|child| &child.state) {
            Some(ChildState::Restarting { was, .. }) => *was,
            _ => return Flow::GoOn,
        };
        children.set_state(
            key,
            ChildState::Restarting {
                was,
                until: Some(Instant::now() + delay),
            },
        );
        Flow::GoOn
    }

    /// Its backoff allows no more attempts: the child stays stopped, as if its restart were temporary.
    pub(super) async fn give_up_on(&self, key: Key, failures: u32) -> Flow {
        let cause = self
            .children
            .lock()
            .get(key)
            .map_or(0, |child| child.last_event());
        let draft = Draft {
            note: Some(format!("on it after {failures} failures")),
            details: EventDetails::GaveUpOn { failures },
            cause,
            ..Draft::default()
        };
        let event = self.tell(EventKind::GaveUp, Some(key), draft);
        self.tell_crash(key, &format!("given up after {failures} failures"), 0);
        let is_end = {
            let mut children = self.children.lock();
            children.set_state(key, ChildState::Stopped);
            let significant = children
                .get(key)
                .is_some_and(|child| child.spec.significant);
            children.ends_with(significant)
        };
        if is_end {
            self.cause.set(event);
            return Flow::End(ExitReason::SHUTDOWN);
        }
        self.release(key, event).await
    }

    /// Starts those that were stopped with a child and wait for its backoff, now that it ends without a restart.
    pub(super) async fn release(&self, key: Key, cause: u64) -> Flow {
        let waiting = self.children.lock().waiting_for(key);
        for (number, sibling) in waiting.iter().copied().enumerate() {
            if let Err(reason) = self.start(sibling, cause).await {
                if self.is_stopping() {
                    break;
                }
                self.report(ReportContext::StartError, sibling, &reason);
                return self.failed_again(sibling, &waiting[number + 1..]).await;
            }
        }
        Flow::GoOn
    }

    pub(super) async fn try_again(&self, key: Key) -> Flow {
        // It may have been terminated, deleted or restarted with others meanwhile.
        let is_waiting = matches!(
            self.children.lock().get(key).map(|child| &child.state),
            Some(ChildState::Restarting { .. })
        );
        if is_waiting {
            self.attempt(key).await
        } else {
            Flow::GoOn
        }
    }

    /// One attempt at a restart, counted (`restart/2` and `restart/3` in `supervisor.erl`).
    pub(super) async fn attempt(&self, key: Key) -> Flow {
        let (is_admitted, budget, strategy, cause, affected) = {
            let mut children = self.children.lock();
            let is_admitted = children.intensity.admit(Instant::now());
            let (budget, strategy) = (children.intensity.budget_spent(), children.flags.strategy);
            chaos::counted(&children.path, budget, is_admitted);
            let cause = children.get(key).map_or(0, |child| child.last_event());
            if strategy != Strategy::OneForOne {
                // Its turn comes in the start order, like that of the others.
                children.set_state(key, ChildState::Stopped);
            }
            let affected = children.affected(key);
            for key in &affected {
                if let Some(child) = children.get_mut(*key) {
                    child.waits_for = None;
                }
            }
            (is_admitted, budget, strategy, cause, affected)
        };
        if !is_admitted {
            return self.give_up(key, budget, cause);
        }
        let siblings: Vec<_> = affected
            .iter()
            .copied()
            .filter(|sibling| *sibling != key)
            .collect();
        let draft = Draft {
            details: EventDetails::Restart {
                strategy: strategy.name(),
                budget,
                taken_along: self.taken_along(&siblings),
            },
            cause,
            ..Draft::default()
        };
        let event = self.tell(EventKind::Restart, Some(key), draft);
        self.tell_crash(key, &"restarted now", siblings.len());
        self.terminate_some(&siblings, event).await;
        for (number, key) in affected.iter().copied().enumerate() {
            let Some(is_restart) = self
                .children
                .lock()
                .get(key)
                .map(|child| child.incarnation > 0)
            else {
                continue;
            };
            match self.start(key, event).await {
                Ok(_) => {
                    if let Some(child) = self.children.lock().get_mut(key).filter(|_| is_restart) {
                        child.restarts += 1;
                    }
                }
                Err(_) if self.is_stopping() => return Flow::GoOn,
                Err(reason) => {
                    self.report(ReportContext::StartError, key, &reason);
                    return self.failed_again(key, &affected[number + 1..]).await;
                }
            }
        }
        Flow::GoOn
    }

    /// A start during a restart failed. What else was asked comes before the next attempt; `later` siblings were to be
    /// started after it.
    pub(super) async fn failed_again(&self, key: Key, later: &[Key]) -> Flow {
        let backoff = {
            let mut children = self.children.lock();
            let was = match children.get(key).map(|child| &child.state) {
                Some(ChildState::Restarting { was, .. }) => *was,
                Some(state) => state.pid(),
                None => None,
            };
            children.set_state(key, ChildState::Restarting { was, until: None });
            let backoff = children.get(key).and_then(|child| child.spec.backoff);
            if backoff.is_some() {
                children.wait_for(later.iter().copied(), key);
            }
            backoff
        };
        if backoff.is_some() {
            return Box::pin(self.restart(key)).await;
        }
        self.push(Op::TryAgain(key));
        Flow::GoOn
    }

    /// One restart too many.
    pub(super) fn give_up(&self, key: Key, budget: Budget, cause: u64) -> Flow {
        let reason = ExitReason::error("reached_max_restart_intensity");
        let words = "reached_max_restart_intensity";
        self.report(ReportContext::Shutdown, key, &words);
        self.tell_crash(key, &"not restarted: its supervisor gives up", 0);
        let draft = Draft {
            reason: Some(&reason),
            note: Some(format!(
                "after more than {} restarts in {:?}",
                budget.limit, budget.period
            )),
            details: EventDetails::GaveUp { budget },
            cause,
            ..Draft::default()
        };
        let event = self.tell(EventKind::GaveUp, None, draft);
        self.forget(key);
        self.cause.set(event);
        Flow::End(ExitReason::SHUTDOWN)
    }

    /// What an event says of those that a failed child takes along.
    fn taken_along(&self, siblings: &[Key]) -> TakenAlong {
        let children = self.children.lock();
        let known = siblings.iter().filter_map(|key| children.get(*key));
        known.map(|child| Arc::clone(&child.spec.id)).collect()
    }
}
