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
    pub(super) number: u64,
    pub(super) path: Path,
    /// Its number among all of its template, while failures are rehearsed; 0 until then.
    pub(super) ordinal: u64,
    pub(super) incarnation: u32,
    pub(super) restarts: u32,
    pub(super) failures: u32,
    /// Where there is a backoff: since when it has run.
    pub(super) started_at: Option<Instant>,
    pub(super) last_exit: Option<Box<LastExit>>,
    pub(super) state: ChildState,
    /// The last process whose start succeeded: OTP's `{restarting, OldPid}`.
    pub(super) last_good: Option<Pid>,
    /// Who waits for the first start.
    pub(super) waiting: Option<Promise<Result<Option<Pid>, StartChildError>>>,
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
    /// How often it has failed in a row, if it failed now.
    pub(super) fn failures_now(&self, flags: &DynamicFlags) -> u32 {
        let is_stable = flags
            .backoff
            .zip(self.started_at)
            .is_some_and(|(backoff, at)| at.elapsed() >= backoff.reset_after);
        if is_stable { 0 } else { self.failures }
    }

    /// It runs. It is counted as it was: those that start and those that run are the rest.
    pub(super) fn start_succeeded(&mut self, pid: Pid, flags: &DynamicFlags) {
        self.last_good = Some(pid);
        self.started_at = flags.backoff.map(|_| Instant::now());
        self.state = ChildState::Running(pid);
    }

    pub(super) fn note_exit(&mut self, down: &Down, flags: &DynamicFlags) {
        self.failures = self.failures_now(flags);
        self.started_at = None;
        let exit = LastExit {
            reason: down.reason.clone(),
            at: down.at(),
            event: down.event,
        };
        match &mut self.last_exit {
            Some(last_exit) => **last_exit = exit,
            None => self.last_exit = Some(Box::new(exit)),
        }
    }

    /// The event of its last exit, or 0: the cause of what is done about it.
    pub(super) fn last_event(&self) -> u64 {
        self.last_exit.as_ref().map_or(0, |exit| exit.event)
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
        all.find(|(_, child)| child.number == number)
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
            || child.timer.is_some()
            || child.relaunch.is_some();
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
            restarts: child.restarts,
            failures: child.failures_now(&self.flags),
            last_exit: child.last_exit.as_deref().cloned(),
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
            .map(|child| (child.number, children.view_of(child)))
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
