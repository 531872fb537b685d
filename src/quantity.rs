//! Durations, sizes and other amounts as a person writes them: `700ms`, `2h`, `8MiB`.
//!
//! Used by the flags ([`crate::cli`]) and by the values inside endpoints ([`crate::endpoint`]). Pure and exact: no floating
//! point, so `0.7s` is 700 ms and not a hair less. A bare number is no duration, because `--delay 700` reads as both
//! milliseconds and seconds; [`parse_seconds`] is for the places where the tutorial had bare seconds.

use std::time::Duration;

use thiserror::Error;

/// The longest input that is looked at; longer ones are cut off in messages too.
const QUANTITY_BYTES_MAX: usize = 64;

/// The longest duration, a thousand years: longer than any wait, and short enough to be added to any moment.
const DURATION_MAX: Duration = Duration::from_secs(1000 * 365 * 24 * 60 * 60);

const NANOSECOND_UNITS: &[(&str, u128)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
    ("d", 86_400 * 1_000_000_000),
];

const BYTE_UNITS: &[(&str, u128)] = &[
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Why a text is no duration or size.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("invalid {noun} {}: {problem}; {hint}", quoted(.input))]
pub struct ParseQuantityError {
    noun: &'static str,
    input: String,
    problem: String,
    hint: &'static str,
}

/// Reads a duration with its unit: `700ms`, `1.5s`, `2h`, `1h30m`.
///
/// ```
/// # use std::time::Duration;
/// assert_eq!(byron::quantity::parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
/// assert!(byron::quantity::parse_duration("15").is_err());
/// ```
pub fn parse_duration(input: &str) -> Result<Duration, ParseQuantityError> {
    let fail = |problem: String| ParseQuantityError {
        noun: "duration",
        input: input.to_owned(),
        problem,
        hint: "expected a number with a unit such as 700ms, 15s or 2h",
    };
    let nanoseconds = sum_of_parts(input, NANOSECOND_UNITS, None).map_err(fail)?;
    duration_from_nanoseconds(nanoseconds).ok_or_else(|| fail("too long".to_owned()))
}

/// Reads a duration where a bare number means seconds, as in the tutorial's `--delay 0.7`.
pub fn parse_seconds(input: &str) -> Result<Duration, ParseQuantityError> {
    let fail = |problem: String| ParseQuantityError {
        noun: "duration",
        input: input.to_owned(),
        problem,
        hint: "expected seconds such as 0.7, or a number with a unit such as 700ms",
    };
    let nanoseconds = sum_of_parts(input, NANOSECOND_UNITS, Some(1_000_000_000)).map_err(fail)?;
    duration_from_nanoseconds(nanoseconds).ok_or_else(|| fail("too long".to_owned()))
}

/// Reads a duration, or `off` for no limit at all.
///
/// A limit of nothing would let nothing through, so zero is refused and `off` suggested.
pub fn parse_limit(input: &str) -> Result<Limit, ParseQuantityError> {
    if input == "off" {
        return Ok(Limit(None));
    }
    let duration = parse_duration(input)?;
    if duration.is_zero() {
        return Err(ParseQuantityError {
            noun: "duration",
            input: input.to_owned(),
            problem: "no time at all".to_owned(),
            hint: "to have no limit say off",
        });
    }
    Ok(Limit(Some(duration)))
}

/// A limit on a wait; none when it is `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Option<Duration>);

/// Reads a number of bytes: `615`, `64KiB` (1024 each), `1MB` (1000 each).
pub fn parse_size(input: &str) -> Result<u64, ParseQuantityError> {
    let fail = |problem: String| ParseQuantityError {
        noun: "size",
        input: input.to_owned(),
        problem,
        hint: "expected bytes such as 615, 64KiB or 1MB",
    };
    let bytes = sum_of_parts(input, BYTE_UNITS, Some(1)).map_err(fail)?;
    u64::try_from(bytes).map_err(|_| fail("too large".to_owned()))
}

/// Reads text in which `\n`, `\t`, `\0` and `\\` stand for the characters that are awkward to type.
pub fn parse_escaped_text(input: &str) -> Result<String, ParseQuantityError> {
    let mut text = String::with_capacity(input.len());
    let mut letters = input.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            text.push(letter);
            continue;
        }
        text.push(match letters.next() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('0') => '\0',
            Some('\\') => '\\',
            unknown => {
                return Err(ParseQuantityError {
                    noun: "text",
                    input: input.to_owned(),
                    problem: unknown.map_or_else(
                        || "ends in a lone backslash".to_owned(),
                        |letter| format!("unknown escape \\{}", letter.escape_debug()),
                    ),
                    hint: r"expected \n, \t, \0 or \\ after a backslash",
                });
            }
        });
    }
    Ok(text)
}

