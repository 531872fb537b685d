//! `byron proxy`: its flags, and what is left of them once they are known to make sense.
//!
//! Where an upstream's poem is served: `LOCAL=UPSTREAM`; for a single upstream `--port` and `--iface` or `--listen`; a free
//! port of this machine. Saying it twice is an error. An upstream that is named twice, with two locals, is one upstream
//! with one cache.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use byron_actors::Ttl;
use clap::{Args, ValueEnum};

use super::server::{PlaceArguments, ServerArguments, ServerSettings};
use super::value::parse_sha256;
use super::{FrameChoice, UsageError, heading};
use crate::endpoint::{
    ConnectEndpoint, ListenEndpoint, TransformArgument, UpstreamArgument, parse_transform,
    parse_upstream_argument,
};
use crate::quantity::{Limit, ParseQuantityError, parse_duration, parse_limit, parse_size};

const EXAMPLES: &str = "\
Examples:
  byron proxy 10000                              the poem of port 10000, on a free port
  byron proxy 10010=10000 10011=10001            two poems, each at a port of its own
  byron proxy --port 10010 --ttl 30s --stale-if-error off 10000
  byron proxy --port 10010 -t cummingsify@11000 10000
  byron proxy --port 10010 --store poems.redb --ttl forever donne.example:10000
";

/// What `byron proxy` understands.
#[derive(Debug, Args)]
#[command(before_long_help = EXAMPLES)]
pub struct ProxyArguments {
    // As text: a doc comment would take the brackets for a link.
    #[arg(value_name = "[LOCAL=]UPSTREAM", required = true, value_parser = parse_upstream_argument)]
    #[arg(
        help = "Servers (PORT, HOST:PORT, unix:PATH, tls:HOST:PORT ...); LOCAL is where to serve the poem"
    )]
    upstreams: Vec<UpstreamArgument>,

    #[command(flatten)]
    place: PlaceArguments,

    // As text: a doc comment would take the brackets for a link.
    #[arg(short, long, value_name = "NAME[@ENDPOINT]", value_parser = parse_transform, help_heading = heading::COMMON)]
    #[arg(help = "Transform the poems, and keep that; repeatable")]
    transform: Vec<TransformArgument>,

    /// How long a poem is fresh; with 0 only readers at the same time share one
    #[arg(long, value_name = "DUR|0|forever", default_value = "2h", value_parser = parse_ttl, help_heading = heading::COMMON)]
    ttl: Ttl,

    /// Serve the old poem for so long after that while the next is fetched
    #[arg(long, value_name = "DUR|off", default_value = "10s", value_parser = parse_span)]
    #[arg(help_heading = heading::ADVANCED, hide_short_help = true)]
    grace: Duration,

    /// Serve the old poem for so long after that if no other can be had
    #[arg(long, value_name = "DUR|off", default_value = "1d", value_parser = parse_span, help_heading = heading::COMMON)]
    stale_if_error: Duration,

    /// Keep the poems in FILE too, to survive the program
    #[arg(long, value_name = "FILE", help_heading = heading::COMMON)]
    store: Option<PathBuf>,

    #[command(flatten)]
    server: ServerArguments,

    /// What becomes of a fetch when its last reader leaves
    #[arg(long, value_name = "WHAT", value_enum, default_value = "cancel")]
    #[arg(help_heading = heading::ADVANCED, hide_short_help = true)]
    abandon: Abandon,

    /// How long a server that could not be reached is left alone
    #[arg(long, value_name = "DUR|off", default_value = "1s", value_parser = parse_span)]
    #[arg(help_heading = heading::ADVANCED, hide_short_help = true)]
    error_ttl: Duration,

    /// Keep at most so many bytes of poems, those that were asked for last
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_size)]
    #[arg(help_heading = heading::ADVANCED, hide_short_help = true)]
    max_size: u64,

    /// Cut off a poem that has more bytes than this
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_size)]
    #[arg(help_heading = heading::ADVANCED, hide_short_help = true)]
    max_poem: u64,

    /// Limit on a connection attempt
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = parse_duration)]
    #[arg(help_heading = heading::ADVANCED, hide_short_help = true)]
    connect_timeout: Duration,

    /// Limit on the wait for the first byte
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = parse_duration)]
    #[arg(help_heading = heading::ADVANCED, hide_short_help = true)]
    first_byte_timeout: Duration,

    /// Limit on the wait between two bytes
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = parse_duration)]
    #[arg(help_heading = heading::ADVANCED, hide_short_help = true)]
    idle_timeout: Duration,

    /// Limit on a whole fetch
    #[arg(long, value_name = "DUR|off", default_value = "1d", value_parser = parse_limit)]
    #[arg(help_heading = heading::ADVANCED, hide_short_help = true)]
    max_time: Limit,

    /// Limit on each transform of a poem
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = parse_duration, requires = "transform")]
    #[arg(help_heading = heading::ADVANCED, hide_short_help = true)]
    transform_timeout: Duration,

    /// How the servers end their poems, and the proxy too
    #[arg(long, value_name = "FRAME", value_enum, default_value = "eof", help_heading = heading::ADVANCED, hide_short_help = true)]
    frame: FrameChoice,

    /// Take an empty poem for a poem
    #[arg(long, help_heading = heading::ADVANCED, hide_short_help = true)]
    allow_empty: bool,

    /// Pass on and keep only a poem with this SHA-256, as sha256sum prints it
    #[arg(long, value_name = "HEX", value_parser = parse_sha256, help_heading = heading::ADVANCED, hide_short_help = true)]
    sha256: Option<[u8; 32]>,

    /// Pass on and keep only a poem of N bytes
    #[arg(long, value_name = "N", value_parser = parse_size, help_heading = heading::ADVANCED, hide_short_help = true)]
    expect_bytes: Option<u64>,
}

