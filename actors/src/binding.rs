//! The sockets of a service: bound once, kept until it closes, and lent to whatever listener needs one.
//!
//! The service owns them, not its listeners: when a listener dies, whoever is in its queue waits for the next one.

mod inherited;
mod tcp;
mod unix;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use parking_lot::Mutex;

use self::unix::SocketFile;
use crate::address::{Address, UnixAddress};
use crate::socket::{Lent, Listening, Socket};
use crate::stream::Front;

/// How many readers may wait to be accepted. When a shorter queue overflows, Linux drops the last step of the handshake:
/// the reader believes that it is connected, and since the server is the one who speaks, neither ever hears of it.
pub const BACKLOG: u32 = 4096;

/// Where a service listens, and what lies between its sockets and its protocol.
#[derive(Debug, Clone)]
pub struct ListenOn {
    /// Where.
    pub sockets: Sockets,
    /// What comes before the protocol.
    pub front: Front,
}

/// Which sockets.
#[derive(Debug, Clone)]
pub enum Sockets {
    /// Internet addresses.
    Tcp {
        /// The addresses; all of them get the same port.
        interfaces: Interfaces,
        /// The port; 0 lets the system choose.
        port: u16,
        /// The length of the accept queue.
        backlog: u32,
    },
    /// A Unix socket. A file that a dead server left behind is replaced; it is removed at the end.
    Unix {
        /// Its name.
        address: UnixAddress,
        /// Who may connect: the permissions of the file; what the umask says, if nothing else is said.
        mode: Option<u32>,
        /// The length of the accept queue.
        backlog: u32,
    },
    /// Sockets that whoever started this program has bound, and that may listen already.
    Inherited(Arc<Vec<OwnedFd>>),
    /// One connection that stands already: the service ends with it.
    Connected(Arc<OwnedFd>),
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
        Sockets::Tcp {
            interfaces: Interfaces::Loopback,
            port,
            backlog: BACKLOG,
        }
        .into()
    }
}

/// With nothing before the protocol.
impl From<Sockets> for ListenOn {
    fn from(sockets: Sockets) -> Self {
        Self {
            sockets,
            front: Front::default(),
        }
    }
}

/// An address could not be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindServerError {
    /// Somebody listens there.
    #[error("cannot listen on {0}: address in use")]
    AddressInUse(Address),
    /// The port needs privileges, or the directory does.
    #[error("cannot listen on {0}: permission denied")]
    NeedsPrivileges(Address),
    /// The machine has no such address.
    #[error("cannot listen on {0}: this machine has no such address")]
    NotAvailable(Address),
    /// No address was named.
    #[error("no address to listen on")]
    NoAddress,
    /// There is a file of that name that is no socket.
    #[error("cannot listen on {0}: a file of that name is no socket")]
    NotASocket(UnixAddress),
    /// What was inherited is no socket that can be listened on.
    #[error("an inherited file descriptor is {0}")]
    Unsuitable(&'static str),
    /// Another reason.
    #[error("cannot listen on {listen_addr}")]
    Io {
        /// Where.
        listen_addr: Address,
        /// Why.
        source: io::Error,
    },
}

impl BindServerError {
    fn new(listen_addr: Address, source: io::Error) -> Self {
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
}

/// One socket of a binding.
enum Source {
    Listening(Listening),
    Connected(Arc<Mutex<Option<Socket>>>),
}

/// What was bound so far.
struct Bound {
    local_addrs: Vec<Address>,
    /// One list for each arbiter, with a socket for each address.
    sockets: Vec<Vec<Source>>,
    files: Vec<SocketFile>,
}

impl Bound {
    fn new(arbiters: usize) -> Self {
        Self {
            local_addrs: Vec::new(),
            sockets: (0..arbiters).map(|_| Vec::new()).collect(),
            files: Vec::new(),
        }
    }

    fn add(&mut self, local_addr: Address, group: impl Iterator<Item = Source>) {
        self.local_addrs.push(local_addr);
        for (of_arbiter, socket) in self.sockets.iter_mut().zip(group) {
            of_arbiter.push(socket);
        }
    }

