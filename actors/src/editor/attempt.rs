//! What an editor has done about one transform of a poem: rewritings, from the first attempt to the one that answers or the
//! last.

use std::sync::Arc;
use std::time::Duration;

use actix::fut::{ActorFutureExt, wrap_future};
use actix::{AsyncContext, Handler, Message, MessageResult};
use byron_supervisors::{
    Context, Down, DynamicSupervisor, ExitReason, Pid, StartChildError, StartDynamicChild,
    whereis_actor,
};
use bytes::Bytes;

use super::{Editor, OnTransformError, REWRITINGS_MAX, Stage};
use crate::coordinator::ATTEMPT_OVERDUE;
use crate::download::FailureKind;
use crate::rewriting::{Revision, Rewriting, RewritingError};

impl Editor {
    /// Starts as many rewritings as may run.
    pub(super) fn start_some(&mut self, ctx: &mut Context<Self>) {
        while self.at_work < REWRITINGS_MAX {
            let Some(task) = self.waiting.pop_front() else {
                return;
            };
            if self.manuscripts[task].stage != Stage::Due {
                continue;
            }
            let Some(rewritings) = whereis_actor::<DynamicSupervisor>(&self.assignment.rewritings)
            else {
                // Started before this one, and restarted by nobody.
                return ctx.exit(ExitReason::NoProc);
            };
            self.at_work += 1;
            let revision = Arc::new(Revision {
                task,
                step: self.assignment.edition.steps[self.manuscripts[task].step].clone(),
                limit: self.assignment.edition.timeout,
                connect_timeout: self.assignment.connect_timeout,
                editor: self.assignment.editor.clone(),
            });
            let start = rewritings.send(StartDynamicChild::new(move |_| {
                Rewriting::new(Arc::clone(&revision))
            }));
            self.expect_attempt(task, Duration::ZERO, ctx);
            // One that started reports itself, and one that does not start is started again, but the first time.
            ctx.spawn(
                wrap_future(start).map(move |answer, editor: &mut Self, ctx| {
                    if let Ok(Err(error)) = answer {
                        editor.not_started(task, &error, ctx);
                    }
                }),
            );
        }
    }

    /// The next attempt is due now, or after its backoff. If it does not report, the poem must not wait for ever.
    fn expect_attempt(&mut self, task: usize, after: Duration, ctx: &mut Context<Self>) {
        let manuscript = &mut self.manuscripts[task];
        manuscript.stage = Stage::Due;
        let (step, attempts) = (manuscript.step, manuscript.attempts);
        let overdue = ctx.run_later(after + ATTEMPT_OVERDUE, move |editor, ctx| {
            let now = &editor.manuscripts[task];
            if (now.stage, now.step, now.attempts) == (Stage::Due, step, attempts) {
                editor.fall_short(task, "the transform was not tried again".to_owned(), ctx);
            }
        });
        self.manuscripts[task].overdue = Some(overdue);
    }

    /// The first attempt at a step did not even start, and its supervisor does not try again.
    fn not_started(&mut self, task: usize, error: &StartChildError, ctx: &mut Context<Self>) {
        let now = &self.manuscripts[task];
        // It may have been called off meanwhile, or have reported before it fell.
        if now.stage == Stage::Due && now.attempts == 0 {
            self.fall_short(task, format!("the transform {error}"), ctx);
        }
    }

    /// A transform has failed for good, but the poem is one.
    fn fall_short(&mut self, task: usize, message: String, ctx: &mut Context<Self>) {
        let step = self.manuscripts[task].step;
        self.at_work = self.at_work.saturating_sub(1);
        match self.assignment.edition.on_error {
            OnTransformError::Keep => {
                self.tell_step(task, step, Err(message), ctx);
                self.manuscripts[task].step += 1;
                self.go_on(task, ctx);
            }
            OnTransformError::Fail => {
                let label = &self.assignment.edition.steps[step].label;
                let message = format!("{label}: {message}");
                self.lose(task, FailureKind::Transform, message, ctx);
                self.start_some(ctx);
            }
        }
    }
}

/// An attempt begins: the first act of every [`Rewriting`]. `None` tells it to go away again.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Option<Bytes>")]
pub(crate) struct TakeUp {
    pub(crate) task: usize,
    pub(crate) pid: Pid,
}

impl Handler<TakeUp> for Editor {
    type Result = MessageResult<TakeUp>;

    fn handle(&mut self, TakeUp { task, pid }: TakeUp, ctx: &mut Context<Self>) -> Self::Result {
        if self.manuscripts[task].stage != Stage::Due {
            return MessageResult(None);
        }
        self.monitored.insert(ctx.monitor(pid), task);
        let manuscript = &mut self.manuscripts[task];
        if let Some(overdue) = manuscript.overdue.take() {
            ctx.cancel_future(overdue);
        }
        manuscript.attempts += 1;
        manuscript.stage = Stage::Running {
            pid,
            is_rewritten: false,
        };
        MessageResult(Some(manuscript.copy.clone()))
    }
}

