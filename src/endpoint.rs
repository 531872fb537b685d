//! Endpoints: where a poem is served and where it is fetched from.
//!
//! One grammar for flags, and one parser ([`parse_listen`], [`parse_connect`]); pure, it opens and resolves nothing.
//!
//! ```text
//! endpoint := PORT | [HOST]:PORT | "[" IPv6 "]" ":" PORT | "*:" PORT (to listen)
//!           | "tcp:" argument *( ":" argument )          argument := value | key "=" value
//!
//! 10000    :10000    donne.example:10000    [::1]:10000    *:10000
//! tcp:10000:interface=127.0.0.1:backlog=128                  Twisted's server strings
//! tcp:host=donne.example:port=80:timeout=15                  Twisted's client strings
//! ```
//!
//! A value of a `tcp:` string writes a colon as `\:`, or stands in brackets. Everything is loopback unless said: `10000`,
//! `:10000` and `localhost:10000` mean both loopback addresses, to listen and to connect.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

pub use self::argument::{
    ParsePoemArgumentError, ParseTargetError, PoemArgument, PoemSource, Target,
    parse_poem_argument, parse_target,
};
pub use self::error::ParseEndpointError;
pub(crate) use self::error::nearest;
pub use self::parse::{parse_connect, parse_listen, parse_listen_interface, parse_listen_port};
pub use self::transform_argument::{ParseTransformError, TransformArgument, parse_transform};
pub use self::upstream::{UpstreamArgument, parse_upstream_argument};
use crate::quantity::exact_duration;

mod argument;
mod error;
mod letters;
mod parse;
mod transform_argument;
mod upstream;
mod values;

/// A machine, by address or by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// This machine: 127.0.0.1 and ::1, both of them.
    Localhost,
    /// One address.
    Ip(IpAddr),
    /// A name, as it was typed; looked up when it is used.
    Name(String),
}

/// Which of this machine's addresses to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Interface {
    /// All of them, IPv4 and IPv6: written `*`. Anyone who can reach this machine can connect.
    Every,
    /// Those of one host.
    Host(Host),
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenEndpoint {
    /// The addresses to bind.
    pub interface: Interface,
    /// The port; 0 lets the system choose one.
    pub port: u16,
    /// How many readers may wait to be accepted; the server's own default when absent.
    pub backlog: Option<u32>,
}

/// Where a client connects to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectEndpoint {
    /// The machine.
    pub host: Host,
    /// The port, never 0.
    pub port: u16,
    /// How long a connection attempt may take; the client's own default when absent.
    pub connect_timeout: Option<Duration>,
}

impl Host {
    /// The addresses with `port` in the order to try them; `None` for a name, which has to be looked up.
    ///
    /// IPv4 comes first for this machine, where the tutorial's servers listen.
    pub fn addresses(&self, port: u16) -> Option<Vec<SocketAddr>> {
        match self {
            Host::Localhost => Some(vec![
                (Ipv4Addr::LOCALHOST, port).into(),
                (Ipv6Addr::LOCALHOST, port).into(),
            ]),
            Host::Ip(ip) => Some(vec![SocketAddr::new(*ip, port)]),
            Host::Name(_) => None,
        }
    }
}

impl ListenEndpoint {
    /// Both loopback addresses, with the default backlog.
    pub fn localhost(port: u16) -> ListenEndpoint {
        ListenEndpoint {
            interface: Interface::Host(Host::Localhost),
            port,
            backlog: None,
        }
    }

    /// The addresses to bind; `None` for a name, which has to be looked up.
    pub fn addresses(&self) -> Option<Vec<SocketAddr>> {
        match &self.interface {
            Interface::Every => Some(vec![
                (Ipv4Addr::UNSPECIFIED, self.port).into(),
                (Ipv6Addr::UNSPECIFIED, self.port).into(),
            ]),
            Interface::Host(host) => host.addresses(self.port),
        }
    }
}

impl ConnectEndpoint {
    /// The addresses to try, in order; `None` for a name, which has to be looked up.
    pub fn addresses(&self) -> Option<Vec<SocketAddr>> {
        self.host.addresses(self.port)
    }

    /// The server as people see it, `127.0.0.1:10001` for port 10001 of this machine, as the tutorial's clients say it.
    pub fn label(&self) -> String {
        match &self.host {
            Host::Localhost => format!("127.0.0.1:{}", self.port),
            host => format!("{host}:{}", self.port),
        }
    }

    /// As [`ConnectEndpoint::label`], but only the port for this machine: `10001`.
    pub fn short_label(&self) -> String {
        match &self.host {
            Host::Localhost => self.port.to_string(),
            host => format!("{host}:{}", self.port),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Localhost => formatter.write_str("localhost"),
            Host::Ip(IpAddr::V4(ip)) => ip.fmt(formatter),
            Host::Ip(IpAddr::V6(ip)) => write!(formatter, "[{ip}]"),
            Host::Name(name) => formatter.write_str(name),
        }
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Interface::Every => formatter.write_str("*"),
            Interface::Host(host) => host.fmt(formatter),
        }
    }
}

/// The endpoint in a form that [`parse_listen`] reads as the same endpoint.
impl fmt::Display for ListenEndpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.backlog {
            None => write!(formatter, "{}:{}", self.interface, self.port),
            Some(backlog) => write!(
                formatter,
                "tcp:{}:interface={}:backlog={backlog}",
                self.port, self.interface
            ),
        }
    }
}

/// The endpoint in a form that [`parse_connect`] reads as the same endpoint; what people are shown is its
/// [label](ConnectEndpoint::label).
impl fmt::Display for ConnectEndpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.connect_timeout {
            None => write!(formatter, "{}:{}", self.host, self.port),
            Some(timeout) => {
                write!(
                    formatter,
                    "tcp:host={}:port={}:timeout={}",
                    self.host,
                    self.port,
                    exact_duration(timeout)
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_two_addresses_and_one_label() {
        let endpoint = parse_connect("10001").unwrap();
        assert_eq!(
            endpoint.addresses().unwrap(),
            [
                "127.0.0.1:10001".parse().unwrap(),
                "[::1]:10001".parse().unwrap()
            ]
        );
        assert_eq!(endpoint.label(), "127.0.0.1:10001");
        assert_eq!(endpoint.short_label(), "10001");
        assert_eq!(parse_connect("[::1]:80").unwrap().label(), "[::1]:80");
        assert_eq!(parse_connect("donne.example:80").unwrap().addresses(), None);
    }

    #[test]
    fn a_star_listens_on_every_address_of_both_families() {
        let endpoint = parse_listen("*:0").unwrap();
        assert_eq!(
            endpoint.addresses().unwrap(),
            ["0.0.0.0:0".parse().unwrap(), "[::]:0".parse().unwrap()]
        );
    }
}
