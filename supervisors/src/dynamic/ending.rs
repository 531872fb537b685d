//! The end of a dynamic supervisor: its children first, all at once, then itself.

use std::mem;

use actix::AsyncContext;

use super::{DynamicFlags, DynamicSupervisor, Ending};
use crate::child_spec::{Restart, Shutdown};
use crate::context::Context;
use crate::event::{Draft, EventKind};
use crate::exit::ExitReason;
use crate::pid::{self, Pid};
use crate::report::ReportContext;
use crate::snapshot::ChildState;

impl DynamicSupervisor {
    /// Tells every child at once to stop, with one timer for all.
    pub(super) fn end(&mut self, reason: ExitReason, cause: u64, ctx: &mut Context<Self>) {
        if self.ending.is_some() {
            return;
        }
        let draft = Draft {
            reason: Some(&reason),
            cause,
            ..Draft::default()
        };
        let event = self.tell(EventKind::Stop, None, draft, ctx);
        self.ending = Some(Ending {
            reason,
            cause,
            errors: Vec::new(),
        });
        let mut children = self.shared().lock();
        // Those that wait for a restart have no process to stop.
        let waiting: Vec<_> = children
            .iter()
            .filter(|(_, child)| child.state.pid().is_none())
            .map(|(pid, _)| pid)
            .collect();
        let forgotten: Vec<_> = waiting
            .into_iter()
            .filter_map(|pid| children.remove(pid))
            .collect();
        let pids: Vec<_> = children.iter().map(|(pid, _)| pid).collect();
        for pid in &pids {
            if let Some(ChildState::Running(_)) = children.get(*pid).map(|child| &child.state) {
                children.set_state(*pid, ChildState::Stopping(*pid));
            }
        }
        drop(children);
        for mut child in forgotten {
            for stopper in child.take_stoppers() {
                stopper.tell();
            }
        }
        for pid in pids {
            self.stop_child(pid, event, ctx);
        }
        if let Shutdown::Timeout(limit) = self.flags.shutdown {
            ctx.run_later(limit, move |supervisor, _| {
                for (pid, _) in supervisor.shared().lock().iter() {
                    kill(pid, event);
                }
            });
        }
        self.end_if_empty(ctx);
    }

    pub(super) fn stop_child(&self, pid: Pid, cause: u64, ctx: &Context<Self>) {
        let Some(process) = pid::lookup(pid) else {
            return;
        };
        match self.flags.shutdown {
            Shutdown::BrutalKill => process.core().kill(cause),
            _ => process
                .core()
                .signal(Some(ctx.pid()), ExitReason::SHUTDOWN, cause),
        }
    }

    pub(super) fn end_if_empty(&mut self, ctx: &mut Context<Self>) {
        if self.is_over || !self.shared().lock().is_empty() {
            return;
        }
        let Some(ending) = &mut self.ending else {
            return;
        };
        let (reason, cause) = (ending.reason.clone(), ending.cause);
        for (reason, count) in mem::take(&mut ending.errors) {
            self.report(
                ReportContext::ShutdownError,
                &reason,
                None,
                Some(count),
                false,
            );
        }
        self.is_over = true;
        ctx.cause = cause;
        ctx.exit(reason);
    }
}

pub(super) fn kill(pid: Pid, cause: u64) {
    if let Some(process) = pid::lookup(pid) {
        process.core().kill(cause);
    }
}

pub(super) fn is_shutdown_error(flags: &DynamicFlags, reason: &ExitReason) -> bool {
    match (flags.shutdown, reason) {
        (Shutdown::BrutalKill, ExitReason::Killed) => false,
        (Shutdown::BrutalKill, _) => true,
        (_, ExitReason::Shutdown(None)) => false,
        (_, ExitReason::Normal | ExitReason::Shutdown(_)) => flags.restart == Restart::Permanent,
        _ => true,
    }
}

pub(super) fn note_error(ending: &mut Ending, flags: &DynamicFlags, reason: &ExitReason) {
    if !is_shutdown_error(flags, reason) {
        return;
    }
    match ending.errors.iter_mut().find(|(known, _)| known == reason) {
        Some((_, count)) => *count += 1,
        None => ending.errors.push((reason.clone(), 1)),
    }
}