/// An attempt has the answer; its orderly end will say that it is all.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Rewritten {
    pub(crate) task: usize,
    pub(crate) pid: Pid,
    pub(crate) text: Bytes,
}

impl Handler<Rewritten> for Editor {
    type Result = ();

    fn handle(&mut self, rewritten: Rewritten, _: &mut Context<Self>) {
        let manuscript = &mut self.manuscripts[rewritten.task];
        if let Stage::Running { pid, is_rewritten } = &mut manuscript.stage
            && *pid == rewritten.pid
        {
            *is_rewritten = true;
            manuscript.copy = rewritten.text;
        }
    }
}

impl Handler<Down> for Editor {
    type Result = ();

    fn handle(&mut self, down: Down, ctx: &mut Context<Self>) {
        let Some(task) = self.monitored.remove(&down.monitor) else {
            return;
        };
        let Stage::Running { pid, is_rewritten } = self.manuscripts[task].stage else {
            return;
        };
        if down.pid != Some(pid) {
            return;
        }
        let attempts = self.manuscripts[task].attempts;
        let attempts_left = self.assignment.retries.count.saturating_sub(attempts - 1);
        match what_next(&down.reason, is_rewritten, attempts_left) {
            _ if self.is_cancelled => {
                self.at_work = self.at_work.saturating_sub(1);
                self.lose_cancelled(task, ctx);
            }
            Next::GoOn => {
                self.at_work = self.at_work.saturating_sub(1);
                let step = self.manuscripts[task].step;
                self.tell_step(task, step, Ok(()), ctx);
                self.manuscripts[task].step += 1;
                self.go_on(task, ctx);
            }
            Next::Retry => {
                let after = self.assignment.retries.backoff().delay(attempts, 0.5);
                self.expect_attempt(task, after, ctx);
            }
            Next::Gibberish(message) => {
                self.at_work = self.at_work.saturating_sub(1);
                let label = &self.assignment.edition.steps[self.manuscripts[task].step].label;
                let message = format!("{label}: {message}");
                self.lose(task, FailureKind::Transform, message, ctx);
                self.start_some(ctx);
            }
            Next::FallShort(message) => self.fall_short(task, message, ctx),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    GoOn,
    Retry,
    Gibberish(String),
    FallShort(String),
}

/// What the end of an attempt means. The supervisor decides by the same rule, transient: it restarts after an abnormal end,
/// as often as there are retries.
fn what_next(reason: &ExitReason, is_rewritten: bool, attempts_left: u32) -> Next {
    let error = match reason {
        ExitReason::Normal if is_rewritten => return Next::GoOn,
        ExitReason::Shutdown(Some(term)) | ExitReason::Error(term) => {
            term.downcast_ref::<RewritingError>().cloned()
        }
        _ => None,
    };
    if !reason.is_normal() && attempts_left > 0 {
        return Next::Retry;
    }
    match error {
        Some(error) if error.is_gibberish => Next::Gibberish(error.message),
        Some(error) => Next::FallShort(error.message),
        None if reason.is_normal() => Next::FallShort("the transform was called off".to_owned()),
        None => Next::FallShort(format!("the transform crashed: {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(is_gibberish: bool) -> RewritingError {
        RewritingError {
            message: "why".to_owned(),
            is_gibberish,
        }
    }

    #[test]
    fn gibberish_is_for_good_and_any_other_failure_is_tried_again() {
        let gibberish = ExitReason::shutdown(error(true));
        let refused = ExitReason::error(error(false));
        assert_eq!(
            what_next(&gibberish, false, 9),
            Next::Gibberish("why".into())
        );
        assert_eq!(what_next(&refused, false, 1), Next::Retry);
        assert_eq!(what_next(&refused, false, 0), Next::FallShort("why".into()));
        assert_eq!(what_next(&ExitReason::Killed, true, 1), Next::Retry);
        assert_eq!(
            what_next(&ExitReason::Killed, true, 0),
            Next::FallShort("the transform crashed: killed".into())
        );
    }

    #[test]
    fn only_an_orderly_end_after_the_answer_goes_on() {
        assert_eq!(what_next(&ExitReason::Normal, true, 0), Next::GoOn);
        assert!(matches!(
            what_next(&ExitReason::Normal, false, 9),
            Next::FallShort(_)
        ));
        assert!(matches!(
            what_next(&ExitReason::SHUTDOWN, true, 9),
            Next::FallShort(_)
        ));
    }
}
