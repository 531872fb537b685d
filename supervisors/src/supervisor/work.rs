//! What a supervisor does, one thing after the other: the `handle_call`, `handle_info` and `handle_cast` of
//! `supervisor.erl` as one loop.
//!
//! The loop runs as a future in the supervisor's own process. Messages only add to its list of work or to what it
//! waits for; every turn of a process polls its futures after its messages, so a wait needs no waker of its own.

mod child;
mod operated;
mod restart;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{self, Instant, Sleep};

use self::operated::{Current, Operation};
use super::children::{Children, FailedToStartChild, Key};
use super::{ChildCounts, ChildError, ChildInfo, ChildSpecInfo, StartChildError};
use crate::child_spec::{ChildId, ChildSpec, ChildType, Restart, check_all};
use crate::event::{self, Draft, EventKind};
use crate::exit::{Down, ExitReason};
use crate::panics::drop_each;
use crate::pid::{self, Pid};
use crate::process::{Observer, Process, Started};
use crate::promise::Promise;
use crate::report::{self, Effect, ReportContext};
use crate::snapshot::ChildState;

/// Something to do.
pub(crate) enum Op {
    Down(Down),
    /// A failed child, whose last attempt failed as well (OTP's `try_again_restart`).
    TryAgain(Key),
    Start(
        Box<ChildSpec>,
        Promise<Result<Option<Pid>, StartChildError>>,
    ),
    Terminate(ChildId, Promise<Result<(), ChildError>>),
    Restart(ChildId, Promise<Result<Option<Pid>, ChildError>>),
    Delete(ChildId, Promise<Result<(), ChildError>>),
    Which(Promise<Vec<ChildInfo>>),
    Count(Promise<ChildCounts>),
    Spec(ChildId, Promise<Result<ChildSpecInfo, ChildError>>),
    Operate(Operation),
}

/// Whether the supervisor goes on.
enum Flow {
    GoOn,
    /// It ends, with this reason, after its children.
    End(ExitReason),
}

/// How long something is waited for.
#[derive(Clone, Copy)]
enum Limit {
    None,
    At(Instant),
    /// Counted from the second look on. What a neighbour on the same arbiter does in one turn, such as to start, is done by
    /// then: nearly all of these waits need neither the clock nor a timer.
    After(Duration),
}

impl Limit {
    fn after(limit: Option<Duration>) -> Self {
        limit.map_or(Self::None, Self::After)
    }

    fn sleep(self) -> Option<Sleep> {
        match self {
            Self::None => None,
            Self::At(deadline) => Some(time::sleep_until(deadline)),
            Self::After(limit) => Some(time::sleep(limit)),
        }
    }
}

/// The outcome of a start, if it is not a failure: a process, or none (`ignore`).
type StartOutcome = Result<Option<Pid>, ExitReason>;

pub(crate) struct Work {
    process: Arc<dyn Process>,
    starter: Arc<dyn Observer>,
    children: Arc<Mutex<Children>>,
    ops: RefCell<VecDeque<Op>>,
    /// Inits that came to their end and were not asked about yet.
    starts: RefCell<Vec<Started>>,
    operating: Current,
    stop: RefCell<Option<ExitReason>>,
    cause: Cell<u64>,
    over: Cell<bool>,
}

/// However the supervisor ends, killed or with its arbiter: nobody else ends the wait of those whose messages are kept
/// for a child that has no process now. Whoever holds a handle of the dead supervisor holds the table too; what the
/// specs have captured goes now.
impl Drop for Work {
    fn drop(&mut self) {
        let (children, mailboxes) = self.children.lock().take_all();
        for mailbox in mailboxes {
            mailbox.close();
        }
        drop_each(children);
    }
}

impl Work {
    pub(crate) fn new(
        process: Arc<dyn Process>,
        starter: Arc<dyn Observer>,
        children: Arc<Mutex<Children>>,
    ) -> Self {
        Self {
            process,
            starter,
            children,
            ops: RefCell::default(),
            starts: RefCell::default(),
            operating: RefCell::default(),
            stop: RefCell::default(),
            cause: Cell::new(0),
            over: Cell::new(false),
        }
    }

    pub(crate) fn push(&self, op: Op) {
        self.ops.borrow_mut().push_back(op);
    }

    pub(crate) fn started(&self, started: Started) {
        self.starts.borrow_mut().push(started);
    }

    /// The supervisor's own supervisor, or somebody else, wants it to end.
    pub(crate) fn stop(&self, reason: ExitReason, cause: u64) {
        self.stop.borrow_mut().get_or_insert(reason);
        self.cause.set(cause);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.get()
    }

    pub(crate) fn set_over(&self) {
        self.over.set(true);
    }

    /// The event behind the supervisor's end, or 0.
    pub(crate) fn cause(&self) -> u64 {
        self.cause.get()
    }

    fn is_stopping(&self) -> bool {
        self.stop.borrow().is_some()
    }

    // ---- questions

    pub(crate) fn which(&self) -> Vec<ChildInfo> {
        let which = self.children.lock().which();
        which
            .into_iter()
            .map(|(id, state, child_type)| ChildInfo {
                id,
                state,
                child_type,
            })
            .collect()
    }

