//! The mailbox of a process: one queue, one allocation a message, one wake-up for each time it was empty.
//!
//! Messages through an [`ActorRef`](crate::ActorRef) come straight here. An actix `Addr`, for the code that wants one,
//! leads into a channel of actix's that exists only once somebody asked for it (`Bridge`).

use std::any::{self, Any, TypeId};
use std::collections::VecDeque;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Waker};

use actix::dev::channel::{AddressReceiver, channel};
use actix::dev::{Envelope, EnvelopeProxy, MessageResponse, OneshotSender, ToEnvelope};
use actix::{Actor, Addr, Handler, Message};
use futures_util::Stream;
use parking_lot::{Mutex, MutexGuard};

use crate::bound::{Bound, Mailbox, Overflow};
use crate::context::Context;
use crate::dead_letter::{self, Addressee, Undelivered};
use crate::exit::{Down, Exit, ExitReason, MonitorRef};
use crate::panics::{current_pid, drop_contained};
use crate::pg::GroupEvent;
use crate::pid::Pid;
use crate::process::Started;

/// A message on its way, its type erased.
pub(crate) trait Mail<A: Actor<Context = Context<A>>>: Send {
    /// Runs the handler.
    fn open(&mut self, actor: &mut A, ctx: &mut Context<A>);
    /// The type of the message.
    fn name(&self) -> &'static str;
    /// The monitor this is a `Down` of, if it is one.
    fn monitor(&self) -> Option<MonitorRef>;
    /// Whether one incarnation had asked to hear it, by a monitor, a link or a start. No other is to.
    fn is_personal(&self) -> bool;
    /// Whoever asked waits for the answer no more.
    fn is_withdrawn(&self) -> bool;
    /// The number by which a bounded mailbox knows the asker, or 0.
    fn number(&self) -> u64 {
        0
    }
}

pub(crate) struct Letter<M: Message + 'static> {
    message: Option<M>,
    reply: Option<OneshotSender<M::Result>>,
    sender: Option<Pid>,
}

impl<M: Message + 'static> Letter<M> {
    pub(crate) fn new(message: M, reply: Option<OneshotSender<M::Result>>) -> Self {
        Self {
            message: Some(message),
            reply,
            sender: current_pid(),
        }
    }

    /// Whether the crate itself sends messages of this type, to a process that had asked for them.
    fn is_of_system() -> bool {
        let message = TypeId::of::<M>();
        message == TypeId::of::<Down>()
            || message == TypeId::of::<Exit>()
            || message == TypeId::of::<Started>()
            || message == TypeId::of::<GroupEvent>()
    }

    /// The message of a letter that was not delivered.
    pub(crate) fn into_message(mut self) -> Option<M> {
        self.message.take()
    }
}

impl<A, M> Mail<A> for Letter<M>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn open(&mut self, actor: &mut A, ctx: &mut Context<A>) {
        if Mail::<A>::is_withdrawn(self) {
            return;
        }
        if let Some(message) = self.message.take() {
            ctx.handling::<M>();
            ctx.is_asked = self.reply.is_some();
            // A crash leaves `reply` here, to be dropped when the process is known to be over.
            let response = <A as Handler<M>>::handle(actor, message, ctx);
            response.handle(ctx, self.reply.take());
        }
    }

    fn name(&self) -> &'static str {
        any::type_name::<M>()
    }

    fn monitor(&self) -> Option<MonitorRef> {
        let message: &dyn Any = self.message.as_ref()?;
        message.downcast_ref::<Down>().map(|down| down.monitor)
    }

    fn is_personal(&self) -> bool {
        Self::is_of_system()
    }

    fn is_withdrawn(&self) -> bool {
        self.reply.as_ref().is_some_and(OneshotSender::is_closed)
    }
}

/// An undelivered message's panicking `Drop` is not its receiver's crash, and must not keep the messages behind it from
/// being dropped: whoever waits for their answers would wait for ever.
impl<M: Message + 'static> Drop for Letter<M> {
    fn drop(&mut self) {
        if let Some(message) = self.message.take() {
            drop_contained(message);
            // Nobody misses the answer to a question that was taken back.
            let is_withdrawn = self.reply.as_ref().is_some_and(OneshotSender::is_closed);
            if !is_withdrawn && !Self::is_of_system() {
                dead_letter::unopened(any::type_name::<M>(), self.sender);
            }
        }
    }
}

