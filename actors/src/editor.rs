//! [`Editor`]: has every poem of a client transformed before anybody sees it.
//!
//! Started in the client's tree if its poems go through transforms, between the coordinator, whose events it takes, and
//! whoever takes the events. A poem is gathered whole, and then goes through the transforms in order, each made by a
//! [`Rewriting`](crate::Rewriting) of its own. What becomes of it follows the tutorial's clients 5 to 8: gibberish is a failed
//! poem; any other failure leaves the poem as it was, and is told ([`OnTransformError::Keep`]), or fails it as well. Events keep
//! their order within a task, and `Done` is the last one, with the poems that were lost here counted.
//!
//! Never opens a socket and never restarts anything: a failed attempt is made again by the rewritings' supervisor.

mod attempt;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use actix::{Actor, AsyncContext, Handler, Message, SpawnHandle, StreamHandler};
use byron_supervisors::{Context, ExitReason, MonitorRef, Name, Pid, exit, whereis_actor};
use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

pub(crate) use self::attempt::{Rewritten, TakeUp};
use crate::client::Retries;
use crate::coordinator::{self, Chunk, Coordinator, Event, Events, Teller};
use crate::download::{FailureKind, out_of_time};
use crate::rewriting::TransformStep;
use crate::wire::Prefix;

/// The longest poem that is transformed: it has to be in memory as a whole.
pub const TRANSFORMED_BYTES_MAX: usize = 16 << 20;

/// How many poems are transformed at once; the others wait.
pub const REWRITINGS_MAX: usize = 16;

/// What becomes of a poem that a transform fails on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnTransformError {
    /// It stays as it was, and goes through the other transforms.
    #[default]
    Keep,
    /// It is lost.
    Fail,
}

/// How the poems of a client are transformed.
#[derive(Debug, Clone)]
pub struct Edition {
    /// The transforms, in order; none leaves the poems as they come.
    pub steps: Vec<TransformStep>,
    /// What a failure means.
    pub on_error: OnTransformError,
    /// How long one attempt may take.
    pub timeout: Duration,
}

impl Default for Edition {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            on_error: OnTransformError::default(),
            timeout: crate::rewriting::REWRITING_TIMEOUT,
        }
    }
}

/// What an editor has to know of its client.
#[derive(Debug, Clone)]
pub(crate) struct Assignment {
    pub(crate) tasks: usize,
    pub(crate) edition: Edition,
    pub(crate) retries: Retries,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_time: Option<Duration>,
    pub(crate) fail_fast: bool,
    pub(crate) editor: Name,
    pub(crate) coordinator: Name,
    pub(crate) rewritings: Name,
}

/// Has every poem of a client transformed before anybody sees it.
pub struct Editor {
    assignment: Assignment,
    manuscripts: Vec<Manuscript>,
    /// The tasks whose rewritings are under way.
    monitored: HashMap<MonitorRef, usize>,
    /// Gathered, and not begun.
    waiting: VecDeque<usize>,
    at_work: usize,
    /// How many poems the coordinator has, once it has said so.
    gathered: Option<usize>,
    lost: usize,
    is_cancelled: bool,
    /// What the coordinator tells; taken when the editor starts.
    from: Option<Events>,
    to: Teller,
}

