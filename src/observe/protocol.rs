//! What travels over the socket beside the [model](super::model): version 1 of the protocol.
//!
//! HTTP/1.1 with JSON. Version 1 only grows: whoever reads ignores fields that it does not know.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /v1/status` | [`Status`] |
//! | `GET /v1/tree` | [`Tree`](super::model::Tree) |
//! | `GET /v1/events?since=SEQ` | server-sent events, each a [`Line`](super::model::Line); then [`End`] |
//! | `POST /v1/drain`, `/v1/stop` | [`Deed`]; the instance ends |
//! | `GET /healthz`, `/readyz` | [`Health`] |
//!
//! What is refused answers with a status that says so and a [`Refusal`]. A request that changes something must say
//! `Content-Type: application/json`.

use serde::{Deserialize, Serialize};

use super::model::{Instance, VERSION};

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
    /// How many connections were closed, for they were another user's.
    #[serde(default)]
    pub strangers: u64,
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
