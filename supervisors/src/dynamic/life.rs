//! What becomes of the children of a dynamic supervisor: starts, ends, restarts. Nothing here waits.

use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::SystemTime;

use actix::AsyncContext;
use tokio::time::Instant;

use super::children::Child;
use super::ending::{is_shutdown_error, kill, note_error};
use super::{DynamicSupervisor, Start, TryAgain};
use crate::chaos::{self, Lot};
use crate::child_spec::{AutoShutdown, Restart};
use crate::context::Context;
use crate::event::{self, Draft, EventDetails, EventKind, TakenAlong};
use crate::exit::{Down, ExitReason};
use crate::path::Label;
use crate::pid::Pid;
use crate::process::{Options, Process, Started};
use crate::registry::Names;
use crate::report::{self, Effect, Offender, ReportContext};
use crate::snapshot::{ChildState, human};
use crate::spawn::{Born, Supervision};
use crate::supervisor::{StartChildError, chance};

impl DynamicSupervisor {
    // ---- starts

    /// Starts an incarnation of a child that is in nobody's map.
    pub(super) fn launch(&mut self, mut child: Box<Child>, cause: u64, ctx: &mut Context<Self>) {
        child.incarnation += 1;
        let label = Label {
            path: child.path.clone(),
            incarnation: child.incarnation,
            dynamic: true,
        };
        let is_restarted =
            self.flags.restart != Restart::Temporary && matches!(child.start, Start::Many(_));
        let lot = chaos::lot(|| {
            let extras = child.extras();
            if extras.ordinal == 0 {
                extras.ordinal = chaos::next_ordinal(&self.shared().lock().path, &self.flags.id);
            }
            Lot {
                template: Some((Arc::clone(&self.flags.id), extras.ordinal)),
                is_restarted,
            }
        });
        let supervision = Box::new(Supervision {
            parent: Some(Arc::clone(&ctx.shared) as Arc<dyn Process>),
            starter: Arc::clone(
                self.starter
                    .as_ref()
                    .expect("a started supervisor can start"),
            ),
            label,
            names: Names::new(),
            options: Options::default(),
            cause,
            lot,
        });
        let Born { pid, is_ready } = match &mut child.start {
            Start::Many(start) => start(supervision),
            Start::Once(start) => match start.take() {
                Some(start) => start(supervision),
                None => return,
            },
        };
        child.state = ChildState::Starting(pid);
        if let Some(limit) = self.flags.start_timeout.filter(|_| !is_ready) {
            let timer = ctx.run_later(limit, move |supervisor, _| supervisor.overdue(pid));
            child.extras().timer = Some(timer);
        }
        let started = Started {
            pid,
            ignored: false,
        };
        let mut children = self.shared().lock();
        children.counts.started += 1;
        if !is_ready {
            children.starting.insert(pid);
        }
        children.insert(pid, child);
        let is_noted = !is_ready || children.note_start(started);
        drop(children);
        if !is_noted {
            self.child_started(started, ctx);
        }
    }

    /// A start has taken too long, unless it is over.
    fn overdue(&mut self, pid: Pid) {
        let mut children = self.shared().lock();
        if let Some(child) = children.get_mut(pid)
            && matches!(child.state, ChildState::Starting(_))
        {
            child.extras().is_overdue = true;
            drop(children);
            kill(pid, 0);
        }
    }

    pub(super) fn child_started(&mut self, started: Started, ctx: &mut Context<Self>) {
        let mut children = self.shared().lock();
        let Some(child) = children.get_mut(started.pid) else {
            return;
        };
        let waiting = child.waiting.take();
        // The start's timer; one that was told to stop has another.
        let timer = if child.is_terminated() {
            None
        } else {
            child.take_timer()
        };
        let relaunch = child.take_relaunch();
        let mut ignored = None;
        if started.ignored {
            // Its `Down` finds no child.
            children.counts.ended += 1;
            ignored = children.remove(started.pid);
        } else if matches!(child.state, ChildState::Starting(_)) {
            child.start_succeeded(started.pid, &self.flags);
        }
        children.starting.remove(&started.pid);
        drop(children);
        if let Some(timer) = timer {
            ctx.cancel_future(timer);
        }
        let pid = (!started.ignored).then_some(started.pid);
        if let Some(promise) = waiting {
            promise.answer(Ok(pid));
        }
        if let Some(relaunch) = relaunch {
            relaunch.answer(Ok(pid));
        }
        if let Some(mut child) = ignored {
            // It may have been told to stop just before.
            if let Some(timer) = child.take_timer() {
                ctx.cancel_future(timer);
            }
            for stopper in child.take_stoppers() {
                stopper.tell();
            }
            self.end_if_empty(ctx);
        }
        self.settle();
    }

