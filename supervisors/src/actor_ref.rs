//! [`ActorRef`]: the handle of a process, one pointer wide.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use actix::{Actor, Addr, Handler, Message};
use tokio::sync::oneshot;

use crate::bound::{Effects, Mailbox, Offer};
use crate::context::Context;
use crate::dead_letter::{self, Addressee, Undelivered};
use crate::exit::{Down, Exit, ExitReason};
use crate::mailbox::{Letter, QueueOf};
use crate::monitor::{self, Exited};
use crate::panics::{self, drop_each};
use crate::pid::{self, Pid};
use crate::process::{Core, MailboxView, Observer, Process, Started, TrapExit};

/// What a process and its handles share.
pub(crate) struct Shared<A: Actor<Context = Context<A>>> {
    pub(crate) core: Core,
    pub(crate) queue: QueueOf<A>,
}

impl<A: Actor<Context = Context<A>>> Shared<A> {
    /// Puts a letter into the mailbox, or says why not. `is_ask`: somebody waits for its answer.
    fn post<M>(&self, letter: Letter<M>, is_ask: bool) -> Result<u64, Refused<M>>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        if !self.core.is_bounded {
            let posted = self.queue.lock().push(letter);
            return posted.map(|()| 0).map_err(Refused::Dead);
        }
        let (offer, effects) = self.queue.lock().offer(letter, is_ask);
        self.see_to(effects);
        match offer {
            Offer::Taken(number) => Ok(number),
            Offer::Dead(letter) => Err(Refused::Dead(letter)),
            Offer::Full(letter) => Err(Refused::Full(letter)),
            Offer::Overflow(letter, overflow) => {
                self.core.condemn(ExitReason::error(overflow));
                Err(Refused::Overflow(letter))
            }
        }
    }

    /// What an offer brings about besides, outside the queue's lock.
    pub(crate) fn see_to(&self, effects: Effects<A>) {
        if effects.evicted.is_some() {
            dead_letter::lose(&self.core, effects.evicted, &Undelivered::Dropped);
        }
        if effects.is_high {
            self.core.tell_full();
        }
    }

    /// The message was not posted, and its sender does not want it back.
    fn lose<M: Message + 'static>(&self, refused: Refused<M>) {
        let (letter, reason) = match refused {
            Refused::Dead(letter) => (letter, Undelivered::Exited(self.why_dead())),
            Refused::Full(letter) | Refused::Overflow(letter) => (letter, Undelivered::Full),
        };
        dead_letter::lose(&self.core, [letter], &reason);
    }

    /// Why the mailbox is closed, as far as it is known.
    fn why_dead(&self) -> ExitReason {
        self.loss()
            .or_else(|| self.core.exit_reason())
            .unwrap_or(ExitReason::NoProc)
    }

    /// For what this process has asked to hear: once it gives its mailbox to the next incarnation, it is told no more.
    pub(crate) fn tell<M>(&self, message: M)
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let letter = Letter::new(message, None);
        let mut queue = self.queue.lock();
        if !self.core.is_exiting() {
            let refused = queue.push(letter);
            drop(queue);
            drop(refused);
        }
    }
}

/// A letter that was not taken in.
enum Refused<M: Message + 'static> {
    Dead(Letter<M>),
    Full(Letter<M>),
    Overflow(Letter<M>),
}

impl<A: Actor<Context = Context<A>>> Shared<A> {
    /// Whether what is queued waits for the next incarnation. Without a supervisor there is none; one that is about to be
    /// dead has closed the queue.
    pub(crate) fn keeps_mailbox(&self) -> bool {
        self.queue.kept().is_some()
            && self.core.state().parent.is_some_and(pid::is_alive)
            && !self.queue.lock().closed
    }
}

impl<A: Actor<Context = Context<A>>> Process for Shared<A> {
    fn core(&self) -> &Core {
        &self.core
    }

    fn mailbox(&self) -> Option<MailboxView> {
        let queue = self.queue.lock();
        Some(match &queue.bound {
            Some(bound) => MailboxView {
                len: bound.len(),
                mailbox: Mailbox::bounded(bound.capacity, bound.overflow),
                senders_waiting: bound.line_len(),
                refused: bound.refused(),
            },
            None => MailboxView {
                len: queue.mail.len() + self.core.taken.load(Ordering::Relaxed),
                mailbox: Mailbox::UNBOUNDED,
                senders_waiting: 0,
                refused: 0,
            },
        })
    }

    fn withdraw(&self, number: u64) {
        let mut queue = self.queue.lock();
        let withdrawn = queue
            .bound
            .as_mut()
            .and_then(|bound| bound.withdraw(number));
        drop(queue);
        drop(withdrawn);
    }

    fn was_dropped(&self, number: u64) -> bool {
        let mut queue = self.queue.lock();
        queue
            .bound
            .as_mut()
            .is_some_and(|bound| bound.was_dropped(number))
    }

