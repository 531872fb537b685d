//! What a rehearsal came to: values, and the text of them.

use std::fmt;
use std::time::Duration;

/// What a [`Rehearsal`](super::Rehearsal) came to, so far.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChaosReport {
    /// The rules, as [`Chaos::parse`](super::Chaos::parse) reads them.
    pub rules_text: String,
    /// The seed.
    pub seed: u64,
    /// Each rule, in the order in which they were said.
    pub rules: Vec<RuleReport>,
    /// The supervisors that restarted something, by path.
    pub budgets: Vec<BudgetUse>,
    /// Who was struck, by place and life: the same for the same seed and the same work, whatever the clock said. The first
    /// [`STRUCK_MAX`](super::STRUCK_MAX) of them.
    pub struck: Vec<Struck>,
}

/// What one rule came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuleReport {
    /// The rule.
    pub rule: String,
    /// How often it struck.
    pub struck: u64,
    /// How often what was struck is well again: a later life of the same place is ready, or a stall is over.
    pub recovered: u64,
    /// How often it struck a process that nobody restarts, by design.
    pub for_good: u64,
    /// From the fall until it was well again.
    pub recovery: Option<RecoveryTimes>,
}

impl RuleReport {
    /// What was struck, would have been started again, and is not well yet.
    pub fn still_down(&self) -> u64 {
        self.struck.saturating_sub(self.recovered + self.for_good)
    }
}

/// How long it took to recover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryTimes {
    /// The shortest time.
    pub min: Duration,
    /// Half of the recoveries took no longer.
    pub median: Duration,
    /// The longest time.
    pub max: Duration,
}

impl RecoveryTimes {
    /// `None` of no times.
    pub(super) fn of(times: &[Duration]) -> Option<Self> {
        let mut times = times.to_vec();
        times.sort_unstable();
        Some(Self {
            min: *times.first()?,
            median: times[(times.len() - 1) / 2],
            max: *times.last()?,
        })
    }
}

/// How much of its restart intensity a supervisor has used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetUse {
    /// The supervisor's path.
    pub supervisor: String,
    /// The most restarts that were in its window at once.
    pub used_max: usize,
    /// How many it tolerates.
    pub intensity: u32,
    /// The window.
    pub period: Duration,
    /// How often it gave up.
    pub gave_up: u64,
}

/// A fault that befell a process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Struck {
    /// The place: a path, or for a dynamic child the path of its supervisor's parent and its template:
    /// `byron/ecstasy-1/connection`.
    pub place: String,
    /// Which of the dynamic children of that place, from 1; 0 for a static child.
    pub number: u64,
    /// Which life of that place.
    pub life: u32,
    /// In which turn of that life; 0 if it did not get to its first.
    pub turn: u32,
    /// What befell it: `panic`, `kill` ...
    pub fault: String,
}

impl fmt::Display for ChaosReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rehearsed {} with seed {}", self.rules_text, self.seed)?;
        for rule in &self.rules {
            write!(f, "\n  {}: struck {}", rule.rule, rule.struck)?;
            if rule.recovered > 0 {
                write!(f, ", {} recovered", rule.recovered)?;
            }
            if let Some(RecoveryTimes { min, median, max }) = rule.recovery {
                let [min, median, max] = [min, median, max].map(human);
                write!(f, " (in {min} at least, {median} as a rule, {max} at most)")?;
            }
            for (count, what) in [
                (rule.for_good, "not to be restarted"),
                (rule.still_down(), "still down"),
            ] {
                if count > 0 {
                    write!(f, ", {count} {what}")?;
                }
            }
        }
        for budget in &self.budgets {
            write!(
                f,
                "\n  {}: at most {} of {} restarts in {}",
                budget.supervisor,
                budget.used_max,
                budget.intensity,
                human(budget.period)
            )?;
            if budget.gave_up > 0 {
                write!(f, ", gave up {}", times(budget.gave_up))?;
            }
        }
        Ok(())
    }
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

/// A span of time with two or three digits.
fn human(span: Duration) -> String {
    let micros = span.as_micros();
    match micros {
        0..1_000 => format!("{micros}us"),
        1_000..10_000 => format!("{:.1}ms", micros as f64 / 1e3),
        10_000..1_000_000 => format!("{}ms", micros / 1_000),
        _ if micros.is_multiple_of(1_000_000) => format!("{}s", micros / 1_000_000),
        _ => format!("{:.1}s", micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_as_a_person_would_tell_it() {
        let ms = Duration::from_millis;
        let report = ChaosReport {
            rules_text: "listener:panic@20%;connection:kill".to_owned(),
            seed: 7,
            rules: vec![
                RuleReport {
                    rule: "listener:panic@20%".to_owned(),
                    struck: 4,
                    recovered: 3,
                    for_good: 0,
                    recovery: RecoveryTimes::of(&[ms(52), ms(1200), ms(51)]),
                },
                RuleReport {
                    rule: "connection:kill".to_owned(),
                    struck: 5,
                    recovered: 0,
                    for_good: 5,
                    recovery: None,
                },
            ],
            budgets: vec![BudgetUse {
                supervisor: "byron/ecstasy-1/listeners".to_owned(),
                used_max: 3,
                intensity: 20,
                period: ms(10_000),
                gave_up: 1,
            }],
            struck: Vec::new(),
        };
        let text = [
            "rehearsed listener:panic@20%;connection:kill with seed 7",
            "  listener:panic@20%: struck 4, 3 recovered (in 51ms at least, 52ms as a rule, 1.2s at most), 1 still down",
            "  connection:kill: struck 5, 5 not to be restarted",
            "  byron/ecstasy-1/listeners: at most 3 of 20 restarts in 10s, gave up once",
        ];
        assert_eq!(report.to_string(), text.join("\n"));
    }

    #[test]
    fn the_median_is_one_of_the_times() {
        let ms = Duration::from_millis;
        let times = RecoveryTimes::of(&[ms(4), ms(1), ms(3), ms(2)]).expect("four");
        assert_eq!((times.min, times.median, times.max), (ms(1), ms(2), ms(4)));
        assert_eq!(RecoveryTimes::of(&[]), None);
    }
}
