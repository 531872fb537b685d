//! `byron ctl`: what to ask a running instance, or what to do to it.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::heading;
use crate::observe::InstanceAddress;
use crate::quantity::parse_duration;

const EXAMPLES: &str = "\
Examples:
  byron ctl status                                how the instances are
  byron ctl tree                                  the supervision tree of the only one
  byron ctl -i ecstasy stop                       end it in order
  byron ctl -i ssh://john@donne/ecstasy status    on another machine
";

/// What `byron ctl` understands.
#[derive(Debug, Args)]
#[command(before_long_help = EXAMPLES, arg_required_else_help = true, subcommand_required = true)]
#[command(disable_help_subcommand = true)]
pub struct CtlArguments {
    /// Which instance: NAME, unix:PATH or ssh://user@host/NAME [default: the only one]
    #[arg(
        short,
        long,
        value_name = "INSTANCE",
        global = true,
        env = "BYRON_INSTANCE",
        hide_env = true
    )]
    #[arg(help_heading = heading::COMMON)]
    instance: Option<InstanceAddress>,

    /// Answer with JSON
    #[arg(long, global = true, help_heading = heading::COMMON)]
    json: bool,

    #[command(subcommand)]
    verb: VerbArguments,
}

#[derive(Debug, Subcommand)]
enum VerbArguments {
    /// How the instances are, or one of them
    Status,
    /// The supervision tree
    Tree,
    /// Whether an instance is running: exit code 0 if it is, 3 if not, 4 if there is none of that name
    IsRunning,
    /// End the instance in order, as SIGTERM does
    Stop,
    /// Accept nobody new, and end when the last reader has gone
    Drain {
        /// Wait no longer than this
        #[arg(long = "for", value_name = "DUR", value_parser = parse_duration, help_heading = heading::COMMON)]
        limit: Option<Duration>,
    },
    /// Connect standard input and output to the socket of an instance (for ssh://)
    Stdio,
}

/// What `byron ctl` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CtlConfig {
    /// Which instance; the only one when absent.
    pub instance: Option<InstanceAddress>,
    /// Whether the answer is for programs.
    pub json: bool,
    /// What to do.
    pub verb: Verb,
}

/// What can be done to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// How it is.
    Status,
    /// Its supervision tree.
    Tree,
    /// Whether it runs.
    IsRunning,
    /// End it in order.
    Stop,
    /// Let the readers finish and end it.
    Drain {
        /// How long they may take; as long as they like when absent.
        limit: Option<Duration>,
    },
    /// Connect standard input and output to its socket.
    Stdio,
}

impl CtlArguments {
    /// What is to be done.
    pub fn into_config(self) -> CtlConfig {
        CtlConfig {
            instance: self.instance,
            json: self.json,
            verb: match self.verb {
                VerbArguments::Status => Verb::Status,
                VerbArguments::Tree => Verb::Tree,
                VerbArguments::IsRunning => Verb::IsRunning,
                VerbArguments::Stop => Verb::Stop,
                VerbArguments::Drain { limit } => Verb::Drain { limit },
                VerbArguments::Stdio => Verb::Stdio,
            },
        }
    }
}
