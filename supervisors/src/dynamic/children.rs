//! The state of a dynamic supervisor: its children by process, and what is known of each and of all.

use std::collections::{BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;

use actix::dev::SpawnHandle;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::operated::{Relaunch, Stopper};
use super::{DynamicFlags, Start};
use crate::exit::Down;
use crate::intensity::Intensity;
use crate::path::Path;
use crate::pid::{Pid, PidMap};
use crate::process::Started;
use crate::promise::Promise;
use crate::report::Crash;
use crate::snapshot::{
    ChildState, ChildView, DynamicCounts, DynamicExit, DynamicInfo, EXITS_MAX, Introspect,
    LastExit, SupervisorInfo, SupervisorView,
};
use crate::supervisor::{ChildSpecInfo, StartChildError};

pub(super) struct Child {
    pub(super) start: Start,
    pub(super) path: Path,
    pub(super) state: ChildState,
    pub(super) incarnation: u32,
    /// Who waits for the first start.
    pub(super) waiting: Option<Promise<Result<Option<Pid>, StartChildError>>>,
    /// What few children have; made when it is needed.
    extras: Option<Box<Extras>>,
}

/// What a child has that failed, is stopped on request, or whose start may take too long.
#[derive(Default)]
pub(super) struct Extras {
    /// Its number among all of its template, while failures are rehearsed; 0 until then.
    pub(super) ordinal: u64,
    pub(super) restarts: u32,
    pub(super) failures: u32,
    /// Where there is a backoff: since when it has run.
    pub(super) started_at: Option<Instant>,
    /// Of a child that was to be restarted.
    last_exit: Option<LastExit>,
    /// The last process whose start succeeded, if it has failed since: OTP's `{restarting, OldPid}`.
    pub(super) last_good: Option<Pid>,
    pub(super) timer: Option<SpawnHandle>,
    /// It was killed because its start took too long.
    pub(super) is_overdue: bool,
    /// Not empty: it is being stopped on request, is not restarted, and these are told.
    pub(super) terminated: Vec<Stopper>,
    /// An operator has it started again: it is being stopped for that, or already starts.
    pub(super) relaunch: Option<Box<Relaunch>>,
    /// Its crash, until it is decided what is done about it.
    pub(super) crash: Option<Arc<Crash>>,
}

impl Child {
    pub(super) fn new(
        start: Start,
        path: Path,
        waiting: Option<Promise<Result<Option<Pid>, StartChildError>>>,
    ) -> Self {
        Self {
            start,
            path,
            state: ChildState::Stopped,
            incarnation: 0,
            waiting,
            extras: None,
        }
    }

    /// The number that is its id.
    pub(super) fn number(&self) -> u64 {
        self.path.number().unwrap_or_default()
    }

    /// The extras, to add one.
    pub(super) fn extras(&mut self) -> &mut Extras {
        self.extras.get_or_insert_default()
    }

    /// The extras, if there are any.
    pub(super) fn known_extras(&mut self) -> Option<&mut Extras> {
        self.extras.as_deref_mut()
    }

    /// The timer of its start, its stop or its next attempt, which is due no more.
    pub(super) fn take_timer(&mut self) -> Option<SpawnHandle> {
        self.known_extras()?.timer.take()
    }

    /// It is being stopped on request.
    pub(super) fn is_terminated(&self) -> bool {
        let extras = self.extras.as_ref();
        extras.is_some_and(|extras| !extras.terminated.is_empty())
    }

    /// Whoever waits for it to be stopped.
    pub(super) fn take_stoppers(&mut self) -> Vec<Stopper> {
        self.known_extras()
            .map_or_else(Vec::new, |extras| mem::take(&mut extras.terminated))
    }

    /// An operator has it started again.
    pub(super) fn is_relaunched(&self) -> bool {
        let extras = self.extras.as_ref();
        extras.is_some_and(|extras| extras.relaunch.is_some())
    }

    pub(super) fn take_relaunch(&mut self) -> Option<Box<Relaunch>> {
        self.known_extras()?.relaunch.take()
    }

    pub(super) fn take_crash(&mut self) -> Option<Arc<Crash>> {
        self.known_extras()?.crash.take()
    }

    /// It has crashed, and nobody was told what is done about it.
    pub(super) fn is_crashed(&self) -> bool {
        let extras = self.extras.as_ref();
        extras.is_some_and(|extras| extras.crash.is_some())
    }

    /// How often it has failed in a row, if it failed now.
    fn failures_now(&self, flags: &DynamicFlags) -> u32 {
        let extras = self.extras.as_ref();
        extras.map_or(0, |extras| extras.failures_now(flags))
    }

    /// It runs. It is counted as it was: those that start and those that run are the rest.
    pub(super) fn start_succeeded(&mut self, pid: Pid, flags: &DynamicFlags) {
        if flags.backoff.is_some() {
            self.extras().started_at = Some(Instant::now());
        }
        self.state = ChildState::Running(pid);
    }

    pub(super) fn note_exit(&mut self, down: &Down, flags: &DynamicFlags) {
        let extras = self.extras();
        extras.failures = extras.failures_now(flags);
        extras.started_at = None;
        extras.last_exit = Some(LastExit {
            reason: down.reason.clone(),
            at: down.at(),
            event: down.event,
        });
    }

    fn last_exit(&self) -> Option<&LastExit> {
        self.extras.as_ref()?.last_exit.as_ref()
    }

    /// The event of its last exit, or 0: the cause of what is done about it.
    pub(super) fn last_event(&self) -> u64 {
        self.last_exit().map_or(0, |exit| exit.event)
    }
}

impl Extras {
    fn failures_now(&self, flags: &DynamicFlags) -> u32 {
        let is_stable = flags
            .backoff
            .zip(self.started_at)
            .is_some_and(|(backoff, at)| at.elapsed() >= backoff.reset_after);
        if is_stable { 0 } else { self.failures }
    }
}

/// What the observer sees; changed by the supervisor only.
pub(super) struct Children {
    pub(super) path: Path,
    pub(super) flags: DynamicFlags,
    pub(super) intensity: Intensity,
    /// By current pid, or by the last one while there is none: OTP's `{restarting, OldPid}`.
    /// Boxed, for the table has more places than children.
    by_pid: PidMap<Box<Child>>,
    /// The processes whose starts are under way, oldest first.
    pub(super) starting: BTreeSet<Pid>,
    /// Some question waits for the end of starts.
    pub(super) is_awaited: bool,
    /// How many of the children were told to stop, and how many have no process. The rest start or run.
    stopping: usize,
    restarting: usize,
    pub(super) counts: DynamicCounts,
    exits: VecDeque<DynamicExit>,
}

/// A table this small is not worth shrinking.
pub(super) const PLACES_MIN: usize = 1024;

impl Children {
    pub(super) fn new(path: Path, flags: DynamicFlags) -> Self {
        Self {
            path,
            intensity: Intensity::new(flags.intensity, flags.period),
            flags,
            by_pid: PidMap::default(),
            starting: BTreeSet::new(),
            is_awaited: false,
            stopping: 0,
            restarting: 0,
            counts: DynamicCounts::default(),
            exits: VecDeque::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_pid.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_pid.is_empty()
    }

    pub(super) fn get(&self, pid: Pid) -> Option<&Child> {
        self.by_pid.get(&pid).map(|child| &**child)
    }

    /// For everything of a child but its state; see [`set_state`](Self::set_state).
    pub(super) fn get_mut(&mut self, pid: Pid) -> Option<&mut Child> {
        self.by_pid.get_mut(&pid).map(|child| &mut **child)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Pid, &Child)> {
        self.by_pid.iter().map(|(pid, child)| (*pid, &**child))
    }

    /// The process of the child with this number, or its last. Looks at all: for operators.
    pub(super) fn pid_of(&self, number: u64) -> Option<Pid> {
        let mut all = self.iter();
        all.find(|(_, child)| child.number() == number)
            .map(|(pid, _)| pid)
    }

    pub(super) fn insert(&mut self, pid: Pid, child: Box<Child>) {
        self.count(&child.state, 1);
        self.by_pid.insert(pid, child);
    }

    pub(super) fn remove(&mut self, pid: Pid) -> Option<Box<Child>> {
        let child = self.by_pid.remove(&pid)?;
        self.count(&child.state, -1);
        Some(child)
    }

    /// Empties the table.
    pub(super) fn take_all(&mut self) -> PidMap<Box<Child>> {
        (self.stopping, self.restarting) = (0, 0);
        mem::take(&mut self.by_pid)
    }

    pub(super) fn set_state(&mut self, pid: Pid, state: ChildState) {
        self.count(&state, 1);
        if let Some(child) = self.by_pid.get_mut(&pid) {
            let before = mem::replace(&mut child.state, state);
            self.count(&before, -1);
        }
    }

    /// The start of a child has succeeded. False if somebody waits for that: then it is the supervisor's turn.
    pub(super) fn note_start(&mut self, started: Started) -> bool {
        let pid = started.pid;
        let Some(child) = self.by_pid.get_mut(&pid) else {
            return false;
        };
        let is_awaited = self.is_awaited
            || child.waiting.is_some()
            || child
                .extras
                .as_ref()
                .is_some_and(|extras| extras.timer.is_some() || extras.relaunch.is_some());
        if started.ignored || is_awaited || !matches!(child.state, ChildState::Starting(_)) {
            return false;
        }
        child.start_succeeded(pid, &self.flags);
        self.starting.remove(&pid);
        true
    }

    fn count(&mut self, state: &ChildState, change: isize) {
        let counter = match state {
            ChildState::Stopping(_) => &mut self.stopping,
            ChildState::Restarting { .. } | ChildState::Stopped => &mut self.restarting,
            ChildState::Starting(_) | ChildState::Running(_) => return,
        };
        *counter = counter.saturating_add_signed(change);
    }

    /// A process of a child has ended. Answers the exit that is forgotten for this one, to be dropped outside the lock.
    #[must_use]
    pub(super) fn note_end(&mut self, child: &Child, down: &Down) -> Option<DynamicExit> {
        self.counts.ended += 1;
        if down.reason.is_normal() {
            return None;
        }
        self.counts.crashed += 1;
        let forgotten = if self.exits.len() == EXITS_MAX {
            self.exits.pop_front()
        } else {
            None
        };
        self.exits.push_back(DynamicExit {
            path: child.path.clone(),
            incarnation: child.incarnation,
            exit: LastExit {
                reason: down.reason.clone(),
                at: down.at(),
                event: down.event,
            },
        });
        forgotten
    }

    /// After a crowd has left: amortised, for it takes as many ends again before the next time.
    pub(super) fn give_room_back(&mut self) {
        if self.by_pid.capacity() > PLACES_MIN && self.by_pid.len() < self.by_pid.capacity() / 8 {
            self.by_pid.shrink_to(self.by_pid.len() * 2);
        }
    }

    fn view_of(&self, child: &Child) -> ChildView {
        ChildView {
            path: child.path.clone(),
            state: child.state.clone(),
            incarnation: child.incarnation,
            restarts: child.extras.as_ref().map_or(0, |extras| extras.restarts),
            failures: child.failures_now(&self.flags),
            last_exit: child.last_exit().cloned(),
            stopped_by: None,
            waits_for: None,
            spec: Some(ChildSpecInfo {
                is_once: matches!(child.start, Start::Once(_)),
                ..ChildSpecInfo::of_template(&self.flags)
            }),
        }
    }

    fn info(&self) -> SupervisorInfo {
        let now = Instant::now();
        let budget = self.intensity.budget(now);
        let (total, starting) = (self.by_pid.len(), self.starting.len());
        SupervisorInfo {
            strategy: "simple_one_for_one",
            restarts_used: budget.used,
            intensity: budget.limit,
            period: budget.period,
            auto_shutdown: self.flags.auto_shutdown,
            children_total: total,
            dynamic: Some(DynamicInfo {
                template: ChildSpecInfo::of_template(&self.flags),
                children_max: self.flags.children_max,
                starting,
                running: total.saturating_sub(starting + self.stopping + self.restarting),
                stopping: self.stopping,
                restarting: self.restarting,
                counts: self.counts,
                exits: self.exits.iter().cloned().collect(),
            }),
            ages: self.intensity.ages(now),
            first_children: Arc::default(),
        }
    }
}

pub(super) struct Shown(pub(super) Arc<Mutex<Children>>);

impl Introspect for Shown {
    fn view(&self, children_max: usize) -> SupervisorView {
        let children = self.0.lock();
        let all = children.by_pid.values();
        let mut shown: Vec<_> = all
            .take(children_max)
            .map(|child| (child.number(), children.view_of(child)))
            .collect();
        shown.sort_by_key(|(number, _)| *number);
        SupervisorView {
            info: children.info(),
            children: shown.into_iter().map(|(_, child)| child).collect(),
        }
    }

    fn children_total(&self) -> usize {
        self.0.lock().len()
    }

    fn child(&self, id: &str) -> Option<ChildView> {
        let number = id.parse().ok()?;
        let children = self.0.lock();
        let child = children.get(children.pid_of(number)?)?;
        Some(children.view_of(child))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_never_failed_is_small() {
        let child = size_of::<Child>();
        assert!(child <= 88, "it has {child} bytes");
    }
}
