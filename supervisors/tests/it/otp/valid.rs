//! Which scenarios may be run: those whose trace OTP determines.
//!
//! The generator must not produce and the shrinker must not arrive at anything else: a difference there would
//! show nothing. Each rule says why.

mod facts;

use std::{collections::HashMap, fmt};

use self::facts::Facts;
use super::scenario::{
    Call, Child, Direct, New, Op, Out, Outcome, Reason, Scenario, Shutdown, Strategy, Worker,
};

/// Long enough never to expire for a worker that stops, or for a supervisor.
pub(super) const PATIENT_MS_MIN: u32 = 5_000;
/// How long a supervisor waits for a stubborn worker.
pub(super) const STUBBORN_MS_MIN: u32 = 15;
pub(super) const STUBBORN_MS_MAX: u32 = 40;
/// Longer than a period of one second, however OTP rounds it.
pub(super) const SLEEP_MS: u32 = 2_200;
pub(super) const PERIOD_SHORT: u32 = 1;
pub(super) const PERIOD_LONG: u32 = 3_600;

/// The rule that a scenario breaks.
#[derive(Debug)]
pub(super) struct Why(String);

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether OTP's trace of this scenario is the same every time.
pub(super) fn valid(scenario: &Scenario) -> Result<(), Why> {
    let facts = Facts::of(scenario);
    facts.ids()?;
    facts.shapes()?;
    facts.stops()?;
    facts.periods()?;
    facts.instances()?;
    facts.kills()?;
    facts.calls()?;
    facts.killed_supervisors()
}

fn check(holds: bool, why: impl FnOnce() -> String) -> Result<(), Why> {
    if holds { Ok(()) } else { Err(Why(why())) }
}

