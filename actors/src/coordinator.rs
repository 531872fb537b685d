//! [`Coordinator`]: gathers poems and losses.
//!
//! Started first in the client's tree. The tutorial's Erlang client counts `DOWN` messages until there are as many as
//! downloads; so does this one, with one difference: the `Down` of an attempt that will be made again is not the end of a
//! task. Each attempt reports before it does anything else and is monitored from then on; it is told how much of the
//! poem earlier attempts have passed on, so that no byte goes out twice. What happens is told as plain [`Event`]s,
//! in the order in which it happens; putting poems into the order asked for is the presenter's work.
//!
//! Never opens a socket, never restarts anything (the downloads' supervisor does), and never infers a crash from
//! silence, except that an attempt which should have begun long ago is given up.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Handler, Message, MessageResult};
use byron_supervisors::{Context, Down, ExitReason, MonitorRef, Name, Pid, exit, whereis_actor};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use crate::address::Address;
use crate::client::{CallOff, Client, Retries, Settled};
use crate::download::{DownloadError, FailureKind, credit, out_of_time};
use crate::wire::{PoemHash, Prefix};

/// How long an attempt may be overdue before its task is given up.
pub const ATTEMPT_OVERDUE: Duration = Duration::from_secs(30);

/// What happens to the poems of one client. Tasks are numbered from 0, in the order of the targets.
///
/// ```text
/// Started (Connected Chunk*  Retry)* (Connected Chunk* Poem | Failed)      for each task, and after all of them:  Done
/// ```
///
/// Where poems go through transforms, `Held` stands in place of `Chunk`, and behind the last of them
/// `Transformed* (Chunk* Poem | Failed)`.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A task's turn has come.
    Started {
        /// Which.
        task: usize,
    },
    /// An attempt reached a server.
    Connected {
        /// Which task.
        task: usize,
        /// The server.
        peer_addr: Address,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// The next bytes of a poem.
    Chunk(Chunk),
    /// The next bytes of a poem have come, and are held back until it has been transformed. Its chunks come then.
    Held {
        /// Which task.
        task: usize,
        /// How many bytes.
        bytes: u64,
    },
    /// A transform was made of a poem, or was not and left it as it was.
    Transformed {
        /// Which task.
        task: usize,
        /// Which transform, by its label.
        transform: String,
        /// Why not, if it was not.
        outcome: Result<(), String>,
    },
    /// An attempt failed, and there will be another.
    Retry {
        /// Which task.
        task: usize,
        /// What failed.
        kind: FailureKind,
        /// The same for people.
        message: String,
        /// About when the next attempt begins.
        after: Duration,
        /// The attempts so far.
        attempts: u32,
    },
    /// A poem is whole.
    Poem {
        /// Which task.
        task: usize,
        /// Its length.
        bytes: u64,
        /// Its hash.
        sha256: PoemHash,
        /// How many attempts it took.
        attempts: u32,
        /// From the start of the task.
        elapsed: Duration,
    },
    /// A poem will not come.
    Failed {
        /// Which task.
        task: usize,
        /// What failed.
        kind: FailureKind,
        /// The same for people.
        message: String,
        /// How many attempts were made.
        attempts: u32,
        /// How many of its bytes have come.
        bytes: u64,
        /// From the start of the task; nothing if it never started.
        elapsed: Duration,
    },
    /// Every task is settled; the last event.
    Done {
        /// How many poems are whole.
        poems: usize,
        /// How many will not come.
        failed: usize,
    },
}

/// Bytes of a poem. While it lives it counts as on its way: drop it when the bytes are where they belong.
#[derive(Debug)]
pub struct Chunk {
    /// Which task.
    pub task: usize,
    /// The bytes; never empty, and never passed on before.
    pub bytes: Bytes,
    _credit: Option<OwnedSemaphorePermit>,
}

impl Chunk {
    /// Bytes that are in memory anyway.
    pub(crate) fn without_credit(task: usize, bytes: Bytes) -> Self {
        Self {
            task,
            bytes,
            _credit: None,
        }
    }
}

/// The receiving end of a client's events. Bounded by the credit of each poem, not by a number of events.
pub type Events = mpsc::UnboundedReceiver<Event>;

