//! What a supervisor does, one thing after the other: the `handle_call`, `handle_info` and `handle_cast` of
//! `supervisor.erl` as one loop.
//!
//! The loop runs as a future in the supervisor's own process. Messages only add to its list of work or to what it
//! waits for; every turn of a process polls its futures after its messages, so a wait needs no waker of its own.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};

use super::children::{Child, Children, FailedToStartChild, Key};
use super::{ChildCounts, ChildError, ChildInfo, ChildSpecInfo, StartChildError};
use crate::child_spec::{ChildId, ChildSpec, ChildType, Restart, Shutdown, check_all};
use crate::event::{self, Draft, EventKind};
use crate::exit::{Down, ExitReason};
use crate::panics::drop_each;
use crate::path::Label;
use crate::pid::{self, Pid};
use crate::process::{Observer, Process, Started};
use crate::promise::Promise;
use crate::report::{self, ReportContext};
use crate::snapshot::{ChildState, LastExit};
use crate::spawn::Supervision;
use crate::strategy::Strategy;

/// Something to do.
pub(crate) enum Op {
    Down(Down),
    /// A failed child, whose last attempt failed as well (OTP's `try_again_restart`).
    TryAgain(Key),
    Start(ChildSpec, Promise<Result<Option<Pid>, StartChildError>>),
    Terminate(ChildId, Promise<Result<(), ChildError>>),
    Restart(ChildId, Promise<Result<Option<Pid>, ChildError>>),
    Delete(ChildId, Promise<Result<(), ChildError>>),
    Which(Promise<Vec<ChildInfo>>),
    Count(Promise<ChildCounts>),
    Spec(ChildId, Promise<Result<ChildSpecInfo, ChildError>>),
}