    /// The same socket for every arbiter.
    fn add_shared(&mut self, local_addr: Address, listening: Listening) -> io::Result<()> {
        let mut group = Vec::new();
        for _ in 1..self.sockets.len() {
            group.push(Source::Listening(listening.try_clone()?));
        }
        group.push(Source::Listening(listening));
        self.add(local_addr, group.into_iter());
        Ok(())
    }
}

/// The bound sockets of one service.
pub struct Binding {
    local_addrs: Vec<Address>,
    internet_addrs: Vec<SocketAddr>,
    front: Option<Arc<Front>>,
    is_connected: bool,
    open: Mutex<Option<Open>>,
}

/// What there is until the binding is closed.
struct Open {
    /// Removed when they are dropped: before the sockets are, so that nobody takes them for a dead server's.
    _files: Vec<SocketFile>,
    sockets: Vec<Vec<Source>>,
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
        let bound = match &on.sockets {
            Sockets::Tcp {
                interfaces,
                port,
                backlog,
            } => tcp::bind(interfaces, *port, *backlog, arbiters)?,
            Sockets::Unix {
                address,
                mode,
                backlog,
            } => unix::bind(address, *mode, *backlog, arbiters)?,
            Sockets::Inherited(sockets) => inherited::listen(sockets, arbiters)?,
            Sockets::Connected(socket) => inherited::connected(socket, arbiters)?,
        };
        if bound.local_addrs.is_empty() {
            return Err(BindServerError::NoAddress);
        }
        let internet_addrs = bound.local_addrs.iter().filter_map(Address::internet);
        Ok(Self {
            internet_addrs: internet_addrs.collect(),
            local_addrs: bound.local_addrs,
            front: Some(&on.front)
                .filter(|front| !front.is_empty())
                .map(|front| Arc::new(front.clone())),
            is_connected: matches!(on.sockets, Sockets::Connected(_)),
            open: Mutex::new(Some(Open {
                _files: bound.files,
                sockets: bound.sockets,
            })),
        })
    }

    /// Where it listens, at least at one address.
    pub fn addresses(&self) -> &[Address] {
        &self.local_addrs
    }

    /// The internet addresses among them, with the port that was chosen.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.internet_addrs
    }

    /// The port, the same for all internet addresses unless they were inherited; `None` if there are none.
    pub fn port(&self) -> Option<u16> {
        self.internet_addrs.first().map(SocketAddr::port)
    }

    /// Whether it is one connection that stood already, and no queue of others.
    pub fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// What lies between a socket and the protocol; `None` if nothing does.
    pub(crate) fn front(&self) -> Option<Arc<Front>> {
        self.front.clone()
    }

    /// Lends the socket of an arbiter and address: another descriptor of the same queue.
    pub(crate) fn lend(&self, arbiter: usize, address: usize) -> io::Result<Lent> {
        match &*self.open.lock() {
            Some(open) => match &open.sockets[arbiter][address] {
                Source::Listening(listening) => listening.try_clone().map(Lent::Listening),
                Source::Connected(socket) => Ok(Lent::Connected(socket.lock().take())),
            },
            None => Err(io::Error::new(
                io::ErrorKind::NotConnected,
                "the service is closed",
            )),
        }
    }

    /// Closes the sockets, and removes their files. Whoever is in a queue is refused once the borrowed ones are gone too.
    pub(crate) fn close(&self) {
        self.open.lock().take();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_loopback_families_get_one_port() {
        let binding = Binding::bind(&ListenOn::loopback(0), 2).unwrap();
        let ports: Vec<_> = binding.local_addrs().iter().map(SocketAddr::port).collect();
        assert!(
            ports.iter().all(|port| Some(*port) == binding.port()),
            "{ports:?}"
        );
    }

    #[test]
    fn a_port_that_another_server_has_is_in_use_even_though_arbiters_share_it() {
        let first = Binding::bind(&ListenOn::loopback(0), 2).unwrap();
        let port = first.port().unwrap();
        let error = Binding::bind(&ListenOn::loopback(port), 2).unwrap_err();
        assert!(matches!(error, BindServerError::AddressInUse(_)), "{error}");
        first.close();
        Binding::bind(&ListenOn::loopback(port), 2).unwrap();
    }

    #[test]
    fn an_address_of_another_machine_is_not_available() {
        let sockets = Sockets::Tcp {
            interfaces: Interfaces::These(vec![[192, 0, 2, 1].into()]),
            port: 0,
            backlog: BACKLOG,
        };
        let error = Binding::bind(&sockets.into(), 1).unwrap_err();
        assert!(matches!(error, BindServerError::NotAvailable(_)), "{error}");
    }
}
