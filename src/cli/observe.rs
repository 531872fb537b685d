//! `byron observe`: which instances or which recorded file, and what of it.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{UsageError, heading};
use crate::observe::{InstanceAddress, ParseInstanceAddressError};

const EXAMPLES: &str = "\
Examples:
  byron observe                                   how the only instance is, as systemctl status
  byron observe --follow ecstasy                  what happens there, until it ends
  byron observe ssh://john@donne/ecstasy --record story.jsonl
  byron observe story.jsonl --at 918              the tree as it was after event 918
";

/// What `byron observe` understands.
#[derive(Debug, Args)]
#[command(before_long_help = EXAMPLES)]
pub struct ObserveArguments {
    /// Instances: NAME, unix:PATH or ssh://user@host/NAME; or a recorded FILE [default: the only instance]
    #[arg(value_name = "INSTANCE|FILE", env = "BYRON_INSTANCE", hide_env = true)]
    targets: Vec<String>,

    /// Show how it is, and end; so it is without --follow
    #[arg(long, conflicts_with = "follow", help_heading = heading::COMMON)]
    once: bool,

    /// Show what happens, a line for each event, until the instance ends
    #[arg(short, long, help_heading = heading::COMMON)]
    follow: bool,

    /// Begin after this event; 0 for all that are known [default: now]
    #[arg(long, value_name = "SEQ", requires = "follow", help_heading = heading::COMMON)]
    since: Option<u64>,

    /// Show JSON
    #[arg(long, help_heading = heading::OUTPUT)]
    json: bool,

    /// Show the tree in Graphviz's language
    #[arg(long, conflicts_with_all = ["follow", "json"], help_heading = heading::OUTPUT)]
    dot: bool,

    /// Record what happens to FILE, until the instance ends
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dot", "once"], help_heading = heading::OUTPUT)]
    record: Option<PathBuf>,

    /// Of a recorded file: the tree as it was after this event
    #[arg(long, value_name = "SEQ", conflicts_with_all = ["follow", "record"], help_heading = heading::OUTPUT)]
    at: Option<u64>,

    /// Of a recorded file: go from event to event, with Enter or j, k, a number, q
    #[arg(long, conflicts_with_all = ["at", "follow", "record", "json", "dot"], help_heading = heading::OUTPUT)]
    step: bool,

    /// Of a recorded file: why something fell, by crash-N, the number of an event or a path
    #[arg(long, value_name = "ID", conflicts_with_all = ["at", "follow", "record", "step", "dot"], help_heading = heading::OUTPUT)]
    why: Option<String>,
}

/// What `byron observe` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObserveConfig {
    /// The instances; the only one when empty.
    pub instances: Vec<InstanceAddress>,
    /// A recorded file in their place.
    pub file: Option<PathBuf>,
    /// What is shown.
    pub view: View,
    /// Whether it is shown to a program.
    pub json: bool,
}

/// What `byron observe` shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View {
    /// How it is.
    Once,
    /// Its tree, for Graphviz.
    Dot,
    /// What happens, after this event; from now on when absent.
    Follow(Option<u64>),
    /// Nothing, or what happens: it is recorded to this file.
    Record {
        /// The file.
        path: PathBuf,
        /// Whether it is shown as well, after which event.
        follow: Option<Option<u64>>,
    },
    /// The tree after this event.
    At(u64),
    /// Event after event.
    Step,
    /// Why something fell.
    Why(String),
}

