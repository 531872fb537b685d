//! [`Accepted`], what an acceptor hands to a protocol, and [`Stream`], what a protocol makes of it.
//!
//! A stream is armed until it is shut down: a panic, a kill, a forced drain and the death of the whole program reach the
//! peer as a reset, not as an end. Plain values; whose actor holds them decides when they end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How much a peer may say after the end before we stop listening.
pub const LINGER_BYTES_MAX: usize = 1 << 20;

/// How long a peer that has been sent everything may take to leave, if nothing else is said (nginx's `lingering_time`).
/// What the kernel holds may take a slow reader long to read, and whatever it says after the close destroys the rest.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(30);

/// What is read and forgotten in one call.
const DISCARD_BYTES: usize = 4096;

/// A connection that was just accepted: not registered with any reactor, and armed to reset.
#[derive(Debug)]
pub struct Accepted {
    socket: std::net::TcpStream,
}

impl Accepted {
    /// The socket must not block.
    pub(crate) fn new(socket: std::net::TcpStream) -> Self {
        // Linux has handed both down from the listening socket.
        if !cfg!(target_os = "linux") {
            let options = SockRef::from(&socket);
            let _ = options.set_linger(Some(Duration::ZERO));
            let _ = options.set_tcp_nodelay(true);
        }
        Self { socket }
    }

    /// The socket itself, for a protocol that knows how to do without a reactor.
    pub(crate) fn into_socket(self) -> std::net::TcpStream {
        self.socket
    }

    /// Makes it a stream on this arbiter's reactor. Call it in the actor of the connection, not in
    /// [`Protocol::start`](crate::Protocol::start): a transport may have to talk to the peer first.
    ///
    /// # Errors
    /// The reactor refused the socket, or the peer has left.
    pub async fn open(self) -> io::Result<Stream> {
        let peer_addr = self.socket.peer_addr()?;
        Ok(Stream {
            socket: TcpStream::from_std(self.socket)?,
            peer_addr,
        })
    }
}

/// Bytes from and to a peer. Dropped, it resets; [`finish`](Self::finish) ends it in order.
#[derive(Debug)]
pub struct Stream {
    socket: TcpStream,
    peer_addr: SocketAddr,
}

impl Stream {
    /// Who is at the other end.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer_addr
    }

    /// The orderly end: the sending side is shut down once the kernel has everything, then what the peer still says is read and forgotten until it leaves, for so long and so many bytes ([`LINGER_BYTES_MAX`]) at most. A
    /// plain close would turn anything that the peer said into a reset that destroys what it has not read yet.
    ///
    /// # Errors
    /// The peer left before it had everything.
    pub async fn finish(mut self, linger_timeout: Duration) -> io::Result<()> {
        self.flush().await?;
        self.shutdown().await?;
        let discarding = async {
            let mut bytes = [0; DISCARD_BYTES];
            let mut said = 0;
            while said < LINGER_BYTES_MAX {
                match self.socket.read(&mut bytes).await {
                    Ok(0) => return Ok(()),
                    Ok(read) => said += read,
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        timeout(linger_timeout, discarding).await.unwrap_or(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(task, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(task)
    }

    /// Whoever shuts down has said everything: from here on, a close is an end.
    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        SockRef::from(&self.socket).set_linger(None)?;
        Pin::new(&mut self.socket).poll_shutdown(task)
    }
}
