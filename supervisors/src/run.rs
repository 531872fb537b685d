//! The future that runs one actor so that its end, a panic too, becomes an [`ExitReason`].
//!
//! This is byron's own loop over its own mailbox, not actix's `ContextFut`: that one polls a crashed actor once more
//! while it is dropped, never yields to its arbiter while messages come, and cannot give its mailbox back. What an
//! actor sees is the same: `started` at the first turn; then messages, then futures; `wait` stops both;
//! `stopping` may refuse; `stopped` is last.

mod live;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as TaskContext, Poll};

use actix::Actor;

use self::live::Live;
use crate::actor_ref::Shared;
use crate::context::Context;
use crate::dead_letter::Addressee;
use crate::event::EventKind;
use crate::exit::{During, ExitReason};
use crate::fault::{Fall, Fate};
use crate::panics::{self, catch, panic_of};
use crate::process::{End, Observer, Process, Started};
use crate::sys::{Request, SysError};

/// What the init of an actor may answer, if it did not fail (`gen_server:init/1`).
#[derive(Debug)]
pub enum Init<A> {
    /// The actor; it starts to handle messages.
    Ready(A),
    /// No process is wanted, and that is not a failure (OTP's `ignore`).
    Ignore,
}

pub(crate) type InitFuture<A> = Pin<Box<dyn Future<Output = Result<Init<A>, ExitReason>>>>;

/// Always in a box: tokio moves a future into its task, and out of it at its end, and rounds the task up to 128 bytes.
pub(crate) struct Run<A: Actor<Context = Context<A>>> {
    shared: Arc<Shared<A>>,
    starter: Option<Arc<dyn Observer>>,
    start_event: u64,
    has_waker: bool,
    is_ready: bool,
    /// What is to befall it on purpose.
    fate: Option<Box<Fate>>,
    #[cfg(feature = "testing")]
    panics_next: bool,
    stage: Stage<A>,
}

#[expect(
    clippy::large_enum_variant,
    reason = "almost every process is live for almost all of its life; a box would cost each an allocation"
)]
enum Stage<A: Actor<Context = Context<A>>> {
    Init(InitFuture<A>),
    Live(Live<A>),
    Over,
}

impl<A: Actor<Context = Context<A>>> Run<A> {
    #[inline(always)]
    pub(crate) fn ready(
        shared: Arc<Shared<A>>,
        starter: Option<Arc<dyn Observer>>,
        start_event: u64,
        ctx: Context<A>,
        actor: A,
    ) -> Box<Self> {
        Box::new(Self {
            shared,
            starter,
            start_event,
            has_waker: false,
            is_ready: false,
            fate: None,
            #[cfg(feature = "testing")]
            panics_next: false,
            stage: Stage::Live(Live::new(ctx, actor)),
        })
    }

    pub(crate) fn init(
        shared: Arc<Shared<A>>,
        starter: Option<Arc<dyn Observer>>,
        start_event: u64,
        init: InitFuture<A>,
    ) -> Box<Self> {
        Box::new(Self {
            shared,
            starter,
            start_event,
            has_waker: false,
            is_ready: false,
            fate: None,
            #[cfg(feature = "testing")]
            panics_next: false,
            stage: Stage::Init(init),
        })
    }