struct Task {
    state: TaskState,
    attempts: u32,
    known: Prefix,
    credit: Arc<Semaphore>,
    started_at: Option<Instant>,
    deadline: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TaskState {
    /// Its turn has not come.
    Waiting,
    /// An attempt is to report soon.
    Due,
    /// An attempt is under way.
    Running {
        pid: Pid,
        has_all: bool,
    },
    Settled,
}

/// Gathers poems and losses.
pub struct Coordinator {
    tasks: Vec<Task>,
    /// The tasks whose attempts are under way.
    monitored: HashMap<MonitorRef, usize>,
    unsettled: usize,
    poems: usize,
    retries: Retries,
    max_time: Option<Duration>,
    fail_fast: bool,
    is_cancelled: bool,
    client: Name,
    events: mpsc::UnboundedSender<Event>,
}

impl fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinator")
            .field("tasks", &self.tasks.len())
            .field("unsettled", &self.unsettled)
            .finish_non_exhaustive()
    }
}

/// What a coordinator is to gather.
#[derive(Debug, Clone)]
pub(crate) struct Gathering {
    pub(crate) tasks: usize,
    pub(crate) retries: Retries,
    pub(crate) max_time: Option<Duration>,
    pub(crate) fail_fast: bool,
    /// The client's name.
    pub(crate) client: Name,
}

impl Coordinator {
    pub(crate) fn new(gathering: Gathering, events: mpsc::UnboundedSender<Event>) -> Self {
        let new_task = || Task {
            state: TaskState::Waiting,
            attempts: 0,
            known: Prefix::default(),
            credit: credit(),
            started_at: None,
            deadline: None,
        };
        Self {
            tasks: (0..gathering.tasks).map(|_| new_task()).collect(),
            monitored: HashMap::new(),
            unsettled: gathering.tasks,
            poems: 0,
            retries: gathering.retries,
            max_time: gathering.max_time,
            fail_fast: gathering.fail_fast,
            is_cancelled: false,
            client: gathering.client,
            events,
        }
    }

    /// Tells what happened; if nobody listens any more, nothing else is worth doing.
    fn tell(&mut self, event: Event, ctx: &mut Context<Self>) {
        if self.events.send(event).is_err() {
            ctx.exit(ExitReason::shutdown("nobody takes the poems any more"));
        }
    }

    /// The next attempt is due now, or after its backoff. If it does not report, the task must not wait for ever.
    fn expect_attempt(&mut self, task: usize, after: Duration, ctx: &mut Context<Self>) {
        let due = &mut self.tasks[task];
        due.state = TaskState::Due;
        let (attempts, deadline) = (due.attempts, due.deadline);
        let overdue_at = Instant::now() + after + ATTEMPT_OVERDUE;
        let limit = deadline.map_or(overdue_at, |deadline| overdue_at.min(deadline));
        let wait = limit.saturating_duration_since(Instant::now());
        ctx.run_later(wait, move |coordinator, ctx| {
            let now = &coordinator.tasks[task];
            if now.state == TaskState::Due && now.attempts == attempts {
                let error = match coordinator.max_time {
                    Some(max_time) if deadline.is_some_and(|deadline| deadline <= limit) => {
                        out_of_time(max_time)
                    }
                    _ => DownloadError::for_good(FailureKind::Io, "the download was not restarted"),
                };
                coordinator.fail(task, error, ctx);
            }
        });
    }

    fn fail(&mut self, task: usize, error: DownloadError, ctx: &mut Context<Self>) {
        let of = &self.tasks[task];
        let event = Event::Failed {
            task,
            kind: error.kind,
            message: error.message,
            attempts: of.attempts,
            bytes: of.known.len(),
            elapsed: of.elapsed(),
        };
        self.settle(task, event, ctx);
        if self.fail_fast && !self.is_cancelled {
            self.cancel(ctx);
        }
    }

    fn succeed(&mut self, task: usize, ctx: &mut Context<Self>) {
        let of = &self.tasks[task];
        let event = Event::Poem {
            task,
            bytes: of.known.len(),
            sha256: of.known.hash(),
            attempts: of.attempts,
            elapsed: of.elapsed(),
        };
        self.poems += 1;
        self.settle(task, event, ctx);
    }

    /// One less to wait for.
    fn settle(&mut self, task: usize, event: Event, ctx: &mut Context<Self>) {
        self.tasks[task].state = TaskState::Settled;
        self.unsettled -= 1;
        self.tell(event, ctx);
        let client = whereis_actor::<Client>(&self.client);
        if let Some(client) = client.filter(|_| self.tasks[task].started_at.is_some()) {
            client.do_send(Settled);
        }
        if self.unsettled == 0 {
            self.tell_done(ctx);
        }
    }

    fn tell_done(&mut self, ctx: &mut Context<Self>) {
        let failed = self.tasks.len() - self.poems;
        self.tell(
            Event::Done {
                poems: self.poems,
                failed,
            },
            ctx,
        );
    }

