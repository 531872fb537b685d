//! What the trees look like now, without asking any process: [`snapshot`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::bounded_text::cut;
use crate::child_spec::{AutoShutdown, ChildId, ChildType};
use crate::exit::ExitReason;
use crate::intensity::Budget;
use crate::operate::Operator;
use crate::panics::contained;
use crate::path::Path;
use crate::pid::{self, Pid};
use crate::process::{Core, Process};
use crate::supervisor::ChildSpecInfo;
use crate::vitals::{Flags, Vitals, deadlocked, long_waits};

/// How many children of a dynamic supervisor a snapshot shows one by one.
pub const SHOWN_CHILDREN_MAX: usize = 100;

/// How many details of a process a snapshot shows.
pub const DETAILS_MAX: usize = 16;

/// How long one of them may be, in bytes.
pub const DETAIL_BYTES_MAX: usize = 256;

/// How a child fares (`which_children` says `Pid`, `restarting` or `undefined`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChildState {
    /// Its init has not ended.
    Starting(Pid),
    /// It runs.
    Running(Pid),
    /// It was told to stop.
    Stopping(Pid),
    /// It failed and will be tried again: as soon as the supervisor gets to it, or at this time.
    Restarting {
        /// The process that failed last.
        was: Option<Pid>,
        /// When its backoff ends.
        until: Option<Instant>,
    },
    /// There is no process, and none is coming.
    Stopped,
}

impl ChildState {
    /// The process, if there is one.
    pub fn pid(&self) -> Option<Pid> {
        match self {
            Self::Starting(pid) | Self::Running(pid) | Self::Stopping(pid) => Some(*pid),
            Self::Restarting { .. } | Self::Stopped => None,
        }
    }

    /// When the next attempt is, if the child waits for one.
    pub fn until(&self) -> Option<Instant> {
        match self {
            Self::Restarting { until, .. } => *until,
            _ => None,
        }
    }

    /// The state in one upper-case word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Starting(_) => "STARTING",
            Self::Running(_) => "RUNNING",
            Self::Stopping(_) => "STOPPING",
            Self::Restarting { until: Some(_), .. } => "BACKOFF",
            Self::Restarting { until: None, .. } => "RESTARTING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// How and when a child ended the last time.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LastExit {
    /// Why.
    pub reason: ExitReason,
    /// When.
    pub at: SystemTime,
    /// The number of the event that tells of it; 0 if none does.
    pub event: u64,
}

/// A supervisor, as it shows itself.
pub(crate) struct SupervisorView {
    pub(crate) info: SupervisorInfo,
    pub(crate) children: Vec<ChildView>,
}

pub(crate) struct ChildView {
    pub(crate) path: Path,
    pub(crate) state: ChildState,
    pub(crate) incarnation: u32,
    pub(crate) restarts: u32,
    pub(crate) failures: u32,
    pub(crate) last_exit: Option<LastExit>,
    pub(crate) stopped_by: Option<Operator>,
    pub(crate) waits_for: Option<ChildId>,
    /// `None` for a root.
    pub(crate) spec: Option<ChildSpecInfo>,
}

/// A process that has children to show.
pub(crate) trait Introspect: Send + Sync {
    fn view(&self, children_max: usize) -> SupervisorView;
    /// One of the children.
    fn child(&self, id: &str) -> Option<ChildView>;
    /// How many there are.
    fn children_total(&self) -> usize;
}

