//! What a person may ask for: [`Id`], and which event that is.

use thiserror::Error;

use super::{Log, parent};
use crate::observe::model::{CRASH_PREFIX, Event, EventKind};
use crate::present::escape::escape_name;

/// How many crashes are named to somebody who asked for something that has not ended.
const NAMED_CRASHES_MAX: usize = 3;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    /// An event: `918`, `#918`, `crash-918`.
    Event(u64),
    /// The last that is known of a process: `<0.42.0>`.
    Pid(u64),
    /// The last exit of a place: `root/poems/ecstasy`, or `poems/ecstasy`.
    Path(String),
}

impl Id {
    /// Reads what a person typed.
    ///
    /// # Errors
    /// It is none of these.
    ///
    /// ```
    /// # use byron::observe::why::Id;
    /// assert_eq!(Id::parse("crash-918"), Ok(Id::Event(918)));
    /// assert_eq!(Id::parse("<0.42.0>"), Ok(Id::Pid(42)));
    /// assert_eq!(Id::parse("poems/ecstasy"), Ok(Id::Path("poems/ecstasy".to_owned())));
    /// ```
    pub fn parse(text: &str) -> Result<Id, WhyError> {
        let wrong = || WhyError::NoId(escape_name(text));
        let number = text.strip_prefix(CRASH_PREFIX).or(text.strip_prefix('#'));
        if let Some(number) = number {
            return number.parse().map(Id::Event).map_err(|_| wrong());
        }
        if let Some(rest) = text.strip_prefix('<') {
            let number = rest
                .strip_prefix("0.")
                .and_then(|rest| rest.strip_suffix(".0>"));
            let number = number.and_then(|number| number.parse().ok());
            return number.map(Id::Pid).ok_or_else(wrong);
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Id::Event).map_err(|_| wrong());
        }
        let path = text.trim_matches('/');
        if path.is_empty() {
            return Err(wrong());
        }
        Ok(Id::Path(path.to_owned()))
    }
}

/// There is nothing to tell.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WhyError {
    /// Neither an event, nor a pid, nor a path.
    #[error(
        "`{0}` names nothing; expected an event such as 918 or crash-918, a pid such as <0.42.0>, or a path"
    )]
    NoId(String),
    /// The ring had no room for it any more.
    #[error("event #{seq} is no longer known: the oldest is #{oldest}")]
    Dropped {
        /// The event that was asked for.
        seq: u64,
        /// The oldest there is.
        oldest: u64,
    },
    /// It has not happened.
    #[error("there is no event #{seq} yet: the newest is #{newest}")]
    NotYet {
        /// The event that was asked for.
        seq: u64,
        /// The newest there is.
        newest: u64,
    },
    /// Somewhere in between an event is missing.
    #[error("event #{0} is not known")]
    Unknown(u64),
    /// Nothing has happened at all.
    #[error("no events are known")]
    NoEvents,
    /// There is such a place, or such a process, but nothing there has ended.
    #[error("nothing has ended at {place}, as far as is known{}", below(.crashes_below))]
    NoExit {
        /// Where.
        place: String,
        /// The latest that fell below it: their paths and ids.
        crashes_below: Vec<String>,
    },
    /// There is no such place, and there was none.
    #[error("nothing is known of {place}{}", meant(.similar))]
    NoPlace {
        /// What was asked for.
        place: String,
        /// A path that may have been meant.
        similar: Option<String>,
    },
}

fn below(crashes: &[String]) -> String {
    match crashes {
        [] => String::new(),
        crashes => format!("; below it: {}", crashes.join(", ")),
    }
}

fn meant(path: &Option<String>) -> String {
    path.as_deref()
        .map_or_else(String::new, |path| format!("; did you mean {path}?"))
}

