//! [`Editor`]: has every poem of a client transformed before anybody sees it.
//!
//! Started in the client's tree if its poems go through transforms, between the coordinator, whose events it takes, and
//! whoever takes the events. A poem is gathered whole, and then goes through the transforms in order, each made by a
//! [`Rewriting`](crate::Rewriting) of its own. What becomes of it follows the tutorial's clients 5 to 8: gibberish is a failed
//! poem; any other failure leaves the poem as it was, and is told ([`OnTransformError::Keep`]), or fails it as well. Events keep
//! their order within a task, and `Done` is the last one, with the poems that were lost here counted.
//!
//! Never opens a socket and never restarts anything: a failed attempt is made again by the rewritings' supervisor.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Handler, Message, MessageResult, StreamHandler};
use byron_supervisors::{
    Context, Down, DynamicSupervisor, ExitReason, MonitorRef, Name, Pid, StartDynamicChild, exit,
    whereis_actor,
};
use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::client::Retries;
use crate::coordinator::{self, ATTEMPT_OVERDUE, Chunk, Coordinator, Event};
use crate::download::{FailureKind, out_of_time};
use crate::rewriting::{Revision, Rewriting, RewritingError, TransformStep};
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
    from: Option<mpsc::UnboundedReceiver<Event>>,
    to: mpsc::UnboundedSender<Event>,
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
    pub(crate) fn new(
        assignment: Assignment,
        from: mpsc::UnboundedReceiver<Event>,
        to: mpsc::UnboundedSender<Event>,
    ) -> Self {
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
        if self.to.send(event).is_err() {
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

    fn start_some(&mut self, ctx: &mut Context<Self>) {
        while self.at_work < REWRITINGS_MAX {
            let Some(task) = self.waiting.pop_front() else {
                return;
            };
            if self.manuscripts[task].stage != Stage::Due {
                continue;
            }
            let Some(rewritings) = whereis_actor::<DynamicSupervisor>(&self.assignment.rewritings)
            else {
                // Started before this one, and restarted by nobody.
                return ctx.exit(ExitReason::NoProc);
            };
            self.at_work += 1;
            let revision = Arc::new(Revision {
                task,
                step: self.assignment.edition.steps[self.manuscripts[task].step].clone(),
                limit: self.assignment.edition.timeout,
                connect_timeout: self.assignment.connect_timeout,
                editor: self.assignment.editor.clone(),
            });
            rewritings.do_send(StartDynamicChild::new(move |_| {
                Rewriting::new(Arc::clone(&revision))
            }));
            self.expect_attempt(task, Duration::ZERO, ctx);
        }
    }

    /// The next attempt is due now, or after its backoff. If it does not report, the poem must not wait for ever.
    fn expect_attempt(&mut self, task: usize, after: Duration, ctx: &mut Context<Self>) {
        let manuscript = &mut self.manuscripts[task];
        manuscript.stage = Stage::Due;
        let (step, attempts) = (manuscript.step, manuscript.attempts);
        ctx.run_later(after + ATTEMPT_OVERDUE, move |editor, ctx| {
            let now = &editor.manuscripts[task];
            if (now.stage, now.step, now.attempts) == (Stage::Due, step, attempts) {
                editor.fall_short(task, "the transform was not tried again".to_owned(), ctx);
            }
        });
    }

    /// A transform has failed for good, but the poem is one.
    fn fall_short(&mut self, task: usize, message: String, ctx: &mut Context<Self>) {
        let step = self.manuscripts[task].step;
        self.at_work = self.at_work.saturating_sub(1);
        match self.assignment.edition.on_error {
            OnTransformError::Keep => {
                self.tell_step(task, step, Err(message), ctx);
                self.manuscripts[task].step += 1;
                self.go_on(task, ctx);
            }
            OnTransformError::Fail => {
                let label = &self.assignment.edition.steps[step].label;
                let message = format!("{label}: {message}");
                self.lose(task, FailureKind::Transform, message, ctx);
                self.start_some(ctx);
            }
        }
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

/// An attempt begins: the first act of every [`Rewriting`]. `None` tells it to go away again.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Option<Bytes>")]
pub(crate) struct TakeUp {
    pub(crate) task: usize,
    pub(crate) pid: Pid,
}

impl Handler<TakeUp> for Editor {
    type Result = MessageResult<TakeUp>;

    fn handle(&mut self, TakeUp { task, pid }: TakeUp, ctx: &mut Context<Self>) -> Self::Result {
        if self.manuscripts[task].stage != Stage::Due {
            return MessageResult(None);
        }
        self.monitored.insert(ctx.monitor(pid), task);
        let manuscript = &mut self.manuscripts[task];
        manuscript.attempts += 1;
        manuscript.stage = Stage::Running {
            pid,
            is_rewritten: false,
        };
        MessageResult(Some(manuscript.copy.clone()))
    }
}

/// An attempt has the answer; its orderly end will say that it is all.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Rewritten {
    pub(crate) task: usize,
    pub(crate) pid: Pid,
    pub(crate) text: Bytes,
}

impl Handler<Rewritten> for Editor {
    type Result = ();

    fn handle(&mut self, rewritten: Rewritten, _: &mut Context<Self>) {
        let manuscript = &mut self.manuscripts[rewritten.task];
        if let Stage::Running { pid, is_rewritten } = &mut manuscript.stage
            && *pid == rewritten.pid
        {
            *is_rewritten = true;
            manuscript.copy = rewritten.text;
        }
    }
}

impl Handler<Down> for Editor {
    type Result = ();

    fn handle(&mut self, down: Down, ctx: &mut Context<Self>) {
        let Some(task) = self.monitored.remove(&down.monitor) else {
            return;
        };
        let Stage::Running { pid, is_rewritten } = self.manuscripts[task].stage else {
            return;
        };
        if down.pid != Some(pid) {
            return;
        }
        let attempts = self.manuscripts[task].attempts;
        let attempts_left = self.assignment.retries.count.saturating_sub(attempts - 1);
        match what_next(&down.reason, is_rewritten, attempts_left) {
            _ if self.is_cancelled => {
                self.at_work = self.at_work.saturating_sub(1);
                self.lose_cancelled(task, ctx);
            }
            Next::GoOn => {
                self.at_work = self.at_work.saturating_sub(1);
                let step = self.manuscripts[task].step;
                self.tell_step(task, step, Ok(()), ctx);
                self.manuscripts[task].step += 1;
                self.go_on(task, ctx);
            }
            Next::Retry => {
                let after = self.assignment.retries.backoff().delay(attempts, 0.5);
                self.expect_attempt(task, after, ctx);
            }
            Next::Gibberish(message) => {
                self.at_work = self.at_work.saturating_sub(1);
                let label = &self.assignment.edition.steps[self.manuscripts[task].step].label;
                let message = format!("{label}: {message}");
                self.lose(task, FailureKind::Transform, message, ctx);
                self.start_some(ctx);
            }
            Next::FallShort(message) => self.fall_short(task, message, ctx),
        }
    }
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

#[derive(Debug, PartialEq, Eq)]
enum Next {
    GoOn,
    Retry,
    Gibberish(String),
    FallShort(String),
}

/// What the end of an attempt means. The supervisor decides by the same rule, transient: it restarts after an abnormal end,
/// as often as there are retries.
fn what_next(reason: &ExitReason, is_rewritten: bool, attempts_left: u32) -> Next {
    let error = match reason {
        ExitReason::Normal if is_rewritten => return Next::GoOn,
        ExitReason::Shutdown(Some(term)) | ExitReason::Error(term) => {
            term.downcast_ref::<RewritingError>().cloned()
        }
        _ => None,
    };
    if !reason.is_normal() && attempts_left > 0 {
        return Next::Retry;
    }
    match error {
        Some(error) if error.is_gibberish => Next::Gibberish(error.message),
        Some(error) => Next::FallShort(error.message),
        None if reason.is_normal() => Next::FallShort("the transform was called off".to_owned()),
        None => Next::FallShort(format!("the transform crashed: {reason}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(is_gibberish: bool) -> RewritingError {
        RewritingError {
            message: "why".to_owned(),
            is_gibberish,
        }
    }

    #[test]
    fn gibberish_is_for_good_and_any_other_failure_is_tried_again() {
        let gibberish = ExitReason::shutdown(error(true));
        let refused = ExitReason::error(error(false));
        assert_eq!(
            what_next(&gibberish, false, 9),
            Next::Gibberish("why".into())
        );
        assert_eq!(what_next(&refused, false, 1), Next::Retry);
        assert_eq!(what_next(&refused, false, 0), Next::FallShort("why".into()));
        assert_eq!(what_next(&ExitReason::Killed, true, 1), Next::Retry);
        assert_eq!(
            what_next(&ExitReason::Killed, true, 0),
            Next::FallShort("the transform crashed: killed".into())
        );
    }

    #[test]
    fn only_an_orderly_end_after_the_answer_goes_on() {
        assert_eq!(what_next(&ExitReason::Normal, true, 0), Next::GoOn);
        assert!(matches!(
            what_next(&ExitReason::Normal, false, 9),
            Next::FallShort(_)
        ));
        assert!(matches!(
            what_next(&ExitReason::SHUTDOWN, true, 9),
            Next::FallShort(_)
        ));
    }
}