/// One place of a tree.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Node {
    /// Where.
    pub path: Path,
    /// What runs there: the actor's type. Empty if nothing does.
    pub actor: &'static str,
    /// How it fares.
    pub state: ChildState,
    /// Which incarnation, from 1.
    pub incarnation: u32,
    /// How often its supervisor has restarted it.
    pub restarts: u32,
    /// Messages waiting; `None` where actix does not tell (adopted actors).
    pub mailbox_len: Option<usize>,
    /// Messages handled so far.
    pub handled: u64,
    /// How long the process has run.
    pub uptime: Option<Duration>,
    /// How often it has failed in a row, for its backoff; a life that is long enough forgets that.
    pub failures: u32,
    /// How the incarnation before it ended.
    pub last_exit: Option<LastExit>,
    /// How the process fares; `None` if there is none.
    pub vitals: Option<Vitals>,
    /// What is wrong with it, as its vitals and those of the others tell.
    pub flags: Flags,
    /// What the actor tells of itself ([`Context::describe`](crate::Context::describe)).
    pub details: Vec<(&'static str, String)>,
    /// The operator who stopped it, while it is stopped for that.
    pub stopped_by: Option<Operator>,
    /// The failed sibling that it was stopped with, while it waits for that one's next attempt.
    pub waits_for: Option<ChildId>,
    /// What its supervisor knows it by; `None` at the root of a tree.
    pub spec: Option<ChildSpecInfo>,
    /// What it supervises, if it does.
    pub supervisor: Option<SupervisorInfo>,
    /// Its children in start order; of a dynamic supervisor, the first [`SHOWN_CHILDREN_MAX`].
    pub children: Vec<Node>,
}

/// The supervising side of a [`Node`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SupervisorInfo {
    /// OTP's word for the strategy.
    pub strategy: &'static str,
    /// Restarts in the window now.
    pub restarts_used: usize,
    /// Restarts tolerated in the window.
    pub intensity: u32,
    /// The window.
    pub period: Duration,
    /// Whether it ends with its significant children.
    pub auto_shutdown: AutoShutdown,
    /// All its children, shown or not.
    pub children_total: usize,
    /// Of a dynamic supervisor: all its children in numbers.
    pub dynamic: Option<DynamicInfo>,
    /// How long ago the restarts in the window were, oldest first.
    pub(crate) ages: Vec<Duration>,
    /// The children that each of its incarnations begins with.
    pub(crate) first_children: Arc<[(ChildId, ChildType)]>,
}

impl SupervisorInfo {
    /// How much of its restart intensity is used.
    pub fn budget(&self) -> Budget {
        Budget {
            used: self.restarts_used,
            limit: self.intensity,
            period: self.period,
        }
    }
}

/// The children of a dynamic supervisor, in numbers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DynamicInfo {
    /// What they have in common.
    pub template: ChildSpecInfo,
    /// How many there may be.
    pub children_max: Option<usize>,
    /// Children whose init has not ended.
    pub starting: usize,
    /// Children that run.
    pub running: usize,
    /// Children that were told to stop.
    pub stopping: usize,
    /// Children without a process, that wait for their next attempt.
    pub restarting: usize,
    /// What has come and gone since the supervisor started.
    pub counts: DynamicCounts,
    /// The last [`EXITS_MAX`] that did not end in order, oldest first.
    pub exits: Vec<DynamicExit>,
}

/// What a dynamic supervisor has counted since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DynamicCounts {
    /// Processes that were started, restarts included.
    pub started: u64,
    /// Of those, the ones that have ended. The others are there now.
    pub ended: u64,
    /// Of those that ended, the ones that did not end in order: with neither `Normal` nor `Shutdown`.
    pub crashed: u64,
    /// How many starts were restarts.
    pub restarted: u64,
}

/// How many exits of its children a dynamic supervisor keeps.
pub const EXITS_MAX: usize = 50;

/// The end of a dynamic child that did not end in order.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DynamicExit {
    /// Whose.
    pub path: Path,
    /// Which incarnation, from 1.
    pub incarnation: u32,
    /// Why, when, and the event that tells of it.
    pub exit: LastExit,
}

static ROOTS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A tree begins here.
pub(crate) fn add_root(pid: Pid) {
    let mut roots = ROOTS.lock();
    roots.retain(|root| pid::is_alive(*root));
    roots.push(pid);
}

/// The trees of this program, as they are now. No process is asked, so none that is busy or stuck delays the answer.
pub fn snapshot() -> Vec<Node> {
    let roots = ROOTS.lock().clone();
    let mut trees: Vec<Node> = roots
        .into_iter()
        .filter_map(|root| root_node(&*pid::lookup(root)?))
        .collect();
    flag(&mut trees, Instant::now());
    trees
}

