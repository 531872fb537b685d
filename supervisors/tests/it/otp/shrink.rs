//! Makes a disagreement small: the smallest scenario, found by leaving things out, on which two sides still differ.

use super::{
    compare,
    runner::Trace,
    scenario::{
        AutoShutdown, Call, Child, Direct, New, Op, Out, Outcome, Reason, Restart, Scenario,
        Shutdown, Supervisor, Worker,
    },
    sides::Side,
    valid::{self, PATIENT_MS_MIN, PERIOD_LONG},
};

/// Each round makes the scenario smaller or simpler by one step.
const ROUNDS_MAX: usize = 200;

/// What a person wants to see of a disagreement.
pub(super) struct Smallest {
    pub(super) scenario: Scenario,
    pub(super) byron: Trace,
    pub(super) otp: Trace,
}

impl Smallest {
    pub(super) fn report(&self) -> String {
        format!(
            "the smallest scenario ({}):\n{}\n\n{}",
            self.scenario.profile,
            self.scenario.to_line(),
            compare::side_by_side(&self.byron, &self.otp)
        )
    }
}

/// Shrinks a scenario on which the sides are known to differ. Each round runs every smaller scenario on both sides in
/// one batch and goes on with the first that still differs.
pub(super) fn shrink(scenario: &Scenario, byron: &Side, otp: &Side) -> Smallest {
    let mut smallest = disagreements(std::slice::from_ref(scenario), byron, otp)
        .pop()
        .unwrap_or_else(|| panic!("the sides differ on {} only sometimes", scenario.to_line()));
    for _ in 0..ROUNDS_MAX {
        let mut smaller = steps(&smallest.scenario);
        smaller.retain(|candidate| valid::valid(candidate).is_ok());
        for (seed, candidate) in (0..).zip(&mut smaller) {
            candidate.seed = seed;
        }
        match disagreements(&smaller, byron, otp).into_iter().next() {
            Some(next) => smallest = next,
            None => break,
        }
    }
    smallest
}

/// The scenarios on which the sides differ, in the given order. A side that does not finish its batch (one more reason
/// to disagree, but not this one) disagrees on nothing.
pub(super) fn disagreements(scenarios: &[Scenario], byron: &Side, otp: &Side) -> Vec<Smallest> {
    let (Ok(ours), Ok(theirs)) = (byron.run(scenarios), otp.run(scenarios)) else {
        return Vec::new();
    };
    let pairs = ours.into_iter().zip(theirs);
    let differing = scenarios
        .iter()
        .zip(pairs)
        .filter(|(_, (our, their))| compare::difference(our, their).is_some());
    differing
        .map(|(scenario, (byron, otp))| Smallest {
            scenario: scenario.clone(),
            byron,
            otp,
        })
        .collect()
}

/// Every scenario that is one step smaller, the big steps first.
fn steps(scenario: &Scenario) -> Vec<Scenario> {
    let mut steps = Vec::new();
    let mut with = |change: &mut dyn FnMut(&mut Scenario)| {
        let mut smaller = scenario.clone();
        change(&mut smaller);
        if smaller != *scenario {
            steps.push(smaller);
        }
    };
    let ops = scenario.ops.len();
    if ops > 2 {
        with(&mut |it| it.ops.truncate(ops / 2));
        with(&mut |it| drop(it.ops.drain(..ops / 2)));
    }
    for index in (0..ops).rev() {
        with(&mut |it| drop(it.ops.remove(index)));
    }
    for (nth, children) in counts(scenario, each_supervisor, |it| it.children.len()) {
        for index in 0..children {
            with(&mut |it| {
                at(nth, it, each_supervisor, |it| {
                    drop(it.children.remove(index))
                });
            });
        }
        for change in SUPERVISOR_STEPS {
            with(&mut |it| at(nth, it, each_supervisor, change));
        }
    }
    for (nth, _) in counts(scenario, each_child, |_| 0) {
        for change in CHILD_STEPS {
            with(&mut |it| at(nth, it, each_child, change));
        }
    }
    for (nth, outcomes) in counts(scenario, each_init, Vec::len) {
        for index in 0..outcomes {
            if outcomes > 1 {
                with(&mut |it| at(nth, it, each_init, |init| drop(init.remove(index))));
            }
            with(&mut |it| {
                at(nth, it, each_init, |init| {
                    init[index] = Outcome::Plain(init[index].out());
                });
            });
            with(&mut |it| {
                at(nth, it, each_init, |init| {
                    init[index] = Outcome::Plain(Out::Ok);
                });
            });
        }
    }
    for index in 0..ops {
        with(&mut |it| {
            if let Op::Direct(Direct::Exit { reason, .. }) = &mut it.ops[index] {
                *reason = match reason {
                    Reason::Normal | Reason::Shutdown | Reason::ShutdownTerm => Reason::Normal,
                    Reason::Crash | Reason::Kill => Reason::Crash,
                };
            }
        });
    }
    steps
}

