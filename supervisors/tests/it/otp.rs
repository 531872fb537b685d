//! The proof: random and named scenarios run on byron's supervisors and on Erlang/OTP's own, and the traces agree.
//!
//! Both sides are child processes with one protocol: a scenario per line in, a trace out. OTP's side is
//! `otp/oracle.erl`, compiled here by Debian's `erlc`; byron's is the example `scenario`. Without Erlang these
//! tests fail: a proof that skips itself proves nothing.
//!
//! `BYRON_OTP_SCENARIOS` and `BYRON_OTP_SEED` choose how many random scenarios and the first seed.

mod build;
mod compare;
mod generate;
mod named;
mod runner;
mod scenario;
mod shrink;
mod sides;
mod valid;

use std::{env, panic::resume_unwind, thread};

use serde_json::Value;

use self::{compare::difference, runner::Trace, scenario::Scenario, sides::Side};

const SCENARIOS: u64 = 2_000;
const SCENARIOS_TWICE: u64 = 300;
const SCENARIOS_WRONG: u64 = 60;
/// How many disagreeing scenarios a report lists by name.
const NAMES_MAX: usize = 20;

fn random_scenarios(count_default: u64) -> Vec<Scenario> {
    let first = number("BYRON_OTP_SEED", 1);
    let count = number("BYRON_OTP_SCENARIOS", count_default);
    (first..first + count).map(generate::generate).collect()
}

fn number(variable: &str, default: u64) -> u64 {
    match env::var(variable) {
        Ok(value) => value
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={value} is no number")),
        Err(_) => default,
    }
}

/// Runs both sides and compares; a disagreement is reported as the smallest scenario that shows it.
fn agree(byron: &Side, otp: &Side, scenarios: &[Scenario]) -> Result<(), String> {
    let (ours, theirs) = thread::scope(|scope| {
        let ours = scope.spawn(|| sides::traces(byron, scenarios));
        let theirs = sides::traces(otp, scenarios);
        (
            ours.join().unwrap_or_else(|panic| resume_unwind(panic)),
            theirs,
        )
    });
    let differ = |&index: &usize| difference(&ours[index], &theirs[index]).is_some();
    let differing: Vec<usize> = (0..scenarios.len()).filter(differ).collect();
    // The one with the fewest operations is the quickest to shrink.
    let Some(first) = differing
        .iter()
        .min_by_key(|&&index| scenarios[index].ops.len())
    else {
        return Ok(());
    };
    let names: Vec<String> = differing
        .iter()
        .take(NAMES_MAX)
        .map(|&index| name(&scenarios[index]))
        .collect();
    let smallest = shrink::shrink(&scenarios[*first], byron, otp);
    Err(format!(
        "{} of {} scenarios disagree with OTP: {}\n\nfrom {}, {}",
        differing.len(),
        scenarios.len(),
        names.join(", "),
        name(&scenarios[*first]),
        smallest.report()
    ))
}

fn name(scenario: &Scenario) -> String {
    format!("{} {}", scenario.seed, scenario.profile)
        .trim_end()
        .to_owned()
}

#[test]
fn every_named_scenario_agrees_with_otp() {
    if let Err(report) = agree(&Side::byron(), &Side::otp(), &named::all()) {
        panic!("{report}");
    }
}

#[test]
fn two_thousand_random_scenarios_agree_with_otp() {
    if let Err(report) = agree(&Side::byron(), &Side::otp(), &random_scenarios(SCENARIOS)) {
        panic!("{report}");
    }
}

#[test]
fn the_oracle_is_deterministic() {
    let mut scenarios = named::all();
    scenarios.extend(random_scenarios(SCENARIOS_TWICE));
    if let Err(report) = agree(&Side::otp(), &Side::otp(), &scenarios) {
        panic!("OTP differs from itself: {report}");
    }
}

/// What makes the proof a proof: a side that is wrong in one rule is found, and the report is small.
#[test]
fn a_wrong_order_of_stops_is_found_and_shrunk() {
    let wrong = Side::new(|scenarios| {
        let mut traces = Side::otp().run(scenarios)?;
        traces.iter_mut().for_each(swap_first_stops);
        Ok(traces)
    });
    let mut scenarios = random_scenarios(SCENARIOS_WRONG);
    // Each round of the shrinker would sleep.
    scenarios.retain(|scenario| !scenario.profile.contains("sleep"));
    let report = agree(&wrong, &Side::otp(), &scenarios)
        .expect_err("one of these scenarios stops two workers");
    let smallest = report
        .lines()
        .find(|line| line.starts_with('{'))
        .expect("the report shows the scenario");
    let smallest: Value = serde_json::from_str(smallest).expect("a scenario is JSON");
    let children = smallest["tree"]["children"]
        .as_array()
        .expect("a tree has children");
    let ops = smallest["ops"]
        .as_array()
        .expect("a scenario has operations");
    assert!(children.len() <= 3 && ops.len() <= 2, "{report}");
    assert!(report.contains(">byron  events"), "{report}");
}

/// Two stop events in a row change places.
fn swap_first_stops(trace: &mut Trace) {
    for line in trace {
        let events = line["events"]
            .as_array_mut()
            .expect("a trace line has events");
        let stops = |events: &[Value]| events.iter().all(|event| event[0] == "stop");
        if let Some(at) = events.windows(2).position(stops) {
            events.swap(at, at + 1);
            return;
        }
    }
}
