//! OTP processes and supervisors for any actix program.

#[cfg(panic = "abort")]
compile_error!(
    "byron-supervisors isolates panics by unwinding: remove `panic = \"abort\"` from the profile, or nothing can be restarted"
);

mod actor_ref;
mod adopt;
mod backoff;
mod child_spec;
mod context;
mod dynamic;
mod event;
mod exit;
mod intensity;
mod mailbox;
mod monitor;
mod panics;
mod partition;
mod path;
mod pg;
mod pid;
mod process;
mod promise;
mod registry;
mod report;
mod run;
mod signal;
mod snapshot;
mod spawn;
mod strategy;
mod supervisor;

pub use actor_ref::{ActorRef, Request, SendError};
pub use adopt::{addr_of, adopt, whereis_addr};
pub use backoff::Backoff;
pub use child_spec::{
    AutoShutdown, ChildId, ChildSpec, ChildType, InvalidSpec, Restart, SHUTDOWN_TIMEOUT,
    START_TIMEOUT, Shutdown, SupFlags,
};
pub use context::{Context, MESSAGES_PER_TURN};
pub use dynamic::{DynamicFlags, DynamicSupervisor, StartDynamicChild, TerminateDynamicChild};
pub use event::{
    EVENT_BYTES_MAX, EVENTS_MAX, Event, EventKind, Events, events_since, next_events,
    record_operator,
};
pub use exit::{Down, During, Exit, ExitError, ExitReason, MonitorRef, Panic};
pub use monitor::{Exited, exited};
pub use panics::current_pid;
pub use partition::{PartitionSupervisor, Partitions};
pub use path::Path;
pub use pg::{GroupChange, GroupEvent, GroupMonitor, JoinError, Scope};
pub use pid::{ParsePidError, Pid, is_alive};
pub use registry::{Name, RegisterError, register, registered, unregister, whereis, whereis_actor};
pub use report::ReportContext;
pub use run::Init;
pub use signal::{exit, kill, kill_by_operator, shutdown};
pub use snapshot::{ChildState, LastExit, Node, SHOWN_CHILDREN_MAX, SupervisorInfo, snapshot};
pub use spawn::{ArbiterPool, Placement, Spawn, spawn};
pub use strategy::Strategy;
pub use supervisor::{
    ChildCounts, ChildError, ChildInfo, ChildSpecInfo, CountChildren, DeleteChild,
    FailedToStartChild, GetChildSpec, RestartChild, StartChild, StartChildError, Supervisor,
    TerminateChild, WhichChildren,
};
