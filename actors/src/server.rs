//! [`Server`]: gives the word of command to everything that serves one poem.
//!
//! Started by [`tree`](crate::tree), between the connections and the listeners. Owns the decision to swap the poem,
//! suspend, resume and drain; what it decides is in the state that listeners and connections share, so that its own crash
//! costs no reader anything. Never sees a reader, a socket or a byte of poetry in transit.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Handler, Message, MessageResult, ResponseFuture};
use byron_supervisors::{
    Context, DynamicSupervisor, ExitReason, Name, Pid, WhichChildren, exit, whereis_actor,
};
use tokio::time::timeout;

use crate::binding::{Binding, ListenOn};
use crate::poem::{Poem, Title};
use crate::recital::{Manner, Recital};
use crate::tally::TallyCounts;

/// How long a drain waits for the poems under way, if nothing else is said.
pub const DRAIN: Duration = Duration::from_secs(10);

/// How long a connection may take to be reset at the end of a drain.
pub const RESET_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait before looking for connections that were not in the list the first time.
const RESET_ROUND: Duration = Duration::from_millis(50);

/// What a server serves, where and how.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The poem.
    pub poem: Poem,
    /// Where.
    pub listen: ListenOn,
    /// How.
    pub manner: Manner,
}

impl ServerConfig {
    /// As fast as the readers read, on both loopback addresses, with the default limits.
    pub fn new(poem: Poem, port: u16) -> Self {
        Self {
            poem,
            listen: ListenOn::loopback(port),
            manner: Manner::default(),
        }
    }
}

/// Commands everything that serves one poem.
pub struct Server {
    binding: Arc<Binding>,
    recital: Arc<Recital>,
    /// The names of the connections' supervisors, one for each arbiter.
    connections: Vec<Name>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.binding).finish()
    }
}

impl Server {
    pub(crate) fn new(
        binding: Arc<Binding>,
        recital: Arc<Recital>,
        connections: Vec<Name>,
    ) -> Self {
        Self {
            binding,
            recital,
            connections,
        }
    }
}

impl Actor for Server {
    type Context = Context<Self>;
}

/// From the next reader on, recites this poem; readers who are listening hear the old one to its end. Answers the old one.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Poem")]
pub struct Recite(pub Poem);

impl Handler<Recite> for Server {
    type Result = MessageResult<Recite>;

    fn handle(&mut self, Recite(poem): Recite, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.recital.set_poem(poem))
    }
}

/// Stops accepting for a while: new readers wait in the kernel's queue (Ranch's `suspend_listener`).
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Suspend;

impl Handler<Suspend> for Server {
    type Result = ();

    fn handle(&mut self, _: Suspend, _: &mut Context<Self>) {
        self.recital.gate.suspend();
    }
}

/// Ends a suspension (Ranch's `resume_listener`).
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Resume;

impl Handler<Resume> for Server {
    type Result = ();

    fn handle(&mut self, _: Resume, _: &mut Context<Self>) {
        self.recital.gate.resume();
    }
}

/// Asks a server how it is.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "ServerStatus")]
pub struct Status;

/// How a server is.
#[derive(Debug, Clone)]
pub struct ServerStatus {
    /// The poem that the next reader hears.
    pub title: Title,
    /// How long it is.
    pub poem_bytes: usize,
    /// Where it is served.
    pub local_addrs: Vec<SocketAddr>,
    /// What was counted.
    pub tally: TallyCounts,
}

impl Handler<Status> for Server {
    type Result = MessageResult<Status>;

    fn handle(&mut self, _: Status, _: &mut Context<Self>) -> Self::Result {
        let poem = self.recital.poem();
        MessageResult(ServerStatus {
            title: poem.title,
            poem_bytes: poem.text.len(),
            local_addrs: self.binding.local_addrs().to_vec(),
            tally: self.recital.counts(),
        })
    }
}

/// Asks for the connections that are reciting or waiting for their reader to leave.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<Pid>")]
pub struct WhichConnections;

impl Handler<WhichConnections> for Server {
    type Result = ResponseFuture<Vec<Pid>>;

    fn handle(&mut self, _: WhichConnections, _: &mut Context<Self>) -> Self::Result {
        let supervisors = self.connections.clone();
        Box::pin(async move { which_connections(&supervisors).await })
    }
}

async fn which_connections(supervisors: &[Name]) -> Vec<Pid> {
    let mut pids = Vec::new();
    let living = supervisors
        .iter()
        .filter_map(|name| whereis_actor::<DynamicSupervisor>(name));
    for supervisor in living {
        let children = supervisor.send(WhichChildren::now()).await;
        let children = children.unwrap_or_default();
        pids.extend(children.iter().filter_map(|child| child.state.pid()));
    }
    pids
}

/// Stops accepting, lets the poems under way finish for so long, then resets the rest.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Drained")]
pub struct Drain(pub Duration);

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drained {
    /// Readers who were being served when it began.
    pub under_way: usize,
    /// Readers who were cut off at its end.
    pub reset: usize,
}

impl Handler<Drain> for Server {
    type Result = ResponseFuture<Drained>;

    fn handle(&mut self, Drain(grace): Drain, _: &mut Context<Self>) -> Self::Result {
        let (binding, recital) = (Arc::clone(&self.binding), Arc::clone(&self.recital));
        let connections = self.connections.clone();
        Box::pin(async move { drain(&binding, &recital, &connections, grace).await })
    }
}

pub(crate) async fn drain(
    binding: &Binding,
    recital: &Recital,
    connections: &[Name],
    grace: Duration,
) -> Drained {
    recital.gate.close();
    binding.close();
    let under_way = recital.gate.active();
    if timeout(grace, recital.gate.emptied()).await.is_ok() {
        return Drained {
            under_way,
            reset: 0,
        };
    }
    let reset_before = recital.counts().reset;
    // Again and again: one that was on its way from its acceptor to its supervisor is in nobody's list yet.
    let _ = timeout(RESET_TIMEOUT, async {
        while recital.gate.active() > 0 {
            for pid in which_connections(connections).await {
                exit(pid, ExitReason::SHUTDOWN);
            }
            let _ = timeout(RESET_ROUND, recital.gate.emptied()).await;
        }
    })
    .await;
    let reset = recital.counts().reset - reset_before;
    Drained {
        under_way,
        reset: usize::try_from(reset).unwrap_or(usize::MAX),
    }
}
