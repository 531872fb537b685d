//! Reports, as `tracing` events: the crash report of a process, the four reports of a supervisor.
//!
//! One crash is one report at the level ERROR: the supervisor adds to the crash report what it does about it, and its own
//! report of the same end (`child_terminated`, `start_error`, `shutdown`) is at the level DEBUG.
//!
//! Targets are `byron_supervisors::crash`, `byron_supervisors::supervisor` and `byron_supervisors::progress`; the fields
//! are OTP's (`?report_error` and `report_progress` in `supervisor.erl`).

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tracing::Level;
use tracing::level_filters::LevelFilter;

use crate::child_spec::{ChildId, Shutdown};
use crate::event::crash_id;
use crate::exit::ExitReason;
use crate::intensity::Budget;
use crate::panics::contained;
use crate::path::Path;
use crate::pid::Pid;
use crate::process::{Core, End};

/// A process has ended by a panic or an error: one report (proc_lib's CRASH REPORT), which also says what its supervisor
/// does about it. Whoever drops it untold tells it, so that none is lost and none told twice.
#[derive(Debug)]
pub(crate) struct Crash {
    pid: Pid,
    path: Option<Path>,
    incarnation: u32,
    actor: &'static str,
    reason: ExitReason,
    mailbox_len: usize,
    mailbox_capacity: Option<usize>,
    waits_for: Option<Pid>,
    state: Option<String>,
    uptime: Duration,
    /// The dynamic children that were lost with it, if it was their supervisor.
    children: Option<usize>,
    event: u64,
    is_told: AtomicBool,
}

/// What a supervisor does about a crash.
pub(crate) struct Effect<'a> {
    pub(crate) supervisor: &'a Path,
    /// OTP's word for its strategy.
    pub(crate) strategy: &'static str,
    pub(crate) budget: Budget,
    /// In a few words: `restarted now`.
    pub(crate) effect: &'a dyn fmt::Display,
    /// How many siblings it stops and starts with it.
    pub(crate) taken_along: usize,
}

impl Crash {
    pub(crate) fn new(
        core: &Core,
        reason: &ExitReason,
        end: &End,
        uptime: Duration,
        event: u64,
    ) -> Self {
        Self {
            pid: core.pid(),
            path: core.label().map(|label| label.path.clone()),
            incarnation: core.label().map_or(0, |label| label.incarnation),
            actor: core.kind(),
            reason: reason.clone(),
            mailbox_len: end.mailbox_len,
            mailbox_capacity: end.mailbox_capacity,
            waits_for: end.waits_for,
            state: end.state.as_deref().map(str::to_owned),
            uptime,
            children: end.children,
            event,
            is_told: AtomicBool::new(false),
        }
    }

    /// Tells it, the first time.
    pub(crate) fn tell(&self, effect: Option<Effect<'_>>) {
        if self.is_told.swap(true, Ordering::AcqRel) {
            return;
        }
        let panic = match &self.reason {
            ExitReason::Panic(panic) => Some(&**panic),
            _ => None,
        };
        let effect = effect.as_ref();
        let budget = effect.map(|effect| effect.budget);
        let limit = budget.map(|budget| budget.limit);
        contained(|| {
            tracing::error!(
                target: "byron_supervisors::crash",
                pid = %self.pid,
                path = self.path.as_ref().map(tracing::field::display),
                incarnation = self.path.as_ref().map(|_| self.incarnation),
                actor = self.actor,
                reason = self.reason.kind(),
                panic = panic.map(|panic| panic.message.as_str()),
                location = panic.and_then(|panic| panic.location.as_deref()),
                in_message = panic.and_then(|panic| panic.in_message),
                during = panic.map(|panic| tracing::field::display(panic.during)),
                mailbox = self.mailbox_len,
                mailbox_capacity = self.mailbox_capacity,
                waits_for = self.waits_for.map(tracing::field::display),
                state = self.state.as_deref(),
                uptime_ms = self.uptime.as_millis() as u64,
                supervisor = effect.map(|effect| tracing::field::display(effect.supervisor)),
                strategy = effect.map(|effect| effect.strategy),
                restarts_used = budget.map(|budget| budget.used),
                intensity = limit.filter(|limit| *limit != u32::MAX),
                period_ms = budget.map(|budget| budget.period.as_millis() as u64),
                effect = effect.map(|effect| tracing::field::display(effect.effect)),
                taken_along = effect.map(|effect| effect.taken_along),
                children = self.children,
                crash = %crash_id(self.event),
                event = self.event,
                "crashed: {}",
                self.reason,
            );
        });
    }
}

impl Drop for Crash {
    fn drop(&mut self) {
        self.tell(None);
    }
}

/// What a supervisor was doing when it had to report (OTP's `errorContext`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReportContext {
    /// A child did not start.
    StartError,
    /// A child ended that should not have.
    ChildTerminated,
    /// A child did not stop as it was asked to.
    ShutdownError,
    /// The supervisor itself gives up.
    Shutdown,
}

impl ReportContext {
    /// OTP's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::StartError => "start_error",
            Self::ChildTerminated => "child_terminated",
            Self::ShutdownError => "shutdown_error",
            Self::Shutdown => "shutdown",
        }
    }
}

/// The child a report is about (OTP's `offender`). It borrows nothing: a subscriber is not called under a supervisor's
/// lock, for it may take a snapshot.
pub(crate) struct Offender {
    pub(crate) id: ChildId,
    pub(crate) pid: Option<Pid>,
    /// How many children, where a report is about several.
    pub(crate) children: Option<usize>,
    pub(crate) restart: &'static str,
    pub(crate) significant: bool,
    pub(crate) shutdown: Shutdown,
    pub(crate) child_type: &'static str,
}

/// Whether anybody can hear of this: most reports are made for nobody, at the cost of what they would say.
pub(crate) fn is_heard(level: Level) -> bool {
    level <= LevelFilter::current()
}

/// The level of a supervisor's report; a crash has its own.
pub(crate) fn level(is_crash: bool) -> Level {
    if is_crash { Level::DEBUG } else { Level::ERROR }
}

/// SUPERVISOR REPORT; of a crash, which has its own report, if `is_crash`.
pub(crate) fn supervisor(
    supervisor: &Path,
    context: ReportContext,
    reason: &dyn fmt::Display,
    offender: &Offender,
    is_crash: bool,
) {
    macro_rules! tell {
        ($level:expr) => {
            tracing::event!(
                target: "byron_supervisors::supervisor",
                $level,
                %supervisor,
                context = context.name(),
                %reason,
                child = %offender.id,
                pid = offender.pid.map(tracing::field::display),
                children = offender.children,
                restart = offender.restart,
                significant = offender.significant,
                shutdown = %offender.shutdown,
                child_type = offender.child_type,
                "{}: {reason}",
                context.name(),
            )
        };
    }
    contained(|| match is_crash {
        true => tell!(tracing::Level::DEBUG),
        false => tell!(tracing::Level::ERROR),
    });
}

/// PROGRESS REPORT: a static child was started.
pub(crate) fn progress(supervisor: &Path, offender: &Offender) {
    contained(|| {
        tracing::info!(
            target: "byron_supervisors::progress",
            %supervisor,
            child = %offender.id,
            pid = offender.pid.map(tracing::field::display),
            restart = offender.restart,
            significant = offender.significant,
            shutdown = %offender.shutdown,
            child_type = offender.child_type,
            "started",
        );
    });
}
