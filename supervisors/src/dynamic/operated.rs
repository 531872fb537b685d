//! What an operator has done to one child of a dynamic supervisor. OTP has neither numbers nor a restart there.

use actix::{AsyncContext, Handler};

use super::DynamicSupervisor;
use super::children::Child;
use super::ending::{is_shutdown_error, kill};
use crate::child_spec::Shutdown;
use crate::context::Context;
use crate::dynamic::Start;
use crate::exit::{Down, ExitReason};
use crate::operate::{Answer, Deed, Done, Operate, Refusal};
use crate::pid::Pid;
use crate::promise::Promise;
use crate::report::ReportContext;
use crate::snapshot::ChildState;
use crate::supervisor::{ChildError, StartChildError};

/// Whoever waits for a child to be stopped.
pub(super) enum Stopper {
    Caller(Promise<Result<(), ChildError>>),
    Operator(Promise<Answer>, u64),
}

impl Stopper {
    pub(super) fn tell(self) {
        match self {
            Self::Caller(promise) => promise.answer(Ok(())),
            Self::Operator(promise, cause) => promise.answer(Ok(Done { pid: None, cause })),
        }
    }
}

/// An operator has a child started again.
pub(super) struct Relaunch {
    /// The operator's event.
    cause: u64,
    /// Its process is to end first.
    is_stopping: bool,
    asked: Vec<Promise<Answer>>,
}

impl Relaunch {
    pub(super) fn answer(self, outcome: Result<Option<Pid>, Refusal>) {
        let cause = self.cause;
        let answer = outcome.map(|pid| Done { pid, cause });
        for promise in self.asked {
            promise.answer(answer.clone());
        }
    }
}

impl Handler<Operate> for DynamicSupervisor {
    type Result = Promise<Answer>;

    /// Nothing waits in this supervisor, so this is the deed's turn.
    fn handle(&mut self, operate: Operate, ctx: &mut Context<Self>) -> Self::Result {
        if !operate.turn.begin() {
            return Promise::ready(Err(Refusal::Withdrawn));
        }
        let children = self.shared().lock();
        let number = operate.id.parse().ok();
        let pid = number.and_then(|number| children.pid_of(number));
        let found = pid.and_then(|pid| Some((pid, children.get(pid)?)));
        let Some((pid, child)) = found.filter(|_| self.ending.is_none()) else {
            return Promise::ready(Err(Refusal::NoSuchPlace));
        };
        let has_process = child.state.pid().is_some();
        let is_once = matches!(child.start, Start::Once(_));
        drop(children);
        let refusal = match operate.deed {
            Deed::Stop => {
                let (promise, answer) = Promise::pair();
                let stopper = Stopper::Operator(promise, operate.cause);
                self.terminate(pid, stopper, operate.cause, ctx);
                return answer;
            }
            Deed::Restart if !is_once => {
                let (promise, answer) = Promise::pair();
                self.relaunch(pid, promise, operate.cause, ctx);
                return answer;
            }
            Deed::Restart => Refusal::once(),
            Deed::Start if has_process => Refusal::AlreadyRunning,
            Deed::Start => Refusal::Restarting,
        };
        Promise::ready(Err(refusal))
    }
}

impl DynamicSupervisor {
    /// Stops a child and forgets it.
    pub(super) fn terminate(
        &mut self,
        pid: Pid,
        stopper: Stopper,
        cause: u64,
        ctx: &mut Context<Self>,
    ) {
        let mut children = self.shared().lock();
        let Some(child) = children.get_mut(pid) else {
            drop(children);
            return stopper.tell();
        };
        if child.state.pid().is_none() {
            let timer = child.take_timer();
            let forgotten = children.remove(pid);
            drop(children);
            drop(forgotten);
            if let Some(timer) = timer {
                ctx.cancel_future(timer);
            }
            return stopper.tell();
        }
        let extras = child.extras();
        let is_first = extras.terminated.is_empty();
        extras.terminated.push(stopper);
        let overruled = extras.relaunch.take();
        let is_running = matches!(child.state, ChildState::Running(_));
        if is_first && is_running {
            children.set_state(pid, ChildState::Stopping(pid));
        }
        drop(children);
        let is_told = overruled.as_ref().is_some_and(|it| it.is_stopping);
        if let Some(overruled) = overruled {
            overruled.answer(Err(Refusal::Overruled));
        }
        if is_first && !is_told {
            self.ask_to_end(pid, cause, ctx);
        }
    }

