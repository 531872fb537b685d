//! The line to a reader: a bare socket for as long as that does, a registered stream when it does not.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll, ready};

use tokio::io::AsyncWrite;

use crate::address::Address;
use crate::socket::Socket;
use crate::stream::{Accepted, OpenError, Stream};

type Opening = dyn Future<Output = Result<Stream, OpenError>> + Send;

/// Few lines get beyond the bare socket, so what is larger than that is boxed.
pub(super) enum Line {
    /// Something lies between the socket and the poem, and has its say first.
    Opening(Pin<Box<Opening>>),
    Unregistered(Socket),
    Registered(Box<Stream>),
    /// The reactor refused it; the connection is over.
    Lost,
}

/// What a reader has said meanwhile.
pub(super) enum Discarded {
    Said(usize),
    Left,
}

fn lost() -> io::Error {
    io::Error::other("the reactor refused the socket")
}

impl From<Accepted> for Line {
    fn from(accepted: Accepted) -> Self {
        match accepted.into_socket() {
            Ok(socket) => Self::Unregistered(socket),
            Err(accepted) => Self::Opening(Box::pin(accepted.open())),
        }
    }
}

impl Line {
    /// Ready when the poem may begin.
    pub(super) fn poll_open(&mut self, task: &mut TaskContext<'_>) -> Poll<Result<(), OpenError>> {
        if let Self::Opening(opening) = self {
            let outcome = ready!(opening.as_mut().poll(task));
            *self = Self::Lost;
            *self = Self::Registered(Box::new(outcome?));
        }
        Poll::Ready(Ok(()))
    }

    /// Pending if nothing fits; [`poll_writable`](Self::poll_writable) waits until something does. Of the last bytes the end
    /// follows at once: [`poll_end`](Self::poll_end).
    pub(super) fn poll_write(
        &mut self,
        bytes: &[u8],
        is_last: bool,
        task: &mut TaskContext<'_>,
    ) -> Poll<io::Result<usize>> {
        let written = match self {
            Self::Unregistered(socket) => {
                let written = if is_last {
                    socket.write_last(bytes)
                } else {
                    socket.write(bytes)
                };
                match written {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        return Poll::Pending;
                    }
                    outcome => outcome,
                }
            }
            Self::Registered(stream) => ready!(Pin::new(&mut **stream).poll_write(task, bytes)),
            Self::Opening(_) | Self::Lost => Err(lost()),
        };
        Poll::Ready(match written {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            outcome => outcome,
        })
    }

    /// Registers the socket if it is not, and asks whether it takes bytes.
    pub(super) fn poll_writable(&mut self, task: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        *self = match std::mem::replace(self, Self::Lost) {
            Self::Unregistered(socket) => Self::Registered(Box::new(Stream::register(socket)?)),
            other => other,
        };
        match self {
            Self::Registered(stream) => stream.poll_writable(task),
            _ => Poll::Ready(Err(lost())),
        }
    }

    /// Ready when the kernel has everything that was written.
    pub(super) fn poll_flush(&mut self, task: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Registered(stream) => Pin::new(&mut **stream).poll_flush(task),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// From here on, a close is an end. Pending only if there is a last word to say, as in TLS, that does not fit.
    pub(super) fn poll_end(&mut self, task: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Unregistered(socket) => Poll::Ready(socket.disarm_and_shutdown()),
            Self::Registered(stream) => Pin::new(&mut **stream).poll_shutdown(task),
            Self::Opening(_) | Self::Lost => Poll::Ready(Err(lost())),
        }
    }

    pub(super) fn peer_addr(&self) -> Option<Address> {
        match self {
            Self::Unregistered(socket) => socket.peer_addr().ok(),
            Self::Registered(stream) => Some(stream.peer_addr().clone()),
            Self::Opening(_) | Self::Lost => None,
        }
    }

    /// Reads and forgets what is there, up to so many bytes. Not through the reactor: these looks are paced by a timer.
    pub(super) fn discard(&self, bytes_max: usize) -> io::Result<Discarded> {
        let mut said = 0;
        while said < bytes_max {
            let read = match self {
                Self::Unregistered(socket) => socket.discard(),
                Self::Registered(stream) => stream.try_discard(),
                Self::Opening(_) | Self::Lost => Err(lost()),
            };
            match read {
                Ok(0) => return Ok(Discarded::Left),
                Ok(read) => said += read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Discarded::Said(said))
    }
}
