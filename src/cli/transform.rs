//! `byron transform`: its flags, and what is left of them once they are known to make sense.
//!
//! Three things in one command: the service, its list, and one poem without a service. The flags of the first make no sense
//! with the others, and are refused there.

use std::time::Duration;

use byron_actors::{NETSTRING_BYTES_MAX, TRANSFORMS, Transform, transform_named};
use clap::Args;
use clap::builder::PossibleValuesParser;

use super::server::{PlaceArguments, ServerArguments, ServerSettings};
use super::{UsageError, heading};
use crate::endpoint::{ListenEndpoint, parse_listen};
use crate::quantity::{parse_duration, parse_size};

/// Requests are kept in memory until they are answered, and there may be as many as connections.
const REQUEST_BYTES_MAX: u64 = 16 << 20;

const EXAMPLES: &str = "\
Examples:
  byron transform --port 11000 --http 11080       serve all transforms, by netstring and by HTTP
  printf '27:cummingsify.HERE IS MY POEM,' | nc 127.0.0.1 11000
  curl --data-binary @poetry/ecstasy.txt http://127.0.0.1:11080/transform/byronify
  byron transform --apply byronify --apply lines < poetry/ecstasy.txt
  byron get --transform cummingsify@11000 10000
";

/// What `byron transform` understands.
#[derive(Debug, Args)]
#[command(before_long_help = EXAMPLES)]
pub struct TransformArguments {
    #[command(flatten)]
    place: PlaceArguments,

    /// Serve HTTP there as well: POST /transform/NAME, GET /transforms; repeatable
    #[arg(long, value_name = "ENDPOINT", value_parser = parse_listen, help_heading = heading::COMMON)]
    http: Vec<ListenEndpoint>,

    /// Serve these transforms only, or list them
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = names())]
    #[arg(hide_possible_values = true, help_heading = heading::COMMON)]
    only: Vec<String>,

    /// List the transforms instead of serving them
    #[arg(long, conflicts_with_all = SERVING, help_heading = heading::COMMON)]
    list: bool,

    /// Transform standard input to standard output instead of serving; repeatable, in order
    #[arg(long, value_name = "NAME", value_parser = names(), hide_possible_values = true)]
    #[arg(conflicts_with_all = SERVING, conflicts_with_all = ["list", "only"], help_heading = heading::COMMON)]
    apply: Vec<String>,

    #[command(flatten)]
    server: ServerArguments,

    /// Longest poem that is transformed, with its name
    #[arg(long, value_name = "SIZE", default_value = "99999", value_parser = parse_size, help_heading = heading::NETWORK)]
    max_request: u64,

    /// Limit on the wait for all of a request
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = parse_duration, help_heading = heading::NETWORK)]
    request_timeout: Duration,
}

/// The flags that only a service has.
const SERVING: [&str; 17] = [
    "port",
    "iface",
    "listen",
    "http",
    "once",
    "max_connections",
    "write_timeout",
    "drain",
    "linger",
    "port_file",
    "ready_fd",
    "max_request",
    "request_timeout",
    "name",
    "observe",
    "chaos",
    "seed",
];

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(TRANSFORMS.iter().map(|transform| transform.name))
}

/// What `byron transform` is to do.
#[derive(Clone, Debug)]
pub enum TransformConfig {
    /// Lists transforms.
    List(Vec<Transform>),
    /// Transforms standard input, in this order.
    Apply(Vec<Transform>),
    /// Serves transforms.
    Serve(Box<TransformServiceConfig>),
}

/// What is served, where and how.
#[derive(Clone, Debug)]
pub struct TransformServiceConfig {
    /// What; at least one.
    pub transforms: Vec<Transform>,
    /// Where by netstring; at least one.
    pub netstring: Vec<ListenEndpoint>,
    /// Where by HTTP.
    pub http: Vec<ListenEndpoint>,
    /// The longest request.
    pub request_bytes_max: usize,
    /// How long a request may take to come.
    pub request_timeout: Duration,
    /// How the server is run.
    pub server: ServerSettings,
}

impl TransformArguments {
    /// What is to be done, unless the arguments contradict each other.
    pub fn into_config(self) -> Result<TransformConfig, UsageError> {
        let named = |names: &[String]| -> Vec<Transform> {
            let found = names.iter().filter_map(|name| transform_named(name));
            found.copied().collect()
        };
        if !self.apply.is_empty() {
            return Ok(TransformConfig::Apply(named(&self.apply)));
        }
        let transforms = if self.only.is_empty() {
            TRANSFORMS.to_vec()
        } else {
            named(&self.only)
        };
        if self.list {
            return Ok(TransformConfig::List(transforms));
        }
        if self.max_request > REQUEST_BYTES_MAX {
            return Err(UsageError::new(
                "--max-request is more than 16MiB, and each connection may keep one in memory; say less",
            ));
        }
        Ok(TransformConfig::Serve(Box::new(TransformServiceConfig {
            transforms,
            netstring: self.place.into_endpoints(),
            http: self.http,
            request_bytes_max: usize::try_from(self.max_request).unwrap_or(NETSTRING_BYTES_MAX),
            request_timeout: self.request_timeout,
            server: self.server.into_settings()?,
        })))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn config(arguments: &str) -> Result<TransformConfig, String> {
        let arguments = "byron transform "
            .split(' ')
            .chain(arguments.split(' '))
            .filter(|word| !word.is_empty());
        let cli = Cli::try_parse_from(arguments).map_err(|error| crate::cli::error_text(&error))?;
        let Command::Transform(transform) = cli.command else {
            panic!("not transform")
        };
        transform.into_config().map_err(|error| error.to_string())
    }

    fn service(arguments: &str) -> TransformServiceConfig {
        match config(arguments) {
            Ok(TransformConfig::Serve(service)) => *service,
            other => panic!("{arguments}: {other:?}"),
        }
    }

    #[test]
    fn everything_is_served_at_a_free_port_unless_something_else_is_said() {
        let all = service("");
        assert_eq!(all.transforms.len(), TRANSFORMS.len());
        assert_eq!(all.netstring, [ListenEndpoint::localhost(0)]);
        assert_eq!(all.http, []);
        assert_eq!(all.request_bytes_max, NETSTRING_BYTES_MAX);
        assert_eq!(all.request_timeout, byron_actors::REQUEST_TIMEOUT);

        let some = service("--port 11000 --http 11080 --only shout,byronify --max-request 1MiB");
        let names: Vec<_> = some
            .transforms
            .iter()
            .map(|transform| transform.name)
            .collect();
        assert_eq!(names, ["shout", "byronify"]);
        assert_eq!(some.http, [ListenEndpoint::localhost(11080)]);
        assert_eq!(some.request_bytes_max, 1 << 20);
    }

    #[test]
    fn what_makes_no_sense_together_is_refused() {
        for (arguments, message) in [
            ("--list --port 1", "cannot be used with"),
            ("--apply shout --http 1", "cannot be used with"),
            ("--apply shout --only lines", "cannot be used with"),
            ("--list --max-request 5", "cannot be used with"),
            ("--apply shuot", "a similar value exists: 'shout'"),
            ("--only a,shout", "[possible values: cummingsify, "),
            ("--max-request 17MiB", "more than 16MiB"),
        ] {
            let error = config(arguments).unwrap_err();
            assert!(error.contains(message), "{arguments}: {error}");
        }
        assert!(
            matches!(config("--list --only shout"), Ok(TransformConfig::List(list)) if list.len() == 1)
        );
        assert!(
            matches!(config("--apply shout --apply shout -q"), Ok(TransformConfig::Apply(apply)) if apply.len() == 2)
        );
    }
}
