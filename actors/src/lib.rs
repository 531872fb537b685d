//! The poetry network: poems over TCP, recited and heard by supervised actors.
//!
//! # The map, in the order a poem meets it
//!
//! ```text
//! poetry/x.txt ─► server ─► connection ═══ wire, TCP ═══► download ─► coordinator ─► whoever takes the events
//! ```
//!
//! | file | actor | started by | what it does |
//! | --- | --- | --- | --- |
//! | `server` | [`Server`] | [`tree`] | gives the word of command: suspend, resume, drain |
//! | `listener` | [`Listener`] | `listeners` | accepts whoever connects to one arbiter at one address |
//! | `steward` | [`Steward`] | `listeners` | stands in for listeners that stall |
//! | `connection` | [`Connection`] | a listener | recites the poem to one reader |
//! | `conversation` | [`Conversation`] | a listener | serves one peer that asks: for a transform, for a poem of a library |
//! | `transformer` | [`Transformer`] | the pool, [`Transformers`] | applies transforms, one poem after the other |
//! | `client` | [`Client`] | [`tree`] | asks a set of servers, one download each |
//! | `download` | [`Download`] | the client | listens to one server, once |
//! | `coordinator` | [`Coordinator`] | [`tree`] | gathers poems and losses, and tells [`Event`]s |
//! | `editor` | [`Editor`] | [`tree`] | has each poem transformed before anybody sees it |
//! | `rewriting` | [`Rewriting`] | the editor | has one poem transformed, once |
//!
//! | `proxy` | [`Keeper`] | [`tree`] | the cache actor of an upstream: sees to it that what readers want is fetched |
//! | | [`Fetch`] | the keeper | asks the upstream of a proxy, once, for all who wait |
//! | | [`Reader`] | a listener | recites a poem to one reader of a proxy while it is being fetched |
//!
//! Who restarts them, and what else falls when one falls, is in [`tree`]. What is no actor:
//!
//! | file | what it holds |
//! | --- | --- |
//! | `poem` | [`Poem`], a value, and how one is read |
//! | `wire` | what both halves know of the bytes between them: [`Pace`], [`Prefix`], [`Rereading`] |
//! | `netstring` | [`Netstring`]: bytes with their length in front, whole or as they come |
//! | `transform` | [`TRANSFORMS`], each of which makes another poem of a poem |
//! | `protocol` | [`Protocol`]: what a service does with whoever connects |
//! | `service` | what the actors of one service share, whatever its protocol |
//! | `binding` | [`Binding`], the sockets of a service, which outlive its listeners |
//! | `acceptor` | how listeners and stewards accept: in batches, with pauses, through the gate |
//! | `address` | [`Address`], where either end of a connection is |
//! | `socket` | sockets before any reactor knows them, and the queues they come from |
//! | `stream` | [`Accepted`], what an acceptor hands to a protocol, and the [`Stream`] it becomes |
//! | `proxy_header` | whom a proxy in front speaks for, [read strictly](read_proxy_header) |
//! | `tls` | [`ServerTls`] and [`ClientTls`]: whose certificates are shown, whose are believed |
//! | `gate` | how many peers there may be, and when the last one has left |
//! | `recital` | the poem server's protocol: the poem and the [`Manner`] of reciting it |
//! | `transform_netstring` | [`TransformNetstring`], the tutorial's protocol for transforms |
//! | `library` | [`Library`], a protocol: the poems of a directory, by title |
//! | `transform_http` | [`TransformHttp`], the same for curl |
//! | `patience` | streams whose peers may not keep a writer waiting for ever |
//! | `tally` | what was counted |
//! | `framing` | which bytes of a connection are the poem, and when it is whole |
//! | `connect` | how a download gets a socket: resolve, then all addresses in turn |
//! | `ear` | how a download or a fetch hears its server, until it has been silent for too long |
//!
//! # Invariants
//!
//! - A crash never looks like the end of a poem. While a poem is unfinished its socket is armed to reset.
//! - A poem is bytes. Nothing here decodes them.
//! - The left half (server, listener, steward, connection) and the right half (client, download, coordinator) never
//!   import each other; they meet in `wire` and `poem`. The proxy alone uses both, because that is what a proxy is; neither
//!   knows of it.
//! - Nothing here prints, exits or reads arguments.
//! - Every wait has a limit, and every limit is a named constant or a setting with one for its default. What is queued
//!   is bounded: readers by the accept queue and the gate, bytes by the credit of each poem.
//! - No actor keeps a sibling's handle over a restart; it asks for the name again.
//! - A child's end is a `Down` with a reason. A reader who leaves is `Normal`; a download that may be tried again is
//!   `Error`; one that may not is `Shutdown`.
//!
//! # A poem from one end to the other
//!
//! ```
//! use byron_actors::{ClientConfig, Event, Poem, ServerConfig, Target, Whereabouts, tree};
//! use byron_supervisors::ArbiterPool;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! actix::System::new().block_on(async {
//!     let here = ArbiterPool::new([actix::Arbiter::current()]);
//!     let poem = Poem::new("beauty", "She walks in beauty, like the night");
//!     let (spec, server) = tree::server_spec("beauty", ServerConfig::new(poem, 0), &here)?;
//!     let servers = tree::start_servers("servers", vec![spec]).await.expect("it starts");
//!
//!     let target = Target::new("beauty", Whereabouts::Addresses(server.local_addrs().to_vec()));
//!     let wanted = ClientConfig::new(vec![target]);
//!     let (client, _, mut events) = tree::start_client("get", wanted).await.expect("it starts");
//!     let mut heard = Vec::new();
//!     while let Some(event) = events.recv().await {
//!         match event {
//!             Event::Chunk(chunk) => heard.extend_from_slice(&chunk.bytes),
//!             Event::Done { poems, .. } => {
//!                 assert_eq!(poems, 1);
//!                 break;
//!             }
//!             _ => {}
//!         }
//!     }
//!     assert_eq!(heard, b"She walks in beauty, like the night");
//!     tree::stop(&client, tree::STOP_TIMEOUT).await;
//!     tree::stop(&servers, tree::STOP_TIMEOUT).await;
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # To add a protocol
//!
//! A protocol is what a service does with whoever connects; the sockets, listeners, limits, counts, restarts and the drain
//! are there already. One file: the actor that serves one connection, and a small type that implements [`Protocol`] by
//! making that actor from an [`Accepted`] and a [`Permit`]. The actor opens its [`Stream`] (`accepted.open().await`, which
//! does what the transport demands first), keeps the permit while it lives, settles its [`Fate`], and ends the stream
//! with [`Stream::finish`] when the peer is to believe that it has everything; a stream that is dropped before is reset.
//! Give the protocol to [`tree::service_spec`], and start what it answers under [`tree::start_servers`]:
//!
//! ```
//! use std::sync::Arc;
//!
//! use actix::fut::{ActorFutureExt, wrap_future};
//! use actix::{Actor, AsyncContext};
//! use byron_actors::{Accepted, Fate, LINGER_TIMEOUT, Limits, ListenOn, Permit, Protocol, ServiceConfig, tree};
//! use byron_supervisors::{ArbiterPool, Context, ExitReason, StartDynamicChild};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! struct Greetings;
//!
//! struct Greeting(Option<(Accepted, Permit)>);
//!
//! impl Protocol for Greetings {
//!     fn name(&self) -> &'static str {
//!         "greeting"
//!     }
//!
//!     fn start(self: Arc<Self>, accepted: Accepted, permit: Permit) -> StartDynamicChild {
//!         StartDynamicChild::once(move |_| Greeting(Some((accepted, permit))))
//!     }
//! }
//!
//! impl Actor for Greeting {
//!     type Context = Context<Self>;
//!
//!     fn started(&mut self, ctx: &mut Context<Self>) {
//!         let (accepted, mut permit) = self.0.take().expect("it is started once");
//!         let greet = async move {
//!             let mut stream = accepted.open().await?;
//!             stream.write_all(b"good morning").await?;
//!             permit.settle(Fate::Served);
//!             stream.finish(LINGER_TIMEOUT).await
//!         };
//!         ctx.spawn(wrap_future(greet).map(|outcome: std::io::Result<()>, _: &mut Self, ctx: &mut Context<Self>| {
//!             ctx.exit(outcome.map_or_else(ExitReason::error, |()| ExitReason::Normal));
//!         }));
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! actix::System::new().block_on(async {
//!     let here = ArbiterPool::new([actix::Arbiter::current()]);
//!     let config = ServiceConfig {
//!         listen: ListenOn::loopback(0),
//!         limits: Limits::default(),
//!         protocol: Arc::new(Greetings),
//!     };
//!     let (spec, service) = tree::service_spec("greetings", config, &here)?;
//!     let root = tree::start_servers("servers", vec![spec]).await.expect("it starts");
//!
//!     let mut heard = String::new();
//!     let mut peer = tokio::net::TcpStream::connect(service.local_addrs()[0]).await?;
//!     peer.read_to_string(&mut heard).await?;
//!     assert_eq!(heard, "good morning");
//!     tree::stop(&root, tree::STOP_TIMEOUT).await;
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # To add an actor
//!
//! One file, one place. The file has the shape of the others: what it is, who starts it, whom it talks to and what it
//! never does; its limits as constants; the struct; `impl Actor`; then each message above its handler; then the plain
//! functions that decide, and their tests. The place is a `mod` line below, in the order a poem meets it. If it is
//! started when the program starts, it also has a line in [`tree`].

mod address;
mod netstring;
mod poem;
mod proxy_header;
mod socket;
mod stream;
mod tls;
mod transform;
mod wire;

mod acceptor;
mod binding;
mod gate;
mod listener;
mod protocol;
mod server;
mod service;
mod steward;
mod tally;

mod connection;
mod recital;

mod conversation;
mod library;
mod patience;
mod transform_http;
mod transform_netstring;
mod transformer;

mod client;
mod connect;
mod coordinator;
mod download;
mod ear;
mod editor;
mod framing;
mod rewriting;

mod proxy;

pub mod tree;

pub use acceptor::{ACCEPT_BATCH, ACCEPT_PAUSE};
pub use address::{Address, UnixAddress};
pub use binding::{BACKLOG, BindServerError, Binding, Interfaces, ListenOn, Sockets};
pub use client::{Client, ClientConfig, RETRIES, RETRY_DELAY, RETRY_DELAY_MAX, Retries, Target};
pub use connect::{ADDRESSES_MAX, STAGGER, Whereabouts};
pub use connection::{Connection, HowFar, Progress, RESET, Stumble, WriteTimeout};
pub use conversation::{Conversation, ConversationError, Courtesy, REQUEST_TIMEOUT};
pub use coordinator::{
    ATTEMPT_OVERDUE, Cancel, Chunk, Coordinator, Event, Events, Teller, WhichDownloads, telling,
};
pub use download::{
    CHUNK_BYTES_MIN, CONNECT_TIMEOUT, Download, DownloadError, Expectation, FIRST_BYTE_TIMEOUT,
    FailureKind, IDLE_TIMEOUT, IN_FLIGHT_BYTES_MAX, POEM_BYTES_MAX, Patience,
};
pub use editor::{Edition, Editor, OnTransformError, REWRITINGS_MAX, TRANSFORMED_BYTES_MAX};
pub use gate::{Fate, Permit};
pub use library::{Library, OpenLibraryError, TITLE_BYTES_MAX, TITLES_MAX};
pub use listener::{HEARTBEAT, Listener};
pub use netstring::{
    NETSTRING_BYTES_MAX, Netstring, NetstringError, NoDot, Unframing, frame, request,
};
pub use poem::{FILE_BYTES_MAX, Poem, ReadPoemError, Title};
pub use protocol::{CONNECTIONS_MAX, Limits, Protocol, ServiceConfig};
pub use proxy::cache::{
    CACHE_BYTES_MAX, CacheRules, CacheStatus, ERROR_TTL, Freshness, GRACE, Moment,
    PROXY_POEM_BYTES_MAX, STALE_IF_ERROR, TTL, Ttl,
};
pub use proxy::fetch::{FETCH_TIMEOUT, Fetch, Transforms};
pub use proxy::flight::{Abandon, Broken};
pub use proxy::keeper::Keeper;
pub use proxy::reader::{HALF_CLOSED_PATIENCE, Reader, TurnedAway};
pub use proxy::report::{CacheReport, FetchReport, KeptReport, StatusCounts};
pub use proxy::store::{OpenStoreError, Store};
pub use proxy::{MakeProxyError, ProxyConfig, Upstream};
pub use proxy_header::{
    PROXY_HEADER_BYTES_MAX, ParseProxyHeaderError, ProxyHeader, ReadHeader, read_proxy_header,
};
pub use recital::{Manner, ServerConfig, WRITE_TIMEOUT};
pub use rewriting::{REWRITING_TIMEOUT, Rewriting, TransformStep, TransformedBy};
pub use server::{
    DRAIN, Drain, Drained, RESET_TIMEOUT, Resume, Server, ServerStatus, Status, Suspend,
    WhichConnections,
};
pub use steward::{STALL_LIMIT, STEWARD_ROUND, Steward};
pub use stream::{
    Accepted, Front, HANDSHAKE_TIMEOUT, LINGER_BYTES_MAX, LINGER_TIMEOUT, OpenError,
    PROXY_HEADER_TIMEOUT, Stream,
};
pub use tally::TallyCounts;
pub use tls::{Authorities, ClientTls, Identity, ServerTls, TlsFileError};
pub use transform::{
    GROWTH_BYTES, GROWTH_MAX, TRANSFORMS, Transform, TransformError, transform_named,
};
pub use transform_http::{HEADER_BYTES_MAX, HEADERS_MAX, TransformHttp};
pub use transform_netstring::TransformNetstring;
pub use transformer::{
    CallTransformError, INLINE_BYTES_MAX, LONG_TRANSFORMS_WAITING_MAX, TRANSFORM_TIMEOUT,
    TRANSFORMS_WAITING_MAX, TransformCounts, Transformer, Transformers,
};
pub use wire::{
    Frame, LATE_CHUNKS_MAX, Pace, ParsePoemHashError, PoemChanged, PoemHash, Prefix, Rereading,
};
