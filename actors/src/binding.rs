//! The sockets of a server: bound once, kept until it closes, and lent to whatever listener needs one.
//!
//! The server owns them, not its listeners: when a listener dies, the readers in its queue wait for the next one. On
//! Linux each arbiter has a socket of its own (`SO_REUSEPORT`), so that a connection is accepted where it will live;
//! elsewhere the arbiters share one.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};

/// How many readers may wait to be accepted. When a shorter queue overflows, Linux drops the last step of the handshake:
/// the reader believes that it is connected, and since the server is the one who speaks, neither ever hears of it.
pub const BACKLOG: u32 = 4096;

/// How many ports are tried until one is free in both families.
const PAIR_ATTEMPTS_MAX: usize = 32;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenOn {
    /// The addresses; all of them get the same port.
    pub interfaces: Interfaces,
    /// The port; 0 lets the system choose.
    pub port: u16,
    /// The length of the accept queue.
    pub backlog: u32,
}

/// The addresses of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interfaces {
    /// This machine only: 127.0.0.1, and ::1 where there is one.
    Loopback,
    /// Everywhere: 0.0.0.0, and :: where there is IPv6.
    Every,
    /// These; each must be there.
    These(Vec<IpAddr>),
}

impl ListenOn {
    /// Both loopback addresses.
    pub fn loopback(port: u16) -> Self {
        Self {
            interfaces: Interfaces::Loopback,
            port,
            backlog: BACKLOG,
        }
    }

    /// The addresses in order, each with whether the server can do without it.
    fn addresses(&self) -> Vec<(IpAddr, bool)> {
        match &self.interfaces {
            Interfaces::Loopback => vec![
                (Ipv4Addr::LOCALHOST.into(), false),
                (Ipv6Addr::LOCALHOST.into(), true),
            ],
            Interfaces::Every => vec![
                (Ipv4Addr::UNSPECIFIED.into(), false),
                (Ipv6Addr::UNSPECIFIED.into(), true),
            ],
            Interfaces::These(ips) => ips.iter().map(|ip| (*ip, false)).collect(),
        }
    }
}

/// An address could not be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindServerError {
    /// Somebody listens there.
    #[error("cannot listen on {0}: address in use")]
    AddressInUse(SocketAddr),
    /// The port needs privileges.
    #[error("port {} needs privileges", .0.port())]
    NeedsPrivileges(SocketAddr),
    /// The machine has no such address.
    #[error("cannot listen on {0}: this machine has no such address")]
    NotAvailable(SocketAddr),
    /// No address was named.
    #[error("no address to listen on")]
    NoAddress,
    /// Another reason.
    #[error("cannot listen on {listen_addr}")]
    Io {
        /// Where.
        listen_addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

impl BindServerError {
    fn new(listen_addr: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::AddressInUse(listen_addr),
            io::ErrorKind::PermissionDenied => Self::NeedsPrivileges(listen_addr),
            io::ErrorKind::AddrNotAvailable => Self::NotAvailable(listen_addr),
            _ => Self::Io {
                listen_addr,
                source,
            },
        }
    }

    /// The machine lacks this address, or its whole family.
    fn is_missing_address(&self) -> bool {
        match self {
            Self::NotAvailable(_) => true,
            // EAFNOSUPPORT, whose `ErrorKind` is not stable.
            Self::Io { source, .. } => source.raw_os_error() == Some(AF_NOT_SUPPORTED),
            _ => false,
        }
    }
}

#[cfg(target_os = "linux")]
const AF_NOT_SUPPORTED: i32 = 97;
#[cfg(windows)]
const AF_NOT_SUPPORTED: i32 = 10047;
#[cfg(not(any(target_os = "linux", windows)))]
const AF_NOT_SUPPORTED: i32 = 47;

/// The bound sockets of one server.
pub struct Binding {
    local_addrs: Vec<SocketAddr>,
    /// One list for each arbiter, with a socket for each address; `None` once closed.
    sockets: Mutex<Option<Vec<Vec<TcpListener>>>>,
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Binding").field(&self.local_addrs).finish()
    }
}

