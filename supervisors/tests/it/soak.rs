//! Random trees in random trouble: kills, exits and panics at every level, from several arbiters at once.
//!
//! Between bursts of trouble comes a pause, and in the pause the tree must be whole: no process that its supervisor
//! does not list, no end that was told twice or never, the children that the specs say. A tree that is over leaves
//! nothing behind.
//!
//! `BYRON_SOAK_SECONDS` makes it longer and prints what happened, `BYRON_SOAK_SEED` makes other trees.

use std::collections::HashMap;
use std::env;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::prelude::*;
use byron_supervisors::{
    ActorRef, ArbiterPool, ChildSpec, ChildState, Context, CountChildren, Down, DynamicFlags,
    DynamicSupervisor, EventKind, ExitReason, Init, Node, Pid, Placement, Restart, RestartChild,
    Shutdown, StartDynamicChild, Strategy, SupFlags, Supervisor, TerminateChild, events_since,
    exit, exited, is_alive, kill, register, registered, snapshot, spawn,
};
use fastrand::Rng;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::sup_support::unique;

const SECONDS: u64 = 3;
/// How long a tree may take to come to rest.
const REST_LIMIT: Duration = Duration::from_secs(30);
const ROUNDS_PER_TREE: usize = 12;
const ARBITERS: usize = 3;
const DEEDS_MAX: usize = 12;

// ---- what the trees are made of

#[derive(Clone)]
enum Kind {
    Worker {
        init: Duration,
        stop: Duration,
        shutdown: Shutdown,
    },
    Supervisor(SupFlags, Vec<Plan>),
    Dynamic(DynamicFlags),
}

#[derive(Clone)]
struct Plan {
    id: String,
    restart: Restart,
    kind: Kind,
}

fn any_of<T: Copy>(random: &mut Rng, choices: &[T]) -> T {
    choices[random.usize(..choices.len())]
}

fn flags(random: &mut Rng, intensity: u32) -> SupFlags {
    SupFlags {
        strategy: any_of(
            random,
            &[
                Strategy::OneForOne,
                Strategy::OneForAll,
                Strategy::RestForOne,
            ],
        ),
        intensity,
        period: Duration::from_millis(500),
        ..SupFlags::default()
    }
}

fn plan(random: &mut Rng, level: u32, number: usize) -> Plan {
    let kind = match (level, random.u32(..10)) {
        (1 | 2, 0..6) => {
            let intensity = random.u32(..6);
            let flags = flags(random, intensity);
            Kind::Supervisor(flags, plans(random, level + 1))
        }
        (1 | 2, 6) => Kind::Dynamic(DynamicFlags {
            restart: any_of(
                random,
                &[Restart::Permanent, Restart::Transient, Restart::Temporary],
            ),
            intensity: random.u32(1..6),
            shutdown: Shutdown::Timeout(Duration::from_millis(20)),
            ..DynamicFlags::new("reader")
        }),
        _ => Kind::Worker {
            init: Duration::from_millis(any_of(random, &[0, 0, 0, 2])),
            stop: Duration::from_millis(any_of(random, &[0, 0, 0, 3, 10])),
            shutdown: any_of(
                random,
                &[
                    Shutdown::BrutalKill,
                    Shutdown::Infinity,
                    Shutdown::Timeout(Duration::from_millis(5)),
                    Shutdown::Timeout(Duration::from_secs(5)),
                ],
            ),
        },
    };
    let choices = [
        Restart::Permanent,
        Restart::Permanent,
        Restart::Transient,
        Restart::Temporary,
    ];
    let restart = match kind {
        Kind::Worker { .. } => any_of(random, &choices),
        _ => any_of(random, &choices[..3]),
    };
    Plan {
        id: format!("{level}{}", char::from(b'a' + number as u8)),
        restart,
        kind,
    }
}

fn plans(random: &mut Rng, level: u32) -> Vec<Plan> {
    (0..random.usize(2..5))
        .map(|number| plan(random, level, number))
        .collect()
}

// ---- what runs

