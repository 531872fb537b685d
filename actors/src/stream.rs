//! [`Accepted`], what an acceptor hands to a protocol, and [`Stream`], what a protocol makes of it, or a client of an
//! address.
//!
//! | transport | a crash reaches the peer as | an end is |
//! | --- | --- | --- |
//! | TCP | a reset (`SO_LINGER` 0 until the stream is shut down) | a FIN |
//! | TLS | a reset, and an end without TLS's `close_notify` if the reset is lost on the way | `close_notify`, then a FIN |
//! | Unix | an end; a reset only if the peer has said something that nobody has read | an end |
//!
//! A stream is armed until it is shut down: a panic, a kill, a forced drain and the death of the whole program are a crash
//! to the peer. A Unix socket has nothing to be armed with; who needs the difference there uses a frame. Plain values;
//! whose actor holds them decides when they end.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::unix::net;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsStream;

use crate::address::Address;
use crate::proxy_header::{
    PROXY_HEADER_BYTES_MAX, ParseProxyHeaderError, ReadHeader, read_proxy_header,
};
use crate::socket::{DISCARD_BYTES, Socket, discard};
use crate::tls::{ServerTls, tls_error, tls_text};

/// How much a peer may say after the end before we stop listening.
pub const LINGER_BYTES_MAX: usize = 1 << 20;

/// How long a peer that has been sent everything may take to leave, if nothing else is said (nginx's `lingering_time`).
/// What the kernel holds may take a slow reader long to read, and whatever it says after the close destroys the rest.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a proxy may take to send its header. It is the first thing it has to say.
pub const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a TLS handshake may take, on either side; a client's is within its limit for connecting, too.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What lies between a socket and the protocol, in the order of the bytes.
#[derive(Debug, Clone, Default)]
pub struct Front {
    /// Whether a proxy says first for whom it speaks.
    pub proxied: bool,
    /// Whether everything after that is encrypted.
    pub tls: Option<ServerTls>,
}

impl Front {
    /// True if the protocol speaks to the socket directly.
    pub fn is_empty(&self) -> bool {
        !self.proxied && self.tls.is_none()
    }
}

/// A connection that was just accepted: not registered with any reactor, armed to reset, and nothing read from it.
#[derive(Debug)]
pub struct Accepted {
    socket: Socket,
    front: Option<Arc<Front>>,
}

/// A peer did not get as far as the protocol.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// It is not a proxy, or not one that keeps to the rules.
    #[error("{peer_addr} sent {problem}")]
    ProxyHeader {
        /// The peer.
        peer_addr: Address,
        /// What it sent.
        problem: ParseProxyHeaderError,
    },
    /// It took too long to say for whom it speaks.
    #[error("no PROXY header from {peer_addr} within {PROXY_HEADER_TIMEOUT:?}")]
    ProxyHeaderTimeout {
        /// The peer.
        peer_addr: Address,
    },
    /// There is no TLS with it.
    #[error("TLS with {peer_addr} failed: {problem}")]
    Handshake {
        /// The peer.
        peer_addr: Address,
        /// Why.
        problem: String,
    },
    /// It took too long for the handshake.
    #[error("no TLS with {peer_addr} within {HANDSHAKE_TIMEOUT:?}")]
    HandshakeTimeout {
        /// The peer.
        peer_addr: Address,
    },
    /// It has left, or the reactor refused the socket.
    #[error("cannot open the connection")]
    Io(#[from] io::Error),
}

impl From<OpenError> for io::Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Io(error) => error,
            other => Self::other(other),
        }
    }
}

impl Accepted {
    pub(crate) fn new(socket: Socket, front: Option<Arc<Front>>) -> Self {
        Self { socket, front }
    }

    /// The socket itself, for a protocol that knows how to do without a reactor; not if anything lies before the
    /// protocol.
    pub(crate) fn into_socket(self) -> Result<Socket, Self> {
        match self.front {
            None => Ok(self.socket),
            Some(_) => Err(self),
        }
    }

