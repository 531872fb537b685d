//! Why did it fall: the chain of causes of one event, and what came of it.
//!
//! A function of events that are known, and of a tree if there is one. What the ring of events has dropped, nobody knows any
//! more: the chain says where it breaks off.

mod id;
mod text;

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::id::{Id, WhyError};
use super::model::{Budget, Event, EventKind, Node, State, Tree, VERSION};

/// How many events before the one asked for are told.
pub const CAUSES_MAX: usize = 100;

/// How many events that it brought about are told.
pub const EFFECTS_MAX: usize = 200;

/// The story of one event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chain {
    /// The version of the format.
    pub v: u32,
    /// The event that was asked for.
    pub subject: Event,
    /// What led to it, the oldest first.
    pub causes: Vec<Event>,
    /// The number of the event that brought about the oldest of these, if it is no longer known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// What it brought about, the oldest first.
    pub effects: Vec<Event>,
    /// How many more it has brought about.
    #[serde(default)]
    pub effects_more: u64,
    /// Whoever fell first: the number of the first exit in the chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fell_first: Option<u64>,
    /// What runs where the first one fell: the actor's type.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub actor: String,
    /// What the supervisor of the first one did about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reaction: Option<Reaction>,
    /// Those that the strategy took along.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taken_along: Vec<TakenAlong>,
    /// Where supervisors gave up because of it, upwards: the paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gave_up: Vec<String>,
    /// How the place that was asked for fares since.
    pub outcome: Outcome,
}

/// A sibling that ended because its supervisor restarts another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenAlong {
    /// Where.
    pub path: String,
    /// Which incarnation of it, from 1.
    #[serde(default, rename = "inc")]
    pub incarnation: u32,
    /// The event that tells of its end.
    pub event: u64,
}

/// What a supervisor did when a child of its fell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reaction {
    /// Which supervisor.
    pub supervisor: String,
    /// In the word of its kind: `restart`, `backoff`, `gave_up`.
    pub kind: EventKind,
    /// The event that tells of it.
    pub event: u64,
    /// Its strategy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    /// Its budget at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Its budget now, where the one of then is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget_now: Option<Budget>,
}

/// How a place fares after something in it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// The next incarnation is ready.
    Restarted {
        /// Which incarnation.
        #[serde(rename = "inc")]
        incarnation: u32,
        /// The event that tells of it.
        event: u64,
        /// When.
        ts: Timestamp,
    },
    /// The next attempt is under way.
    Restarting,
    /// The next attempt is yet to come.
    Waiting {
        /// When it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// Its supervisor gave up, or does not start it again.
    Gone {
        /// The event that says so, if one does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        event: Option<u64>,
    },
    /// Nothing is known, or it was no exit that was asked for.
    Unknown,
}

/// The story of an event, of those that are known; `tree` is what the tree looks like now.
///
/// # Errors
/// The id means nothing, or nothing that is known.
pub fn why(events: &[Event], tree: Option<&Tree>, id: &Id) -> Result<Chain, WhyError> {
    let log = Log { events, tree };
    let subject = log.subject(id)?;
    let (causes, lost) = log.causes(subject);
    let (effects, effects_more) = log.effects(subject);
    let mut story = causes.iter().copied().chain([subject]);
    let first = story.find(|event| event.kind == EventKind::Exit);
    let reaction = first.and_then(|first| log.reaction(first));
    let restart = reaction.as_ref().map(|reaction| reaction.event);
    Ok(Chain {
        v: VERSION,
        actor: first
            .and_then(|first| log.place(first))
            .map(|node| node.actor.clone())
            .unwrap_or_default(),
        taken_along: first
            .zip(restart)
            .map(|(first, restart)| log.taken_along(first, restart))
            .unwrap_or_default(),
        gave_up: first.map(|first| log.gave_up(first)).unwrap_or_default(),
        outcome: log.outcome(subject),
        fell_first: first.map(|first| first.seq),
        subject: subject.clone(),
        causes: causes.into_iter().cloned().collect(),
        lost,
        effects: effects.into_iter().cloned().collect(),
        effects_more,
        reaction,
    })
}

/// What is known.
struct Log<'a> {
    /// In the order of their numbers, of which some may be missing.
    events: &'a [Event],
    tree: Option<&'a Tree>,
}