impl<'a> Log<'a> {
    /// The event that is asked for.
    pub(super) fn subject(&self, id: &Id) -> Result<&'a Event, WhyError> {
        match id {
            Id::Event(seq) => self.event(*seq).ok_or_else(|| self.missing(*seq)),
            Id::Pid(pid) => self.of_process(*pid),
            Id::Path(path) => self.of_place(path),
        }
    }

    fn missing(&self, seq: u64) -> WhyError {
        let ends = self.events.first().zip(self.events.last());
        match ends {
            None => WhyError::NoEvents,
            Some((oldest, _)) if seq < oldest.seq => WhyError::Dropped {
                seq,
                oldest: oldest.seq,
            },
            Some((_, newest)) if seq > newest.seq => WhyError::NotYet {
                seq,
                newest: newest.seq,
            },
            Some(_) => WhyError::Unknown(seq),
        }
    }

    /// The end of a process; why it was started, if it lives.
    fn of_process(&self, pid: u64) -> Result<&'a Event, WhyError> {
        let mut own = self
            .events
            .iter()
            .rev()
            .filter(|event| event.pid == Some(pid));
        let last = own.clone().find(|event| event.kind == EventKind::Exit);
        let start = || own.find(|event| event.kind == EventKind::Started);
        last.or_else(start).ok_or_else(|| WhyError::NoPlace {
            place: crate::observe::render::words::pid_text(pid),
            similar: None,
        })
    }

    fn of_place(&self, path: &str) -> Result<&'a Event, WhyError> {
        let matches = |known: &str| known == path || without_root(known) == Some(path);
        let is_exit = |event: &&&Event| {
            event.kind == EventKind::Exit && event.path.as_deref().is_some_and(matches)
        };
        // The whole path is what was meant, if there is one: names may repeat below another root.
        let mut exits = self.events.iter().rev().filter(|event| is_exit(&event));
        let whole = exits
            .clone()
            .find(|event| event.path.as_deref() == Some(path));
        if let Some(exit) = whole.or_else(|| exits.next()) {
            return Ok(exit);
        }
        let node = self.tree.and_then(|tree| {
            let mut nodes = tree.nodes();
            nodes.find(|node| matches(&node.path))
        });
        let known = node.map(|node| node.path.as_str()).or_else(|| {
            let mut paths = self.events.iter().filter_map(|event| event.path.as_deref());
            paths.find(|known| matches(known))
        });
        match known {
            Some(known) => {
                let last = node.and_then(|node| node.last_exit.as_ref());
                match last.and_then(|last| last.event) {
                    Some(seq) => self.event(seq).ok_or_else(|| self.missing(seq)),
                    None => Err(WhyError::NoExit {
                        place: escape_name(known),
                        crashes_below: self.crashes_below(known),
                    }),
                }
            }
            None => Err(WhyError::NoPlace {
                place: escape_name(path),
                similar: self.similar(path),
            }),
        }
    }

    fn crashes_below(&self, path: &str) -> Vec<String> {
        let is_below = |event: &&Event| {
            let mut above = event.path.as_deref().and_then(parent);
            while let Some(place) = above.filter(|place| *place != path) {
                above = parent(place);
            }
            above.is_some()
        };
        let crashes = self.events.iter().rev().filter(is_below);
        let named = crashes.filter_map(|event| {
            let number = || Some(format!("#{}", event.seq)).filter(|_| event.is_bad_exit());
            let id = event.crash_id().or_else(number)?;
            Some(format!("{} ({id})", escape_name(event.path.as_deref()?)))
        });
        named.take(NAMED_CRASHES_MAX).collect()
    }

    /// A place that ends as what was typed.
    fn similar(&self, path: &str) -> Option<String> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let nodes = self.tree.into_iter().flat_map(|tree| tree.nodes());
        let in_tree = nodes.map(|node| node.path.as_str());
        let in_events = self.events.iter().filter_map(|event| event.path.as_deref());
        let mut known = in_tree.chain(in_events);
        known
            .find(|known| known.rsplit('/').next() == Some(name))
            .map(escape_name)
    }
}

/// A path below its root's name.
fn without_root(path: &str) -> Option<&str> {
    path.split_once('/').map(|(_, rest)| rest)
}
