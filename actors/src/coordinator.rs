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

mod attempt;
mod event;
mod telling;

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Handler, Message, MessageResult, SpawnHandle};
use byron_supervisors::{Context, ExitReason, MonitorRef, Name, Pid, exit, whereis_actor};
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub(crate) use self::attempt::{Attempt, Connected, Heard, HeardAll, NotStarted};
pub use self::event::{Chunk, Event};
pub use self::telling::{Events, Teller, telling};
use crate::client::{CallOff, Client, Retries, Settled};
use crate::download::{DownloadError, FailureKind, credit};
use crate::wire::Prefix;

/// How long an attempt may be overdue before its task is given up.
pub const ATTEMPT_OVERDUE: Duration = Duration::from_secs(30);

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
    /// An attempt is to report, by then at the latest.
    Due {
        until: Instant,
    },
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
    /// When it looks for attempts that are overdue, if any is due.
    look: Option<(Instant, SpawnHandle)>,
    unsettled: usize,
    poems: usize,
    retries: Retries,
    max_time: Option<Duration>,
    fail_fast: bool,
    is_cancelled: bool,
    client: Name,
    teller: Teller,
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
    pub(crate) fn new(gathering: Gathering, teller: Teller) -> Self {
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
            look: None,
            unsettled: gathering.tasks,
            poems: 0,
            retries: gathering.retries,
            max_time: gathering.max_time,
            fail_fast: gathering.fail_fast,
            is_cancelled: false,
            client: gathering.client,
            teller,
        }
    }

    /// Tells what happened; if nobody listens any more, nothing else is worth doing.
    fn tell(&mut self, event: Event, ctx: &mut Context<Self>) {
        if self.teller.tell(event).is_err() {
            ctx.exit(ExitReason::shutdown("nobody takes the poems any more"));
        }
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
                TaskState::Waiting | TaskState::Due { .. } => self.fail(task, cancelled(), ctx),
                // Its `Down` settles it, when its socket is closed.
                TaskState::Running { pid, .. } => exit(pid, ExitReason::shutdown(cancelled())),
            }
        }
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

/// The client starts the downloads of these tasks.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub(crate) struct Begin {
    pub(crate) tasks: Range<usize>,
}

impl Handler<Begin> for Coordinator {
    type Result = ();

    fn handle(&mut self, Begin { tasks }: Begin, ctx: &mut Context<Self>) {
        let now = Instant::now();
        for task in tasks {
            let begun = &mut self.tasks[task];
            if begun.state != TaskState::Waiting {
                continue;
            }
            begun.started_at = Some(now);
            begun.deadline = self.max_time.map(|limit| now + limit);
            self.tell(Event::Started { task }, ctx);
            self.expect_attempt(task, Duration::ZERO, ctx);
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
