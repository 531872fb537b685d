//! What travels over the socket beside the [model](super::model): version 1 of the protocol.
//!
//! HTTP/1.1 with JSON. Version 1 only grows: whoever reads ignores fields that it does not know.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /v1/status` | [`Status`] |
//! | `GET /v1/tree` | [`Tree`](super::model::Tree) |
//! | `GET /v1/events?since=SEQ` | server-sent events, each a [`Line`](super::model::Line); then [`End`] |
//! | `GET /v1/recent?count=N` | [`Recent`]: the last events |
//! | `GET /v1/why/ID` | [`Chain`](super::why::Chain): what led to an event, or to the last exit at a path |
//! | `GET /v1/consequence?action=kill&path=PATTERN` | [`Outlook`]: what that would bring about |
//! | `POST /v1/children/PATH/restart`, `stop`, `start`, `kill` | [`Deed`], when it is done |
//! | `GET /v1/logs?since=N` | [`LogTail`]: the last lines of the log |
//! | `GET /v1/log-level`, `POST` | [`LogFilter`]: how much of the log is written |
//! | `POST /v1/drain`, `/v1/stop` | [`Deed`]; the instance ends |
//! | `GET /healthz`, `/readyz` | [`Health`] |
//!
//! What is refused answers with a status that says so and a [`Refusal`]. A request that changes something must say
//! `Content-Type: application/json`.

use serde::{Deserialize, Serialize};

use super::model::{Event, Instance, LogRecord, VERSION};

/// How an instance is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of the format.
    pub v: u32,
    /// Who it is.
    pub instance: Instance,
    /// Whether it does what it was started for.
    pub ready: bool,
    /// What keeps it from being ready, by path.
    #[serde(default)]
    pub not_ready: Vec<NotReady>,
    /// How many processes run, dynamic children included.
    #[serde(default)]
    pub running: u64,
    /// How often supervisors have restarted something.
    #[serde(default)]
    pub restarts: u64,
    /// The number of the last event.
    #[serde(default)]
    pub seq: u64,
    /// How many events were thrown away, for they had no room.
    #[serde(default)]
    pub dropped: u64,
    /// How many follow the events.
    #[serde(default)]
    pub followers: u64,
    /// How many events followers have missed, for they read too slowly.
    #[serde(default)]
    pub followers_missed: u64,
    /// What became of the events that are recorded, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Recorded>,
    /// How many connections were closed, for they were another user's.
    #[serde(default)]
    pub strangers: u64,
}

/// What became of the events that are recorded to a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The file.
    pub path: String,
    /// How many events are in it.
    pub written: u64,
    /// How many are not, for the disk did not take them in time.
    pub lost: u64,
}

/// A place of the tree that does not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotReady {
    /// Where.
    pub path: String,
    /// How it fares instead.
    pub state: String,
}

/// Whether the instance is well, or ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The version of the format.
    pub v: u32,
    /// The answer.
    pub ok: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_ready: Vec<NotReady>,
}

/// The last events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recent {
    /// The version of the format.
    pub v: u32,
    /// The oldest first.
    pub events: Vec<Event>,
}

/// What a deed would bring about, at each place that a pattern stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlook {
    /// The version of the format.
    pub v: u32,
    /// `restart`, `stop`, `start` or `kill`.
    pub action: String,
    /// Place by place, in the order of the tree.
    pub places: Vec<Prospect>,
}

/// What a deed would bring about at one place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prospect {
    /// The place.
    pub path: String,
    /// The consequence in one line; or why it would be refused.
    pub text: String,
    /// Whether it would be refused.
    #[serde(default)]
    pub is_refused: bool,
    /// Whether others than the place itself end with it, or the place supervises others.
    #[serde(default)]
    pub affects_others: bool,
    /// The places that end.
    #[serde(default)]
    pub ends: Vec<String>,
    /// The places that start, in order.
    #[serde(default)]
    pub starts: Vec<String>,
    /// The places that are there afterwards and run no more.
    #[serde(default)]
    pub stops: Vec<String>,
    /// How many dynamic children end with it.
    #[serde(default)]
    pub drops: u64,
    /// The supervisors that give up, from below upwards.
    #[serde(default)]
    pub gives_up: Vec<String>,
    /// Whether the whole tree ends.
    #[serde(default)]
    pub ends_tree: bool,
    /// Whether it may come differently, since something else is under way.
    #[serde(default)]
    pub is_uncertain: bool,
}

/// How much of the log is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogFilter {
    /// The version of the format.
    pub v: u32,
    /// As in `BYRON_LOG`.
    pub filter: String,
    /// For how many seconds; then as at the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_s: Option<f64>,
}

/// The last lines of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogTail {
    /// The version of the format.
    pub v: u32,
    /// The number of the last line.
    pub last: u64,
    /// How many that were asked for are gone.
    #[serde(default)]
    pub missed: u64,
    /// The oldest first.
    pub lines: Vec<LogRecord>,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deed {
    /// The version of the format.
    pub v: u32,
    /// What, as a sentence.
    pub done: String,
    /// The number of the event that tells of it.
    #[serde(default)]
    pub event: u64,
}

/// The last of a stream of events: the instance ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The version of the format.
    pub v: u32,
    /// Its exit code.
    pub exit: u8,
    /// What that means.
    #[serde(default)]
    pub why: String,
}

impl End {
    /// Of an end without a word.
    pub(super) fn unknown() -> End {
        End {
            v: VERSION,
            exit: 0,
            why: String::new(),
        }
    }
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The version of the format.
    #[serde(default = "version")]
    pub v: u32,
    /// Why.
    pub error: RefusalReason,
}

/// The reason of a [`Refusal`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalReason {
    /// A stable word for it, for programs.
    pub kind: String,
    /// What is wrong and what to do, for people.
    pub message: String,
}

fn version() -> u32 {
    VERSION
}
