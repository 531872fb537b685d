//! `byron get`: its flags, and what is left of them once they are known to make sense.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::chaos::{ChaosArguments, ChaosSettings};
use super::observed::ObservedArguments;
use super::value::{Jobs, parse_jobs, parse_sha256};
use super::{FrameChoice, UsageError, Verbosity, VerbosityArguments, heading};
use crate::endpoint::{Target, TransformArgument, parse_target, parse_transform};
use crate::observe::ObserveSettings;
use crate::output_file::{Existing, Partial};
use crate::present::order::Order;
use crate::present::progress::Progress;
use crate::quantity::{Limit, parse_duration, parse_escaped_text, parse_limit, parse_size};

const EXAMPLES: &str = "\
Examples:
  byron get 10001 10002 10003 > poems.txt        in this order; the first as it arrives
  byron get -O poems 10001=donne.txt 10002=yeats.txt
  byron get --jobs 1 --progress classic 10001 10002    as the tutorial's first client
  byron get -t byronify -t lines@11000 10001       transformed, here and by a server
  byron get --json donne.example:10000 | jq .poem.text
";

// The targets, as text: a doc comment would take the brackets for links.
const TARGETS: &str = "\
Servers: PORT (of this machine), HOST:PORT, [IPV6]:PORT, unix:PATH, tls:HOST:PORT, \
lib:PORT/TITLE; --help tells more";

const TARGETS_EACH: &str = "\
Servers, and the names of their poems' files in --output-dir:

PORT                     this machine
HOST:PORT, [IPV6]:PORT   another one
tcp:host=HOST:port=PORT  either; with :timeout=SECONDS for the connection attempt
unix:PATH, unix:@NAME    a Unix socket: a file, or a name that is none (Linux)
tls:HOST:PORT, tls:PORT  TLS; with :ca=FILE for authorities other than the system's,
                         and :cert=FILE:key=FILE to say who we are
lib:PORT/TITLE           the poem TITLE of a library, which may be at any of these
";

/// What `byron get` understands.
#[derive(Debug, Args)]
#[command(before_long_help = EXAMPLES)]
pub struct GetArguments {
    #[arg(value_name = "TARGET[=NAME]", required = true, value_parser = parse_target)]
    #[arg(help = TARGETS, long_help = TARGETS_EACH)]
    targets: Vec<Target>,

    /// Write the poem, or several in order, to FILE, which appears when all is there
    #[arg(short, long, value_name = "FILE", help_heading = heading::COMMON)]
    output: Option<PathBuf>,

    /// Write each poem to a file in DIR: NAME, or HOST-PORT.txt
    #[arg(short = 'O', long, value_name = "DIR", conflicts_with = "output", help_heading = heading::COMMON)]
    output_dir: Option<PathBuf>,

    /// Transform each poem, here or by a server; repeatable, in order
    #[arg(short, long, value_name = "NAME[@ENDPOINT]", value_parser = parse_transform, help_heading = heading::COMMON)]
    transform: Vec<TransformArgument>,

    #[command(flatten)]
    verbosity: VerbosityArguments,

    #[command(flatten)]
    observed: ObservedArguments,

    /// Get at most N poems at once [default: all]
    #[arg(short, long, value_name = "N", value_parser = parse_jobs, help_heading = heading::NETWORK)]
    jobs: Option<Jobs>,

