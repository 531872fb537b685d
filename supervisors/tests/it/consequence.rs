//! What is announced is what happens: random trees in random states, a deed, and the comparison of both.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use actix::prelude::*;
use byron_supervisors::{
    Action, ActorRef, AutoShutdown, Backoff, Budget, ChildSpec, ChildState, Consequence, Context,
    DynamicFlags, DynamicSupervisor, Event, EventDetails, EventKind, Node, Operator, Path, Refusal,
    Restart, StartDynamicChild, Strategy, SupFlags, Supervisor, consequence, operate, snapshot,
};
use proptest::prelude::{Just, Strategy as _, any, prop_oneof, proptest};
use proptest::sample::Index;
use proptest::strategy::BoxedStrategy;
use proptest::test_runner::Config;

use crate::sup_support::{MILLI, events_of, now, paused, unique};

struct Leaf;

impl Actor for Leaf {
    type Context = Context<Self>;
}

// ---- a tree, as a value

/// One place of a tree that is to be.
#[derive(Debug, Clone)]
struct Plan {
    restart: Restart,
    is_significant: bool,
    /// Its first delay in milliseconds, and how many failures in a row are too many.
    backoff: Option<(u64, Option<u32>)>,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Worker,
    Supervisor(Flags, Vec<Plan>),
    /// What the children have in common, and of each whether it can be started only once.
    Dynamic(Flags, Box<Plan>, Vec<bool>),
}

#[derive(Debug, Clone, Copy)]
struct Flags {
    strategy: Strategy,
    intensity: u32,
    period: u64,
    auto_shutdown: AutoShutdown,
}

impl Flags {
    fn sup_flags(self) -> SupFlags {
        SupFlags {
            strategy: self.strategy,
            intensity: self.intensity,
            period: Duration::from_millis(self.period),
            auto_shutdown: self.auto_shutdown,
        }
    }
}

impl Plan {
    /// A permanent child cannot be significant, nor can any where nothing shuts down.
    fn is_significant(&self, above: Flags) -> bool {
        self.is_significant
            && self.restart != Restart::Permanent
            && above.auto_shutdown != AutoShutdown::Never
    }

    fn backoff(&self) -> Option<Backoff> {
        let (min, max_failures) = self.backoff?;
        Some(Backoff {
            jitter: 0.0,
            max_failures,
            reset_after: Duration::from_secs(4),
            ..Backoff::new(Duration::from_millis(min), Duration::from_secs(3))
        })
    }

    fn spec(&self, number: usize, above: Flags) -> ChildSpec {
        let id = format!("c{number}");
        let spec = match &self.kind {
            Kind::Worker => ChildSpec::new(id, |_| Leaf),
            Kind::Supervisor(flags, plans) => {
                let (flags, plans) = (*flags, plans.clone());
                ChildSpec::supervisor(id, flags.sup_flags(), move || specs(&plans, flags))
            }
            Kind::Dynamic(flags, template, _) => {
                let flags = DynamicFlags {
                    restart: template.restart,
                    significant: template.is_significant(*flags),
                    intensity: flags.intensity,
                    period: Duration::from_millis(flags.period),
                    auto_shutdown: flags.auto_shutdown,
                    backoff: template.backoff(),
                    ..DynamicFlags::new("reader")
                };
                ChildSpec::dynamic_supervisor(id, flags)
            }
        };
        let spec = spec
            .restart(self.restart)
            .significant(self.is_significant(above));
        match self.backoff() {
            Some(backoff) => spec.backoff(backoff),
            None => spec,
        }
    }
}

fn specs(plans: &[Plan], above: Flags) -> Vec<ChildSpec> {
    let plans = plans.iter().enumerate();
    plans
        .map(|(number, plan)| plan.spec(number, above))
        .collect()
}

/// Starts the children of the dynamic supervisors.
async fn populate(path: &Path, plan: &Plan) {
    match &plan.kind {
        Kind::Worker => {}
        Kind::Supervisor(_, plans) => {
            for (number, plan) in plans.iter().enumerate() {
                Box::pin(populate(&path.child(format!("c{number}")), plan)).await;
            }
        }
        Kind::Dynamic(_, _, children) => {
            let node = node(path).expect("it runs");
            let pid = node.state.pid().expect("it runs");
            let supervisor = ActorRef::<DynamicSupervisor>::of(pid).expect("a dynamic supervisor");
            for is_once in children {
                let start = match is_once {
                    true => StartDynamicChild::once(|_| Leaf),
                    false => StartDynamicChild::new(|_| Leaf),
                };
                supervisor
                    .send(start)
                    .await
                    .expect("it lives")
                    .expect("it starts");
            }
        }
    }
}