    // ---- ends

    pub(super) fn child_down(&mut self, mut down: Down, ctx: &mut Context<Self>) {
        let Some(pid) = down.pid else { return };
        let mut children = self.shared().lock();
        let Some(mut child) = children.remove(pid) else {
            return;
        };
        children.give_room_back();
        let was_starting = matches!(child.state, ChildState::Starting(_));
        children.starting.remove(&pid);
        let forgotten = children.note_end(&child, &down);
        if let Some(crash) = down.crash.take() {
            child.extras().crash = Some(crash);
        }
        drop(children);
        drop(forgotten);
        if let Some(timer) = child.take_timer() {
            ctx.cancel_future(timer);
        }
        let is_overdue = child
            .known_extras()
            .is_some_and(|extras| mem::take(&mut extras.is_overdue));
        if is_overdue {
            let limit = self.flags.start_timeout.unwrap_or_default();
            down.reason = ExitReason::error(format!("did not start within {limit:?}"));
        }
        if let Some(ending) = &mut self.ending {
            note_error(ending, &self.flags, &down.reason);
            Self::call_off(&mut child, &down.reason);
            if let Some(promise) = child.waiting.take() {
                promise.answer(Err(StartChildError::Failed(down.reason)));
            }
            for stopper in child.take_stoppers() {
                stopper.tell();
            }
            self.end_if_empty(ctx);
        } else if child.is_terminated() {
            // Stopped on request: neither restarted, nor a reason to end.
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
            self.tell_crash(&mut child, &"it was being stopped");
            if let Some(promise) = child.waiting.take() {
                promise.answer(Err(StartChildError::Failed(down.reason)));
            }
            for stopper in child.take_stoppers() {
                stopper.tell();
            }
        } else if child.is_relaunched() {
            self.relaunch_down(child, pid, down, ctx);
        } else if was_starting && child.incarnation == 1 {
            // The first start failed: nothing is kept, nothing counts.
            if let Some(promise) = child.waiting.take() {
                promise.answer(Err(StartChildError::Failed(down.reason)));
            }
        } else if was_starting {
            let is_crash = child.is_crashed();
            self.report(
                ReportContext::StartError,
                &down.reason,
                Some(pid),
                None,
                is_crash,
            );
            child.note_exit(&down, &self.flags);
            let was = child.extras().last_good.unwrap_or(pid);
            self.restart(child, was, ctx);
        } else {
            self.ended_by_itself(child, pid, down, ctx);
        }
        self.settle();
    }

    pub(super) fn ended_by_itself(
        &mut self,
        mut child: Box<Child>,
        pid: Pid,
        down: Down,
        ctx: &mut Context<Self>,
    ) {
        if !down.reason.is_normal() || self.flags.restart == Restart::Permanent {
            self.report(
                ReportContext::ChildTerminated,
                &down.reason,
                Some(pid),
                None,
                child.is_crashed(),
            );
        }
        let can_start = matches!(child.start, Start::Many(_));
        if can_start && self.flags.restart.applies(&down.reason) {
            child.note_exit(&down, &self.flags);
            child.extras().last_good = Some(pid);
            return self.restart(child, pid, ctx);
        }
        self.tell_crash(&mut child, &"not restarted");
        self.auto_shutdown(down.event, ctx);
    }

    pub(super) fn auto_shutdown(&mut self, cause: u64, ctx: &mut Context<Self>) {
        let ends = self.flags.significant
            && match self.flags.auto_shutdown {
                AutoShutdown::Never => false,
                AutoShutdown::AnySignificant => true,
                AutoShutdown::AllSignificant => self.shared().lock().is_empty(),
            };
        if ends {
            self.end(ExitReason::SHUTDOWN, cause, ctx);
        }
    }

    // ---- restarts

    /// A child failed: tries again, now or after its backoff.
    pub(super) fn restart(&mut self, mut child: Box<Child>, was: Pid, ctx: &mut Context<Self>) {
        let extras = child.extras();
        extras.failures = extras.failures.saturating_add(1);
        let failures = extras.failures;
        let Some(backoff) = self.flags.backoff else {
            return self.attempt_or_wait(child, was, ctx);
        };
        let cause = child.last_event();
        if backoff.max_failures.is_some_and(|max| failures > max) {
            let draft = Draft {
                note: Some(format!("on it after {failures} failures")),
                details: EventDetails::GaveUpOn { failures },
                cause,
                ..Draft::default()
            };
            let cause = self.tell(EventKind::GaveUp, Some(&child), draft, ctx);
            let effect = format!("given up after {failures} failures");
            self.tell_crash(&mut child, &effect);
            return self.auto_shutdown(cause, ctx);
        }
        let delay = backoff.delay(failures, chance());
        let draft = Draft {
            note: Some(format!("waits {} ms", delay.as_millis())),
            details: EventDetails::Backoff {
                delay,
                until: SystemTime::now() + delay,
                failures,
                taken_along: TakenAlong::default(),
            },
            cause,
            ..Draft::default()
        };
        self.tell(EventKind::Backoff, Some(&child), draft, ctx);
        self.tell_crash(&mut child, &format!("restarted after {}", human(delay)));
        child.state = ChildState::Restarting {
            was: Some(was),
            until: Some(Instant::now() + delay),
        };
        child.extras().timer = Some(ctx.notify_later(TryAgain(was), delay));
        self.shared().lock().insert(was, child);
    }

