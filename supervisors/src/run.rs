//! The future that runs one actor so that its end, a panic too, becomes an [`ExitReason`].
//!
//! This is byron's own loop over its own mailbox, not actix's `ContextFut`: that one polls a crashed actor once more
//! while it is dropped, never yields to its arbiter while messages come, and cannot give its mailbox back. What an
//! actor sees is the same: `started` at the first turn; then messages, then futures; `wait` stops both;
//! `stopping` may refuse; `stopped` is last.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as TaskContext, Poll};

use actix::dev::channel::AddressReceiver;
use actix::dev::{EnvelopeProxy, SpawnHandle};
use actix::{Actor, ActorState, AsyncContext, Running};
use futures_util::Stream;

use crate::actor_ref::Shared;
use crate::context::{BoxedFuture, Context, MESSAGES_PER_TURN};
use crate::event::EventKind;
use crate::exit::{During, ExitReason};
use crate::mailbox::BoxedMail;
use crate::panics::{self, catch, describe, drop_contained};
use crate::process::{Observer, Started, State};

/// What the init of an actor may answer, if it did not fail (`gen_server:init/1`).
#[derive(Debug)]
pub enum Init<A> {
    /// The actor; it starts to handle messages.
    Ready(A),
    /// No process is wanted, and that is not a failure (OTP's `ignore`).
    Ignore,
}

pub(crate) type InitFuture<A> = Pin<Box<dyn Future<Output = Result<Init<A>, ExitReason>>>>;

pub(crate) struct Run<A: Actor<Context = Context<A>>> {
    shared: Arc<Shared<A>>,
    starter: Option<Arc<dyn Observer>>,
    start_event: u64,
    has_waker: bool,
    is_ready: bool,
    stage: Stage<A>,
}

enum Stage<A: Actor<Context = Context<A>>> {
    Init(InitFuture<A>),
    Live(Live<A>),
    Over,
}

/// A running actor and all that is tied to it.
struct Live<A: Actor<Context = Context<A>>> {
    ctx: Context<A>,
    /// Taken out of the queue in one go; handled one by one.
    inbox: VecDeque<BoxedMail<A>>,
    bridge: Option<AddressReceiver<A>>,
    futures: Vec<(SpawnHandle, BoxedFuture<A>)>,
    actor: A,
    is_started: bool,
}

impl<A: Actor<Context = Context<A>>> Run<A> {
    pub(crate) fn ready(
        shared: Arc<Shared<A>>,
        starter: Option<Arc<dyn Observer>>,
        start_event: u64,
        ctx: Context<A>,
        actor: A,
    ) -> Self {
        Self {
            shared,
            starter,
            start_event,
            has_waker: false,
            is_ready: false,
            stage: Stage::Live(Live::new(ctx, actor)),
        }
    }

    pub(crate) fn init(
        shared: Arc<Shared<A>>,
        starter: Option<Arc<dyn Observer>>,
        start_event: u64,
        init: InitFuture<A>,
    ) -> Self {
        Self {
            shared,
            starter,
            start_event,
            has_waker: false,
            is_ready: false,
            stage: Stage::Init(init),
        }
    }

    /// Ends the process: drops everything of it under guard, then makes its end known.
    fn finish(&mut self, mut reason: ExitReason, cause: u64) {
        let core = &self.shared.core;
        core.set_exiting();
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let (mail, receiver) = self.shared.queue.lock().close();
        let mut mailbox_len = mail.len();
        let _inside = panics::Inside::enter(core.pid());
        let crash = match stage {
            Stage::Init(init) => drop_contained(init).err(),
            Stage::Live(live) => {
                mailbox_len += live.inbox.len();
                live.drop_contained()
            }
            Stage::Over => return,
        };
        let _ = drop_contained((mail, receiver));
        if let Some(payload) = crash {
            let panic = describe(payload, During::Drop, None);
            // The first panic is the story; one in its wake is not.
            if !matches!(reason, ExitReason::Panic(_)) {
                reason = ExitReason::Panic(Arc::new(panic));
            }
        }
        core.retire(reason, cause, mailbox_len);
    }

