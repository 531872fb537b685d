//! The flags that every server has, and what is left of them: where it listens, whom it lets in, when it ends.
//!
//! A command flattens [`PlaceArguments`] and [`ServerArguments`] into its own arguments, and [`ServerSettings`] into its
//! config; `commands::server` runs whatever was made of them.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::chaos::{ChaosArguments, ChaosSettings};
use super::observed::ObservedArguments;
use super::value::parse_count;
use super::{UsageError, Verbosity, VerbosityArguments, heading};
use crate::endpoint::{
    Host, Interface, ListenEndpoint, parse_listen, parse_listen_interface, parse_listen_port,
};
use crate::observe::ObserveSettings;
use crate::quantity::{Limit, parse_duration, parse_limit};

/// Where a server listens.
#[derive(Debug, Args)]
pub(super) struct PlaceArguments {
    /// Port to listen on [default: a free one]
    #[arg(long, value_name = "N", value_parser = parse_listen_port, help_heading = heading::COMMON)]
    port: Option<u16>,

    /// Interface for --port: an address, a name or * [default: localhost]
    #[arg(long, value_name = "HOST", value_parser = parse_listen_interface, conflicts_with = "listen", help_heading = heading::NETWORK)]
    iface: Option<Interface>,

    /// Endpoint to listen on, such as *:PORT, unix:PATH or tls:PORT:cert=FILE; repeatable
    #[arg(long, value_name = "ENDPOINT", value_parser = parse_listen, conflicts_with = "port", help_heading = heading::NETWORK)]
    listen: Vec<ListenEndpoint>,
}

impl PlaceArguments {
    /// The flag that says where, if one does.
    pub(super) fn flag(&self) -> Option<&'static str> {
        match (self.port, &self.iface, self.listen.is_empty()) {
            (Some(_), _, _) => Some("--port"),
            (None, _, false) => Some("--listen"),
            (None, Some(_), true) => Some("--iface"),
            (None, None, true) => None,
        }
    }

    /// Where to listen, at least at one place: a free port of this machine, if nothing else is said.
    pub(super) fn into_endpoints(self) -> Vec<ListenEndpoint> {
        if !self.listen.is_empty() {
            return self.listen;
        }
        let interface = self.iface.unwrap_or(Interface::Host(Host::Localhost));
        vec![ListenEndpoint::tcp(interface, self.port.unwrap_or(0))]
    }
}

/// How a server is run.
#[derive(Debug, Args)]
pub(super) struct ServerArguments {
    /// End after N readers have been served whole at each endpoint [default without N: 1]
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1")]
    #[arg(value_parser = parse_count, help_heading = heading::COMMON)]
    once: Option<NonZeroUsize>,

    #[command(flatten)]
    observed: ObservedArguments,

    #[command(flatten)]
    verbosity: VerbosityArguments,

    /// Readers at once; more have to wait
    #[arg(long, value_name = "N", default_value = "1024", value_parser = parse_count, help_heading = heading::NETWORK)]
    max_connections: NonZeroUsize,

    /// Limit on a reader who takes nothing
    #[arg(long, value_name = "DUR|off", default_value = "60s", value_parser = parse_limit, help_heading = heading::NETWORK)]
    write_timeout: Limit,

    /// Limit on what is still going when told to stop
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = parse_duration, help_heading = heading::NETWORK)]
    drain: Duration,

    /// Limit on the wait for the reader to close after the last byte
    #[arg(long, value_name = "DUR", default_value = "30s", value_parser = parse_duration)]
    #[arg(help_heading = heading::ADVANCED, hide_short_help = true)]
    linger: Duration,

    /// Write the ports to FILE once they are open, one per line; for other endpoints what byron get takes
    #[arg(long, value_name = "FILE", help_heading = heading::ADVANCED)]
    port_file: Option<PathBuf>,

    /// Write a newline to this file descriptor once the ports are open
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    #[arg(help_heading = heading::ADVANCED, hide_short_help = true)]
    ready_fd: Option<u32>,

    #[command(flatten)]
    chaos: ChaosArguments,
}

/// How a server is run, whatever it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// How many readers are served at once.
    pub connections_max: NonZeroUsize,
    /// How long a reader may take nothing.
    pub write_timeout: Option<Duration>,
    /// How long what is under way may go on when the server is told to stop.
    pub drain: Duration,
    /// How long to wait for the reader to close after the last byte.
    pub linger: Duration,
    /// After how many readers served whole, at each endpoint, the server ends; never when absent.
    pub readers_max: Option<NonZeroUsize>,
    /// The file for the ports.
    pub port_file: Option<PathBuf>,
    /// The file descriptor for readiness, by the protocol of s6.
    pub ready_fd: Option<u32>,
    /// How it can be observed.
    pub observe: ObserveSettings,
    /// The failures to rehearse.
    pub chaos: Option<ChaosSettings>,
    /// How much is said on standard error.
    pub verbosity: Verbosity,
}

impl ServerArguments {
    /// What is left of them, unless they contradict each other.
    pub(super) fn into_settings(self) -> Result<ServerSettings, UsageError> {
        Ok(ServerSettings {
            connections_max: self.max_connections,
            write_timeout: self.write_timeout.0,
            drain: self.drain,
            linger: self.linger,
            readers_max: self.once,
            port_file: self.port_file,
            ready_fd: self.ready_fd,
            observe: self.observed.into_settings()?,
            chaos: self.chaos.into(),
            verbosity: self.verbosity.into(),
        })
    }
}
