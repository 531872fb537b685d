//! Endpoints: where a poem is served and where it is fetched from.
//!
//! One grammar for flags, and one parser ([`parse_listen`], [`parse_connect`]); pure, it opens and resolves nothing.
//!
//! ```text
//! endpoint := PORT | [HOST]:PORT | "[" IPv6 "]" ":" PORT | "*:" PORT (to listen)
//!           | scheme ":" argument *( ":" argument )      argument := value | key "=" value
//!
//! 10000    :10000    donne.example:10000    [::1]:10000    *:10000
//! tcp:10000:interface=127.0.0.1:backlog=128                  Twisted's server strings
//! tcp:host=donne.example:port=80:timeout=15                  Twisted's client strings
//! tcp6:10000:interface=[::1]                                 IPv6 only, to listen
//! unix:/run/byron/p.sock:mode=660    unix:@name              a file, and a name that is none (Linux)
//! tls:10443:cert=c.pem:key=k.pem:ca=clients.pem              to listen; with ca= only to these clients
//! tls:donne.example:10443:ca=ca.pem:cert=c.pem:key=k.pem     to connect; ca= instead of the system's authorities
//! systemd:name=poem    fd:3    stdio:                        to listen on what is open already
//! haproxy:tcp:10000                                          any of these behind a proxy that says for whom it speaks
//! ```
//!
//! A value writes a colon as `\:`, or stands in brackets. What stands before an equals sign is a key only if it is letters
//! alone, so a path may contain one. Everything is loopback unless said: `10000`, `:10000` and `localhost:10000` mean
//! both loopback addresses, to listen and to connect.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use byron_actors::UnixAddress;

pub use self::argument::{
    ParsePoemArgumentError, ParseTargetError, PoemArgument, PoemSource, Target,
    parse_poem_argument, parse_target,
};
pub use self::error::ParseEndpointError;
pub(crate) use self::error::nearest;
pub use self::parse::{
    ENDPOINT_BYTES_MAX, parse_connect, parse_listen, parse_listen_interface, parse_listen_port,
};
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
    /// The sockets.
    pub place: ListenPlace,
    /// How many readers may wait to be accepted; the server's own default when absent.
    pub backlog: Option<u32>,
    /// Whether it is encrypted.
    pub tls: Option<ListenTls>,
    /// Whether a proxy in front says for whom it speaks: `haproxy:`.
    pub proxied: bool,
}

/// The sockets of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ListenPlace {
    /// Internet addresses.
    Tcp {
        /// The addresses to bind.
        interface: Interface,
        /// The port; 0 lets the system choose one.
        port: u16,
    },
    /// A Unix socket.
    Unix {
        /// Its name.
        address: UnixAddress,
        /// The permissions of the file, if they are said.
        mode: Option<u32>,
    },
    /// Sockets of this name from systemd.
    Systemd(String),
    /// An open file descriptor.
    Fd(u32),
    /// Standard input and output: one connection that stands already.
    Stdio,
}

/// A server's side of TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ListenTls {
    /// The file with the certificates.
    pub cert: PathBuf,
    /// The file with the key; that of the certificates when absent.
    pub key: Option<PathBuf>,
    /// The file with the authorities of those who may connect; everybody may when absent.
    pub ca: Option<PathBuf>,
    /// Written `ssl:`, the old name.
    pub is_called_ssl: bool,
}

/// Where a client connects to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectEndpoint {
    /// The server.
    pub place: ConnectPlace,
    /// How long a connection attempt may take; the client's own default when absent.
    pub connect_timeout: Option<Duration>,
    /// Whether it is encrypted.
    pub tls: Option<ConnectTls>,
}

/// The socket of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConnectPlace {
    /// An internet address.
    Tcp {
        /// The machine.
        host: Host,
        /// The port, never 0.
        port: u16,
    },
    /// A Unix socket.
    Unix(UnixAddress),
}

