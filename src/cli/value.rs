//! Values that only the command line has: numbers of jobs, hashes, counts.

use std::num::NonZeroUsize;

use thiserror::Error;

use crate::quantity::quoted;

/// Why a text is not the value of a flag.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("invalid {noun} {}: {problem}; expected {expected}", quoted(.input))]
pub struct ParseValueError {
    noun: &'static str,
    input: String,
    problem: String,
    expected: &'static str,
}

impl ParseValueError {
    pub(super) fn new(
        noun: &'static str,
        input: &str,
        problem: impl Into<String>,
        expected: &'static str,
    ) -> ParseValueError {
        ParseValueError {
            noun,
            input: input.to_owned(),
            problem: problem.into(),
            expected,
        }
    }
}

/// How many downloads run at once; all of them when absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Jobs(pub(super) Option<NonZeroUsize>);

pub(super) fn parse_jobs(input: &str) -> Result<Jobs, ParseValueError> {
    if input == "all" {
        return Ok(Jobs(None));
    }
    parse_at_least_one(input, "number of jobs", "all or a number such as 4")
        .map(|jobs| Jobs(Some(jobs)))
}

pub(super) fn parse_count(input: &str) -> Result<NonZeroUsize, ParseValueError> {
    parse_at_least_one(input, "number", "a number such as 1024")
}

/// The 64 hexadecimal digits of a SHA-256, as `sha256sum` prints them.
pub(super) fn parse_sha256(input: &str) -> Result<[u8; 32], ParseValueError> {
    let fail = |problem: String| ParseValueError {
        noun: "SHA-256",
        input: input.to_owned(),
        problem,
        expected: "64 hexadecimal digits, as sha256sum prints them",
    };
    let mut digits = Vec::new();
    for (letter, column) in input.chars().zip(1..) {
        digits.push(
            letter
                .to_digit(16)
                .ok_or_else(|| fail(format!("not a hexadecimal digit at column {column}")))?,
        );
    }
    let mut sha256 = [0; 32];
    if digits.len() != 2 * sha256.len() {
        return Err(fail(format!("{} digits", digits.len())));
    }
    for (byte, pair) in sha256.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (pair[0] * 16 + pair[1]) as u8;
    }
    Ok(sha256)
}

fn parse_at_least_one(
    input: &str,
    noun: &'static str,
    expected: &'static str,
) -> Result<NonZeroUsize, ParseValueError> {
    let fail = |problem: String| ParseValueError {
        noun,
        input: input.to_owned(),
        problem,
        expected,
    };
    if input.is_empty() {
        return Err(fail("empty".to_owned()));
    }
    if let Some((_, column)) = input
        .chars()
        .zip(1..)
        .find(|(letter, _)| !letter.is_ascii_digit())
    {
        return Err(fail(format!("not a digit at column {column}")));
    }
    let number: usize = input.parse().map_err(|_| fail("too large".to_owned()))?;
    NonZeroUsize::new(number).ok_or_else(|| fail("at least 1 is needed".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_all_or_at_least_one() {
        assert_eq!(parse_jobs("all"), Ok(Jobs(None)));
        assert_eq!(parse_jobs("1"), Ok(Jobs(NonZeroUsize::new(1))));
        assert_eq!(
            parse_jobs("0").unwrap_err().to_string(),
            "invalid number of jobs \"0\": at least 1 is needed; expected all or a number such as 4"
        );
        assert_eq!(
            parse_jobs("2x").unwrap_err().to_string(),
            "invalid number of jobs \"2x\": not a digit at column 2; expected all or a number such as 4"
        );
    }

    #[test]
    fn a_sha256_has_64_hexadecimal_digits() {
        assert_eq!(parse_sha256(&"0f".repeat(32)), Ok([15; 32]));
        assert_eq!(parse_sha256(&"A0".repeat(32)), Ok([160; 32]));
        assert_eq!(
            parse_sha256("9c1e").unwrap_err().to_string(),
            "invalid SHA-256 \"9c1e\": 4 digits; expected 64 hexadecimal digits, as sha256sum prints them"
        );
        assert!(
            parse_sha256("xyz")
                .unwrap_err()
                .to_string()
                .contains("not a hexadecimal digit at column 1")
        );
    }
}