    /// Try again N times after a failure
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = heading::NETWORK)]
    retry: u32,

    /// Wait before the first retry; doubles each time, with jitter
    #[arg(long, value_name = "DUR", default_value = "200ms", value_parser = parse_duration, help_heading = heading::NETWORK)]
    retry_delay: Duration,

    /// Limit on a connection attempt
    #[arg(long, value_name = "DUR|off", default_value = "10s", value_parser = parse_limit, help_heading = heading::NETWORK)]
    connect_timeout: Limit,

    /// Limit on the wait for the first byte
    #[arg(long, value_name = "DUR|off", default_value = "10s", value_parser = parse_limit, help_heading = heading::NETWORK)]
    first_byte_timeout: Limit,

    /// Limit on the wait between two bytes
    #[arg(long, value_name = "DUR|off", default_value = "30s", value_parser = parse_limit, help_heading = heading::NETWORK)]
    idle_timeout: Limit,

    /// Limit on a poem with all its retries
    #[arg(long, value_name = "DUR|off", default_value = "off", value_parser = parse_limit, help_heading = heading::NETWORK)]
    max_time: Limit,

    /// Give up all poems when one fails
    #[arg(long, help_heading = heading::NETWORK)]
    fail_fast: bool,

    /// What a transform that fails does to a poem; gibberish is always lost
    #[arg(
        long,
        value_name = "HOW",
        value_enum,
        default_value = "keep",
        requires = "transform"
    )]
    #[arg(help_heading = heading::ADVANCED, hide_short_help = true)]
    on_transform_error: TransformFailure,

    /// Limit on one attempt to transform a poem
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = parse_duration, requires = "transform")]
    #[arg(help_heading = heading::ADVANCED, hide_short_help = true)]
    transform_timeout: Duration,

    /// Which poem comes first
    #[arg(long, value_name = "ORDER", value_enum, default_value = "args", help_heading = heading::OUTPUT)]
    order: Order,

    /// Text between two poems; \n is a newline
    #[arg(long, value_name = "STR", value_parser = parse_escaped_text, help_heading = heading::OUTPUT)]
    #[arg(allow_hyphen_values = true)]
    separator: Option<String>,

    /// Print one JSON object per line; keeps each poem in memory until it is whole
    #[arg(long, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "poem")]
    #[arg(value_enum, help_heading = heading::OUTPUT)]
    json: Option<JsonLines>,

    /// How to show progress on standard error
    #[arg(long, value_name = "HOW", value_enum, default_value = "auto", help_heading = heading::OUTPUT)]
    progress: Progress,

    /// Keep a file that is there already, and fail
    #[arg(long, help_heading = heading::OUTPUT)]
    no_clobber: bool,

    /// Keep what has arrived of a failed poem, as FILE.part
    #[arg(long, help_heading = heading::ADVANCED, hide_short_help = true)]
    keep_partial: bool,

    /// How the end of a poem is known
    #[arg(long, value_name = "FRAME", value_enum, default_value = "eof", help_heading = heading::ADVANCED, hide_short_help = true)]
    frame: FrameChoice,

    /// Fail unless the poem has this SHA-256
    #[arg(long, value_name = "HEX", value_parser = parse_sha256, help_heading = heading::ADVANCED, hide_short_help = true)]
    sha256: Option<[u8; 32]>,

    /// Fail unless the poem has N bytes
    #[arg(long, value_name = "N", value_parser = parse_size, help_heading = heading::ADVANCED, hide_short_help = true)]
    expect_bytes: Option<u64>,

    /// Take an empty poem for a poem
    #[arg(long, help_heading = heading::ADVANCED, hide_short_help = true)]
    allow_empty: bool,

    /// Fail if a poem has more bytes than this
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = parse_size)]
    #[arg(help_heading = heading::ADVANCED, hide_short_help = true)]
    max_bytes: u64,

    /// Memory for each poem that waits for its turn, before a temporary file takes over
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = parse_size)]
    #[arg(help_heading = heading::ADVANCED, hide_short_help = true)]
    buffer: u64,

    /// Send the poem to the terminal as it is, control characters too
    #[arg(long, help_heading = heading::ADVANCED, hide_short_help = true)]
    raw: bool,

    #[command(flatten)]
    chaos: ChaosArguments,
}

/// What `byron get` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetConfig {
    /// The servers, in the order of the arguments; at least one.
    pub targets: Vec<Target>,
    /// Where the poems go.
    pub output: Output,
    /// What happens to a file that is there already.
    pub existing: Existing,
    /// What happens to a poem in a file that did not become whole.
    pub partial: Partial,
    /// The order of the poems.
    pub order: Order,
    /// What is written between two poems.
    pub separator: Option<String>,
    /// How many downloads run at once; all of them when absent.
    pub jobs: Option<NonZeroUsize>,
    /// How often a failed download is tried again.
    pub retries_max: u32,
    /// What each poem goes through, in order.
    pub transforms: Vec<TransformArgument>,
    /// What a transform that fails does to a poem.
    pub on_transform_error: byron_actors::OnTransformError,
    /// Limit on one attempt to transform a poem.
    pub transform_timeout: Duration,
    /// The wait before the first retry.
    pub retry_delay: Duration,
    /// Limit on a connection attempt, unless the target has its own.
    pub connect_timeout: Option<Duration>,
    /// Limit on the wait for the first byte.
    pub first_byte_timeout: Option<Duration>,
    /// Limit on the wait between two bytes.
    pub idle_timeout: Option<Duration>,
    /// Limit on a poem with all its retries.
    pub max_time: Option<Duration>,
    /// Whether one failure cancels all other downloads.
    pub fail_fast: bool,
    /// How the end of a poem is known.
    pub frame: byron_actors::Frame,
    /// What the poem must be.
    pub expected: Expectation,
    /// How much of a waiting poem stays in memory.
    pub spool_bytes_max: u64,
    /// What is printed for programs instead of the poems.
    pub json: Option<JsonLines>,
    /// How progress is shown.
    pub progress: Progress,
    /// Whether a terminal gets the poem as it is.
    pub raw: bool,
    /// The failures to rehearse.
    pub chaos: Option<ChaosSettings>,
    /// How much is said on standard error.
    pub verbosity: Verbosity,
    /// How it can be observed; not at all, if nobody asked for that.
    pub observe: ObserveSettings,
}

