//! One running actor and its turns: mail, futures, waits, the way out, and what is left of it.

use std::any::Any;
use std::collections::VecDeque;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as TaskContext, Poll};

use actix::dev::channel::AddressReceiver;
use actix::dev::{Envelope, EnvelopeProxy};
use actix::{Actor, ActorState, AsyncContext, Running};
use futures_util::Stream;

use crate::bound::Offer;
use crate::context::{BoxedFuture, Context, Spawned};
use crate::dead_letter::{self, Undelivered};
use crate::event::EventKind;
use crate::exit::{During, ExitReason};
use crate::mailbox::{BoxedMail, drain};
use crate::panics::{self, Caught, catch, drop_contained, drop_each};
use crate::sys::{SysError, What};
use crate::vitals::{self, MAILBOX_HIGH};

/// A running actor and all that is tied to it.
pub(super) struct Live<A: Actor<Context = Context<A>>> {
    pub(super) ctx: Context<A>,
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
}

/// The end of the way that addresses lead.
struct BridgeEnd<A: Actor<Context = Context<A>>> {
    receiver: AddressReceiver<A>,
    /// What had come when the inbox was filled; handled before the inbox.
    taken: VecDeque<Envelope<A>>,
    /// The one that is being handled; see [`Live::letter`].
    open: Option<Envelope<A>>,
}

impl<A: Actor<Context = Context<A>>> Live<A> {
    #[inline(always)]
    pub(super) fn new(ctx: Context<A>, actor: A) -> Self {
        Self {
            ctx,
            inbox: VecDeque::new(),
            bridge: None,
            futures: Spawned::<A>::new(),
            letter: None,
            wait: None,
            actor,
        }
    }

    /// The init is over. A `started` that asked to end abnormally was a failed start.
    pub(super) fn is_well_started(&self) -> bool {
        !self.ctx.is_deferred && self.ctx.exit.as_ref().is_none_or(ExitReason::is_normal)
    }

    /// A new budget: for messages and self-made work, and for the look at each future, or those who are many would not
    /// be looked at.
    pub(super) fn begin_turn(&mut self) {
        let looks = self.futures.len() as u32;
        let budget = self.ctx.shared.core.messages_per_turn;
        self.ctx.budget.set(budget.saturating_add(looks));
        self.ctx.is_cut.set(false);
        self.ctx.look_for_tracer();
    }

