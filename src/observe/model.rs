//! The model that every view draws: a [`Tree`] of [`Node`]s, the [`Event`]s that changed it, and the [`Instance`] whose
//! they are.
//!
//! It travels as JSON, over the socket and in recorded files. `v` is the version of the format; a version only grows:
//! whoever reads ignores fields that it does not know, and keeps words that it does not know as they are. Points of time
//! are RFC 3339 (`ts`), spans are seconds (`…_s`), processes are the numbers of their pids.

mod convert;
mod event;
mod instance;
mod line;
mod log;
mod node;
mod word;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::event::{CRASH_PREFIX, Event, Operator, Reason};
pub use self::instance::{Endpoint, Instance};
pub use self::line::{Gap, Line};
pub use self::log::{Fields, LogRecord};
pub use self::node::{
    Budget, Details, Dynamic, DynamicExit, Handling, LastExit, Mailbox, Messages, Node, Spec,
    Supervision, Turns,
};
pub use self::word::{EventKind, Flag, ReasonKind, State};

/// The version of the format.
pub const VERSION: u32 = 1;

/// How many bytes of a text that a process made (an error's, a panic's) travel; what is beyond is cut off.
pub const TEXT_BYTES_MAX: usize = 4096;

/// The trees of a program at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tree {
    /// The version of the format.
    pub v: u32,
    /// All events up to this number are in it; of later ones, some may be.
    pub seq: u64,
    /// When.
    pub ts: Timestamp,
    /// How many events the program has thrown away since it began, for they had no room.
    #[serde(default)]
    pub dropped: u64,
    /// The roots, each with what is below it.
    #[serde(default)]
    pub roots: Vec<Node>,
}

impl Tree {
    /// An empty one.
    pub fn new(ts: Timestamp) -> Tree {
        Tree {
            v: VERSION,
            seq: 0,
            ts,
            dropped: 0,
            roots: Vec::new(),
        }
    }

    /// Every node, parents before their children, children in start order.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.roots.iter().flat_map(Node::with_descendants)
    }

    /// The node at this path.
    pub fn find(&self, path: &str) -> Option<&Node> {
        self.roots.iter().find_map(|root| root.find(path))
    }

    /// The node at this path, to change it.
    pub fn find_mut(&mut self, path: &str) -> Option<&mut Node> {
        self.roots.iter_mut().find_map(|root| root.find_mut(path))
    }

    /// Fills in how many messages a second each process has handled since `before`, a tree of the same program.
    pub fn measure_rates_since(&mut self, before: &Tree) {
        let Ok(span) = Duration::try_from(self.ts.duration_since(before.ts)) else {
            return;
        };
        if span.is_zero() {
            return;
        }
        for root in &mut self.roots {
            root.measure_rates(&|path| before.find(path), span);
        }
    }
}

/// At most [`TEXT_BYTES_MAX`] bytes of a text; what is missing shows as `…`.
pub(crate) fn bounded(text: impl Into<String>) -> String {
    let mut text = text.into();
    if text.len() > TEXT_BYTES_MAX {
        let mut end = TEXT_BYTES_MAX;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Spans of time as JSON has them: seconds, to the microsecond.
mod seconds {
    use std::time::Duration;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    /// What a reader accepts at most: longer than any program runs, and far from what a `Duration` cannot hold.
    const MAX: f64 = 1e10;

    pub(super) fn serialize<S: Serializer>(
        span: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(span.as_micros() as f64 / 1e6)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        if !(0.0..=MAX).contains(&seconds) {
            return Err(D::Error::custom(format_args!(
                "{seconds} is no number of seconds"
            )));
        }
        Ok(Duration::from_micros((seconds * 1e6).round() as u64))
    }

    /// The same, where there may be none.
    pub(super) mod option {
        use std::time::Duration;

        use serde::{Deserialize, Deserializer, Serializer};

        pub(in super::super) fn serialize<S: Serializer>(
            span: &Option<Duration>,
            serializer: S,
        ) -> Result<S::Ok, S::Error> {
            match span {
                Some(span) => super::serialize(span, serializer),
                None => serializer.serialize_none(),
            }
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<Duration>, D::Error> {
            #[derive(Deserialize)]
            struct Seconds(#[serde(with = "super")] Duration);
            let seconds = Option::<Seconds>::deserialize(deserializer)?;
            Ok(seconds.map(|Seconds(span)| span))
        }
    }
}

#[cfg(test)]
mod tests;