    /// The first attempt is made at once; after a failed start, what else was asked comes first.
    pub(super) fn attempt_or_wait(
        &mut self,
        mut child: Box<Child>,
        was: Pid,
        ctx: &mut Context<Self>,
    ) {
        if matches!(child.state, ChildState::Starting(_)) {
            child.state = ChildState::Restarting {
                was: Some(was),
                until: None,
            };
            self.shared().lock().insert(was, child);
            ctx.this().do_send(TryAgain(was));
        } else {
            self.attempt(child, ctx);
        }
    }

    pub(super) fn attempt(&mut self, mut child: Box<Child>, ctx: &mut Context<Self>) {
        let cause = child.last_event();
        let (is_admitted, budget) = {
            let mut children = self.shared().lock();
            let is_admitted = children.intensity.admit(Instant::now());
            let budget = children.intensity.budget_spent();
            chaos::counted(&children.path, budget, is_admitted);
            children.counts.restarted += u64::from(is_admitted);
            (is_admitted, budget)
        };
        if !is_admitted {
            let reason = ExitReason::error("reached_max_restart_intensity");
            self.report(
                ReportContext::Shutdown,
                &"reached_max_restart_intensity",
                child.state.pid(),
                None,
                child.is_crashed(),
            );
            self.tell_crash(&mut child, &"not restarted: its supervisor gives up");
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
            let event = self.tell(EventKind::GaveUp, None, draft, ctx);
            return self.end(ExitReason::SHUTDOWN, event, ctx);
        }
        let extras = child.extras();
        extras.restarts += 1;
        extras.timer = None;
        let draft = Draft {
            details: EventDetails::Restart {
                strategy: "simple_one_for_one",
                budget,
                taken_along: TakenAlong::default(),
            },
            cause,
            ..Draft::default()
        };
        let event = self.tell(EventKind::Restart, Some(&child), draft, ctx);
        self.tell_crash(&mut child, &"restarted now");
        self.launch(child, event, ctx);
    }

    // ---- telling

    pub(super) fn report(
        &self,
        context: ReportContext,
        reason: &dyn fmt::Display,
        pid: Option<Pid>,
        children: Option<usize>,
        is_crash: bool,
    ) {
        if !report::is_heard(report::level(is_crash)) {
            return;
        }
        let path = self.shared().lock().path.clone();
        let offender = Offender {
            id: Arc::clone(&self.flags.id),
            pid,
            children,
            restart: self.flags.restart.name(),
            significant: self.flags.significant,
            shutdown: self.flags.shutdown,
            child_type: self.flags.child_type.name(),
        };
        report::supervisor(&path, context, reason, &offender, is_crash);
    }

    /// It is decided what is done about a child's end: if it was a crash, that is reported.
    fn tell_crash(&self, child: &mut Child, effect: &dyn fmt::Display) {
        let Some(crash) = child.take_crash() else {
            return;
        };
        let (path, budget) = {
            let children = self.shared().lock();
            (
                children.path.clone(),
                children.intensity.budget(Instant::now()),
            )
        };
        crash.tell(Some(Effect {
            supervisor: &path,
            strategy: "simple_one_for_one",
            budget,
            effect,
            taken_along: 0,
        }));
    }

    /// Writes down what happens to a child, or to the supervisor itself; where and to whom need not be said.
    pub(super) fn tell(
        &self,
        kind: EventKind,
        child: Option<&Child>,
        draft: Draft<'_>,
        ctx: &Context<Self>,
    ) -> u64 {
        let (path, pid, incarnation) = match child {
            Some(child) => (child.path.clone(), None, child.incarnation),
            None => (
                self.shared().lock().path.clone(),
                Some(ctx.pid()),
                ctx.shared.core.label().map_or(0, |label| label.incarnation),
            ),
        };
        event::record(
            kind,
            Draft {
                path: Some(&path),
                pid,
                incarnation,
                ..draft
            },
        )
    }
}
