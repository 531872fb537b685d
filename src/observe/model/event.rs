//! What happened: [`Event`], with the [`Reason`] and the cause.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Budget, EventKind, ReasonKind};

/// What the id of a crash begins with; the number of its event follows.
pub const CRASH_PREFIX: &str = "crash-";

/// Something that happened to a process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// The version of the format.
    pub v: u32,
    /// Counts all events of the program from 1; a number that is missing was thrown away.
    pub seq: u64,
    /// When.
    pub ts: Timestamp,
    /// What.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The process's place in its tree, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u64>,
    /// Which incarnation of its place the process is, from 1.
    #[serde(default, rename = "inc", skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<u32>,
    /// Why it ended, or what made the supervisor act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The rest, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// How long a supervisor waits before the next attempt.
    #[serde(
        default,
        rename = "delay_s",
        skip_serializing_if = "Option::is_none",
        with = "super::seconds::option"
    )]
    pub delay: Option<Duration>,
    /// When the next attempt is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The strategy by which a supervisor acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// What is used of the supervisor's budget, this restart included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Whom the strategy takes along: the names of the siblings, the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken_along: Vec<String>,
    /// How many siblings more it takes along.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub taken_along_more: u64,
    /// How often it has failed in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
    /// Whether the end was the process's own failure, not a signal of somebody else's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash: Option<bool>,
    /// How long the process had lived.
    #[serde(
        default,
        rename = "uptime_s",
        skip_serializing_if = "Option::is_none",
        with = "super::seconds::option"
    )]
    pub uptime: Option<Duration>,
    /// How many messages waited for it.
    #[serde(default, rename = "mailbox", skip_serializing_if = "Option::is_none")]
    pub mailbox_len: Option<u64>,
    /// The type of the message that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Who did it, if a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<Operator>,
    /// What the operator did: `restart`, `stop`, `start`, `kill`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Why it was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The event that brought this one about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<u64>,
}

impl Event {
    /// An event of which nothing but number, time and kind is known.
    pub fn new(seq: u64, ts: Timestamp, kind: EventKind) -> Event {
        Event {
            v: super::VERSION,
            seq,
            ts,
            kind,
            path: None,
            pid: None,
            incarnation: None,
            reason: None,
            note: None,
            delay: None,
            until: None,
            strategy: None,
            budget: None,
            taken_along: Vec::new(),
            taken_along_more: 0,
            failures: None,
            crash: None,
            uptime: None,
            mailbox_len: None,
            message: None,
            operator: None,
            action: None,
            refused: None,
            cause: None,
        }
    }

    /// True for the end of a process that somebody should look into.
    pub fn is_bad_exit(&self) -> bool {
        let reason = self.reason.as_ref();
        self.kind == EventKind::Exit && reason.is_some_and(|reason| !reason.kind.is_normal())
    }

    /// True for a failure of the process's own.
    pub fn is_crash(&self) -> bool {
        let is_failure = || {
            let kind = self.reason.as_ref().map(|reason| &reason.kind);
            matches!(kind, Some(ReasonKind::Panic | ReasonKind::Error))
        };
        self.kind == EventKind::Exit && self.crash.unwrap_or_else(is_failure)
    }

    /// The id of a crash, as logs print it and `ctl why` takes it.
    pub fn crash_id(&self) -> Option<String> {
        self.is_crash()
            .then(|| format!("{CRASH_PREFIX}{}", self.seq))
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Why a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// In one word.
    pub kind: ReasonKind,
    /// What the error or the panic said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// The line of source that panicked: `src/serve.rs:88:17`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The type of the message that was being handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the process was doing, if it was no message: `init`, `a future`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub during: Option<String>,
}

impl Reason {
    /// A reason of which only the kind is known.
    pub fn new(kind: ReasonKind) -> Reason {
        Reason {
            kind,
            text: String::new(),
            at: None,
            message: None,
            during: None,
        }
    }
}

/// Whoever does something to the tree from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// Whose program asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Which process asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Which way: `ctl`, `demo`, `SIGTERM`.
    #[serde(default)]
    pub via: String,
}

/// `ctl, uid 1000, pid 4242`.
impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uid = self.uid.map(|uid| format!("uid {uid}"));
        let pid = self.pid.map(|pid| format!("pid {pid}"));
        let via = (!self.via.is_empty()).then(|| self.via.clone());
        let parts: Vec<_> = [via, uid, pid].into_iter().flatten().collect();
        match parts.as_slice() {
            [] => f.write_str("somebody"),
            parts => f.write_str(&parts.join(", ")),
        }
    }
}
