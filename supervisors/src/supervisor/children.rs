//! The state of a supervisor: its children in start order, and what is known of each. No waiting happens here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use tokio::time::Instant;

use crate::child_spec::{AutoShutdown, ChildId, ChildSpec, ChildType, SupFlags};
use crate::exit::{Down, ExitReason};
use crate::intensity::Intensity;
use crate::mailbox::KeptMailbox;
use crate::operate::Operator;
use crate::path::Path;
use crate::pid::{Pid, PidMap};
use crate::report::{Crash, Offender};
use crate::snapshot::{
    ChildState, ChildView, Introspect, LastExit, SupervisorInfo, SupervisorView,
};
use crate::supervisor::ChildSpecInfo;

/// A child's place in the start order; never used twice.
pub(crate) type Key = u64;

pub(crate) struct Child {
    pub(crate) spec: ChildSpec,
    pub(crate) path: Path,
    pub(crate) state: ChildState,
    /// Counts starts, successful or not.
    pub(crate) incarnation: u32,
    pub(crate) restarts: u32,
    /// In a row; a long enough life forgets them.
    pub(crate) failures: u32,
    /// Of a child with a backoff: since when it has run.
    pub(crate) started_at: Option<Instant>,
    pub(crate) last_exit: Option<LastExit>,
    /// What waits for it from one incarnation to the next, if that is kept.
    pub(crate) mailbox: Option<Arc<dyn KeptMailbox>>,
    /// The failed sibling that it was stopped with, and whose backoff it waits for.
    pub(crate) waits_for: Option<Key>,
    /// Who has stopped it, while it is stopped for that.
    pub(crate) stopped_by: Option<Operator>,
    /// Its crash, until it is decided what is done about it.
    pub(crate) crash: Option<Arc<Crash>>,
    /// What its last process had left behind: it has ended before the next one starts.
    pub(crate) orphans: Option<Arc<[Pid]>>,
}

impl Child {
    fn new(spec: ChildSpec, path: Path) -> Self {
        Self {
            mailbox: spec.mailbox_to_keep(),
            path,
            spec,
            state: ChildState::Stopped,
            incarnation: 0,
            restarts: 0,
            failures: 0,
            started_at: None,
            last_exit: None,
            waits_for: None,
            stopped_by: None,
            crash: None,
            orphans: None,
        }
    }

    /// How often it has failed in a row, if it failed now.
    fn failures_now(&self) -> u32 {
        let is_stable = self
            .spec
            .backoff
            .zip(self.started_at)
            .is_some_and(|(backoff, at)| at.elapsed() >= backoff.reset_after);
        if is_stable { 0 } else { self.failures }
    }

    fn view(&self, siblings: &Children) -> ChildView {
        let waits_for = self.waits_for.and_then(|key| siblings.get(key));
        ChildView {
            path: self.path.clone(),
            waits_for: waits_for.map(|child| Arc::clone(&child.spec.id)),
            state: self.state.clone(),
            incarnation: self.incarnation,
            restarts: self.restarts,
            failures: self.failures_now(),
            last_exit: self.last_exit.clone(),
            stopped_by: self.stopped_by.clone(),
            spec: Some(ChildSpecInfo::of_spec(&self.spec)),
        }
    }

    /// Writes down how it ended. Answers the exit before it, whose reason may hold the last copy of an error: to be
    /// dropped outside the lock.
    #[must_use]
    pub(crate) fn note_exit(&mut self, down: &Down) -> Option<LastExit> {
        self.failures = self.failures_now();
        self.started_at = None;
        self.orphans.clone_from(&down.orphans);
        self.last_exit.replace(LastExit {
            reason: down.reason.clone(),
            at: down.at(),
            event: down.event,
        })
    }

    /// The event of its last exit, or 0: the cause of what is done about it.
    pub(crate) fn last_event(&self) -> u64 {
        self.last_exit.as_ref().map_or(0, |exit| exit.event)
    }

    pub(crate) fn offender(&self) -> Offender {
        Offender {
            id: Arc::clone(&self.spec.id),
            pid: self.state.pid(),
            children: None,
            restart: self.spec.restart.name(),
            significant: self.spec.significant,
            shutdown: self.spec.shutdown,
            child_type: self.spec.child_type.name(),
        }
    }
}

