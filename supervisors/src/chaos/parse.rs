//! The text of rules, and what is wrong with it. Pure.

use std::fmt;
use std::time::Duration;

use super::{CERTAIN, Chaos, Fault, Pattern, Rule};

/// The longest text that is looked at.
pub(super) const SPEC_LETTERS_MAX: usize = 4096;

/// The most rules, counted by faults.
pub(super) const RULES_MAX: usize = 64;

/// The most `**` in one pattern: each multiplies the ways to match.
const DEEP_STARS_MAX: usize = 4;

/// The longest stall.
const STALL_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What every process knows.
const FAULTS: [&str; 5] = ["panic", "exit", "kill", "stall", "start"];

const UNITS: [(&str, u128); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Why a text is no [`Chaos`]: what, at which column, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ParseChaosError {
    input: String,
    column: usize,
    problem: String,
    hint: String,
}

impl ParseChaosError {
    /// Where, counted in letters from 1.
    pub fn column(&self) -> usize {
        self.column
    }
}

impl fmt::Display for ParseChaosError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid rules {:?}: {} at column {}; {}",
            self.input, self.problem, self.column, self.hint
        )
    }
}

/// A mistake before it knows the whole text.
struct Mistake {
    column: usize,
    problem: String,
    hint: String,
}

const FORM: &str = "expected PATTERN:FAULT[=ARG][@P%] such as connection:panic@20%";

fn mistake(column: usize, problem: impl Into<String>, hint: impl Into<String>) -> Mistake {
    Mistake {
        column,
        problem: problem.into(),
        hint: hint.into(),
    }
}

pub(super) fn rules(spec: &str, custom: &[&'static str]) -> Result<Vec<Rule>, ParseChaosError> {
    let letters = spec.chars().count();
    let outcome = if letters > SPEC_LETTERS_MAX {
        let hint = format!("at most {SPEC_LETTERS_MAX} letters are read");
        Err(mistake(SPEC_LETTERS_MAX + 1, "too long", hint))
    } else {
        all_rules(spec, custom)
    };
    outcome.map_err(
        |Mistake {
             column,
             problem,
             hint,
         }| ParseChaosError {
            input: spec.chars().take(100).collect(),
            column,
            problem,
            hint,
        },
    )
}

/// A part of the text and the column of its first letter.
#[derive(Clone, Copy)]
struct Part<'a> {
    text: &'a str,
    column: usize,
}

impl<'a> Part<'a> {
    fn trimmed(self) -> Self {
        let text = self.text.trim_start();
        let skipped = self.text[..self.text.len() - text.len()].chars().count();
        Self {
            text: text.trim_end(),
            column: self.column + skipped,
        }
    }

    fn split(self, separator: char) -> impl Iterator<Item = Part<'a>> {
        let mut column = self.column;
        self.text.split(separator).map(move |text| {
            let part = Part { text, column };
            column += text.chars().count() + 1;
            part.trimmed()
        })
    }

    /// What is before and after the separator that begins at this byte.
    fn cut(self, at: usize) -> (Self, Self) {
        let before = &self.text[..at];
        let after = Self {
            text: &self.text[at + 1..],
            column: self.column + before.chars().count() + 1,
        };
        (
            Self {
                text: before,
                ..self
            }
            .trimmed(),
            after.trimmed(),
        )
    }
}

