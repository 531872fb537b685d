//! From a target to a stream: look the name up, try its addresses the happy-eyeballs way, and make TLS of it if it is to be.
//!
//! Plain functions of a download; no actor. The addresses are tried one after another in the order of the target,
//! alternating between the families, each [`STAGGER`] after the one before or as soon as that one failed; the first that
//! answers wins, and every failure is remembered with its address.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::rustls::pki_types::ServerName;

use crate::address::{Address, UnixAddress};
use crate::stream::{HANDSHAKE_TIMEOUT, Stream, Wire};
use crate::tls::{ClientTls, server_name, tls_error, tls_text};

/// How long one address has before the next one is tried beside it (RFC 8305, "Connection Attempt Delay").
pub const STAGGER: Duration = Duration::from_millis(250);

/// How many addresses of one name are tried.
pub const ADDRESSES_MAX: usize = 16;

/// Where a poem is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// At these addresses, in the order to try them.
    Addresses(Vec<SocketAddr>),
    /// At whatever the name means when it is asked for.
    Name {
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
    /// At a Unix socket.
    Unix(UnixAddress),
    /// Behind TLS.
    Tls {
        /// Where the TLS is.
        at: Box<Whereabouts>,
        /// Whose certificate is expected: a name, or an address.
        name: String,
        /// Whose certificates are believed, and what is shown.
        tls: ClientTls,
    },
}

/// Nobody was reached.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The name means nothing, or nobody could be asked.
    Resolve {
        host: String,
        source: io::Error,
        is_passing: bool,
    },
    /// No address answered in time, and none failed otherwise.
    Timeout {
        tried: Vec<SocketAddr>,
        limit: Duration,
    },
    /// A Unix socket did not take us.
    Unix(io::Error),
    /// Somebody answered, but not as whoever is expected.
    Tls {
        name: String,
        problem: String,
        is_passing: bool,
    },
    /// Each address failed.
    Failed(Vec<(SocketAddr, io::Error)>),
}

impl ConnectError {
    /// The failure that tells most: somebody refused, before nobody answered, before there is no way.
    pub(crate) fn main_kind(&self) -> Option<io::ErrorKind> {
        let failures = match self {
            Self::Failed(failures) => failures,
            Self::Unix(error) => return Some(error.kind()),
            _ => return None,
        };
        let kinds = failures.iter().map(|(_, error)| error.kind());
        kinds.min_by_key(|kind| match kind {
            io::ErrorKind::ConnectionRefused => 0,
            io::ErrorKind::TimedOut => 1,
            io::ErrorKind::HostUnreachable => 2,
            io::ErrorKind::NetworkUnreachable => 3,
            io::ErrorKind::AddrNotAvailable => 4,
            _ => 5,
        })
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve { host, source, .. } => {
                write!(f, "cannot look up {host}: {}", lookup_text(source))
            }
            Self::Timeout { tried, limit } => {
                write!(f, "no answer within {limit:?}")?;
                if tried.len() > 1 {
                    let tried: Vec<_> = tried.iter().map(SocketAddr::to_string).collect();
                    write!(f, " from {}", tried.join(" or "))?;
                }
                Ok(())
            }
            Self::Failed(failures) => f.write_str(&failures_text(failures)),
            Self::Unix(error) => f.write_str(&unix_text(error)),
            Self::Tls { name, problem, .. } => write!(f, "TLS with {name} failed: {problem}"),
        }
    }
}

/// One text for all addresses. This machine's two loopback addresses are one place to a person: said once if both say
/// the same.
fn failures_text(failures: &[(SocketAddr, io::Error)]) -> String {
    let texts: Vec<_> = failures
        .iter()
        .map(|(_, error)| error_text(error))
        .collect();
    let is_one_place = failures.iter().all(|(addr, _)| addr.ip().is_loopback())
        && texts.windows(2).all(|pair| pair[0] == pair[1]);
    match texts.as_slice() {
        [] => "no address to connect to".to_owned(),
        [text] => text.clone(),
        [text, ..] if is_one_place => text.clone(),
        _ => failures
            .iter()
            .zip(&texts)
            .map(|((addr, _), text)| format!("{addr}: {text}"))
            .collect::<Vec<_>>()
            .join("; "),
    }
}

