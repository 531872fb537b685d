//! `byron serve`: its flags, and what is left of them once they are known to make sense.
//!
//! Where a poem is served, from the most to the least particular: `POEM@ENDPOINT`; for a single poem `--listen` (as often as
//! wanted) or `--port` and `--iface`; a free port of this machine. Saying it twice is an error, not a guess.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser, ValueParser};

use super::server::{PlaceArguments, ServerArguments, ServerSettings};
use super::{FrameChoice, UsageError, heading};
use crate::endpoint::{ListenEndpoint, ListenPlace, PoemArgument, PoemSource, parse_poem_argument};
use crate::quantity::{parse_seconds, parse_size};

/// The tutorial's slow server: this many bytes at a time.
const CHUNK_BYTES_DEFAULT: u64 = 10;
/// The tutorial's slow server: this long between them.
const DELAY_DEFAULT: Duration = Duration::from_millis(700);

const EXAMPLES: &str = "\
Examples:
  byron serve poetry/ecstasy.txt --port 10000                    at once
  byron serve poetry/ecstasy.txt@10000 poetry/science.txt@10001  several poems
  byron serve --num-bytes 30 --delay 0.1 poetry/ecstasy.txt      slowly, on a free port
  byron serve poetry --library --port 10000                      all of them, by title
  fortune | byron serve - --port 10000 --once                    to one reader
";

/// What `byron serve` understands.
#[derive(Debug, Args)]
#[command(before_long_help = EXAMPLES)]
pub struct ServeArguments {
    /// Poems: a file or - for standard input, with an endpoint if there are several
    #[arg(value_name = "POEM[@ENDPOINT]", required = true, value_parser = poem_argument())]
    poems: Vec<PoemArgument>,

    #[command(flatten)]
    place: PlaceArguments,

    /// Send N bytes at a time [default with --delay: 10]
    #[arg(long, value_name = "N", value_parser = parse_size, help_heading = heading::COMMON)]
    num_bytes: Option<u64>,

    /// Wait this long between them, in seconds [default with --num-bytes: 0.7]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, help_heading = heading::COMMON)]
    delay: Option<Duration>,

    /// Serve the new text when a file changes
    #[arg(long, help_heading = heading::COMMON)]
    watch: bool,

    /// Serve all poems of each directory POEM, by title: byron get lib:PORT/TITLE
    #[arg(long, conflicts_with_all = ["num_bytes", "delay", "watch", "frame"], help_heading = heading::COMMON)]
    library: bool,

    /// How readers know the end of a poem
    #[arg(long, value_name = "FRAME", value_enum, default_value = "eof", help_heading = heading::ADVANCED, hide_short_help = true)]
    frame: FrameChoice,

    #[command(flatten)]
    server: ServerArguments,
}

/// What `byron serve` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeConfig {
    /// The poems, in the order of the arguments; at least one.
    pub poems: Vec<ServedPoem>,
    /// How slowly; at once when absent.
    pub pace: Option<Pace>,
    /// Whether a changed file is served anew.
    pub watch: bool,
    /// Whether the poems are directories, of which each poem can be asked for.
    pub library: bool,
    /// How readers know the end of a poem.
    pub frame: byron_actors::Frame,
    /// How the server is run.
    pub server: ServerSettings,
}

/// A poem and where it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedPoem {
    /// The poem.
    pub source: PoemSource,
    /// Where; at least one.
    pub endpoints: Vec<ListenEndpoint>,
}

/// How slowly a poem is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How many bytes at a time.
    pub chunk_bytes: NonZeroUsize,
    /// The wait between them.
    pub delay: Duration,
}

impl ServeArguments {
    /// What is to be done, unless the arguments contradict each other.
    pub fn into_config(self) -> Result<ServeConfig, UsageError> {
        let pace = pace(self.num_bytes, self.delay)?;
        let stdin_count = self
            .poems
            .iter()
            .filter(|poem| poem.source == PoemSource::Stdin)
            .count();
        if stdin_count > 1 {
            return Err(UsageError::new(
                "standard input can be one poem only; put the others into files",
            ));
        }
        if stdin_count > 0 && self.watch {
            return Err(UsageError::new(
                "standard input cannot be watched; put the poem into a file",
            ));
        }
        if stdin_count > 0 && self.library {
            return Err(UsageError::new(
                "standard input is no library; name a directory of poems",
            ));
        }
        let poems = assign(self.place, self.poems)?;
        let mut taken = HashSet::new();
        let mut fixed = poems
            .iter()
            .flat_map(|poem| &poem.endpoints)
            .filter(|endpoint| endpoint.place.is_exclusive());
        if let Some(twice) = fixed.find(|endpoint| !taken.insert(&endpoint.place)) {
            return Err(UsageError::new(format!(
                "{} is wanted twice; every poem needs an endpoint of its own",
                twice.place
            )));
        }
        let is_stdio = |endpoint: &ListenEndpoint| endpoint.place == ListenPlace::Stdio;
        if stdin_count > 0 && poems.iter().any(|poem| poem.endpoints.iter().any(is_stdio)) {
            return Err(UsageError::new(
                "standard input cannot be the poem and stdio: too; put the poem into a file",
            ));
        }
        Ok(ServeConfig {
            poems,
            pace,
            watch: self.watch,
            library: self.library,
            frame: self.frame.into(),
            server: self.server.into_settings()?,
        })
    }
}

