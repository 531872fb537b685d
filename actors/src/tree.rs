//! Who supervises whom, with which strategy and why.
//!
//! ```text
//! ecstasy            one_for_one           a service; whoever dies, the others go on
//! ├─ connections-0   dynamic, temporary    the connections of arbiter 0
//! ├─ connections-1                         … and of each other arbiter
//! ├─ server                                the word of command
//! └─ listeners       one_for_one
//!    ├─ listener-0-127.0.0.1               accepts on arbiter 0 at 127.0.0.1
//!    ├─ listener-0-::1                     … and at each other address and arbiter
//!    └─ steward-0                          runs on arbiter 0, watches the listeners of arbiter 1
//!
//! 127.0.0.1:10000    one_for_one           a proxy of that upstream; whoever dies, the others go on
//! ├─ fetches         dynamic, temporary    asks the upstream, at most once at a time
//! ├─ cache                                 begins the fetches and watches them
//! └─ readers-1                             a service as above, for each address that was asked for
//!
//! get                one_for_all, 0 restarts   a client; it is whole or not at all
//! ├─ coordinator
//! ├─ rewritings      dynamic, transient, with backoff     only if the poems go through transforms
//! ├─ editor                                               … as well
//! ├─ downloads       dynamic, transient, with backoff
//! └─ client
//! ```
//!
//! | who dies | what happens |
//! | --- | --- |
//! | a connection | its reader is reset; nobody restarts it, since its socket is gone |
//! | a listener | restarted on the server's socket; readers in the queue wait, those who listen notice nothing |
//! | a steward | restarted; listeners go on |
//! | a server | restarted; what it had decided is in the shared state; readers notice nothing |
//! | a connections' supervisor | its readers are reset, and it is restarted; other arbiters' readers notice nothing |
//! | a proxy's cache | restarted; a fetch under way goes on, what is kept is kept, readers notice nothing |
//! | a proxy's fetch | its readers are reset, unless the old poem will do for them; the next reader begins another |
//! | a download | restarted with backoff, up to the number of retries; it continues where it was |
//! | a rewriting | restarted with backoff, as a download is; then the poem stays as it was, or is lost |
//! | an arbiter | its readers are reset; a steward accepts in its place for as long as it is gone |
//! | the coordinator, the editor, the client or one of their supervisors | the client ends: it knew what nobody else knows |
//!
//! Start order is list order, and the end is the other way round: a server stops listening before it gives up its
//! readers.

mod proxy;

use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use byron_supervisors::{
    ActorRef, ArbiterPool, Backoff, ChildId, ChildSpec, DynamicFlags, ExitReason, Name, Placement,
    Restart, Shutdown, Strategy, SupFlags, Supervisor, shutdown, whereis_actor,
};
use parking_lot::Mutex;

use crate::address::Address;
use crate::binding::{BindServerError, Binding};
use crate::client::{Client, ClientConfig, Siblings};
use crate::coordinator::{Cancel, Coordinator, Events, Gathering, telling};
use crate::editor::{Assignment, CallOffEdition, Editor, OnTransformError, TRANSFORMED_BYTES_MAX};
use crate::listener::{Listener, Post};
use crate::poem::Poem;
use crate::protocol::{Protocol, ServiceConfig};
use crate::recital::{Recital, ServerConfig};
use crate::server::{Drained, Server, drain};
use crate::service::Service;
use crate::steward::Steward;
use crate::tally::TallyCounts;

pub use self::proxy::{ProxyHandle, UpstreamHandle, proxy_specs};

/// How many restarts within [`RESTART_PERIOD`] a server's supervisors tolerate for each child.
pub const RESTARTS_MAX: u32 = 10;

/// The window of [`RESTARTS_MAX`].
pub const RESTART_PERIOD: Duration = Duration::from_secs(10);

/// How long a connection or a download may take to stop.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// What cannot start again at once (no descriptors, say, or its arbiter is gone) tries again later and later: at most
/// [`RESTARTS_MAX`] times in [`RESTART_PERIOD`], so that the loss of one arbiter does not end the server.
pub const RESTART_BACKOFF: Backoff =
    Backoff::new(Duration::from_millis(50), Duration::from_secs(2));

