//! Sockets that no reactor knows yet: [`Socket`], as it is accepted, and the [`Queue`] that it is accepted from.
//!
//! What a TCP and a Unix socket have in common; nothing here waits, decides or counts.

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use rustix::net::{RecvFlags, recv};
use socket2::SockRef;
use tokio::io::Interest;

use crate::address::Address;

/// What is read and forgotten in one call.
pub(crate) const DISCARD_BYTES: usize = 4096;

/// Reads what is there and forgets it; answers how many bytes. The buffer is never looked at, and so never cleared.
pub(crate) fn discard(socket: impl AsFd) -> io::Result<usize> {
    let mut bytes = [MaybeUninit::uninit(); DISCARD_BYTES];
    let ((read, _), _) = recv(socket, &mut bytes[..], RecvFlags::empty())?;
    Ok(read.len())
}

/// A connected socket, not blocking, and not registered with any reactor.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Socket {
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => (&mut &*stream).write(bytes),
            Self::Unix(stream) => (&mut &*stream).write(bytes),
        }
    }

    /// Writes the last there is to say: a [`disarm_and_shutdown`](Self::disarm_and_shutdown) follows at once, and where the
    /// kernel can wait for it, the end travels with the last bytes. If not all fits, what does is sent as ever.
    pub(crate) fn write_last(&self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(target_os = "linux")]
        if let Self::Tcp(stream) = self {
            use rustix::net::{SendFlags, send};
            return Ok(send(stream, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?);
        }
        self.write(bytes)
    }

    /// Reads up to [`DISCARD_BYTES`] and forgets them; answers how many they were.
    pub(crate) fn discard(&self) -> io::Result<usize> {
        discard(self)
    }

    /// Who is at the other end.
    pub(crate) fn peer_addr(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().map(Address::from),
            Self::Unix(stream) => stream.peer_addr().map(Address::from),
        }
    }

    /// From here on, a close is a reset, if it is a socket that can reset.
    pub(crate) fn arm(&self) -> io::Result<()> {
        if let Self::Tcp(stream) = self {
            let options = SockRef::from(stream);
            options.set_linger(Some(Duration::ZERO))?;
            options.set_tcp_nodelay(true)?;
        }
        Ok(())
    }

    /// From here on, a close is an end, and there is nothing more to say.
    pub(crate) fn disarm_and_shutdown(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                SockRef::from(stream).set_linger(None)?;
                stream.shutdown(Shutdown::Write)
            }
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

/// A listening socket, not blocking.
#[derive(Debug)]
pub(crate) enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listening {
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(listener) => listener.try_clone().map(Self::Tcp),
            Self::Unix(listener) => listener.try_clone().map(Self::Unix),
        }
    }

    pub(crate) fn local_addr(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Address::from),
            Self::Unix(listener) => listener.local_addr().map(Address::from),
        }
    }

    #[cfg(target_os = "linux")]
    fn accept(&self) -> io::Result<Socket> {
        use rustix::net::{SocketFlags, accept_with};
        let socket = accept_with(self, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        Ok(match self {
            Self::Tcp(_) => Socket::Tcp(socket.into()),
            Self::Unix(_) => Socket::Unix(socket.into()),
        })
    }

    #[cfg(not(target_os = "linux"))]
    fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                let socket = Socket::Tcp(stream);
                // Linux hands these options down from the listening socket.
                socket.arm().map(|()| socket)
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(Socket::Unix(stream))
            }
        }
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// What a binding lends to whoever accepts.
pub(crate) enum Lent {
    Listening(Listening),
    /// A connection that was there before the program, unless somebody has taken it already.
    Connected(Option<Socket>),
}

/// Where an acceptor takes connections from, on this arbiter's reactor. What it hands out is not registered with it.
pub(crate) enum Queue {
    Listening {
        listening: Listening,
        /// The same socket again. tokio's own listener registers what it accepts, which costs more than a short poem's
        /// write; of this one nothing but its readiness is used, and readable means the same for both.
        readiness: tokio::net::TcpStream,
    },
    Connected(Option<Socket>),
}

impl Queue {
    pub(crate) fn new(lent: Lent) -> io::Result<Self> {
        match lent {
            Lent::Connected(socket) => Ok(Self::Connected(socket)),
            Lent::Listening(listening) => {
                let again = TcpStream::from(listening.as_fd().try_clone_to_owned()?);
                Ok(Self::Listening {
                    listening,
                    readiness: tokio::net::TcpStream::from_std(again)?,
                })
            }
        }
    }

    pub(crate) fn poll_accept(
        &mut self,
        task: &mut TaskContext<'_>,
    ) -> Poll<io::Result<Accepting>> {
        let (listening, readiness) = match self {
            // Without a waker: nobody else will ever come.
            Self::Connected(socket) => match socket.take() {
                Some(socket) => return Poll::Ready(Ok(Accepting::Last(socket))),
                None => return Poll::Pending,
            },
            Self::Listening {
                listening,
                readiness,
            } => (listening, readiness),
        };
        loop {
            ready!(readiness.poll_read_ready(task))?;
            match readiness.try_io(Interest::READABLE, || listening.accept()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome.map(Accepting::Next)),
            }
        }
    }
}

/// Who came.
pub(crate) enum Accepting {
    /// Somebody; others may follow.
    Next(Socket),
    /// The only one that ever comes.
    Last(Socket),
}
