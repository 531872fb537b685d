//! What follows one another in a stream of events and in a recorded file: [`Line`].

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Event, EventKind, Instance, LogRecord, Tree, VERSION};

/// One line of a stream or a file. `type` says what it is: `instance`, `tree`, `gap`, `log`, or the kind
/// of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// Whose events follow.
    Instance(Box<Instance>),
    /// What the tree looks like here.
    Tree(Box<Tree>),
    /// Something happened.
    Event(Box<Event>),
    /// Events are missing here.
    Gap(Gap),
    /// What was written to the log.
    Log(Box<LogRecord>),
    /// Something that a later version says; only this word of it is understood.
    Other(String),
}

/// Events that happened and that nobody can tell any more: they had no room where they were to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The last event before those that are missing.
    pub after: u64,
    /// How many are missing.
    pub missed: u64,
}

impl Serialize for Line {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Head<'a, T> {
            v: u32,
            #[serde(rename = "type")]
            kind: &'a str,
            #[serde(flatten)]
            body: T,
        }
        #[derive(Serialize)]
        struct Of<'a> {
            tree: &'a Tree,
        }
        #[derive(Serialize)]
        struct Logged<'a> {
            log: &'a LogRecord,
        }
        #[derive(Serialize)]
        struct Nothing {}
        match self {
            Line::Instance(body) => Head {
                v: VERSION,
                kind: "instance",
                body,
            }
            .serialize(serializer),
            Line::Tree(tree) => Head {
                v: VERSION,
                kind: "tree",
                body: Of { tree },
            }
            .serialize(serializer),
            Line::Event(event) => event.serialize(serializer),
            Line::Gap(body) => Head {
                v: VERSION,
                kind: "gap",
                body,
            }
            .serialize(serializer),
            Line::Log(log) => Head {
                v: VERSION,
                kind: "log",
                body: Logged { log },
            }
            .serialize(serializer),
            Line::Other(kind) => Head {
                v: VERSION,
                kind,
                body: Nothing {},
            }
            .serialize(serializer),
        }
    }
}

impl Line {
    /// Reads one line.
    ///
    /// # Errors
    /// It is not JSON, or lacks what a line of its type must have.
    pub fn from_json(text: &str) -> serde_json::Result<Line> {
        #[derive(Deserialize)]
        struct Head<'a> {
            #[serde(rename = "type", borrow)]
            kind: Cow<'a, str>,
            seq: Option<u64>,
        }
        #[derive(Deserialize)]
        struct TreeLine {
            tree: Box<Tree>,
        }
        #[derive(Deserialize)]
        struct LogLine {
            log: Box<LogRecord>,
        }
        let Head { kind, seq } = serde_json::from_str(text)?;
        match &*kind {
            "instance" => serde_json::from_str(text).map(Line::Instance),
            "tree" => serde_json::from_str(text).map(|TreeLine { tree }| Line::Tree(tree)),
            "gap" => serde_json::from_str(text).map(Line::Gap),
            "log" => serde_json::from_str(text).map(|LogLine { log }| Line::Log(log)),
            // What has no number is no event.
            kind if seq.is_none() && matches!(EventKind::from(kind), EventKind::Other(_)) => {
                Ok(Line::Other(kind.to_owned()))
            }
            _ => serde_json::from_str(text).map(Line::Event),
        }
    }
}