    /// Calls everything off that is not settled.
    fn cancel(&mut self, ctx: &mut Context<Self>) {
        self.is_cancelled = true;
        if let Some(client) = whereis_actor::<Client>(&self.client) {
            client.do_send(CallOff);
        }
        for task in 0..self.tasks.len() {
            match self.tasks[task].state {
                TaskState::Settled => {}
                TaskState::Waiting | TaskState::Due => self.fail(task, cancelled(), ctx),
                // Its `Down` settles it, when its socket is closed.
                TaskState::Running { pid, .. } => exit(pid, ExitReason::shutdown(cancelled())),
            }
        }
    }

    /// The task of an attempt that is under way.
    fn running(&mut self, task: usize, pid: Pid) -> Option<&mut Task> {
        let task = self.tasks.get_mut(task)?;
        matches!(task.state, TaskState::Running { pid: known, .. } if known == pid).then_some(task)
    }
}

impl Task {
    fn elapsed(&self) -> Duration {
        self.started_at.map_or(Duration::ZERO, |at| at.elapsed())
    }
}

fn cancelled() -> DownloadError {
    DownloadError::for_good(FailureKind::Cancelled, "cancelled")
}

impl Actor for Coordinator {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        if self.unsettled == 0 {
            self.tell_done(ctx);
        }
    }
}

/// The client starts a task's download.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Begin {
    pub(crate) task: usize,
}

impl Handler<Begin> for Coordinator {
    type Result = ();

    fn handle(&mut self, Begin { task }: Begin, ctx: &mut Context<Self>) {
        if self.tasks[task].state != TaskState::Waiting {
            return;
        }
        let now = Instant::now();
        self.tasks[task].started_at = Some(now);
        self.tasks[task].deadline = self.max_time.map(|limit| now + limit);
        self.tell(Event::Started { task }, ctx);
        self.expect_attempt(task, Duration::ZERO, ctx);
    }
}

/// An attempt begins: the first act of every [`Download`](crate::Download). `None` tells it to go away again.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Option<Resume>")]
pub(crate) struct Attempt {
    pub(crate) task: usize,
    pub(crate) pid: Pid,
}

/// What an attempt has to know of those before it.
#[derive(Debug)]
pub(crate) struct Resume {
    pub(crate) known: Prefix,
    pub(crate) deadline: Option<Instant>,
    pub(crate) credit: Arc<Semaphore>,
}

impl Handler<Attempt> for Coordinator {
    type Result = MessageResult<Attempt>;

    fn handle(&mut self, Attempt { task, pid }: Attempt, ctx: &mut Context<Self>) -> Self::Result {
        if self.tasks[task].state != TaskState::Due {
            return MessageResult(None);
        }
        self.monitored.insert(ctx.monitor(pid), task);
        let task = &mut self.tasks[task];
        task.attempts += 1;
        task.state = TaskState::Running {
            pid,
            has_all: false,
        };
        MessageResult(Some(Resume {
            known: task.known.clone(),
            deadline: task.deadline,
            credit: Arc::clone(&task.credit),
        }))
    }
}

/// An attempt reached a server.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Connected {
    pub(crate) task: usize,
    pub(crate) pid: Pid,
    pub(crate) peer_addr: Address,
}

impl Handler<Connected> for Coordinator {
    type Result = ();

    fn handle(&mut self, connected: Connected, ctx: &mut Context<Self>) {
        let Some(running) = self.running(connected.task, connected.pid) else {
            return;
        };
        let attempt = running.attempts;
        self.tell(
            Event::Connected {
                task: connected.task,
                peer_addr: connected.peer_addr,
                attempt,
            },
            ctx,
        );
    }
}

/// An attempt heard bytes that nobody had heard before.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Heard {
    pub(crate) task: usize,
    pub(crate) pid: Pid,
    pub(crate) bytes: Bytes,
    /// Everything up to and with these bytes.
    pub(crate) read: Prefix,
    pub(crate) credit: OwnedSemaphorePermit,
}

impl Handler<Heard> for Coordinator {
    type Result = ();

    fn handle(&mut self, heard: Heard, ctx: &mut Context<Self>) {
        let Some(running) = self.running(heard.task, heard.pid) else {
            return;
        };
        running.known = heard.read;
        let chunk = Chunk {
            task: heard.task,
            bytes: heard.bytes,
            _credit: Some(heard.credit),
        };
        self.tell(Event::Chunk(chunk), ctx);
    }
}

/// An attempt heard the poem to its end.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct HeardAll {
    pub(crate) task: usize,
    pub(crate) pid: Pid,
}

impl Handler<HeardAll> for Coordinator {
    type Result = ();

