//! What a dynamic supervisor answers: at once, or once the starts that were under way have ended.

use super::{DynamicSupervisor, Unsettled};
use crate::child_spec::ChildType;
use crate::pid;
use crate::supervisor::{ChildCounts, ChildError, ChildInfo};

impl DynamicSupervisor {
    /// Answers once the starts that are under way now have ended; at once if there are none.
    pub(super) fn ask_settled(&mut self, question: Unsettled) {
        let last = {
            let mut children = self.shared().lock();
            children.is_awaited = true;
            children.starting.last().copied()
        };
        self.unsettled.push_back((last, question));
        self.settle();
    }

    /// Answers what waits for no start any more, in the order asked.
    pub(super) fn settle(&mut self) {
        // One that ends answers no more; who waits hears of its end.
        if self.unsettled.is_empty() || self.ending.is_some() {
            return;
        }
        let oldest = self.shared().lock().starting.first().copied();
        // Pids are in the order of the starts.
        while let Some((last, _)) = self.unsettled.front()
            && oldest.is_none_or(|oldest| *last < Some(oldest))
            && let Some((_, question)) = self.unsettled.pop_front()
        {
            match question {
                Unsettled::Which(promise) => promise.answer(self.which()),
                Unsettled::Count(promise) => promise.answer(self.count()),
                Unsettled::Terminate(pid, promise) => {
                    let waiting = self.shared().lock().remove(pid);
                    // As OTP: a dead process is terminated, a living stranger is not ours to end.
                    promise.answer(if waiting.is_some() || !pid::is_alive(pid) {
                        Ok(())
                    } else {
                        Err(ChildError::NotFound)
                    });
                }
            }
        }
        self.shared().lock().is_awaited = !self.unsettled.is_empty();
    }

    pub(super) fn which(&self) -> Vec<ChildInfo> {
        let children = self.shared().lock();
        let mut all: Vec<_> = children.iter().map(|(_, child)| child).collect();
        all.sort_by_key(|child| std::cmp::Reverse(child.number()));
        all.into_iter()
            .map(|child| ChildInfo {
                id: child.number().to_string().into(),
                state: child.state.clone(),
                child_type: self.flags.child_type,
            })
            .collect()
    }

    pub(super) fn count(&self) -> ChildCounts {
        let children = self.shared().lock();
        let total = children.len();
        let is_supervisor = self.flags.child_type == ChildType::Supervisor;
        ChildCounts {
            specs: 1,
            active: children
                .iter()
                .filter(|(_, child)| child.state.pid().is_some_and(pid::is_alive))
                .count(),
            supervisors: if is_supervisor { total } else { 0 },
            workers: if is_supervisor { 0 } else { total },
        }
    }
}