fn any_restart() -> impl proptest::strategy::Strategy<Value = Restart> {
    prop_oneof![
        3 => Just(Restart::Permanent),
        2 => Just(Restart::Transient),
        1 => Just(Restart::Temporary),
    ]
}

fn any_flags() -> impl proptest::strategy::Strategy<Value = Flags> {
    let strategy = prop_oneof![
        Just(Strategy::OneForOne),
        Just(Strategy::OneForAll),
        Just(Strategy::RestForOne),
    ];
    let auto_shutdown = prop_oneof![
        2 => Just(AutoShutdown::Never),
        1 => Just(AutoShutdown::AnySignificant),
        1 => Just(AutoShutdown::AllSignificant),
    ];
    (strategy, 0u32..4, 100u64..6_000, auto_shutdown).prop_map(
        |(strategy, intensity, period, auto_shutdown)| Flags {
            strategy,
            intensity,
            period,
            auto_shutdown,
        },
    )
}

fn plan_of(kind: BoxedStrategy<Kind>) -> BoxedStrategy<Plan> {
    let max_failures = prop_oneof![3 => Just(None), 1 => (0u32..3).prop_map(Some)];
    let backoff = prop_oneof![
        2 => Just(None),
        1 => (1u64..1_500, max_failures).prop_map(Some),
    ];
    (any_restart(), any::<bool>(), backoff, kind)
        .prop_map(|(restart, is_significant, backoff, kind)| Plan {
            restart,
            is_significant,
            backoff,
            kind,
        })
        .boxed()
}

fn any_plan(depth: u32) -> BoxedStrategy<Plan> {
    let worker = Just(Kind::Worker).boxed();
    let template = plan_of(worker.clone()).prop_map(Box::new);
    let children = proptest::collection::vec(proptest::bool::weighted(0.3), 0..4);
    let dynamic = (any_flags(), template, children)
        .prop_map(|(flags, template, children)| Kind::Dynamic(flags, template, children));
    let kind = if depth == 0 {
        prop_oneof![4 => worker, 1 => dynamic].boxed()
    } else {
        prop_oneof![3 => worker, 1 => dynamic, 3 => any_supervisor(depth - 1)].boxed()
    };
    plan_of(kind)
}

fn any_supervisor(depth: u32) -> BoxedStrategy<Kind> {
    let plans = proptest::collection::vec(any_plan(depth), 0..4);
    (any_flags(), plans)
        .prop_map(|(flags, plans)| Kind::Supervisor(flags, plans))
        .boxed()
}

/// What has happened to a tree before.
#[derive(Debug, Clone)]
enum Before {
    Deed(Action, Index),
    Pass(u64),
}

fn any_action() -> impl proptest::strategy::Strategy<Value = Action> {
    prop_oneof![
        4 => Just(Action::Kill),
        2 => Just(Action::Stop),
        1 => Just(Action::Start),
        2 => Just(Action::Restart),
    ]
}

fn any_before() -> impl proptest::strategy::Strategy<Value = Vec<Before>> {
    let one = prop_oneof![
        2 => (any_action(), any::<Index>()).prop_map(|(action, at)| Before::Deed(action, at)),
        1 => (1u64..5_000).prop_map(Before::Pass),
    ];
    proptest::collection::vec(one, 0..6)
}

// ---- looking at it

fn node(path: &Path) -> Option<Node> {
    fn find(node: Node, path: &Path) -> Option<Node> {
        if node.path == *path {
            return Some(node);
        }
        node.children.into_iter().find_map(|node| find(node, path))
    }
    snapshot().into_iter().find_map(|root| find(root, path))
}

/// Every place, and whether it is below a dynamic supervisor.
fn places(node: &Node, is_dynamic: bool, found: &mut Vec<(Node, bool)>) {
    found.push((node.clone(), is_dynamic));
    let supervisor = node.supervisor.as_ref();
    let is_dynamic = supervisor.is_some_and(|info| info.dynamic.is_some());
    for child in &node.children {
        places(child, is_dynamic, found);
    }
}