impl fmt::Debug for Editor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Editor")
            .field("tasks", &self.assignment.tasks)
            .field("waiting", &self.waiting.len())
            .field("at_work", &self.at_work)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Manuscript {
    text: BytesMut,
    /// What the transforms have made of it so far.
    copy: Bytes,
    stage: Stage,
    /// The transform that is next.
    step: usize,
    /// How often this step was attempted.
    attempts: u32,
    /// Gives the next attempt up, unless it reports before.
    overdue: Option<SpawnHandle>,
    downloads: u32,
    /// How many bytes came.
    bytes: u64,
    started_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Stage {
    /// Its bytes come.
    #[default]
    Gathering,
    /// Too long to be transformed: it passes as it comes.
    Passing,
    /// It waits for its turn, or for an attempt to report.
    Due,
    /// An attempt is under way; it may have answered.
    Running {
        pid: Pid,
        is_rewritten: bool,
    },
    Settled,
}

impl Editor {
    pub(crate) fn new(assignment: Assignment, from: Events, to: Teller) -> Self {
        let manuscripts = (0..assignment.tasks).map(|_| Manuscript::default());
        Self {
            manuscripts: manuscripts.collect(),
            assignment,
            monitored: HashMap::new(),
            waiting: VecDeque::new(),
            at_work: 0,
            gathered: None,
            lost: 0,
            is_cancelled: false,
            from: Some(from),
            to,
        }
    }

    fn tell(&mut self, event: Event, ctx: &mut Context<Self>) {
        if self.to.tell(event).is_err() {
            ctx.exit(ExitReason::shutdown("nobody takes the poems any more"));
        }
    }

    /// The next bytes of a poem: kept, unless there are too many of them.
    fn gather(&mut self, chunk: Chunk, ctx: &mut Context<Self>) {
        let task = chunk.task;
        let manuscript = &mut self.manuscripts[task];
        if manuscript.stage == Stage::Passing {
            return self.tell(Event::Chunk(chunk), ctx);
        }
        manuscript.text.extend_from_slice(&chunk.bytes);
        let bytes = chunk.bytes.len() as u64;
        drop(chunk);
        self.tell(Event::Held { task, bytes }, ctx);
        // With `Fail` the download itself ends before.
        if self.manuscripts[task].text.len() > TRANSFORMED_BYTES_MAX {
            self.manuscripts[task].stage = Stage::Passing;
            let message = format!("the poem is longer than {TRANSFORMED_BYTES_MAX} bytes");
            for step in 0..self.assignment.edition.steps.len() {
                self.tell_step(task, step, Err(message.clone()), ctx);
            }
            let text = std::mem::take(&mut self.manuscripts[task].text).freeze();
            self.tell(Event::Chunk(Chunk::without_credit(task, text)), ctx);
        }
    }

    fn tell_step(
        &mut self,
        task: usize,
        step: usize,
        outcome: Result<(), String>,
        ctx: &mut Context<Self>,
    ) {
        let transform = self.assignment.edition.steps[step].label.clone();
        self.tell(
            Event::Transformed {
                task,
                transform,
                outcome,
            },
            ctx,
        );
    }

    /// The next transform of a poem, or the poem.
    fn go_on(&mut self, task: usize, ctx: &mut Context<Self>) {
        let manuscript = &mut self.manuscripts[task];
        manuscript.attempts = 0;
        if manuscript.step < self.assignment.edition.steps.len() {
            manuscript.stage = Stage::Due;
            self.waiting.push_back(task);
        } else {
            self.publish(task, ctx);
        }
        self.start_some(ctx);
    }

    /// Tells the poem.
    fn publish(&mut self, task: usize, ctx: &mut Context<Self>) {
        let manuscript = &mut self.manuscripts[task];
        manuscript.stage = Stage::Settled;
        let text = std::mem::take(&mut manuscript.copy);
        let (attempts, elapsed) = (manuscript.downloads, manuscript.elapsed());
        let mut whole = Prefix::default();
        whole.extend(&text);
        if !text.is_empty() {
            self.tell(Event::Chunk(Chunk::without_credit(task, text)), ctx);
        }
        let poem = Event::Poem {
            task,
            bytes: whole.len(),
            sha256: whole.hash(),
            attempts,
            elapsed,
        };
        self.tell(poem, ctx);
        self.tell_if_done(ctx);
    }

    /// A poem that was gathered is lost all the same.
    fn lose(&mut self, task: usize, kind: FailureKind, message: String, ctx: &mut Context<Self>) {
        let manuscript = &mut self.manuscripts[task];
        manuscript.stage = Stage::Settled;
        manuscript.copy = Bytes::new();
        let failed = Event::Failed {
            task,
            kind,
            message,
            attempts: manuscript.downloads,
            bytes: manuscript.bytes,
            elapsed: manuscript.elapsed(),
        };
        self.lost += 1;
        self.tell(failed, ctx);
        if self.assignment.fail_fast {
            self.cancel(ctx);
        }
        self.tell_if_done(ctx);
    }

    fn tell_if_done(&mut self, ctx: &mut Context<Self>) {
        let is_open = |manuscript: &Manuscript| manuscript.stage != Stage::Settled;
        if let Some(gathered) = self.gathered
            && !self.manuscripts.iter().any(is_open)
        {
            self.gathered = None;
            let done = Event::Done {
                poems: gathered - self.lost,
                failed: self.assignment.tasks - gathered + self.lost,
            };
            self.tell(done, ctx);
        }
    }

    /// Calls everything off that is not settled: what is still gathered by the coordinator, the rest here.
    fn cancel(&mut self, ctx: &mut Context<Self>) {
        if std::mem::replace(&mut self.is_cancelled, true) {
            return;
        }
        if let Some(coordinator) = whereis_actor::<Coordinator>(&self.assignment.coordinator) {
            coordinator.do_send(coordinator::Cancel);
        }
        self.waiting.clear();
        for task in 0..self.manuscripts.len() {
            match self.manuscripts[task].stage {
                Stage::Gathering | Stage::Passing | Stage::Settled => {}
                Stage::Due => self.lose_cancelled(task, ctx),
                // Its `Down` settles it, when its socket is closed.
                Stage::Running { pid, .. } => exit(pid, ExitReason::SHUTDOWN),
            }
        }
    }

    fn lose_cancelled(&mut self, task: usize, ctx: &mut Context<Self>) {
        self.lose(task, FailureKind::Cancelled, "cancelled".to_owned(), ctx);
    }

    /// The poem is to be transformed within what is left of its time.
    fn watch_the_time(&mut self, task: usize, ctx: &mut Context<Self>) {
        let Some(limit) = self.assignment.max_time else {
            return;
        };
        let left = limit.saturating_sub(self.manuscripts[task].elapsed());
        ctx.run_later(left, move |editor, ctx| {
            let late = out_of_time(limit);
            match editor.manuscripts[task].stage {
                Stage::Running { pid, .. } => {
                    editor.at_work = editor.at_work.saturating_sub(1);
                    editor.lose(task, late.kind, late.message, ctx);
                    exit(pid, ExitReason::SHUTDOWN);
                    editor.start_some(ctx);
                }
                Stage::Due => {
                    // It may have been started and be between two attempts; then its place is free.
                    if let Some(at) = editor.waiting.iter().position(|waiting| *waiting == task) {
                        editor.waiting.remove(at);
                    } else {
                        editor.at_work = editor.at_work.saturating_sub(1);
                    }
                    editor.lose(task, late.kind, late.message, ctx);
                    editor.start_some(ctx);
                }
                Stage::Gathering | Stage::Passing | Stage::Settled => {}
            }
        });
    }
}

impl Manuscript {
    fn elapsed(&self) -> Duration {
        self.started_at.map_or(Duration::ZERO, |at| at.elapsed())
    }
}

impl Actor for Editor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let Some(mut from) = self.from.take() else {
            return ctx.exit(ExitReason::NoProc);
        };
        ctx.add_stream(futures_util::stream::poll_fn(move |task| {
            from.poll_recv(task)
        }));
    }
}

