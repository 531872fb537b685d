//! One place of a tree: [`Node`], with all that is known of the process that runs there.

use std::collections::BTreeMap;
use std::fmt;
use std::iter;
use std::time::Duration;

use jiff::Timestamp;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Flag, Reason, State};

/// One place of a tree. What is not known, or does not apply, is `None`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Where: `root/poems/ecstasy`.
    pub path: String,
    /// The process, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u64>,
    /// What runs there: the actor's type. Empty if nothing does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub actor: String,
    /// How it fares.
    pub state: State,
    /// What is remarkable about it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Flag>,
    /// Which incarnation, from 1.
    #[serde(default, rename = "inc")]
    pub incarnation: u32,
    /// When the process was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// How long the process has run.
    #[serde(
        default,
        rename = "uptime_s",
        skip_serializing_if = "Option::is_none",
        with = "super::seconds::option"
    )]
    pub uptime: Option<Duration>,
    /// How often its supervisor has restarted it. How many of them count against the budget is the supervisor's to say.
    #[serde(default)]
    pub restarts: u32,
    /// How often it has failed in a row, for its backoff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
    /// When the next attempt is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<Timestamp>,
    /// What waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mailbox: Option<Mailbox>,
    /// What it has handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<Messages>,
    /// How long that took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<Turns>,
    /// What it is doing now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handling: Option<Handling>,
    /// The message whose handler makes it wait, if it does: it handles no other meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Handling>,
    /// The pid of the process whose answer it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<u64>,
    /// How many processes it is linked with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<u64>,
    /// How many watch for its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitors: Option<u64>,
    /// How the incarnation before it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<LastExit>,
    /// The failed sibling with which it was stopped, and for whose next attempt it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for_sibling: Option<String>,
    /// Who stopped it, if a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_by: Option<String>,
    /// What it says of itself: an address, how many readers, how many bytes.
    #[serde(default, skip_serializing_if = "Details::is_empty")]
    pub details: Details,
    /// How its supervisor treats it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Spec>,
    /// What it supervises, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supervisor: Option<Supervision>,
    /// Its children in start order; of many dynamic ones, the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Node>,
}

impl Node {
    /// A place of which nothing but its state is known.
    pub fn new(path: impl Into<String>, state: State) -> Node {
        Node {
            path: path.into(),
            pid: None,
            actor: String::new(),
            state,
            flags: Vec::new(),
            incarnation: 0,
            since: None,
            uptime: None,
            restarts: 0,
            failures: None,
            next_attempt: None,
            mailbox: None,
            messages: None,
            turns: None,
            handling: None,
            waiting: None,
            waits_for: None,
            links: None,
            monitors: None,
            last_exit: None,
            waits_for_sibling: None,
            stopped_by: None,
            details: Details::default(),
            spec: None,
            supervisor: None,
            children: Vec::new(),
        }
    }

    /// Its name among its siblings: the last part of its path.
    pub fn name(&self) -> &str {
        self.path
            .rsplit_once('/')
            .map_or(self.path.as_str(), |(_, name)| name)
    }

    /// The actor's type without the modules it is in.
    pub fn actor_name(&self) -> &str {
        // The parameters of a generic type have paths of their own.
        let end = self.actor.find('<').unwrap_or(self.actor.len());
        let start = self.actor[..end].rfind("::").map_or(0, |at| at + 2);
        &self.actor[start..]
    }

    /// Its budget, to change it.
    pub fn budget_mut(&mut self) -> Option<&mut Budget> {
        self.supervisor.as_mut()?.budget.as_mut()
    }

    /// This node, then all below it, parents first.
    pub fn with_descendants(&self) -> Box<dyn Iterator<Item = &Node> + '_> {
        Box::new(iter::once(self).chain(self.children.iter().flat_map(Node::with_descendants)))
    }

    /// The node at this path, here or below.
    pub fn find(&self, path: &str) -> Option<&Node> {
        match self.leads_to(path) {
            Some(true) => Some(self),
            Some(false) => self.children.iter().find_map(|child| child.find(path)),
            None => None,
        }
    }

    /// The node at this path, here or below, to change it.
    pub fn find_mut(&mut self, path: &str) -> Option<&mut Node> {
        match self.leads_to(path) {
            Some(true) => Some(self),
            Some(false) => self
                .children
                .iter_mut()
                .find_map(|child| child.find_mut(path)),
            None => None,
        }
    }

    /// Whether this is the path's node, or only above it.
    fn leads_to(&self, path: &str) -> Option<bool> {
        let rest = path.strip_prefix(self.path.as_str())?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest.is_empty())
    }

    pub(super) fn measure_rates<'a>(
        &mut self,
        before: &impl Fn(&str) -> Option<&'a Node>,
        span: Duration,
    ) {
        if let Some(messages) = &mut self.messages
            // Another incarnation counts from 0.
            && let Some(old) = before(&self.path).filter(|old| old.pid == self.pid)
            && let Some(old) = &old.messages
        {
            let handled = messages.handled.saturating_sub(old.handled);
            messages.per_second = Some(handled as f64 / span.as_secs_f64());
        }
        for child in &mut self.children {
            child.measure_rates(before, span);
        }
    }
}

