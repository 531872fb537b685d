//! What a deed would bring about, told before it is done. Pure: from a snapshot, by the rules that supervisors follow.
//!
//! It is a second telling of what `supervisor/work/` and `dynamic/` do: who restarts, who is taken along, who gives up.
//! That the two agree is tested with random trees (`tests/it/consequence.rs`).

mod text;

use std::collections::HashSet;
use std::time::Duration;

use crate::child_spec::{AutoShutdown, ChildId, ChildType, Restart};
use crate::exit::ExitReason;
use crate::intensity::Budget;
use crate::operate::{Action, Refusal};
use crate::path::Path;
use crate::snapshot::{ChildState, Node, SupervisorInfo};
use crate::strategy::Strategy;
use crate::supervisor::ChildSpecInfo;

/// What a deed brings about. As text it is one line: `kill byron/ecstasy/listeners: restarts 3 children (...), drops no
/// connection; budget 3/10 in 10s afterwards`.
///
/// Dynamic children are counted in `drops` and not listed, but for one that the deed is done to.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Consequence {
    /// What is done.
    pub action: Action,
    /// To which place.
    pub path: Path,
    /// The places whose processes end: first those that end first, where that can be said.
    pub ends: Vec<Path>,
    /// The places where a process starts, in order.
    pub starts: Vec<Path>,
    /// Of those that start: supervisors that do not run now, so that nobody knows what is below them.
    pub unknown_below: Vec<Path>,
    /// The places that are there afterwards and run no more.
    pub stops: Vec<Path>,
    /// The places that are gone afterwards, though their supervisor is not: temporary children.
    pub forgets: Vec<Path>,
    /// The dynamic children that end with all this, by supervisor; also supervisors that lose none.
    pub drops: Vec<Drops>,
    /// The supervisors that give up, or end because a significant child has: from below upwards.
    pub gives_up: Vec<Path>,
    /// The budgets that restarts are counted in, from below upwards, as they are afterwards.
    pub budgets: Vec<(Path, Budget)>,
    /// How long the backoff waits before the last of the starts: at least and at most.
    pub delay: Option<(Duration, Duration)>,
    /// The tree is over: its root ends.
    pub ends_tree: bool,
    /// False if something else is under way there, or depends on chance, so that it may come differently. What is
    /// announced is then the worst.
    pub is_certain: bool,
}

/// Dynamic children that end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drops {
    /// Their supervisor.
    pub supervisor: Path,
    /// What they are: the id of the template.
    pub id: ChildId,
    /// How many of them end and are not started again.
    pub count: usize,
}

/// Tells what a deed would bring about.
///
/// A supervisor starts with the children that its last incarnation began with; whether a start succeeds, nobody knows
/// before.
///
/// # Errors
/// It would be refused, for this reason.
///
/// ```
/// # use actix::prelude::*;
/// # use byron_supervisors::{Action, ChildSpec, Context, Strategy, SupFlags, Supervisor, consequence, snapshot};
/// # struct Poet;
/// # impl Actor for Poet {
/// #     type Context = Context<Self>;
/// # }
/// # System::new().block_on(async {
/// let flags = SupFlags { strategy: Strategy::OneForAll, ..SupFlags::default() };
/// let poets = ["byron", "shelley"].map(|id| ChildSpec::new(id, |_ctx| Poet));
/// let _root = Supervisor::start("geneva", flags, poets.into()).await;
///
/// let path = "geneva/shelley".parse().expect("a path");
/// let told = consequence(Action::Kill, &path, &snapshot()).expect("he runs");
/// assert_eq!(
///     told.to_string(),
///     "kill geneva/shelley: restarts 2 children (byron, shelley); budget 1/1 in 5s afterwards"
/// );
/// # });
/// ```
pub fn consequence(action: Action, path: &Path, trees: &[Node]) -> Result<Consequence, Refusal> {
    let lineage = path.lineage();
    let trees = trees.iter().filter(|root| root.path == *lineage[0]);
    let mut found = trees.filter_map(|root| descend(root, &lineage[1..]));
    let (above, node) = found.next().ok_or(Refusal::NoSuchPlace)?;
    let node = node.map_or_else(
        // A dynamic child that the snapshot does not show.
        || hidden_child(above[above.len() - 1], path),
        |node| Ok(node.clone()),
    )?;
    let mut telling = Telling::new(action, path, &above, &node);
    telling.perform(&above, &node)?;
    Ok(telling.finish())
}

