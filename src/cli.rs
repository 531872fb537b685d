//! The command line: what is parsed, what combinations make sense, and what the commands get.
//!
//! Two steps: clap reads the arguments into [`GetArguments`] and [`ServeArguments`]; their `into_config` turns them into
//! [`GetConfig`] and [`ServeConfig`], which know nothing of clap and hold no combination without a meaning.

use std::env;
use std::error::Error;
use std::ffi::OsString;

use byron_supervisors::chaos::ParseChaosError;
use clap::builder::PossibleValue;
use clap::builder::styling::{AnsiColor, Styles};
use clap::error::{ContextKind, ErrorKind};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use thiserror::Error;

pub use self::chaos::ChaosSettings;
pub use self::ctl::{Confirmation, CtlArguments, CtlConfig, Verb};
pub use self::get::{Expectation, GetArguments, GetConfig, JsonLines, Output};
pub use self::observe::{ObserveArguments, ObserveConfig, View};
pub use self::proxy::{Abandon, ProxiedUpstream, ProxyArguments, ProxyConfig};
pub use self::serve::{Pace, ServeArguments, ServeConfig, ServedPoem};
pub use self::server::ServerSettings;
pub use self::transform::{TransformArguments, TransformConfig, TransformServiceConfig};
pub use self::value::ParseValueError;
use crate::commands::completions::CompletionsArguments;
use crate::commands::man::ManArguments;
use crate::endpoint::{
    ParseEndpointError, ParsePoemArgumentError, ParseTargetError, ParseTransformError,
};
use crate::observe::{ParseInstanceAddressError, ParseInstanceNameError};
use crate::quantity::ParseQuantityError;

mod chaos;
mod ctl;
mod get;
mod observe;
mod observed;
mod proxy;
mod serve;
mod server;
mod transform;
mod value;

/// The headings of the help, in the order in which they appear.
mod heading {
    pub(super) const COMMON: &str = "Common";
    pub(super) const NETWORK: &str = "Network";
    pub(super) const OUTPUT: &str = "Output";
    pub(super) const ADVANCED: &str = "Advanced";
}

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXAMPLES: &str = "\
Examples:
  byron demo                                     see actors fall and the poems arrive
  byron serve poetry/ecstasy.txt --port 10000 --num-bytes 30 --delay 0.1
  byron get 10000 10001 10002                    three poems, in this order
";

/// Poetry over TCP as supervised actors
#[derive(Debug, Parser)]
#[command(name = "byron", version, styles = STYLES, before_long_help = EXAMPLES, max_term_width = 100)]
#[command(
    disable_help_flag = true,
    disable_version_flag = true,
    disable_help_subcommand = true
)]
#[command(arg_required_else_help = true, subcommand_required = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Print the version
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = heading::COMMON)]
    version: Option<bool>,

    #[command(flatten)]
    colour: Colour,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Get poems from servers and print them in order
    #[command(mut_arg("name", |name| name.help("Let byron ctl and byron observe reach it, as NAME")))]
    #[command(mut_arg("observe", |observe| observe.help(observed::OBSERVE_IF_ASKED_FOR)))]
    Get(Box<GetArguments>),
    /// Serve poems
    Serve(Box<ServeArguments>),
    /// Make other poems of poems, for whoever asks
    #[command(mut_arg("name", |name| name.help(observed::NAME_OF_COMMAND)))]
    Transform(Box<TransformArguments>),
    /// Serve the poems of other servers, and keep them for a while
    #[command(mut_arg("name", |name| name.help(observed::NAME_OF_COMMAND)))]
    Proxy(Box<ProxyArguments>),
    /// Show how running instances are, and what happens there
    Observe(Box<ObserveArguments>),
    /// Ask a running instance how it is, or have it do something
    Ctl(Box<CtlArguments>),
    /// Watch a small poetry network lose actors and none of its poems
    Demo(DemoArguments),
    /// Print a script that completes commands for a shell
    Completions(CompletionsArguments),
    /// Print the manual, or write it to a directory
    Man(ManArguments),
}