    /// Ends the process: drops everything of it under guard, then makes its end known.
    fn finish(&mut self, mut end: End) {
        if self.is_over() {
            return;
        }
        let core = &self.shared.core;
        core.set_exiting();
        if let Stage::Live(live) = &self.stage
            && end.is_crash()
        {
            end.state = live.show();
        }
        let _inside = panics::Inside::enter(core.pid());
        if let Some(kept) = self.shared.queue.kept() {
            *kept.last_exit.lock() = Some((end.reason.clone(), Addressee::of(core)));
        }
        if let Stage::Live(live) = &mut self.stage
            && self.shared.keeps_mailbox()
        {
            live.give_mail_back();
        }
        if core.is_bounded {
            let queue = self.shared.queue.lock();
            end.mailbox_capacity = queue.bound.as_ref().map(|bound| bound.capacity);
        }
        if end.is_crash() {
            end.children = core.introspect().map(|it| it.children_total());
        }
        end.mailbox_len = self.shared.close(&end.reason) + core.taken.load(Ordering::Relaxed);
        let panic = match &mut self.stage {
            Stage::Live(live) => live.clear(&end.reason),
            Stage::Init(_) | Stage::Over => None,
        };
        // In its place: the init, or what is left of the actor, which is the actor.
        let last = panic_of(|| self.stage = Stage::Over);
        end.dropped(panic.or(last));
        self.shared.core.retire(end);
    }

    /// Exit signals and kills; true if the process is over.
    fn heed_signals(&mut self) -> bool {
        let core = &self.shared.core;
        if !core.take_signalled() {
            return false;
        }
        #[cfg(feature = "testing")]
        {
            self.panics_next |= core.take_panics_next();
        }
        let doom = core.state().take_doom();
        if let Some(end) = doom {
            self.finish(*end);
            return true;
        }
        self.answer_requests();
        let core = &self.shared.core;
        let Some(signal) = core.next_signal() else {
            return false;
        };
        match &mut self.stage {
            Stage::Live(live) if live.ctx.is_started => {
                live.ctx.obey(signal.reason, signal.cause);
                false
            }
            // Nothing has begun that could be asked to end.
            _ => {
                self.finish(End::by_signal(signal.reason, signal.cause));
                true
            }
        }
    }

    /// What was asked through the system lane, in order.
    fn answer_requests(&self) {
        if let Stage::Live(live) = &self.stage
            && !live.ctx.is_started
        {
            // `started` comes first: what the actor exposes, it says there.
            return self.shared.core.put_off_requests();
        }
        for Request { what, reply } in self.shared.core.take_requests() {
            if reply.is_closed() {
                // Whoever asked has given up, and was told that nothing happened.
                continue;
            }
            let answer = match &self.stage {
                Stage::Live(live) => live.answer(&what),
                Stage::Init(_) | Stage::Over => Err(SysError::Starting),
            };
            let _ = reply.send(answer);
        }
    }

    /// A process's first turn, in the turn of its supervisor: `started`, as `start_link` waits for the init. True if that was
    /// all of a good start; whoever starts it need not be told then. What else a turn has to do waits for the task.
    pub(crate) fn start(&mut self) -> bool {
        if self.shared.core.is_signalled() {
            // It is to end before anything of it has begun.
            return false;
        }
        self.shared.core.begin_turn();
        let is_ready = self.run_started();
        if is_ready {
            self.set_ready();
        }
        if let Stage::Live(live) = &self.stage {
            self.shared.core.end_turn(live.ctx.is_in_wait());
        }
        is_ready
    }

    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Runs the actor's `started`, whose panic ends the process. True if the start has succeeded.
    fn run_started(&mut self) -> bool {
        let Stage::Live(live) = &mut self.stage else {
            return false;
        };
        match catch(self.shared.core.pid(), || live.start()) {
            Ok(()) => live.is_well_started(),
            Err(caught) => {
                let panic = caught.describe(During::Started, None);
                let cause = live.ctx.cause;
                self.finish(End::panic(panic, cause));
                false
            }
        }
    }

    /// The start has succeeded.
    fn set_ready(&mut self) {
        self.is_ready = true;
        if let Some(fate) = &mut self.fate {
            fate.ready();
        }
        self.shared
            .core
            .tell_life(EventKind::Ready, self.start_event);
    }