/// What becomes of a fetch when its last reader leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Abandon {
    /// It is cancelled
    Cancel,
    /// It goes on, for the next reader
    Finish,
}

/// What `byron proxy` is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyConfig {
    /// Whose poems, and where they are served; at least one.
    pub upstreams: Vec<ProxiedUpstream>,
    /// How long a poem is fresh.
    pub ttl: Ttl,
    /// How long after that it is served while the next one is fetched.
    pub grace: Duration,
    /// How long after that it is served if no other can be had.
    pub stale_if_error: Duration,
    /// How long a server that could not be reached is left alone.
    pub error_ttl: Duration,
    /// How many bytes are kept in all.
    pub cache_bytes_max: u64,
    /// The longest poem.
    pub poem_bytes_max: u64,
    /// What becomes of a fetch when its last reader leaves.
    pub abandon: Abandon,
    /// The file that keeps the poems.
    pub store: Option<PathBuf>,
    /// Limit on a connection attempt, unless the upstream has its own.
    pub connect_timeout: Duration,
    /// Limit on the wait for the first byte.
    pub first_byte_timeout: Duration,
    /// Limit on the wait between two bytes.
    pub idle_timeout: Duration,
    /// Limit on a whole fetch.
    pub max_time: Option<Duration>,
    /// What the poems go through, in order.
    pub transforms: Vec<TransformArgument>,
    /// Limit on each transform of a poem.
    pub transform_timeout: Duration,
    /// How poems end, the servers' and ours.
    pub frame: byron_actors::Frame,
    /// Whether nothing at all is a poem.
    pub allow_empty: bool,
    /// The hash of the poem, of the only upstream.
    pub sha256: Option<[u8; 32]>,
    /// The length of the poem, of the only upstream.
    pub expected_bytes: Option<u64>,
    /// How the server is run.
    pub server: ServerSettings,
}

/// A server whose poem is served elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxiedUpstream {
    /// Where it is.
    pub endpoint: ConnectEndpoint,
    /// Where its poem is served; at least one.
    pub locals: Vec<ListenEndpoint>,
}

