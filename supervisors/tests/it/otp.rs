//! The proof: random and named scenarios run on byron's supervisors and on Erlang/OTP's own, and the traces agree.
//!
//! Both sides are child processes with one protocol: a scenario per line in, a trace out. OTP's side is
//! `otp/oracle.erl`, compiled here by Debian's `erlc`; byron's is the example `scenario`. Without Erlang these
//! tests fail: a proof that skips itself proves nothing.
//!
//! `BYRON_OTP_SCENARIOS` and `BYRON_OTP_SEED` choose how many random scenarios and the first seed.

mod compare;
mod generate;
mod runner;
mod scenario;
mod sides;
mod valid;

use std::env;

use self::{compare::difference, scenario::Scenario, sides::Side};

const SCENARIOS: u64 = 2_000;
const SCENARIOS_TWICE: u64 = 300;

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

#[test]
fn the_oracle_is_deterministic() {
    let scenarios = random_scenarios(SCENARIOS_TWICE);
    let once = sides::traces(&Side::otp(), &scenarios);
    let again = sides::traces(&Side::otp(), &scenarios);
    for (scenario, (once, again)) in scenarios.iter().zip(once.iter().zip(&again)) {
        assert_eq!(
            difference(once, again),
            None,
            "OTP differs from itself:\n{}\n{}",
            scenario.to_line(),
            compare::side_by_side(once, again)
        );
    }
}
