//! Process groups: [`Scope`], after OTP's `pg`.
//!
//! A group is a name that several processes have. It exists while somebody is in it, members leave when they end, and
//! whoever monitors a group hears of each change after the picture it started from.
//!
//! There is no scope process, and nothing to start: a scope is a table behind a lock. What follows from that, and is
//! better than eventual: a join is visible when it returns, and [`members`](Scope::members) never names the dead.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use actix::{Actor, Handler, Message};
use parking_lot::Mutex;

use crate::actor_ref::Shared;
use crate::context::Context;
use crate::exit::{Down, MonitorRef};
use crate::monitor::{demonitor, monitor_pid};
use crate::pid::{self, Pid, PidMap};
use crate::process::Observer;
use crate::registry::Name;

/// A set of groups that knows nothing of other scopes; `pg:start(Scope)` in OTP.
///
/// | `pg` | here |
/// | --- | --- |
/// | `join/3`, `leave/3` | [`join`](Self::join), [`leave`](Self::leave); one pid a call |
/// | `get_members/2`, `get_local_members/2` | [`members`](Self::members): all are local |
/// | `which_groups/1` | [`which_groups`](Self::which_groups) |
/// | `monitor/2`, `monitor_scope/1` | [`monitor`](Self::monitor), [`monitor_scope`](Self::monitor_scope) |
/// | `demonitor/2` | [`demonitor`](Self::demonitor), which does not flush the mailbox |
///
/// ```
/// # use actix::prelude::*;
/// # use byron_supervisors::{Context, Scope, exited, kill, spawn};
/// struct Reader;
/// impl Actor for Reader {
///     type Context = Context<Self>;
/// }
///
/// # System::new().block_on(async {
/// let readers = Scope::named("readers");
/// let (one, two) = (spawn(Reader).pid(), spawn(Reader).pid());
/// readers.join("ecstasy", one).expect("it lives");
/// readers.join("ecstasy", two).expect("it lives");
/// assert_eq!(readers.members("ecstasy"), [one, two]);
///
/// kill(one);
/// exited(one).await;
/// assert_eq!(readers.members("ecstasy"), [two]);
/// # });
/// ```
#[derive(Clone)]
pub struct Scope(Arc<Inner>);

struct Inner {
    name: Name,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// Who is in a group, and how many times. No group is empty.
    groups: HashMap<Name, BTreeMap<Pid, usize>>,
    /// The groups of each process that ever joined one and was not seen to end; it has one monitor of ours.
    joined: PidMap<BTreeSet<Name>>,
    monitors: BTreeMap<u64, Subscription>,
}

struct Subscription {
    /// `None` for all groups of the scope.
    group: Option<Name>,
    listener: Arc<dyn Listener>,
    /// Ends the subscription with its subscriber.
    life: MonitorRef,
}

/// Whoever hears of changes.
trait Listener: Send + Sync {
    fn changed(&self, event: GroupEvent);
}

impl<A: Actor<Context = Context<A>> + Handler<GroupEvent>> Listener for Shared<A> {
    fn changed(&self, event: GroupEvent) {
        self.tell(event);
    }
}

/// The process is dead, and cannot join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not alive")]
pub struct JoinError(pub Pid);

/// Names one call of [`Scope::monitor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupMonitor(u64);

/// A monitored group changed; `{Ref, join | leave, Group, Pids}` in OTP.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub struct GroupEvent {
    /// Which monitor this answers.
    pub monitor: GroupMonitor,
    /// The group.
    pub group: Name,
    /// What happened.
    pub change: GroupChange,
}

/// How a group changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupChange {
    /// These joined, each as often as it is named.
    Joined(Vec<Pid>),
    /// These left or ended, each as often as it is named.
    Left(Vec<Pid>),
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scope").field(&self.0.name).finish()
    }
}

impl Default for Scope {
    /// The scope `pg`, as in OTP.
    fn default() -> Self {
        Self::named("pg")
    }
}