impl ProxyArguments {
    /// What is to be done, unless the arguments contradict each other.
    pub fn into_config(self) -> Result<ProxyConfig, UsageError> {
        if self.max_poem == 0 {
            return Err(UsageError::new(
                "--max-poem 0 would let no poem through; say 1 or more",
            ));
        }
        let upstreams = assign(self.upstreams, self.place)?;
        check_expected(
            upstreams.len(),
            self.sha256,
            self.expect_bytes,
            self.max_poem,
        )?;
        Ok(ProxyConfig {
            upstreams,
            ttl: self.ttl,
            grace: self.grace,
            stale_if_error: self.stale_if_error,
            error_ttl: self.error_ttl,
            cache_bytes_max: self.max_size,
            poem_bytes_max: self.max_poem,
            abandon: self.abandon,
            store: self.store,
            connect_timeout: self.connect_timeout,
            first_byte_timeout: self.first_byte_timeout,
            idle_timeout: self.idle_timeout,
            max_time: self.max_time.0,
            transforms: self.transform,
            transform_timeout: self.transform_timeout,
            frame: self.frame.into(),
            allow_empty: self.allow_empty,
            sha256: self.sha256,
            expected_bytes: self.expect_bytes,
            server: self.server.into_settings()?,
        })
    }
}

/// What is known of a poem beforehand is of one poem, and of one that is let through.
fn check_expected(
    upstreams: usize,
    sha256: Option<[u8; 32]>,
    bytes: Option<u64>,
    bytes_max: u64,
) -> Result<(), UsageError> {
    let flag = match (sha256, bytes) {
        (Some(_), _) => "--sha256",
        (None, Some(_)) => "--expect-bytes",
        (None, None) => return Ok(()),
    };
    if upstreams > 1 {
        return Err(UsageError::new(format!(
            "{flag} is for one poem, there are {upstreams} servers; give each a proxy of its own"
        )));
    }
    if bytes > Some(bytes_max) {
        return Err(UsageError::new(
            "--expect-bytes is more than --max-poem; raise --max-poem",
        ));
    }
    Ok(())
}

fn assign(
    arguments: Vec<UpstreamArgument>,
    place: PlaceArguments,
) -> Result<Vec<ProxiedUpstream>, UsageError> {
    if let Some(flag) = place.flag() {
        if arguments.len() > 1 {
            return Err(UsageError::new(format!(
                "{flag} is for one server, there are {}; give each its endpoint: 10010=10000 10011=10001",
                arguments.len()
            )));
        }
        if arguments.iter().any(|argument| argument.local.is_some()) {
            return Err(UsageError::new(format!(
                "{flag} and LOCAL=UPSTREAM both say where; leave one out"
            )));
        }
    }
    let by_flags = place.into_endpoints();
    let mut upstreams: Vec<ProxiedUpstream> = Vec::new();
    for UpstreamArgument { local, upstream } in arguments {
        let locals = local.map_or_else(|| by_flags.clone(), |local| vec![local]);
        match upstreams
            .iter_mut()
            .find(|known| known.endpoint == upstream)
        {
            Some(known) => known.locals.extend(locals),
            None => upstreams.push(ProxiedUpstream {
                endpoint: upstream,
                locals,
            }),
        }
    }
    let mut taken = HashSet::new();
    let mut fixed = upstreams
        .iter()
        .flat_map(|upstream| &upstream.locals)
        .filter(|local| local.place.is_exclusive());
    if let Some(twice) = fixed.find(|local| !taken.insert(&local.place)) {
        return Err(UsageError::new(format!(
            "{} is wanted twice; every server needs an endpoint of its own",
            twice.place
        )));
    }
    Ok(upstreams)
}

fn parse_ttl(input: &str) -> Result<Ttl, ParseQuantityError> {
    match input {
        "forever" => Ok(Ttl::Forever),
        "0" => Ok(Ttl::Coalesce),
        _ => parse_duration(input).map(Ttl::from),
    }
}