/// What `byron demo` understands.
#[derive(Debug, Args)]
pub struct DemoArguments {
    #[command(flatten)]
    verbosity: VerbosityArguments,
}

impl DemoArguments {
    /// How much the demo says.
    pub fn verbosity(&self) -> Verbosity {
        self.verbosity.into()
    }
}

#[derive(Debug, Args)]
struct Colour {
    /// When to use colours
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "auto",
        env = "BYRON_COLOR",
        hide_env = true
    )]
    #[arg(global = true, value_enum, help_heading = heading::COMMON)]
    color: ColourChoice,

    /// Print help; -h is short, --help has examples
    #[arg(short, long, global = true, action = ArgAction::Help, help_heading = heading::COMMON)]
    help: Option<bool>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ColourChoice {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, Args)]
struct VerbosityArguments {
    /// Say nothing but errors
    #[arg(short, long, conflicts_with = "verbose", help_heading = heading::COMMON)]
    quiet: bool,

    /// Say more; twice for everything
    #[arg(short, long, action = ArgAction::Count, help_heading = heading::COMMON)]
    verbose: u8,
}

/// How much is said on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors only.
    Quiet,
    /// What a person needs to know.
    Normal,
    /// What happens.
    Verbose,
    /// Everything.
    Everything,
}

impl From<VerbosityArguments> for Verbosity {
    fn from(VerbosityArguments { quiet, verbose }: VerbosityArguments) -> Verbosity {
        match verbose {
            _ if quiet => Verbosity::Quiet,
            0 => Verbosity::Normal,
            1 => Verbosity::Verbose,
            _ => Verbosity::Everything,
        }
    }
}

/// Arguments that are right one by one but make no sense together.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct UsageError(String);

impl UsageError {
    fn new(message: impl Into<String>) -> UsageError {
        UsageError(message.into())
    }
}

impl Cli {
    /// Makes every later writer of the program follow `--color`.
    pub fn apply_colour(&self) {
        self.colour.color.apply();
    }

    /// The same before anything is parsed: help and mistakes are printed when there is no [`Cli`].
    pub fn apply_colour_asked_for(arguments: impl IntoIterator<Item = OsString>) {
        if let Some(colour) = colour_asked_for(arguments, env::var_os("BYRON_COLOR")) {
            colour.apply();
        }
    }
}

impl ColourChoice {
    fn apply(self) {
        match self {
            ColourChoice::Auto => anstream::ColorChoice::Auto,
            ColourChoice::Always => anstream::ColorChoice::Always,
            ColourChoice::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }
}

/// What `--color WHEN` or `--color=WHEN` says among `arguments`, or else the environment; a guess, good enough for help.
fn colour_asked_for(
    arguments: impl IntoIterator<Item = OsString>,
    environment: Option<OsString>,
) -> Option<ColourChoice> {
    let mut arguments = arguments
        .into_iter()
        .filter_map(|argument| argument.into_string().ok());
    let flag = loop {
        match arguments.next().as_deref() {
            None | Some("--") => break None,
            Some("--color") => break arguments.next(),
            Some(argument) => {
                if let Some(when) = argument.strip_prefix("--color=") {
                    break Some(when.to_owned());
                }
            }
        }
    };
    let when = flag.or_else(|| environment?.into_string().ok())?;
    ColourChoice::from_str(&when, false).ok()
}

/// The text for standard error when clap refused the arguments: `byron: …`, one line if the mistake is in a value.
pub fn error_text(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return error.to_string();
    }
    if let Some(source) = error.source() {
        if source.is::<ParseTargetError>()
            || source.is::<ParsePoemArgumentError>()
            || source.is::<ParseTransformError>()
        {
            return format!("byron: {source}\n");
        }
        if source.is::<ParseQuantityError>()
            || source.is::<ParseValueError>()
            || source.is::<ParseEndpointError>()
            || source.is::<ParseInstanceNameError>()
            || source.is::<ParseInstanceAddressError>()
            || source.is::<ParseChaosError>()
        {
            let argument = error
                .get(ContextKind::InvalidArg)
                .map(ToString::to_string)
                .unwrap_or_default();
            return format!("byron: {argument}: {source}\n");
        }
    }
    let text = error.to_string();
    format!("byron: {}", text.strip_prefix("error: ").unwrap_or(&text))
}