    /// Exit signals and kills; true if the process is over.
    fn heed_signals(&mut self) -> bool {
        let core = &self.shared.core;
        if !core.take_signalled() {
            return false;
        }
        let (killed, signals) = {
            let mut state: parking_lot::MutexGuard<'_, State> = core.state();
            (state.killed.take(), std::mem::take(&mut state.signals))
        };
        if let Some(cause) = killed {
            self.finish(ExitReason::Killed, cause);
            return true;
        }
        for signal in signals {
            match &mut self.stage {
                Stage::Live(live) => live.ctx.obey(signal.reason, signal.cause),
                _ => {
                    self.finish(signal.reason, signal.cause);
                    return true;
                }
            }
        }
        false
    }

    /// Polls the init; `Ready(true)` if there is an actor now.
    fn poll_init(&mut self, task: &mut TaskContext<'_>) -> Poll<bool> {
        let Stage::Init(init) = &mut self.stage else {
            return Poll::Ready(true);
        };
        match catch(self.shared.core.pid(), || init.as_mut().poll(task)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Ok(Init::Ready(actor)))) => {
                self.stage = Stage::Live(Live::new(Context::new(Arc::clone(&self.shared)), actor));
                return Poll::Ready(true);
            }
            Ok(Poll::Ready(Ok(Init::Ignore))) => {
                if let Some(starter) = self.starter.take() {
                    starter.started(Started {
                        pid: self.shared.core.pid(),
                        ignored: true,
                    });
                }
                self.finish(ExitReason::Normal, self.start_event);
            }
            Ok(Poll::Ready(Err(reason))) => self.finish(reason, self.start_event),
            Err(payload) => {
                let panic = describe(payload, During::Init, None);
                self.finish(ExitReason::Panic(Arc::new(panic)), self.start_event);
            }
        }
        Poll::Ready(false)
    }
}

impl<A: Actor<Context = Context<A>>> Unpin for Run<A> {}

impl<A: Actor<Context = Context<A>>> Future for Run<A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<()> {
        let this = &mut *self;
        if !this.has_waker {
            // The waker of a task that nobody wraps never changes.
            this.has_waker = true;
            this.shared.core.state().waker = Some(task.waker().clone());
            this.shared.queue.lock().waker = Some(task.waker().clone());
        }
        if this.heed_signals() {
            return Poll::Ready(());
        }
        match this.poll_init(task) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(false) => return Poll::Ready(()),
            Poll::Ready(true) => {}
        }
        let Stage::Live(live) = &mut this.stage else {
            return Poll::Ready(());
        };
        live.ctx.budget.set(MESSAGES_PER_TURN);
        let turn = catch(this.shared.core.pid(), || live.turn(task));
        let end = match turn {
            Ok(Poll::Pending) => None,
            Ok(Poll::Ready(())) => Some(live.ctx.exit.take().unwrap_or(ExitReason::Normal)),
            Err(payload) => {
                let panic = describe(payload, live.ctx.during, live.ctx.in_message);
                Some(ExitReason::Panic(Arc::new(panic)))
            }
        };
        // A `started` that asked to end abnormally, or panicked, was a failed start.
        let is_good_start = live.is_started
            && !live.ctx.is_deferred
            && end
                .as_ref()
                .or(live.ctx.exit.as_ref())
                .is_none_or(ExitReason::is_normal);
        let cause = live.ctx.cause;
        if !this.is_ready && is_good_start {
            this.is_ready = true;
            this.shared
                .core
                .tell_life(EventKind::Ready, this.start_event);
            if let Some(starter) = this.starter.take() {
                starter.started(Started {
                    pid: this.shared.core.pid(),
                    ignored: false,
                });
            }
        }
        match end {
            Some(reason) => {
                this.finish(reason, cause);
                Poll::Ready(())
            }
            None => {
                let spent = match &this.stage {
                    Stage::Live(live) => live.ctx.budget.get() == 0,
                    _ => false,
                };
                if spent || this.shared.core.is_signalled() {
                    task.waker().wake_by_ref();
                }
                Poll::Pending
            }
        }
    }
}

impl<A: Actor<Context = Context<A>>> Drop for Run<A> {
    fn drop(&mut self) {
        // Dropped before its end: the arbiter, or the System, has gone.
        if !matches!(self.stage, Stage::Over) {
            self.finish(ExitReason::NoConnection, 0);
        }
    }
}

