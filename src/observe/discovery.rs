//! Which instances of this user run, and which one is meant.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::directory::{self, DirectoryError, own_uid};
use super::name::InstanceName;
use super::registration::{self, Registration};
use crate::endpoint::nearest;
use crate::present::escape::escape_name;

/// Why it is not known which instance is meant.
#[derive(Debug, Error)]
pub enum FindInstanceError {
    /// None runs.
    #[error("no byron is running here")]
    None,
    /// None of this name runs.
    #[error("no byron named {name} is running{}", alternatives(.name, .running))]
    Unknown {
        /// The name.
        name: InstanceName,
        /// The names of those that run.
        running: Vec<String>,
    },
    /// Several run, and none was named.
    #[error("which one: -i NAME, for several are running:\n{}", listed(.0))]
    Several(Vec<Registration>),
    /// The directory is not to be trusted.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The directory cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

fn alternatives(name: &InstanceName, running: &[String]) -> String {
    let known: Vec<&str> = running.iter().map(String::as_str).collect();
    match (nearest(name.as_str(), &known), known.as_slice()) {
        (Some(meant), _) => format!("; did you mean {meant}"),
        (None, []) => ", nor any other".to_owned(),
        (None, known) => format!("; there is {}", known.join(", ")),
    }
}

fn listed(running: &[Registration]) -> String {
    let lines: Vec<_> = running
        .iter()
        .map(|found| format!("  {}", Line(found)))
        .collect();
    lines.join("\n")
}

/// One instance in one line: `ecstasy  pid 4242  byron serve poetry/ecstasy.txt`.
struct Line<'a>(&'a Registration);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instance = &self.0.instance;
        write!(
            f,
            "{}  pid {}  {}",
            escape_name(&instance.name),
            instance.pid,
            escape_name(&command_text(&instance.command_line))
        )
    }
}

/// A command line as a person would type it, the program without its directory.
pub(crate) fn command_text(command_line: &[String]) -> String {
    let mut words = command_line.iter();
    let program = words.next().map(|program| {
        let name = program.rsplit('/').next();
        name.unwrap_or(program).to_owned()
    });
    let words = words.map(|word| {
        if word.is_empty()
            || word.contains(|letter: char| letter.is_whitespace() || "'\"$;|&*".contains(letter))
        {
            format!("'{}'", word.replace('\'', r"'\''"))
        } else {
            word.clone()
        }
    });
    let words: Vec<_> = program.into_iter().chain(words).collect();
    words.join(" ")
}

/// All instances of this user that run, by name.
///
/// # Errors
/// Their directory cannot be read, or is not this user's alone.
pub fn running() -> Result<Vec<Registration>, FindInstanceError> {
    let path = directory::locate();
    if !directory::check(&path, own_uid())? {
        return Ok(Vec::new());
    }
    registration::running(&path).map_err(|source| FindInstanceError::Unreadable { path, source })
}

/// The instance of this name; without one, the only one.
///
/// # Errors
/// There is none, or there are several.
pub fn find(name: Option<&InstanceName>) -> Result<Registration, FindInstanceError> {
    choose(running()?, name)
}

fn choose(
    mut running: Vec<Registration>,
    name: Option<&InstanceName>,
) -> Result<Registration, FindInstanceError> {
    match name {
        Some(name) => {
            let at = running
                .iter()
                .position(|found| found.instance.name == name.as_str());
            match at {
                Some(at) => Ok(running.swap_remove(at)),
                None => Err(FindInstanceError::Unknown {
                    name: name.clone(),
                    running: running
                        .into_iter()
                        .map(|found| found.instance.name)
                        .collect(),
                }),
            }
        }
        None => match running.len() {
            0 => Err(FindInstanceError::None),
            1 => Ok(running.remove(0)),
            _ => Err(FindInstanceError::Several(running)),
        },
    }
}

/// Whether an instance of this name ran and has not been able to say that it ends.
pub fn was_cut_off(name: &InstanceName) -> bool {
    registration::is_left_behind(&directory::locate(), name)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::observe::model::{Instance, VERSION};

    fn running(names: &[&str]) -> Vec<Registration> {
        let registration = |(name, pid): (&&str, u32)| Registration {
            v: VERSION,
            socket: PathBuf::from("/x"),
            instance: Instance {
                name: (*name).to_owned(),
                pid,
                uid: None,
                command_line: ["/usr/bin/byron", "serve", "a poem.txt"]
                    .map(str::to_owned)
                    .to_vec(),
                version: String::new(),
                started: Timestamp::UNIX_EPOCH,
                endpoints: Vec::new(),
            },
        };
        names.iter().zip(1..).map(registration).collect()
    }

    fn chosen(names: &[&str], name: Option<&str>) -> Result<u32, String> {
        let name = name.map(|name| name.parse().unwrap());
        choose(running(names), name.as_ref())
            .map(|found| found.instance.pid)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_only_one_needs_no_name() {
        assert_eq!(chosen(&["ecstasy"], None), Ok(1));
        assert_eq!(chosen(&["ecstasy", "science"], Some("science")), Ok(2));
        assert_eq!(chosen(&[], None).unwrap_err(), "no byron is running here");
        assert_eq!(
            chosen(&["ecstasy", "science"], None).unwrap_err(),
            "which one: -i NAME, for several are running:
  ecstasy  pid 1  byron serve 'a poem.txt'
  science  pid 2  byron serve 'a poem.txt'"
        );
    }

    #[test]
    fn a_slip_in_a_name_is_recognised() {
        for (names, message) in [
            (&["ecstasy", "science"][..], "; did you mean ecstasy"),
            (
                &["fascination", "science"],
                "; there is fascination, science",
            ),
            (&[], ", nor any other"),
        ] {
            assert_eq!(
                chosen(names, Some("ectsasy")).unwrap_err(),
                format!("no byron named ectsasy is running{message}")
            );
        }
    }
}
