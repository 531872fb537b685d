//! The state of a dynamic supervisor: its children by process, and what is known of each.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix::dev::SpawnHandle;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Start;
use crate::intensity::Intensity;
use crate::path::Path;
use crate::pid::{Pid, PidMap};
use crate::promise::Promise;
use crate::snapshot::{ChildState, ChildView, Introspect, LastExit, SupervisorView};
use crate::supervisor::{ChildError, StartChildError};

pub(super) struct Child {
    pub(super) start: Start,
    pub(super) number: u64,
    /// Its number among all of its template, while failures are rehearsed; 0 until then.
    pub(super) ordinal: u64,
    pub(super) incarnation: u32,
    pub(super) restarts: u32,
    pub(super) failures: u32,
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
    pub(super) terminated: Vec<Promise<Result<(), ChildError>>>,
}

/// What the observer sees; changed by the supervisor only.
pub(super) struct Children {
    pub(super) path: Path,
    pub(super) intensity: Intensity,
    /// By current pid, or by the last one while there is none: OTP's `{restarting, OldPid}`.
    /// Boxed, for the table has more places than children.
    pub(super) by_pid: PidMap<Box<Child>>,
    /// The processes whose starts are under way, oldest first.
    pub(super) starting: BTreeSet<Pid>,
}

/// A table this small is not worth shrinking.
pub(super) const PLACES_MIN: usize = 1024;

impl Children {
    /// After a crowd has left: amortised, for it takes as many ends again before the next time.
    pub(super) fn give_room_back(&mut self) {
        if self.by_pid.capacity() > PLACES_MIN && self.by_pid.len() < self.by_pid.capacity() / 8 {
            self.by_pid.shrink_to(self.by_pid.len() * 2);
        }
    }
}

pub(super) struct Shown(pub(super) Arc<Mutex<Children>>);

impl Introspect for Shown {
    fn view(&self, children_max: usize) -> SupervisorView {
        let children = self.0.lock();
        let mut shown: Vec<_> = children
            .by_pid
            .values()
            .take(children_max)
            .map(|child| ChildView {
                path: children.path.numbered(child.number),
                state: child.state.clone(),
                incarnation: child.incarnation,
                restarts: child.restarts,
                last_exit: child.last_exit.as_deref().cloned(),
            })
            .collect();
        shown.sort_by_key(|child| child.state.pid());
        SupervisorView {
            strategy: "simple_one_for_one",
            restarts_used: children.intensity.used(Instant::now()),
            intensity: children.intensity.limit(),
            period: children.intensity.period(),
            children_total: children.by_pid.len(),
            children: shown,
        }
    }
}
