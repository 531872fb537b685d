//! What an instance is called: [`InstanceName`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::quantity::quoted;

/// How long a name may be: it is part of the path of a socket, of which the system allows a hundred bytes or so.
const LETTERS_MAX: usize = 48;

/// A name that is the same on a command line, in a path and in a URL: letters, digits, `.`, `_` and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceName(String);

/// Why a text is no name.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("invalid name {}: {problem}; expected letters, digits, '.', '_' and '-', such as ecstasy-2", quoted(.input))]
pub struct ParseInstanceNameError {
    input: String,
    problem: String,
}

impl InstanceName {
    /// The name that comes closest to a poem's title.
    pub fn resembling(title: &str) -> InstanceName {
        let letters = title.chars().map(|letter| match letter {
            letter if is_allowed(letter) => letter,
            _ => '-',
        });
        let name: String = letters.take(LETTERS_MAX).collect();
        let name = name.trim_matches(['-', '.']);
        match name {
            "" => InstanceName("byron".to_owned()),
            name => InstanceName(name.to_owned()),
        }
    }

    /// Itself, then `NAME-2`, `NAME-3`, …
    pub(super) fn with_number(&self, number: u32) -> InstanceName {
        match number {
            0 | 1 => self.clone(),
            number => InstanceName(format!("{self}-{number}")),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_allowed(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-')
}

impl FromStr for InstanceName {
    type Err = ParseInstanceNameError;

    fn from_str(input: &str) -> Result<InstanceName, ParseInstanceNameError> {
        let fail = |problem: String| ParseInstanceNameError {
            input: input.to_owned(),
            problem,
        };
        if let Some((letter, column)) = input
            .chars()
            .zip(1..)
            .find(|(letter, _)| !is_allowed(*letter))
        {
            let letter = quoted(&letter.to_string());
            return Err(fail(format!("{letter} at column {column}")));
        }
        match input {
            "" => Err(fail("empty".to_owned())),
            _ if input.starts_with(['.', '-']) => {
                Err(fail("begins with neither letter nor digit".to_owned()))
            }
            _ if input.len() > LETTERS_MAX => {
                Err(fail(format!("longer than {LETTERS_MAX} letters")))
            }
            _ => Ok(InstanceName(input.to_owned())),
        }
    }
}

impl TryFrom<String> for InstanceName {
    type Error = ParseInstanceNameError;

    fn try_from(input: String) -> Result<InstanceName, ParseInstanceNameError> {
        input.parse()
    }
}

impl From<InstanceName> for String {
    fn from(name: InstanceName) -> String {
        name.0
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_becomes_a_name() {
        for (title, name) in [
            ("ecstasy", "ecstasy"),
            ("standard input", "standard-input"),
            ("../../etc/passwd", "etc-passwd"),
            ("诗", "byron"),
            ("", "byron"),
        ] {
            let resembling = InstanceName::resembling(title);
            assert_eq!(resembling.as_str(), name, "{title}");
            assert_eq!(name.parse(), Ok(resembling));
        }
        let long = InstanceName::resembling(&"a".repeat(1000));
        assert!(long.as_str().parse::<InstanceName>().is_ok());
        assert_eq!(long.with_number(2).as_str().len(), LETTERS_MAX + 2);
    }

    #[test]
    fn what_is_no_name_is_pointed_at() {
        for (input, problem) in [
            ("", "empty"),
            ("a/b", "\"/\" at column 2"),
            ("..", "begins with neither letter nor digit"),
            ("-i", "begins with neither letter nor digit"),
        ] {
            assert_eq!(
                input.parse::<InstanceName>().unwrap_err().to_string(),
                format!(
                    "invalid name {input:?}: {problem}; expected letters, digits, '.', '_' and '-', such as ecstasy-2"
                )
            );
        }
        assert!("a".repeat(LETTERS_MAX + 1).parse::<InstanceName>().is_err());
    }
}