/// The messages that wait.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Mailbox {
    /// How many.
    pub len: u64,
    /// How many there is room for.
    #[serde(default, rename = "cap", skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u64>,
    /// How many there have been at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high_water: Option<u64>,
    /// What happens to one for which there is no room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// The messages that were handled.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Messages {
    /// How many, since the process was started.
    pub handled: u64,
    /// How many found no room in the mailbox, whatever became of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
    /// How many were lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// How many a second; known once there are two snapshots.
    #[serde(default, rename = "per_s", skip_serializing_if = "Option::is_none")]
    pub per_second: Option<f64>,
}

/// How long a process kept others of its arbiter waiting.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Turns {
    /// How many turns.
    pub count: u64,
    /// All of them together.
    #[serde(default, rename = "total_s", with = "super::seconds")]
    pub total: Duration,
    /// Half of them took no longer.
    #[serde(
        default,
        rename = "p50_s",
        skip_serializing_if = "Option::is_none",
        with = "super::seconds::option"
    )]
    pub p50: Option<Duration>,
    /// Of a hundred, one took longer.
    #[serde(
        default,
        rename = "p99_s",
        skip_serializing_if = "Option::is_none",
        with = "super::seconds::option"
    )]
    pub p99: Option<Duration>,
    /// The longest.
    #[serde(default, rename = "longest_s", with = "super::seconds")]
    pub longest: Duration,
}

/// The message that is being handled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handling {
    /// Its type; if it is no message, the part of its life: `init`, `a future`.
    #[serde(default)]
    pub message: String,
    /// For how long.
    #[serde(rename = "for_s", with = "super::seconds")]
    pub span: Duration,
}

/// How and when a process ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastExit {
    /// Why.
    pub reason: Reason,
    /// When.
    pub ts: Timestamp,
    /// The event that tells of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<u64>,
}

/// What an actor says of itself, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Details(pub Vec<(String, String)>);

impl Details {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What it says under this key.
    pub fn value(&self, key: &str) -> Option<&str> {
        let mut entries = self.0.iter();
        let (_, value) = entries.find(|(known, _)| known == key)?;
        Some(value)
    }
}

impl Serialize for Details {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

impl<'de> Deserialize<'de> for Details {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Details, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Details;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Details, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Details(entries))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

/// How a supervisor treats a child, in OTP's words.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spec {
    /// `permanent`, `transient` or `temporary`.
    pub restart: String,
    /// `brutal_kill`, `5000ms` or `infinity`.
    #[serde(default)]
    pub shutdown: String,
    /// `worker` or `supervisor`.
    #[serde(default, rename = "type")]
    pub child_type: String,
    /// Whether its end may end the supervisor.
    #[serde(default)]
    pub significant: bool,
    /// How long its supervisor waits before it restarts it: `50ms to 2s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<String>,
}

/// The supervising side of a [`Node`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Supervision {
    /// OTP's word for the strategy.
    pub strategy: String,
    /// When it ends with its significant children.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_shutdown: Option<String>,
    /// How many restarts it tolerates; `None` if it tolerates all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// All its children, shown or not.
    #[serde(default)]
    pub children_total: u64,
    /// What is known of them together, if they are dynamic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic: Option<Dynamic>,
}

/// The restarts of a supervisor's children that count, and how many are tolerated.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Budget {
    /// Restarts in the window now.
    pub used: u64,
    /// Restarts tolerated in the window.
    pub intensity: u32,
    /// The window.
    #[serde(rename = "period_s", with = "super::seconds")]
    pub period: Duration,
}

impl Budget {
    /// Whether a restart of then no longer counts.
    pub fn is_over(&self, then: Timestamp, now: Timestamp) -> bool {
        let age = Duration::try_from(now.duration_since(then)).unwrap_or_default();
        age > self.period
    }

    /// How many more restarts are tolerated now.
    pub fn left(&self) -> u64 {
        u64::from(self.intensity).saturating_sub(self.used)
    }
}

/// Children that come and go, all of one spec, counted instead of told one by one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Dynamic {
    /// What each of them is: `connection`.
    pub template: String,
    /// How its supervisor treats each of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Spec>,
    /// How many there may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u64>,
    /// How many there are in each state.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_state: BTreeMap<State, u64>,
    /// How many were started.
    #[serde(default)]
    pub started: u64,
    /// How many ended.
    #[serde(default)]
    pub ended: u64,
    /// How many were started again.
    #[serde(default)]
    pub restarted: u64,
    /// How many of those that ended had failed.
    #[serde(default)]
    pub crashed: u64,
    /// How the last of them failed, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exits: Vec<DynamicExit>,
}

/// The end of a dynamic child.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DynamicExit {
    /// Which.
    pub path: String,
    /// Which incarnation of it, from 1.
    #[serde(default, rename = "inc")]
    pub incarnation: u32,
    /// Why, when, and the event that tells of it.
    #[serde(flatten)]
    pub exit: LastExit,
}