fn all_rules(spec: &str, custom: &[&'static str]) -> Result<Vec<Rule>, Mistake> {
    let whole = Part {
        text: spec,
        column: 1,
    };
    let mut rules = Vec::new();
    for part in whole.split(';') {
        let Some(colon) = part.text.rfind(':') else {
            let (problem, column) = match part.text {
                "" => ("no rule", part.column),
                text => ("no colon", part.column + text.chars().count()),
            };
            return Err(mistake(column, problem, FORM));
        };
        let (name, faults) = part.cut(colon);
        let pattern = pattern(name)?;
        for fault in faults.split(',') {
            if rules.len() == RULES_MAX {
                let hint = format!("at most {RULES_MAX} faults are rehearsed at once");
                return Err(mistake(fault.column, "too many faults", hint));
            }
            rules.push(rule(&pattern, fault, custom)?);
        }
    }
    Ok(rules)
}

fn pattern(part: Part<'_>) -> Result<Pattern, Mistake> {
    if part.text.is_empty() {
        return Err(mistake(part.column, "no pattern", FORM));
    }
    if part.text.matches("**").count() > DEEP_STARS_MAX {
        let hint = format!("at most {DEEP_STARS_MAX} are allowed");
        return Err(mistake(part.column, "too many **", hint));
    }
    Pattern::new(part.text).ok_or_else(|| {
        let hint = "expected ids between slashes such as poems/* or /root/**";
        mistake(part.column, "an empty id", hint)
    })
}

fn rule(pattern: &Pattern, part: Part<'_>, custom: &[&'static str]) -> Result<Rule, Mistake> {
    let (fault, chance) = match part.text.rfind('@') {
        Some(at) => {
            let (fault, percent) = part.cut(at);
            (fault, parse_chance(percent)?)
        }
        None => (part, CERTAIN),
    };
    let (name, argument) = match fault.text.find('=') {
        Some(at) => {
            let (name, argument) = fault.cut(at);
            (name, Some(argument))
        }
        None => (fault, None),
    };
    let fault = match (name.text, argument) {
        ("panic", argument) => Fault::Panic {
            turn: argument.map(turn).transpose()?,
        },
        ("exit", argument) => Fault::Exit {
            turn: argument.map(turn).transpose()?,
        },
        ("kill", argument) => Fault::Kill {
            turn: argument.map(turn).transpose()?,
        },
        ("stall", Some(argument)) => Fault::Stall(stall(argument)?),
        ("stall", None) => {
            let column = name.column + name.text.chars().count();
            return Err(mistake(
                column,
                "no time",
                "say for how long, as in stall=5s",
            ));
        }
        ("start", None) => Fault::Start,
        (known, None) if custom.contains(&known) => {
            let known = custom.iter().find(|name| **name == known);
            Fault::Custom(known.copied().unwrap_or_default())
        }
        (known, Some(argument)) if known == "start" || custom.contains(&known) => {
            return Err(mistake(
                argument.column,
                format!("{known} takes no argument"),
                format!("say {known}, or {known}@20% for one in five"),
            ));
        }
        (unknown, _) => return Err(unknown_fault(name.column, unknown, custom)),
    };
    Ok(Rule {
        pattern: pattern.clone(),
        fault,
        chance,
    })
}

fn unknown_fault(column: usize, unknown: &str, custom: &[&'static str]) -> Mistake {
    if unknown.is_empty() {
        return mistake(column, "no fault", FORM);
    }
    let known: Vec<&str> = FAULTS.into_iter().chain(custom.iter().copied()).collect();
    let nearest = known
        .iter()
        .map(|name| (edits(unknown, name), *name))
        .filter(|(edits, name)| *edits <= 2 && *edits < name.len())
        .min();
    let hint = match nearest {
        Some((_, name)) => format!("did you mean {name}?"),
        None => format!("known faults are {}", known.join(", ")),
    };
    mistake(column, format!("unknown fault {unknown:?}"), hint)
}

fn turn(part: Part<'_>) -> Result<u32, Mistake> {
    part.text
        .parse()
        .ok()
        .filter(|turn| *turn > 0 && !part.text.starts_with('+'))
        .ok_or_else(|| {
            mistake(
                part.column,
                "not a turn",
                "turns are counted from 1, as in panic=3",
            )
        })
}

/// A percentage, in millionths.
fn parse_chance(part: Part<'_>) -> Result<u32, Mistake> {
    let form = "expected a percentage such as @20% or @0.5%";
    let Some(number) = part.text.strip_suffix('%') else {
        let column = part.column + part.text.chars().count();
        return Err(mistake(column, "no %", form));
    };
    let (whole, part_of) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(part_of) || whole.len() > 3 || part_of.len() > 4 {
        return Err(mistake(part.column, "not a percentage", form));
    }
    let digits = format!("{whole}{part_of:0<4}");
    let chance = digits.parse().unwrap_or(u32::MAX);
    match chance {
        0 => Err(mistake(
            part.column,
            "it would never happen",
            "say more than 0%",
        )),
        1..=CERTAIN => Ok(chance),
        _ => Err(mistake(part.column, "more than always", "say at most 100%")),
    }
}

/// `5s`, `1.5s`, `200ms`.
fn stall(part: Part<'_>) -> Result<Duration, Mistake> {
    let bad = |problem: &str| {
        let hint = "expected a number with a unit such as 200ms, 5s or 1m";
        mistake(part.column, problem, hint)
    };
    let digits = part
        .text
        .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
        .unwrap_or(part.text.len());
    let (number, unit) = part.text.split_at(digits);
    let Some((_, nanos)) = UNITS.into_iter().find(|(name, _)| *name == unit) else {
        return Err(bad("not a time"));
    };
    let (whole, part_of) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || part_of.is_empty() || number.len() > 18 || part_of.contains('.') {
        return Err(bad("not a time"));
    }
    let number = |text: &str| text.parse::<u128>().map_err(|_| bad("not a time"));
    let nanos =
        number(whole)? * nanos + number(part_of)? * nanos / 10_u128.pow(part_of.len() as u32);
    match u64::try_from(nanos).map(Duration::from_nanos) {
        Ok(Duration::ZERO) => Err(bad("no time at all")),
        Ok(time) if time <= STALL_MAX => Ok(time),
        _ => Err(bad("longer than a day")),
    }
}

/// How many letters to insert, remove, replace or swap with their neighbour to turn one word into the other.
fn edits(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    if left.len() > right.len() + 2 {
        return usize::MAX;
    }
    let mut rows: Vec<Vec<usize>> = vec![(0..=right.len()).collect()];
    for i in 1..=left.len() {
        let mut row = vec![i];
        for j in 1..=right.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
            let mut fewest = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1] {
                fewest = fewest.min(rows[i - 2][j - 2] + 1);
            }
            row.push(fewest);
        }
        rows.push(row);
    }
    rows[left.len()][right.len()]
}