/// Implements [`ValueEnum`] for a type of the presentation, which has never heard of clap.
macro_rules! value_enum {
    ($type:ty { $($variant:ident = $name:literal, $help:literal;)* }) => {
        impl ValueEnum for $type {
            fn value_variants<'a>() -> &'a [Self] {
                &[$(Self::$variant),*]
            }

            fn to_possible_value(&self) -> Option<PossibleValue> {
                Some(match self {
                    $(Self::$variant => PossibleValue::new($name).help($help),)*
                })
            }
        }
    };
}

value_enum!(crate::present::order::Order {
    Args = "args", "in the order of the arguments, the first as it arrives";
    Done = "done", "each whole, in the order in which they end";
    Interleave = "interleave", "line by line as they arrive, behind labels";
});

/// How the end of a poem is known.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum FrameChoice {
    /// The connection ends, as in the tutorial
    Eof,
    /// The poem is a netstring; one that is cut is none
    Netstring,
}

impl From<FrameChoice> for byron_actors::Frame {
    fn from(choice: FrameChoice) -> Self {
        match choice {
            FrameChoice::Eof => Self::Eof,
            FrameChoice::Netstring => Self::Netstring,
        }
    }
}

value_enum!(crate::present::progress::Progress {
    Auto = "auto", "what suits the terminal";
    Bars = "bars", "a line for each poem, if there is a terminal";
    Classic = "classic", "the lines of the tutorial's clients";
    None = "none", "nothing";
});

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn short_help_fits_on_a_screen() {
        const SCREEN_LINES: usize = 40;
        for command in [
            "get",
            "serve",
            "transform",
            "proxy",
            "demo",
            "completions",
            "man",
        ] {
            let help = Cli::try_parse_from(["byron", command, "-h"])
                .unwrap_err()
                .to_string();
            assert!(
                help.lines().count() <= SCREEN_LINES,
                "hide an option from `{command} -h`:\n{help}"
            );
        }
    }

    #[test]
    fn colour_is_known_before_the_rest_is() {
        let asked = |arguments: &str, environment: Option<&str>| {
            let choice = colour_asked_for(
                arguments.split(' ').map(OsString::from),
                environment.map(OsString::from),
            );
            choice.map(|choice| format!("{choice:?}"))
        };
        for (arguments, environment, expected) in [
            ("get --help", None, None),
            ("--color never --help", Some("always"), Some("Never")),
            ("get --color=always -h", None, Some("Always")),
            ("--help", Some("never"), Some("Never")),
            ("--help", Some("mauve"), None),
            ("get --color", None, None),
            ("get -- --color always", None, None),
        ] {
            assert_eq!(
                asked(arguments, environment).as_deref(),
                expected,
                "{arguments}"
            );
        }
    }

    #[test]
    fn verbosity_counts() {
        for (arguments, verbosity) in [
            (vec![], Verbosity::Normal),
            (vec!["-q"], Verbosity::Quiet),
            (vec!["-v"], Verbosity::Verbose),
            (vec!["-vvv"], Verbosity::Everything),
        ] {
            let cli = Cli::try_parse_from([vec!["byron", "demo"], arguments].concat()).unwrap();
            let Command::Demo(demo) = cli.command else {
                panic!("not the demo")
            };
            assert_eq!(demo.verbosity(), verbosity);
        }
    }
}