    /// Tells that the start has succeeded, once.
    fn tell_ready(&mut self) {
        self.set_ready();
        if let Some(starter) = self.starter.take() {
            starter.started(Started {
                pid: self.shared.core.pid(),
                ignored: false,
            });
        }
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
                self.finish(End::new(ExitReason::Normal, self.start_event));
            }
            Ok(Poll::Ready(Err(reason))) => self.finish(End::new(reason, self.start_event)),
            Err(caught) => {
                let panic = caught.describe(During::Init, None);
                self.finish(End::panic(panic, self.start_event));
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
        this.shared.core.begin_turn();
        let poll = this.poll_turn(task);
        let is_waiting = match &this.stage {
            Stage::Live(live) => live.ctx.is_in_wait(),
            Stage::Init(_) => false,
            // Nobody sees the numbers of the dead.
            Stage::Over => return poll,
        };
        this.shared.core.end_turn(is_waiting);
        poll
    }
}

impl<A: Actor<Context = Context<A>>> Run<A> {
    fn poll_turn(&mut self, task: &mut TaskContext<'_>) -> Poll<()> {
        let this = self;
        if !this.has_waker {
            // The waker of a task that nobody wraps never changes.
            this.has_waker = true;
            let mut state = this.shared.core.state();
            state.waker = Some(task.waker().clone());
            this.fate = state.take_fate();
            drop(state);
            if this.is_ready {
                this.fate.iter_mut().for_each(|fate| fate.ready());
            }
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
        let pid = this.shared.core.pid();
        let Stage::Live(live) = &mut this.stage else {
            return Poll::Ready(());
        };
        live.begin_turn();
        if !live.ctx.is_started && this.run_started() {
            this.tell_ready();
        }
        let Stage::Live(live) = &mut this.stage else {
            return Poll::Ready(());
        };
        let mut panic = None;
        match this.fate.as_mut().and_then(|fate| fate.next(task)) {
            None => {}
            Some(Fall::Stall) => return Poll::Pending,
            Some(Fall::Kill(event)) => {
                this.finish(End::by_signal(ExitReason::Killed, event));
                return Poll::Ready(());
            }
            Some(Fall::Exit(reason, event)) => live.ctx.fall(reason, event),
            Some(Fall::Panic(text, event)) => {
                live.ctx.cause = event;
                panic = Some(text);
            }
        }
        #[cfg(feature = "testing")]
        if this.panics_next && panic.is_none() && live.has_message(task) {
            panic = Some(crate::testing::PANIC_NEXT.to_owned());
        }
        let turn = catch(pid, || match panic {
            Some(text) => live.stumble(&text, task),
            None => live.turn(task),
        });
        // A deferred init may have come to its end.
        let is_well_started = turn.is_ok() && live.is_well_started();
        let end = match turn {
            Ok(Poll::Pending) => None,
            Ok(Poll::Ready(())) => Some(End {
                is_signal: live.ctx.is_signalled_exit,
                ..End::new(
                    live.ctx.exit.take().unwrap_or(ExitReason::Normal),
                    live.ctx.cause,
                )
            }),
            Err(caught) => {
                let panic = caught.describe(live.ctx.during, live.ctx.in_message);
                Some(End::panic(panic, live.ctx.cause))
            }
        };
        let taken = live.taken();
        this.shared.core.taken.store(taken, Ordering::Relaxed);
        let is_spent = live.ctx.is_cut.get();
        if !this.is_ready && is_well_started {
            this.tell_ready();
        }
        match end {
            Some(end) => {
                this.finish(end);
                Poll::Ready(())
            }
            None => {
                if is_spent || this.shared.core.is_signalled() {
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
            self.finish(End::by_signal(ExitReason::NoConnection, 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Idle;

    impl Actor for Idle {
        type Context = Context<Self>;
    }

    #[test]
    fn a_process_that_does_nothing_is_small() {
        let task = size_of::<Run<Idle>>();
        assert!(task <= 288, "its task has {task} bytes");
        let shared = size_of::<Shared<Idle>>() + 2 * size_of::<usize>();
        assert!(shared <= 320, "what it shares has {shared} bytes");
    }
}