/// The system's text for an error, in the words of our own messages: without the number, in lower case.
pub(crate) fn error_text(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::TimedOut => "connection timed out".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        io::ErrorKind::AddrNotAvailable => "address not available".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => {
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or(&text);
            let mut letters = text.chars();
            letters.next().map_or_else(String::new, |first| {
                first.to_lowercase().chain(letters).collect()
            })
        }
    }
}

/// A full queue is told at once; there is nothing that could be waited for.
fn unix_text(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such socket".to_owned(),
        io::ErrorKind::WouldBlock => "its queue is full".to_owned(),
        _ => error_text(error),
    }
}

/// `getaddrinfo`'s text without std's words around it.
fn lookup_text(error: &io::Error) -> String {
    let text = error_text(error);
    let text = text.strip_prefix("failed to lookup address information: ");
    text.map_or_else(|| error_text(error), str::to_owned)
}

/// Connects within the limit, to the first address that answers; TLS is part of being connected.
pub(crate) async fn connect(
    whereabouts: &Whereabouts,
    limit: Duration,
) -> Result<Stream, ConnectError> {
    let mut tried = Vec::new();
    let attempt = async {
        match whereabouts {
            Whereabouts::Tls { at, name, tls } => {
                let (wire, peer_addr) = connect_wire(at, &mut tried).await?;
                // On the heap, or every download would have room for it.
                Box::pin(encrypt(wire, peer_addr, name, tls)).await
            }
            plain => {
                let (wire, peer_addr) = connect_wire(plain, &mut tried).await?;
                Ok(Stream::plain(wire, peer_addr))
            }
        }
    };
    match timeout(limit, attempt).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ConnectError::Timeout { tried, limit }),
    }
}

async fn connect_wire(
    whereabouts: &Whereabouts,
    tried: &mut Vec<SocketAddr>,
) -> Result<(Wire, Address), ConnectError> {
    let addresses = match whereabouts {
        Whereabouts::Unix(address) => {
            let connected = connect_unix(address).await;
            let stream = connected.map_err(ConnectError::Unix)?;
            return Ok((stream.into(), Address::Unix(address.clone())));
        }
        // TLS within TLS is nothing that an endpoint can say; what it leads to is what counts.
        Whereabouts::Tls { at, .. } => return Box::pin(connect_wire(at, tried)).await,
        Whereabouts::Addresses(addresses) => addresses.clone(),
        Whereabouts::Name { host, port } => resolve(host, *port).await?,
    };
    let mut failures = Vec::new();
    match race(addresses, tried, &mut failures).await {
        Some((stream, addr)) => Ok((stream.into(), addr.into())),
        None => Err(ConnectError::Failed(failures)),
    }
}

async fn connect_unix(address: &UnixAddress) -> io::Result<UnixStream> {
    match address {
        UnixAddress::Path(path) => UnixStream::connect(path).await,
        UnixAddress::Abstract(name) => {
            // Does not wait: a full queue is an error.
            let socket = net::UnixStream::connect_addr(&abstract_addr(name)?)?;
            socket.set_nonblocking(true)?;
            UnixStream::from_std(socket)
        }
    }
}