    /// Makes it a stream on this arbiter's reactor, and does what the transport demands first: a PROXY header is read,
    /// a TLS handshake made, each within its limit. Call it in the actor of the connection, not in
    /// [`Protocol::start`](crate::Protocol::start).
    ///
    /// # Errors
    /// The peer did not get as far as the protocol, and never had anything of it.
    pub async fn open(self) -> Result<Stream, OpenError> {
        let Some(front) = self.front else {
            return Ok(Stream::register(self.socket)?);
        };
        let mut peer_addr = self.socket.peer_addr()?;
        let mut wire = Wire::register(self.socket)?;
        if front.proxied {
            match timeout(PROXY_HEADER_TIMEOUT, wire.read_proxy_header(&peer_addr)).await {
                Ok(source) => peer_addr = source?.unwrap_or(peer_addr),
                Err(_) => return Err(OpenError::ProxyHeaderTimeout { peer_addr }),
            }
        }
        let Some(tls) = &front.tls else {
            return Ok(Stream::plain(wire, peer_addr));
        };
        // On the heap, since most streams have none.
        let handshake = Box::pin(tls.acceptor().accept(wire).into_fallible());
        match timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(Ok(tls)) => Ok(Stream::encrypted(tls.into(), peer_addr)),
            Ok(Err((error, wire))) => {
                // It has had nothing that could be taken for a whole; the alert should reach it.
                let _ = wire.disarm();
                let problem = io_text(&error);
                Err(OpenError::Handshake { peer_addr, problem })
            }
            Err(_) => Err(OpenError::HandshakeTimeout { peer_addr }),
        }
    }
}

fn io_text(error: &io::Error) -> String {
    tls_error(error).map_or_else(|| error.to_string(), tls_text)
}

/// Bytes from and to a peer. Dropped, it resets; [`finish`](Self::finish) ends it in order.
pub struct Stream {
    kind: Kind,
    /// Asked of the kernel when somebody wants to know; few do.
    peer_addr: OnceLock<Address>,
}

enum Kind {
    Plain(Wire),
    Tls(Box<TlsStream<Wire>>),
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("peer_addr", self.peer_addr())
            .field("is_encrypted", &self.is_encrypted())
            .finish()
    }
}

impl Stream {
    /// Registers a socket on which nothing comes before the protocol.
    pub(crate) fn register(socket: Socket) -> io::Result<Self> {
        Ok(Self {
            kind: Kind::Plain(Wire::register(socket)?),
            peer_addr: OnceLock::new(),
        })
    }

    pub(crate) fn plain(wire: Wire, peer_addr: Address) -> Self {
        Self {
            kind: Kind::Plain(wire),
            peer_addr: peer_addr.into(),
        }
    }

    pub(crate) fn encrypted(tls: TlsStream<Wire>, peer_addr: Address) -> Self {
        Self {
            kind: Kind::Tls(Box::new(tls)),
            peer_addr: peer_addr.into(),
        }
    }

    /// Who is at the other end; behind a proxy, whoever the proxy speaks for. [`Unnamed`](Address::Unnamed), if it had left
    /// before anybody asked.
    pub fn peer_addr(&self) -> &Address {
        let known = || self.wire().transport.peer_addr();
        self.peer_addr
            .get_or_init(|| known().unwrap_or(Address::Unnamed))
    }

    /// Whether it is TLS.
    pub fn is_encrypted(&self) -> bool {
        matches!(self.kind, Kind::Tls(_))
    }

    fn wire(&self) -> &Wire {
        match &self.kind {
            Kind::Plain(wire) => wire,
            Kind::Tls(tls) => tls.get_ref().0,
        }
    }

