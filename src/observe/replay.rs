//! A tree as it was: events, folded over the tree before them.
//!
//! What events do not tell stays as the tree had it (what an actor is, its spec, its counters); what only holds for a moment
//! is taken away. Dynamic children are counted when they fail, for only then there are events of them.

mod recording;

use std::collections::{BTreeMap, HashMap, VecDeque};

use jiff::Timestamp;

pub use self::recording::{LINE_BYTES_MAX, LINES_MAX, ReadRecordingError, Reader, Recording};
use super::model::{
    Dynamic, DynamicExit, Event, EventKind, LastExit, Node, Operator, Reason, ReasonKind, State,
    Supervision, Tree,
};
use super::render::words;

/// How many of the events that may yet be the cause of others are remembered.
const CAUSES_MAX: usize = 10_000;

/// How many restarts of one supervisor are remembered, to tell what its budget is.
const SPENT_MAX: usize = 1_000;

/// How many exits of dynamic children are kept, as in a program.
const EXITS_MAX: usize = 50;

/// OTP's word for a supervisor whose children come and go.
pub(super) const DYNAMIC: &str = "simple_one_for_one";

/// A tree that events change.
#[derive(Debug, Clone)]
pub struct Replay {
    tree: Tree,
    /// The events that others may be caused by: what they were, and who did it.
    causes: BTreeMap<u64, (EventKind, Option<Operator>)>,
    /// When each supervisor restarted children, the oldest first.
    spent: HashMap<String, VecDeque<Timestamp>>,
    missed: u64,
}

impl Replay {
    /// Begins with this tree; with an empty one, at the beginning of a program.
    pub fn new(tree: Tree) -> Replay {
        let mut replay = Replay {
            tree: Tree::new(tree.ts),
            causes: BTreeMap::new(),
            spent: HashMap::new(),
            missed: 0,
        };
        replay.look(tree);
        replay
    }

    /// The tree as it was after the last event.
    pub fn tree(&self) -> Tree {
        let mut tree = self.tree.clone();
        let now = tree.ts;
        for root in &mut tree.roots {
            pass_time(root, tree.ts);
        }
        for (path, spent) in &self.spent {
            let node = tree.find_mut(path);
            if let Some(budget) = node.and_then(Node::budget_mut) {
                let over = spent.iter().take_while(|then| budget.is_over(**then, now));
                budget.used = (spent.len() - over.count()) as u64;
            }
        }
        tree
    }

    /// How many events are known to be missing: the tree may differ from the real one until the next look at it.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Events are missing here.
    pub fn miss(&mut self, events: u64) {
        self.missed = self.missed.saturating_add(events);
    }

    /// Somebody has looked at the real tree.
    pub fn look(&mut self, tree: Tree) {
        self.missed = 0;
        // When the restarts were that count against a budget, the tree does not tell: at the latest now.
        let spent = tree.nodes().filter_map(|node| {
            let used = node.supervisor.as_ref()?.budget.as_ref()?.used;
            let used = usize::try_from(used).map_or(SPENT_MAX, |used| used.min(SPENT_MAX));
            (used > 0).then(|| (node.path.clone(), VecDeque::from(vec![tree.ts; used])))
        });
        self.spent = spent.collect();
        self.tree = tree;
    }

    /// Something has happened. An event that the tree knows of already changes nothing.
    pub fn apply(&mut self, event: &Event) {
        if event.seq <= self.tree.seq {
            return;
        }
        self.tree.seq = event.seq;
        self.tree.ts = self.tree.ts.max(event.ts);
        match event.kind {
            EventKind::Started => self.started(event),
            EventKind::Ready => self.change(event, |node| node.state = State::Running),
            EventKind::Exit => self.exit(event),
            EventKind::Restart => self.restart(event),
            EventKind::Backoff => self.backoff(event),
            EventKind::GaveUp => self.gave_up(event),
            EventKind::Stop => self.change(event, |node| node.state = State::Stopping),
            _ => {}
        }
        let cause = (event.kind.clone(), event.operator.clone());
        self.causes.insert(event.seq, cause);
        if self.causes.len() > CAUSES_MAX {
            self.causes.pop_first();
        }
    }

    /// Changes the node of an event, unless the tree knows a later incarnation.
    fn change(&mut self, event: &Event, change: impl FnOnce(&mut Node)) {
        let node = event.path.as_deref();
        let node = node.and_then(|path| self.tree.find_mut(path));
        if let Some(node) = node.filter(|node| !is_older(event, node)) {
            change(node);
        }
    }