/// A client's side of TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConnectTls {
    /// The file with the authorities to believe; the system's when absent.
    pub ca: Option<PathBuf>,
    /// The file with the certificates to show.
    pub cert: Option<PathBuf>,
    /// The file with their key; that of the certificates when absent.
    pub key: Option<PathBuf>,
    /// Whose certificate is expected; the host's when absent.
    pub name: Option<String>,
    /// Written `ssl:`, the old name.
    pub is_called_ssl: bool,
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
        ListenEndpoint::tcp(Interface::Host(Host::Localhost), port)
    }

    /// Plain TCP, with the default backlog.
    pub fn tcp(interface: Interface, port: u16) -> ListenEndpoint {
        ListenPlace::Tcp { interface, port }.into()
    }

    /// Whether anyone who can reach this machine can connect.
    pub fn is_open_to_everyone(&self) -> bool {
        match &self.place {
            ListenPlace::Tcp { interface, .. } => match interface {
                Interface::Every => true,
                Interface::Host(Host::Ip(ip)) => ip.is_unspecified(),
                Interface::Host(_) => false,
            },
            _ => false,
        }
    }

    /// Whether it is written with TLS's old name.
    pub fn is_called_ssl(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_called_ssl)
    }
}

/// With nothing before the protocol.
impl From<ListenPlace> for ListenEndpoint {
    fn from(place: ListenPlace) -> ListenEndpoint {
        ListenEndpoint {
            place,
            backlog: None,
            tls: None,
            proxied: false,
        }
    }
}

impl ListenPlace {
    /// Whether a second server there is a mistake: not if the system chooses the port.
    pub fn is_exclusive(&self) -> bool {
        !matches!(self, ListenPlace::Tcp { port: 0, .. })
    }
}

impl ConnectEndpoint {
    /// Plain TCP, with the default timeout.
    pub fn tcp(host: Host, port: u16) -> ConnectEndpoint {
        ConnectPlace::Tcp { host, port }.into()
    }

    /// The server as people see it, `127.0.0.1:10001` for port 10001 of this machine, as the tutorial's clients say it.
    pub fn label(&self) -> String {
        let tls = if self.tls.is_some() { "tls:" } else { "" };
        match &self.place {
            ConnectPlace::Tcp {
                host: Host::Localhost,
                port,
            } => format!("{tls}127.0.0.1:{port}"),
            place => format!("{tls}{place}"),
        }
    }

    /// As [`ConnectEndpoint::label`], but only the port for this machine: `10001`.
    pub fn short_label(&self) -> String {
        match &self.place {
            ConnectPlace::Tcp {
                host: Host::Localhost,
                port,
            } => port.to_string(),
            place => place.to_string(),
        }
    }

    /// Whether it is written with TLS's old name.
    pub fn is_called_ssl(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_called_ssl)
    }
}

impl From<ConnectPlace> for ConnectEndpoint {
    fn from(place: ConnectPlace) -> ConnectEndpoint {
        ConnectEndpoint {
            place,
            connect_timeout: None,
            tls: None,
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
        if self.proxied {
            formatter.write_str("haproxy:")?;
        }
        match (&self.place, &self.tls) {
            (ListenPlace::Tcp { interface, port }, Some(tls)) => {
                let scheme = scheme(tls.is_called_ssl);
                write!(formatter, "{scheme}:{port}:interface={interface}")?;
                write_path(formatter, "cert", Some(&tls.cert))?;
                write_path(formatter, "key", tls.key.as_deref())?;
                write_path(formatter, "ca", tls.ca.as_deref())?;
            }
            (ListenPlace::Tcp { interface, port }, None) if self.backlog.is_some() => {
                write!(formatter, "tcp:{port}:interface={interface}")?;
            }
            (place, _) => place.fmt(formatter)?,
        }
        match self.backlog {
            None => Ok(()),
            Some(backlog) => write!(formatter, ":backlog={backlog}"),
        }
    }
}

impl fmt::Display for ListenPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenPlace::Tcp { interface, port } => {
                let short = format!("{interface}:{port}");
                // An interface may be called as a scheme is.
                match parse::has_scheme(&short) {
                    false => formatter.write_str(&short),
                    true => write!(formatter, "tcp:{port}:interface={interface}"),
                }
            }
            ListenPlace::Unix { address, mode } => {
                address.fmt(formatter)?;
                match mode {
                    None => Ok(()),
                    Some(mode) => write!(formatter, ":mode={mode:o}"),
                }
            }
            ListenPlace::Systemd(name) => write!(formatter, "systemd:name={}", Escaped(name)),
            ListenPlace::Fd(number) => write!(formatter, "fd:{number}"),
            ListenPlace::Stdio => formatter.write_str("stdio:"),
        }
    }
}

