//! Sockets that were there before the program: from systemd, from whoever said `fd:3`, from inetd.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use socket2::{Domain, SockRef, Type};

use super::{BACKLOG, BindServerError, Bound, Source};
use crate::address::Address;
use crate::socket::{Listening, Socket};

/// Which family a stream socket is of.
fn domain(fd: &OwnedFd) -> Result<Domain, BindServerError> {
    let socket = SockRef::from(fd);
    let Ok(kind) = socket.r#type() else {
        return Err(BindServerError::Unsuitable("no socket"));
    };
    if kind != Type::STREAM {
        return Err(BindServerError::Unsuitable("not a stream socket"));
    }
    let local_addr = socket.local_addr();
    let domain = local_addr.map(|local_addr| local_addr.domain());
    domain.map_err(|source| BindServerError::new(Address::Unnamed, source))
}

/// The sockets are shared with whoever holds them too: what is set here is set for all.
pub(super) fn listen(fds: &[OwnedFd], arbiters: usize) -> Result<Bound, BindServerError> {
    let mut bound = Bound::new(arbiters);
    for fd in fds {
        let domain = domain(fd)?;
        let failed = |source| BindServerError::new(Address::Unnamed, source);
        let listening = match domain {
            Domain::IPV4 | Domain::IPV6 => {
                let listener = TcpListener::from(fd.try_clone().map_err(failed)?);
                let options = SockRef::from(&listener);
                // Linux hands both down to accepted sockets; see `connection` for what they are for.
                options
                    .set_linger(Some(Duration::ZERO))
                    .and_then(|()| options.set_tcp_nodelay(true))
                    .map_err(failed)?;
                Listening::Tcp(listener)
            }
            Domain::UNIX => Listening::Unix(UnixListener::from(fd.try_clone().map_err(failed)?)),
            _ => return Err(BindServerError::Unsuitable("neither TCP nor a Unix socket")),
        };
        let socket = SockRef::from(fd);
        let local_addr = listening.local_addr().map_err(failed)?;
        if socket.peer_addr().is_ok() {
            return Err(BindServerError::Unsuitable(
                "a connection, not a listening socket",
            ));
        }
        socket
            .set_nonblocking(true)
            // It may be bound only; to listen twice does no harm.
            .and_then(|()| socket.listen(i32::try_from(BACKLOG).unwrap_or(i32::MAX)))
            .and_then(|()| bound.add_shared(local_addr.clone(), listening))
            .map_err(|source| BindServerError::new(local_addr.clone(), source))?;
    }
    Ok(bound)
}

pub(super) fn connected(fd: &OwnedFd, arbiters: usize) -> Result<Bound, BindServerError> {
    let domain = domain(fd)?;
    let failed = |source: io::Error| BindServerError::new(Address::Unnamed, source);
    let again = fd.try_clone().map_err(failed)?;
    let socket = match domain {
        Domain::IPV4 | Domain::IPV6 => Socket::Tcp(TcpStream::from(again)),
        Domain::UNIX => Socket::Unix(UnixStream::from(again)),
        _ => return Err(BindServerError::Unsuitable("neither TCP nor a Unix socket")),
    };
    if SockRef::from(fd).peer_addr().is_err() {
        return Err(BindServerError::Unsuitable("not connected"));
    }
    SockRef::from(fd).set_nonblocking(true).map_err(failed)?;
    socket.arm().map_err(failed)?;
    let local_addr = match &socket {
        Socket::Tcp(stream) => stream.local_addr().map(Address::from),
        Socket::Unix(stream) => stream.local_addr().map(Address::from),
    };
    let mut bound = Bound::new(arbiters);
    let socket = Arc::new(Mutex::new(Some(socket)));
    let everywhere = (0..arbiters).map(|_| Source::Connected(Arc::clone(&socket)));
    bound.add(local_addr.map_err(failed)?, everywhere);
    Ok(bound)
}