    fn cause(&self, event: &Event) -> Option<&(EventKind, Option<Operator>)> {
        self.causes.get(&event.cause?)
    }

    fn started(&mut self, event: &Event) {
        let Some(path) = event.path.as_deref() else {
            return;
        };
        let is_restart = matches!(self.cause(event), Some((EventKind::Restart, _)));
        let Some(node) = self.node_or_new(path) else {
            return;
        };
        if is_older(event, node) || (event.pid.is_some() && node.pid == event.pid) {
            return;
        }
        if is_restart && node.incarnation > 0 {
            node.restarts = node.restarts.saturating_add(1);
        }
        vacate(node);
        node.state = State::Starting;
        node.incarnation = event.incarnation.unwrap_or_default();
        node.pid = event.pid;
        node.since = Some(event.ts);
    }

    /// The node of a path, a new one if its supervisor is known, or if it is a root.
    fn node_or_new(&mut self, path: &str) -> Option<&mut Node> {
        if self.tree.find(path).is_none() {
            let node = Node::new(path, State::Stopped);
            match path.rsplit_once('/') {
                None => self.tree.roots.push(node),
                Some((parent, _)) => {
                    let parent = self.tree.find_mut(parent)?;
                    parent.children.push(node);
                    let supervisor = parent.supervisor.get_or_insert_with(Supervision::default);
                    supervisor.children_total += 1;
                }
            }
        }
        self.tree.find_mut(path)
    }

    fn exit(&mut self, event: &Event) {
        let Some(path) = event.path.as_deref() else {
            return;
        };
        let exit = LastExit {
            reason: event
                .reason
                .clone()
                .unwrap_or_else(|| Reason::new(ReasonKind::Normal)),
            ts: event.ts,
            event: Some(event.seq),
        };
        if self.is_of_crowd(path) {
            return self.exit_of_crowd(path, event, exit);
        }
        let cause = self.cause(event).cloned();
        let Some(node) = self
            .tree
            .find_mut(path)
            .filter(|node| !is_older(event, node))
        else {
            return;
        };
        let fate = fate(node, &exit.reason, cause.as_ref().map(|(kind, _)| kind));
        let is_root = !path.contains('/');
        vacate(node);
        node.last_exit = Some(exit);
        match fate {
            Fate::Again => node.state = State::Restarting,
            Fate::Rests => {
                node.state = State::Stopped;
                node.stopped_by = cause
                    .and_then(|(_, operator)| operator)
                    .map(|operator| operator.to_string());
            }
            Fate::Over => node.state = State::Exited,
            Fate::Forgotten => return self.forget(path),
        }
        // The next incarnation of a supervisor begins with none; of a root, nothing comes any more.
        if !is_root {
            node.children.clear();
            if let Some(supervisor) = &mut node.supervisor {
                supervisor.children_total = 0;
            }
        }
    }

    /// Whether it is a dynamic child: one of a supervisor that has such, or one whose start nobody has told.
    fn is_of_crowd(&self, path: &str) -> bool {
        let parent = path.rsplit_once('/').map(|(parent, _)| parent);
        let Some(parent) = parent.and_then(|parent| self.tree.find(parent)) else {
            return false;
        };
        match &parent.supervisor {
            Some(supervisor) => supervisor.dynamic.is_some() || supervisor.strategy == DYNAMIC,
            None => true,
        }
    }

    fn exit_of_crowd(&mut self, path: &str, event: &Event, exit: LastExit) {
        let parent = path.rsplit_once('/').map(|(parent, _)| parent);
        let Some(parent) = parent.and_then(|parent| self.tree.find_mut(parent)) else {
            return;
        };
        parent.children.retain(|child| child.path != path);
        let supervisor = parent.supervisor.get_or_insert_with(|| Supervision {
            strategy: DYNAMIC.to_owned(),
            ..Supervision::default()
        });
        supervisor.children_total = supervisor.children_total.saturating_sub(1);
        let crowd = supervisor.dynamic.get_or_insert_with(Dynamic::default);
        // The tree may have been looked at between the exit and its event.
        if crowd
            .exits
            .iter()
            .any(|known| known.exit.event == exit.event)
        {
            return;
        }
        crowd.ended += 1;
        crowd.crashed += 1;
        crowd.exits.push(DynamicExit {
            path: path.to_owned(),
            incarnation: event.incarnation.unwrap_or_default(),
            exit,
        });
        let over = crowd.exits.len().saturating_sub(EXITS_MAX);
        crowd.exits.drain(..over);
    }