/// The supervisors above a place, the root first, and the place itself, if it is shown.
fn descend<'a>(root: &'a Node, below: &[&Path]) -> Option<(Vec<&'a Node>, Option<&'a Node>)> {
    let (mut above, mut node) = (Vec::new(), Some(root));
    for path in below {
        let supervisor = node?;
        supervisor.supervisor.as_ref()?;
        above.push(supervisor);
        let mut children = supervisor.children.iter();
        node = children.find(|child| child.path.id() == path.id());
    }
    Some((above, node))
}

fn hidden_child(supervisor: &Node, path: &Path) -> Result<Node, Refusal> {
    let info = supervisor.supervisor.as_ref();
    let is_hidden = info.is_some_and(|info| {
        info.children_total > supervisor.children.len()
            && info.dynamic.is_some()
            && path.id().parse::<u64>().is_ok()
    });
    let shown = supervisor.children.first().filter(|_| is_hidden);
    let mut node = shown.cloned().ok_or(Refusal::NoSuchPlace)?;
    node.path = path.clone();
    Ok(node)
}

/// A consequence on the way.
struct Telling {
    told: Consequence,
    /// Those in `told.ends`.
    ended: HashSet<Path>,
    /// How much later it is by now: at least and at most.
    elapsed: (Duration, Duration),
}

impl Telling {
    fn new(action: Action, path: &Path, above: &[&Node], node: &Node) -> Self {
        let root = above.first().copied().unwrap_or(node);
        let mut drops = Vec::new();
        collect_dynamic(root, &mut drops);
        Self {
            told: Consequence {
                action,
                path: path.clone(),
                ends: Vec::new(),
                starts: Vec::new(),
                unknown_below: Vec::new(),
                stops: Vec::new(),
                forgets: Vec::new(),
                drops,
                gives_up: Vec::new(),
                budgets: Vec::new(),
                delay: None,
                ends_tree: false,
                is_certain: !is_under_way(node) && !above.iter().any(|node| is_moving(node)),
            },
            ended: HashSet::new(),
            elapsed: (Duration::ZERO, Duration::ZERO),
        }
    }

    fn finish(self) -> Consequence {
        let mut told = self.told;
        if !self.elapsed.1.is_zero() {
            told.delay = Some(self.elapsed);
        }
        // What comes back is neither stopped nor forgotten, and what is below a supervisor that has ended is no place.
        let starts: HashSet<_> = told.starts.iter().cloned().collect();
        let is_left = |path: &Path| {
            let mut above = path.lineage().into_iter().rev().skip(1);
            !starts.contains(path) && !above.any(|above| self.ended.contains(above))
        };
        told.stops.retain(is_left);
        told.forgets.retain(is_left);
        told
    }

    fn perform(&mut self, above: &[&Node], node: &Node) -> Result<(), Refusal> {
        let has_process = node.state.pid().is_some();
        let is_waiting =
            matches!(node.state, ChildState::Restarting { .. }) || node.waits_for.is_some();
        let (Some(supervisor), Some(spec)) = (above.last(), &node.spec) else {
            return match self.told.action {
                Action::Restart => Err(Refusal::IsRoot),
                Action::Start => Err(Refusal::AlreadyRunning),
                Action::Stop | Action::Kill => {
                    self.end(node);
                    self.told.ends_tree = true;
                    Ok(())
                }
            };
        };
        match self.told.action {
            Action::Kill if matches!(node.state, ChildState::Restarting { .. }) => {
                Err(Refusal::Restarting)
            }
            Action::Kill | Action::Stop if !has_process && !is_waiting => Err(Refusal::NotRunning),
            Action::Kill if !has_process => Err(Refusal::NotRunning),
            Action::Kill => {
                self.kill(node);
                self.child_ended(above, node, &ExitReason::Killed);
                Ok(())
            }
            Action::Stop => {
                self.end(node);
                self.stay_away(supervisor, node);
                self.release(supervisor, node);
                Ok(())
            }
            Action::Start if has_process => Err(Refusal::AlreadyRunning),
            Action::Start if is_waiting => Err(Refusal::Restarting),
            Action::Restart if spec.is_once => Err(Refusal::once()),
            Action::Start | Action::Restart => {
                self.end(node);
                self.start(node);
                self.release(supervisor, node);
                Ok(())
            }
        }
    }

    // ---- processes that end, places that start

    /// A process ends in order: what is below it first, last to first.
    fn end(&mut self, node: &Node) {
        for child in node.children.iter().rev().filter(|_| is_static(node)) {
            self.end(child);
        }
        self.end_process(node);
    }

