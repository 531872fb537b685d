//! The report of a rehearsal: as lines for a person, and as JSON. Pure.
//!
//! The JSON has `v`, the version of its form; keys may be added to a version, none is removed or changes its meaning.

use std::ffi::OsString;

use byron_supervisors::chaos::{BudgetUse, ChaosReport, RuleReport, Struck};
use serde::Serialize;

use super::json::{Seconds, VERSION, line};

/// What a rehearsal came to for those whom the program serves, beside what it did to actors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A server's readers.
    Served {
        /// Who got the whole of it.
        readers_served: u64,
        /// Who was cut off.
        readers_reset: u64,
    },
    /// A client's poems.
    Got {
        /// Whole.
        poems: u64,
        /// Not whole, in the end.
        poems_lost: u64,
    },
    /// Nobody can tell: the output has failed.
    Unknown,
}

/// The report for a person; `again` is the command that rehearses the same once more.
pub fn report_text(report: &ChaosReport, outcome: Outcome, again: &str) -> String {
    let outcome = match outcome {
        Outcome::Served {
            readers_served,
            readers_reset,
        } => format!("\n  readers served whole: {readers_served}, cut off: {readers_reset}"),
        Outcome::Got { poems, poems_lost } => {
            format!("\n  poems whole: {poems}, lost: {poems_lost}")
        }
        Outcome::Unknown => String::new(),
    };
    format!("{report}{outcome}\n  again: {again}")
}

/// The report for programs, one line.
pub fn report_json(
    report: &ChaosReport,
    outcome: Outcome,
    again: &str,
) -> serde_json::Result<String> {
    line(&Report {
        v: VERSION,
        chaos: &report.rules_text,
        seed: report.seed,
        again,
        outcome: outcome.into(),
        rules: report.rules.iter().map(Rule::from).collect(),
        budgets: report.budgets.iter().map(Budget::from).collect(),
        struck: report.struck.iter().map(Fate::from).collect(),
    })
}

#[derive(Serialize)]
struct Report<'a> {
    v: u8,
    chaos: &'a str,
    seed: u64,
    again: &'a str,
    outcome: Came,
    rules: Vec<Rule<'a>>,
    budgets: Vec<Budget<'a>>,
    struck: Vec<Fate<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Came {
    Served {
        readers_served: u64,
        readers_reset: u64,
    },
    Got {
        poems: u64,
        poems_lost: u64,
    },
    Unknown,
}

impl From<Outcome> for Came {
    fn from(outcome: Outcome) -> Came {
        match outcome {
            Outcome::Served {
                readers_served,
                readers_reset,
            } => Came::Served {
                readers_served,
                readers_reset,
            },
            Outcome::Got { poems, poems_lost } => Came::Got { poems, poems_lost },
            Outcome::Unknown => Came::Unknown,
        }
    }
}

#[derive(Serialize)]
struct Rule<'a> {
    rule: &'a str,
    struck: u64,
    recovered: u64,
    for_good: u64,
    still_down: u64,
    recovery_s: Option<Times>,
}

#[derive(Serialize)]
struct Times {
    min: Seconds,
    median: Seconds,
    max: Seconds,
}

impl<'a> From<&'a RuleReport> for Rule<'a> {
    fn from(report: &'a RuleReport) -> Rule<'a> {
        Rule {
            rule: &report.rule,
            struck: report.struck,
            recovered: report.recovered,
            for_good: report.for_good,
            still_down: report.still_down(),
            recovery_s: report.recovery.map(|times| Times {
                min: Seconds(times.min),
                median: Seconds(times.median),
                max: Seconds(times.max),
            }),
        }
    }
}

#[derive(Serialize)]
struct Budget<'a> {
    supervisor: &'a str,
    used_max: usize,
    intensity: u32,
    period_s: Seconds,
    gave_up: u64,
}

impl<'a> From<&'a BudgetUse> for Budget<'a> {
    fn from(budget: &'a BudgetUse) -> Budget<'a> {
        Budget {
            supervisor: &budget.supervisor,
            used_max: budget.used_max,
            intensity: budget.intensity,
            period_s: Seconds(budget.period),
            gave_up: budget.gave_up,
        }
    }
}

#[derive(Serialize)]
struct Fate<'a> {
    place: &'a str,
    number: u64,
    life: u32,
    turn: u32,
    fault: &'a str,
}

impl<'a> From<&'a Struck> for Fate<'a> {
    fn from(struck: &'a Struck) -> Fate<'a> {
        Fate {
            place: &struck.place,
            number: struck.number,
            life: struck.life,
            turn: struck.turn,
            fault: &struck.fault,
        }
    }
}

/// The command that was given, with its seed if chance had chosen one, as a shell reads it.
pub fn again(arguments: impl IntoIterator<Item = OsString>, seed: Option<u64>) -> String {
    let mut words = vec!["byron".to_owned()];
    let mut seed = seed;
    for argument in arguments {
        let argument = argument.to_string_lossy();
        if argument.starts_with("--chaos")
            && let Some(seed) = seed.take()
        {
            words.push(format!("--seed {seed}"));
        }
        words.push(quoted(&argument));
    }
    words.join(" ")
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:=@%+,".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use byron_supervisors::Chaos;

    use super::*;

    #[test]
    fn the_command_is_given_back_with_its_seed() {
        let words = |text: &str| -> Vec<OsString> { text.split('|').map(OsString::from).collect() };
        let given = words("serve|my poem.txt|--chaos|a:panic@20%;b:kill|--|-");
        assert_eq!(
            again(given.clone(), Some(7)),
            "byron serve 'my poem.txt' --seed 7 --chaos 'a:panic@20%;b:kill' -- -"
        );
        assert_eq!(
            again(given, None),
            "byron serve 'my poem.txt' --chaos 'a:panic@20%;b:kill' -- -"
        );
        assert_eq!(
            again(words("get|1|--chaos=*:kill|it's|"), Some(1)),
            r"byron get 1 --seed 1 '--chaos=*:kill' 'it'\''s' ''"
        );
    }

    #[test]
    fn the_report_ends_with_what_became_of_readers_and_poems() {
        let rehearsal = Chaos::parse("a:panic").unwrap().rehearse(7);
        let report = rehearsal.report();
        let served = Outcome::Served {
            readers_served: 8,
            readers_reset: 2,
        };
        assert_eq!(
            report_text(&report, served, "byron serve"),
            "rehearsed a:panic with seed 7\n  a:panic: struck 0\n  readers served whole: 8, cut off: 2\n  again: byron serve"
        );
        let got = Outcome::Got {
            poems: 3,
            poems_lost: 0,
        };
        assert!(report_text(&report, got, "").contains("\n  poems whole: 3, lost: 0\n"));
        let json = report_json(&report, got, "byron get").unwrap();
        assert_eq!(
            json.trim_end(),
            r#"{"v":1,"chaos":"a:panic","seed":7,"again":"byron get","outcome":{"poems":3,"poems_lost":0},"rules":[{"rule":"a:panic","struck":0,"recovered":0,"for_good":0,"still_down":0,"recovery_s":null}],"budgets":[],"struck":[]}"#
        );
        let json = report_json(&report, Outcome::Unknown, "").unwrap();
        assert!(json.contains(r#""outcome":null"#), "{json}");
    }
}
