//! [`Steward`]: stands in for listeners that stall.
//!
//! With a socket for each arbiter the kernel deals new readers to all of them, also to one whose arbiter is blocked or
//! whose listener is being restarted: those readers would wait, however idle the other arbiters are. A steward runs on
//! another arbiter than the listeners it watches. When one of them has not beaten for [`STALL_LIMIT`], it accepts from
//! that queue in its place, and stops when it beats again. Started by the server's `listeners` supervisor. Never touches
//! a queue whose listener is well.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::dev::SpawnHandle;
use actix::fut::{ActorFutureExt, wrap_future};
use actix::{Actor, ActorContext, AsyncContext};
use byron_supervisors::{Context, ExitReason, Name};

use crate::acceptor::Acceptor;
use crate::binding::Binding;
use crate::listener::Post;
use crate::service::Service;
use crate::tally::Tally;

/// How long a listener may be silent before a steward stands in for it.
pub const STALL_LIMIT: Duration = Duration::from_millis(700);

/// How often a steward looks.
pub const STEWARD_ROUND: Duration = Duration::from_millis(200);

/// Watches the listeners of another arbiter.
pub struct Steward {
    posts: Vec<Post>,
    /// For each post, the acceptor that stands in.
    standing_in: Vec<Option<SpawnHandle>>,
    binding: Arc<Binding>,
    service: Arc<Service>,
    connections: Name,
}

impl fmt::Debug for Steward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Steward").field(&self.posts).finish()
    }
}

impl Steward {
    pub(crate) fn new(
        posts: Vec<Post>,
        binding: Arc<Binding>,
        service: Arc<Service>,
        connections: Name,
    ) -> Self {
        Self {
            standing_in: vec![None; posts.len()],
            posts,
            binding,
            service,
            connections,
        }
    }

    fn round(&mut self, ctx: &mut Context<Self>) {
        if self.service.gate.is_closed() {
            return ctx.stop();
        }
        for at in 0..self.posts.len() {
            let is_silent = self.service.silent_for(self.posts[at].listener) > STALL_LIMIT;
            match self.standing_in[at] {
                None if is_silent => self.stand_in(at, ctx),
                Some(acceptor) if !is_silent => {
                    ctx.cancel_future(acceptor);
                    self.standing_in[at] = None;
                    Tally::subtract(&self.service.tally().stalled, 1);
                    tracing::info!(post = ?self.posts[at], "the listener is back");
                }
                _ => {}
            }
        }
    }

    fn stand_in(&mut self, at: usize, ctx: &mut Context<Self>) {
        let post = &self.posts[at];
        let acceptor = self
            .binding
            .lend(post.arbiter, post.address)
            .and_then(|lent| {
                let (front, service) = (self.binding.front(), Arc::clone(&self.service));
                Acceptor::new(lent, front, service, self.connections.clone(), true)
            });
        match acceptor {
            // No descriptors, perhaps; the next round tries again.
            Err(error) => tracing::warn!(?post, %error, "cannot stand in for a stalled listener"),
            Ok(acceptor) => {
                tracing::warn!(?post, "the listener stalls; its steward accepts");
                Tally::add(&self.service.tally().stalled, 1);
                self.standing_in[at] = Some(ctx.spawn(wrap_future(acceptor).map(
                    |outcome, _: &mut Self, ctx: &mut Context<Self>| match outcome {
                        Ok(()) => ctx.stop(),
                        Err(error) => ctx.exit(ExitReason::error(error)),
                    },
                )));
            }
        }
    }
}

impl Drop for Steward {
    fn drop(&mut self) {
        let stalled = self.standing_in.iter().flatten().count() as u64;
        Tally::subtract(&self.service.tally().stalled, stalled);
    }
}

impl Actor for Steward {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(STEWARD_ROUND, Self::round);
    }
}
