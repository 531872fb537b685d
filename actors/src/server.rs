//! [`Server`]: gives the word of command to everything that belongs to one service.
//!
//! Started by [`tree`](crate::tree), between the connections and the listeners, whatever the protocol. Owns the decision
//! to suspend, resume and drain; what it decides is in the state that listeners and connections share, so that its own
//! crash costs nobody anything. Never sees a peer, a socket or a byte in transit.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Handler, Message, MessageResult, ResponseFuture};
use byron_supervisors::{
    Context, DynamicSupervisor, ExitReason, Name, Pid, WhichChildren, exit, whereis_actor,
};
use tokio::time::timeout;

use crate::address::Address;
use crate::binding::Binding;
use crate::service::Service;
use crate::tally::TallyCounts;

/// How long a drain waits for the connections under way, if nothing else is said.
pub const DRAIN: Duration = Duration::from_secs(10);

/// How long a connection may take to be reset at the end of a drain.
pub const RESET_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait before looking for connections that were not in the list the first time.
const RESET_ROUND: Duration = Duration::from_millis(50);

/// Commands everything that belongs to one service.
pub struct Server {
    binding: Arc<Binding>,
    service: Arc<Service>,
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
        service: Arc<Service>,
        connections: Vec<Name>,
    ) -> Self {
        Self {
            binding,
            service,
            connections,
        }
    }
}

impl Actor for Server {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let (binding, service) = (Arc::clone(&self.binding), Arc::clone(&self.service));
        ctx.describe(move || {
            let addrs = binding.local_addrs().iter().map(ToString::to_string);
            let counts = service.counts();
            let mut details = vec![
                ("protocol", service.protocol_name().to_owned()),
                ("listen_addrs", addrs.collect::<Vec<_>>().join(" ")),
                ("served", counts.served.to_string()),
                ("readers", counts.active.to_string()),
                ("bytes", counts.bytes.to_string()),
            ];
            let troubles = [
                ("refused", counts.refused),
                ("left early", counts.client_gone),
                ("too slow", counts.write_timeout),
                ("reset", counts.reset),
            ];
            let troubles = troubles.into_iter().filter(|(_, count)| *count > 0);
            details.extend(troubles.map(|(name, count)| (name, count.to_string())));
            details
        });
    }
}

/// Stops accepting for a while: new readers wait in the kernel's queue (Ranch's `suspend_listener`).
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Suspend;

impl Handler<Suspend> for Server {
    type Result = ();

    fn handle(&mut self, _: Suspend, _: &mut Context<Self>) {
        self.service.gate.suspend();
    }
}

/// Ends a suspension (Ranch's `resume_listener`).
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Resume;

impl Handler<Resume> for Server {
    type Result = ();

    fn handle(&mut self, _: Resume, _: &mut Context<Self>) {
        self.service.gate.resume();
    }
}

/// Asks a service how it is.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "ServerStatus")]
pub struct Status;

/// How a service is.
#[derive(Debug, Clone)]
pub struct ServerStatus {
    /// The name of its protocol.
    pub protocol: &'static str,
    /// Where it listens.
    pub local_addrs: Vec<Address>,
    /// What was counted.
    pub tally: TallyCounts,
}

impl Handler<Status> for Server {
    type Result = MessageResult<Status>;

    fn handle(&mut self, _: Status, _: &mut Context<Self>) -> Self::Result {
        MessageResult(ServerStatus {
            protocol: self.service.protocol_name(),
            local_addrs: self.binding.addresses().to_vec(),
            tally: self.service.counts(),
        })
    }
}

/// Asks for the connections that are being served or wait for their peer to leave.
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

/// Stops accepting, lets the connections under way finish for so long, then resets the rest.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Drained")]
pub struct Drain(pub Duration);

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drained {
    /// Connections that were being served when it began.
    pub under_way: usize,
    /// Connections that were cut off at its end.
    pub reset: usize,
}

impl Handler<Drain> for Server {
    type Result = ResponseFuture<Drained>;

    fn handle(&mut self, Drain(grace): Drain, _: &mut Context<Self>) -> Self::Result {
        let (binding, service) = (Arc::clone(&self.binding), Arc::clone(&self.service));
        let connections = self.connections.clone();
        Box::pin(async move { drain(&binding, &service, &connections, grace).await })
    }
}

pub(crate) async fn drain(
    binding: &Binding,
    service: &Service,
    connections: &[Name],
    grace: Duration,
) -> Drained {
    service.gate.close();
    binding.close();
    let under_way = service.gate.active();
    if timeout(grace, service.gate.emptied()).await.is_ok() {
        return Drained {
            under_way,
            reset: 0,
        };
    }
    let reset_before = service.counts().reset;
    // Again and again: one that was on its way from its acceptor to its supervisor is in nobody's list yet.
    let _ = timeout(RESET_TIMEOUT, async {
        while service.gate.active() > 0 {
            for pid in which_connections(connections).await {
                exit(pid, ExitReason::SHUTDOWN);
            }
            let _ = timeout(RESET_ROUND, service.gate.emptied()).await;
        }
    })
    .await;
    let reset = service.counts().reset - reset_before;
    Drained {
        under_way,
        reset: usize::try_from(reset).unwrap_or(usize::MAX),
    }
}
