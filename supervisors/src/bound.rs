//! How many messages may wait for a process, and what happens to one too many.
//!
//! A bounded mailbox keeps every message that was not delivered where senders can see it, and the process takes them out
//! one by one: the bound holds at each moment, and `DropOldest` finds the oldest. What the crate itself sends to a
//! process ([`Down`](crate::Down), [`Exit`](crate::Exit), [`GroupEvent`](crate::GroupEvent), the starts of children) is
//! neither counted nor refused; signals and kills do not go through mailboxes at all.

use std::any;
use std::collections::{BTreeMap, HashSet, VecDeque};

use actix::Actor;
use actix::dev::{Envelope, EnvelopeProxy};

use crate::context::Context;
use crate::exit::MonitorRef;
use crate::mailbox::{BoxedMail, Mail, Queue};

/// The mailbox of a process: without a bound, unless it was given one.
///
/// ```
/// # use actix::prelude::*;
/// # use byron_supervisors::{Context, Mailbox, Overflow, SendError, Spawn, TrySendError};
/// struct Reciter;
/// impl Actor for Reciter {
///     type Context = Context<Self>;
/// }
///
/// #[derive(Message)]
/// #[rtype(result = "()")]
/// struct Line(&'static str);
/// impl Handler<Line> for Reciter {
///     type Result = ();
///     fn handle(&mut self, _: Line, _: &mut Context<Self>) {}
/// }
///
/// # System::new().block_on(async {
/// let (reciter, _) = Spawn::new().mailbox(Mailbox::bounded(1, Overflow::Reject)).start(|_| Reciter);
/// reciter.do_send(Line("She walks in beauty"));
/// assert_eq!(reciter.send(Line("like the night")).await, Err(SendError::Full));
/// let Err(TrySendError::Full(Line(line))) = reciter.try_send(Line("Of cloudless climes")) else {
///     panic!("it cannot have run meanwhile");
/// };
/// assert_eq!(line, "Of cloudless climes");
/// # });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mailbox(Option<(usize, Overflow)>);

impl Mailbox {
    /// As many messages as come.
    pub const UNBOUNDED: Self = Self(None);

    /// So many messages, and what happens to one more. The message that is being handled does not count.
    ///
    /// # Panics
    /// There must be room for one.
    pub const fn bounded(capacity: usize, overflow: Overflow) -> Self {
        assert!(capacity > 0, "a mailbox has room for one message at least");
        Self(Some((capacity, overflow)))
    }

    /// How many messages may wait, if that is bounded.
    pub fn capacity(self) -> Option<usize> {
        self.0.map(|(capacity, _)| capacity)
    }

    /// What happens to one more, if there is a bound.
    pub fn overflow(self) -> Option<Overflow> {
        self.0.map(|(_, overflow)| overflow)
    }
}

/// What happens to a message for which a bounded mailbox has no room.
///
/// | | `send(..).await` | `do_send` | `try_send` |
/// | --- | --- | --- | --- |
/// | `Block` | waits for room, then for the answer | a dead letter | gives it back: `Full` |
/// | `Reject` | answers [`SendError::Full`](crate::SendError::Full) | a dead letter | gives it back: `Full` |
/// | `DropOldest` | goes in; the oldest becomes a dead letter, and who asked it hears [`SendError::Dropped`](crate::SendError::Dropped) | the same | the same |
/// | `Stop` | the process ends with [`MailboxOverflow`]; answers that | it ends, a dead letter | it ends; gives it back: `Full` |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// Its sender waits: first come, first served. Who waits does so outside the mailbox, in the [`Request`](crate::Request)
    /// that `send` returned; dropping that takes the message back. `do_send` and `try_send` cannot wait.
    Block,
    /// It is refused.
    Reject,
    /// It goes in, and the one that has waited longest goes out.
    DropOldest,
    /// It is refused, and the process ends.
    Stop,
}

impl Overflow {
    /// The policy in one lower-case word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Reject => "reject",
            Self::DropOldest => "drop_oldest",
            Self::Stop => "stop",
        }
    }
}

/// A mailbox with [`Overflow::Stop`] had no room, and so its process ended: the cause of its
/// [`ExitReason::Error`](crate::ExitReason::Error).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("mailbox overflow: more than {capacity} messages waited")]
#[non_exhaustive]
pub struct MailboxOverflow {
    /// How many may wait.
    pub capacity: usize,
}

/// What became of a message that was offered.
pub(crate) enum Offer<L> {
    /// It is in, or its asker waits for room; if the asker has a number, it is this one.
    Taken(u64),
    /// The process is over.
    Dead(L),
    /// There is no room.
    Full(L),
    /// There is no room, and so the process has to end.
    Overflow(L, MailboxOverflow),
}

/// What else came of it, to be seen to outside the lock.
pub(crate) struct Effects<A: Actor<Context = Context<A>>> {
    /// It had to go, that another could come in.
    pub(crate) evicted: Option<BoxedMail<A>>,
    /// The mailbox has become full, for the first time since it was half empty.
    pub(crate) is_high: bool,
}