struct Soak {
    pool: ArbiterPool,
    root: String,
    /// How many times the end of each process was told.
    ledger: Mutex<HashMap<Pid, u32>>,
    census: ActorRef<Census>,
}

impl Soak {
    fn spec(self: &Arc<Self>, plan: &Plan) -> ChildSpec {
        let soak = Arc::clone(self);
        let spec = match plan.kind.clone() {
            Kind::Worker {
                init,
                stop,
                shutdown,
            } => {
                let name = format!("{}-{}", self.root, plan.id);
                ChildSpec::with_init(&*plan.id, move || leaf(&soak, &name, init, stop))
                    .shutdown(shutdown)
            }
            Kind::Supervisor(flags, plans) => ChildSpec::supervisor(&*plan.id, flags, move || {
                plans.iter().map(|plan| soak.spec(plan)).collect()
            }),
            Kind::Dynamic(flags) => ChildSpec::dynamic_supervisor(&*plan.id, flags),
        };
        spec.restart(plan.restart)
            .at(Placement::NextOf(self.pool.clone()))
    }

    /// A process has begun: from here on its end must be told, once.
    fn began(&self, pid: Pid) {
        self.ledger.lock().insert(pid, 0);
        self.census.do_send(Watch(pid));
    }
}

fn leaf(
    soak: &Arc<Soak>,
    name: &str,
    init: Duration,
    stop: Duration,
) -> impl Future<Output = Result<Init<Leaf>, ExitReason>> + use<> {
    let leaf = Leaf {
        soak: Arc::clone(soak),
        name: name.to_owned(),
        stop,
    };
    async move {
        if !init.is_zero() {
            tokio::time::sleep(init).await;
        }
        if fastrand::u32(..40) == 0 {
            return Err(ExitReason::error("not this time"));
        }
        Ok(Init::Ready(leaf))
    }
}

struct Leaf {
    soak: Arc<Soak>,
    name: String,
    stop: Duration,
}

impl Actor for Leaf {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.soak.began(ctx.pid());
        // An orphan of a killed supervisor may still have it, as in OTP.
        let _ = register(self.name.as_str(), ctx.pid());
    }

    fn stopping(&mut self, ctx: &mut Context<Self>) -> Running {
        let stop = std::mem::take(&mut self.stop);
        if stop.is_zero() {
            return Running::Stop;
        }
        ctx.run_later(stop, |_, ctx| ctx.exit(ExitReason::SHUTDOWN));
        Running::Continue
    }
}

#[derive(Message)]
#[rtype(result = "()")]
enum Fall {
    Panic,
    Leave,
}

impl Handler<Fall> for Leaf {
    type Result = ();

    fn handle(&mut self, fall: Fall, ctx: &mut Context<Self>) {
        match fall {
            Fall::Panic => std::panic::resume_unwind(Box::new("a fall")),
            Fall::Leave => ctx.stop(),
        }
    }
}

/// Is told of every end.
struct Census(Arc<Mutex<Option<Arc<Soak>>>>);

impl Actor for Census {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Watch(Pid);

impl Handler<Watch> for Census {
    type Result = ();

    fn handle(&mut self, Watch(pid): Watch, ctx: &mut Context<Self>) {
        ctx.monitor(pid);
    }
}

impl Handler<Down> for Census {
    type Result = ();

