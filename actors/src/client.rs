//! [`Client`]: asks a set of servers, with one download each.
//!
//! Started last in the client's tree. Gives each target to a download under the downloads' supervisor, as many at a time
//! as `jobs` allows: all of them by default, or one after another like the tutorial's blocking client. Talks to the
//! coordinator, which says when a task is settled. Never opens a socket, and never sees a byte of poetry.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::{Actor, AsyncContext, Handler, Message};
use byron_supervisors::{
    Backoff, Context, DynamicSupervisor, ExitReason, Name, StartDynamicChild, whereis_actor,
};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::connect::Whereabouts;
use crate::coordinator::{Begin, Coordinator, NotStarted};
use crate::download::{Download, Errand, Expectation, Patience};
use crate::editor::Edition;
use crate::poem::Title;
use crate::wire::Frame;

/// How often a failed download is tried again, if nothing else is said.
pub const RETRIES: u32 = 2;

/// The first pause before another attempt; each is twice the one before.
pub const RETRY_DELAY: Duration = Duration::from_millis(200);

/// The longest of those pauses.
pub const RETRY_DELAY_MAX: Duration = Duration::from_secs(10);

/// Longer than any download: an attempt that ran long and failed is still the next attempt's predecessor.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// One poem that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// What people call it.
    pub label: String,
    /// Where it is.
    pub whereabouts: Whereabouts,
    /// What is asked for there, if it is one poem of a library; its frame is a netstring.
    pub title: Option<Title>,
    /// How its end is known.
    pub frame: Frame,
    /// Its own limit for connecting.
    pub connect_timeout: Option<Duration>,
    /// What makes it whole.
    pub expectation: Expectation,
}

impl Target {
    /// A target that is expected to be any poem but an empty one.
    pub fn new(label: impl Into<String>, whereabouts: Whereabouts) -> Self {
        Self {
            label: label.into(),
            whereabouts,
            title: None,
            frame: Frame::Eof,
            connect_timeout: None,
            expectation: Expectation::default(),
        }
    }
}

/// How often and how soon a failed download is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// How often.
    pub count: u32,
    /// How soon, the first time.
    pub delay: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            count: RETRIES,
            delay: RETRY_DELAY,
        }
    }
}

impl Retries {
    /// The same for the supervisor that does it.
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff {
            reset_after: NEVER,
            max_failures: Some(self.count),
            ..Backoff::new(self.delay, RETRY_DELAY_MAX.max(self.delay))
        }
    }
}

/// What a client is to fetch, and how.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The poems, in the order asked.
    pub targets: Vec<Target>,
    /// How many at a time; all of them if not said. One is the tutorial's blocking client.
    pub jobs: Option<NonZeroUsize>,
    /// Whether the first failure calls off the rest.
    pub fail_fast: bool,
    /// How long to wait for what.
    pub patience: Patience,
    /// How often to try again.
    pub retries: Retries,
    /// What the poems go through before anybody sees them.
    pub edition: Edition,
}

impl ClientConfig {
    /// All at a time, with the default limits.
    pub fn new(targets: Vec<Target>) -> Self {
        Self {
            targets,
            jobs: None,
            fail_fast: false,
            patience: Patience::default(),
            retries: Retries::default(),
            edition: Edition::default(),
        }
    }
}

/// The names of a client's siblings.
#[derive(Debug, Clone)]
pub(crate) struct Siblings {
    pub(crate) coordinator: Name,
    pub(crate) downloads: Name,
}

/// Asks a set of servers.
#[derive(Debug)]
pub struct Client {
    waiting: VecDeque<Arc<Errand>>,
    jobs: usize,
    running: usize,
    siblings: Siblings,
}

impl Client {
    pub(crate) fn new(config: &ClientConfig, siblings: Siblings) -> Self {
        let errand = |(task, target): (usize, &Target)| {
            let mut patience = config.patience;
            patience.connect_timeout = target.connect_timeout.unwrap_or(patience.connect_timeout);
            Arc::new(Errand {
                task,
                whereabouts: target.whereabouts.clone(),
                title: target.title.clone(),
                frame: match target.title {
                    Some(_) => Frame::Netstring,
                    None => target.frame,
                },
                patience,
                expectation: target.expectation,
                coordinator: siblings.coordinator.clone(),
            })
        };
        Self {
            waiting: config.targets.iter().enumerate().map(errand).collect(),
            jobs: config.jobs.map_or(usize::MAX, NonZeroUsize::get),
            running: 0,
            siblings,
        }
    }

    /// Starts as many downloads as may run.
    fn start_some(&mut self, ctx: &mut Context<Self>) {
        let coordinator = whereis_actor::<Coordinator>(&self.siblings.coordinator);
        let downloads = whereis_actor::<DynamicSupervisor>(&self.siblings.downloads);
        let (Some(coordinator), Some(downloads)) = (coordinator, downloads) else {
            // Started before this one, and restarted by nobody.
            return ctx.exit(ExitReason::NoProc);
        };
        let count = self.waiting.len().min(self.jobs - self.running);
        let Some(first) = self.waiting.front().filter(|_| count > 0) else {
            return;
        };
        self.running += count;
        // In one message, or the first downloads to start would wait until the last has been told of.
        let tasks = first.task..first.task + count;
        coordinator.do_send(Begin { tasks });
        let start = |errand: Arc<Errand>| {
            let task = errand.task;
            let start = StartDynamicChild::new(move |_| Download::new(Arc::clone(&errand)));
            let answer = downloads.send(start);
            async move { (task, answer.await) }
        };
        let starts = self.waiting.drain(..count).map(start);
        let mut starts: FuturesUnordered<_> = starts.collect();
        // One that started reports itself, and one that does not start is started again, but the first time.
        ctx.spawn(wrap_future(async move {
            while let Some((task, answer)) = starts.next().await {
                if let Ok(Err(error)) = answer {
                    coordinator.do_send(NotStarted { task, error });
                }
            }
        }));
    }
}

impl Actor for Client {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.start_some(ctx);
    }
}

/// A task is settled: another may start. The coordinator says so.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Settled;

impl Handler<Settled> for Client {
    type Result = ();

    fn handle(&mut self, _: Settled, ctx: &mut Context<Self>) {
        self.running = self.running.saturating_sub(1);
        self.start_some(ctx);
    }
}

/// Nothing else is to be started. The coordinator says so.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct CallOff;

impl Handler<CallOff> for Client {
    type Result = ();

    fn handle(&mut self, _: CallOff, _: &mut Context<Self>) {
        self.waiting.clear();
    }
}