/// Where poems go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To standard output.
    Stdout,
    /// All to one file, in the order of the arguments.
    File(PathBuf),
    /// Each to its own file in a directory.
    Directory(PathBuf),
}

/// What a poem must be to count as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Its hash, if it is known.
    pub sha256: Option<[u8; 32]>,
    /// Its size, if it is known.
    pub bytes: Option<u64>,
    /// The size beyond which it is cut off and failed.
    pub bytes_max: u64,
    /// Whether nothing at all is a poem.
    pub allow_empty: bool,
}

/// How much of what happens is told in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum JsonLines {
    /// A line for each poem or failure and a summary
    Poem,
    /// A line for each thing that happens as well
    Events,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TransformFailure {
    /// The poem stays as it was
    Keep,
    /// The poem is lost
    Fail,
}

impl From<TransformFailure> for byron_actors::OnTransformError {
    fn from(failure: TransformFailure) -> Self {
        match failure {
            TransformFailure::Keep => Self::Keep,
            TransformFailure::Fail => Self::Fail,
        }
    }
}

impl GetArguments {
    /// What is to be done, unless the arguments contradict each other.
    pub fn into_config(self) -> Result<GetConfig, UsageError> {
        self.check()?;
        let chaos: Option<ChaosSettings> = self.chaos.into();
        if let Some(settings) = &chaos
            && settings.chaos.has_custom(byron_actors::RESET)
        {
            return Err(UsageError::new(
                "reset is a fault of a server's connections; to make a download fail say download:exit",
            ));
        }
        let output = match (self.output, self.output_dir) {
            (Some(file), _) if file.as_os_str() == "-" => Output::Stdout,
            (Some(file), _) => Output::File(file),
            (None, Some(directory)) => Output::Directory(directory),
            (None, None) => Output::Stdout,
        };
        Ok(GetConfig {
            targets: self.targets,
            output,
            existing: if self.no_clobber {
                Existing::Keep
            } else {
                Existing::Replace
            },
            partial: if self.keep_partial {
                Partial::Keep
            } else {
                Partial::Remove
            },
            order: self.order,
            separator: self.separator,
            jobs: self.jobs.and_then(|jobs| jobs.0),
            retries_max: self.retry,
            retry_delay: self.retry_delay,
            transforms: self.transform,
            on_transform_error: self.on_transform_error.into(),
            transform_timeout: self.transform_timeout,
            connect_timeout: self.connect_timeout.0,
            first_byte_timeout: self.first_byte_timeout.0,
            idle_timeout: self.idle_timeout.0,
            max_time: self.max_time.0,
            fail_fast: self.fail_fast,
            frame: self.frame.into(),
            expected: Expectation {
                sha256: self.sha256,
                bytes: self.expect_bytes,
                bytes_max: self.max_bytes,
                allow_empty: self.allow_empty,
            },
            spool_bytes_max: self.buffer,
            json: self.json,
            progress: self.progress,
            raw: self.raw,
            chaos,
            verbosity: self.verbosity.into(),
            observe: self.observed.into_settings_if_asked_for()?,
        })
    }