/// Tells the servers and clients of one program apart in the registry.
fn unique(kind: &str, id: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{kind}-{number}/{id}")
}

fn one_for_one(children: usize) -> SupFlags {
    let children = u32::try_from(children).unwrap_or(u32::MAX);
    SupFlags {
        strategy: Strategy::OneForOne,
        intensity: RESTARTS_MAX.saturating_mul(children),
        period: RESTART_PERIOD,
        ..SupFlags::default()
    }
}

// ---- a service, and a poem server

/// A service's specification has this handle: it leads to the running service, across restarts.
#[derive(Clone)]
pub struct ServiceHandle {
    name: Name,
    binding: Arc<Binding>,
    service: Arc<Service>,
    connections: Vec<Name>,
}

impl fmt::Debug for ServiceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceHandle of {}", self.name)
    }
}

impl ServiceHandle {
    /// Where it listens, at least at one address.
    pub fn addresses(&self) -> &[Address] {
        self.binding.addresses()
    }

    /// The port that was bound, if it is an internet address.
    pub fn port(&self) -> Option<u16> {
        self.binding.port()
    }

    /// The internet addresses that were bound.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.binding.local_addrs()
    }

    /// Whether it serves one connection that stood already, and ends with it.
    pub fn is_connected(&self) -> bool {
        self.binding.is_connected()
    }

    /// What it does: the name of its protocol.
    pub fn protocol(&self) -> &'static str {
        self.service.protocol_name()
    }

    /// The actor that takes commands; `None` while it is being restarted.
    pub fn server(&self) -> Option<ActorRef<Server>> {
        whereis_actor(&self.name)
    }

    /// What was counted so far. Asks no actor.
    pub fn counts(&self) -> TallyCounts {
        self.service.counts()
    }

    /// Waits until the service accepts nobody any more and the last peer has left: after the last of a limited number
    /// of connections, or a drain.
    pub async fn over(&self) {
        self.service.gate.emptied().await;
    }

    /// As the message [`Drain`](crate::Drain), whether or not the server's actor lives.
    pub async fn drain(&self, grace: Duration) -> Drained {
        drain(&self.binding, &self.service, &self.connections, grace).await
    }
}

/// Binds a service's sockets, and makes the specification of its tree: from here on peers can connect, and wait until it
/// is started.
///
/// # Errors
/// An address cannot be bound.
pub fn service_spec(
    id: impl Into<ChildId>,
    config: ServiceConfig,
    arbiters: &ArbiterPool,
) -> Result<(ChildSpec, ServiceHandle), BindServerError> {
    let id = id.into();
    let arbiters = arbiters.clone();
    let arbiter_count = arbiters.arbiters().len();
    let binding = Arc::new(Binding::bind(&config.listen, arbiter_count)?);
    let listeners = arbiter_count * binding.addresses().len();
    let service = Service::new(Arc::clone(&id), config.protocol, config.limits, listeners);
    let name = unique("server", &id);
    let connections = (0..arbiter_count)
        .map(|arbiter| Name::from(format!("{name}/connections-{arbiter}")))
        .collect();
    let handle = ServiceHandle {
        name: name.into(),
        binding,
        service,
        connections,
    };
    let of = handle.clone();
    let flags = one_for_one(arbiter_count + 2);
    let spec = ChildSpec::supervisor(id, flags, move || service_children(&of, &arbiters));
    Ok((spec, handle))
}

/// The handle of a poem server: a service, and the poem it recites.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    service: ServiceHandle,
    recital: Arc<Recital>,
}

/// A poem server is a service, and does whatever one does.
impl Deref for ServerHandle {
    type Target = ServiceHandle;

    fn deref(&self) -> &ServiceHandle {
        &self.service
    }
}

impl ServerHandle {
    /// The service, without the poem.
    pub fn service(&self) -> &ServiceHandle {
        &self.service
    }