fn all_places(root: &Path) -> Vec<(Node, bool)> {
    let mut found = Vec::new();
    if let Some(root) = node(root) {
        places(&root, false, &mut found);
    }
    found
}

/// Lets everything that is ready run, as long as anything happens. The paused clock does not move meanwhile.
async fn quiet() {
    let mut last = 0;
    loop {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let latest = now();
        if latest == last {
            return;
        }
        last = latest;
    }
}

/// Lets time pass: the paused clock goes from one timer to the next.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
    quiet().await;
}

fn is_waiting(places: &[(Node, bool)]) -> bool {
    places
        .iter()
        .any(|(node, _)| matches!(node.state, ChildState::Restarting { .. }))
}

fn is_below(path: &Path, above: &Path) -> bool {
    let mut parent = path.parent();
    while let Some(path) = parent {
        if path == above {
            return true;
        }
        parent = path.parent();
    }
    false
}

// ---- what has happened

struct Happened {
    events: Vec<Event>,
    is_over: bool,
}

impl Happened {
    fn paths(&self, kind: EventKind) -> Vec<Path> {
        let events = self.events.iter().filter(|event| event.kind == kind);
        events.filter_map(|event| event.path.clone()).collect()
    }

    /// The supervisors that have ended by their own decision.
    fn gave_up(&self) -> Vec<Path> {
        let stops = self
            .events
            .iter()
            .filter(|event| event.kind == EventKind::Stop);
        let own = stops.filter(|stop| {
            let cause = self
                .events
                .iter()
                .find(|event| Some(event.seq) == stop.cause);
            cause.is_some_and(|cause| matches!(cause.kind, EventKind::GaveUp | EventKind::Exit))
        });
        own.filter_map(|stop| stop.path.clone()).collect()
    }

    /// The budgets that restarts were counted in, as each was after the last.
    fn budgets(&self) -> BTreeMap<String, Budget> {
        let budgets = self.events.iter().filter_map(|event| {
            let path = event.path.as_ref()?;
            match &event.details {
                EventDetails::Restart { budget, .. } => Some((path.parent()?.to_string(), *budget)),
                EventDetails::GaveUp { budget } => Some((path.to_string(), *budget)),
                _ => None,
            }
        });
        budgets.collect()
    }
}

fn set(paths: &[Path]) -> BTreeSet<String> {
    paths.iter().map(ToString::to_string).collect()
}

fn compare(told: &Consequence, before: &[(Node, bool)], happened: &Happened, root: &Path) {
    let is_dynamic = |path: &Path| {
        let place = before.iter().find(|(node, _)| node.path == *path);
        place.is_some_and(|(_, is_dynamic)| *is_dynamic)
    };
    let only_static = |paths: Vec<Path>| -> Vec<Path> {
        paths.into_iter().filter(|path| !is_dynamic(path)).collect()
    };
    assert!(told.is_certain, "nothing else is under way");
    assert_eq!(told.ends_tree, happened.is_over, "the tree is over");
    assert_eq!(told.gives_up, happened.gave_up(), "gives up");

    let (announced, ended) = (
        only_static(told.ends.clone()),
        only_static(happened.paths(EventKind::Exit)),
    );
    let target = before.iter().find(|(node, _)| node.path == told.path);
    let is_supervisor = target.is_some_and(|(node, _)| node.supervisor.is_some());
    if told.action == Action::Kill && is_supervisor {
        // Whom a killed supervisor takes with it hears of it at the same time.
        assert_eq!(set(&announced), set(&ended), "ends");
        assert_eq!(announced.len(), ended.len(), "each ends once");
    } else {
        assert_eq!(announced, ended, "ends, in this order");
    }

    let is_known = |path: &Path| !told.unknown_below.iter().any(|above| is_below(path, above));
    let announced = only_static(told.starts.clone());
    let started: Vec<_> = only_static(happened.paths(EventKind::Started));
    let started: Vec<_> = started.into_iter().filter(is_known).collect();
    assert_eq!(announced, started, "starts, in this order");

    let budgets = told.budgets.iter();
    let budgets: BTreeMap<_, _> = budgets
        .map(|(path, budget)| (path.to_string(), *budget))
        .collect();
    assert_eq!(budgets, happened.budgets(), "budgets");

    let after = all_places(root);
    let state = |path: &Path| {
        let place = after.iter().find(|(node, _)| node.path == *path);
        place.map(|(node, _)| node.state.name())
    };
    for (node, is_dynamic) in before {
        let path = &node.path;
        let is_gone_above = told
            .ends
            .iter()
            .any(|above| is_below(path, above) && !told.starts.contains(above));
        let starts = told.starts.contains(path);
        let wanted = if told.ends_tree || is_gone_above || told.forgets.contains(path) {
            None
        } else if starts {
            Some("RUNNING")
        } else if told.ends.iter().any(|above| is_below(path, above)) {
            // Its supervisor runs again, and does not know it.
            None
        } else if told.stops.contains(path) || told.ends.contains(path) {
            Some("STOPPED")
        } else {
            Some(node.state.name())
        };
        if is_known(path) {
            assert_eq!(
                state(path),
                wanted,
                "{path} afterwards, dynamic: {is_dynamic}"
            );
        }
    }
    for drops in &told.drops {
        let count = |places: &[(Node, bool)]| {
            let children = places.iter().filter(|(node, _)| {
                node.path.parent() == Some(&drops.supervisor) && node.state.pid().is_some()
            });
            children.count()
        };
        let left = if told.ends.contains(&drops.supervisor) {
            0
        } else {
            count(&after)
        };
        assert_eq!(
            drops.count,
            count(before) - left,
            "drops of {}",
            drops.supervisor
        );
    }
}