impl StreamHandler<Event> for Editor {
    fn handle(&mut self, event: Event, ctx: &mut Context<Self>) {
        match event {
            Event::Chunk(chunk) => self.gather(chunk, ctx),
            Event::Poem {
                task,
                bytes,
                sha256,
                attempts,
                elapsed,
            } => {
                let manuscript = &mut self.manuscripts[task];
                if manuscript.stage == Stage::Passing {
                    manuscript.stage = Stage::Settled;
                    let poem = Event::Poem {
                        task,
                        bytes,
                        sha256,
                        attempts,
                        elapsed,
                    };
                    self.tell(poem, ctx);
                    return self.tell_if_done(ctx);
                }
                manuscript.copy = std::mem::take(&mut manuscript.text).freeze();
                manuscript.bytes = bytes;
                manuscript.downloads = attempts;
                if self.is_cancelled {
                    return self.lose_cancelled(task, ctx);
                }
                self.watch_the_time(task, ctx);
                self.go_on(task, ctx);
            }
            Event::Done { poems, .. } => {
                self.gathered = Some(poems);
                self.tell_if_done(ctx);
            }
            Event::Started { task } => {
                self.manuscripts[task].started_at = Some(Instant::now());
                self.tell(Event::Started { task }, ctx);
            }
            Event::Failed { task, .. } => {
                self.manuscripts[task].stage = Stage::Settled;
                self.manuscripts[task].text = BytesMut::new();
                self.tell(event, ctx);
                if self.assignment.fail_fast {
                    self.cancel(ctx);
                }
                self.tell_if_done(ctx);
            }
            other => self.tell(other, ctx),
        }
    }

    /// The coordinator has ended, and so will the client.
    fn finished(&mut self, _: &mut Context<Self>) {}
}

/// Calls off everything that is not settled.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct CallOffEdition;

impl Handler<CallOffEdition> for Editor {
    type Result = ();

    fn handle(&mut self, _: CallOffEdition, ctx: &mut Context<Self>) {
        self.cancel(ctx);
    }
}