impl<'a> Log<'a> {
    fn event(&self, seq: u64) -> Option<&'a Event> {
        let at = self.events.binary_search_by_key(&seq, |event| event.seq);
        at.ok().map(|at| &self.events[at])
    }

    fn after(&self, seq: u64) -> &'a [Event] {
        let at = self.events.partition_point(|event| event.seq <= seq);
        &self.events[at..]
    }

    fn place(&self, event: &Event) -> Option<&'a Node> {
        self.tree?.find(event.path.as_deref()?)
    }

    /// From the event back to what began it; then turned round.
    fn causes(&self, subject: &Event) -> (Vec<&'a Event>, Option<u64>) {
        let mut causes = Vec::new();
        let mut oldest = subject;
        let mut lost = None;
        // Causes are older than what they bring about; a file may claim otherwise.
        while let Some(seq) = oldest.cause.filter(|seq| *seq < oldest.seq) {
            match self.event(seq) {
                Some(cause) if causes.len() < CAUSES_MAX => {
                    causes.push(cause);
                    oldest = cause;
                }
                _ => {
                    lost = Some(seq);
                    break;
                }
            }
        }
        causes.reverse();
        (causes, lost)
    }

    /// All that it brought about, directly or not.
    fn effects(&self, subject: &Event) -> (Vec<&'a Event>, u64) {
        let mut because = HashSet::from([subject.seq]);
        let mut effects = Vec::new();
        let mut more = 0;
        for event in self.after(subject.seq) {
            if event.cause.is_some_and(|cause| because.contains(&cause)) {
                because.insert(event.seq);
                if effects.len() < EFFECTS_MAX {
                    effects.push(event);
                } else {
                    more += 1;
                }
            }
        }
        (effects, more)
    }

    /// What the supervisor of whoever fell did about it.
    fn reaction(&self, fallen: &Event) -> Option<Reaction> {
        let path = fallen.path.as_deref()?;
        let supervisor = parent(path)?;
        let is_reaction = |event: &&Event| {
            event.cause == Some(fallen.seq)
                && match event.kind {
                    EventKind::Restart | EventKind::Backoff => event.path.as_deref() == Some(path),
                    EventKind::GaveUp => {
                        [Some(path), Some(supervisor)].contains(&event.path.as_deref())
                    }
                    _ => false,
                }
        };
        let mut reactions = self.after(fallen.seq).iter().filter(is_reaction);
        let event = reactions.next()?;
        // A supervisor that waits first counts the restart when it comes to it.
        let counted = || reactions.find(|later| later.budget.is_some());
        let counted = Some(event)
            .filter(|event| event.budget.is_some())
            .or_else(counted);
        let budget = counted.and_then(|event| event.budget.clone());
        let told_strategy = event.strategy.as_ref();
        let told_strategy = told_strategy.or(counted.and_then(|event| event.strategy.as_ref()));
        let now = self.tree.and_then(|tree| tree.find(supervisor));
        let now = now.and_then(|node| node.supervisor.as_ref());
        let strategy = now.map(|supervision| supervision.strategy.clone());
        let budget_now = now.and_then(|supervision| supervision.budget.clone());
        Some(Reaction {
            supervisor: supervisor.to_owned(),
            kind: event.kind.clone(),
            event: event.seq,
            strategy: told_strategy.cloned().or(strategy),
            budget_now: budget_now.filter(|_| budget.is_none()),
            budget,
        })
    }

    /// Those that ended because their supervisor restarts another one.
    fn taken_along(&self, first: &Event, restart: u64) -> Vec<TakenAlong> {
        // A supervisor that waits first takes them along when it begins to wait.
        let of_first = |event: &&Event| {
            event.cause == Some(first.seq)
                && matches!(event.kind, EventKind::Restart | EventKind::Backoff)
        };
        let mut because: HashSet<u64> = self
            .after(first.seq)
            .iter()
            .filter(of_first)
            .map(|event| event.seq)
            .collect();
        because.insert(restart);
        self.after(first.seq)
            .iter()
            .filter(|event| event.kind == EventKind::Exit && event.path != first.path)
            .filter(|event| event.cause.is_some_and(|cause| because.contains(&cause)))
            .filter_map(|event| {
                Some(TakenAlong {
                    path: event.path.clone()?,
                    incarnation: event.incarnation.unwrap_or_default(),
                    event: event.seq,
                })
            })
            .collect()
    }

    fn gave_up(&self, first: &Event) -> Vec<String> {
        let (effects, _) = self.effects(first);
        let mut told = BTreeSet::new();
        effects
            .into_iter()
            .filter(|event| event.kind == EventKind::GaveUp)
            .filter_map(|event| event.path.clone())
            .filter(|path| told.insert(path.clone()))
            .collect()
    }

    /// What became of the place whose end was asked for.
    fn outcome(&self, subject: &Event) -> Outcome {
        let (EventKind::Exit, Some(path)) = (&subject.kind, subject.path.as_deref()) else {
            return Outcome::Unknown;
        };
        let mut outcome = Outcome::Unknown;
        for event in self.after(subject.seq) {
            let is_own = event.path.as_deref() == Some(path);
            let is_newer = event.incarnation > subject.incarnation;
            match event.kind {
                EventKind::Ready if is_own && is_newer => {
                    return Outcome::Restarted {
                        incarnation: event.incarnation.unwrap_or_default(),
                        event: event.seq,
                        ts: event.ts,
                    };
                }
                EventKind::Backoff if is_own => {
                    let after = event
                        .delay
                        .and_then(|delay| event.ts.checked_add(delay).ok());
                    outcome = Outcome::Waiting {
                        until: event.until.or(after),
                    };
                }
                EventKind::Restart if is_own => outcome = Outcome::Restarting,
                EventKind::GaveUp if is_own || event.path.as_deref() == parent(path) => {
                    outcome = Outcome::Gone {
                        event: Some(event.seq),
                    };
                }
                _ => {}
            }
        }
        match (outcome, self.tree.and_then(|tree| tree.find(path))) {
            (outcome, Some(node)) => match node.state {
                State::Backoff => Outcome::Waiting {
                    until: node.next_attempt,
                },
                State::Stopped | State::Exited | State::Failed => match outcome {
                    Outcome::Gone { .. } => outcome,
                    _ => Outcome::Gone { event: None },
                },
                _ => outcome,
            },
            // There is no such place any more: whoever was temporary is forgotten.
            (Outcome::Unknown, None) if self.tree.is_some() => Outcome::Gone { event: None },
            (outcome, None) => outcome,
        }
    }
}

/// The path of whatever is above; `None` above a root.
fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent)
}

#[cfg(test)]
mod tests;
