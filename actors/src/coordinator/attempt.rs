//! What a coordinator hears of the attempts at one poem, from the first to the one that is whole or the last.

use std::sync::Arc;
use std::time::Duration;

use actix::{AsyncContext, Handler, Message, MessageResult};
use byron_supervisors::{Context, Down, ExitReason, Pid, StartChildError};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::{ATTEMPT_OVERDUE, Chunk, Coordinator, Event, Task, TaskState, cancelled};
use crate::address::Address;
use crate::download::{DownloadError, FailureKind, out_of_time};
use crate::wire::Prefix;

impl Coordinator {
    /// The next attempt is due now, or after its backoff. If it does not report, the task must not wait for ever.
    pub(super) fn expect_attempt(&mut self, task: usize, after: Duration, ctx: &mut Context<Self>) {
        let due = &mut self.tasks[task];
        let overdue_at = Instant::now() + after + ATTEMPT_OVERDUE;
        let until = due
            .deadline
            .map_or(overdue_at, |deadline| overdue_at.min(deadline));
        due.state = TaskState::Due { until };
        self.look_at(until, ctx);
    }

    /// Looks for attempts that are overdue at this time. There is one timer, however many are due: hardly any is ever late.
    fn look_at(&mut self, at: Instant, ctx: &mut Context<Self>) {
        if self.look.is_some_and(|(before, _)| before <= at) {
            return;
        }
        if let Some((_, later)) = self.look.take() {
            ctx.cancel_future(later);
        }
        let wait = at.saturating_duration_since(Instant::now());
        let timer = ctx.run_later(wait, |coordinator, ctx| {
            coordinator.look = None;
            coordinator.give_up_overdue(ctx);
        });
        self.look = Some((at, timer));
    }

    fn give_up_overdue(&mut self, ctx: &mut Context<Self>) {
        let now = Instant::now();
        for task in 0..self.tasks.len() {
            let TaskState::Due { until } = self.tasks[task].state else {
                continue;
            };
            if now < until {
                self.look_at(until, ctx);
                continue;
            }
            let is_out_of_time = self.tasks[task]
                .deadline
                .is_some_and(|deadline| deadline <= until);
            let error = match self.max_time {
                Some(max_time) if is_out_of_time => out_of_time(max_time),
                _ => DownloadError::for_good(FailureKind::Io, "the download was not restarted"),
            };
            self.fail(task, error, ctx);
        }
    }

    /// The task of an attempt that is under way.
    fn running(&mut self, task: usize, pid: Pid) -> Option<&mut Task> {
        let task = self.tasks.get_mut(task)?;
        matches!(task.state, TaskState::Running { pid: known, .. } if known == pid).then_some(task)
    }
}

/// The first attempt of a task did not even start, and its supervisor does not try again. The client says so.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct NotStarted {
    pub(crate) task: usize,
    pub(crate) error: StartChildError,
}

impl Handler<NotStarted> for Coordinator {
    type Result = ();

    fn handle(&mut self, NotStarted { task, error }: NotStarted, ctx: &mut Context<Self>) {
        // It may have been called off meanwhile, or have reported before it fell.
        let is_due = matches!(self.tasks[task].state, TaskState::Due { .. });
        if is_due && self.tasks[task].attempts == 0 {
            let message = format!("the download {error}");
            self.fail(task, DownloadError::for_good(FailureKind::Io, message), ctx);
        }
    }
}

/// An attempt begins: the first act of every [`Download`](crate::Download). `None` tells it to go away again.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Option<Resume>")]
pub(crate) struct Attempt {
    pub(crate) task: usize,
    pub(crate) pid: Pid,
}

/// What an attempt has to know of those before it.
#[derive(Debug)]
pub(crate) struct Resume {
    pub(crate) known: Prefix,
    pub(crate) deadline: Option<Instant>,
    pub(crate) credit: Arc<Semaphore>,
}

impl Handler<Attempt> for Coordinator {
    type Result = MessageResult<Attempt>;

    fn handle(&mut self, Attempt { task, pid }: Attempt, ctx: &mut Context<Self>) -> Self::Result {
        if !matches!(self.tasks[task].state, TaskState::Due { .. }) {
            return MessageResult(None);
        }
        self.monitored.insert(ctx.monitor(pid), task);
        let task = &mut self.tasks[task];
        task.attempts += 1;
        task.state = TaskState::Running {
            pid,
            has_all: false,
        };
        MessageResult(Some(Resume {
            known: task.known.clone(),
            deadline: task.deadline,
            credit: Arc::clone(&task.credit),
        }))
    }
}

/// An attempt reached a server.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Connected {
    pub(crate) task: usize,
    pub(crate) pid: Pid,
    pub(crate) peer_addr: Address,
}

impl Handler<Connected> for Coordinator {
    type Result = ();

