//! `byron ctl`: what to ask a running instance, or what to do to it.

use std::path::PathBuf;
use std::time::Duration;

use byron_supervisors::Action;
use clap::{Args, Subcommand};

use super::heading;
use crate::observe::InstanceAddress;
use crate::quantity::parse_duration;

const EXAMPLES: &str = "\
Examples:
  byron ctl status                                how the instances are
  byron ctl tree                                  the supervision tree of the only one
  byron ctl why crash-918                         why that actor fell, and what came of it
  byron ctl kill '*/listeners' --dry-run          what would happen
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
    /// Why something fell: the chain of causes, and what came of it
    Why {
        /// crash-N, the number of an event, a pid such as <0.42.0>, or a path for its last end
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Stop a part of the tree and start it again
    Restart(DeedArguments),
    /// Stop a part of the tree, which stays stopped; without PATH end the instance in order, as SIGTERM does
    Stop(StopArguments),
    /// Start a part of the tree that was stopped
    Start(DeedArguments),
    /// Kill a part of the tree, as a crash would; its supervisor does what it does about a crash
    Kill(DeedArguments),
    /// Accept nobody new, and end when the last reader has gone
    Drain {
        /// Wait no longer than this
        #[arg(long = "for", value_name = "DUR", value_parser = parse_duration, help_heading = heading::COMMON)]
        limit: Option<Duration>,
    },
    /// Show how much of the log is written, or have more or less of it written
    LogLevel {
        /// As in BYRON_LOG: a level, or such as info,byron_supervisors=debug; "default" for that of the beginning
        #[arg(value_name = "DIRECTIVES")]
        filter: Option<String>,

        /// Only for so long
        #[arg(long = "for", value_name = "DUR", value_parser = parse_duration, requires = "filter", help_heading = heading::COMMON)]
        limit: Option<Duration>,
    },
    /// Show the last lines of the log
    Logs {
        /// Only those of this place of the tree, and of what is below it
        #[arg(value_name = "PATH")]
        path: Option<String>,
    },
    /// Write all that is known of the instance to a file for a report, without home directories and foreign addresses
    Bundle {
        /// The file, or - for standard output [default: INSTANCE-bundle.jsonl]
        #[arg(short, long, value_name = "FILE", help_heading = heading::OUTPUT)]
        output: Option<PathBuf>,
    },
    /// What a proxy keeps: list it, or purge it
    #[command(subcommand)]
    Cache(CacheVerb),
    /// Connect standard input and output to the socket of an instance (for ssh://)
    Stdio,
}

/// What can be done to the caches of a proxy.
#[derive(Debug, Subcommand)]
enum CacheVerb {
    /// How each cache does, and what it keeps
    Ls,
    /// Forget what is kept, so that the next reader has it fetched
    Purge {
        /// The server whose poem it is, as it was given to byron proxy [default: all]
        #[arg(value_name = "UPSTREAM")]
        upstream: Option<String>,

        /// Take it for old instead: it is served while the next is fetched, or if that fails
        #[arg(long, help_heading = heading::COMMON)]
        soft: bool,
    },
}

/// A deed, and to whom.
#[derive(Debug, Args)]
struct DeedArguments {
    /// Where: a path of the tree, with or without its root; * and ** stand for several places
    #[arg(value_name = "PATH")]
    path: String,

    #[command(flatten)]
    care: CareArguments,
}

/// As [`DeedArguments`]; the instance itself, if nothing is said.
#[derive(Debug, Args)]
struct StopArguments {
    /// Where: a path of the tree, with or without its root; * and ** stand for several places
    #[arg(value_name = "PATH")]
    path: Option<String>,

    #[command(flatten)]
    care: CareArguments,
}

/// How careful a deed is.
#[derive(Debug, Args)]
struct CareArguments {
    /// Say what would happen, and do nothing
    #[arg(long, help_heading = heading::COMMON)]
    dry_run: bool,

    /// Do it without asking
    #[arg(short, long, conflicts_with = "no_input", help_heading = heading::COMMON)]
    yes: bool,

    /// Never ask: what would have to be confirmed is refused
    #[arg(long, help_heading = heading::COMMON)]
    no_input: bool,
}

/// How a deed that affects others is confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confirmation {
    /// Nothing is done.
    DryRun,
    /// It is done.
    Given,
    /// Whoever is at the terminal is asked.
    Ask,
    /// It is not done.
    Refused,
}

impl From<CareArguments> for Confirmation {
    fn from(care: CareArguments) -> Confirmation {
        match care {
            CareArguments { dry_run: true, .. } => Confirmation::DryRun,
            CareArguments { yes: true, .. } => Confirmation::Given,
            CareArguments { no_input: true, .. } => Confirmation::Refused,
            _ => Confirmation::Ask,
        }
    }
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
    /// Why something fell.
    Why(String),
    /// Something is done to a part of its tree.
    Act {
        /// What.
        action: Action,
        /// Where: a path or a pattern.
        path: String,
        /// How it is confirmed.
        confirmation: Confirmation,
    },
    /// End it in order.
    Stop(Confirmation),
    /// Let the readers finish and end it.
    Drain {
        /// How long they may take; as long as they like when absent.
        limit: Option<Duration>,
    },
    /// How much of its log is written; more or less of it, if a filter is given.
    LogLevel {
        /// The filter, or `default`.
        filter: Option<String>,
        /// For how long.
        limit: Option<Duration>,
    },
    /// The last lines of its log: those of a place, if one is named.
    Logs(Option<String>),
    /// All that is known of it, in this file.
    Bundle(Option<PathBuf>),
    /// What its caches keep.
    CacheLs,
    /// Its caches forget what they keep.
    CachePurge {
        /// Whose; all of them when absent.
        upstream: Option<String>,
        /// Whether it may still be served while the next is fetched, or if that fails.
        softly: bool,
    },
    /// Connect standard input and output to its socket.
    Stdio,
}

impl CtlArguments {
    /// What is to be done.
    pub fn into_config(self) -> CtlConfig {
        let act = |action, deed: DeedArguments| Verb::Act {
            action,
            path: deed.path,
            confirmation: deed.care.into(),
        };
        CtlConfig {
            instance: self.instance,
            json: self.json,
            verb: match self.verb {
                VerbArguments::Status => Verb::Status,
                VerbArguments::Tree => Verb::Tree,
                VerbArguments::IsRunning => Verb::IsRunning,
                VerbArguments::Why { id } => Verb::Why(id),
                VerbArguments::Restart(deed) => act(Action::Restart, deed),
                VerbArguments::Start(deed) => act(Action::Start, deed),
                VerbArguments::Kill(deed) => act(Action::Kill, deed),
                VerbArguments::Stop(StopArguments { path, care }) => match path {
                    Some(path) => act(Action::Stop, DeedArguments { path, care }),
                    None => Verb::Stop(care.into()),
                },
                VerbArguments::Drain { limit } => Verb::Drain { limit },
                VerbArguments::LogLevel { filter, limit } => Verb::LogLevel { filter, limit },
                VerbArguments::Logs { path } => Verb::Logs(path),
                VerbArguments::Bundle { output } => Verb::Bundle(output),
                VerbArguments::Cache(CacheVerb::Ls) => Verb::CacheLs,
                VerbArguments::Cache(CacheVerb::Purge { upstream, soft }) => Verb::CachePurge {
                    upstream,
                    softly: soft,
                },
                VerbArguments::Stdio => Verb::Stdio,
            },
        }
    }
}