    /// A process ends without a word, and takes with it what is below it.
    fn kill(&mut self, node: &Node) {
        self.end_process(node);
        for child in node.children.iter().filter(|_| is_static(node)) {
            self.kill(child);
        }
    }

    fn end_process(&mut self, node: &Node) {
        if node.state.pid().is_none() || !self.ended.insert(node.path.clone()) {
            return;
        }
        self.told.ends.push(node.path.clone());
        if let Some(dynamic) = dynamic(node) {
            let count = dynamic.starting + dynamic.running + dynamic.stopping;
            self.drop_children(&node.path, count);
        }
    }

    fn drop_children(&mut self, supervisor: &Path, count: usize) {
        let mut drops = self.told.drops.iter_mut();
        if let Some(drops) = drops.find(|drops| drops.supervisor == *supervisor) {
            drops.count = count;
        }
    }

    /// A place gets a process, and a supervisor its first children.
    fn start(&mut self, node: &Node) {
        self.told.starts.push(node.path.clone());
        let Some(info) = &node.supervisor else {
            let is_supervisor = node.spec.as_ref().is_some_and(ChildSpecInfo::is_supervisor);
            if is_supervisor {
                self.told.unknown_below.push(node.path.clone());
            }
            return;
        };
        for (id, child_type) in info.first_children.iter() {
            let known = node.children.iter().find(|child| child.path.id() == **id);
            if let Some(child) = known {
                self.start(child);
                continue;
            }
            let forgotten = node.path.child(ChildId::clone(id));
            if *child_type == ChildType::Supervisor {
                self.told.unknown_below.push(forgotten.clone());
            }
            self.told.starts.push(forgotten);
        }
    }

    /// A child has ended and is not started again.
    fn stay_away(&mut self, supervisor: &Node, child: &Node) {
        let is_temporary = child
            .spec
            .as_ref()
            .is_some_and(|spec| spec.restart == Restart::Temporary);
        if !is_static(supervisor) {
            if child.state.pid().is_some() {
                self.drop_children(&supervisor.path, 1);
            }
            self.told.forgets.push(child.path.clone());
        } else if is_temporary {
            self.told.forgets.push(child.path.clone());
        } else {
            self.told.stops.push(child.path.clone());
        }
    }

    /// Those that wait for a child's backoff do not wait any longer.
    fn release(&mut self, supervisor: &Node, child: &Node) {
        for sibling in &supervisor.children {
            if sibling.waits_for.as_deref() == Some(&*child.path.id()) {
                self.start(sibling);
            }
        }
    }

    // ---- what the supervisor does about it

    /// A child has ended by itself, or so it seems to its supervisor, the last of `above` (`do_restart`).
    fn child_ended(&mut self, above: &[&Node], child: &Node, reason: &ExitReason) {
        let Some((supervisor, spec)) = above.last().copied().zip(child.spec.as_ref()) else {
            self.told.ends_tree = true;
            return;
        };
        if spec.restart.applies(reason) && !spec.is_once {
            return self.restart(above, supervisor, child, spec);
        }
        self.stay_away(supervisor, child);
        if ends_with(supervisor, child, spec) {
            self.shut_down(above, supervisor);
        }
    }

    /// Now, or after its backoff (`restart/2` and `add_restart`).
    fn restart(&mut self, above: &[&Node], supervisor: &Node, child: &Node, spec: &ChildSpecInfo) {
        let Some(info) = &supervisor.supervisor else {
            return;
        };
        let siblings = taken_along(supervisor, info, child);
        if let Some(backoff) = spec.backoff {
            let failures = child.failures.saturating_add(1);
            if backoff.max_failures.is_some_and(|max| failures > max) {
                self.stay_away(supervisor, child);
                if ends_with(supervisor, child, spec) {
                    self.shut_down(above, supervisor);
                }
                return;
            }
            self.elapsed.0 += backoff.delay(failures, 0.0);
            self.elapsed.1 += backoff.delay(failures, 1.0);
            // Another attempt may come before this one.
            let is_alone = supervisor.children.iter().all(|sibling| {
                sibling.path == child.path
                    || !matches!(sibling.state, ChildState::Restarting { .. })
            });
            self.told.is_certain &= is_alone;
            self.take_along(&siblings, child);
        }
        let (worst, best) = (
            used_after(info, self.elapsed.0),
            used_after(info, self.elapsed.1),
        );
        let budget = Budget {
            used: worst + 1,
            ..info.budget()
        };
        let is_too_many = |used: usize| used + 1 > info.intensity as usize;
        self.told.budgets.push((supervisor.path.clone(), budget));
        self.told.is_certain &= is_too_many(worst) == is_too_many(best);
        if is_too_many(worst) {
            return self.shut_down(above, supervisor);
        }
        self.take_along(&siblings, child);
        for affected in supervisor.children.iter().filter(|it| {
            it.path == child.path || siblings.iter().any(|sibling| sibling.path == it.path)
        }) {
            let is_gone = affected.path != child.path && is_temporary(affected);
            if !is_gone {
                self.start(affected);
            }
        }
        if !is_static(supervisor) && !self.told.starts.contains(&child.path) {
            // One that the snapshot does not show.
            self.start(child);
        }
    }