    /// Stops a child, if it runs, and starts it again.
    fn relaunch(
        &mut self,
        pid: Pid,
        promise: Promise<Answer>,
        cause: u64,
        ctx: &mut Context<Self>,
    ) {
        let mut children = self.shared().lock();
        let Some(child) = children.get_mut(pid) else {
            drop(children);
            return promise.answer(Err(Refusal::NoSuchPlace));
        };
        if child.is_terminated() {
            drop(children);
            return promise.answer(Err(Refusal::Overruled));
        }
        let is_stopping = matches!(child.state, ChildState::Running(_));
        let extras = child.extras();
        if let Some(relaunch) = &mut extras.relaunch {
            return relaunch.asked.push(promise);
        }
        extras.relaunch = Some(Box::new(Relaunch {
            cause,
            is_stopping,
            asked: vec![promise],
        }));
        match child.state {
            ChildState::Running(_) => {
                children.set_state(pid, ChildState::Stopping(pid));
                drop(children);
                self.ask_to_end(pid, cause, ctx);
            }
            // It waits for its next attempt: this is it.
            ChildState::Restarting { .. } => {
                let child = children.remove(pid);
                drop(children);
                if let Some(mut child) = child {
                    if let Some(timer) = child.take_timer() {
                        ctx.cancel_future(timer);
                    }
                    child.extras().failures = 0;
                    self.launch(child, cause, ctx);
                }
            }
            // It starts already.
            _ => {}
        }
    }

    /// Tells one child to stop, and kills it when its time is up.
    fn ask_to_end(&mut self, pid: Pid, cause: u64, ctx: &mut Context<Self>) {
        self.stop_child(pid, cause, ctx);
        if let Shutdown::Timeout(limit) = self.flags.shutdown {
            let timer = ctx.run_later(limit, move |_, _| kill(pid, cause));
            if let Some(child) = self.shared().lock().get_mut(pid) {
                child.extras().timer = Some(timer);
            }
        }
    }

    /// A child that an operator has started again is down: as it was told to be, or its start has failed.
    pub(super) fn relaunch_down(
        &mut self,
        mut child: Box<Child>,
        pid: Pid,
        down: Down,
        ctx: &mut Context<Self>,
    ) {
        let Some(mut relaunch) = child.take_relaunch() else {
            return;
        };
        if !relaunch.is_stopping {
            if let Some(promise) = child.waiting.take() {
                promise.answer(Err(StartChildError::Failed(down.reason.clone())));
            }
            drop(child);
            return relaunch.answer(Err(Refusal::CannotStart(down.reason.to_string().into())));
        }
        if is_shutdown_error(&self.flags, &down.reason) {
            let is_crash = child.is_crashed();
            self.report(
                ReportContext::ShutdownError,
                &down.reason,
                Some(pid),
                None,
                is_crash,
            );
        }
        child.note_exit(&down, &self.flags);
        relaunch.is_stopping = false;
        let cause = relaunch.cause;
        let extras = child.extras();
        // Told without an effect: it was an operator's.
        extras.crash = None;
        extras.failures = 0;
        extras.relaunch = Some(relaunch);
        self.launch(child, cause, ctx);
    }

    /// The supervisor ends, or the child's process does.
    pub(super) fn call_off(child: &mut Child, reason: &ExitReason) {
        if let Some(relaunch) = child.take_relaunch() {
            relaunch.answer(Err(Refusal::Died(reason.clone())));
        }
    }
}