    fn handle(&mut self, down: Down, _: &mut Context<Self>) {
        if let (Some(soak), Some(pid)) = (&*self.0.lock(), down.pid) {
            *soak.ledger.lock().entry(pid).or_default() += 1;
        }
    }
}

// ---- trouble

fn walk<'a>(node: &'a Node, visit: &mut dyn FnMut(&'a Node)) {
    visit(node);
    for child in &node.children {
        walk(child, visit);
    }
}

fn tree(root: &str) -> Node {
    let mut nodes = snapshot().into_iter();
    nodes
        .find(|node| node.path.to_string() == root)
        .expect("the root of a soak does not give up")
}

/// One random thing to one random process below the root.
fn deed(random: &mut Rng, soak: &Arc<Soak>, targets: &[(Pid, Option<Pid>, String)]) {
    let (pid, parent, id) = &targets[random.usize(..targets.len())];
    match random.u32(..12) {
        0..3 => kill(*pid),
        3..5 => exit(*pid, ExitReason::error("trouble")),
        5 => exit(*pid, ExitReason::SHUTDOWN),
        6 => {
            let parent = parent.and_then(ActorRef::<Supervisor>::of);
            if let Some(parent) = parent {
                parent.do_send(TerminateChild(id.as_str().into()));
                if random.bool() {
                    parent.do_send(RestartChild(id.as_str().into()));
                }
            }
        }
        fall => {
            if let Some(leaf) = ActorRef::<Leaf>::of(*pid) {
                leaf.do_send(if fall < 10 { Fall::Panic } else { Fall::Leave });
            } else if let Some(readers) = ActorRef::<DynamicSupervisor>::of(*pid) {
                for _ in 0..3 {
                    let soak = Arc::clone(soak);
                    readers.do_send(StartDynamicChild::with_init(move || {
                        let name = format!("{}-reader", soak.root);
                        leaf(&soak, &name, Duration::ZERO, Duration::ZERO)
                    }));
                }
            }
        }
    }
}

/// A burst of deeds on each arbiter's own thread; returns when all are done.
async fn trouble(random: &mut Rng, soak: &Arc<Soak>) -> u64 {
    let root = tree(&soak.root);
    let mut targets = Vec::new();
    walk(&root, &mut |node| {
        targets.extend(node.children.iter().filter_map(|child| {
            let path = child.path.to_string();
            let id = path.rsplit('/').next().unwrap_or_default().to_owned();
            Some((child.state.pid()?, node.state.pid(), id))
        }));
    });
    if targets.is_empty() {
        return 0;
    }
    let targets = Arc::new(targets);
    let mut done = Vec::new();
    let mut deeds = 0;
    for arbiter in soak.pool.arbiters() {
        let (sender, receiver) = oneshot::channel();
        let (soak, targets) = (Arc::clone(soak), Arc::clone(&targets));
        let mut random = random.fork();
        let count = random.usize(1..=DEEDS_MAX);
        deeds += count as u64;
        arbiter.spawn_fn(move || {
            for _ in 0..count {
                deed(&mut random, &soak, &targets);
            }
            sender.send(()).expect("it is waited for");
        });
        done.push(receiver);
    }
    for done in done {
        done.await.expect("the arbiter runs");
    }
    deeds
}

// ---- rest

/// What must stand still before a tree is at rest.
fn pulse(soak: &Soak) -> (usize, usize, bool) {
    let root = tree(&soak.root);
    let mut is_busy = false;
    let mut places = 0;
    walk(&root, &mut |node| {
        places += 1;
        is_busy |= node.mailbox_len.is_some_and(|waiting| waiting > 0);
        is_busy |= !matches!(node.state, ChildState::Running(_) | ChildState::Stopped);
        is_busy |= node.state.pid().is_some_and(|pid| !is_alive(pid));
    });
    let ledger = soak.ledger.lock();
    is_busy |= ledger
        .iter()
        .any(|(pid, downs)| (*downs == 0) != is_alive(*pid));
    (ledger.len(), places, is_busy)
}

/// Waits until every supervisor has answered in turn and nothing has moved meanwhile, twice.
async fn rest(soak: &Soak) {
    let begin = Instant::now();
    let (mut last, mut still) = (None, 0);
    while still < 2 {
        if begin.elapsed() > REST_LIMIT {
            let strays = strays(soak);
            panic!("no rest; not listed: {strays:?}\n{}", tree(&soak.root));
        }
        let mut supervisors = Vec::new();
        walk(&tree(&soak.root), &mut |node| {
            supervisors.extend(node.state.pid().and_then(ActorRef::<Supervisor>::of));
        });
        for supervisor in supervisors {
            let _ = supervisor.send(CountChildren::settled()).await;
        }
        // A worker that takes its time to stop, stops; a Down on its way arrives.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let (begun, places, is_busy) = pulse(soak);
        let pulse = (begun, places);
        // The children of a killed supervisor may take their time to stop, but not for ever.
        let is_busy = is_busy || !strays(soak).is_empty();
        still = if !is_busy && last == Some(pulse) {
            still + 1
        } else {
            0
        };
        last = Some(pulse);
    }
}

/// Processes that live and are listed by nobody.
fn strays(soak: &Soak) -> Vec<Pid> {
    let mut listed = Vec::new();
    walk(&tree(&soak.root), &mut |node| {
        listed.extend(node.state.pid())
    });
    let ledger = soak.ledger.lock();
    let living = ledger.keys().filter(|pid| is_alive(**pid));
    living
        .filter(|pid| !listed.contains(pid))
        .copied()
        .collect()
}

/// The invariants of a tree at rest.
fn check(soak: &Soak, plans: &[Plan]) {
    assert_eq!(strays(soak), [], "nobody is an orphan");
    for (pid, downs) in &*soak.ledger.lock() {
        assert_eq!(
            *downs,
            u32::from(!is_alive(*pid)),
            "ends of {pid} that were told"
        );
    }
    check_shape(&tree(&soak.root), plans);
}

fn check_shape(node: &Node, plans: &[Plan]) {
    let ids: Vec<_> = node
        .children
        .iter()
        .map(|child| {
            child
                .path
                .to_string()
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    let wanted: Vec<_> = plans
        .iter()
        .filter(|plan| plan.restart != Restart::Temporary || ids.contains(&plan.id))
        .map(|plan| plan.id.clone())
        .collect();
    assert_eq!(ids, wanted, "children of {} in start order", node.path);
    for child in &node.children {
        let plan = plans
            .iter()
            .find(|plan| child.path.to_string().ends_with(&format!("/{}", plan.id)));
        let plan = plan.expect("it was in the list");
        match (&child.state, &plan.kind) {
            (ChildState::Stopped, _) => {
                assert!(child.children.is_empty());
            }
            (ChildState::Running(_), Kind::Supervisor(_, plans)) => check_shape(child, plans),
            (ChildState::Running(pid), Kind::Worker { .. }) => {
                assert!(
                    ActorRef::<Leaf>::of(*pid).is_some(),
                    "{} is a leaf",
                    child.path
                );
            }
            (ChildState::Running(pid), Kind::Dynamic(_)) => {
                assert!(ActorRef::<DynamicSupervisor>::of(*pid).is_some());
            }
            (state, _) => panic!("{} is {}", child.path, state.name()),
        }
    }
}

/// What has stopped is started again, so that there is something to trouble.
async fn mend(soak: &Soak) {
    let mut stopped = Vec::new();
    walk(&tree(&soak.root), &mut |node| {
        for child in &node.children {
            if child.state == ChildState::Stopped {
                let path = child.path.to_string();
                let id = path.rsplit('/').next().unwrap_or_default().to_owned();
                stopped.push((node.state.pid(), id));
            }
        }
    });
    for (parent, id) in stopped {
        if let Some(parent) = parent.and_then(ActorRef::<Supervisor>::of) {
            let _ = parent.send(RestartChild(id.as_str().into())).await;
        }
    }
}

// ---- the soak

#[derive(Default)]
struct Figures {
    trees: u64,
    pauses: u64,
    deeds: u64,
    starts: u64,
    exits: u64,
    restarts: u64,
    gave_up: u64,
    missed: u64,
    longest_rest: Duration,
}

impl Figures {
    /// Counts what the event log has of this tree; the log is shared with other tests.
    fn count_events(&mut self, soak: &Soak, since: &AtomicU64) {
        let events = events_since(since.load(Ordering::Relaxed));
        self.missed += events.missed;
        let below = format!("{}/", soak.root);
        for event in events.events {
            since.store(event.seq, Ordering::Relaxed);
            let is_ours = event
                .path
                .as_ref()
                .is_some_and(|path| path.to_string().starts_with(&below));
            match event.kind {
                EventKind::Restart if is_ours => self.restarts += 1,
                EventKind::GaveUp if is_ours => self.gave_up += 1,
                _ => {}
            }
        }
    }
}

async fn one_tree(random: &mut Rng, until: Instant, pool: &ArbiterPool, figures: &mut Figures) {
    let shared = Arc::default();
    let census = spawn(Census(Arc::clone(&shared)));
    let soak = Arc::new(Soak {
        pool: pool.clone(),
        root: unique("soak"),
        ledger: Mutex::default(),
        census: census.clone(),
    });
    *shared.lock() = Some(Arc::clone(&soak));
    let since = AtomicU64::new(crate::sup_support::now());

    let plans = plans(random, 1);
    let specs = || plans.iter().map(|plan| soak.spec(plan)).collect::<Vec<_>>();
    let flags = flags(random, u32::MAX);
    let root = loop {
        // A start that fails by chance is not the root's to mend.
        if let Ok(root) = Supervisor::start(&soak.root, flags, specs()).await {
            break root;
        }
    };
    figures.trees += 1;
    for _ in 0..ROUNDS_PER_TREE {
        if Instant::now() >= until {
            break;
        }
        figures.deeds += trouble(random, &soak).await;
        let begin = Instant::now();
        rest(&soak).await;
        figures.longest_rest = figures.longest_rest.max(begin.elapsed());
        check(&soak, &plans);
        figures.pauses += 1;
        figures.count_events(&soak, &since);
        mend(&soak).await;
    }

    let end = exited(root.pid());
    exit(root.pid(), ExitReason::SHUTDOWN);
    assert_eq!(end.await, ExitReason::SHUTDOWN);
    // Nothing is left: no process, no name, no end untold.
    let begin = Instant::now();
    let is_over = || {
        soak.ledger
            .lock()
            .iter()
            .all(|(pid, downs)| *downs == 1 && !is_alive(*pid))
    };
    while !is_over() {
        assert!(begin.elapsed() < REST_LIMIT, "{:?}", soak.ledger.lock());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let prefix = format!("{}-", soak.root);
    let left = registered()
        .into_iter()
        .filter(|name| name.starts_with(&prefix));
    assert_eq!(left.count(), 0, "names are free");
    let ledger = soak.ledger.lock();
    figures.starts += ledger.len() as u64;
    figures.exits += ledger.values().map(|downs| u64::from(*downs)).sum::<u64>();
    drop(ledger);
    kill(census.pid());
    shared.lock().take();
}

#[test]
fn random_trees_stay_whole_in_random_trouble() {
    let number = |variable: &str| env::var(variable).ok().and_then(|value| value.parse().ok());
    let seconds = number("BYRON_SOAK_SECONDS");
    let mut random = Rng::with_seed(number("BYRON_SOAK_SEED").unwrap_or(1));
    let begin = Instant::now();
    let until = begin + Duration::from_secs(seconds.unwrap_or(SECONDS));
    let mut figures = Figures::default();
    System::new().block_on(async {
        let arbiters: Vec<_> = (0..ARBITERS).map(|_| Arbiter::new()).collect();
        let pool = ArbiterPool::new(arbiters.iter().map(Arbiter::handle));
        while Instant::now() < until {
            one_tree(&mut random, until, &pool, &mut figures).await;
        }
    });
    assert!(figures.pauses > 0 && figures.starts == figures.exits);
    if seconds.is_some() {
        let spent = begin.elapsed().as_secs_f64();
        report(&format!(
            "{spent:.0} s: {} trees, {} pauses (longest {:?}), {} deeds, {} worker starts = {} ends ({:.0}/s), \
             {} restarts, {} give-ups, {} events missed",
            figures.trees,
            figures.pauses,
            figures.longest_rest,
            figures.deeds,
            figures.starts,
            figures.exits,
            figures.exits as f64 / spent,
            figures.restarts,
            figures.gave_up,
            figures.missed,
        ));
    }
}

#[expect(
    clippy::print_stderr,
    reason = "asked for by the person who set the variable"
)]
fn report(line: &str) {
    eprintln!("{line}");
}