const SUPERVISOR_STEPS: [fn(&mut Supervisor); 4] = [
    |it| it.auto_shutdown = AutoShutdown::Never,
    |it| it.period = PERIOD_LONG,
    |it| it.intensity = 0,
    |it| it.intensity = it.intensity.saturating_sub(1),
];

const CHILD_STEPS: [fn(&mut Child); 5] = [
    |it| match it {
        Child::Worker(worker) => worker.significant = false,
        Child::Supervisor(nested) => nested.significant = false,
    },
    |it| match it {
        Child::Worker(worker) => worker.restart = Restart::Permanent,
        Child::Supervisor(nested) => nested.restart = Restart::Permanent,
    },
    |it| on_worker(it, |worker| worker.on_stop_kill = None),
    |it| {
        on_worker(it, |worker| {
            worker.stubborn = false;
            worker.shutdown = Shutdown::Milliseconds(PATIENT_MS_MIN);
        });
    },
    |it| on_worker(it, |worker| worker.trap_exit = true),
];

fn on_worker(child: &mut Child, change: impl FnOnce(&mut Worker)) {
    if let Child::Worker(worker) = child {
        change(worker);
    }
}

/// A walk over all parts of one kind, always in the same order.
type Walk<T> = fn(&mut Scenario, &mut dyn FnMut(&mut T));

/// The index of each part, with some number about it.
fn counts<T>(scenario: &Scenario, walk: Walk<T>, number: fn(&T) -> usize) -> Vec<(usize, usize)> {
    let mut numbers = Vec::new();
    walk(&mut scenario.clone(), &mut |part| {
        numbers.push(number(part))
    });
    numbers.into_iter().enumerate().collect()
}

/// Changes one part.
fn at<T>(nth: usize, scenario: &mut Scenario, walk: Walk<T>, change: impl Fn(&mut T)) {
    let mut index = 0;
    walk(scenario, &mut |part| {
        if index == nth {
            change(part);
        }
        index += 1;
    });
}

fn each_supervisor(scenario: &mut Scenario, visit: &mut dyn FnMut(&mut Supervisor)) {
    fn below(supervisor: &mut Supervisor, visit: &mut dyn FnMut(&mut Supervisor)) {
        visit(supervisor);
        for child in &mut supervisor.children {
            if let Child::Supervisor(nested) = child {
                below(&mut nested.supervisor, visit);
            }
        }
    }
    below(&mut scenario.tree, visit);
    for new in each_new(scenario) {
        if let New::Child(child) = new
            && let Child::Supervisor(nested) = &mut **child
        {
            below(&mut nested.supervisor, visit);
        }
    }
}

fn each_child(scenario: &mut Scenario, visit: &mut dyn FnMut(&mut Child)) {
    each_supervisor(scenario, &mut |supervisor| {
        supervisor.children.iter_mut().for_each(&mut *visit)
    });
    for new in each_new(scenario) {
        if let New::Child(child) = new {
            visit(child);
        }
    }
}

fn each_init(scenario: &mut Scenario, visit: &mut dyn FnMut(&mut Vec<Outcome>)) {
    each_child(scenario, &mut |child| {
        on_worker(child, |worker| visit(&mut worker.init))
    });
    for new in each_new(scenario) {
        if let New::Args { init, .. } = new {
            visit(init);
        }
    }
}

fn each_new(scenario: &mut Scenario) -> impl Iterator<Item = &mut New> {
    scenario.ops.iter_mut().filter_map(|op| match op {
        Op::Api {
            call: Call::StartChild { new },
            ..
        } => Some(new),
        _ => None,
    })
}