/// Writes a duration so that [`parse_duration`] reads the same one.
pub(crate) fn exact_duration(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let (unit, scale) = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)]
        .into_iter()
        .find(|(_, scale)| nanoseconds.is_multiple_of(*scale))
        .unwrap_or(("ns", 1));
    format!("{}{unit}", nanoseconds / scale)
}

/// `input` in quotation marks, safe to print and never long.
pub(crate) fn quoted(input: &str) -> String {
    let mut text = String::from("\"");
    for (index, letter) in input.chars().enumerate() {
        if index == QUANTITY_BYTES_MAX {
            text.push('…');
            break;
        }
        match letter {
            '\\' | '\'' => text.push(letter),
            _ => text.extend(letter.escape_debug()),
        }
    }
    text.push('"');
    text
}

fn duration_from_nanoseconds(nanoseconds: u128) -> Option<Duration> {
    const NANOSECONDS_PER_SECOND: u128 = 1_000_000_000;
    let seconds = u64::try_from(nanoseconds / NANOSECONDS_PER_SECOND).ok()?;
    let rest = u32::try_from(nanoseconds % NANOSECONDS_PER_SECOND).ok()?;
    Some(Duration::new(seconds, rest)).filter(|duration| *duration <= DURATION_MAX)
}

/// Adds up `number unit number unit …`; `bare` is the scale of a single number without a unit, where that is allowed.
fn sum_of_parts(input: &str, units: &[(&str, u128)], bare: Option<u128>) -> Result<u128, String> {
    if input.is_empty() {
        return Err("empty".to_owned());
    }
    if input.len() > QUANTITY_BYTES_MAX {
        return Err(format!("longer than {QUANTITY_BYTES_MAX} bytes"));
    }
    let mut sum: u128 = 0;
    let mut rest = input;
    while !rest.is_empty() {
        let column = input[..input.len() - rest.len()].chars().count() + 1;
        let number_bytes = rest
            .find(|letter: char| !letter.is_ascii_digit() && letter != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_bytes);
        if !number.contains(|letter: char| letter.is_ascii_digit()) {
            return Err(format!("not a digit at column {column}"));
        }
        let unit_bytes = after
            .find(|letter: char| letter.is_ascii_digit() || letter == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_bytes);
        let unit_column = column + number.len();
        let scale = if unit.is_empty() {
            let alone = rest.len() == input.len();
            bare.filter(|_| alone)
                .ok_or_else(|| format!("no unit at column {unit_column}"))?
        } else {
            units
                .iter()
                .find(|(name, _)| *name == unit)
                .map(|(_, scale)| *scale)
                .ok_or_else(|| format!("unknown unit {} at column {unit_column}", quoted(unit)))?
        };
        sum = scaled(number, scale, column)?
            .checked_add(sum)
            .ok_or("too large")?;
        rest = after;
    }
    Ok(sum)
}

/// `number` times `scale`, which must come out whole.
fn scaled(number: &str, scale: u128, column: usize) -> Result<u128, String> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if let Some(dot) = fraction.find('.') {
        return Err(format!(
            "a second dot at column {}",
            column + whole.len() + 1 + dot
        ));
    }
    let fraction = fraction.trim_end_matches('0');
    let too_precise = || "too precise".to_owned();
    let ten_to_the_places = 10_u128
        .checked_pow(fraction.len() as u32)
        .ok_or_else(too_precise)?;
    let whole = digits(whole)?.checked_mul(scale).ok_or("too large")?;
    let fraction = digits(fraction)?
        .checked_mul(scale)
        .ok_or_else(too_precise)?;
    if !fraction.is_multiple_of(ten_to_the_places) {
        return Err(too_precise());
    }
    whole
        .checked_add(fraction / ten_to_the_places)
        .ok_or_else(|| "too large".to_owned())
}