    fn handle(&mut self, connected: Connected, ctx: &mut Context<Self>) {
        let Some(running) = self.running(connected.task, connected.pid) else {
            return;
        };
        let attempt = running.attempts;
        self.tell(
            Event::Connected {
                task: connected.task,
                peer_addr: connected.peer_addr,
                attempt,
            },
            ctx,
        );
    }
}

/// An attempt heard bytes that nobody had heard before.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Heard {
    pub(crate) task: usize,
    pub(crate) pid: Pid,
    pub(crate) bytes: Bytes,
    /// Everything up to and with these bytes.
    pub(crate) read: Prefix,
    pub(crate) credit: OwnedSemaphorePermit,
}

impl Handler<Heard> for Coordinator {
    type Result = ();

    fn handle(&mut self, heard: Heard, ctx: &mut Context<Self>) {
        let Some(running) = self.running(heard.task, heard.pid) else {
            return;
        };
        running.known = heard.read;
        let chunk = Chunk {
            task: heard.task,
            bytes: heard.bytes,
            _credit: Some(heard.credit),
        };
        self.tell(Event::Chunk(chunk), ctx);
    }
}

/// An attempt heard the poem to its end.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct HeardAll {
    pub(crate) task: usize,
    pub(crate) pid: Pid,
}

impl Handler<HeardAll> for Coordinator {
    type Result = ();

    fn handle(&mut self, HeardAll { task, pid }: HeardAll, _: &mut Context<Self>) {
        if let Some(running) = self.running(task, pid)
            && let TaskState::Running { has_all, .. } = &mut running.state
        {
            *has_all = true;
        }
    }
}

impl Handler<Down> for Coordinator {
    type Result = ();

    fn handle(&mut self, down: Down, ctx: &mut Context<Self>) {
        let Some(task) = self.monitored.remove(&down.monitor) else {
            return;
        };
        let TaskState::Running { has_all, .. } = self.tasks[task].state else {
            return;
        };
        let attempts = self.tasks[task].attempts;
        let attempts_left = self.retries.count.saturating_sub(attempts - 1);
        match what_next(&down.reason, has_all, attempts_left) {
            Next::Poem => self.succeed(task, ctx),
            Next::Fail(_) if self.is_cancelled => self.fail(task, cancelled(), ctx),
            Next::Fail(error) => self.fail(task, error, ctx),
            Next::Retry(_) if self.is_cancelled => self.fail(task, cancelled(), ctx),
            Next::Retry(error) => {
                let after = self.retries.backoff().delay(attempts, 0.5);
                self.tell(
                    Event::Retry {
                        task,
                        kind: error.kind,
                        message: error.message,
                        after,
                        attempts,
                    },
                    ctx,
                );
                self.expect_attempt(task, after, ctx);
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Poem,
    Retry(DownloadError),
    Fail(DownloadError),
}

/// What the end of an attempt means. The supervisor decides by the same rule, transient: it restarts after an abnormal
/// end, as often as there are retries.
fn what_next(reason: &ExitReason, has_all: bool, attempts_left: u32) -> Next {
    let error = match reason {
        ExitReason::Normal if has_all => return Next::Poem,
        ExitReason::Shutdown(Some(term)) | ExitReason::Error(term) => term
            .downcast_ref::<DownloadError>()
            .cloned()
            .unwrap_or_else(|| DownloadError::passing(FailureKind::Io, term.to_string())),
        ExitReason::Normal | ExitReason::Shutdown(None) => cancelled(),
        ExitReason::Killed => {
            DownloadError::passing(FailureKind::Cancelled, "the download was killed")
        }
        crash => DownloadError::passing(FailureKind::Io, format!("the download crashed: {crash}")),
    };
    if reason.is_normal() || attempts_left == 0 {
        Next::Fail(error)
    } else {
        Next::Retry(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> DownloadError {
        DownloadError::passing(FailureKind::Refused, "connection refused")
    }

    fn changed() -> DownloadError {
        DownloadError::for_good(FailureKind::Changed, "the poem changed")
    }

    #[test]
    fn an_abnormal_end_is_retried_while_attempts_are_left() {
        let reason = ExitReason::error(refused());
        assert_eq!(what_next(&reason, false, 1), Next::Retry(refused()));
        assert_eq!(what_next(&reason, false, 0), Next::Fail(refused()));
        assert!(matches!(
            what_next(&ExitReason::Killed, true, 1),
            Next::Retry(_)
        ));
    }

    #[test]
    fn a_shutdown_is_for_good_however_many_attempts_are_left() {
        let reason = ExitReason::shutdown(changed());
        assert_eq!(what_next(&reason, false, 9), Next::Fail(changed()));
        assert_eq!(
            what_next(&ExitReason::SHUTDOWN, false, 9),
            Next::Fail(cancelled())
        );
    }

    #[test]
    fn only_a_normal_end_after_the_last_line_is_a_poem() {
        assert_eq!(what_next(&ExitReason::Normal, true, 9), Next::Poem);
        assert_eq!(
            what_next(&ExitReason::Normal, false, 9),
            Next::Fail(cancelled())
        );
    }
}