/// The children of one supervisor.
pub(crate) struct Children {
    pub(crate) path: Path,
    pub(crate) flags: SupFlags,
    pub(crate) intensity: Intensity,
    /// The children that this incarnation of the supervisor began with.
    pub(crate) first: Arc<[(ChildId, ChildType)]>,
    by_key: BTreeMap<Key, Child>,
    by_id: HashMap<ChildId, Key>,
    by_pid: PidMap<Key>,
    /// Those that wait for the end of a backoff.
    by_due: BTreeSet<(Instant, Key)>,
    next_key: Key,
    /// Whether any child ever did.
    keeps_mailboxes: bool,
    /// Mailboxes of children that are gone.
    orphaned: Vec<Arc<dyn KeptMailbox>>,
}

impl Children {
    pub(crate) fn new(path: Path, flags: SupFlags) -> Self {
        Self {
            path,
            flags,
            intensity: Intensity::new(flags.intensity, flags.period),
            first: Arc::default(),
            by_key: BTreeMap::new(),
            by_id: HashMap::new(),
            by_pid: PidMap::default(),
            by_due: BTreeSet::new(),
            next_key: 0,
            keeps_mailboxes: false,
            orphaned: Vec::new(),
        }
    }

    /// Adds a child at the end of the start order.
    pub(crate) fn push(&mut self, spec: ChildSpec) -> Key {
        let key = self.next_key;
        self.next_key += 1;
        self.by_id.insert(Arc::clone(&spec.id), key);
        let path = self.path.child(Arc::clone(&spec.id));
        let child = Child::new(spec, path);
        self.keeps_mailboxes |= child.mailbox.is_some();
        self.by_key.insert(key, child);
        key
    }

    /// Forgets a child. What its spec has captured is the user's, and is to be dropped outside the lock.
    #[must_use]
    pub(crate) fn remove(&mut self, key: Key) -> Option<Child> {
        let child = self.by_key.remove(&key)?;
        self.by_id.remove(&child.spec.id);
        if let Some(pid) = child.state.pid() {
            self.by_pid.remove(&pid);
        }
        if let Some(until) = child.state.until() {
            self.by_due.remove(&(until, key));
        }
        self.orphaned.extend(child.mailbox.clone());
        Some(child)
    }

    /// The kept mailboxes for which there will be no further incarnation, as far as can be told now; to be closed
    /// outside the lock.
    pub(crate) fn take_orphaned(&mut self, is_over: bool) -> Vec<Arc<dyn KeptMailbox>> {
        let mut orphaned = std::mem::take(&mut self.orphaned);
        if self.keeps_mailboxes {
            // A group that is tried again starts its stopped members too.
            let is_group_due = self.flags.strategy != crate::Strategy::OneForOne
                && self
                    .by_key
                    .values()
                    .any(|child| matches!(child.state, ChildState::Restarting { .. }));
            let stopped = self
                .by_key
                .values()
                .filter(|child| child.state == ChildState::Stopped && (is_over || !is_group_due));
            orphaned.extend(stopped.filter_map(|child| child.mailbox.clone()));
        }
        orphaned
    }

    /// Empties the table of a dead supervisor: the children, and every mailbox that was kept.
    pub(crate) fn take_all(&mut self) -> (Vec<Child>, Vec<Arc<dyn KeptMailbox>>) {
        self.by_id.clear();
        self.by_pid.clear();
        self.by_due.clear();
        let children: Vec<_> = std::mem::take(&mut self.by_key).into_values().collect();
        let kept = children.iter().filter_map(|child| child.mailbox.clone());
        let mailboxes = std::mem::take(&mut self.orphaned).into_iter().chain(kept);
        let mailboxes = mailboxes.collect();
        (children, mailboxes)
    }

    pub(crate) fn key_of(&self, id: &str) -> Option<Key> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn key_of_pid(&self, pid: Pid) -> Option<Key> {
        self.by_pid.get(&pid).copied()
    }

