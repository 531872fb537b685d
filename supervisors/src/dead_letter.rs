//! Dead letters: messages that nobody will handle, counted always and told to whoever asks.
//!
//! What is lost is known by type, receiver, sender and reason, never by content. As long as nothing is lost, this costs
//! nothing; as long as nobody [subscribes](dead_letters), a lost message costs an addition.

use std::cell::Cell;
use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use tokio::sync::broadcast;

use crate::exit::ExitReason;
use crate::panics::drop_contained;
use crate::path::Path;
use crate::pid::Pid;
use crate::process::Core;

/// How many dead letters are kept for a subscriber who is slow; the oldest go first, and are counted.
pub const DEAD_LETTERS_MAX: usize = 1024;

/// A message that was not delivered.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DeadLetter {
    /// The message's type.
    pub message: &'static str,
    /// For whom it was.
    pub receiver: Pid,
    /// The receiver's actor type.
    pub actor: &'static str,
    /// The receiver's place in its tree, if it has one.
    pub path: Option<Path>,
    /// The process that sent it; `None` if it was sent from outside any.
    pub sender: Option<Pid>,
    /// Why nobody will handle it.
    pub reason: Undelivered,
    /// When that was known.
    pub at: SystemTime,
}

/// `Note for root/poems/ecstasy from <0.7.0>: its mailbox was full`
impl fmt::Display for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for ", self.message)?;
        match &self.path {
            Some(path) => write!(f, "{path}")?,
            None => write!(f, "{}", self.receiver)?,
        }
        if let Some(sender) = self.sender {
            write!(f, " from {sender}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Why a message was not delivered.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Undelivered {
    /// The receiver had ended, or ended before its turn came; [`NoProc`](ExitReason::NoProc) if the reason was not known
    /// yet.
    Exited(ExitReason),
    /// The receiver's mailbox was full, with [`Block`](crate::Overflow::Block), [`Reject`](crate::Overflow::Reject) or
    /// [`Stop`](crate::Overflow::Stop).
    Full,
    /// It was the oldest in a mailbox with [`DropOldest`](crate::Overflow::DropOldest) when another came.
    Dropped,
}

impl fmt::Display for Undelivered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(reason) => write!(f, "the receiver ended: {reason}"),
            Self::Full => f.write_str("its mailbox was full"),
            Self::Dropped => f.write_str("its mailbox was full, and this was the oldest"),
        }
    }
}

static TOTAL: AtomicU64 = AtomicU64::new(0);
static TOLD: LazyLock<broadcast::Sender<DeadLetter>> =
    LazyLock::new(|| broadcast::Sender::new(DEAD_LETTERS_MAX));

/// How many messages were lost since the program began. A `try_send` that gives its message back loses none.
pub fn dead_letter_count() -> u64 {
    TOTAL.load(Ordering::Relaxed)
}

/// Hears of every dead letter from now on.
///
/// ```
/// # use actix::prelude::*;
/// # use byron_supervisors::{Context, dead_letters, exited, kill, spawn};
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
/// let mut lost = dead_letters();
/// let reciter = spawn(Reciter);
/// let end = exited(reciter.pid());
/// kill(reciter.pid());
/// end.await;
/// reciter.do_send(Line("She walks in beauty"));
/// let letter = lost.next().await;
/// assert_eq!(letter.receiver, reciter.pid());
/// assert!(letter.message.ends_with("Line"));
/// assert_eq!(letter.reason.to_string(), "the receiver ended: killed");
/// # });
/// ```
pub fn dead_letters() -> DeadLetters {
    DeadLetters {
        receiver: TOLD.subscribe(),
        missed: 0,
    }
}

/// A subscription of [`dead_letters`]; it ends when it is dropped.
#[derive(Debug)]
pub struct DeadLetters {
    receiver: broadcast::Receiver<DeadLetter>,
    missed: u64,
}

impl DeadLetters {
    /// The next dead letter, when there is one. Cancel-safe.
    pub async fn next(&mut self) -> DeadLetter {
        loop {
            match self.receiver.recv().await {
                Ok(letter) => return letter,
                Err(broadcast::error::RecvError::Lagged(missed)) => self.missed += missed,
                // The sender is a static.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    /// The next dead letter, if there is one already.
    pub fn try_next(&mut self) -> Option<DeadLetter> {
        loop {
            match self.receiver.try_recv() {
                Ok(letter) => return Some(letter),
                Err(broadcast::error::TryRecvError::Lagged(missed)) => self.missed += missed,
                Err(_) => return None,
            }
        }
    }

    /// How many this subscriber was too slow for.
    pub fn missed(&self) -> u64 {
        self.missed
    }
}

thread_local! {
    /// What the letter that was dropped last on this thread held, and who had sent it.
    static UNOPENED: Cell<Option<(&'static str, Option<Pid>)>> = const { Cell::new(None) };
}

/// Called by a letter that is dropped with its message, which somebody had wanted delivered.
pub(crate) fn unopened(message: &'static str, sender: Option<Pid>) {
    let _ = UNOPENED.try_with(|unopened| unopened.set(Some((message, sender))));
}

/// To whom the lost messages were sent.
#[derive(Clone)]
pub(crate) struct Addressee {
    pub(crate) pid: Pid,
    pub(crate) actor: &'static str,
    pub(crate) path: Option<Path>,
}

impl Addressee {
    pub(crate) fn of(core: &Core) -> Self {
        Self {
            pid: core.pid(),
            actor: core.kind(),
            path: core.label().map(|label| label.path.clone()),
        }
    }
}

/// Throws away messages that were meant for a process, and tells of those that somebody had wanted delivered. They are
/// letters, or hold letters. Answers how many were thrown away.
pub(crate) fn throw_away<T>(
    messages: impl IntoIterator<Item = T>,
    addressee: impl Fn() -> Addressee,
    reason: &Undelivered,
) -> u64 {
    let mut lost = 0;
    let mut told_to = None;
    for message in messages {
        let _ = UNOPENED.try_with(|unopened| unopened.set(None));
        drop_contained(message);
        let Some((message, sender)) = UNOPENED.try_with(Cell::take).ok().flatten() else {
            continue;
        };
        lost += 1;
        if TOLD.receiver_count() == 0 {
            continue;
        }
        let Addressee { pid, actor, path } = told_to.get_or_insert_with(&addressee).clone();
        let _ = TOLD.send(DeadLetter {
            message,
            receiver: pid,
            actor,
            path,
            sender,
            reason: reason.clone(),
            at: SystemTime::now(),
        });
    }
    if lost > 0 {
        TOTAL.fetch_add(lost, Ordering::Relaxed);
    }
    lost
}

/// As [`throw_away`], for a process that is at hand: its vitals count them.
pub(crate) fn lose<T>(core: &Core, messages: impl IntoIterator<Item = T>, reason: &Undelivered) {
    let lost = throw_away(messages, || Addressee::of(core), reason);
    if lost > 0 {
        core.note_lost(lost);
    }
}
