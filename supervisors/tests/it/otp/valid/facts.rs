//! A scenario as the rules look at it: flat.

use crate::otp::scenario::{
    Call, Child, Nested, New, Op, Out, Outcome, Scenario, Strategy, Supervisor, Worker,
};

/// A scenario, flattened: everything that may ever be placed below some supervisor.
#[derive(Default)]
pub(super) struct Facts<'a> {
    pub(super) root: &'a str,
    pub(super) supervisors: Vec<&'a Supervisor>,
    /// With the id of the supervisor; templates too.
    pub(super) children: Vec<(&'a str, &'a Child)>,
    pub(super) instances: Vec<Instance<'a>>,
    /// The caller, and what it puts into the queue of which supervisor.
    pub(super) calls: Vec<QueuedCall<'a>>,
    pub(super) ops: &'a [Op],
}

pub(super) struct Instance<'a> {
    pub(super) sup: &'a str,
    pub(super) id: &'a str,
    pub(super) init: &'a [Outcome],
}

pub(super) struct QueuedCall<'a> {
    pub(super) sup: &'a str,
    pub(super) caller: &'a str,
    pub(super) out: Out,
    pub(super) call: &'a Call,
    pub(super) by_instance: bool,
    /// The last outcome of the list: every later attempt does the same.
    pub(super) repeated: bool,
}

impl<'a> Facts<'a> {
    pub(super) fn of(scenario: &'a Scenario) -> Self {
        let mut facts = Self {
            root: &scenario.tree.id,
            ops: &scenario.ops,
            ..Self::default()
        };
        facts.add_supervisor(&scenario.tree);
        for op in &scenario.ops {
            if let Op::Api { sup, call } = op {
                facts.add_call(sup, call);
            }
        }
        facts
    }

    fn add_supervisor(&mut self, supervisor: &'a Supervisor) {
        self.supervisors.push(supervisor);
        for child in &supervisor.children {
            self.add_child(&supervisor.id, child);
        }
    }

    fn add_child(&mut self, sup: &'a str, child: &'a Child) {
        self.children.push((sup, child));
        match child {
            Child::Worker(worker) => self.add_outcomes(sup, &worker.id, &worker.init, false),
            Child::Supervisor(nested) => self.add_supervisor(&nested.supervisor),
        }
    }

    fn add_call(&mut self, sup: &'a str, call: &'a Call) {
        match call {
            Call::StartChild {
                new: New::Child(child),
            } => self.add_child(sup, child),
            Call::StartChild {
                new: New::Args { id, init },
            } => {
                self.instances.push(Instance { sup, id, init });
                self.add_outcomes(sup, id, init, true);
            }
            _ => {}
        }
    }

    fn add_outcomes(
        &mut self,
        sup: &'a str,
        caller: &'a str,
        init: &'a [Outcome],
        by_instance: bool,
    ) {
        for (index, outcome) in init.iter().enumerate() {
            if let Outcome::Call { out, call } = outcome {
                self.calls.push(QueuedCall {
                    sup,
                    caller,
                    out: *out,
                    call,
                    by_instance,
                    repeated: index + 1 == init.len(),
                });
                self.add_call(sup, call);
            }
        }
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = (&'a str, &'a Worker)> {
        self.children.iter().filter_map(|(sup, child)| match child {
            Child::Worker(worker) => Some((*sup, worker)),
            Child::Supervisor(_) => None,
        })
    }

    pub(super) fn nested(&self) -> impl Iterator<Item = (&'a str, &'a Nested)> {
        self.children.iter().filter_map(|(sup, child)| match child {
            Child::Worker(_) => None,
            Child::Supervisor(nested) => Some((*sup, nested)),
        })
    }

    pub(super) fn strategy(&self, sup: &str) -> Option<Strategy> {
        let supervisor = self
            .supervisors
            .iter()
            .find(|supervisor| supervisor.id == sup)?;
        Some(supervisor.strategy)
    }

    pub(super) fn is_simple(&self, sup: &str) -> bool {
        self.strategy(sup) == Some(Strategy::SimpleOneForOne)
    }

    pub(super) fn is_supervisor(&self, id: &str) -> bool {
        self.strategy(id).is_some()
    }

    /// Calls on `sup`, by an operation or from a queue.
    pub(super) fn calls_on(&self, sup: &'a str) -> impl Iterator<Item = &'a Call> {
        let queued = self
            .calls
            .iter()
            .filter(move |queued| queued.sup == sup)
            .map(|queued| queued.call);
        let direct = self.ops.iter().filter_map(move |op| match op {
            Op::Api { sup: on, call } if on == sup => Some(call),
            _ => None,
        });
        queued.chain(direct)
    }
}