/// Whether the supervisor goes on.
enum Flow {
    GoOn,
    /// It ends, with this reason, after its children.
    End(ExitReason),
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
        let spec = &child.ok_or(ChildError::NotFound)?.spec;
        Ok(ChildSpecInfo {
            id: Arc::clone(&spec.id),
            restart: spec.restart,
            shutdown: spec.shutdown,
            child_type: spec.child_type,
            significant: spec.significant,
        })
    }

    // ---- the loop

    /// Starts the first children in order; if one fails, stops those before it (`init_children`).
    pub(crate) async fn init(self: Rc<Self>, specs: Vec<ChildSpec>) -> Result<(), ExitReason> {
        let auto_shutdown = self.children.lock().flags.auto_shutdown;
        check_all(&specs, auto_shutdown).map_err(ExitReason::error)?;
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
                let event = self.tell(EventKind::Stop, None, Some(&reason), self.cause.get(), None);
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
            let ready = self
                .wait_until(due.map(|(at, _)| at), || {
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
    async fn wait_until<T>(
        &self,
        deadline: Option<Instant>,
        mut check: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let mut sleep: Option<std::pin::Pin<Box<Sleep>>> = None;
        poll_fn(|task| {
            if let Some(found) = check() {
                return Poll::Ready(Some(found));
            }
            let Some(deadline) = deadline else {
                return Poll::Pending;
            };
            let sleep = sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            sleep.as_mut().poll(task).map(|()| None)
        })
        .await
    }

    async fn perform(&self, op: Op) -> Flow {
        match op {
            Op::Down(down) => return self.child_down(down).await,
            Op::TryAgain(key) => return self.try_again(key).await,
            Op::Start(spec, promise) => promise.answer(self.start_child(spec).await),
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
        }
        Flow::GoOn
    }

    // ---- a child ends by itself

    async fn child_down(&self, down: Down) -> Flow {
        let key = down
            .pid
            .and_then(|pid| self.children.lock().key_of_pid(pid));
        // A process that is no child of ours, or no longer.
        let Some(key) = key else { return Flow::GoOn };
        let (restart, significant, before) = {
            let mut children = self.children.lock();
            let Some(child) = children.get_mut(key) else {
                return Flow::GoOn;
            };
            let before = note_exit(child, &down);
            (child.spec.restart, child.spec.significant, before)
        };
        drop(before);
        if !down.reason.is_normal() || restart == Restart::Permanent {
            self.report(ReportContext::ChildTerminated, key, &down.reason);
        }
        if restart.applies(&down.reason) {
            let state = ChildState::Restarting {
                was: down.pid,
                until: None,
            };
            self.children.lock().set_state(key, state);
            return self.restart(key).await;
        }
        if restart == Restart::Temporary {
            self.forget(key);
        } else {
            self.children.lock().set_state(key, ChildState::Stopped);
        }
        if self.children.lock().ends_with(significant) {
            self.cause.set(down.event);
            return Flow::End(ExitReason::SHUTDOWN);
        }
        Flow::GoOn
    }

    /// A child has failed: tries again now, or after its backoff.
    async fn restart(&self, key: Key) -> Flow {
        let wait = {
            let mut children = self.children.lock();
            let Some(child) = children.get_mut(key) else {
                return Flow::GoOn;
            };
            child.failures = child.failures.saturating_add(1);
            child
                .spec
                .backoff
                .map(|backoff| (backoff, child.failures, child.last_event()))
        };
        let Some((backoff, failures, cause)) = wait else {
            return self.attempt(key).await;
        };
        if backoff.max_failures.is_some_and(|max| failures > max) {
            return self.give_up_on(key, failures).await;
        }
        let delay = backoff.delay(failures, chance());
        let event = self.tell(
            EventKind::Backoff,
            Some(key),
            None,
            cause,
            Some(format!("waits {} ms", delay.as_millis())),
        );
        // Those that it takes along do not run on without it.
        let affected = self.children.lock().affected(key);
        let siblings: Vec<_> = affected
            .into_iter()
            .filter(|sibling| *sibling != key)
            .collect();
        let stopped = self.terminate_some(&siblings, event).await;
        let mut children = self.children.lock();
        // Those that waited for a sibling wait for this one now: it brings all of them back.
        let waiting = siblings
            .into_iter()
            .filter(|sibling| {
                let sibling = children.get(*sibling);
                sibling.is_some_and(|sibling| sibling.waits_for.is_some())
            })
            .collect::<Vec<_>>();
        children.wait_for(waiting.into_iter().chain(stopped), key);
        let was = match children.get(key).map(|child| &child.state) {
            Some(ChildState::Restarting { was, .. }) => *was,
            _ => return Flow::GoOn,
        };
        children.set_state(
            key,
            ChildState::Restarting {
                was,
                until: Some(Instant::now() + delay),
            },
        );
        Flow::GoOn
    }

    /// Its backoff allows no more attempts: the child stays stopped, as if its restart were temporary.
    async fn give_up_on(&self, key: Key, failures: u32) -> Flow {
        let cause = self
            .children
            .lock()
            .get(key)
            .map_or(0, |child| child.last_event());
        let event = self.tell(
            EventKind::GaveUp,
            Some(key),
            None,
            cause,
            Some(format!("on it after {failures} failures")),
        );
        let is_end = {
            let mut children = self.children.lock();
            children.set_state(key, ChildState::Stopped);
            let significant = children
                .get(key)
                .is_some_and(|child| child.spec.significant);
            children.ends_with(significant)
        };
        if is_end {
            self.cause.set(event);
            return Flow::End(ExitReason::SHUTDOWN);
        }
        self.release(key, event).await
    }

    /// Starts those that were stopped with a child and wait for its backoff, now that it ends without a restart.
    async fn release(&self, key: Key, cause: u64) -> Flow {
        let waiting = self.children.lock().waiting_for(key);
        for (number, sibling) in waiting.iter().copied().enumerate() {
            if let Err(reason) = self.start(sibling, cause).await {
                if self.is_stopping() {
                    break;
                }
                self.report(ReportContext::StartError, sibling, &reason);
                return self.failed_again(sibling, &waiting[number + 1..]).await;
            }
        }
        Flow::GoOn
    }

    async fn try_again(&self, key: Key) -> Flow {
        // It may have been terminated, deleted or restarted with others meanwhile.
        let is_waiting = matches!(
            self.children.lock().get(key).map(|child| &child.state),
            Some(ChildState::Restarting { .. })
        );
        if is_waiting {
            self.attempt(key).await
        } else {
            Flow::GoOn
        }
    }

    /// One attempt at a restart, counted (`restart/2` and `restart/3` in `supervisor.erl`).
    async fn attempt(&self, key: Key) -> Flow {
        let (is_admitted, cause, affected) = {
            let mut children = self.children.lock();
            let is_admitted = children.intensity.admit(Instant::now());
            let cause = children.get(key).map_or(0, |child| child.last_event());
            if children.flags.strategy != Strategy::OneForOne {
                // Its turn comes in the start order, like that of the others.
                children.set_state(key, ChildState::Stopped);
            }
            let affected = children.affected(key);
            for key in &affected {
                if let Some(child) = children.get_mut(*key) {
                    child.waits_for = None;
                }
            }
            (is_admitted, cause, affected)
        };
        if !is_admitted {
            return self.give_up(key, cause);
        }
        let event = self.tell(EventKind::Restart, Some(key), None, cause, None);
        let siblings: Vec<_> = affected
            .iter()
            .copied()
            .filter(|sibling| *sibling != key)
            .collect();
        self.terminate_some(&siblings, event).await;
        for (number, key) in affected.iter().copied().enumerate() {
            let Some(is_restart) = self
                .children
                .lock()
                .get(key)
                .map(|child| child.incarnation > 0)
            else {
                continue;
            };
            match self.start(key, event).await {
                Ok(_) => {
                    if let Some(child) = self.children.lock().get_mut(key).filter(|_| is_restart) {
                        child.restarts += 1;
                    }
                }
                Err(_) if self.is_stopping() => return Flow::GoOn,
                Err(reason) => {
                    self.report(ReportContext::StartError, key, &reason);
                    return self.failed_again(key, &affected[number + 1..]).await;
                }
            }
        }
        Flow::GoOn
    }

    /// A start during a restart failed. What else was asked comes before the next attempt; `later` siblings were to be
    /// started after it.
    async fn failed_again(&self, key: Key, later: &[Key]) -> Flow {
        let backoff = {
            let mut children = self.children.lock();
            let was = match children.get(key).map(|child| &child.state) {
                Some(ChildState::Restarting { was, .. }) => *was,
                Some(state) => state.pid(),
                None => None,
            };
            children.set_state(key, ChildState::Restarting { was, until: None });
            let backoff = children.get(key).and_then(|child| child.spec.backoff);
            if backoff.is_some() {
                children.wait_for(later.iter().copied(), key);
            }
            backoff
        };
        if backoff.is_some() {
            return Box::pin(self.restart(key)).await;
        }
        self.push(Op::TryAgain(key));
        Flow::GoOn
    }

    /// One restart too many.
    fn give_up(&self, key: Key, cause: u64) -> Flow {
        let reason = ExitReason::error("reached_max_restart_intensity");
        self.report_text(
            ReportContext::Shutdown,
            key,
            "reached_max_restart_intensity",
        );
        let note = {
            let children = self.children.lock();
            format!(
                "after more than {} restarts in {:?}",
                children.intensity.limit(),
                children.intensity.period()
            )
        };
        let event = self.tell(EventKind::GaveUp, None, Some(&reason), cause, Some(note));
        self.forget(key);
        self.cause.set(event);
        Flow::End(ExitReason::SHUTDOWN)
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

    // ---- starting and stopping one child

    /// Starts a child and waits for its init. The child's state afterwards is `Running`, or `Stopped` if it was ignored;
    /// if it failed, what it was before.
    async fn start(&self, key: Key, cause: u64) -> StartOutcome {
        let (start, placement, timeout, how, mailbox, label) = {
            let mut children = self.children.lock();
            let path = children.path.clone();
            let Some(child) = children.get_mut(key) else {
                return Err(ExitReason::NoProc);
            };
            child.incarnation += 1;
            child.waits_for = None;
            let label = Label {
                path: path.child(Arc::clone(&child.spec.id)),
                incarnation: child.incarnation,
                dynamic: false,
            };
            (
                Arc::clone(&child.spec.start),
                child.spec.placement.clone(),
                child.spec.start_timeout,
                // A worker that starts has nothing to lose; a supervisor has children to stop.
                match child.spec.child_type {
                    ChildType::Worker => Shutdown::BrutalKill,
                    ChildType::Supervisor => child.spec.shutdown,
                },
                child.mailbox.clone(),
                label,
            )
        };
        let before = self
            .children
            .lock()
            .get(key)
            .map(|child| child.state.clone());
        let supervision = Supervision {
            parent: Some(Arc::clone(&self.process)),
            starter: Arc::clone(&self.starter),
            label,
            names: Vec::new(),
            cause,
        };
        let pid = start(placement, supervision, mailbox);
        self.children
            .lock()
            .set_state(key, ChildState::Starting(pid));
        let outcome = self.started_or_down(pid, timeout, how).await;
        let mut children = self.children.lock();
        match &outcome {
            Ok(Some(_)) => {
                children.set_state(key, ChildState::Running(pid));
                let path = children.path.clone();
                let offender = children.get_mut(key).map(|child| {
                    child.started_at = Some(Instant::now());
                    child.offender()
                });
                drop(children);
                if let Some(offender) = offender {
                    report::progress(&path, &offender);
                }
            }
            Ok(None) => children.set_state(key, ChildState::Stopped),
            Err(_) => children.set_state(key, before.unwrap_or(ChildState::Stopped)),
        }
        outcome
    }

    async fn started_or_down(
        &self,
        pid: Pid,
        timeout: Option<std::time::Duration>,
        how: Shutdown,
    ) -> StartOutcome {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let outcome = self
            .wait_until(deadline, || {
                if let Some(started) = self.take_started(pid) {
                    return Some(Ok((!started.ignored).then_some(pid)));
                }
                if let Some(down) = self.take_down(pid) {
                    return Some(Err(down.reason));
                }
                // An end that was asked for does not wait for a child to start.
                self.is_stopping().then_some(Err(ExitReason::SHUTDOWN))
            })
            .await;
        let failure = match outcome {
            Some(Err(_)) if self.is_stopping() => ExitReason::SHUTDOWN,
            Some(outcome) => return outcome,
            None => ExitReason::error(format!(
                "did not start within {:?}",
                timeout.unwrap_or_default()
            )),
        };
        // Else its end is what was just taken, or is on its way, and no child's.
        if pid::is_alive(pid) {
            self.ask_to_end(pid, how, 0).await;
        }
        // It may have come to the end of its init just before.
        self.take_started(pid);
        Err(failure)
    }

    fn take_started(&self, pid: Pid) -> Option<Started> {
        let mut starts = self.starts.borrow_mut();
        let at = starts.iter().position(|started| started.pid == pid)?;
        Some(starts.swap_remove(at))
    }

    /// The end of this process, if it is among the things to do. OTP: `receive {'EXIT', Pid, _}` after `unlink`.
    fn take_down(&self, pid: Pid) -> Option<Down> {
        let mut ops = self.ops.borrow_mut();
        let at = ops
            .iter()
            .position(|op| matches!(op, Op::Down(down) if down.pid == Some(pid)))?;
        match ops.remove(at) {
            Some(Op::Down(down)) => Some(down),
            _ => None,
        }
    }

    async fn terminate_all(&self, cause: u64) {
        let keys = self.children.lock().keys();
        self.terminate_some(&keys, cause).await;
        self.close_orphaned_mailboxes(true);
    }

    /// Stops children, last to first, each waited for. Temporary ones are forgotten; of the others, those that were not
    /// stopped already are returned.
    async fn terminate_some(&self, keys: &[Key], cause: u64) -> Vec<Key> {
        let mut stopped = Vec::new();
        for key in keys.iter().rev().copied() {
            let found = {
                let children = self.children.lock();
                children.get(key).map(|child| {
                    let state = child.state.clone();
                    (state, child.spec.shutdown, child.spec.restart)
                })
            };
            let Some((state, how, restart)) = found else {
                continue;
            };
            if let Some(pid) = state.pid() {
                let down = self.end_of(key, pid, how, cause).await;
                self.note_stop(key, &down, how, restart);
            }
            if restart == Restart::Temporary {
                self.forget(key);
            } else {
                self.children.lock().set_state(key, ChildState::Stopped);
                if state != ChildState::Stopped {
                    stopped.push(key);
                }
            }
        }
        stopped
    }

    /// Stops one process, if it is not dead already; how, is what there is to report.
    async fn end_of(&self, key: Key, pid: Pid, how: Shutdown, cause: u64) -> Down {
        if let Some(down) = self.take_down(pid) {
            return down;
        }
        self.children
            .lock()
            .set_state(key, ChildState::Stopping(pid));
        self.ask_to_end(pid, how, cause).await
    }

    /// Reports a process that did not end as it was asked to (`do_terminate`).
    fn note_stop(&self, key: Key, down: &Down, how: Shutdown, restart: Restart) {
        let before = {
            let mut children = self.children.lock();
            children.get_mut(key).map(|child| note_exit(child, down))
        };
        drop(before);
        let is_expected = match how {
            Shutdown::BrutalKill => matches!(down.reason, ExitReason::Killed),
            Shutdown::Timeout(_) | Shutdown::Infinity => {
                matches!(down.reason, ExitReason::Shutdown(None))
            }
        };
        let is_tolerated = down.reason.is_normal()
            && restart != Restart::Permanent
            && (how != Shutdown::BrutalKill || matches!(down.reason, ExitReason::Normal));
        if !is_expected && !is_tolerated {
            self.report(ReportContext::ShutdownError, key, &down.reason);
        }
    }

    /// Signals, and waits as long as its spec says (`shutdown/1`).
    async fn ask_to_end(&self, pid: Pid, how: Shutdown, cause: u64) -> Down {
        let own = self.process.core().pid();
        if let Some(process) = pid::lookup(pid) {
            match how {
                Shutdown::BrutalKill => process.core().kill(cause),
                _ => process
                    .core()
                    .signal(Some(own), ExitReason::SHUTDOWN, cause),
            }
        }
        let deadline = match how {
            Shutdown::Timeout(limit) => Some(Instant::now() + limit),
            Shutdown::BrutalKill | Shutdown::Infinity => None,
        };
        if let Some(down) = self.wait_until(deadline, || self.take_down(pid)).await {
            return down;
        }
        if let Some(process) = pid::lookup(pid) {
            process.core().kill(cause);
        }
        loop {
            if let Some(down) = self.wait_until(None, || self.take_down(pid)).await {
                return down;
            }
        }
    }

    // ---- telling

    fn tell(
        &self,
        kind: EventKind,
        key: Option<Key>,
        reason: Option<&ExitReason>,
        cause: u64,
        note: Option<String>,
    ) -> u64 {
        let (path, pid, incarnation) = {
            let children = self.children.lock();
            match key.and_then(|key| children.get(key)) {
                Some(child) => (
                    children.path.child(Arc::clone(&child.spec.id)),
                    None,
                    child.incarnation,
                ),
                None => {
                    let incarnation = self
                        .process
                        .core()
                        .label()
                        .map_or(0, |label| label.incarnation);
                    (
                        children.path.clone(),
                        Some(self.process.core().pid()),
                        incarnation,
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
                reason,
                note,
                cause,
            },
        )
    }

    fn report(&self, context: ReportContext, key: Key, reason: &ExitReason) {
        self.report_text(context, key, reason);
    }

    fn report_text(&self, context: ReportContext, key: Key, reason: impl std::fmt::Display) {
        let known = {
            let children = self.children.lock();
            let offender = children.get(key).map(Child::offender);
            offender.map(|offender| (children.path.clone(), offender))
        };
        if let Some((path, offender)) = known {
            report::supervisor(&path, context, &reason, &offender);
        }
    }
}

/// Answers the exit before it, whose reason may hold the last copy of an error: to be dropped outside the lock.
#[must_use]
fn note_exit(child: &mut Child, down: &Down) -> Option<LastExit> {
    let before = child.last_exit.replace(LastExit {
        reason: down.reason.clone(),
        at: SystemTime::now(),
        event: down.event,
    });
    let lived = child.started_at.take().map(|at| at.elapsed());
    let is_stable = child
        .spec
        .backoff
        .zip(lived)
        .is_some_and(|(backoff, lived)| lived >= backoff.reset_after);
    if is_stable {
        child.failures = 0;
    }
    before
}

/// A number from 0 to 1, for jitter: nothing hangs on its quality.
pub(crate) fn chance() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0u8) as f64 / u64::MAX as f64
}
