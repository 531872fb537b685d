//! The future that runs one actor so that its end, a panic too, becomes an [`ExitReason`].
//!
//! This is byron's own loop over its own mailbox, not actix's `ContextFut`: that one polls a crashed actor once more
//! while it is dropped, never yields to its arbiter while messages come, and cannot give its mailbox back. What an
//! actor sees is the same: `started` at the first turn; then messages, then futures; `wait` stops both;
//! `stopping` may refuse; `stopped` is last.

use std::any::Any;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as TaskContext, Poll};

use actix::dev::channel::AddressReceiver;
use actix::dev::{Envelope, EnvelopeProxy};
use actix::{Actor, ActorState, AsyncContext, Running};
use futures_util::Stream;

use crate::actor_ref::Shared;
use crate::bound::Offer;
use crate::context::{BoxedFuture, Context, Spawned};
use crate::dead_letter::{self, Addressee, Undelivered};
use crate::event::EventKind;
use crate::exit::{During, ExitReason};
use crate::fault::{Fall, Fate};
use crate::mailbox::{BoxedMail, drain};
use crate::panics::{self, Caught, catch, drop_contained, drop_each};
use crate::process::{End, Observer, Process, Started};
use crate::sys::{Request, SysError, What};
use crate::vitals::{self, MAILBOX_HIGH};

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

/// A running actor and all that is tied to it.
struct Live<A: Actor<Context = Context<A>>> {
    ctx: Context<A>,
    /// Taken out of the queue in one go; handled one by one.
    inbox: VecDeque<BoxedMail<A>>,
    bridge: Option<Box<BridgeEnd<A>>>,
    futures: Spawned<A>,
    /// What is running stays in one of these two, or in the bridge: a crash must not drop it while it unwinds, since a
    /// second panic would abort the program, and whoever waits for its answer would hear of that before the process is
    /// known to be over.
    letter: Option<BoxedMail<A>>,
    wait: Option<BoxedFuture<A>>,
    actor: A,
    is_started: bool,
    /// It was told that the mailbox is long, and has not been half as long since.
    is_high: bool,
}

