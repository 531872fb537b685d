//! [`Listener`]: accepts the readers of one arbiter at one address.
//!
//! Started by the server's `listeners` supervisor, one for each arbiter and address, and restarted whenever it fails; the
//! socket is the server's, so the readers in its queue wait for the next incarnation. Hands each reader to the
//! connections' supervisor of its arbiter. Beats, so that a [`Steward`](crate::Steward) notices when it stalls. Ends
//! normally when the gate is closed. Never serves a reader itself.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::{ActorFutureExt, wrap_future};
use actix::{Actor, ActorContext, AsyncContext};
use byron_supervisors::{Context, ExitReason, Name};

use crate::acceptor::Acceptor;
use crate::binding::Binding;
use crate::service::Service;

/// How often a listener says that it is well.
pub const HEARTBEAT: Duration = Duration::from_millis(200);

/// Which queue, and who takes its readers.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    /// The listener's number, for its beats.
    pub(crate) listener: usize,
    /// The arbiter whose socket it is.
    pub(crate) arbiter: usize,
    /// The address among those of the binding.
    pub(crate) address: usize,
}

/// Accepts readers.
pub struct Listener {
    post: Post,
    binding: Arc<Binding>,
    service: Arc<Service>,
    connections: Name,
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").field(&self.post).finish()
    }
}

impl Listener {
    pub(crate) fn new(
        post: Post,
        binding: Arc<Binding>,
        service: Arc<Service>,
        connections: Name,
    ) -> Self {
        Self {
            post,
            binding,
            service,
            connections,
        }
    }
}

impl Actor for Listener {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        if let Some(listen_addr) = self.binding.local_addrs().get(self.post.address) {
            let listen_addr = listen_addr.to_string();
            ctx.describe(move || vec![("listen_addr", listen_addr.clone())]);
        }
        if self.service.gate.is_closed() {
            return ctx.stop();
        }
        let acceptor = self
            .binding
            .lend(self.post.arbiter, self.post.address)
            .and_then(|lent| {
                let (front, service) = (self.binding.front(), Arc::clone(&self.service));
                Acceptor::new(lent, front, service, self.connections.clone(), false)
            });
        match acceptor {
            Err(error) => ctx.exit(ExitReason::error(error)),
            Ok(acceptor) => {
                ctx.spawn(wrap_future(acceptor).map(
                    |outcome, _: &mut Self, ctx: &mut Context<Self>| {
                        ctx.exit(outcome.map_or_else(ExitReason::error, |()| ExitReason::Normal));
                    },
                ));
            }
        }
        self.service.beat(self.post.listener);
        ctx.run_interval(HEARTBEAT, |listener, _| {
            listener.service.beat(listener.post.listener);
        });
    }
}