impl Scope {
    /// The scope with this name: always the same one, for the life of the program.
    pub fn named(name: impl Into<Name>) -> Self {
        static SCOPES: LazyLock<Mutex<HashMap<Name, Scope>>> = LazyLock::new(Mutex::default);
        let name = name.into();
        let mut scopes = SCOPES.lock();
        let scope = scopes.entry(Arc::clone(&name)).or_insert_with(|| {
            Self(Arc::new(Inner {
                name,
                table: Mutex::default(),
            }))
        });
        scope.clone()
    }

    /// Makes a process a member (`pg:join/3`). One that joins twice is a member twice, and must leave twice.
    ///
    /// # Errors
    /// The process is dead.
    pub fn join(&self, group: impl Into<Name>, pid: Pid) -> Result<(), JoinError> {
        let group = group.into();
        if !pid::is_alive(pid) {
            return Err(JoinError(pid));
        }
        let is_new = {
            let mut table = self.0.table.lock();
            let is_new = !table.joined.contains_key(&pid);
            let groups = table.joined.entry(pid).or_default();
            groups.insert(Arc::clone(&group));
            let members = table.groups.entry(Arc::clone(&group)).or_default();
            *members.entry(pid).or_default() += 1;
            table.tell(&group, GroupChange::Joined(vec![pid]));
            is_new
        };
        if is_new {
            // Without our lock: if it has died meanwhile, its `Down` comes from within, and takes it out again.
            monitor_pid(pid, Arc::clone(&self.0) as Arc<dyn Observer>);
        }
        Ok(())
    }

    /// Takes back one join (`pg:leave/3`). False if the process is no member.
    pub fn leave(&self, group: &str, pid: Pid) -> bool {
        let mut table = self.0.table.lock();
        let Some((group, count)) = table
            .groups
            .get_key_value(group)
            .and_then(|(group, members)| Some((Arc::clone(group), *members.get(&pid)?)))
        else {
            return false;
        };
        if count > 1 {
            if let Some(members) = table.groups.get_mut(&group) {
                members.insert(pid, count - 1);
            }
        } else {
            table.remove(&group, pid);
            if let Some(groups) = table.joined.get_mut(&pid) {
                groups.remove(&group);
            }
        }
        table.tell(&group, GroupChange::Left(vec![pid]));
        true
    }

    /// The members, oldest process first, each as often as it joined (`pg:get_members/2`). None of them is dead now.
    pub fn members(&self, group: &str) -> Vec<Pid> {
        let mut table = self.0.table.lock();
        table.sweep(Some(group));
        table.members(group)
    }

    /// The groups that have members, sorted (`pg:which_groups/1`).
    pub fn which_groups(&self) -> Vec<Name> {
        let mut table = self.0.table.lock();
        table.sweep(None);
        let mut groups: Vec<_> = table.groups.keys().cloned().collect();
        groups.sort();
        groups
    }

    /// From here on the actor gets a [`GroupEvent`] for each change of the group (`pg:monitor/2`). Answers the members
    /// that it starts from: no change is missing between them and the first event, and none is told twice.
    ///
    /// Ends with the actor, or by [`demonitor`](Self::demonitor).
    pub fn monitor<A>(&self, group: impl Into<Name>, ctx: &Context<A>) -> (GroupMonitor, Vec<Pid>)
    where
        A: Actor<Context = Context<A>> + Handler<GroupEvent>,
    {
        let group = group.into();
        self.subscribe(Some(Arc::clone(&group)), ctx, |table| {
            table.sweep(Some(&group));
            table.members(&group)
        })
    }

    /// As [`monitor`](Self::monitor), for all groups of the scope (`pg:monitor_scope/1`).
    pub fn monitor_scope<A>(&self, ctx: &Context<A>) -> (GroupMonitor, BTreeMap<Name, Vec<Pid>>)
    where
        A: Actor<Context = Context<A>> + Handler<GroupEvent>,
    {
        self.subscribe(None, ctx, |table| {
            table.sweep(None);
            let groups = table.groups.keys();
            groups
                .map(|group| (Arc::clone(group), table.members(group)))
                .collect()
        })
    }