/// Gives each poem its endpoints: its own, or those of the flags if it is the only one.
fn assign(place: PlaceArguments, poems: Vec<PoemArgument>) -> Result<Vec<ServedPoem>, UsageError> {
    if let Some(flag) = place.flag() {
        if poems.len() > 1 {
            return Err(UsageError::new(format!(
                "{flag} is for one poem, there are {}; give each its endpoint: \
                 poetry/ecstasy.txt@10000 poetry/science.txt@10001",
                poems.len()
            )));
        }
        if poems.iter().any(|poem| poem.endpoint.is_some()) {
            return Err(UsageError::new(format!(
                "{flag} and POEM@ENDPOINT both say where; leave one out"
            )));
        }
    }
    let by_flags = place.into_endpoints();
    let served = poems
        .into_iter()
        .map(|PoemArgument { source, endpoint }| ServedPoem {
            source,
            endpoints: endpoint.map_or_else(|| by_flags.clone(), |endpoint| vec![endpoint]),
        });
    Ok(served.collect())
}

/// Either flag makes the server slow; the other has the tutorial's value then.
fn pace(num_bytes: Option<u64>, delay: Option<Duration>) -> Result<Option<Pace>, UsageError> {
    if num_bytes.is_none() && delay.is_none() {
        return Ok(None);
    }
    let chunk_bytes = usize::try_from(num_bytes.unwrap_or(CHUNK_BYTES_DEFAULT))
        .ok()
        .and_then(NonZeroUsize::new);
    let chunk_bytes = chunk_bytes
        .ok_or_else(|| UsageError::new("--num-bytes 0 would never send a byte; say 1 or more"))?;
    Ok(Some(Pace {
        chunk_bytes,
        delay: delay.unwrap_or(DELAY_DEFAULT),
    }))
}

fn poem_argument() -> ValueParser {
    OsStringValueParser::new()
        .try_map(|argument| parse_poem_argument(&argument))
        .into()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn config(arguments: &str) -> Result<ServeConfig, String> {
        let arguments = ["byron", "serve"].into_iter().chain(arguments.split(' '));
        let cli = Cli::try_parse_from(arguments).map_err(|error| crate::cli::error_text(&error))?;
        let Command::Serve(serve) = cli.command else {
            panic!("not serve")
        };
        serve.into_config().map_err(|error| error.to_string())
    }

    fn endpoints(arguments: &str) -> Vec<String> {
        let poems = config(arguments).unwrap().poems;
        poems
            .iter()
            .flat_map(|poem| &poem.endpoints)
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn where_a_poem_is_served_depends_on_who_says_it() {
        for (arguments, expected) in [
            ("p", vec!["localhost:0"]),
            ("--port 10000 p", vec!["localhost:10000"]),
            ("--port 10000 --iface * p", vec!["*:10000"]),
            ("--iface ::1 p", vec!["[::1]:0"]),
            ("--listen 1 --listen *:2 p", vec!["localhost:1", "*:2"]),
            ("p@1 q@2", vec!["localhost:1", "localhost:2"]),
            ("p q@2", vec!["localhost:0", "localhost:2"]),
        ] {
            assert_eq!(endpoints(arguments), expected, "{arguments}");
        }
    }

    #[test]
    fn what_makes_no_sense_together_is_refused_with_a_way_out() {
        for (arguments, message) in [
            (
                "--port 1 p q",
                "--port is for one poem, there are 2; give each its endpoint: poetry/ecstasy.txt@10000 poetry/science.txt@10001",
            ),
            (
                "--port 1 p@2",
                "--port and POEM@ENDPOINT both say where; leave one out",
            ),
            (
                "p@1 q@1",
                "localhost:1 is wanted twice; every poem needs an endpoint of its own",
            ),
            (
                "-- - -@1",
                "standard input can be one poem only; put the others into files",
            ),
            (
                "--watch -",
                "standard input cannot be watched; put the poem into a file",
            ),
            (
                "--num-bytes 0 p",
                "--num-bytes 0 would never send a byte; say 1 or more",
            ),
        ] {
            assert_eq!(config(arguments).unwrap_err(), message);
        }
    }

    #[test]
    fn limits_have_the_defaults_of_the_actors() {
        let config = config("p").unwrap().server;
        assert_eq!(config.linger, byron_actors::LINGER_TIMEOUT);
        assert_eq!(config.write_timeout, Some(byron_actors::WRITE_TIMEOUT));
        assert_eq!(config.drain, byron_actors::DRAIN);
        assert_eq!(config.connections_max.get(), byron_actors::CONNECTIONS_MAX);
    }

    #[test]
    fn either_flag_makes_the_server_slow() {
        let pace = |bytes, milliseconds| {
            Some(Pace {
                chunk_bytes: NonZeroUsize::new(bytes).unwrap(),
                delay: Duration::from_millis(milliseconds),
            })
        };
        for (arguments, expected) in [
            ("p", None),
            ("--num-bytes 30 p", pace(30, 700)),
            ("--delay 0.1 p", pace(10, 100)),
            ("--num-bytes 1KiB --delay 2s p", pace(1024, 2000)),
        ] {
            assert_eq!(config(arguments).unwrap().pace, expected, "{arguments}");
        }
    }

    #[test]
    fn once_may_be_more_than_once() {
        for (arguments, expected) in [("p", None), ("--once p", Some(1)), ("--once=3 p", Some(3))] {
            let readers_max = config(arguments).unwrap().server.readers_max;
            assert_eq!(readers_max.map(NonZeroUsize::get), expected, "{arguments}");
        }
    }
}
