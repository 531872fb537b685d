//! What is wrong with an endpoint, where, and what would be right.

use std::fmt;

use thiserror::Error;

use crate::quantity::quoted;

/// Why a text is no endpoint. Prints as one line that names the text, the mistake with its column, and the way out.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub struct ParseEndpointError {
    pub(super) role: Role,
    pub(super) input: String,
    pub(super) column: Option<usize>,
    pub(super) problem: String,
    pub(super) hint: Hint,
}

/// What the endpoint is for, which is also what messages call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A client connects to it: a target.
    Connect,
    /// A server listens on it.
    Listen,
    /// Only the port of the endpoint to listen on.
    Port,
    /// Only the interface of the endpoint to listen on.
    Interface,
}

/// What would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// The forms of an endpoint.
    Forms,
    /// Something that only this mistake calls for.
    Say(String),
}

impl ParseEndpointError {
    /// The column of the mistake, counted in characters from 1; `None` if there is nothing to point at.
    pub fn column(&self) -> Option<usize> {
        self.column
    }
}

impl fmt::Display for ParseEndpointError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = match self.role {
            Role::Connect => "target",
            Role::Listen => "endpoint",
            Role::Port => "port",
            Role::Interface => "interface",
        };
        write!(
            formatter,
            "invalid {noun} {}: {}",
            quoted(&self.input),
            self.problem
        )?;
        if let Some(column) = self.column {
            write!(formatter, " at column {column}")?;
        }
        match (&self.hint, self.role) {
            (Hint::Say(hint), _) => write!(formatter, "; {hint}"),
            (Hint::Forms, role) => write!(formatter, "; expected {}", role.forms()),
        }
    }
}

impl Role {
    fn forms(self) -> &'static str {
        match self {
            Role::Connect => "PORT, HOST:PORT or an endpoint such as unix:/run/p.sock",
            Role::Listen => "PORT, HOST:PORT, *:PORT or an endpoint such as unix:/run/p.sock",
            Role::Port => "a number from 0, for a free port, to 65535",
            Role::Interface => "an address, a name or * for every interface",
        }
    }
}

/// The one of `known` that was probably meant by `typed`.
pub(crate) fn nearest<'known>(typed: &str, known: &[&'known str]) -> Option<&'known str> {
    const EDITS_MAX: usize = 2;
    known
        .iter()
        .map(|name| (edits(typed, name), *name))
        .filter(|(edits, name)| *edits <= EDITS_MAX && *edits < name.len())
        .min()
        .map(|(_, name)| name)
}

/// How many letters to insert, remove, replace or swap with their neighbour to turn `left` into `right`.
fn edits(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_key() {
        let keys = ["host", "port", "timeout"];
        for (typed, meant) in [
            ("prot", Some("port")),
            ("timout", Some("timeout")),
            ("hsot", Some("host")),
            ("backlog", None),
            ("", None),
        ] {
            assert_eq!(nearest(typed, &keys), meant, "{typed}");
        }
    }
}