/// The end of the way that addresses lead.
struct BridgeEnd<A: Actor<Context = Context<A>>> {
    receiver: AddressReceiver<A>,
    /// What had come when the inbox was filled; handled before the inbox.
    taken: VecDeque<Envelope<A>>,
    /// The one that is being handled; see [`Live::letter`].
    open: Option<Envelope<A>>,
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
            fate: None,
            #[cfg(feature = "testing")]
            panics_next: false,
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
            fate: None,
            #[cfg(feature = "testing")]
            panics_next: false,
            stage: Stage::Init(init),
        }
    }

    /// Ends the process: drops everything of it under guard, then makes its end known.
    fn finish(&mut self, mut end: End) {
        let core = &self.shared.core;
        core.set_exiting();
        let mut stage = std::mem::replace(&mut self.stage, Stage::Over);
        if let Stage::Live(live) = &stage
            && end.is_crash()
        {
            end.state = live.show();
        }
        let _inside = panics::Inside::enter(core.pid());
        if let Some(kept) = self.shared.queue.kept() {
            *kept.last_exit.lock() = Some((end.reason.clone(), Addressee::of(core)));
        }
        if let Stage::Live(live) = &mut stage
            && self.shared.keeps_mailbox()
        {
            live.give_mail_back();
        }
        if self.shared.is_bounded {
            let queue = self.shared.queue.lock();
            end.mailbox_capacity = queue.bound.as_ref().map(|bound| bound.capacity);
        }
        if end.is_crash() {
            end.children = core.introspect().map(|it| it.children_total());
        }
        end.mailbox_len = self.shared.close(&end.reason) + core.taken.load(Ordering::Relaxed);
        end.dropped(match stage {
            Stage::Init(init) => drop_contained(init),
            Stage::Live(live) => live.drop_contained(&end.reason),
            Stage::Over => return,
        });
        core.retire(end);
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
        let doom = core.state().doom.take();
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
            Stage::Live(live) if live.is_started => {
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
            && !live.is_started
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

    /// Tells that the start has succeeded, once.
    fn tell_ready(&mut self) {
        self.is_ready = true;
        if let Some(fate) = &mut self.fate {
            fate.ready();
        }
        self.shared
            .core
            .tell_life(EventKind::Ready, self.start_event);
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
            Stage::Live(live) => !live.ctx.waits.is_empty(),
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
        if !live.is_started {
            match catch(pid, || live.start()) {
                Ok(()) if live.is_well_started() => this.tell_ready(),
                Ok(()) => {}
                Err(caught) => {
                    let panic = caught.describe(During::Started, None);
                    let cause = live.ctx.cause;
                    this.finish(End::panic(panic, cause));
                    return Poll::Ready(());
                }
            }
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

impl<A: Actor<Context = Context<A>>> Live<A> {
    fn new(ctx: Context<A>, actor: A) -> Self {
        Self {
            ctx,
            inbox: VecDeque::new(),
            bridge: None,
            futures: Spawned::<A>::new(),
            letter: None,
            wait: None,
            actor,
            is_started: false,
            is_high: false,
        }
    }

    /// The init is over. A `started` that asked to end abnormally was a failed start.
    fn is_well_started(&self) -> bool {
        !self.ctx.is_deferred && self.ctx.exit.as_ref().is_none_or(ExitReason::is_normal)
    }

    /// A new budget: for messages and self-made work, and for the look at each future, or those who are many would not
    /// be looked at.
    fn begin_turn(&mut self) {
        let looks = self.futures.len() as u32;
        let budget = self.ctx.shared.core.messages_per_turn;
        self.ctx.budget.set(budget.saturating_add(looks));
        self.ctx.is_cut.set(false);
        let core = &self.ctx.shared.core;
        if core.is_traced() || self.ctx.tracer.is_some() {
            self.ctx.tracer = core.tracer();
        }
    }

    /// Does what was asked through the system lane.
    fn answer(&self, what: &What) -> Result<Box<dyn Any + Send>, SysError> {
        match what {
            What::Show => match self.show() {
                Some(state) => Ok(Box::new(state)),
                None => Err(SysError::NotExposed),
            },
            What::Copy(copy) => catch(self.ctx.pid(), || copy(&self.actor))
                .map_err(|_| SysError::Panicked)?
                .ok_or(SysError::NoProc),
            What::Suspend(is_suspended) => {
                self.ctx.shared.core.set_suspended(*is_suspended);
                Ok(Box::new(()))
            }
        }
    }

    fn start(&mut self) {
        // The factory may have asked to end already.
        if self.ctx.state == ActorState::Started {
            self.ctx.state = ActorState::Running;
        }
        self.ctx.doing(During::Started);
        self.actor.started(&mut self.ctx);
        self.is_started = true;
    }

    /// One turn of the process; `Ready` when the actor has stopped.
    fn turn(&mut self, task: &mut TaskContext<'_>) -> Poll<()> {
        loop {
            if self.ctx.state.stopping() {
                if self.stop() {
                    return Poll::Ready(());
                }
                continue;
            }
            if self.ctx.is_spent() || self.ctx.shared.core.is_signalled() {
                return Poll::Pending;
            }
            if self.ctx.shared.is_bounded {
                self.take_bridged(task);
            }
            if self.ctx.shared.core.is_suspended() {
                return Poll::Pending;
            }
            if !self.ctx.waits.is_empty() {
                if self.poll_waits(task).is_pending() && self.ctx.state.alive() {
                    return Poll::Pending;
                }
                continue;
            }
            let is_leftover = self.handle_mail(task);
            if self.is_interrupted() {
                continue;
            }
            let spawned = self.poll_futures(task);
            if !self.is_interrupted() && !spawned && !is_leftover {
                // Mail that came meanwhile has woken this task again.
                return Poll::Pending;
            }
        }
    }

    /// Whether this turn would handle a message.
    fn has_message(&mut self, task: &mut TaskContext<'_>) -> bool {
        if self.ctx.shared.is_bounded {
            self.take_bridged(task);
            let has_mail = self.ctx.shared.queue.lock().has_bounded_mail();
            return has_mail && !self.is_interrupted();
        }
        if self.taken() == 0 {
            self.take_mail(task);
        }
        self.taken() > 0 && !self.is_interrupted()
    }

    fn next_letter(&mut self) -> Option<BoxedMail<A>> {
        if self.ctx.shared.is_bounded {
            return self.ctx.shared.queue.lock().next_bounded();
        }
        self.inbox.pop_front()
    }

    /// A panic on purpose: in the next message, if there is one.
    fn stumble(&mut self, text: &str, task: &mut TaskContext<'_>) -> ! {
        self.ctx.doing(During::Turn);
        if !self.has_message(task) {
            panic!("{text}");
        }
        // As in `handle_mail`: what came by address is first, and nobody can see what it is.
        if let Some(bridge) = &mut self.bridge
            && let Some(envelope) = bridge.taken.pop_front()
        {
            bridge.open = Some(envelope);
            self.ctx.doing(During::Message);
        } else if let Some(letter) = self.next_letter() {
            self.ctx.handling_of(letter.name());
            self.letter = Some(letter);
        }
        panic!("{text}");
    }

    /// Something that comes before messages and futures is due.
    fn is_interrupted(&self) -> bool {
        self.ctx.state.stopping()
            || !self.ctx.waits.is_empty()
            || self.ctx.shared.core.is_signalled()
    }

    /// The way out, as actix has it. False if `stopping` refused.
    fn stop(&mut self) -> bool {
        if self.ctx.state == ActorState::Stopping {
            self.ctx.doing(During::Stopping);
            if self.actor.stopping(&mut self.ctx) == Running::Continue {
                self.ctx.shared.core.condemn_orphan();
                self.ctx.refuse_exit();
                return false;
            }
        }
        self.ctx.state = ActorState::Stopped;
        self.ctx.doing(During::Stopped);
        self.actor.stopped(&mut self.ctx);
        true
    }

    /// The latest wait first; those that it adds come before it.
    fn poll_waits(&mut self, task: &mut TaskContext<'_>) -> Poll<()> {
        while let Some(wait) = self.ctx.waits.pop() {
            let at = self.ctx.waits.len();
            self.ctx.doing(During::Future);
            let wait = self.wait.insert(wait);
            panics::wait_for(None);
            let poll = wait.as_mut().poll(&mut self.actor, &mut self.ctx, task);
            let waits_for = panics::wait_for(None);
            self.ctx.shared.core.pulse.set_waits_for(waits_for);
            let wait = self.wait.take();
            if poll.is_pending() {
                let is_latest = self.ctx.waits.len() == at;
                if let Some(wait) = wait {
                    self.ctx.waits.insert(at, wait);
                }
                if is_latest {
                    return Poll::Pending;
                }
            } else {
                self.ctx.doing(During::Drop);
                drop(wait);
            }
            // Waits that add waits are work as well, and must come to an end.
            self.ctx.spend(1);
            if self.ctx.state.stopping()
                || self.ctx.is_spent()
                || self.ctx.shared.core.is_signalled()
            {
                return Poll::Ready(());
            }
        }
        Poll::Ready(())
    }

    /// Takes what came through the mailbox and through addresses, then opens it letter by letter. True if there were
    /// letters left from before, so that more may have come, and have woken this task, before it took any.
    ///
    /// The queue is emptied first and the addresses' channel after it, and the channel's part is handled first: a `Down`
    /// is in the queue, and whatever its sender had sent before it, by either way, is in one of the two by then.
    /// What comes through the channel later waits for the next time, so that neither way starves the other.
    fn handle_mail(&mut self, task: &mut TaskContext<'_>) -> bool {
        if self.ctx.shared.is_bounded {
            self.handle_bounded_mail(task);
            return false;
        }
        let is_leftover = self.taken() > 0;
        if !is_leftover {
            self.take_mail(task);
        }
        let mut handled = 0;
        if let Some(bridge) = &mut self.bridge {
            while !bridge.taken.is_empty() && !self.ctx.waiting() {
                let Some(envelope) = bridge.taken.pop_front() else {
                    break;
                };
                let envelope = bridge.open.insert(envelope);
                let began = self.ctx.begin_traced();
                envelope.handle(&mut self.actor, &mut self.ctx);
                self.ctx.end_traced(began);
                bridge.open = None;
                handled += 1;
            }
        }
        while !self.inbox.is_empty() && !self.ctx.waiting() {
            let Some(letter) = self.inbox.pop_front() else {
                break;
            };
            if !self.ctx.flushed.is_empty()
                && letter
                    .monitor()
                    .is_some_and(|monitor| self.ctx.flushed.contains(&monitor))
            {
                continue;
            }
            let letter = self.letter.insert(letter);
            let began = self.ctx.begin_traced();
            letter.open(&mut self.actor, &mut self.ctx);
            self.ctx.end_traced(began);
            self.letter = None;
            handled += 1;
        }
        if self.inbox.is_empty() {
            self.ctx.flushed.clear();
        }
        if handled > 0 {
            vitals::add(&self.ctx.shared.core.handled, handled);
        }
        is_leftover
    }

    /// As [`handle_mail`](Self::handle_mail), for a bounded mailbox: what was not delivered stays where senders see it.
    fn handle_bounded_mail(&mut self, task: &mut TaskContext<'_>) {
        let mut handled = 0;
        while self.ctx.waits.is_empty()
            && !self.ctx.state.stopping()
            && !self.ctx.shared.core.is_signalled()
        {
            let mut queue = self.ctx.shared.queue.lock();
            if !queue.has_bounded_mail() || self.ctx.is_spent() {
                break;
            }
            let len = queue.bound.as_ref().map_or(0, |bound| bound.len());
            let letter = queue.next_bounded();
            // The free place is for those who wait in line; where there are addresses too, for either in turns.
            let has_bridge = self.bridge.is_some();
            let is_high = (!has_bridge || handled % 2 == 0) && queue.let_in();
            drop(queue);
            let core = &self.ctx.shared.core;
            core.pulse.saw_mailbox(len);
            if is_high {
                core.tell_full();
            }
            if has_bridge {
                self.take_bridged(task);
            }
            let Some(letter) = letter else { break };
            self.ctx.spend(1);
            let letter = self.letter.insert(letter);
            let began = self.ctx.begin_traced();
            letter.open(&mut self.actor, &mut self.ctx);
            self.ctx.end_traced(began);
            self.letter = None;
            handled += 1;
        }
        // A `Down` is in the queue until it is handled: there is none elsewhere to be flushed.
        self.ctx.flushed.clear();
        if handled > 0 {
            vitals::add(&self.ctx.shared.core.handled, handled);
        }
    }

    /// Takes what came through addresses into a bounded mailbox, as far as its policy goes, then lets those in who wait in
    /// line.
    fn take_bridged(&mut self, task: &mut TaskContext<'_>) {
        let shared = Arc::clone(&self.ctx.shared);
        loop {
            let mut queue = shared.queue.lock();
            if self.bridge.is_none()
                && let Some((receiver, taken)) = queue.take_bridge()
            {
                self.bridge = Some(Box::new(BridgeEnd {
                    receiver,
                    taken,
                    open: None,
                }));
            }
            let envelope = match &mut self.bridge {
                Some(bridge) if queue.wants_bridged() => {
                    match Pin::new(&mut bridge.receiver).poll_next(task) {
                        Poll::Ready(envelope) => envelope,
                        Poll::Pending => None,
                    }
                }
                _ => None,
            };
            let Some(envelope) = envelope else {
                let is_high = queue.let_in();
                let len = queue.bound.as_ref().map_or(0, |bound| bound.len());
                drop(queue);
                shared.core.pulse.saw_mailbox(len);
                if is_high {
                    shared.core.tell_full();
                }
                return;
            };
            let (offer, effects) = queue.offer_bridged(envelope);
            drop(queue);
            shared.see_to(effects);
            match offer {
                Offer::Taken(_) => {}
                Offer::Dead(mail) | Offer::Full(mail) => {
                    dead_letter::lose(&shared.core, [mail], &Undelivered::Full);
                }
                Offer::Overflow(mail, overflow) => {
                    shared.core.condemn(ExitReason::error(overflow));
                    dead_letter::lose(&shared.core, [mail], &Undelivered::Full);
                    return;
                }
            }
        }
    }

    fn take_mail(&mut self, task: &mut TaskContext<'_>) {
        let mut queue = self.ctx.shared.queue.lock();
        std::mem::swap(&mut queue.mail, &mut self.inbox);
        let bridge = queue.take_bridge();
        drop(queue);
        if let Some((receiver, taken)) = bridge {
            self.bridge = Some(Box::new(BridgeEnd {
                receiver,
                taken,
                open: None,
            }));
        }
        if let Some(bridge) = &mut self.bridge {
            while let Poll::Ready(Some(envelope)) = Pin::new(&mut bridge.receiver).poll_next(task) {
                bridge.taken.push_back(envelope);
            }
        }
        let taken = self.taken();
        let core = &self.ctx.shared.core;
        core.taken.store(taken, Ordering::Relaxed);
        core.pulse.saw_mailbox(taken);
        if taken > MAILBOX_HIGH && !self.is_high {
            self.is_high = true;
            core.tell_note(EventKind::MailboxHigh, format!("{taken} messages wait"));
        } else if taken < MAILBOX_HIGH / 2 {
            self.is_high = false;
        }
    }

    /// The actor's state, if it shows it. What its `Debug` does wrong is nobody's crash.
    fn show(&self) -> Option<String> {
        let show = self.ctx.show?;
        let shown = catch(self.ctx.pid(), || show(&self.actor));
        Some(shown.unwrap_or_else(|_| "its Debug panicked".to_owned()))
    }

    /// How many messages were taken in and not handled yet.
    fn taken(&self) -> usize {
        let bridged = self.bridge.as_ref().map_or(0, |bridge| bridge.taken.len());
        self.inbox.len() + bridged
    }

    /// Polls every spawned future once. True if one of them, or a handler, spawned or cancelled another.
    fn poll_futures(&mut self, task: &mut TaskContext<'_>) -> bool {
        self.adopt_spawned();
        let mut at = 0;
        while at < self.futures.len() {
            self.ctx.doing(During::Future);
            let (_, future) = &mut self.futures[at];
            if future
                .as_mut()
                .poll(&mut self.actor, &mut self.ctx, task)
                .is_ready()
            {
                self.ctx.doing(During::Drop);
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
        // Self-made work counts as much as messages do.
        let made = self.ctx.spawned.len() + self.ctx.cancelled.len();
        if made == 0 {
            return;
        }
        self.ctx.spend(made as u32);
        self.futures.append(&mut self.ctx.spawned);
        while let Some(handle) = self.ctx.cancelled.pop() {
            if let Some(at) = self.futures.iter().position(|(known, _)| *known == handle) {
                self.ctx.doing(During::Drop);
                drop(self.futures.swap_remove(at));
            }
        }
    }

    /// What was not handled waits for the next incarnation; the message that was being handled does not.
    fn give_mail_back(&mut self) {
        let mut queue = self.ctx.shared.queue.lock();
        queue.give_back(std::mem::take(&mut self.inbox));
        if let Some(bridge) = self.bridge.take() {
            let BridgeEnd {
                receiver,
                taken,
                open,
            } = *bridge;
            queue.give_bridge_back(receiver, taken);
            drop(queue);
            drop_contained(open);
        }
        self.ctx.shared.core.taken.store(0, Ordering::Relaxed);
    }

    /// Drops the parts one by one; the first panic is returned.
    fn drop_contained(self, reason: &ExitReason) -> Option<Caught> {
        let Self {
            mut ctx,
            inbox,
            bridge,
            futures,
            letter,
            wait,
            actor,
            ..
        } = self;
        let waits = std::mem::take(&mut ctx.waits);
        let spawned = std::mem::take(&mut ctx.spawned);
        drop_contained(letter);
        let wait = drop_contained(wait);
        // Most processes have neither at their end, and it is cheaper to see that than to walk through nothing.
        let futures = if futures.is_empty() && spawned.is_empty() {
            None
        } else {
            drop_each(futures.into_iter().chain(spawned))
        };
        let waits = drop_each(waits);
        let shared = Arc::clone(&ctx.shared);
        drop_contained(ctx);
        if !inbox.is_empty() {
            let reason = Undelivered::Exited(reason.clone());
            dead_letter::lose(&shared.core, inbox, &reason);
        }
        if let Some(bridge) = bridge {
            let BridgeEnd {
                receiver,
                taken,
                open,
            } = *bridge;
            drop_contained(open);
            let reason = Undelivered::Exited(reason.clone());
            dead_letter::lose(
                &shared.core,
                taken.into_iter().chain(drain(receiver)),
                &reason,
            );
        }
        let actor = drop_contained(actor);
        wait.or(futures).or(waits).or(actor)
    }
}