fn digits(text: &str) -> Result<u128, String> {
    let append =
        |total: u128, digit: u8| total.checked_mul(10)?.checked_add(u128::from(digit - b'0'));
    text.bytes()
        .try_fold(0, append)
        .ok_or_else(|| "too large".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_need_a_unit() {
        for (input, milliseconds) in [
            ("700ms", 700),
            ("15s", 15_000),
            ("2h", 7_200_000),
            ("0.7s", 700),
            ("1m30s", 90_000),
            (".5s", 500),
            ("0s", 0),
        ] {
            assert_eq!(
                parse_duration(input),
                Ok(Duration::from_millis(milliseconds)),
                "{input}"
            );
        }
        for (input, message) in [
            (
                "15",
                "invalid duration \"15\": no unit at column 3; expected a number with a unit such as 700ms, 15s or 2h",
            ),
            (
                "",
                "invalid duration \"\": empty; expected a number with a unit such as 700ms, 15s or 2h",
            ),
            (
                "5x",
                "invalid duration \"5x\": unknown unit \"x\" at column 2; expected a number with a unit such as 700ms, 15s or 2h",
            ),
            (
                "s",
                "invalid duration \"s\": not a digit at column 1; expected a number with a unit such as 700ms, 15s or 2h",
            ),
            (
                "-1s",
                "invalid duration \"-1s\": not a digit at column 1; expected a number with a unit such as 700ms, 15s or 2h",
            ),
            (
                "1.2.3s",
                "invalid duration \"1.2.3s\": a second dot at column 4; expected a number with a unit such as 700ms, 15s or 2h",
            ),
            (
                "1h30",
                "invalid duration \"1h30\": no unit at column 5; expected a number with a unit such as 700ms, 15s or 2h",
            ),
            (
                "0.5ns",
                "invalid duration \"0.5ns\": too precise; expected a number with a unit such as 700ms, 15s or 2h",
            ),
        ] {
            assert_eq!(parse_duration(input).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn every_duration_can_be_added_to_a_moment() {
        assert_eq!(parse_duration("365000d"), Ok(DURATION_MAX));
        assert!(
            tokio::time::Instant::now()
                .checked_add(DURATION_MAX)
                .is_some()
        );
        for input in ["365001d", "200000000000000d", "18446744073709551615s"] {
            for parsed in [parse_duration(input), parse_seconds(input)] {
                let message = parsed.unwrap_err().to_string();
                assert!(message.contains(": too long; "), "{message}");
            }
        }
    }

    #[test]
    fn the_tutorials_delay_is_in_seconds() {
        assert_eq!(parse_seconds("0.7"), Ok(Duration::from_millis(700)));
        assert_eq!(parse_seconds("700ms"), Ok(Duration::from_millis(700)));
        assert_eq!(parse_seconds("0"), Ok(Duration::ZERO));
        assert!(parse_seconds("1e9").is_err());
    }

    #[test]
    fn off_is_no_limit_and_zero_is_refused() {
        assert_eq!(parse_limit("off"), Ok(Limit(None)));
        assert_eq!(parse_limit("10s"), Ok(Limit(Some(Duration::from_secs(10)))));
        assert_eq!(
            parse_limit("0s").unwrap_err().to_string(),
            "invalid duration \"0s\": no time at all; to have no limit say off"
        );
    }

    #[test]
    fn sizes_are_exact() {
        for (input, bytes) in [
            ("615", 615),
            ("64KiB", 65_536),
            ("1MB", 1_000_000),
            ("1.5KiB", 1_536),
            ("8MiB", 8 << 20),
        ] {
            assert_eq!(parse_size(input), Ok(bytes), "{input}");
        }
        assert_eq!(
            parse_size("5 cats").unwrap_err().to_string(),
            "invalid size \"5 cats\": unknown unit \" cats\" at column 2; expected bytes such as 615, 64KiB or 1MB"
        );
        assert!(parse_size("99999999999999999999999999999999999999999").is_err());
        assert!(parse_size("18446744073709551616").is_err());
    }

    #[test]
    fn separators_may_be_typed_with_escapes() {
        assert_eq!(parse_escaped_text(r"\n--\n"), Ok("\n--\n".to_owned()));
        assert_eq!(
            parse_escaped_text(r"\q").unwrap_err().to_string(),
            r#"invalid text "\q": unknown escape \q; expected \n, \t, \0 or \\ after a backslash"#
        );
    }

    proptest! {
        #[test]
        fn no_input_panics(input in ".*") {
            let _ = (parse_duration(&input), parse_seconds(&input), parse_size(&input), parse_escaped_text(&input));
        }

        #[test]
        fn a_duration_survives_being_written(nanoseconds in any::<u64>()) {
            let duration = Duration::from_nanos(nanoseconds);
            prop_assert_eq!(parse_duration(&exact_duration(duration)), Ok(duration));
        }
    }
}
