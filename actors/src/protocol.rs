//! [`Protocol`]: what a service does with whoever connects; everything else a service needs is the same for all.
//!
//! A service is one address, or several, with the machinery behind it: sockets, listeners, stewards, the gate, the
//! tally, the supervisors of the connections, the drain. Its protocol says which actor serves one connection. Poems are
//! one protocol ([`recital`](crate::Manner)); a protocol never accepts, counts who is inside, or restarts anything.

use std::sync::Arc;

use byron_supervisors::StartDynamicChild;

use crate::binding::ListenOn;
use crate::gate::Permit;
use crate::stream::Accepted;

/// How many connections one service has at once, if nothing else is said.
pub const CONNECTIONS_MAX: usize = 1024;

/// What a service does with each connection.
pub trait Protocol: Send + Sync + 'static {
    /// What it is called, in reports and in the log: `poem`, `netstring`, `http`.
    fn name(&self) -> &'static str;

    /// Makes the child that serves one connection: an actor of its own, started on the arbiter that accepted, and never
    /// restarted, for its socket is gone. It keeps the permit for as long as it lives, and [settles](Permit::settle) in it
    /// what became of the connection. This function must not block, nor wait: it has the acceptor's turn.
    fn start(self: Arc<Self>, accepted: Accepted, permit: Permit) -> StartDynamicChild;
}

/// How many connections a service takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many there are at once; the next ones wait in the kernel's queue.
    pub connections_max: usize,
    /// How many are served to the end before the service closes; those that leave early do not count.
    pub connections: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            connections: None,
        }
    }
}

/// What a service does, where and for how many.
#[derive(Clone)]
pub struct ServiceConfig {
    /// Where.
    pub listen: ListenOn,
    /// For how many.
    pub limits: Limits,
    /// What.
    pub protocol: Arc<dyn Protocol>,
}

impl std::fmt::Debug for ServiceConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceConfig")
            .field("listen", &self.listen)
            .field("limits", &self.limits)
            .field("protocol", &self.protocol.name())
            .finish()
    }
}