impl<A: Actor<Context = Context<A>>> Live<A> {
    fn new(ctx: Context<A>, actor: A) -> Self {
        Self {
            ctx,
            inbox: VecDeque::new(),
            bridge: None,
            futures: Vec::new(),
            actor,
            is_started: false,
        }
    }

    /// One turn of the process; `Ready` when the actor has stopped.
    fn turn(&mut self, task: &mut TaskContext<'_>) -> Poll<()> {
        if !self.is_started {
            self.ctx.state = ActorState::Running;
            self.ctx.during = During::Started;
            self.actor.started(&mut self.ctx);
            self.is_started = true;
        }
        loop {
            if self.ctx.state.stopping() {
                if self.stop() {
                    return Poll::Ready(());
                }
                continue;
            }
            if self.ctx.budget.get() == 0 || self.ctx.shared.core.is_signalled() {
                return Poll::Pending;
            }
            if !self.ctx.waits.is_empty() {
                if self.poll_waits(task).is_pending() && self.ctx.state.alive() {
                    return Poll::Pending;
                }
                continue;
            }
            let more_may_wait = self.handle_mail(task);
            if self.is_interrupted() || more_may_wait {
                continue;
            }
            let spawned = self.poll_futures(task);
            if !self.is_interrupted() && !spawned {
                // Mail that came meanwhile has woken this task again.
                return Poll::Pending;
            }
        }
    }

    /// Something that comes before messages and futures is due.
    fn is_interrupted(&self) -> bool {
        self.ctx.state.stopping() || !self.ctx.waits.is_empty()
    }

    /// The way out, as actix has it. False if `stopping` refused.
    fn stop(&mut self) -> bool {
        if self.ctx.state == ActorState::Stopping {
            self.ctx.during = During::Stopping;
            self.ctx.in_message = None;
            if self.actor.stopping(&mut self.ctx) == Running::Continue {
                self.ctx.refuse_exit();
                return false;
            }
        }
        self.ctx.state = ActorState::Stopped;
        self.ctx.during = During::Stopped;
        self.ctx.in_message = None;
        self.actor.stopped(&mut self.ctx);
        true
    }

    /// The latest wait first; those that it adds come before it.
    fn poll_waits(&mut self, task: &mut TaskContext<'_>) -> Poll<()> {
        while let Some(mut wait) = self.ctx.waits.pop() {
            let at = self.ctx.waits.len();
            self.ctx.during = During::Future;
            self.ctx.in_message = None;
            let poll = wait.as_mut().poll(&mut self.actor, &mut self.ctx, task);
            if poll.is_pending() {
                let is_latest = self.ctx.waits.len() == at;
                self.ctx.waits.insert(at, wait);
                if is_latest {
                    return Poll::Pending;
                }
            }
            if self.ctx.state.stopping() {
                return Poll::Ready(());
            }
        }
        Poll::Ready(())
    }

    /// Takes what came through the mailbox and through addresses, then opens it letter by letter.
    ///
    /// The queue is emptied first and the addresses' channel after it, and the channel's part is handled first: a `Down`
    /// is in the queue, and whatever its sender had sent before it, by either way, is in one of the two by then.
    ///
    /// True if it has only come to the end of what an earlier turn had left: meanwhile the queue may have filled, and the
    /// wake-up for that is spent.
    fn handle_mail(&mut self, task: &mut TaskContext<'_>) -> bool {
        let was_left = !self.inbox.is_empty();
        if !was_left {
            let mut queue = self.ctx.shared.queue.lock();
            std::mem::swap(&mut queue.mail, &mut self.inbox);
            if self.bridge.is_none() {
                self.bridge = queue.take_bridge();
            }
        }
        let mut handled = 0;
        if let Some(bridge) = &mut self.bridge {
            while !self.ctx.waiting() {
                let Poll::Ready(Some(mut envelope)) = Pin::new(&mut *bridge).poll_next(task) else {
                    break;
                };
                envelope.handle(&mut self.actor, &mut self.ctx);
                handled += 1;
            }
        }
        while !self.inbox.is_empty() && !self.ctx.waiting() {
            let Some(mut letter) = self.inbox.pop_front() else {
                break;
            };
            if !self.ctx.flushed.is_empty()
                && letter
                    .monitor()
                    .is_some_and(|monitor| self.ctx.flushed.contains(&monitor))
            {
                continue;
            }
            letter.open(&mut self.actor, &mut self.ctx);
            handled += 1;
        }
        if self.inbox.is_empty() {
            self.ctx.flushed.clear();
        }
        if handled > 0 {
            self.ctx
                .shared
                .core
                .handled
                .fetch_add(handled, Ordering::Relaxed);
        }
        was_left && self.inbox.is_empty()
    }