    pub(crate) fn count(&self) -> ChildCounts {
        let which = self.children.lock().which();
        let supervisors = which
            .iter()
            .filter(|(_, _, child_type)| *child_type == ChildType::Supervisor)
            .count();
        ChildCounts {
            specs: which.len(),
            active: which
                .iter()
                .filter(|(_, state, _)| state.pid().is_some_and(pid::is_alive))
                .count(),
            supervisors,
            workers: which.len() - supervisors,
        }
    }

    pub(crate) fn child_spec(&self, id: &str) -> Result<ChildSpecInfo, ChildError> {
        let children = self.children.lock();
        let child = children.key_of(id).and_then(|key| children.get(key));
        child
            .map(|child| ChildSpecInfo::of_spec(&child.spec))
            .ok_or(ChildError::NotFound)
    }

    // ---- the loop

    /// Starts the first children in order; if one fails, stops those before it (`init_children`).
    pub(crate) async fn init(self: Rc<Self>, specs: Vec<ChildSpec>) -> Result<(), ExitReason> {
        let auto_shutdown = self.children.lock().flags.auto_shutdown;
        check_all(&specs, auto_shutdown).map_err(ExitReason::error)?;
        let first = specs.iter();
        let first = first.map(|spec| (Arc::clone(&spec.id), spec.child_type));
        self.children.lock().first = first.collect();
        for spec in specs {
            let is_temporary = spec.restart == Restart::Temporary;
            let key = self.children.lock().push(spec);
            match self.start(key, 0).await {
                Ok(None) if is_temporary => {
                    self.forget(key);
                }
                Ok(_) => {}
                Err(reason) => {
                    let stop = self.stop.borrow().clone();
                    if stop.is_none() {
                        self.report(ReportContext::StartError, key, &reason);
                    }
                    let child = self.children.lock().remove(key);
                    let id = child.map(|child| child.spec.id);
                    self.terminate_all(self.cause.get()).await;
                    return Err(match (stop, id) {
                        (Some(stop), _) => stop,
                        (None, Some(id)) => ExitReason::shutdown(FailedToStartChild { id, reason }),
                        (None, None) => reason,
                    });
                }
            }
        }
        Ok(())
    }

    /// Works until the supervisor ends; answers its reason. The children are gone by then.
    pub(crate) async fn run(self: Rc<Self>) -> ExitReason {
        loop {
            let flow = match self.next().await {
                None => Flow::End(self.stop.borrow().clone().unwrap_or(ExitReason::SHUTDOWN)),
                Some(op) => self.perform(op).await,
            };
            if let Flow::End(reason) = flow {
                let draft = Draft {
                    reason: Some(&reason),
                    cause: self.cause.get(),
                    ..Draft::default()
                };
                let event = self.tell(EventKind::Stop, None, draft);
                self.terminate_all(event).await;
                return reason;
            }
            self.close_orphaned_mailboxes(false);
        }
    }

    /// Whoever waits for an answer of a child that will not be started again hears of it.
    fn close_orphaned_mailboxes(&self, is_over: bool) {
        let orphaned = self.children.lock().take_orphaned(is_over);
        for mailbox in orphaned {
            mailbox.close();
        }
    }

    /// The next thing to do; `None` to end. An end comes first, then what was asked, then what is due.
    async fn next(&self) -> Option<Op> {
        loop {
            let due = self.children.lock().next_due();
            let limit = due.map_or(Limit::None, |(at, _)| Limit::At(at));
            let ready = self
                .wait_until(limit, || {
                    if self.is_stopping() {
                        return Some(None);
                    }
                    self.ops.borrow_mut().pop_front().map(Some)
                })
                .await;
            match (ready, due) {
                (Some(next), _) => return next,
                (None, Some((_, key))) => return Some(Op::TryAgain(key)),
                (None, None) => {}
            }
        }
    }

    /// Waits for something that a message brings about, or for a time.
    async fn wait_until<T>(&self, limit: Limit, mut check: impl FnMut() -> Option<T>) -> Option<T> {
        let mut sleep: Option<Pin<Box<Sleep>>> = None;
        let mut is_patient = matches!(limit, Limit::After(_));
        poll_fn(|task| {
            if let Some(found) = check() {
                return Poll::Ready(Some(found));
            }
            if mem::take(&mut is_patient) {
                task.waker().wake_by_ref();
                return Poll::Pending;
            }
            if sleep.is_none() {
                sleep = limit.sleep().map(Box::pin);
            }
            match &mut sleep {
                Some(sleep) => sleep.as_mut().poll(task).map(|()| None),
                None => Poll::Pending,
            }
        })
        .await
    }

    async fn perform(&self, op: Op) -> Flow {
        match op {
            Op::Down(down) => return self.child_down(down).await,
            Op::TryAgain(key) => return self.try_again(key).await,
            Op::Start(spec, promise) => promise.answer(self.start_child(*spec).await),
            Op::Terminate(id, promise) => {
                let (outcome, flow) = self.terminate_child(&id).await;
                promise.answer(outcome);
                return flow;
            }
            Op::Restart(id, promise) => promise.answer(self.restart_child(&id).await),
            Op::Delete(id, promise) => promise.answer(self.delete_child(&id)),
            Op::Which(promise) => promise.answer(self.which()),
            Op::Count(promise) => promise.answer(self.count()),
            Op::Spec(id, promise) => promise.answer(self.child_spec(&id)),
            Op::Operate(operation) => return self.perform_operation(operation).await,
        }
        Flow::GoOn
    }

