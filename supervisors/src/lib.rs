#![doc = include_str!("../README.md")]
//!
//! # Invariants
//!
//! - A process ends once. Its names are free before anybody hears of it, and each monitor gets one [`Down`].
//! - A supervisor holds no state of its own but its children: what it knows is in its specs and in one table.
//! - The rules are pure: whom a failure takes along ([`Strategy`]), how many restarts are too many, how long to wait
//!   ([`Backoff`]) take data and `now`, and answer data.
//! - Time is tokio's: with a paused clock, a test of a minute takes a millisecond.
//! - Absent on purpose: poems and sockets, threads of its own, `unsafe`, and any way to change a running process's state
//!   from outside.

#[cfg(panic = "abort")]
compile_error!(
    "byron-supervisors isolates panics by unwinding: remove `panic = \"abort\"` from the profile, or nothing can be restarted"
);

// What a process is called, and how it ends.
mod exit;
mod path;
mod pid;
mod registry;

// How it runs: its mailbox, its context, its one future, and what every process has.
mod actor_ref;
mod adopt;
mod bound;
mod context;
mod mailbox;
mod panics;
mod process;
mod promise;
mod run;
mod spawn;

// How processes hear of each other.
mod monitor;
mod pg;
mod signal;

// Who starts them again: the rules, pure, and those who follow them.
mod backoff;
mod child_spec;
mod dynamic;
mod intensity;
mod partition;
mod strategy;
mod supervisor;

// Failures on purpose.
pub mod chaos;
mod fault;

#[cfg(feature = "testing")]
pub mod testing;

// What can be seen and done from outside.
mod bounded_text;
mod consequence;
mod dead_letter;
mod event;
mod operate;
mod pattern;
mod report;
mod snapshot;
pub mod sys;
mod vitals;

pub use actor_ref::{ActorRef, Request, SendError, TrySendError};
pub use adopt::{addr_of, adopt, whereis_addr};
pub use backoff::Backoff;
pub use bound::{Mailbox, MailboxOverflow, Overflow};
pub use chaos::{Chaos, Rehearsal};
pub use child_spec::{
    AutoShutdown, ChildId, ChildSpec, ChildType, InvalidSpec, OnRestart, Restart, SHUTDOWN_TIMEOUT,
    START_TIMEOUT, Shutdown, SupFlags,
};
pub use consequence::{Consequence, Drops, consequence};
pub use context::{Context, MESSAGES_PER_TURN, STATE_BYTES_MAX};
pub use dead_letter::{
    DEAD_LETTERS_MAX, DeadLetter, DeadLetters, Undelivered, dead_letter_count, dead_letters,
};
pub use dynamic::{DynamicFlags, DynamicSupervisor, StartDynamicChild, TerminateDynamicChild};
pub use event::{
    EVENT_BYTES_MAX, EVENTS_MAX, EVENTS_PER_LOOK, Event, EventDetails, EventKind, Events,
    NOTE_BYTES_MAX, TAKEN_ALONG_MAX, TakenAlong, causes_of, events_since, exit_event, next_events,
    record_operator,
};
pub use exit::{Down, During, Exit, ExitError, ExitReason, MonitorRef, Panic};
pub use fault::{CustomFault, InjectedFault};
pub use intensity::Budget;
pub use monitor::{Exited, exited};
pub use operate::{
    Action, OPERATE_TIMEOUT, OperateError, Operated, Operator, ParseActionError, Refusal, operate,
};
pub use panics::current_pid;
pub use partition::{PartitionSupervisor, Partitions};
pub use path::{ParsePathError, Path};
pub use pattern::{ParsePatternError, Pattern, find};
pub use pg::{GroupChange, GroupEvent, GroupMonitor, JoinError, Scope};
pub use pid::{ParsePidError, Pid, is_alive};
pub use registry::{Name, RegisterError, register, registered, unregister, whereis, whereis_actor};
pub use report::ReportContext;
pub use run::Init;
pub use signal::{exit, kill, shutdown};
pub use snapshot::{
    ChildState, DETAIL_BYTES_MAX, DETAILS_MAX, DynamicCounts, DynamicExit, DynamicInfo, EXITS_MAX,
    LastExit, Node, SHOWN_CHILDREN_MAX, SupervisorInfo, path_of, snapshot,
};
pub use spawn::{ArbiterPool, Placement, Spawn, spawn};
pub use strategy::Strategy;
pub use supervisor::{
    ChildCounts, ChildError, ChildInfo, ChildSpecInfo, CountChildren, DeleteChild,
    FailedToStartChild, GetChildSpec, RestartChild, StartChild, StartChildError, Supervisor,
    TerminateChild, WhichChildren,
};
pub use vitals::{
    BUSY_AFTER, DEADLOCK_AFTER, Doing, Flags, HANDLER_SLOW, MAILBOX_HIGH, STUCK_AFTER, Vitals,
    Waiting, deadlocked, vitals,
};
