//! Scenarios by hand, one for each rule of OTP's supervisor; the name is the rule.

mod calls;
mod dynamic;
mod exits;
mod queued;
mod restarts;
mod starts;
mod stops;

use super::scenario::Scenario;

/// All of them; the seed is the index.
pub(super) fn all() -> Vec<Scenario> {
    let groups = [
        starts::facts(),
        exits::facts(),
        restarts::facts(),
        stops::facts(),
        calls::facts(),
        dynamic::facts(),
        queued::facts(),
    ];
    let mut facts: Vec<Scenario> = groups.into_iter().flatten().collect();
    for (seed, fact) in (0..).zip(&mut facts) {
        fact.seed = seed;
    }
    facts
}

#[test]
fn every_name_is_a_valid_scenario_of_its_own() {
    let mut names: Vec<String> = all().into_iter().map(|fact| fact.profile).collect();
    for fact in all() {
        if let Err(why) = super::valid::valid(&fact) {
            panic!("{}: {why}", fact.profile);
        }
    }
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "two scenarios have one name");
}