    /// The poem that the next reader hears.
    pub fn poem(&self) -> Poem {
        self.recital.poem()
    }

    /// From the next reader on, recites this poem; readers who are listening hear the old one to its end. Answers the
    /// old one, and asks no actor.
    pub fn recite(&self, poem: Poem) -> Poem {
        self.recital.set_poem(poem)
    }
}

/// As [`service_spec`], for a service that recites a poem.
///
/// # Errors
/// An address cannot be bound.
pub fn server_spec(
    id: impl Into<ChildId>,
    config: ServerConfig,
    arbiters: &ArbiterPool,
) -> Result<(ChildSpec, ServerHandle), BindServerError> {
    let recital = Arc::new(Recital::new(config.poem, config.manner));
    let service = ServiceConfig {
        listen: config.listen,
        limits: config.manner.limits(),
        protocol: Arc::clone(&recital) as Arc<dyn Protocol>,
    };
    let (spec, service) = service_spec(id, service, arbiters)?;
    Ok((spec, ServerHandle { service, recital }))
}

fn service_children(handle: &ServiceHandle, arbiters: &ArbiterPool) -> Vec<ChildSpec> {
    let mut children = Vec::new();
    for (at, (arbiter, name)) in arbiters
        .arbiters()
        .iter()
        .zip(&handle.connections)
        .enumerate()
    {
        let flags = DynamicFlags {
            restart: Restart::Temporary,
            shutdown: Shutdown::Timeout(STOP_TIMEOUT),
            ..DynamicFlags::new("connection")
        };
        children.push(
            ChildSpec::dynamic_supervisor(format!("connections-{at}"), flags)
                .backoff(RESTART_BACKOFF)
                .at(Placement::On(arbiter.clone()))
                .registered(name.clone()),
        );
    }
    let of = handle.clone();
    children.push(
        ChildSpec::new("server", move |_| {
            Server::new(
                Arc::clone(&of.binding),
                Arc::clone(&of.service),
                of.connections.clone(),
            )
        })
        .registered(handle.name.clone()),
    );
    let (of, arbiters) = (handle.clone(), arbiters.clone());
    let listeners = (handle.addresses().len() + 1) * arbiters.arbiters().len();
    children.push(ChildSpec::supervisor(
        "listeners",
        one_for_one(listeners),
        move || listener_children(&of, &arbiters),
    ));
    children
}

fn listener_children(handle: &ServiceHandle, arbiters: &ArbiterPool) -> Vec<ChildSpec> {
    let addresses = handle.addresses().len();
    let arbiters = arbiters.arbiters();
    let posts_of = |arbiter: usize| -> Vec<Post> {
        (0..addresses)
            .map(|address| Post {
                listener: arbiter * addresses + address,
                arbiter,
                address,
            })
            .collect()
    };
    let mut children = Vec::new();
    for (at, arbiter) in arbiters.iter().enumerate() {
        for post in posts_of(at) {
            let id = format!("listener-{at}-{}", place(handle.addresses(), post.address));
            let (of, connections) = (handle.clone(), handle.connections[at].clone());
            children.push(
                ChildSpec::new(id, move |_| {
                    Listener::new(
                        post.clone(),
                        Arc::clone(&of.binding),
                        Arc::clone(&of.service),
                        connections.clone(),
                    )
                })
                // It ends normally when the server closes.
                .restart(Restart::Transient)
                .backoff(RESTART_BACKOFF)
                .at(Placement::On(arbiter.clone())),
            );
        }
    }
    // Alone, an arbiter has nobody to stand in for it.
    for (at, arbiter) in arbiters.iter().enumerate().filter(|_| arbiters.len() > 1) {
        let watched = posts_of((at + 1) % arbiters.len());
        let (of, connections) = (handle.clone(), handle.connections[at].clone());
        children.push(
            ChildSpec::new(format!("steward-{at}"), move |_| {
                Steward::new(
                    watched.clone(),
                    Arc::clone(&of.binding),
                    Arc::clone(&of.service),
                    connections.clone(),
                )
            })
            .restart(Restart::Transient)
            .backoff(RESTART_BACKOFF)
            .at(Placement::On(arbiter.clone())),
        );
    }
    children
}