#[cfg(target_os = "linux")]
fn abstract_addr(name: &[u8]) -> io::Result<net::SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    net::SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_addr(_: &[u8]) -> io::Result<net::SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The client's half of the handshake. The certificate must be for `name`; there is no way around that.
async fn encrypt(
    wire: Wire,
    peer_addr: Address,
    name: &str,
    tls: &ClientTls,
) -> Result<Stream, ConnectError> {
    let failed = |problem: String, is_passing| ConnectError::Tls {
        name: name.to_owned(),
        problem,
        is_passing,
    };
    let server: ServerName<'static> = server_name(name)
        .ok_or_else(|| failed("no certificate can be for that name".to_owned(), false))?;
    let handshake = tls.connector().connect(server, wire);
    match timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => Ok(Stream::encrypted(stream.into(), peer_addr)),
        Ok(Err(error)) => Err(match tls_error(&error) {
            Some(error) => failed(tls_text(error), false),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                failed("it hung up in mid-handshake".to_owned(), true)
            }
            None => failed(error_text(&error), true),
        }),
        Err(_) => Err(failed(
            format!("no answer to the handshake within {HANDSHAKE_TIMEOUT:?}"),
            true,
        )),
    }
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
    tokio::net::lookup_host((host, port))
        .await
        .map(|addresses| alternate(addresses.collect()))
        .map_err(|source| ConnectError::Resolve {
            host: host.to_owned(),
            // EAI_AGAIN, which std tells by its text alone.
            is_passing: source.to_string().contains("Temporary failure"),
            source,
        })
}

/// The families in turn, beginning with the first address's.
fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_ipv6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|addr| addr.is_ipv6() == first_is_ipv6);
    let mut alternating = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.drain(..), second.drain(..));
    loop {
        match (first.next(), second.next()) {
            (None, None) => break,
            (one, other) => alternating.extend(one.into_iter().chain(other)),
        }
    }
    alternating.truncate(ADDRESSES_MAX);
    alternating
}

async fn race(
    addresses: Vec<SocketAddr>,
    tried: &mut Vec<SocketAddr>,
    failures: &mut Vec<(SocketAddr, io::Error)>,
) -> Option<(TcpStream, SocketAddr)> {
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    loop {
        // At once, and not by a timer: the earliest that one can ring is the next millisecond.
        if let Some(addr) = waiting.next() {
            tried.push(addr);
            attempts.push(async move { (addr, TcpStream::connect(addr).await) });
        }
        tokio::select! {
            biased;
            Some((addr, outcome)) = attempts.next() => match outcome {
                Ok(stream) => return Some((stream, addr)),
                Err(error) => failures.push((addr, error)),
            },
            () = sleep(STAGGER), if waiting.len() > 0 => {}
            else => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_families_take_turns_beginning_with_the_first() {
        let addresses = ["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1"].map(addr);
        let alternating = ["[::1]:1", "10.0.0.1:1", "[::2]:1", "[::3]:1"].map(addr);
        assert_eq!(alternate(addresses.to_vec()), alternating);
    }

    #[test]
    fn addresses_are_named_unless_they_are_one_place_that_says_one_thing() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let unreachable = || io::Error::from(io::ErrorKind::NetworkUnreachable);
        let (v4, v6) = (addr("127.0.0.1:9"), addr("[::1]:9"));
        assert_eq!(
            failures_text(&[(v4, refused()), (v6, refused())]),
            "connection refused"
        );
        assert_eq!(
            failures_text(&[(v4, refused()), (v6, unreachable())]),
            "127.0.0.1:9: connection refused; [::1]:9: network unreachable"
        );
        let far = [addr("192.0.2.1:9"), addr("192.0.2.2:9")];
        assert_eq!(
            failures_text(&[(far[0], refused()), (far[1], refused())]),
            "192.0.2.1:9: connection refused; 192.0.2.2:9: connection refused"
        );
    }

    #[test]
    fn the_kind_that_tells_most_is_the_main_one() {
        let error = ConnectError::Failed(vec![
            (addr("[::1]:9"), io::ErrorKind::AddrNotAvailable.into()),
            (addr("127.0.0.1:9"), io::ErrorKind::ConnectionRefused.into()),
        ]);
        assert_eq!(error.main_kind(), Some(io::ErrorKind::ConnectionRefused));
    }
}