/// For `Addr`s: the same letter in actix's envelope.
impl<A, M> EnvelopeProxy<A> for Letter<M>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn handle(&mut self, actor: &mut A, ctx: &mut Context<A>) {
        Mail::open(self, actor, ctx);
    }
}

impl<A, M> ToEnvelope<A, M> for Context<A>
where
    A: Actor<Context = Self> + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn pack(message: M, reply: Option<OneshotSender<M::Result>>) -> Envelope<A> {
        Envelope::with_proxy(Box::new(Letter::new(message, reply)))
    }
}

pub(crate) type BoxedMail<A> = Box<dyn Mail<A>>;

/// actix's channel behind the `Addr`s of a process.
pub(crate) struct Bridge<A: Actor<Context = Context<A>>> {
    addr: Addr<A>,
    receiver: Option<AddressReceiver<A>>,
    /// What an earlier incarnation had taken out of the channel and not handled.
    left: VecDeque<Envelope<A>>,
}

pub(crate) struct Queue<A: Actor<Context = Context<A>>> {
    pub(crate) mail: VecDeque<BoxedMail<A>>,
    pub(crate) closed: bool,
    pub(crate) waker: Option<Waker>,
    bridge: Option<Box<Bridge<A>>>,
    pub(crate) bound: Option<Box<Bound<A>>>,
}

impl<A: Actor<Context = Context<A>>> Queue<A> {
    #[inline(always)]
    pub(crate) fn new(mailbox: Mailbox) -> Self {
        Self {
            mail: VecDeque::new(),
            closed: false,
            waker: None,
            bridge: None,
            bound: Bound::of(mailbox),
        }
    }

    /// Queues a letter and wakes the process if it may be asleep; gives the letter back if the process is over.
    pub(crate) fn push<L: Mail<A> + 'static>(&mut self, letter: L) -> Result<(), L> {
        if self.closed {
            return Err(letter);
        }
        self.mail.push_back(Box::new(letter));
        if self.mail.len() == 1 {
            self.wake();
        }
        Ok(())
    }

    pub(crate) fn wake(&self) {
        // No waker yet: the first poll is on its way.
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// An address of actix's; the channel behind it is made for the first one.
    pub(crate) fn addr(&mut self) -> Addr<A> {
        if self.bridge.is_none() {
            // Capacity 0 is actix's word for unbounded. A bounded channel of actix's is no bound either: every new copy of
            // the address gets one more message in. It keeps those waiting who `send` and await, which is what `Block`
            // can have here.
            let capacity = self.bound.as_ref().map_or(0, |bound| match bound.overflow {
                Overflow::Block => bound.capacity,
                Overflow::Reject | Overflow::DropOldest | Overflow::Stop => 0,
            });
            let (sender, receiver) = channel(capacity);
            // A dead process keeps no receiver: its addresses are closed from the start.
            let receiver = (!self.closed).then_some(receiver);
            self.bridge = Some(Box::new(Bridge {
                addr: Addr::new(sender),
                receiver,
                left: VecDeque::new(),
            }));
            self.wake();
        }
        self.bridge.as_ref().expect("made above").addr.clone()
    }

    /// The receiving end, and what an earlier incarnation had left over, once.
    pub(crate) fn take_bridge(&mut self) -> Option<(AddressReceiver<A>, VecDeque<Envelope<A>>)> {
        let bridge = self.bridge.as_mut()?;
        let receiver = bridge.receiver.take()?;
        Some((receiver, mem::take(&mut bridge.left)))
    }

    /// Gives back what a dying incarnation had taken and not handled, for the next one.
    pub(crate) fn give_back(&mut self, mut inbox: VecDeque<BoxedMail<A>>) {
        inbox.append(&mut self.mail);
        self.mail = inbox;
    }

    /// A dying incarnation takes with it what is for nobody else; to be thrown away outside the lock.
    #[must_use]
    pub(crate) fn take_personal(&mut self) -> VecDeque<BoxedMail<A>> {
        self.waker = None;
        let (personal, others) = mem::take(&mut self.mail)
            .into_iter()
            .partition(|letter| letter.is_personal());
        self.mail = others;
        personal
    }

    /// As [`give_back`](Self::give_back), for what came through addresses.
    pub(crate) fn give_bridge_back(
        &mut self,
        receiver: AddressReceiver<A>,
        left: VecDeque<Envelope<A>>,
    ) {
        if let Some(bridge) = &mut self.bridge {
            (bridge.receiver, bridge.left) = (Some(receiver), left);
        }
    }

    /// Refuses mail from now on; answers what was queued, to be thrown away outside the lock.
    pub(crate) fn close(&mut self) -> Leavings<A> {
        self.closed = true;
        self.waker = None;
        let mut mail = mem::take(&mut self.mail);
        if let Some(bound) = &mut self.bound {
            mail.extend(bound.close());
        }
        (mail, self.take_bridge())
    }
}

