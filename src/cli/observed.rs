//! How a long-running command can be observed: flags that each of them flattens into its own.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser, ValueParser};

use super::{UsageError, heading};
use crate::observe::{InstanceName, Listen, ObserveSettings};

/// What `--name` is where there is no title.
pub(super) const NAME_OF_COMMAND: &str =
    "Name for byron ctl and byron observe [default: the command's]";

/// What `--observe` is where nobody can observe unless that was asked for.
pub(super) const OBSERVE_IF_ASKED_FOR: &str = "\
Where byron ctl and byron observe reach it: unix:PATH, or none [default: none, or with --name a socket in the user's \
runtime directory]";

/// The flags of a command that others can observe and steer.
#[derive(Debug, Args)]
pub(super) struct ObservedArguments {
    /// Name for byron ctl and byron observe [default: the first title]
    #[arg(long, value_name = "NAME", help_heading = heading::COMMON)]
    name: Option<InstanceName>,

    /// Record what happens to FILE, for byron observe FILE; one that is there is kept as FILE.old
    #[arg(long, value_name = "FILE", help_heading = heading::ADVANCED, hide_short_help = true)]
    record: Option<PathBuf>,

    /// Where byron ctl and byron observe reach it: unix:PATH, or none [default: a socket in the user's runtime directory]
    #[arg(long, value_name = "unix:PATH|none", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    #[arg(value_parser = listen(), help_heading = heading::ADVANCED, hide_short_help = true)]
    observe: Option<Listen>,
}

/// A path may have any bytes.
fn listen() -> ValueParser {
    ValueParser::new(OsStringValueParser::new().try_map(|value| {
        let bytes = value.as_encoded_bytes();
        match bytes {
            b"" => Ok(Listen::Here),
            b"none" => Ok(Listen::Off),
            _ => match bytes.strip_prefix(b"unix:") {
                Some(path) if !path.is_empty() => {
                    use std::os::unix::ffi::OsStringExt;
                    Ok(Listen::At(PathBuf::from(std::ffi::OsString::from_vec(
                        path.to_vec(),
                    ))))
                }
                _ => Err(super::value::ParseValueError::new(
                    "socket",
                    &value.to_string_lossy(),
                    "neither unix:PATH nor none",
                    "unix: and a path, such as unix:/run/p.sock, or none",
                )),
            },
        }
    }))
}

impl ObservedArguments {
    /// The same for a command that is over soon, as a rule: nobody can observe it unless one of them is given.
    pub(super) fn into_settings_if_asked_for(self) -> Result<ObserveSettings, UsageError> {
        let is_asked_for = self.name.is_some() || self.observe.is_some();
        let settings = self.into_settings()?;
        Ok(match is_asked_for {
            true => settings,
            false => ObserveSettings {
                listen: Listen::Off,
                ..settings
            },
        })
    }

    /// What is left of them, unless they contradict each other.
    pub(super) fn into_settings(self) -> Result<ObserveSettings, UsageError> {
        let listen = self.observe.unwrap_or_default();
        if listen == Listen::Off && self.name.is_some() {
            return Err(UsageError::new(
                "--observe=none has no use for a --name; leave one out",
            ));
        }
        Ok(ObserveSettings {
            listen,
            name: self.name,
            record: self.record,
        })
    }
}