impl Facts<'_> {
    /// An id belongs to one supervisor id, and is always the same kind of thing.
    fn ids(&self) -> Result<(), Why> {
        let mut owners: HashMap<&str, (&str, bool)> = HashMap::new();
        for (sup, child) in &self.children {
            let is_worker = matches!(child, Child::Worker(_));
            let owner = owners.entry(child.id()).or_insert((sup, is_worker));
            check(
                *owner == (*sup, is_worker) && child.id() != self.root,
                || format!("{} belongs to two supervisors or is two things", child.id()),
            )?;
        }
        for instance in &self.instances {
            let owner = owners.insert(instance.id, (instance.sup, true));
            check(owner.is_none(), || {
                format!("the id {} is used twice", instance.id)
            })?;
        }
        for first in &self.supervisors {
            for second in &self.supervisors {
                let same = first.strategy == second.strategy
                    && (first.strategy != Strategy::SimpleOneForOne
                        || first.children.first().map(Child::id)
                            == second.children.first().map(Child::id));
                check(first.id != second.id || same, || {
                    format!("{} has two strategies or templates", first.id)
                })?;
            }
        }
        Ok(())
    }

    /// What would crash OTP: a wrong template, arguments for a normal supervisor, a spec for a dynamic one.
    fn shapes(&self) -> Result<(), Why> {
        for supervisor in &self.supervisors {
            if supervisor.strategy == Strategy::SimpleOneForOne {
                let template = matches!(&supervisor.children[..], [Child::Worker(worker)]
                    if worker.on_stop_kill.is_none()
                        && worker.init.iter().all(|outcome| matches!(outcome, Outcome::Plain(_))));
                check(template, || {
                    format!("{} needs one plain template", supervisor.id)
                })?;
            }
        }
        for (_, worker) in self.workers() {
            check(!worker.init.is_empty(), || {
                format!("{} has no outcome", worker.id)
            })?;
        }
        for instance in &self.instances {
            check(
                !instance.init.is_empty() && self.is_simple(instance.sup),
                || {
                    format!(
                        "the instance {} needs an outcome and a template",
                        instance.id
                    )
                },
            )?;
        }
        let direct = self.ops.iter().filter_map(|op| match op {
            Op::Api { sup, call } => Some((sup.as_str(), call)),
            Op::Direct(_) => None,
        });
        for (sup, call) in direct.chain(self.calls.iter().map(|queued| (queued.sup, queued.call))) {
            if let Call::StartChild {
                new: New::Child(child),
            } = call
            {
                check(!self.is_simple(sup), || {
                    format!("{} is a spec for the dynamic {sup}", child.id())
                })?;
            }
        }
        for op in self.ops {
            if let Op::Direct(Direct::Exit { id, reason }) = op {
                check(*reason == Reason::Kill || !self.is_supervisor(id), || {
                    format!("the supervisor {id} cannot end by itself")
                })?;
            }
        }
        Ok(())
    }

    /// A timeout expires always (stubborn) or never: nothing in between can be told in advance.
    fn stops(&self) -> Result<(), Why> {
        for (_, worker) in self.workers() {
            let determined = match (worker.stubborn, worker.shutdown) {
                (_, Shutdown::BrutalKill) | (false, Shutdown::Infinity) => true,
                (true, Shutdown::Infinity) => false,
                (true, Shutdown::Milliseconds(time)) => {
                    (STUBBORN_MS_MIN..=STUBBORN_MS_MAX).contains(&time)
                }
                (false, Shutdown::Milliseconds(time)) => time >= PATIENT_MS_MIN,
            };
            check(determined && (worker.trap_exit || !worker.stubborn), || {
                format!("whether {} is killed is not determined", worker.id)
            })?;
        }
        for (_, nested) in self.nested() {
            let patient = match nested.shutdown {
                Shutdown::BrutalKill | Shutdown::Infinity => true,
                // Many stubborn workers may be stopped one after the other meanwhile.
                Shutdown::Milliseconds(time) => time >= 6 * PATIENT_MS_MIN,
            };
            check(patient, || {
                format!("the timeout of {} may expire", nested.supervisor.id)
            })?;
        }
        Ok(())
    }

    /// OTP counts whole seconds: restarts are either within a fraction of a second or far apart.
    fn periods(&self) -> Result<(), Why> {
        let mut short = false;
        for supervisor in &self.supervisors {
            short |= supervisor.period == PERIOD_SHORT;
            check(
                matches!(supervisor.period, PERIOD_SHORT | PERIOD_LONG),
                || format!("the period of {} may end at any time", supervisor.id),
            )?;
        }
        for op in self.ops {
            if let Op::Direct(Direct::Sleep { ms }) = op {
                check(*ms == SLEEP_MS, || {
                    format!("after {ms} ms a period may or may not be over")
                })?;
            }
        }
        let waits = |worker: &Worker| worker.stubborn && worker.shutdown != Shutdown::BrutalKill;
        let slow = self.workers().any(|(_, worker)| waits(worker));
        check(!(short && slow), || {
            "waiting for stubborn workers may take longer than a period".to_owned()
        })
    }

    /// OTP 25 stores `undefined` for an instance whose restart is ignored, and miscounts the active ones when a
    /// restarting one is terminated.
    fn instances(&self) -> Result<(), Why> {
        for instance in &self.instances {
            let restart_ignored = instance
                .init
                .iter()
                .skip(1)
                .any(|outcome| outcome.out() == Out::Ignore);
            check(!restart_ignored, || {
                format!("a restart of {} may be ignored", instance.id)
            })?;
        }
        for queued in &self.calls {
            let terminates_restarting = queued.by_instance
                && queued.out == Out::Error
                && matches!(queued.call, Call::TerminateChild { .. });
            let counted = self
                .calls_on(queued.sup)
                .any(|call| *call == Call::CountChildren);
            check(!(terminates_restarting && counted), || {
                format!(
                    "{} miscounts after {} terminates",
                    queued.sup, queued.caller
                )
            })?;
        }
        Ok(())
    }

    /// A killed worker's supervisor must be busy until the killer has done its work, and its own supervisor
    /// must have nothing to do meanwhile.
    fn kills(&self) -> Result<(), Why> {
        let sibling = |sup: &str, killer: &str, victim: &str| {
            killer != victim
                && (self
                    .workers()
                    .any(|(of, worker)| of == sup && worker.id == victim)
                    || self
                        .instances
                        .iter()
                        .any(|it| it.sup == sup && it.id == victim))
        };
        let initiators = self
            .workers()
            .map(|(sup, worker)| (sup, worker.id.as_str(), &worker.init[..]))
            .chain(self.instances.iter().map(|it| (it.sup, it.id, it.init)));
        for (sup, killer, init) in initiators {
            for outcome in init {
                if let Outcome::Kill { kill, .. } = outcome {
                    check(sup == self.root && sibling(sup, killer, kill), || {
                        format!("{killer} kills {kill} while a third supervisor goes on")
                    })?;
                }
            }
        }
        for (sup, worker) in self.workers() {
            if let Some(victim) = &worker.on_stop_kill {
                check(
                    sibling(sup, &worker.id, victim) && !self.is_simple(sup),
                    || {
                        format!(
                            "{} kills {victim} while another supervisor goes on",
                            worker.id
                        )
                    },
                )?;
            }
        }
        Ok(())
    }

    /// A queued call is handled after the start: below the root, the supervisor above then goes on at the same
    /// time, so that only calls that start and stop nothing may wait there. The start of an instance is different:
    /// no supervisor above takes part in it.
    fn calls(&self) -> Result<(), Why> {
        for queued in &self.calls {
            let quiet = matches!(
                queued.call,
                Call::WhichChildren
                    | Call::CountChildren
                    | Call::GetChildspec { .. }
                    | Call::DeleteChild { .. }
            );
            check(
                quiet || queued.by_instance || queued.sup == self.root,
                || format!("{} calls while a third supervisor goes on", queued.caller),
            )?;
            let restarts = matches!(queued.call, Call::RestartChild { .. });
            check(!(queued.repeated && restarts), || {
                format!(
                    "{} has itself restarted for ever: nobody counts that",
                    queued.caller
                )
            })?;
            // One that starts many would start them again each time.
            if let Call::StartChild { new } = queued.call {
                let (plain, id) = match new {
                    New::Child(child) => match &**child {
                        Child::Worker(worker) => (
                            worker.init.iter().all(|it| matches!(it, Outcome::Plain(_))),
                            worker.id.as_str(),
                        ),
                        Child::Supervisor(nested) => (false, nested.supervisor.id.as_str()),
                    },
                    New::Args { id, .. } => (false, id.as_str()),
                };
                check(plain, || {
                    format!(
                        "{} starts {id}, which is more than a plain worker",
                        queued.caller
                    )
                })?;
            }
        }
        Ok(())
    }

    /// The orphans of a killed supervisor die beside everything else: they must be workers that neither stay nor
    /// act.
    fn killed_supervisors(&self) -> Result<(), Why> {
        let mut killed: Vec<&str> = self
            .nested()
            .filter(|(_, nested)| nested.shutdown == Shutdown::BrutalKill)
            .map(|(_, nested)| nested.supervisor.id.as_str())
            .collect();
        killed.extend(self.ops.iter().filter_map(|op| match op {
            Op::Direct(Direct::Exit { id, .. }) if self.is_supervisor(id) => Some(id.as_str()),
            _ => None,
        }));
        if killed.is_empty() {
            return Ok(());
        }
        for (sup, child) in &self.children {
            match child {
                Child::Worker(worker) => {
                    let stays = killed.contains(sup) && worker.stubborn;
                    let kills = worker.on_stop_kill.is_some()
                        || worker
                            .init
                            .iter()
                            .any(|outcome| matches!(outcome, Outcome::Kill { .. }));
                    check(!stays && !kills, || {
                        format!("{} stays or kills, and a supervisor is killed", worker.id)
                    })?;
                }
                Child::Supervisor(nested) => check(!killed.contains(sup), || {
                    format!("{} would be an orphan supervisor", nested.supervisor.id)
                })?,
            }
        }
        for queued in &self.calls {
            check(!killed.contains(&queued.sup), || {
                format!(
                    "{} may be killed before or after it answers {}",
                    queued.sup, queued.caller
                )
            })?;
        }
        for instance in &self.instances {
            let kills = instance
                .init
                .iter()
                .any(|outcome| matches!(outcome, Outcome::Kill { .. }));
            check(!kills, || {
                format!("{} kills, and a supervisor is killed", instance.id)
            })?;
        }
        Ok(())
    }
}
