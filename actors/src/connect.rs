//! From a target to a connected socket: look the name up, try its addresses the happy-eyeballs way.
//!
//! Plain functions of a download; no actor. The addresses are tried one after another in the order of the target,
//! alternating between the families, each [`STAGGER`] after the one before or as soon as that one failed; the first that
//! answers wins, and every failure is remembered with its address.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

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
    /// Each address failed.
    Failed(Vec<(SocketAddr, io::Error)>),
}

impl ConnectError {
    /// The failure that tells most: somebody refused, before nobody answered, before there is no way.
    pub(crate) fn main_kind(&self) -> Option<io::ErrorKind> {
        let Self::Failed(failures) = self else {
            return None;
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

/// `getaddrinfo`'s text without std's words around it.
fn lookup_text(error: &io::Error) -> String {
    let text = error_text(error);
    let text = text.strip_prefix("failed to lookup address information: ");
    text.map_or_else(|| error_text(error), str::to_owned)
}

/// Connects to the first address that answers, within the limit.
pub(crate) async fn connect(
    whereabouts: &Whereabouts,
    limit: Duration,
) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let mut failures = Vec::new();
    let mut tried = Vec::new();
    let attempt = async {
        let addresses = resolve(whereabouts).await?;
        Ok(race(addresses, &mut tried, &mut failures).await)
    };
    match timeout(limit, attempt).await {
        Ok(Err(error)) => Err(error),
        Ok(Ok(Some(connected))) => Ok(connected),
        Ok(Ok(None)) => Err(ConnectError::Failed(failures)),
        Err(_) => Err(ConnectError::Timeout { tried, limit }),
    }
}

async fn resolve(whereabouts: &Whereabouts) -> Result<Vec<SocketAddr>, ConnectError> {
    match whereabouts {
        Whereabouts::Addresses(addresses) => Ok(addresses.clone()),
        Whereabouts::Name { host, port } => tokio::net::lookup_host((host.as_str(), *port))
            .await
            .map(|addresses| alternate(addresses.collect()))
            .map_err(|source| ConnectError::Resolve {
                host: host.clone(),
                // EAI_AGAIN, which std tells by its text alone.
                is_passing: source.to_string().contains("Temporary failure"),
                source,
            }),
    }
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
    let mut next_at = Instant::now();
    loop {
        let has_more = waiting.len() > 0;
        tokio::select! {
            biased;
            Some((addr, outcome)) = attempts.next() => match outcome {
                Ok(stream) => return Some((stream, addr)),
                Err(error) => {
                    failures.push((addr, error));
                    next_at = Instant::now();
                }
            },
            () = sleep_until(next_at), if has_more => {
                if let Some(addr) = waiting.next() {
                    tried.push(addr);
                    attempts.push(async move { (addr, TcpStream::connect(addr).await) });
                    next_at = Instant::now() + STAGGER;
                }
            },
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