    fn handle(&mut self, HeardAll { task, pid }: HeardAll, _: &mut Context<Self>) {
        if let Some(running) = self.running(task, pid)
            && let TaskState::Running { has_all, .. } = &mut running.state
        {
            *has_all = true;
        }
    }
}

impl Handler<Down> for Coordinator {
    type Result = ();

    fn handle(&mut self, down: Down, ctx: &mut Context<Self>) {
        let Some(task) = self.monitored.remove(&down.monitor) else {
            return;
        };
        let TaskState::Running { has_all, .. } = self.tasks[task].state else {
            return;
        };
        let attempts = self.tasks[task].attempts;
        let attempts_left = self.retries.count.saturating_sub(attempts - 1);
        match what_next(&down.reason, has_all, attempts_left) {
            Next::Poem => self.succeed(task, ctx),
            Next::Fail(_) if self.is_cancelled => self.fail(task, cancelled(), ctx),
            Next::Fail(error) => self.fail(task, error, ctx),
            Next::Retry(_) if self.is_cancelled => self.fail(task, cancelled(), ctx),
            Next::Retry(error) => {
                let after = self.retries.backoff().delay(attempts, 0.5);
                self.tell(
                    Event::Retry {
                        task,
                        kind: error.kind,
                        message: error.message,
                        after,
                        attempts,
                    },
                    ctx,
                );
                self.expect_attempt(task, after, ctx);
            }
        }
    }
}

/// Calls off everything that is not settled; its sockets are closed.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Cancel;

impl Handler<Cancel> for Coordinator {
    type Result = ();

    fn handle(&mut self, _: Cancel, ctx: &mut Context<Self>) {
        self.cancel(ctx);
    }
}

/// Asks for the downloads that are under way: task and process.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<(usize, Pid)>")]
pub struct WhichDownloads;

impl Handler<WhichDownloads> for Coordinator {
    type Result = MessageResult<WhichDownloads>;

    fn handle(&mut self, _: WhichDownloads, _: &mut Context<Self>) -> Self::Result {
        let pid = |task: &Task| match task.state {
            TaskState::Running { pid, .. } => Some(pid),
            _ => None,
        };
        let running = self.tasks.iter().enumerate();
        MessageResult(
            running
                .filter_map(|(at, task)| Some((at, pid(task)?)))
                .collect(),
        )
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Poem,
    Retry(DownloadError),
    Fail(DownloadError),
}

/// What the end of an attempt means. The supervisor decides by the same rule, transient: it restarts after an abnormal
/// end, as often as there are retries.
fn what_next(reason: &ExitReason, has_all: bool, attempts_left: u32) -> Next {
    let error = match reason {
        ExitReason::Normal if has_all => return Next::Poem,
        ExitReason::Shutdown(Some(term)) | ExitReason::Error(term) => term
            .downcast_ref::<DownloadError>()
            .cloned()
            .unwrap_or_else(|| DownloadError::passing(FailureKind::Io, term.to_string())),
        ExitReason::Normal | ExitReason::Shutdown(None) => cancelled(),
        ExitReason::Killed => {
            DownloadError::passing(FailureKind::Cancelled, "the download was killed")
        }
        crash => DownloadError::passing(FailureKind::Io, format!("the download crashed: {crash}")),
    };
    if reason.is_normal() || attempts_left == 0 {
        Next::Fail(error)
    } else {
        Next::Retry(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> DownloadError {
        DownloadError::passing(FailureKind::Refused, "connection refused")
    }

    fn changed() -> DownloadError {
        DownloadError::for_good(FailureKind::Changed, "the poem changed")
    }

    #[test]
    fn an_abnormal_end_is_retried_while_attempts_are_left() {
        let reason = ExitReason::error(refused());
        assert_eq!(what_next(&reason, false, 1), Next::Retry(refused()));
        assert_eq!(what_next(&reason, false, 0), Next::Fail(refused()));
        assert!(matches!(
            what_next(&ExitReason::Killed, true, 1),
            Next::Retry(_)
        ));
    }

    #[test]
    fn a_shutdown_is_for_good_however_many_attempts_are_left() {
        let reason = ExitReason::shutdown(changed());
        assert_eq!(what_next(&reason, false, 9), Next::Fail(changed()));
        assert_eq!(
            what_next(&ExitReason::SHUTDOWN, false, 9),
            Next::Fail(cancelled())
        );
    }

    #[test]
    fn only_a_normal_end_after_the_last_line_is_a_poem() {
        assert_eq!(what_next(&ExitReason::Normal, true, 9), Next::Poem);
        assert_eq!(
            what_next(&ExitReason::Normal, false, 9),
            Next::Fail(cancelled())
        );
    }
}