    pub(crate) fn get(&self, key: Key) -> Option<&Child> {
        self.by_key.get(&key)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Child> {
        self.by_key.get_mut(&key)
    }

    /// Changes a child's state, and keeps the ways from pid and time to child right.
    pub(crate) fn set_state(&mut self, key: Key, state: ChildState) {
        let Some(child) = self.by_key.get_mut(&key) else {
            return;
        };
        let before = std::mem::replace(&mut child.state, state);
        let state = &child.state;
        if before.pid() != state.pid() {
            if let Some(pid) = before.pid() {
                self.by_pid.remove(&pid);
            }
            if let Some(pid) = state.pid() {
                self.by_pid.insert(pid, key);
            }
        }
        if let Some(until) = before.until() {
            self.by_due.remove(&(until, key));
        }
        if let Some(until) = state.until() {
            self.by_due.insert((until, key));
        }
    }

    /// All children, first started first.
    pub(crate) fn keys(&self) -> Vec<Key> {
        self.by_key.keys().copied().collect()
    }

    /// The children whom the strategy takes along when this one fails, itself included, in start order.
    pub(crate) fn affected(&self, key: Key) -> Vec<Key> {
        // `Strategy::affected` in terms of keys, without counting places.
        match self.flags.strategy {
            crate::Strategy::OneForOne => vec![key],
            crate::Strategy::OneForAll => self.keys(),
            crate::Strategy::RestForOne => self
                .by_key
                .range((Bound::Included(key), Bound::Unbounded))
                .map(|(key, _)| *key)
                .collect(),
        }
    }

    /// The child whose backoff ends first.
    pub(crate) fn next_due(&self) -> Option<(Instant, Key)> {
        self.by_due.first().copied()
    }

    /// From here on these wait for the backoff of `key`, and for nobody else's.
    pub(crate) fn wait_for(&mut self, waiting: impl IntoIterator<Item = Key>, key: Key) {
        for waiting in waiting {
            if let Some(child) = self.by_key.get_mut(&waiting) {
                child.waits_for = Some(key);
            }
        }
    }

    /// Those that wait for the backoff of `key`, in start order.
    pub(crate) fn waiting_for(&self, key: Key) -> Vec<Key> {
        let waiting = self.by_key.iter();
        waiting
            .filter(|(_, child)| child.waits_for == Some(key))
            .map(|(key, _)| *key)
            .collect()
    }

    /// Whether the supervisor ends because this child has (`do_auto_shutdown`).
    pub(crate) fn ends_with(&self, significant: bool) -> bool {
        significant
            && match self.flags.auto_shutdown {
                AutoShutdown::Never => false,
                AutoShutdown::AnySignificant => true,
                AutoShutdown::AllSignificant => !self.by_key.values().any(|child| {
                    child.spec.significant && !matches!(child.state, ChildState::Stopped)
                }),
            }
    }

    pub(crate) fn which(&self) -> Vec<(ChildId, ChildState, ChildType)> {
        self.by_key
            .values()
            .rev()
            .map(|child| {
                (
                    Arc::clone(&child.spec.id),
                    child.state.clone(),
                    child.spec.child_type,
                )
            })
            .collect()
    }
}

/// What the observer sees, without asking the supervisor.
pub(crate) struct Shown(pub(crate) Arc<parking_lot::Mutex<Children>>);

impl Introspect for Shown {
    fn view(&self, _children_max: usize) -> SupervisorView {
        let children = self.0.lock();
        let now = Instant::now();
        let budget = children.intensity.budget(now);
        let all = children.by_key.values();
        SupervisorView {
            info: SupervisorInfo {
                strategy: children.flags.strategy.name(),
                restarts_used: budget.used,
                intensity: budget.limit,
                period: budget.period,
                auto_shutdown: children.flags.auto_shutdown,
                children_total: children.by_key.len(),
                dynamic: None,
                ages: children.intensity.ages(now),
                first_children: Arc::clone(&children.first),
            },
            children: all.map(|child| child.view(&children)).collect(),
        }
    }

    fn children_total(&self) -> usize {
        self.0.lock().by_key.len()
    }

    fn child(&self, id: &str) -> Option<ChildView> {
        let children = self.0.lock();
        let key = children.key_of(id)?;
        children.get(key).map(|child| child.view(&children))
    }
}

/// A start that did not succeed, as the supervisor's own exit reason (OTP's
/// `{shutdown, {failed_to_start_child, Id, Reason}}`).
#[derive(Debug, Clone, thiserror::Error)]
#[error("failed_to_start_child({id},{reason})")]
#[non_exhaustive]
pub struct FailedToStartChild {
    /// The child.
    pub id: ChildId,
    /// Why it did not start.
    pub reason: ExitReason,
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;
    use crate::strategy::Strategy;

    proptest! {
        /// The strategy speaks of places, the children of keys; deleted children leave gaps between the keys.
        #[test]
        fn keys_affected_are_the_strategys_places(kept in vec(any::<bool>(), 1..20)) {
            for strategy in [Strategy::OneForOne, Strategy::OneForAll, Strategy::RestForOne] {
                let flags = SupFlags { strategy, ..SupFlags::default() };
                let mut children = Children::new(Path::root("root"), flags);
                for (number, is_kept) in kept.iter().enumerate() {
                    let id = number.to_string();
                    let key = children.push(ChildSpec::supervisor(id, flags, Vec::new));
                    if !is_kept {
                        drop(children.remove(key));
                    }
                }
                let keys = children.keys();
                for (place, key) in keys.iter().enumerate() {
                    let wanted = &keys[strategy.affected(place, keys.len())];
                    prop_assert_eq!(children.affected(*key), wanted);
                }
            }
        }
    }
}