    // ---- the calls

    async fn start_child(&self, spec: ChildSpec) -> Result<Option<Pid>, StartChildError> {
        let is_temporary = spec.restart == Restart::Temporary;
        let key = {
            let mut children = self.children.lock();
            spec.check(children.flags.auto_shutdown)
                .map_err(StartChildError::Invalid)?;
            if let Some(known) = children.key_of(&spec.id).and_then(|key| children.get(key)) {
                return Err(known.state.pid().map_or(
                    StartChildError::AlreadyPresent,
                    StartChildError::AlreadyStarted,
                ));
            }
            children.push(spec)
        };
        let outcome = self.start(key, 0).await;
        if outcome.is_err() || (is_temporary && outcome == Ok(None)) {
            self.forget(key);
        }
        outcome.map_err(StartChildError::Failed)
    }

    async fn terminate_child(&self, id: &str) -> (Result<(), ChildError>, Flow) {
        let Some(key) = self.children.lock().key_of(id) else {
            return (Err(ChildError::NotFound), Flow::GoOn);
        };
        self.terminate_some(&[key], 0).await;
        if let Some(child) = self.children.lock().get_mut(key) {
            child.waits_for = None;
        }
        (Ok(()), self.release(key, 0).await)
    }

    /// The child, if it is stopped.
    fn stopped_child(&self, id: &str) -> Result<Key, ChildError> {
        let children = self.children.lock();
        let key = children.key_of(id).ok_or(ChildError::NotFound)?;
        match children.get(key).map(|child| &child.state) {
            None => Err(ChildError::NotFound),
            Some(ChildState::Stopped) => Ok(key),
            Some(ChildState::Restarting { .. }) => Err(ChildError::Restarting),
            Some(_) => Err(ChildError::Running),
        }
    }

    async fn restart_child(&self, id: &str) -> Result<Option<Pid>, ChildError> {
        let key = self.stopped_child(id)?;
        if let Some(child) = self.children.lock().get_mut(key) {
            // Whoever starts it by hand has seen to what was wrong.
            child.failures = 0;
        }
        let outcome = self.start(key, 0).await;
        if outcome.is_err() {
            self.children.lock().set_state(key, ChildState::Stopped);
        }
        outcome.map_err(ChildError::Failed)
    }

    fn delete_child(&self, id: &str) -> Result<(), ChildError> {
        let key = self.stopped_child(id)?;
        self.forget(key);
        Ok(())
    }

    fn forget(&self, key: Key) {
        // In two steps: the lock is held to the end of a statement.
        let child = self.children.lock().remove(key);
        drop(child);
    }

    // ---- telling

    /// Writes down what happens to a child, or to the supervisor itself; where and to whom need not be said.
    fn tell(&self, kind: EventKind, key: Option<Key>, draft: Draft<'_>) -> u64 {
        let (path, pid, incarnation) = {
            let children = self.children.lock();
            match key.and_then(|key| children.get(key)) {
                Some(child) => (child.path.clone(), None, child.incarnation),
                None => {
                    let label = self.process.core().label();
                    (
                        children.path.clone(),
                        Some(self.process.core().pid()),
                        label.map_or(0, |label| label.incarnation),
                    )
                }
            }
        };
        event::record(
            kind,
            Draft {
                path: Some(&path),
                pid,
                incarnation,
                ..draft
            },
        )
    }

    fn report(&self, context: ReportContext, key: Key, reason: &dyn std::fmt::Display) {
        let known = {
            let children = self.children.lock();
            let Some(child) = children.get(key) else {
                return;
            };
            let is_crash = child.crash.is_some();
            let is_heard = report::is_heard(report::level(is_crash));
            is_heard.then(|| (children.path.clone(), child.offender(), is_crash))
        };
        if let Some((path, offender, is_crash)) = known {
            report::supervisor(&path, context, reason, &offender, is_crash);
        }
    }

    /// It is decided what is done about a child's end: if it was a crash, that is reported.
    fn tell_crash(&self, key: Key, effect: &dyn std::fmt::Display, taken_along: usize) {
        let (crash, path, strategy, budget) = {
            let mut children = self.children.lock();
            let crash = children.get_mut(key).and_then(|child| child.crash.take());
            let Some(crash) = crash else { return };
            let budget = children.intensity.budget(Instant::now());
            (
                crash,
                children.path.clone(),
                children.flags.strategy,
                budget,
            )
        };
        crash.tell(Some(Effect {
            supervisor: &path,
            strategy: strategy.name(),
            budget,
            effect,
            taken_along,
        }));
    }
}

/// A number from 0 to 1, for jitter: nothing hangs on its quality.
pub(crate) fn chance() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0u8) as f64 / u64::MAX as f64
}