    fn subscribe<A, R>(
        &self,
        group: Option<Name>,
        ctx: &Context<A>,
        picture: impl FnOnce(&mut Table) -> R,
    ) -> (GroupMonitor, R)
    where
        A: Actor<Context = Context<A>> + Handler<GroupEvent>,
    {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let scope = Arc::clone(&self.0);
        let life = monitor_pid(ctx.pid(), Arc::new(Unsubscribe { scope, number }));
        let mut table = self.0.table.lock();
        let start = picture(&mut table);
        let subscription = Subscription {
            group,
            listener: Arc::clone(&ctx.shared) as Arc<dyn Listener>,
            life,
        };
        table.monitors.insert(number, subscription);
        (GroupMonitor(number), start)
    }

    /// Ends a monitor (`pg:demonitor/2`); false if there was none. No event is sent from here on; those that were sent
    /// before may still be in the mailbox.
    pub fn demonitor(&self, monitor: GroupMonitor) -> bool {
        let subscription = self.0.table.lock().monitors.remove(&monitor.0);
        // Without our lock: the last handle of a process drops its mailbox.
        subscription
            .map(|subscription| demonitor(subscription.life))
            .is_some()
    }
}

/// The end of a member.
impl Observer for Inner {
    fn down(&self, down: Down) {
        if let Some(pid) = down.pid {
            self.table.lock().depart(pid);
        }
    }
}

/// The end of a subscriber.
struct Unsubscribe {
    scope: Arc<Inner>,
    number: u64,
}

impl Observer for Unsubscribe {
    fn down(&self, _: Down) {
        let subscription = self.scope.table.lock().monitors.remove(&self.number);
        drop(subscription);
    }
}

impl Table {
    fn members(&self, group: &str) -> Vec<Pid> {
        let members = self.groups.get(group).into_iter().flatten();
        members
            .flat_map(|(pid, count)| std::iter::repeat_n(*pid, *count))
            .collect()
    }

    /// Those who have ended and whose `Down` is still on its way leave now.
    fn sweep(&mut self, group: Option<&str>) {
        let gone: Vec<_> = match group {
            Some(group) => {
                let members = self.groups.get(group).into_iter().flatten();
                members
                    .map(|(pid, _)| *pid)
                    .filter(|pid| !pid::is_alive(*pid))
                    .collect()
            }
            None => {
                let members = self.joined.keys().copied();
                members.filter(|pid| !pid::is_alive(*pid)).collect()
            }
        };
        for pid in gone {
            self.depart(pid);
        }
    }

    /// A process has ended: it leaves every group, as often as it had joined.
    fn depart(&mut self, pid: Pid) {
        for group in self.joined.remove(&pid).unwrap_or_default() {
            let count = self.remove(&group, pid);
            self.tell(&group, GroupChange::Left(vec![pid; count]));
        }
    }

    /// How often it was a member.
    fn remove(&mut self, group: &Name, pid: Pid) -> usize {
        let Some(members) = self.groups.get_mut(group) else {
            return 0;
        };
        let count = members.remove(&pid).unwrap_or(0);
        if members.is_empty() {
            self.groups.remove(group);
        }
        count
    }

    /// Under the lock, so that all hear of changes in the order in which they happened.
    fn tell(&self, group: &Name, change: GroupChange) {
        for (number, subscription) in &self.monitors {
            let concerns = subscription.group.as_ref();
            if concerns.is_none_or(|concerns| concerns == group) {
                subscription.listener.changed(GroupEvent {
                    monitor: GroupMonitor(*number),
                    group: Arc::clone(group),
                    change: change.clone(),
                });
            }
        }
    }
}
