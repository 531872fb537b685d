//! Reports, as `tracing` events: the crash report of a process, the four reports of a supervisor.
//!
//! Targets are `byron_supervisors::crash`, `byron_supervisors::supervisor` and `byron_supervisors::progress`; the fields
//! are OTP's (`?report_error` and `report_progress` in `supervisor.erl`).

use std::fmt;

use crate::child_spec::{ChildId, Shutdown};
use crate::exit::ExitReason;
use crate::panics::contained;
use crate::path::Path;
use crate::pid::Pid;
use crate::process::{Core, End};

/// One report for each process that ends by a panic or an error (proc_lib's CRASH REPORT).
pub(crate) fn crash(core: &Core, reason: &ExitReason, end: &End, event: u64) {
    let panic = match reason {
        ExitReason::Panic(panic) => Some(&**panic),
        _ => None,
    };
    let uptime = core.born().elapsed();
    let waits_for = core.pulse.waiting(core.born()).and_then(|wait| wait.on);
    tracing::error!(
        target: "byron_supervisors::crash",
        pid = %core.pid(),
        path = core.label().map(|label| tracing::field::display(&label.path)),
        incarnation = core.label().map(|label| label.incarnation),
        actor = core.kind(),
        reason = reason.kind(),
        panic = panic.map(|panic| panic.message.as_str()),
        location = panic.and_then(|panic| panic.location.as_deref()),
        in_message = panic.and_then(|panic| panic.in_message),
        mailbox = end.mailbox_len,
        mailbox_capacity = end.mailbox_capacity,
        waits_for = waits_for.map(tracing::field::display),
        state = end.state.as_deref(),
        uptime_ms = uptime.as_millis() as u64,
        event,
        "crashed: {reason}",
    );
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

/// SUPERVISOR REPORT.
pub(crate) fn supervisor(
    supervisor: &Path,
    context: ReportContext,
    reason: &dyn fmt::Display,
    offender: &Offender,
) {
    contained(|| {
        tracing::error!(
            target: "byron_supervisors::supervisor",
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
        );
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
