//! Rehearsed failure: [`Chaos`] says which processes fall, when and how, and the same seed says the same again.
//!
//! ```text
//! connection:panic@20%                   one connection in five panics
//! poems/*:panic@10%,stall=5s             of these children one in ten panics, and all stand still once for 5 seconds
//! listener:kill@50%; download:start@30%  several rules
//! ```
//!
//! # What is said
//!
//! Rules are separated by `;`. A rule is `PATTERN:FAULT[=ARG][@P%]`, with more faults after commas. What stands before the
//! last colon is the pattern:
//!
//! - Without a slash it is compared, letters large or small, with three names of each process: its own id, the id of the
//!   template that a dynamic child was started from, and its actor's type without modules and parameters. `connection`
//!   means the children of a `DynamicSupervisor` whose [`DynamicFlags::id`](crate::DynamicFlags) that is, and any actor of
//!   the type `Connection`.
//! - With a slash it is compared with the ends of paths, id by id, and the last id may be the template's: `poems/*`
//!   matches `root/poems/ecstasy`, and not what is below. With a slash in front it begins at the root.
//! - `*` stands for any letters of one id, `?` for one letter, and `**` for any number of ids: `poems/**` is everything
//!   below `poems`.
//!
//! | fault | what happens |
//! | --- | --- |
//! | `panic` | it panics in a turn; if messages wait, while it handles the first |
//! | `exit` | it ends with an error |
//! | `kill` | it is killed |
//! | `stall=DUR` | it does nothing for so long; its arbiter goes on, a kill ends it, anything else waits |
//! | `start` | its start fails; the first start is spared, except of dynamic children that are never restarted |
//! | others | what a program adds with [`Chaos::parse_with`], and its actors take with [`Context::take_fault`](crate::Context::take_fault) |
//!
//! `panic`, `exit` and `kill` may say in which turn of the process they fall (`panic=3`). A tree's root is spared, for
//! there is nobody to start it again.
//!
//! # Why the same seed says the same again
//!
//! There is no stream of random numbers that processes on several threads would take from in turn. What befalls a process
//! is a hash of the seed, the rule (its pattern and fault, not its chance: with a greater chance the same processes fall, and
//! more), the process's place, and the number of its life there. The place is the path of a static child. Dynamic children
//! are numbered: together, over all dynamic supervisors of one template that have the same parent, for these share one kind
//! of work (the connections of a server, one supervisor for each arbiter). So for readers who come one after the other the
//! n-th connection has the same fate each time, whichever arbiter accepted it; of two that come at once, chance decides
//! who is the n-th.
//!
//! For each life and rule there is one draw, whether, and a second, when: a turn is one poll of the process's task, and the
//! turn is 1; 2 or 3; 4 to 7; … 32 to 63, each span with the same chance. A process that ends before that lives, in this
//! sense. Turns do not depend on the clock for actors that are woken for one thing at a time (a timer, a message, a
//! write); where several come at once, or a timer comes so late that two things are due, how many turns they make can
//! differ.

mod parse;
mod pattern;
mod rehearsal;
mod report;

use std::fmt;
use std::time::Duration;

pub use self::parse::ParseChaosError;
pub(crate) use self::pattern::{Names, Pattern};
#[cfg(feature = "testing")]
pub(crate) use self::rehearsal::fail_starts;
pub(crate) use self::rehearsal::{Lot, Stage, Subject, counted, fate_of, is_on, lot, next_ordinal};
pub use self::rehearsal::{OPEN_FALLS_MAX, Rehearsal, STRUCK_MAX};
pub use self::report::{BudgetUse, ChaosReport, RecoveryTimes, RuleReport, Struck};

/// The latest turn in which a fault falls whose rule does not name one.
pub const TURN_MAX: u32 = (1 << SPANS) - 1;

/// How many spans of turns there are, each twice as long as the one before.
const SPANS: u64 = 6;

/// Chances are counted in millionths.
const CERTAIN: u32 = 1_000_000;

/// Which failures are to be rehearsed; see the [module](self).
///
/// ```
/// # use byron_supervisors::Chaos;
/// let chaos = Chaos::parse("connection:panic@20%").expect("a rule");
/// assert_eq!(chaos.to_string(), "connection:panic@20%");
/// let error = Chaos::parse("connection:panick").expect_err("no such fault");
/// assert_eq!(error.column(), 12);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chaos {
    pub(crate) rules: Vec<Rule>,
}

/// One pattern and one fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) pattern: Pattern,
    pub(crate) fault: Fault,
    /// In millionths; more than none.
    pub(crate) chance: u32,
}

/// What befalls a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Panic {
        turn: Option<u32>,
    },
    Exit {
        turn: Option<u32>,
    },
    Kill {
        turn: Option<u32>,
    },
    Stall(Duration),
    Start,
    /// Taken by the actor itself, under this name.
    Custom(&'static str),
}

impl Chaos {
    /// Reads rules with the faults that every process knows.
    ///
    /// # Errors
    /// It is not in the form that the [module](self) describes; the error points at the place.
    pub fn parse(spec: &str) -> Result<Self, ParseChaosError> {
        Self::parse_with(spec, &[])
    }

    /// As [`parse`](Self::parse), with faults that only some of the program's actors know.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_with(spec: &str, custom: &[&'static str]) -> Result<Self, ParseChaosError> {
        parse::rules(spec, custom).map(|rules| Self { rules })
    }

    /// Whether a rule has this custom fault.
    pub fn has_custom(&self, name: &str) -> bool {
        self.rules
            .iter()
            .any(|rule| matches!(rule.fault, Fault::Custom(custom) if custom == name))
    }
}