/// A span that may be nothing: `off`.
fn parse_span(input: &str) -> Result<Duration, ParseQuantityError> {
    match input {
        "off" | "0" => Ok(Duration::ZERO),
        _ => parse_duration(input),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn config(arguments: &str) -> Result<ProxyConfig, String> {
        let arguments = ["byron", "proxy"].into_iter().chain(arguments.split(' '));
        let cli = Cli::try_parse_from(arguments).map_err(|error| crate::cli::error_text(&error))?;
        let Command::Proxy(proxy) = cli.command else {
            panic!("not proxy")
        };
        proxy.into_config().map_err(|error| error.to_string())
    }

    /// `UPSTREAM at LOCAL and LOCAL`.
    fn places(arguments: &str) -> Vec<String> {
        let upstreams = config(arguments).unwrap().upstreams;
        let place = |upstream: &ProxiedUpstream| {
            let locals: Vec<_> = upstream.locals.iter().map(ToString::to_string).collect();
            format!("{} at {}", upstream.endpoint.label(), locals.join(" and "))
        };
        upstreams.iter().map(place).collect()
    }

    #[test]
    fn where_a_poem_is_served_depends_on_who_says_it() {
        for (arguments, expected) in [
            ("1", vec!["127.0.0.1:1 at localhost:0"]),
            ("--port 9 1", vec!["127.0.0.1:1 at localhost:9"]),
            (
                "--listen 8 --listen *:9 1",
                vec!["127.0.0.1:1 at localhost:8 and *:9"],
            ),
            (
                "8=1 9=2 3",
                vec![
                    "127.0.0.1:1 at localhost:8",
                    "127.0.0.1:2 at localhost:9",
                    "127.0.0.1:3 at localhost:0",
                ],
            ),
            (
                "8=1 9=1",
                vec!["127.0.0.1:1 at localhost:8 and localhost:9"],
            ),
        ] {
            assert_eq!(places(arguments), expected, "{arguments}");
        }
    }

    #[test]
    fn what_makes_no_sense_together_is_refused_with_a_way_out() {
        for (arguments, message) in [
            (
                "--port 9 1 2",
                "--port is for one server, there are 2; give each its endpoint: 10010=10000 10011=10001",
            ),
            (
                "--port 9 8=1",
                "--port and LOCAL=UPSTREAM both say where; leave one out",
            ),
            (
                "9=1 9=2",
                "localhost:9 is wanted twice; every server needs an endpoint of its own",
            ),
            (
                "--max-poem 0 1",
                "--max-poem 0 would let no poem through; say 1 or more",
            ),
            (
                "--expect-bytes 3003 1 2",
                "--expect-bytes is for one poem, there are 2 servers; give each a proxy of its own",
            ),
            (
                "--expect-bytes 2MB --max-poem 1MB 1",
                "--expect-bytes is more than --max-poem; raise --max-poem",
            ),
        ] {
            assert_eq!(config(arguments).unwrap_err(), message);
        }
    }

    #[test]
    fn limits_have_the_defaults_of_the_actors() {
        let config = config("1").unwrap();
        let rules = byron_actors::CacheRules::default();
        assert_eq!(config.ttl, rules.ttl);
        assert_eq!(config.grace, rules.grace);
        assert_eq!(config.stale_if_error, rules.stale_if_error);
        assert_eq!(config.error_ttl, rules.error_ttl);
        assert_eq!(config.cache_bytes_max, rules.bytes_max);
        assert_eq!(config.poem_bytes_max, byron_actors::PROXY_POEM_BYTES_MAX);
        assert_eq!(config.max_time, Some(byron_actors::FETCH_TIMEOUT));
        assert_eq!(config.transform_timeout, byron_actors::REWRITING_TIMEOUT);
        let patience = byron_actors::Patience::default();
        assert_eq!(config.connect_timeout, patience.connect_timeout);
        assert_eq!(config.first_byte_timeout, patience.first_byte_timeout);
        assert_eq!(config.idle_timeout, patience.idle_timeout);
    }

    #[test]
    fn a_ttl_is_a_duration_nothing_or_for_ever() {
        for (ttl, expected) in [
            ("0", Ttl::Coalesce),
            ("0s", Ttl::Coalesce),
            ("500ms", Ttl::For(Duration::from_millis(500))),
            ("forever", Ttl::Forever),
        ] {
            assert_eq!(config(&format!("--ttl {ttl} 1")).unwrap().ttl, expected);
        }
        let error = config("--ttl 5 1").unwrap_err();
        assert!(error.contains("invalid duration \"5\": no unit"), "{error}");
    }
}