/// What tells the addresses of one service apart: the IP, for they have one port, unless they were inherited. No slash,
/// which paths are made of.
fn place(addresses: &[Address], at: usize) -> String {
    let short = |address: &Address| match address {
        Address::Internet(addr) => addr.ip().to_string(),
        Address::Unix(_) => "unix".to_owned(),
        Address::Unnamed => "unnamed".to_owned(),
    };
    let name = short(&addresses[at]);
    if addresses
        .iter()
        .filter(|other| short(other) == name)
        .count()
        == 1
    {
        return name;
    }
    format!("{name}-{at}")
}

// ---- a client

/// A client's specification has this handle.
#[derive(Clone)]
pub struct ClientHandle {
    coordinator: Name,
    editor: Option<Name>,
}

impl fmt::Debug for ClientHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientHandle of {}", self.coordinator)
    }
}

impl ClientHandle {
    /// The coordinator, for its messages; `None` once the client has ended.
    pub fn coordinator(&self) -> Option<ActorRef<Coordinator>> {
        whereis_actor(&self.coordinator)
    }

    /// Calls off everything that is not settled; the events still end with `Done`.
    pub fn cancel(&self) {
        if let Some(editor) = self
            .editor
            .as_ref()
            .and_then(|name| whereis_actor::<Editor>(name))
        {
            return editor.do_send(CallOffEdition);
        }
        if let Some(coordinator) = self.coordinator() {
            coordinator.do_send(Cancel);
        }
    }
}

/// Makes the specification of a client's tree, and the end where its events come out. It is temporary: a client that was
/// restarted would fetch everything again. If it ends before [`Event::Done`](crate::Event::Done), the events just end.
pub fn client_spec(
    id: impl Into<ChildId>,
    config: ClientConfig,
) -> (ChildSpec, ClientHandle, Events) {
    let id = id.into();
    let (children, handle, events) = client_children(&id, config);
    let children = Mutex::new(Some(children));
    let spec = ChildSpec::supervisor(id, client_flags(), move || {
        children.lock().take().unwrap_or_default()
    });
    (spec.restart(Restart::Temporary), handle, events)
}

/// Starts a client as the root of a tree, on this arbiter.
///
/// # Errors
/// One of its actors did not start.
pub async fn start_client(
    name: &str,
    config: ClientConfig,
) -> Result<(ActorRef<Supervisor>, ClientHandle, Events), ExitReason> {
    let (children, handle, events) = client_children(name, config);
    let root = Supervisor::start(name, client_flags(), children).await?;
    Ok((root, handle, events))
}

/// Starts servers under one root, on this arbiter; their connections live on the others.
///
/// # Errors
/// One of their actors did not start.
pub async fn start_servers(
    name: &str,
    servers: Vec<ChildSpec>,
) -> Result<ActorRef<Supervisor>, ExitReason> {
    Supervisor::start(name, one_for_one(servers.len()), servers).await
}

/// Stops a tree from the root, children first in reverse order, and answers how it ended.
pub async fn stop(root: &ActorRef<Supervisor>, limit: Duration) -> ExitReason {
    shutdown(root.pid(), limit).await
}

fn client_flags() -> SupFlags {
    SupFlags {
        strategy: Strategy::OneForAll,
        intensity: 0,
        ..SupFlags::default()
    }
}

