//! What the starts of workers do: run, fail, be ignored, and the side effects that optional features allow.

use super::Generator;
use crate::otp::scenario::{
    Call, Child, New, Out, Outcome, Shutdown, Strategy, Supervisor, Worker,
};

impl Generator {
    /// Mostly fine at first, so that most trees start; later anything.
    pub(super) fn init(&mut self, of: usize, id: &str) -> Vec<Outcome> {
        let first = match self.rng.u32(0..80) {
            0 => Out::Error,
            1..5 => Out::Ignore,
            _ => Out::Ok,
        };
        let mut init = vec![self.outcome(of, id, first)];
        for _ in 0..self.rng.usize(0..=3) {
            let out = self.pick(&[
                Out::Ok,
                Out::Ok,
                Out::Ok,
                Out::Error,
                Out::Error,
                Out::Ignore,
            ]);
            init.push(self.outcome(of, id, out));
        }
        // For ever ignored or failing is the exception.
        if !self.one_in(4) {
            init.push(Outcome::Plain(Out::Ok));
        }
        init
    }

    pub(super) fn instance_init(&mut self, of: usize, id: &str) -> Vec<Outcome> {
        let first = self.pick(&[
            Out::Ok,
            Out::Ok,
            Out::Ok,
            Out::Ok,
            Out::Ok,
            Out::Ok,
            Out::Error,
            Out::Ignore,
        ]);
        let mut init = vec![self.outcome(of, id, first)];
        for _ in 0..self.rng.usize(0..=3) {
            let out = self.pick(&[Out::Ok, Out::Ok, Out::Error]);
            init.push(self.outcome(of, id, out));
        }
        init
    }

    fn outcome(&mut self, of: usize, id: &str, out: Out) -> Outcome {
        let known = &self.known[of];
        let called = self.features.call && !known.killable;
        let acts = known.id == "root" || known.simple;
        let adds = known.id == "root" && !known.simple;
        if !called || !self.one_in(3) {
            return Outcome::Plain(out);
        }
        if adds && self.one_in(6) {
            return self.adding(of, out);
        }
        let other = self.some_id(of);
        let target = if self.one_in(2) { id.to_owned() } else { other };
        let call = match self.rng.u32(0..if acts { 8 } else { 5 }) {
            0 | 1 => Call::WhichChildren,
            2 => Call::CountChildren,
            3 => Call::GetChildspec { id: target },
            4 => Call::DeleteChild { id: target },
            5 | 6 => Call::TerminateChild { id: target },
            _ => Call::RestartChild { id: target },
        };
        Outcome::Call { out, call }
    }

    /// A start that queues a start: of a plain worker below the root.
    fn adding(&mut self, of: usize, out: Out) -> Outcome {
        let id = self.new_id("w");
        self.known[of].ids.push(id.clone());
        self.workers.push(id.clone());
        let restart = self.restart();
        let worker = Worker {
            id,
            restart,
            shutdown: Shutdown::Infinity,
            significant: false,
            trap_exit: !self.one_in(4),
            stubborn: false,
            init: vec![Outcome::Plain(self.pick(&[
                Out::Ok,
                Out::Ok,
                Out::Error,
                Out::Ignore,
            ]))],
            on_stop_kill: None,
        };
        let call = Call::StartChild {
            new: New::Child(Box::new(Child::Worker(worker))),
        };
        Outcome::Call { out, call }
    }

    /// Lets workers directly below the root kill each other while they start, and siblings anywhere while
    /// they stop.
    pub(super) fn kills(&mut self, supervisor: &mut Supervisor) {
        if !self.features.kill {
            return;
        }
        let siblings: Vec<String> = supervisor
            .children
            .iter()
            .filter(|child| matches!(child, Child::Worker(_)))
            .map(|child| child.id().to_owned())
            .collect();
        if supervisor.strategy == Strategy::SimpleOneForOne {
            return;
        }
        let at_root = supervisor.id == "root";
        for child in &mut supervisor.children {
            match child {
                Child::Supervisor(nested) => self.kills(&mut nested.supervisor),
                Child::Worker(worker) => {
                    let victim = siblings[self.rng.usize(0..siblings.len())].clone();
                    if victim == worker.id {
                        continue;
                    }
                    if self.one_in(3) {
                        worker.on_stop_kill = Some(victim.clone());
                    }
                    for outcome in &mut worker.init {
                        if at_root && self.one_in(4) {
                            *outcome = Outcome::Kill {
                                out: outcome.out(),
                                kill: victim.clone(),
                            };
                        }
                    }
                }
            }
        }
    }
}