impl fmt::Display for ConnectPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectPlace::Tcp { host, port } => {
                let short = format!("{host}:{port}");
                // A host may be called as a scheme is.
                match parse::has_scheme(&short) {
                    false => formatter.write_str(&short),
                    true => write!(formatter, "tcp:host={host}:port={port}"),
                }
            }
            ConnectPlace::Unix(address) => address.fmt(formatter),
        }
    }
}

/// The endpoint in a form that [`parse_connect`] reads as the same endpoint; what people are shown is its
/// [label](ConnectEndpoint::label).
impl fmt::Display for ConnectEndpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place, &self.tls) {
            (ConnectPlace::Tcp { host, port }, Some(tls)) => {
                let scheme = scheme(tls.is_called_ssl);
                write!(formatter, "{scheme}:host={host}:port={port}")?;
                write_path(formatter, "ca", tls.ca.as_deref())?;
                write_path(formatter, "cert", tls.cert.as_deref())?;
                write_path(formatter, "key", tls.key.as_deref())?;
                if let Some(name) = &tls.name {
                    write!(formatter, ":name={}", Escaped(name))?;
                }
            }
            (ConnectPlace::Tcp { host, port }, None) if self.connect_timeout.is_some() => {
                write!(formatter, "tcp:host={host}:port={port}")?;
            }
            (place, _) => place.fmt(formatter)?,
        }
        match self.connect_timeout {
            None => Ok(()),
            Some(timeout) => write!(formatter, ":timeout={}", exact_duration(timeout)),
        }
    }
}

fn scheme(is_called_ssl: bool) -> &'static str {
    if is_called_ssl { "ssl" } else { "tls" }
}

fn write_path(formatter: &mut fmt::Formatter<'_>, key: &str, path: Option<&Path>) -> fmt::Result {
    match path {
        None => Ok(()),
        Some(path) => write!(formatter, ":{key}={}", Escaped(&path.to_string_lossy())),
    }
}

/// A value, with a backslash before whatever would end it.
struct Escaped<'value>(&'value str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            if matches!(letter, ':' | '\\' | '[' | ']') {
                formatter.write_str("\\")?;
            }
            write!(formatter, "{letter}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_two_addresses_and_one_label() {
        let endpoint = parse_connect("10001").unwrap();
        assert_eq!(
            Host::Localhost.addresses(10001).unwrap(),
            [
                "127.0.0.1:10001".parse().unwrap(),
                "[::1]:10001".parse().unwrap()
            ]
        );
        assert_eq!(endpoint.label(), "127.0.0.1:10001");
        assert_eq!(endpoint.short_label(), "10001");
        assert_eq!(parse_connect("[::1]:80").unwrap().label(), "[::1]:80");
        let label = |input: &str| parse_connect(input).unwrap().label();
        assert_eq!(label("tls:10443:ca=x"), "tls:127.0.0.1:10443");
        assert_eq!(label("unix:/run/p.sock:timeout=1"), "unix:/run/p.sock");
    }

    #[test]
    fn a_host_that_is_called_as_a_scheme_is_stays_a_host() {
        for input in [
            "tcp:tcp:11",
            "tcp:host=TLS:port=443",
            "tcp:host=unix:port=1",
        ] {
            let endpoint = parse_connect(input).unwrap();
            assert_eq!(parse_connect(&endpoint.to_string()), Ok(endpoint));
        }
        let endpoint = parse_listen("tcp:11:interface=fd").unwrap();
        assert_eq!(parse_listen(&endpoint.to_string()), Ok(endpoint));
    }

    #[test]
    fn a_star_and_a_zero_are_open_to_everyone() {
        for (input, is_open) in [
            ("*:0", true),
            ("0.0.0.0:1", true),
            ("tcp:1:interface=[::]", true),
            ("1", false),
            ("192.0.2.1:1", false),
            ("unix:/p", false),
        ] {
            let endpoint = parse_listen(input).unwrap();
            assert_eq!(endpoint.is_open_to_everyone(), is_open, "{input}");
        }
    }
}