type Leavings<A> = (
    VecDeque<BoxedMail<A>>,
    Option<(AddressReceiver<A>, VecDeque<Envelope<A>>)>,
);

/// A process's queue: its own, or one that outlives it.
pub(crate) enum QueueOf<A: Actor<Context = Context<A>>> {
    Own(Mutex<Queue<A>>),
    Kept(Arc<Kept<A>>),
}

impl<A: Actor<Context = Context<A>>> QueueOf<A> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Queue<A>> {
        match self {
            Self::Own(queue) => queue.lock(),
            Self::Kept(kept) => kept.queue.lock(),
        }
    }

    pub(crate) fn kept(&self) -> Option<&Arc<Kept<A>>> {
        match self {
            Self::Own(_) => None,
            Self::Kept(kept) => Some(kept),
        }
    }

    /// Closes the queue and throws away what is in it; answers how much that was, and how much of it is missed.
    pub(crate) fn throw_away(
        &self,
        addressee: impl Fn() -> Addressee,
        reason: &Undelivered,
    ) -> (usize, u64) {
        let (mail, bridge) = self.lock().close();
        let len = mail.len();
        let mut lost = dead_letter::throw_away(mail, &addressee, reason);
        if let Some((receiver, left)) = bridge {
            let left = left.into_iter().chain(drain(receiver));
            lost += dead_letter::throw_away(left, &addressee, reason);
        }
        (len, lost)
    }
}

/// What is in an addresses' channel, and then nothing more: the channel closes.
pub(crate) fn drain<A: Actor<Context = Context<A>>>(
    mut receiver: AddressReceiver<A>,
) -> impl Iterator<Item = Envelope<A>> {
    let mut task = TaskContext::from_waker(Waker::noop());
    std::iter::from_fn(move || match Pin::new(&mut receiver).poll_next(&mut task) {
        Poll::Ready(envelope) => envelope,
        Poll::Pending => None,
    })
}

/// The queue of a child that keeps its mailbox over restarts.
pub(crate) struct Kept<A: Actor<Context = Context<A>>> {
    queue: Mutex<Queue<A>>,
    /// Why the last incarnation ended, and which it was: what those are told whose messages are lost.
    pub(crate) last_exit: Mutex<Option<(ExitReason, Addressee)>>,
}

impl<A: Actor<Context = Context<A>>> Kept<A> {
    pub(crate) fn boxed(mailbox: Mailbox) -> Arc<dyn KeptMailbox> {
        let mut queue = Queue::<A>::new(mailbox);
        // Until there is a process.
        queue.closed = true;
        Arc::new(Self {
            queue: Mutex::new(queue),
            last_exit: Mutex::new(None),
        })
    }

    /// What [`boxed`](Self::boxed) had made.
    pub(crate) fn of(mailbox: Option<Arc<dyn KeptMailbox>>) -> Option<Arc<Self>> {
        mailbox?.into_any().downcast().ok()
    }

    /// For the next incarnation; if it was closed, it begins empty.
    pub(crate) fn open(self: Arc<Self>) -> QueueOf<A> {
        let mut queue = self.queue.lock();
        if mem::take(&mut queue.closed) {
            // Its addresses were closed, for good.
            queue.bridge = None;
        }
        drop(queue);
        QueueOf::Kept(self)
    }
}

/// A kept queue, whatever actor it is for.
pub(crate) trait KeptMailbox: Send + Sync {
    /// There will be no further incarnation: whoever waits for an answer hears of it.
    fn close(self: Arc<Self>);
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<A: Actor<Context = Context<A>>> KeptMailbox for Kept<A> {
    fn close(self: Arc<Self>) {
        let last_exit = self.last_exit.lock().clone();
        let queue = QueueOf::Kept(self);
        match last_exit {
            Some((reason, addressee)) => {
                queue.throw_away(|| addressee.clone(), &Undelivered::Exited(reason));
            }
            // There was no process, and so no mail.
            None => drop(queue.lock().close()),
        }
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
