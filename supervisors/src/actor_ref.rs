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

use crate::context::Context;
use crate::exit::{Down, Exit, ExitReason};
use crate::mailbox::{Letter, QueueOf};
use crate::monitor::{self, Exited};
use crate::panics::{self, drop_each};
use crate::pid::{self, Pid};
use crate::process::{Core, Observer, Process, Started, TrapExit};

/// What a process and its handles share.
pub(crate) struct Shared<A: Actor<Context = Context<A>>> {
    pub(crate) core: Core,
    pub(crate) queue: QueueOf<A>,
}

impl<A: Actor<Context = Context<A>>> Shared<A> {
    pub(crate) fn push<M>(&self, letter: Letter<M>) -> Result<(), Letter<M>>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.queue.lock().push(letter)
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

    fn mailbox_len(&self) -> Option<usize> {
        Some(self.queue.lock().mail.len() + self.core.taken.load(Ordering::Relaxed))
    }

    fn close(&self) -> usize {
        if self.keeps_mailbox() {
            let mut queue = self.queue.lock();
            let personal = queue.take_personal();
            let len = queue.mail.len();
            drop(queue);
            drop_each(personal);
            return len;
        }
        self.queue.throw_away()
    }

    fn loss(&self) -> Option<ExitReason> {
        self.queue.kept()?.last_exit.lock().clone()
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

    /// How many messages wait. Those sent through an [`addr`](Self::addr) count once the process has looked at them.
    pub fn mailbox_len(&self) -> usize {
        self.0.mailbox_len().unwrap_or(0)
    }

    /// An actix address, for the code that needs one. Closed if the process is dead.
    pub fn addr(&self) -> Addr<A> {
        self.0.queue.lock().addr()
    }

    /// Sends a message and forgets it (OTP's cast). If the process is dead, so is the message.
    pub fn do_send<M>(&self, message: M)
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let _ = self.0.push(Letter::new(message, None));
    }

    /// Sends a message, or gives it back if the process is dead.
    ///
    /// # Errors
    /// The process is dead; [`exit_reason`](Self::exit_reason) says why.
    pub fn try_send<M>(&self, message: M) -> Result<(), M>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        match self.0.push(Letter::new(message, None)) {
            Ok(()) => Ok(()),
            Err(letter) => letter.into_message().map_or(Ok(()), Err),
        }
    }

    /// Sends a message and waits for its answer (OTP's call), for ever unless [`Request::timeout`] says otherwise.
    pub fn send<M>(&self, message: M) -> Request<M::Result>
    where
        A: Handler<M>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let (reply, answer) = oneshot::channel();
        // A refused letter drops its `reply`, and the request ends with the exit reason.
        let _ = self.0.push(Letter::new(message, Some(reply)));
        Request {
            answer,
            process: Arc::clone(&self.0) as Arc<dyn Process>,
            exited: None,
            timeout: None,
        }
    }
}

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
        if this.exited.is_none() {
            match Pin::new(&mut this.answer).poll(cx) {
                Poll::Ready(Ok(answer)) => return Poll::Ready(Ok(answer)),
                Poll::Ready(Err(_)) => {
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