fn operator() -> Operator {
    Operator {
        uid: Some(1000),
        pid: None,
        via: "test".to_owned(),
    }
}

fn refusal(
    outcome: Result<byron_supervisors::Operated, byron_supervisors::OperateError>,
) -> Option<Refusal> {
    outcome.err().map(|error| error.refusal)
}

/// Builds a tree, brings it into some state, does something to one place, and compares. False if the tree did not
/// live to see it.
async fn announce_and_see(plan: &Plan, before: &[Before], action: Action, at: Index) -> bool {
    let Kind::Supervisor(flags, plans) = &plan.kind else {
        unreachable!("a tree has a supervisor for its root");
    };
    let name = unique("root");
    let started = Supervisor::start(&name, flags.sup_flags(), specs(plans, *flags)).await;
    let root = started.expect("every child starts");
    let path = Path::root(name.as_str());
    populate(&path, plan).await;
    quiet().await;
    for step in before {
        let places = all_places(&path);
        if places.is_empty() {
            return false;
        }
        match step {
            Before::Pass(millis) => pass(Duration::from_millis(*millis)).await,
            Before::Deed(action, at) => {
                // The root lives.
                if places.len() > 1 {
                    let place = &places[1 + at.index(places.len() - 1)].0;
                    let _ = operate(*action, &place.path, &operator()).await;
                    quiet().await;
                }
            }
        }
    }
    while is_waiting(&all_places(&path)) {
        pass(Duration::from_millis(500)).await;
    }
    let places = all_places(&path);
    if places.is_empty() {
        return false;
    }

    let place = &places[at.index(places.len())].0;
    let told = consequence(action, &place.path, &snapshot());
    let since = now();
    let done = operate(action, &place.path, &operator()).await;
    quiet().await;
    match told {
        Err(wanted) => assert_eq!(refusal(done), Some(wanted), "refused"),
        Ok(told) => {
            assert_eq!(refusal(done), None, "{told} was not done");
            if let Some((_, most)) = told.delay {
                // A timer is late by up to a millisecond, at each level.
                pass(most + MILLI * 5).await;
            }
            let events = events_of(&name, since);
            let is_over = !root.is_alive();
            compare(&told, &places, &Happened { events, is_over }, &path);
        }
    }
    byron_supervisors::kill(root.pid());
    quiet().await;
    true
}

proptest! {
    // More if `PROPTEST_CASES` says so.
    #![proptest_config(Config {
        cases: Config::default().cases.max(300),
        failure_persistence: None,
        ..Config::default()
    })]

    #[test]
    fn what_is_announced_is_what_happens(
        plan in plan_of(any_supervisor(2)),
        before in any_before(),
        action in any_action(),
        at in any::<Index>(),
    ) {
        paused(async {
            announce_and_see(&plan, &before, action, at).await;
        });
    }
}