    /// Polls every spawned future once. True if one of them, or a handler, spawned or cancelled another.
    fn poll_futures(&mut self, task: &mut TaskContext<'_>) -> bool {
        self.adopt_spawned();
        let mut at = 0;
        while at < self.futures.len() {
            self.ctx.during = During::Future;
            self.ctx.in_message = None;
            let (_, future) = &mut self.futures[at];
            if future
                .as_mut()
                .poll(&mut self.actor, &mut self.ctx, task)
                .is_ready()
            {
                drop(self.futures.swap_remove(at));
            } else {
                at += 1;
            }
            if !self.ctx.cancelled.is_empty() {
                self.adopt_spawned();
                return true;
            }
            if self.is_interrupted() {
                // The others come first the next time: one that always waits must not shut them out.
                if at > 0 && at < self.futures.len() {
                    self.futures.rotate_left(at);
                }
                return true;
            }
        }
        !self.ctx.spawned.is_empty() || !self.ctx.cancelled.is_empty()
    }

    fn adopt_spawned(&mut self) {
        let spawned = self.ctx.spawned.len() as u32;
        if spawned > 0 {
            // Self-made work counts as much as messages do.
            self.ctx
                .budget
                .set(self.ctx.budget.get().saturating_sub(spawned));
            self.futures.append(&mut self.ctx.spawned);
        }
        while let Some(handle) = self.ctx.cancelled.pop() {
            if let Some(at) = self.futures.iter().position(|(known, _)| *known == handle) {
                drop(self.futures.swap_remove(at));
            }
        }
    }

    /// Drops the parts one by one, so that the panic of one does not meet that of another; the first is returned.
    fn drop_contained(self) -> Option<Box<dyn std::any::Any + Send>> {
        let Self {
            ctx,
            inbox,
            bridge,
            futures,
            actor,
            ..
        } = self;
        let futures = futures
            .into_iter()
            .fold(None, |first, future| first.or(drop_contained(future).err()));
        let waits = drop_contained(ctx).err();
        let _ = drop_contained((inbox, bridge));
        let actor = drop_contained(actor).err();
        futures.or(waits).or(actor)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix::{Handler, Message, System};

    use super::*;
    use crate::spawn::spawn;

    struct Counter(u32);

    impl Actor for Counter {
        type Context = Context<Self>;
    }

    #[derive(Message)]
    #[rtype(result = "u32")]
    struct Count;

    impl Handler<Count> for Counter {
        type Result = u32;

        fn handle(&mut self, _: Count, _: &mut Context<Self>) -> u32 {
            self.0 += 1;
            self.0
        }
    }

    #[derive(Message)]
    #[rtype(result = "()")]
    struct CountAgain;

    impl Handler<CountAgain> for Counter {
        type Result = ();

        fn handle(&mut self, _: CountAgain, ctx: &mut Context<Self>) {
            self.0 += 1;
            ctx.this().do_send(Count);
        }
    }

    #[test]
    fn mail_that_comes_while_more_than_a_turn_is_waiting_is_handled() {
        System::new().block_on(async {
            let counter = spawn(Counter(0));
            // The first turn ends before this mail does, and what comes meanwhile finds the queue empty.
            for _ in 0..MESSAGES_PER_TURN + 1 {
                counter.do_send(CountAgain);
            }
            tokio::task::yield_now().await;
            let answer = counter.send(Count).timeout(Duration::from_secs(5)).await;
            assert_eq!(answer, Ok(2 * (MESSAGES_PER_TURN + 1) + 1));
        });
    }
}