impl std::str::FromStr for Chaos {
    type Err = ParseChaosError;

    fn from_str(spec: &str) -> Result<Self, ParseChaosError> {
        Self::parse(spec)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(spec: &str) -> Result<String, String> {
        Chaos::parse_with(spec, &["reset"])
            .map(|chaos| chaos.to_string())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn every_form_is_read() {
        for (spec, rules) in [
            ("connection:panic@20%", "connection:panic@20%"),
            (
                "poems/*:panic@10%,stall=5s",
                "poems/*:panic@10%;poems/*:stall=5s",
            ),
            (
                " a : exit ; b:kill=3@0.5% , start",
                "a:exit;b:kill=3@0.5%;b:start",
            ),
            ("listener-0-::1:kill@100%", "listener-0-::1:kill"),
            ("a:stall=1500ms", "a:stall=1500ms"),
            ("a:stall=1.5s@99.9999%", "a:stall=1500ms@99.9999%"),
            ("a:stall=2m", "a:stall=120s"),
            ("connection:reset@20%", "connection:reset@20%"),
        ] {
            assert_eq!(parsed(spec).as_deref(), Ok(rules), "{spec}");
            assert_eq!(parsed(rules).as_deref(), Ok(rules), "{spec}");
        }
    }

    #[test]
    fn a_mistake_is_pointed_at() {
        for (spec, column, problem, hint) in [
            ("", 1, "no rule", "expected PATTERN:FAULT"),
            ("connection", 11, "no colon", "expected PATTERN:FAULT"),
            ("a:panic;", 9, "no rule", "expected"),
            (":panic", 1, "no pattern", "expected"),
            ("a:", 3, "no fault", "expected"),
            ("a:panic,", 9, "no fault", "expected"),
            (
                "connection:panick@20%",
                12,
                "unknown fault \"panick\"",
                "did you mean panic?",
            ),
            (
                "a: rest",
                4,
                "unknown fault \"rest\"",
                "did you mean reset?",
            ),
            (
                "a:flood",
                3,
                "unknown fault",
                "known faults are panic, exit, kill, stall, start, reset",
            ),
            ("a:panic@20", 11, "no %", "@20%"),
            ("a:panic@x%", 9, "not a percentage", "@20%"),
            ("a:panic@0%", 9, "it would never happen", "more than 0%"),
            ("a:panic@101%", 9, "more than always", "at most 100%"),
            ("ä:panic@ 1000%", 10, "not a percentage", "@20%"),
            ("a:panic=0", 9, "not a turn", "panic=3"),
            ("a:panic=+1", 9, "not a turn", "panic=3"),
            ("a:stall", 8, "no time", "stall=5s"),
            ("a:stall=5", 9, "not a time", "5s"),
            ("a:stall=0s", 9, "no time at all", "5s"),
            ("a:stall=1.5.0s", 9, "not a time", "5s"),
            ("a:stall=25h", 9, "longer than a day", "5s"),
            ("a:start=2", 9, "start takes no argument", "start@20%"),
            ("a:reset=2", 9, "reset takes no argument", "reset@20%"),
            ("a//b:panic", 1, "an empty id", "poems/*"),
            ("**/**/**/**/**:panic", 1, "too many **", "at most 4"),
        ] {
            let error = Chaos::parse_with(spec, &["reset"]).expect_err(spec);
            assert_eq!(
                (error.column, error.problem.contains(problem)),
                (column, true),
                "{error}"
            );
            assert!(error.hint.contains(hint), "{error}");
        }
    }

    #[test]
    fn the_message_says_all_of_it() {
        assert_eq!(
            parsed("connection:panik").unwrap_err(),
            "invalid rules \"connection:panik\": unknown fault \"panik\" at column 12; did you mean panic?"
        );
    }

    #[test]
    fn length_and_number_have_limits() {
        let long = "a".repeat(SPEC_LETTERS_MAX) + ":panic";
        assert!(
            parsed(&long)
                .unwrap_err()
                .contains("too long at column 4097")
        );
        let many = vec!["a:panic"; RULES_MAX + 1].join(";");
        assert!(parsed(&many).unwrap_err().contains("too many faults"));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(spec in "[a*/:;,@=%.0-9 äpanicstll]{0,40}") {
            if let Ok(rules) = parsed(&spec) {
                prop_assert_eq!(parsed(&rules), Ok(rules));
            }
        }
    }
}