/// The rules, one fault each, in a form that [`Chaos::parse`] reads again.
impl fmt::Display for Chaos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, rule) in self.rules.iter().enumerate() {
            if number > 0 {
                f.write_str(";")?;
            }
            write!(f, "{rule}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.pattern, self.fault)?;
        if self.chance < CERTAIN {
            let (whole, part) = (self.chance / 10_000, self.chance % 10_000);
            let part = format!("{part:04}");
            match part.trim_end_matches('0') {
                "" => write!(f, "@{whole}%")?,
                part => write!(f, "@{whole}.{part}%")?,
            }
        }
        Ok(())
    }
}

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Panic { .. } => "panic",
            Self::Exit { .. } => "exit",
            Self::Kill { .. } => "kill",
            Self::Stall(_) => "stall",
            Self::Start => "start",
            Self::Custom(name) => name,
        }
    }

    /// The turn that the rule names.
    fn turn(self) -> Option<u32> {
        match self {
            Self::Panic { turn } | Self::Exit { turn } | Self::Kill { turn } => turn,
            Self::Stall(_) | Self::Start | Self::Custom(_) => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Stall(time) => {
                // In the largest unit that is exact.
                let nanos = time.as_nanos();
                let (unit, name) = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")]
                    .into_iter()
                    .find(|(unit, _)| nanos.is_multiple_of(*unit))
                    .unwrap_or((1, "ns"));
                write!(f, "={}{name}", nanos / unit)
            }
            fault => match fault.turn() {
                Some(turn) => write!(f, "={turn}"),
                None => Ok(()),
            },
        }
    }
}

impl Rule {
    /// What this rule has in store for one life: nothing, or a fault in this turn, with a number for whatever else is to
    /// be drawn. Pure: the same arguments give the same answer, on every machine.
    pub(crate) fn draw(&self, seed: u64, place: u64, life: u32) -> Option<Draw> {
        let rule = hash_text(&format!("{}:{}", self.pattern, self.fault));
        let lot = [seed, rule, place, u64::from(life)]
            .into_iter()
            .fold(0, mix);
        let whether = (u128::from(mix(lot, 1)) * u128::from(CERTAIN)) >> 64;
        if whether >= u128::from(self.chance) {
            return None;
        }
        Some(Draw {
            turn: self.fault.turn().unwrap_or_else(|| turn_of(mix(lot, 2))),
            number: mix(lot, 3),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Draw {
    pub(crate) turn: u32,
    pub(crate) number: u64,
}

/// A turn: the span first, so that a short life has its share, then one of the span's.
fn turn_of(number: u64) -> u32 {
    let first = 1_u32 << (number % SPANS);
    first + (number >> 32) as u32 % first
}

/// The finish of SplitMix64, over what came before and one more number.
pub(crate) fn mix(before: u64, number: u64) -> u64 {
    let mut z = before
        .rotate_left(17)
        .wrapping_add(number)
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// FNV-1a: short, and the same on every machine and in every release, as the standard library's hashes are not.
pub(crate) fn hash_text(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> Rule {
        let chaos = Chaos::parse(text).expect("a rule");
        chaos.rules.into_iter().next().expect("one rule")
    }

    fn fallen(rule: &Rule, seed: u64, lives: u64) -> Vec<u64> {
        (0..lives)
            .filter(|place| rule.draw(seed, *place, 1).is_some())
            .collect()
    }

    #[test]
    fn a_chance_is_how_many_fall() {
        for (chance, expected) in [("0.1%", 100), ("20%", 20_000), ("50%", 50_000)] {
            let fallen = fallen(&rule(&format!("a:panic@{chance}")), 7, 100_000).len();
            let off = fallen.abs_diff(expected);
            assert!(off < 35 + expected / 50, "{fallen} of 100000 at {chance}");
        }
        assert_eq!(fallen(&rule("a:panic"), 7, 1000).len(), 1000);
    }

    #[test]
    fn seed_rule_place_and_life_each_make_another_draw() {
        let one = rule("a:panic@50%");
        let draws = |rule: &Rule, seed, life| -> Vec<_> {
            (0..64).map(|place| rule.draw(seed, place, life)).collect()
        };
        let known = draws(&one, 7, 1);
        assert_eq!(known, draws(&one, 7, 1));
        assert_ne!(known, draws(&one, 8, 1));
        assert_ne!(known, draws(&one, 7, 2));
        assert_ne!(known, draws(&rule("b:panic@50%"), 7, 1));
        assert_ne!(known, draws(&rule("a:exit@50%"), 7, 1));
    }

    #[test]
    fn with_a_greater_chance_the_same_fall_and_more() {
        let (few, many) = (rule("a:panic@10%"), rule("a:panic@30%"));
        let (few, many) = (fallen(&few, 3, 1000), fallen(&many, 3, 1000));
        assert!(few.len() < many.len());
        assert!(few.iter().all(|place| many.contains(place)));
    }

    #[test]
    fn draws_are_the_same_in_every_release() {
        // Whoever wrote a seed down wants the same rehearsal next year.
        assert_eq!(
            fallen(&rule("connection:panic@20%"), 7, 40),
            [2, 4, 13, 20, 30, 32, 34]
        );
    }

    #[test]
    fn every_span_of_turns_has_its_share() {
        let rule = rule("a:panic");
        let mut spans = [0; SPANS as usize];
        for place in 0..6000 {
            let turn = rule.draw(1, place, 1).expect("it is certain").turn;
            assert!((1..=TURN_MAX).contains(&turn), "{turn}");
            spans[turn.ilog2() as usize] += 1;
        }
        assert!(
            spans.iter().all(|count| (850..1150).contains(count)),
            "{spans:?}"
        );
    }

    #[test]
    fn a_rule_may_name_the_turn() {
        let draw = rule("a:panic=3").draw(1, 2, 3).expect("it is certain");
        assert_eq!(draw.turn, 3);
    }
}