    fn forget(&mut self, path: &str) {
        let parent = path.rsplit_once('/').map(|(parent, _)| parent);
        if let Some(parent) = parent.and_then(|parent| self.tree.find_mut(parent)) {
            parent.children.retain(|child| child.path != path);
            if let Some(supervisor) = &mut parent.supervisor {
                supervisor.children_total = supervisor.children_total.saturating_sub(1);
            }
        }
    }

    fn restart(&mut self, event: &Event) {
        self.spend(event);
        self.change(event, |node| {
            node.next_attempt = None;
            if node.pid.is_none() {
                node.state = State::Restarting;
            }
        });
    }

    fn backoff(&mut self, event: &Event) {
        let after = event
            .delay
            .and_then(|delay| event.ts.checked_add(delay).ok());
        let until = event.until.or(after);
        self.change(event, |node| {
            if node.pid.is_none() {
                node.state = State::Backoff;
                node.next_attempt = until;
            }
        });
    }

    fn gave_up(&mut self, event: &Event) {
        // A supervisor that gives up has a pid, and ends; a child that it gave up on has none any more.
        if event.pid.is_none() {
            self.change(event, |node| node.state = State::Stopped);
        }
    }

    /// A restart counts against the budget of the supervisor above.
    fn spend(&mut self, event: &Event) {
        let path = event.path.as_deref().and_then(|path| path.rsplit_once('/'));
        let Some((parent, _)) = path else { return };
        let Some(supervisor) = self.tree.find_mut(parent) else {
            return;
        };
        let Some(budget) = supervisor.budget_mut() else {
            return;
        };
        let spent = self.spent.entry(parent.to_owned()).or_default();
        spent.push_back(event.ts);
        while spent.len() > SPENT_MAX
            || spent
                .front()
                .is_some_and(|first| budget.is_over(*first, event.ts))
        {
            spent.pop_front();
        }
        budget.used = spent.len() as u64;
    }
}

/// What becomes of a place whose process has ended.
enum Fate {
    /// Its supervisor tries again.
    Again,
    /// It stays, without a process.
    Rests,
    /// It was a root.
    Over,
    /// It was temporary.
    Forgotten,
}

fn fate(node: &Node, reason: &Reason, cause: Option<&EventKind>) -> Fate {
    if !node.path.contains('/') {
        return Fate::Over;
    }
    let restart = node.spec.as_ref().map(|spec| spec.restart.as_str());
    if restart == Some("temporary") {
        return Fate::Forgotten;
    }
    let is_told = match cause {
        Some(EventKind::Restart | EventKind::Backoff | EventKind::Stop) => true,
        Some(EventKind::Operator) => reason.kind.is_normal(),
        _ => false,
    };
    let is_enough = match restart {
        Some("permanent") => false,
        // Without a spec: whoever ends in order has most often been told to.
        _ => reason.kind.is_normal(),
    };
    if is_told || is_enough {
        Fate::Rests
    } else {
        Fate::Again
    }
}

/// Whether the tree knows of a later incarnation than the event.
/// Below a supervisor that was restarted, incarnations begin anew: then the pids tell, which only grow.
fn is_older(event: &Event, node: &Node) -> bool {
    let is_of_older_process = match (event.pid, node.pid) {
        (Some(of), Some(runs)) => of < runs,
        _ => false,
    };
    let mut incarnation = event.incarnation.into_iter();
    is_of_older_process || incarnation.any(|incarnation| incarnation < node.incarnation)
}

/// Takes away what belongs to a process, not to its place.
fn vacate(node: &mut Node) {
    let place = Node {
        actor: std::mem::take(&mut node.actor),
        incarnation: node.incarnation,
        restarts: node.restarts,
        last_exit: node.last_exit.take(),
        spec: node.spec.take(),
        supervisor: node.supervisor.take(),
        children: std::mem::take(&mut node.children),
        ..Node::new(std::mem::take(&mut node.path), node.state.clone())
    };
    *node = place;
}

/// Time has passed since the tree was looked at: processes are older, and what they did then is over.
fn pass_time(node: &mut Node, now: Timestamp) {
    if let Some(since) = node.since.filter(|_| node.pid.is_some()) {
        let uptime = words::between(since, now);
        if node.uptime != Some(uptime) {
            node.uptime = Some(uptime);
            node.flags.clear();
            node.handling = None;
            node.waiting = None;
            node.waits_for = None;
            if let Some(messages) = &mut node.messages {
                messages.per_second = None;
            }
        }
    }
    for child in &mut node.children {
        pass_time(child, now);
    }
}

#[cfg(test)]
mod tests;