/// Says of each process what is wrong with it, if anything.
fn flag(trees: &mut [Node], now: Instant) {
    let mut shown = Vec::new();
    for tree in &*trees {
        tree.walk(&mut |node| shown.extend(node.state.pid().zip(node.vitals.as_ref())));
    }
    let deadlocked = deadlocked(&long_waits(shown, now));
    for tree in trees {
        tree.walk_mut(&mut |node| {
            node.flags = node
                .vitals
                .as_ref()
                .map_or_else(Flags::default, |vitals| vitals.flags(now));
            node.flags.deadlock = node
                .state
                .pid()
                .is_some_and(|pid| deadlocked.contains(&pid));
        });
    }
}

/// What an actor tells of itself, within bounds. None of our locks is held meanwhile.
fn details(core: &Core) -> Vec<(&'static str, String)> {
    let Some(describe) = core.details() else {
        return Vec::new();
    };
    let mut details = Vec::new();
    contained(|| details = describe());
    // Whoever replaced it meanwhile has left its end to us.
    contained(|| drop(describe));
    details.truncate(DETAILS_MAX);
    for (_, text) in &mut details {
        cut(text, DETAIL_BYTES_MAX);
    }
    details
}

fn root_node(process: &dyn Process) -> Option<Node> {
    root_view(process).map(|child| node(child, SHOWN_CHILDREN_MAX))
}

fn root_view(process: &dyn Process) -> Option<ChildView> {
    let label = process.core().label()?;
    Some(ChildView {
        path: label.path.clone(),
        state: ChildState::Running(process.core().pid()),
        incarnation: label.incarnation,
        restarts: 0,
        failures: 0,
        last_exit: None,
        stopped_by: None,
        waits_for: None,
        spec: None,
    })
}

fn node(child: ChildView, children_max: usize) -> Node {
    let process = child.state.pid().and_then(pid::lookup);
    let core = process.as_ref().map(|process| process.core());
    let view = core
        .and_then(|core| core.introspect())
        .map(|supervisor| supervisor.view(children_max));
    let (supervisor, children) = match view {
        Some(view) => (Some(view.info), view.children),
        None => (None, Vec::new()),
    };
    let vitals = process.as_deref().map(Vitals::of);
    Node {
        actor: core.map_or("", |core| core.kind()),
        mailbox_len: vitals.as_ref().and_then(|vitals| vitals.mailbox_len),
        handled: core.map_or(0, |core| core.handled.load(Ordering::Relaxed)),
        uptime: core.map(Core::uptime),
        details: core.map_or_else(Vec::new, details),
        flags: Flags::default(),
        vitals,
        supervisor,
        children: children
            .into_iter()
            .map(|child| node(child, children_max))
            .collect(),
        path: child.path,
        state: child.state,
        incarnation: child.incarnation,
        restarts: child.restarts,
        failures: child.failures,
        last_exit: child.last_exit,
        stopped_by: child.stopped_by,
        waits_for: child.waits_for,
        spec: child.spec,
    }
}

impl Node {
    /// This place and all below it, parents first.
    fn walk<'a>(&'a self, see: &mut impl FnMut(&'a Self)) {
        see(self);
        for child in &self.children {
            child.walk(see);
        }
    }

    fn walk_mut(&mut self, see: &mut impl FnMut(&mut Self)) {
        see(self);
        for child in &mut self.children {
            child.walk_mut(see);
        }
    }
}

/// One place of a tree, and who supervises it.
pub(crate) struct Place {
    pub(crate) child: ChildView,
    /// `None` for a root.
    pub(crate) supervisor: Option<Pid>,
}

/// The place with this path.
pub(crate) fn place(path: &Path) -> Option<Place> {
    let lineage = path.lineage();
    let roots = ROOTS.lock().clone();
    let mut roots = roots.into_iter().filter_map(pid::lookup);
    roots.find_map(|root| {
        let child = root_view(&*root)?;
        let mut place = Place {
            child,
            supervisor: None,
        };
        if place.child.path != *lineage[0] {
            return None;
        }
        for path in &lineage[1..] {
            let process = place.child.state.pid().and_then(pid::lookup)?;
            place = Place {
                child: process.core().introspect()?.child(&path.id())?,
                supervisor: Some(process.core().pid()),
            };
        }
        Some(place)
    })
}

