//! What an operator has done to one child: each deed in its turn, and in one turn.

use std::cell::RefCell;

use super::{Flow, Op, Work};
use crate::child_spec::{ChildId, Restart};
use crate::exit::ExitReason;
use crate::operate::{Answer, Deed, Done, Operate, Operator, Refusal, Turn};
use crate::promise::Promise;
use crate::snapshot::ChildState;
use crate::supervisor::children::Key;

/// A deed, and all who have asked for it.
pub(crate) struct Operation {
    deed: Deed,
    id: ChildId,
    operator: Operator,
    cause: u64,
    asked: Vec<(Turn, Promise<Answer>)>,
}

/// The deed that is being done, if one is.
pub(super) type Current = RefCell<Option<Operation>>;

impl Op {
    /// Whether it is something that was asked for this child.
    fn concerns(&self, child: &str) -> bool {
        match self {
            Self::Terminate(id, _) | Self::Restart(id, _) | Self::Delete(id, _) => **id == *child,
            Self::Operate(operation) => *operation.id == *child,
            _ => false,
        }
    }
}

impl Work {
    /// Takes a deed into the queue. One that is the same as what was asked last for this child, and is not done yet,
    /// joins it: who restarts twice at a time wants one restart.
    pub(crate) fn operate(&self, operate: Operate) -> Promise<Answer> {
        let (promise, answer) = Promise::pair();
        let Operate {
            deed,
            id,
            operator,
            cause,
            turn,
        } = operate;
        let mut ops = self.ops.borrow_mut();
        let last = ops.iter_mut().rev().find(|op| op.concerns(&id));
        match last {
            Some(Op::Operate(same)) if same.deed == deed => {
                same.asked.push((turn, promise));
                return answer;
            }
            Some(_) => {}
            None => {
                let mut current = self.operating.borrow_mut();
                let same = current.as_mut();
                if let Some(same) = same.filter(|same| same.id == id && same.deed == deed) {
                    turn.begin();
                    same.asked.push((turn, promise));
                    return answer;
                }
            }
        }
        ops.push_back(Op::Operate(Operation {
            deed,
            id,
            operator,
            cause,
            asked: vec![(turn, promise)],
        }));
        answer
    }

    pub(super) async fn perform_operation(&self, mut operation: Operation) -> Flow {
        operation.asked.retain(|(turn, _)| turn.begin());
        // Whoever has given up waiting was told that nothing was done.
        if operation.asked.is_empty() {
            return Flow::GoOn;
        }
        let (deed, id) = (operation.deed, ChildId::clone(&operation.id));
        let (operator, cause) = (operation.operator.clone(), operation.cause);
        *self.operating.borrow_mut() = Some(operation);
        let key = self.children.lock().key_of(&id);
        let (answer, flow) = match key {
            None => (Err(Refusal::NoSuchPlace), Flow::GoOn),
            Some(key) => match deed {
                Deed::Stop => self.stop_by(key, operator, cause).await,
                Deed::Start => (self.start_by(key, cause).await, Flow::GoOn),
                Deed::Restart => self.restart_by(key, operator, cause).await,
            },
        };
        let operation = self.operating.borrow_mut().take();
        for (_, promise) in operation.into_iter().flat_map(|it| it.asked) {
            promise.answer(answer.clone());
        }
        flow
    }

    /// `terminate_child`.
    async fn stop_by(&self, key: Key, operator: Operator, cause: u64) -> (Answer, Flow) {
        if self.is_idle(key) {
            return (Err(Refusal::NotRunning), Flow::GoOn);
        }
        self.terminate_some(&[key], cause).await;
        if let Some(child) = self.children.lock().get_mut(key) {
            child.waits_for = None;
            child.stopped_by = Some(operator);
        }
        let flow = self.release(key, cause).await;
        (Ok(Done { pid: None, cause }), flow)
    }

    /// `restart_child`.
    async fn start_by(&self, key: Key, cause: u64) -> Answer {
        let state = {
            let children = self.children.lock();
            children.get(key).map(|child| child.state.clone())
        };
        match state {
            None => Err(Refusal::NoSuchPlace),
            Some(ChildState::Stopped) if self.is_idle(key) => self.start_anew(key, cause).await,
            Some(ChildState::Stopped | ChildState::Restarting { .. }) => Err(Refusal::Restarting),
            Some(_) => Err(Refusal::AlreadyRunning),
        }
    }

    /// Both, with nothing in between. A temporary child's spec is kept until it runs again.
    async fn restart_by(&self, key: Key, operator: Operator, cause: u64) -> (Answer, Flow) {
        self.stop_one(key, cause).await;
        let answer = self.start_anew(key, cause).await;
        if answer.is_err()
            && let Some(child) = self.children.lock().get_mut(key)
        {
            child.stopped_by = Some(operator);
        }
        let flow = self.release(key, cause).await;
        (answer, flow)
    }

    /// It has no process, and nothing will start one.
    fn is_idle(&self, key: Key) -> bool {
        let children = self.children.lock();
        let child = children.get(key);
        child.is_some_and(|child| child.state == ChildState::Stopped && child.waits_for.is_none())
    }

    async fn start_anew(&self, key: Key, cause: u64) -> Answer {
        let is_temporary = {
            let mut children = self.children.lock();
            let Some(child) = children.get_mut(key) else {
                return Err(Refusal::NoSuchPlace);
            };
            // Whoever starts it by hand has seen to what was wrong.
            child.failures = 0;
            child.spec.restart == Restart::Temporary
        };
        let outcome = self.start(key, cause).await;
        if is_temporary && !matches!(outcome, Ok(Some(_))) {
            self.forget(key);
        }
        match outcome {
            Ok(pid) => Ok(Done { pid, cause }),
            Err(_) if self.is_stopping() => Err(Refusal::Died(ExitReason::SHUTDOWN)),
            Err(reason) => Err(Refusal::CannotStart(reason.to_string().into())),
        }
    }
}