    /// The combinations without a meaning, each with a way out.
    fn check(&self) -> Result<(), UsageError> {
        let several = self.targets.len() > 1;
        let to_file = self.output.is_some();
        let to_directory = self.output_dir.is_some();
        let separate = to_directory || self.json.is_some();
        let expect_more = self
            .expect_bytes
            .is_some_and(|bytes| bytes > self.max_bytes);
        let rules = [
            (
                several && to_file && self.order != Order::Args,
                "-o takes several poems in the order of the arguments only; leave out --order or use -O DIR",
            ),
            (
                several && self.sha256.is_some(),
                "--sha256 is for one poem; get the others with a command of their own",
            ),
            (
                several && self.expect_bytes.is_some(),
                "--expect-bytes is for one poem; get the others with a command of their own",
            ),
            (
                expect_more,
                "--expect-bytes is more than --max-bytes; raise --max-bytes",
            ),
            (
                self.json.is_some() && self.order == Order::Interleave,
                "--json has no lines to interleave; leave out --order or use --json=events",
            ),
            (
                self.json.is_some() && (to_file || to_directory),
                "--json prints the poems itself; leave out -o and -O or take the poems from the JSON",
            ),
            (
                self.separator.is_some() && separate,
                "--separator stands between poems that are printed; with -O and --json they are separate already",
            ),
            (
                self.separator.is_some() && self.order == Order::Interleave,
                "--separator stands between whole poems; leave it out or use --order args or done",
            ),
            (
                (self.no_clobber || self.keep_partial) && !to_file && !to_directory,
                "--no-clobber and --keep-partial are about files; say which with -o FILE or -O DIR",
            ),
        ];
        if let Some((_, message)) = rules.into_iter().find(|(broken, _)| *broken) {
            return Err(UsageError::new(message));
        }
        let mut file_names = HashSet::new();
        let twice = self
            .targets
            .iter()
            .filter(|_| to_directory)
            .map(Target::file_name)
            .find(|name| !file_names.insert(name.clone()));
        match twice {
            Some(twice) => Err(UsageError::new(format!(
                "two poems would be the file {twice}; name one of them: TARGET=NAME"
            ))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn config(arguments: &str) -> Result<GetConfig, String> {
        let arguments = "byron get "
            .split(' ')
            .filter(|word| !word.is_empty())
            .chain(arguments.split(' '));
        let cli = Cli::try_parse_from(arguments).map_err(|error| crate::cli::error_text(&error))?;
        let Command::Get(get) = cli.command else {
            panic!("not get")
        };
        get.into_config().map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = config("10001").unwrap();
        assert_eq!(config.output, Output::Stdout);
        assert_eq!(
            (config.order, config.jobs, config.json),
            (Order::Args, None, None)
        );
        assert_eq!(
            (config.retries_max, config.retry_delay),
            (2, Duration::from_millis(200))
        );
        assert_eq!(config.connect_timeout, Some(Duration::from_secs(10)));
        assert_eq!(config.first_byte_timeout, Some(Duration::from_secs(10)));
        assert_eq!(config.idle_timeout, Some(Duration::from_secs(30)));
        assert_eq!(config.max_time, None);
        assert_eq!(
            (config.spool_bytes_max, config.expected.bytes_max),
            (8 << 20, 1 << 30)
        );
    }

    #[test]
    fn transforms_are_kept_in_order() {
        let config = config("-t shout -t lines@11000 --on-transform-error fail 1").unwrap();
        let labels: Vec<_> = config
            .transforms
            .iter()
            .map(TransformArgument::label)
            .collect();
        assert_eq!(labels, ["shout", "lines@127.0.0.1:11000"]);
        assert_eq!(
            config.on_transform_error,
            byron_actors::OnTransformError::Fail
        );
        assert_eq!(config.transform_timeout, byron_actors::REWRITING_TIMEOUT);
        assert_eq!(
            super::tests::config("-t whisper 1").unwrap_err(),
            "byron: unknown transform \"whisper\": there are cummingsify, byronify, lines, reverse, shout; \
             one of a server is NAME@ENDPOINT\n"
        );
        let alone = super::tests::config("--on-transform-error fail 1").unwrap_err();
        assert!(alone.contains("--transform <NAME[@ENDPOINT]>"), "{alone}");
    }

    #[test]
    fn flags_arrive() {
        let config =
            config("-j 1 --idle-timeout off --json=events --fail-fast a.example:1=x 2").unwrap();
        assert_eq!(config.jobs, NonZeroUsize::new(1));
        assert_eq!(
            (config.idle_timeout, config.json, config.fail_fast),
            (None, Some(JsonLines::Events), true)
        );
        assert_eq!(config.targets[0].name.as_deref(), Some("x"));
        assert_eq!(
            super::tests::config("--json 1").unwrap().json,
            Some(JsonLines::Poem)
        );
        assert_eq!(
            super::tests::config("-o - 1").unwrap().output,
            Output::Stdout
        );
    }

    #[test]
    fn what_makes_no_sense_together_is_refused_with_a_way_out() {
        let sha256 = "00".repeat(32);
        for arguments in [
            "-o a --order done 1 2",
            "--expect-bytes 5 1 2",
            "--expect-bytes 5 --max-bytes 4 1",
            "--json --order interleave 1",
            "--json -o a 1",
            "--json -O a 1",
            "--json --separator x 1",
            "--separator x -O a 1",
            "--separator x --order interleave 1 2",
            "--no-clobber 1",
            "--keep-partial 1",
            "-O a 1 1",
            &format!("--sha256 {sha256} 1 2"),
        ] {
            let message = config(arguments).unwrap_err();
            assert!(message.contains(';'), "{arguments}: {message}");
        }
        for arguments in [
            "-o a 1 2",
            "-o a --order done 1",
            "-O a 1 1=x",
            &format!("--sha256 {sha256} 1"),
        ] {
            config(arguments).unwrap();
        }
    }
}