impl ObserveArguments {
    /// What is to be done, unless the arguments contradict each other.
    pub fn into_config(self) -> Result<ObserveConfig, UsageError> {
        let view = self.view();
        let is_file = |target: &String| Path::new(target).is_file();
        let (files, names): (Vec<_>, Vec<_>) = self.targets.into_iter().partition(is_file);
        if files.len() > 1 || !(files.is_empty() || names.is_empty()) {
            return Err(UsageError::new(
                "a recorded file is looked at alone; give one FILE, or instances",
            ));
        }
        let of_file = matches!(view, View::At(_) | View::Step | View::Why(_));
        if let (true, [], Some(name)) = (of_file, files.as_slice(), names.first()) {
            return Err(UsageError::new(format!(
                "there is no file {name}; --at, --step and --why are for a recorded file (of an instance: byron ctl why)"
            )));
        }
        if of_file && files.is_empty() {
            return Err(UsageError::new(
                "--at, --step and --why are for a recorded file; say which (of an instance: byron ctl why)",
            ));
        }
        if !files.is_empty() && matches!(view, View::Record { .. }) {
            return Err(UsageError::new(
                "a recorded file is recorded already; leave out --record",
            ));
        }
        let alone = self.json || matches!(view, View::Dot | View::Record { .. });
        if names.len() > 1 && alone {
            return Err(UsageError::new(
                "--json, --dot and --record are for one instance; leave out the others",
            ));
        }
        let instances = names
            .iter()
            .map(|name| {
                if name.ends_with(".jsonl") {
                    return Err(UsageError::new(format!("there is no file {name}")));
                }
                name.parse()
                    .map_err(|error: ParseInstanceAddressError| UsageError::new(error.to_string()))
            })
            .collect::<Result<_, _>>()?;
        Ok(ObserveConfig {
            instances,
            file: files.into_iter().next().map(PathBuf::from),
            view,
            json: self.json,
        })
    }

    fn view(&self) -> View {
        let follow = self.follow.then_some(self.since);
        match (&self.record, &self.why, self.at) {
            (Some(path), _, _) => View::Record {
                path: path.clone(),
                follow,
            },
            (None, Some(id), _) => View::Why(id.clone()),
            (None, None, Some(seq)) => View::At(seq),
            (None, None, None) if self.step => View::Step,
            (None, None, None) if self.dot => View::Dot,
            (None, None, None) => follow.map_or(View::Once, View::Follow),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn config(arguments: &str) -> Result<ObserveConfig, String> {
        let arguments = "byron observe"
            .split(' ')
            .chain(arguments.split_whitespace());
        let cli = Cli::try_parse_from(arguments).map_err(|error| crate::cli::error_text(&error))?;
        let Command::Observe(observe) = cli.command else {
            panic!("not observe")
        };
        observe.into_config().map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_that_is_there_is_a_recording_and_all_else_an_instance() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display().to_string();
        assert_eq!(config(&path).unwrap().file, Some(file.path().to_owned()));
        assert_eq!(config("ecstasy").unwrap().instances.len(), 1);
        for (arguments, message) in [
            ("story.jsonl", "there is no file story.jsonl"),
            (
                "--at 3 story",
                "there is no file story; --at, --step and --why are for a recorded file (of an instance: byron ctl why)",
            ),
            (
                "--step",
                "--at, --step and --why are for a recorded file; say which (of an instance: byron ctl why)",
            ),
            (
                "--json a b",
                "--json, --dot and --record are for one instance; leave out the others",
            ),
            (
                &format!("{path} ecstasy"),
                "a recorded file is looked at alone; give one FILE, or instances",
            ),
            (
                &format!("{path} --record x"),
                "a recorded file is recorded already; leave out --record",
            ),
        ] {
            assert_eq!(config(arguments).unwrap_err(), message);
        }
    }

    #[test]
    fn what_is_shown_is_one_thing() {
        for (arguments, view) in [
            ("", View::Once),
            ("--once", View::Once),
            ("--dot", View::Dot),
            ("--follow", View::Follow(None)),
            ("-f --since 0", View::Follow(Some(0))),
            (
                "--record x -f",
                View::Record {
                    path: "x".into(),
                    follow: Some(None),
                },
            ),
        ] {
            assert_eq!(config(arguments).unwrap().view, view, "{arguments}");
        }
    }
}