    /// Stops siblings, last to first. Temporary ones are forgotten.
    fn take_along(&mut self, siblings: &[&Node], child: &Node) {
        for sibling in siblings.iter().rev() {
            debug_assert_ne!(sibling.path, child.path, "it is no sibling of its own");
            self.end(sibling);
            if is_temporary(sibling) && !self.told.forgets.contains(&sibling.path) {
                self.told.forgets.push(sibling.path.clone());
            }
        }
    }

    /// A supervisor ends by its own decision, after its children; then it is its own supervisor's turn.
    fn shut_down(&mut self, above: &[&Node], supervisor: &Node) {
        self.told.gives_up.push(supervisor.path.clone());
        self.end(supervisor);
        self.child_ended(&above[..above.len() - 1], supervisor, &ExitReason::SHUTDOWN);
    }
}

fn dynamic(node: &Node) -> Option<&crate::snapshot::DynamicInfo> {
    node.supervisor.as_ref()?.dynamic.as_ref()
}

/// Not a dynamic supervisor.
fn is_static(node: &Node) -> bool {
    dynamic(node).is_none()
}

fn is_temporary(node: &Node) -> bool {
    let spec = node.spec.as_ref();
    spec.is_some_and(|spec| spec.restart == Restart::Temporary)
}

/// The process starts or stops right now.
fn is_moving(node: &Node) -> bool {
    matches!(
        node.state,
        ChildState::Starting(_) | ChildState::Stopping(_)
    ) || node.children.iter().any(|child| {
        is_static(node)
            && (matches!(
                child.state,
                ChildState::Starting(_) | ChildState::Stopping(_)
            ) || matches!(child.state, ChildState::Restarting { until: None, .. }))
    })
}

/// Something below starts or stops right now.
fn is_under_way(node: &Node) -> bool {
    is_moving(node) || (is_static(node) && node.children.iter().any(is_under_way))
}

fn collect_dynamic(node: &Node, drops: &mut Vec<Drops>) {
    if let Some(dynamic) = dynamic(node) {
        drops.push(Drops {
            supervisor: node.path.clone(),
            id: ChildId::clone(&dynamic.template.id),
            count: 0,
        });
        return;
    }
    for child in &node.children {
        collect_dynamic(child, drops);
    }
}

/// The siblings that a supervisor stops and starts with a failed child, in start order.
fn taken_along<'a>(supervisor: &'a Node, info: &SupervisorInfo, child: &Node) -> Vec<&'a Node> {
    let children = &supervisor.children;
    let at = children.iter().position(|it| it.path == child.path);
    let strategy = Strategy::from_name(info.strategy);
    // Dynamic children have no siblings.
    let Some((strategy, at)) = strategy.zip(at) else {
        return Vec::new();
    };
    let affected = &children[strategy.affected(at, children.len())];
    affected.iter().filter(|it| it.path != child.path).collect()
}

/// Whether a supervisor ends because this child has (`do_auto_shutdown`).
fn ends_with(supervisor: &Node, child: &Node, spec: &ChildSpecInfo) -> bool {
    let Some(info) = &supervisor.supervisor else {
        return false;
    };
    let is_last = || match &info.dynamic {
        Some(_) => info.children_total <= 1,
        None => supervisor.children.iter().all(|sibling| {
            let is_significant = sibling.spec.as_ref().is_some_and(|spec| spec.significant);
            sibling.path == child.path || !is_significant || sibling.state == ChildState::Stopped
        }),
    };
    spec.significant
        && match info.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => is_last(),
        }
}

/// How many of the restarts in the window are still in it after this time.
fn used_after(info: &SupervisorInfo, time: Duration) -> usize {
    if info.intensity == u32::MAX {
        return info.restarts_used;
    }
    let ages = info.ages.iter();
    ages.filter(|age| age.saturating_add(time) <= info.period)
        .count()
}