fn client_children(id: &str, mut config: ClientConfig) -> (Vec<ChildSpec>, ClientHandle, Events) {
    let name = unique("client", id);
    let coordinator = Name::from(format!("{name}/coordinator"));
    let downloads = Name::from(format!("{name}/downloads"));
    let editor = (!config.edition.steps.is_empty()).then(|| Name::from(format!("{name}/editor")));
    let client = Name::from(name);
    let gathering = Gathering {
        tasks: config.targets.len(),
        retries: config.retries,
        max_time: config.patience.max_time,
        fail_fast: config.fail_fast,
        client: client.clone(),
    };
    let siblings = Siblings {
        coordinator: coordinator.clone(),
        downloads: downloads.clone(),
    };
    let backoff = config.retries.backoff();
    let flags = |id| DynamicFlags {
        restart: Restart::Transient,
        shutdown: Shutdown::Timeout(STOP_TIMEOUT),
        // One failing download must not end the others; each has its own limit, the number of its retries.
        intensity: u32::MAX,
        period: Duration::from_secs(1),
        backoff: Some(backoff),
        ..DynamicFlags::new(id)
    };
    let (teller, mut events) = telling();
    let mut editing = Vec::new();
    if let Some(editor) = &editor {
        editing = edition_children(
            editor,
            &coordinator,
            &mut config,
            flags("rewriting"),
            &mut events,
        );
    }
    let downloads_flags = flags("download");
    // Taken by the one incarnation there is, so that the events end when it does.
    let teller = Mutex::new(Some(teller));
    let mut children = vec![
        ChildSpec::new("coordinator", move |_| {
            let teller = teller.lock().take();
            Coordinator::new(gathering.clone(), teller.unwrap_or_else(|| telling().0))
        })
        .registered(coordinator.clone()),
    ];
    children.append(&mut editing);
    children.extend([
        ChildSpec::dynamic_supervisor("downloads", downloads_flags).registered(downloads),
        ChildSpec::new("client", move |_| Client::new(&config, siblings.clone()))
            .registered(client),
    ]);
    let handle = ClientHandle {
        coordinator,
        editor,
    };
    (children, handle, events)
}

/// Those who transform the poems of a client before `events` come out.
fn edition_children(
    editor: &Name,
    coordinator: &Name,
    config: &mut ClientConfig,
    flags: DynamicFlags,
    events: &mut Events,
) -> Vec<ChildSpec> {
    let rewritings = Name::from(format!("{editor}/rewritings"));
    let assignment = Assignment {
        tasks: config.targets.len(),
        edition: config.edition.clone(),
        retries: config.retries,
        connect_timeout: config.patience.connect_timeout,
        max_time: config.patience.max_time,
        fail_fast: config.fail_fast,
        editor: editor.clone(),
        coordinator: coordinator.clone(),
        rewritings: rewritings.clone(),
    };
    if config.edition.on_error == OnTransformError::Fail {
        // Longer ones would be gathered for nothing.
        for target in &mut config.targets {
            let longest = &mut target.expectation.poem_bytes_max;
            *longest = (*longest).min(TRANSFORMED_BYTES_MAX as u64);
        }
    }
    let (teller, edited) = telling();
    let ends = Mutex::new(Some((std::mem::replace(events, edited), teller)));
    vec![
        ChildSpec::dynamic_supervisor("rewritings", flags).registered(rewritings),
        ChildSpec::new("editor", move |_| {
            let ends = ends.lock().take();
            let (from, to) = ends.unwrap_or_else(|| (telling().1, telling().0));
            Editor::new(assignment.clone(), from, to)
        })
        .registered(editor.clone()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_told_apart_by_their_addresses() {
        let internet = |text: &str| Address::Internet(text.parse().unwrap());
        let loopback = [internet("127.0.0.1:1"), internet("[::1]:1")];
        assert_eq!(place(&loopback, 1), "::1");
        let inherited = [internet("127.0.0.1:1"), internet("127.0.0.1:2")];
        assert_eq!(place(&inherited, 1), "127.0.0.1-1");
        let file = Address::Unix(crate::UnixAddress::Path("/run/p.sock".into()));
        assert_eq!(place(&[file], 0), "unix");
    }

    #[test]
    fn what_cannot_be_restarted_does_not_end_its_supervisor() {
        let backoff = Backoff {
            jitter: 0.0,
            ..RESTART_BACKOFF
        };
        assert_eq!(backoff.gives_up_after(RESTARTS_MAX, RESTART_PERIOD), None);
    }
}