/// The bound of a queue, and those whom it keeps waiting.
pub(crate) struct Bound<A: Actor<Context = Context<A>>> {
    pub(crate) capacity: usize,
    pub(crate) overflow: Overflow,
    /// How many undelivered messages count, here and in the queue.
    len: usize,
    /// What came through addresses.
    bridged: VecDeque<BoxedMail<A>>,
    /// Whose turn it is: the addresses' or the queue's, when both have mail.
    is_bridges_turn: bool,
    /// Who waits for room, by number: first come, first served.
    line: BTreeMap<u64, BoxedMail<A>>,
    last_number: u64,
    /// The numbers of those whose messages had to go, until they hear of it.
    dropped: HashSet<u64>,
    refused: u64,
    is_high: bool,
}

impl<A: Actor<Context = Context<A>>> Bound<A> {
    pub(crate) fn of(mailbox: Mailbox) -> Option<Box<Self>> {
        let (capacity, overflow) = mailbox.0?;
        Some(Box::new(Self {
            capacity,
            overflow,
            len: 0,
            bridged: VecDeque::new(),
            is_bridges_turn: false,
            line: BTreeMap::new(),
            last_number: 0,
            dropped: HashSet::new(),
            refused: 0,
            is_high: false,
        }))
    }

    /// How many messages wait that count.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many senders wait for room.
    pub(crate) fn line_len(&self) -> usize {
        self.line.len()
    }

    /// How many messages found no room, whatever became of them.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    fn has_room(&self) -> bool {
        self.len < self.capacity
    }

    fn count_in(&mut self) -> bool {
        self.len += 1;
        let became_high = !self.has_room() && !self.is_high;
        self.is_high |= became_high;
        became_high
    }

    fn count_out(&mut self) {
        self.len -= 1;
        if self.len <= self.capacity / 2 {
            self.is_high = false;
        }
    }

    /// The asker with this number waits no more: its message is not sent, or nobody asks what became of it.
    pub(crate) fn withdraw(&mut self, number: u64) -> Option<BoxedMail<A>> {
        self.dropped.remove(&number);
        self.line.remove(&number)
    }

    /// Whether the message of this asker had to go.
    pub(crate) fn was_dropped(&mut self, number: u64) -> bool {
        self.dropped.remove(&number)
    }

    /// All that is here, when the process is over.
    pub(crate) fn close(&mut self) -> impl Iterator<Item = BoxedMail<A>> {
        self.len = 0;
        let bridged = std::mem::take(&mut self.bridged);
        bridged
            .into_iter()
            .chain(std::mem::take(&mut self.line).into_values())
    }
}