    /// Does what was asked through the system lane.
    pub(super) fn answer(&self, what: &What) -> Result<Box<dyn Any + Send>, SysError> {
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

    pub(super) fn start(&mut self) {
        // The factory may have asked to end already.
        if self.ctx.state == ActorState::Started {
            self.ctx.state = ActorState::Running;
        }
        self.ctx.doing(During::Started);
        self.actor.started(&mut self.ctx);
        self.ctx.is_started = true;
    }

    /// One turn of the process; `Ready` when the actor has stopped.
    ///
    /// A part of its caller's frame, and of the tables of that: a panic unwinds two frames between handler and catch, where
    /// each costs as much as twenty messages.
    #[inline(always)]
    pub(super) fn turn(&mut self, task: &mut TaskContext<'_>) -> Poll<()> {
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
            if self.ctx.shared.core.is_bounded {
                self.take_bridged(task);
            }
            if self.ctx.shared.core.is_suspended() {
                return Poll::Pending;
            }
            if self.ctx.is_in_wait() {
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
    pub(super) fn has_message(&mut self, task: &mut TaskContext<'_>) -> bool {
        if self.ctx.shared.core.is_bounded {
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
        if self.ctx.shared.core.is_bounded {
            return self.ctx.shared.queue.lock().next_bounded();
        }
        self.inbox.pop_front()
    }

    /// A panic on purpose: in the next message, if there is one.
    pub(super) fn stumble(&mut self, text: &str, task: &mut TaskContext<'_>) -> ! {
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
        self.ctx.state.stopping() || self.ctx.is_in_wait() || self.ctx.shared.core.is_signalled()
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
        while let Some(extras) = self.ctx.known_extras()
            && let Some(wait) = extras.waits.pop()
        {
            let at = extras.waits.len();
            self.ctx.doing(During::Future);
            let wait = self.wait.insert(wait);
            panics::wait_for(None);
            let poll = wait.as_mut().poll(&mut self.actor, &mut self.ctx, task);
            let waits_for = panics::wait_for(None);
            self.ctx.shared.core.set_waits_for(waits_for);
            let wait = self.wait.take();
            if poll.is_pending() {
                let mut is_latest = true;
                if let Some(wait) = wait
                    && let Some(extras) = self.ctx.known_extras()
                {
                    is_latest = extras.waits.len() == at;
                    extras.waits.insert(at, wait);
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
    #[inline(always)]
    fn handle_mail(&mut self, task: &mut TaskContext<'_>) -> bool {
        if self.ctx.shared.core.is_bounded {
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
            if self.ctx.is_flushed(&letter) {
                continue;
            }
            let letter = self.letter.insert(letter);
            let began = self.ctx.begin_traced();
            letter.open(&mut self.actor, &mut self.ctx);
            self.ctx.end_traced(began);
            self.letter = None;
            handled += 1;
        }
        if self.inbox.is_empty()
            && let Some(extras) = self.ctx.known_extras()
        {
            extras.flushed.clear();
        }
        if handled > 0 {
            vitals::add(&self.ctx.shared.core.handled, handled);
        }
        is_leftover
    }

    /// As [`handle_mail`](Self::handle_mail), for a bounded mailbox: what was not delivered stays where senders see it.
    fn handle_bounded_mail(&mut self, task: &mut TaskContext<'_>) {
        let mut handled = 0;
        while !self.ctx.is_in_wait()
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
        if let Some(extras) = self.ctx.known_extras() {
            extras.flushed.clear();
        }
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
        mem::swap(&mut queue.mail, &mut self.inbox);
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
        if taken > MAILBOX_HIGH && !self.ctx.is_high {
            self.ctx.is_high = true;
            core.tell_note(EventKind::MailboxHigh, format!("{taken} messages wait"));
        } else if taken < MAILBOX_HIGH / 2 {
            self.ctx.is_high = false;
        }
    }

    /// The actor's state, if it shows it. What its `Debug` does wrong is nobody's crash.
    pub(super) fn show(&self) -> Option<String> {
        let show = self.ctx.show?;
        let shown = catch(self.ctx.pid(), || show(&self.actor));
        Some(shown.unwrap_or_else(|_| "its Debug panicked".to_owned()))
    }

    /// How many messages were taken in and not handled yet.
    pub(super) fn taken(&self) -> usize {
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
            if self.ctx.cancelled_len() > 0 {
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
        !self.ctx.spawned.is_empty() || self.ctx.cancelled_len() > 0
    }

    fn adopt_spawned(&mut self) {
        // Self-made work counts as much as messages do.
        let made = self.ctx.spawned.len() + self.ctx.cancelled_len();
        if made == 0 {
            return;
        }
        self.ctx.spend(made as u32);
        self.futures.append(&mut self.ctx.spawned);
        while let Some(extras) = self.ctx.known_extras()
            && let Some(handle) = extras.cancelled.pop()
        {
            if let Some(at) = self.futures.iter().position(|(known, _)| *known == handle) {
                self.ctx.doing(During::Drop);
                drop(self.futures.swap_remove(at));
            }
        }
    }

    /// What was not handled waits for the next incarnation; the message that was being handled does not.
    pub(super) fn give_mail_back(&mut self) {
        let mut queue = self.ctx.shared.queue.lock();
        queue.give_back(mem::take(&mut self.inbox));
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

    /// Drops all but the actor, part by part; the first panic is returned.
    pub(super) fn clear(&mut self, reason: &ExitReason) -> Option<Caught> {
        // Most processes have few of these at their end, and it is cheaper to see that than to drop nothing.
        if self.letter.is_some() {
            drop_contained(self.letter.take());
        }
        let wait = self.wait.take().and_then(drop_contained);
        let futures = if self.futures.is_empty() && self.ctx.spawned.is_empty() {
            None
        } else {
            let futures = mem::take(&mut self.futures).into_iter();
            drop_each(futures.chain(mem::take(&mut self.ctx.spawned)))
        };
        let waits = drop_each(self.ctx.take_waits());
        if self.ctx.exit.is_some() {
            drop_contained(self.ctx.exit.take());
        }
        let core = &self.ctx.shared.core;
        if !self.inbox.is_empty() {
            let reason = Undelivered::Exited(reason.clone());
            dead_letter::lose(core, mem::take(&mut self.inbox), &reason);
        }
        if let Some(bridge) = self.bridge.take() {
            let BridgeEnd {
                receiver,
                taken,
                open,
            } = *bridge;
            drop_contained(open);
            let reason = Undelivered::Exited(reason.clone());
            dead_letter::lose(core, taken.into_iter().chain(drain(receiver)), &reason);
        }
        wait.or(futures).or(waits)
    }
}