    fn close(&self, reason: &ExitReason) -> usize {
        if self.keeps_mailbox() {
            let mut queue = self.queue.lock();
            let personal = queue.take_personal();
            let len = queue.mail.len();
            drop(queue);
            drop_each(personal);
            return len;
        }
        let reason = Undelivered::Exited(reason.clone());
        let (len, lost) = self.queue.throw_away(|| Addressee::of(&self.core), &reason);
        if lost > 0 {
            self.core.note_lost(lost);
        }
        len
    }

    fn loss(&self) -> Option<ExitReason> {
        let last_exit = self.queue.kept()?.last_exit.lock();
        last_exit.as_ref().map(|(reason, _)| reason.clone())
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}

impl<A: Actor<Context = Context<A>> + Handler<Exit>> TrapExit for Shared<A> {
    fn exit(&self, exit: Exit) {
        self.tell(exit);
    }
}

/// An actor that handles [`Down`] observes by letter.
pub(crate) struct ByLetter<A: Actor<Context = Context<A>>>(pub(crate) Arc<Shared<A>>);

impl<A: Actor<Context = Context<A>> + Handler<Down>> Observer for ByLetter<A> {
    fn down(&self, down: Down) {
        self.0.tell(down);
    }

    fn is_gone(&self) -> bool {
        self.0.core.is_exiting()
    }
}

/// An actor that also starts processes and waits for their init.
pub(crate) struct AsStarter<A: Actor<Context = Context<A>>>(pub(crate) Arc<Shared<A>>);

impl<A: Actor<Context = Context<A>> + Handler<Down> + Handler<Started>> Observer for AsStarter<A> {
    fn down(&self, down: Down) {
        self.0.tell(down);
    }

    fn started(&self, started: Started) {
        self.0.tell(started);
    }

    fn reports_crashes(&self) -> bool {
        true
    }

    fn is_gone(&self) -> bool {
        self.0.core.is_exiting()
    }
}

/// A handle of a running actor: its pid, and the way into its mailbox.
///
/// `do_send` and `send` mean what they mean on an actix `Addr`, with three differences: a copy costs one atomic
/// addition, a failed `send` says why the actor ended, and an actor does not die because nobody holds a handle.
/// Messages through one handle (or its copies) from one sender arrive in order; between a handle and an
/// [`addr`](Self::addr) no order is promised.
pub struct ActorRef<A: Actor<Context = Context<A>>>(pub(crate) Arc<Shared<A>>);

impl<A: Actor<Context = Context<A>>> Clone for ActorRef<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Actor<Context = Context<A>>> PartialEq for ActorRef<A> {
    fn eq(&self, other: &Self) -> bool {
        self.pid() == other.pid()
    }
}

impl<A: Actor<Context = Context<A>>> Eq for ActorRef<A> {}

impl<A: Actor<Context = Context<A>>> fmt::Debug for ActorRef<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.0.core.kind(), self.pid())
    }
}

impl<A: Actor<Context = Context<A>>> ActorRef<A> {
    /// The handle of the process with this pid, if it lives and is an `A`.
    pub fn of(pid: Pid) -> Option<Self> {
        pid::lookup(pid)?.into_any().downcast().ok().map(Self)
    }

    /// The process's pid.
    pub fn pid(&self) -> Pid {
        self.0.core.pid()
    }

    /// True while the process runs: this one, not a later incarnation that has its mailbox.
    pub fn is_alive(&self) -> bool {
        !self.0.core.is_exiting()
    }

    /// Why the process ended, if it has.
    pub fn exit_reason(&self) -> Option<ExitReason> {
        self.0.core.exit_reason()
    }

    /// How many messages wait; in a bounded mailbox, those that count. Those sent through an [`addr`](Self::addr) count once the process has looked at them.
    pub fn mailbox_len(&self) -> usize {
        self.0.mailbox().map_or(0, |mailbox| mailbox.len)
    }

    /// An actix address, for the code that needs one. Closed if the process is dead.
    ///
    /// A bounded mailbox bounds what comes through addresses as well as actix allows. Each message is counted, and its
    /// overflow decided, when the process next looks: before every message it handles, and also while it waits
    /// (`ctx.wait`), but not while a handler runs. With `Block`, what finds no room stays in actix's own channel: `send` and
    /// `await` on an `Addr` wait there (up to the capacity, and one more for every copy of the address), `do_send` does
    /// not, and a `Down` may overtake it. Whoever asks hears no more than actix's `MailboxError::Closed`.
    pub fn addr(&self) -> Addr<A> {
        self.0.queue.lock().addr()
    }