    /// Ready when a write may take bytes again.
    pub(crate) fn poll_writable(&mut self, task: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Plain(wire) => wire.transport.poll_write_ready(task),
            // What it has encrypted already must go first.
            Kind::Tls(tls) => Pin::new(tls).poll_flush(task),
        }
    }

    /// Ready when a read may give something. Of an encrypted stream only its reads know that.
    pub(crate) fn poll_readable(&self, task: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        match &self.kind {
            Kind::Plain(wire) if wire.early.is_empty() => wire.transport.poll_read_ready(task),
            Kind::Plain(_) | Kind::Tls(_) => Poll::Ready(Ok(())),
        }
    }

    /// Reads what is there without the reactor, encrypted or not: only to forget it.
    pub(crate) fn try_discard(&self) -> io::Result<usize> {
        self.wire().transport.try_discard()
    }

    /// The orderly end: the sending side is shut down once the kernel has everything, then what the peer still says is read
    /// and forgotten until it leaves, for so long and so many bytes ([`LINGER_BYTES_MAX`]) at most. A plain close would
    /// turn anything that the peer said into a reset that destroys what it has not read yet.
    ///
    /// # Errors
    /// The peer left before it had everything.
    pub async fn finish(mut self, linger_timeout: Duration) -> io::Result<()> {
        self.shutdown().await?;
        // TLS has said its last; whatever the peer answers need not be understood.
        timeout(linger_timeout, self.wire().transport.discard())
            .await
            .unwrap_or(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Plain(wire) => Pin::new(wire).poll_read(task, buffer),
            Kind::Tls(tls) => Pin::new(tls).poll_read(task, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.kind {
            Kind::Plain(wire) => Pin::new(wire).poll_write(task, bytes),
            Kind::Tls(tls) => Pin::new(tls).poll_write(task, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        match &mut self.kind {
            Kind::Plain(wire) => Pin::new(wire).poll_flush(task),
            Kind::Tls(tls) => Pin::new(tls).poll_flush(task),
        }
    }

    /// Whoever shuts down has said everything: once the kernel has it, a close is an end.
    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(task))?;
        self.wire().disarm()?;
        match &mut self.kind {
            Kind::Plain(wire) => Pin::new(wire).poll_shutdown(task),
            Kind::Tls(tls) => Pin::new(tls).poll_shutdown(task),
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// A socket on this arbiter's reactor, and what was read from it too early.
pub(crate) struct Wire {
    transport: Transport,
    /// What came together with a PROXY header and belongs to what follows.
    early: Bytes,
}

enum Transport {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Wire {
    fn register(socket: Socket) -> io::Result<Self> {
        Ok(match socket {
            Socket::Tcp(stream) => TcpStream::from_std(stream)?.into(),
            Socket::Unix(stream) => UnixStream::from_std(stream)?.into(),
        })
    }

    fn disarm(&self) -> io::Result<()> {
        match &self.transport {
            Transport::Tcp(stream) => SockRef::from(stream).set_linger(None),
            Transport::Unix(_) => Ok(()),
        }
    }

    /// Reads the header, and answers whom it names.
    async fn read_proxy_header(&mut self, from: &Address) -> Result<Option<Address>, OpenError> {
        let mut said = BytesMut::with_capacity(DISCARD_BYTES);
        loop {
            // No header is longer, so this reads at most once more than it has to.
            let read = self.transport.read_buf(&mut said).await?;
            let refused = |problem| {
                let _ = self.disarm();
                OpenError::ProxyHeader {
                    peer_addr: from.clone(),
                    problem,
                }
            };
            match read_proxy_header(&said).map_err(refused)? {
                ReadHeader::Whole(header) => {
                    said.advance(header.bytes);
                    self.early = said.freeze();
                    return Ok(header.source.map(Address::from));
                }
                ReadHeader::Part if read == 0 => {
                    return Err(refused(ParseProxyHeaderError::Missing));
                }
                ReadHeader::Part => debug_assert!(said.len() < PROXY_HEADER_BYTES_MAX),
            }
        }
    }
}

impl From<TcpStream> for Wire {
    fn from(stream: TcpStream) -> Self {
        Self {
            transport: Transport::Tcp(stream),
            early: Bytes::new(),
        }
    }
}

impl From<UnixStream> for Wire {
    fn from(stream: UnixStream) -> Self {
        Self {
            transport: Transport::Unix(stream),
            early: Bytes::new(),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            let taken = self.early.len().min(buffer.remaining());
            buffer.put_slice(&self.early.split_to(taken));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.transport).poll_read(task, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.transport {
            Transport::Tcp(stream) => Pin::new(stream).poll_write(task, bytes),
            Transport::Unix(stream) => Pin::new(stream).poll_write(task, bytes),
        }
    }

    /// There is nothing between it and the kernel.
    fn poll_flush(self: Pin<&mut Self>, _: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        match &mut self.transport {
            Transport::Tcp(stream) => Pin::new(stream).poll_shutdown(task),
            Transport::Unix(stream) => Pin::new(stream).poll_shutdown(task),
        }
    }
}

impl Transport {
    fn peer_addr(&self) -> io::Result<Address> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().map(Address::from),
            Self::Unix(stream) => {
                let addr: net::SocketAddr = stream.peer_addr()?.into();
                Ok(addr.into())
            }
        }
    }

    fn poll_write_ready(&self, task: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(task),
            Self::Unix(stream) => stream.poll_write_ready(task),
        }
    }

    fn poll_read_ready(&self, task: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(task),
            Self::Unix(stream) => stream.poll_read_ready(task),
        }
    }

    /// Reads and forgets what the peer says until it leaves, or has said enough.
    async fn discard(&self) -> io::Result<()> {
        let mut said = 0;
        while said < LINGER_BYTES_MAX {
            poll_fn(|task| self.poll_read_ready(task)).await?;
            match self.try_discard() {
                Ok(0) => break,
                Ok(read) => said += read,
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn try_discard(&self) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_io(Interest::READABLE, || discard(stream)),
            Self::Unix(stream) => stream.try_io(Interest::READABLE, || discard(stream)),
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(task, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(task, buffer),
        }
    }
}