/// The bounded side of a queue. Each of these is called only where there is a bound.
impl<A: Actor<Context = Context<A>>> Queue<A> {
    /// Queues a message, or does with it what the policy says. `is_ask`: somebody waits for its answer, and can wait for
    /// room as well.
    pub(crate) fn offer<L: Mail<A> + 'static>(
        &mut self,
        letter: L,
        is_ask: bool,
    ) -> (Offer<L>, Effects<A>) {
        let mut effects = Effects {
            evicted: None,
            is_high: false,
        };
        let Some(bound) = &mut self.bound else {
            let refused = self.push(letter).err();
            return (refused.map_or(Offer::Taken(0), Offer::Dead), effects);
        };
        if self.closed {
            return (Offer::Dead(letter), effects);
        }
        let number = bound.last_number + u64::from(is_ask);
        if !bound.has_room() {
            match bound.overflow {
                Overflow::Block if is_ask => {
                    bound.last_number = number;
                    bound.line.insert(number, Box::new(letter));
                    return (Offer::Taken(number), effects);
                }
                Overflow::Block | Overflow::Reject => {
                    bound.refused += 1;
                    return (Offer::Full(letter), effects);
                }
                Overflow::Stop => {
                    bound.refused += 1;
                    let overflow = MailboxOverflow {
                        capacity: bound.capacity,
                    };
                    return (Offer::Overflow(letter, overflow), effects);
                }
                Overflow::DropOldest => {
                    bound.refused += 1;
                    effects.evicted = evict(bound, &mut self.mail);
                }
            }
        }
        effects.is_high = bound.count_in();
        // Only these may go after they are in, and only who asks wants to know.
        let is_numbered = is_ask && bound.overflow == Overflow::DropOldest;
        if is_numbered {
            bound.last_number = number;
            self.mail.push_back(Box::new(Numbered { number, letter }));
        } else {
            self.mail.push_back(Box::new(letter));
        }
        if self.mail.len() == 1 {
            self.wake();
        }
        (Offer::Taken(if is_numbered { number } else { 0 }), effects)
    }

    /// As [`offer`](Self::offer), for what was taken out of the addresses' channel. With [`Overflow::Block`] it stays
    /// there as long as there is no room: see [`wants_bridged`](Self::wants_bridged).
    pub(crate) fn offer_bridged(
        &mut self,
        envelope: Envelope<A>,
    ) -> (Offer<BoxedMail<A>>, Effects<A>) {
        let mut effects = Effects {
            evicted: None,
            is_high: false,
        };
        let mail: BoxedMail<A> = Box::new(Enveloped(envelope));
        let Some(bound) = &mut self.bound else {
            return (Offer::Dead(mail), effects);
        };
        if !bound.has_room() {
            bound.refused += 1;
            match bound.overflow {
                Overflow::Block | Overflow::Reject => return (Offer::Full(mail), effects),
                Overflow::Stop => {
                    let overflow = MailboxOverflow {
                        capacity: bound.capacity,
                    };
                    return (Offer::Overflow(mail, overflow), effects);
                }
                Overflow::DropOldest => effects.evicted = evict(bound, &mut self.mail),
            }
        }
        effects.is_high = bound.count_in();
        bound.bridged.push_back(mail);
        (Offer::Taken(0), effects)
    }

    /// Whether the next message is to be taken out of the addresses' channel.
    pub(crate) fn wants_bridged(&self) -> bool {
        self.bound
            .as_ref()
            .is_some_and(|bound| bound.has_room() || bound.overflow != Overflow::Block)
    }

    /// The next message. Addresses and handles have turns; a `Down` and its kin come after what came through addresses
    /// before it.
    pub(crate) fn next_bounded(&mut self) -> Option<BoxedMail<A>> {
        let bound = self.bound.as_mut()?;
        let is_bridged = !bound.bridged.is_empty()
            && (bound.is_bridges_turn
                || self.mail.front().is_none_or(|letter| letter.is_personal()));
        let letter = if is_bridged {
            bound.bridged.pop_front()
        } else {
            self.mail.pop_front()
        }?;
        bound.is_bridges_turn = !is_bridged;
        if !letter.is_personal() {
            bound.count_out();
        }
        Some(letter)
    }

    /// Lets those who wait for room in, as far as there is any. True if the mailbox has become full again by that.
    pub(crate) fn let_in(&mut self) -> bool {
        let mut is_high = false;
        if let Some(bound) = &mut self.bound {
            while bound.has_room()
                && let Some((_, letter)) = bound.line.pop_first()
            {
                is_high |= bound.count_in();
                self.mail.push_back(letter);
            }
        }
        is_high
    }

    /// Whether there is mail in a bounded queue.
    pub(crate) fn has_bounded_mail(&self) -> bool {
        !self.mail.is_empty()
            || self
                .bound
                .as_ref()
                .is_some_and(|bound| !bound.bridged.is_empty())
    }
}

/// Takes the oldest message that counts out of a full mailbox.
fn evict<A: Actor<Context = Context<A>>>(
    bound: &mut Bound<A>,
    mail: &mut VecDeque<BoxedMail<A>>,
) -> Option<BoxedMail<A>> {
    let at = mail.iter().position(|letter| !letter.is_personal());
    let evicted = match at {
        Some(at) => mail.remove(at),
        None => bound.bridged.pop_front(),
    }?;
    bound.count_out();
    if evicted.number() != 0 && !evicted.is_withdrawn() {
        bound.dropped.insert(evicted.number());
    }
    Some(evicted)
}

/// A letter whose asker is known by a number.
struct Numbered<L> {
    number: u64,
    letter: L,
}

impl<A: Actor<Context = Context<A>>, L: Mail<A>> Mail<A> for Numbered<L> {
    fn open(&mut self, actor: &mut A, ctx: &mut Context<A>) {
        self.letter.open(actor, ctx);
    }

    fn name(&self) -> &'static str {
        self.letter.name()
    }

    fn monitor(&self) -> Option<MonitorRef> {
        self.letter.monitor()
    }

    fn is_personal(&self) -> bool {
        self.letter.is_personal()
    }

    fn is_withdrawn(&self) -> bool {
        self.letter.is_withdrawn()
    }

    fn number(&self) -> u64 {
        self.number
    }
}

/// What came through an address.
struct Enveloped<A: Actor<Context = Context<A>>>(Envelope<A>);

impl<A: Actor<Context = Context<A>>> Mail<A> for Enveloped<A> {
    fn open(&mut self, actor: &mut A, ctx: &mut Context<A>) {
        // It stays here if its handler panics, to be dropped when the process is known to be over.
        self.0.handle(actor, ctx);
    }

    /// What is in it, only its handler will see.
    fn name(&self) -> &'static str {
        any::type_name::<Envelope<A>>()
    }

    fn monitor(&self) -> Option<MonitorRef> {
        None
    }

    fn is_personal(&self) -> bool {
        false
    }

    fn is_withdrawn(&self) -> bool {
        false
    }
}