impl Binding {
    /// Binds, and listens: from here on readers can connect, and wait.
    ///
    /// # Errors
    /// An address cannot be bound. Where the server can do without it (IPv6 beside IPv4) only if it is taken.
    pub fn bind(on: &ListenOn, arbiters: usize) -> Result<Self, BindServerError> {
        let arbiters = arbiters.max(1);
        let mut attempt = 1;
        loop {
            match Self::bind_once(on, arbiters) {
                // The port that the system chose in one family may be taken in the other.
                Err(BindServerError::AddressInUse(_))
                    if on.port == 0 && attempt < PAIR_ATTEMPTS_MAX =>
                {
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    fn bind_once(on: &ListenOn, arbiters: usize) -> Result<Self, BindServerError> {
        let mut port = on.port;
        let mut local_addrs = Vec::new();
        let mut sockets: Vec<Vec<TcpListener>> = (0..arbiters).map(|_| Vec::new()).collect();
        for (ip, is_optional) in on.addresses() {
            let listen_addr = SocketAddr::new(ip, port);
            let group = match bind_group(listen_addr, on.backlog, arbiters) {
                Ok(group) => group,
                Err(source) => {
                    let error = BindServerError::new(listen_addr, source);
                    if is_optional && error.is_missing_address() {
                        continue;
                    }
                    return Err(error);
                }
            };
            let local_addr = group[0]
                .local_addr()
                .map_err(|source| BindServerError::new(listen_addr, source))?;
            port = local_addr.port();
            local_addrs.push(local_addr);
            for (of_arbiter, socket) in sockets.iter_mut().zip(group) {
                of_arbiter.push(socket);
            }
        }
        if local_addrs.is_empty() {
            return Err(BindServerError::NoAddress);
        }
        Ok(Self {
            local_addrs,
            sockets: Mutex::new(Some(sockets)),
        })
    }

    /// The addresses that were bound, with the port that was chosen.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.local_addrs
    }

    /// The port, the same for all addresses unless they were bound to different ones.
    pub fn port(&self) -> u16 {
        self.local_addrs[0].port()
    }

    /// Lends the socket of an arbiter and address: another descriptor of the same queue.
    pub(crate) fn lend(&self, arbiter: usize, address: usize) -> io::Result<TcpListener> {
        match &*self.sockets.lock() {
            Some(sockets) => sockets[arbiter][address].try_clone(),
            None => Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "the server is closed",
            )),
        }
    }

    /// Closes the sockets. Readers in the queues are refused once the borrowed ones are gone too.
    pub(crate) fn close(&self) {
        self.sockets.lock().take();
    }
}

/// Binds one socket for each arbiter to one address, and listens on all of them.
///
/// The first is bound alone: with `SO_REUSEPORT` from the start, two servers of one user would share a port and neither
/// would notice. The others join it afterwards.
fn bind_group(
    listen_addr: SocketAddr,
    backlog: u32,
    arbiters: usize,
) -> io::Result<Vec<TcpListener>> {
    let first = bind_socket(listen_addr, false)?;
    let listen_addr = first
        .local_addr()?
        .as_socket()
        .ok_or_else(|| io::Error::other("not an internet address"))?;
    let mut group = vec![first];
    if cfg!(target_os = "linux") && arbiters > 1 {
        #[cfg(target_os = "linux")]
        group[0].set_reuse_port(true)?;
        for _ in 1..arbiters {
            group.push(bind_socket(listen_addr, true)?);
        }
    }
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    for socket in &group {
        socket.listen(backlog)?;
    }
    let mut group: Vec<TcpListener> = group.into_iter().map(TcpListener::from).collect();
    while group.len() < arbiters {
        group.push(group[0].try_clone()?);
    }
    Ok(group)
}

fn bind_socket(listen_addr: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(listen_addr),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    // On Windows this option would let anybody take the port over.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    #[cfg(target_os = "linux")]
    socket.set_reuse_port(reuse_port)?;
    let _ = reuse_port;
    if listen_addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Linux hands both options down to accepted sockets; see `connection` for what they are for.
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&listen_addr.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_loopback_families_get_one_port() {
        let binding = Binding::bind(&ListenOn::loopback(0), 2).unwrap();
        let ports: Vec<_> = binding.local_addrs().iter().map(SocketAddr::port).collect();
        assert!(
            ports.iter().all(|port| *port == binding.port()),
            "{ports:?}"
        );
    }

    #[test]
    fn a_port_that_another_server_has_is_in_use_even_though_arbiters_share_it() {
        let first = Binding::bind(&ListenOn::loopback(0), 2).unwrap();
        let error = Binding::bind(&ListenOn::loopback(first.port()), 2).unwrap_err();
        assert!(matches!(error, BindServerError::AddressInUse(_)), "{error}");
        first.close();
        Binding::bind(&ListenOn::loopback(first.port()), 2).unwrap();
    }

    #[test]
    fn an_address_of_another_machine_is_not_available() {
        let on = ListenOn {
            interfaces: Interfaces::These(vec![[192, 0, 2, 1].into()]),
            ..ListenOn::loopback(0)
        };
        let error = Binding::bind(&on, 1).unwrap_err();
        assert!(matches!(error, BindServerError::NotAvailable(_)), "{error}");
    }
}