    /// Sends a message and forgets it (OTP's cast). If the process is dead, or its mailbox is full, it is a dead letter
    /// ([`dead_letters`](crate::dead_letters)).
    pub fn do_send<M>(&self, message: M)
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        if let Err(refused) = self.0.post(Letter::new(message, None), false) {
            self.0.lose(refused);
        }
    }

    /// Sends a message, or gives it back.
    ///
    /// # Errors
    /// The process is dead, and [`exit_reason`](Self::exit_reason) says why; or its mailbox is full.
    pub fn try_send<M>(&self, message: M) -> Result<(), TrySendError<M>>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let (letter, error): (_, fn(M) -> TrySendError<M>) = match self
            .0
            .post(Letter::new(message, None), false)
        {
            Ok(_) => return Ok(()),
            Err(Refused::Dead(letter)) => (letter, TrySendError::Dead),
            Err(Refused::Full(letter) | Refused::Overflow(letter)) => (letter, TrySendError::Full),
        };
        letter
            .into_message()
            .map_or(Ok(()), |message| Err(error(message)))
    }

    /// Sends a message and waits for its answer (OTP's call), for ever unless [`Request::timeout`] says otherwise.
    ///
    /// Where the mailbox is bounded and full, its [`Overflow`](crate::Overflow) decides; with `Block` the message waits for
    /// room, also while the request is not awaited, and is taken back when the request is dropped.
    pub fn send<M>(&self, message: M) -> Request<M::Result>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let (reply, answer) = oneshot::channel();
        let mut request = Request {
            answer,
            process: Arc::clone(&self.0) as Arc<dyn Process>,
            exited: None,
            timeout: None,
            number: 0,
            is_refused: false,
        };
        match self.0.post(Letter::new(message, Some(reply)), true) {
            Ok(number) => request.number = number,
            Err(refused) => {
                match refused {
                    // The letter drops its `reply`, and the request ends with the exit reason.
                    Refused::Dead(_) => {}
                    Refused::Full(_) => request.is_refused = true,
                    Refused::Overflow(_) => {
                        request.exited = Some(monitor::exited_process(&*self.0));
                    }
                }
                self.0.lose(refused);
            }
        }
        request
    }
}

/// The message was not sent, and here it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrySendError<M> {
    /// The process is dead.
    Dead(M),
    /// The mailbox is bounded, and full.
    Full(M),
}

impl<M> TrySendError<M> {
    /// The message.
    pub fn into_message(self) -> M {
        match self {
            Self::Dead(message) | Self::Full(message) => message,
        }
    }
}

impl<M> fmt::Display for TrySendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dead(_) => "the process is dead",
            Self::Full(_) => "the mailbox is full",
        })
    }
}

impl<M: fmt::Debug> std::error::Error for TrySendError<M> {}

/// The answer did not come.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The process ended before it answered.
    #[error("the process ended: {0}")]
    Exited(ExitReason),
    /// The process lives, but dropped the question.
    #[error("the handler did not answer")]
    NoReply,
    /// The mailbox is bounded and was full: the question was not put.
    #[error("the mailbox is full")]
    Full,
    /// The mailbox is bounded and was full, and this question was the oldest when another came.
    #[error("the mailbox was full, and dropped its oldest message")]
    Dropped,
    /// [`Request::timeout`] ran out.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// The answer to [`ActorRef::send`].
#[must_use = "the message is sent already; await its answer, or use `do_send`"]
pub struct Request<R> {
    answer: oneshot::Receiver<R>,
    process: Arc<dyn Process>,
    exited: Option<Exited>,
    timeout: Option<(Duration, Pin<Box<tokio::time::Sleep>>)>,
    /// By what number a bounded mailbox knows this request, or 0.
    number: u64,
    is_refused: bool,
}

impl<R> Drop for Request<R> {
    fn drop(&mut self) {
        if self.number != 0 {
            // First, so that nobody notes for us what became of the message after we have withdrawn.
            self.answer.close();
            self.process.withdraw(self.number);
        }
    }
}

impl<R> fmt::Debug for Request<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request to {}", self.process.core().pid())
    }
}

impl<R> Request<R> {
    /// Gives up after this long.
    ///
    /// A question that nobody waits for any more is skipped if its turn comes later (actix does the same); one that is
    /// being answered runs to its end.
    ///
    /// # Panics
    /// There must be a tokio runtime on this thread, as there is in every arbiter.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some((limit, Box::pin(tokio::time::sleep(limit))));
        self
    }
}

impl<R> Future for Request<R> {
    type Output = Result<R, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.is_refused {
            return Poll::Ready(Err(SendError::Full));
        }
        if this.exited.is_none() {
            match Pin::new(&mut this.answer).poll(cx) {
                Poll::Ready(Ok(answer)) => return Poll::Ready(Ok(answer)),
                Poll::Ready(Err(_)) => {
                    if this.number != 0 && this.process.was_dropped(this.number) {
                        return Poll::Ready(Err(SendError::Dropped));
                    }
                    let core = this.process.core();
                    if !core.is_exiting() {
                        return Poll::Ready(Err(SendError::NoReply));
                    }
                    if let Some(reason) = this.process.loss() {
                        return Poll::Ready(Err(SendError::Exited(reason)));
                    }
                    // Its actor is being dropped and the reason is not final yet.
                    this.exited = Some(monitor::exited_process(&*this.process));
                }
                Poll::Pending => {}
            }
        }
        if let Some(exited) = &mut this.exited
            && let Poll::Ready(reason) = Pin::new(exited).poll(cx)
        {
            return Poll::Ready(Err(SendError::Exited(reason)));
        }
        if let Some((limit, sleep)) = &mut this.timeout
            && sleep.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(SendError::Timeout(*limit)));
        }
        panics::wait_for(Some(this.process.core().pid()));
        Poll::Pending
    }
}