/// All places of all trees.
pub(crate) fn places() -> Vec<Path> {
    fn collect(child: ChildView, places: &mut Vec<Path>) {
        places.push(child.path);
        let process = child.state.pid().and_then(pid::lookup);
        if let Some(supervisor) = process.as_ref().and_then(|it| it.core().introspect()) {
            for child in supervisor.view(usize::MAX).children {
                collect(child, places);
            }
        }
    }
    let mut places = Vec::new();
    let roots = ROOTS.lock().clone();
    for root in roots.into_iter().filter_map(pid::lookup) {
        if let Some(root) = root_view(&*root) {
            collect(root, &mut places);
        }
    }
    places
}

/// The place of a process, if it has one in a tree.
pub fn path_of(pid: Pid) -> Option<Path> {
    let process = pid::lookup(pid)?;
    process.core().label().map(|label| label.path.clone())
}

/// The tree as a picture, one line a process.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        collect_lines(self, "", "", &mut lines);
        let widths = [0, 1, 2].map(|column| {
            lines
                .iter()
                .map(|line| line[column].chars().count())
                .max()
                .unwrap_or(0)
        });
        for (number, line) in lines.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            let [place, what, state] = widths;
            let text = format!(
                "{:place$}  {:what$}  {:state$}  {}",
                line[0], line[1], line[2], line[3]
            );
            f.write_str(text.trim_end())?;
        }
        Ok(())
    }
}

fn collect_lines(node: &Node, lead: &str, below: &str, lines: &mut Vec<[String; 4]>) {
    let name = match node.path.parent() {
        Some(parent) => node.path.to_string()[parent.to_string().len() + 1..].to_owned(),
        None => node.path.to_string(),
    };
    let what = match &node.supervisor {
        Some(info) if info.intensity == u32::MAX => info.strategy.to_owned(),
        Some(info) => format!(
            "{} {}/{} in {}",
            info.strategy,
            info.restarts_used,
            info.intensity,
            human(info.period)
        ),
        None => node
            .actor
            .rsplit("::")
            .next()
            .unwrap_or_default()
            .to_owned(),
    };
    let mut rest = Vec::new();
    if let Some(uptime) = node.uptime {
        rest.push(human(uptime));
    }
    if node.restarts > 0 {
        rest.push(format!("restarts {}", node.restarts));
    }
    if let (None, Some(mailbox_len)) = (&node.supervisor, node.mailbox_len) {
        let vitals = node.vitals.as_ref();
        rest.push(match vitals.and_then(|vitals| vitals.mailbox_capacity) {
            Some(capacity) => format!("mailbox {mailbox_len}/{capacity}"),
            None => format!("mailbox {mailbox_len}"),
        });
    }
    rest.extend(
        node.details
            .iter()
            .map(|(name, text)| format!("{name} {text}")),
    );
    if let Some(until) = node.state.until() {
        rest.push(format!(
            "next in {}",
            human(until.saturating_duration_since(Instant::now()))
        ));
    }
    if let Some(operator) = &node.stopped_by {
        rest.push(format!("by operator ({operator})"));
    }
    if let Some(sibling) = &node.waits_for {
        rest.push(format!("waits for {sibling}"));
    }
    if let Some(exit) = &node.last_exit {
        rest.push(format!("last: {}", exit.reason));
    }
    lines.push([
        format!("{lead}{name}"),
        what,
        // A process that holds still does not run, whatever its supervisor thinks.
        (!node.flags.suspended)
            .then(|| node.state.name())
            .into_iter()
            .chain(node.flags.names())
            .collect::<Vec<_>>()
            .join(" "),
        rest.join("  "),
    ]);
    let total = node.supervisor.as_ref();
    let total = total.map_or(0, |info| info.children_total);
    let hidden = total.saturating_sub(node.children.len());
    for (number, child) in node.children.iter().enumerate() {
        let is_last = number + 1 == node.children.len() && hidden == 0;
        let (branch, trunk) = if is_last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        collect_lines(
            child,
            &format!("{below}{branch}"),
            &format!("{below}{trunk}"),
            lines,
        );
    }
    if hidden > 0 {
        lines.push([
            format!("{below}└─ and {hidden} more"),
            String::new(),
            String::new(),
            String::new(),
        ]);
    }
}

/// A span of time as a person says it.
pub(crate) fn human(span: Duration) -> String {
    match span.as_secs() {
        0 => format!("{}ms", span.as_millis()),
        seconds @ 1..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        seconds => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}
