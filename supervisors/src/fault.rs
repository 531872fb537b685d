//! What befalls a process on purpose: the [`Fate`] that it carries through its turns, and the faults that an actor takes
//! itself.
//!
//! Who is given one, and when it falls, is decided in [`chaos`](crate::chaos).

use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context as TaskContext;

use tokio::time::{Instant, Sleep};

use crate::chaos::{Draw, Fault, Lot, Stage, Subject, fate_of};
use crate::exit::ExitReason;
use crate::process::Core;

/// The error, or the text of the panic, of a process that fell on purpose.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InjectedFault(String);

/// A fault of a rule, on its way to a process.
#[derive(Debug)]
pub(crate) struct Doom {
    pub(crate) stage: Arc<Stage>,
    pub(crate) rule: usize,
    pub(crate) fault: Fault,
    pub(crate) draw: Draw,
}

impl Doom {
    /// Books it and records it; answers what an error or a panic says of it, and its event.
    fn strike(&self, subject: &Subject, turn: u32) -> (String, u64) {
        self.stage.strike(self, subject, turn);
        let note = self.stage.note(self.rule);
        let event = subject.tell(match turn {
            0 => note.clone(),
            turn => format!("{note}, in turn {turn}"),
        });
        (format!("chaos: {note}"), event)
    }
}

/// What a process is to do instead of its turn.
pub(crate) enum Fall {
    /// Nothing, until the task is woken.
    Stall,
    /// To be killed because of this event.
    Kill(u64),
    /// To end with this reason because of this event.
    Exit(ExitReason, u64),
    /// To panic with this text because of this event.
    Panic(String, u64),
}

/// What is in store for one process.
#[derive(Debug)]
pub(crate) struct Fate {
    subject: Arc<Subject>,
    turn: u32,
    dooms: Vec<Doom>,
    start: Option<Doom>,
    /// A test wants the start to fail.
    must_fail_start: bool,
    stall: Option<Stall>,
    /// Who waits for this place to be ready again.
    recovers: Vec<Arc<Stage>>,
}

#[derive(Debug)]
struct Stall {
    doom: Doom,
    since: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Fate {
    pub(crate) fn new(
        subject: Arc<Subject>,
        dooms: Vec<Doom>,
        start: Option<Doom>,
        must_fail_start: bool,
        recovers: Vec<Arc<Stage>>,
    ) -> Self {
        Self {
            subject,
            turn: 0,
            dooms,
            start,
            must_fail_start,
            stall: None,
            recovers,
        }
    }

    /// The reason with which the start is to fail, and its event.
    pub(crate) fn failed_start(&mut self) -> Option<(ExitReason, u64)> {
        let (note, event) = if self.must_fail_start {
            let note = "a test wanted the start to fail";
            (note.to_owned(), self.subject.tell(note.to_owned()))
        } else {
            self.start.take()?.strike(&self.subject, 0)
        };
        Some((ExitReason::error(InjectedFault(note)), event))
    }

    /// The process begins a turn: what befalls it now, if anything does.
    pub(crate) fn next(&mut self, task: &mut TaskContext<'_>) -> Option<Fall> {
        if let Some(stall) = &mut self.stall {
            if stall.sleep.as_mut().poll(task).is_pending() {
                return Some(Fall::Stall);
            }
            if let Some(Stall { doom, since, .. }) = self.stall.take() {
                doom.stage.stood_up(&doom, &self.subject, since.elapsed());
            }
        }
        self.turn += 1;
        let at = self
            .dooms
            .iter()
            .position(|doom| doom.draw.turn <= self.turn)?;
        let doom = self.dooms.remove(at);
        let (note, event) = doom.strike(&self.subject, self.turn);
        Some(match doom.fault {
            Fault::Panic { .. } => Fall::Panic(note, event),
            Fault::Kill { .. } => Fall::Kill(event),
            Fault::Stall(time) => {
                let mut sleep = Box::pin(tokio::time::sleep(time));
                // So that the task is woken; it cannot be over yet.
                let _ = sleep.as_mut().poll(task);
                let since = Instant::now();
                self.stall = Some(Stall { doom, since, sleep });
                Fall::Stall
            }
            // The last two never come here: they are no matter of turns.
            Fault::Exit { .. } | Fault::Start | Fault::Custom(_) => {
                Fall::Exit(ExitReason::error(InjectedFault(note)), event)
            }
        })
    }

    /// The process is ready: so its place is well again.
    pub(crate) fn ready(&mut self) {
        for stage in std::mem::take(&mut self.recovers) {
            stage.is_well(&self.subject);
        }
    }
}

impl Core {
    /// Finds out what is to befall this process, which does not run yet.
    pub(crate) fn meet_fate(&self, lot: Lot) {
        let fate = self
            .label()
            .and_then(|label| fate_of(label, self.pid(), self.kind(), lot));
        let Some((mut fate, custom_faults)) = fate else {
            return;
        };
        if let Some((reason, event)) = fate.failed_start() {
            self.signal(None, reason, event);
        }
        let mut state = self.state();
        let ties = state.ties();
        ties.fate = Some(Box::new(fate));
        ties.custom_faults = custom_faults;
    }
}

/// A fault that the actor itself makes happen: [`Context::take_fault`](crate::Context::take_fault) gives it, and
/// [`Context::suffer`](crate::Context::suffer) ends the process with it.
pub struct CustomFault {
    doom: Doom,
    subject: Arc<Subject>,
}

impl fmt::Debug for CustomFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CustomFault").field(&self.name()).finish()
    }
}

impl CustomFault {
    pub(crate) fn new(doom: Doom, subject: Arc<Subject>) -> Self {
        Self { doom, subject }
    }

    /// Its name in the rules.
    pub fn name(&self) -> &'static str {
        self.doom.fault.name()
    }

    /// Where it falls, if there are so many places (bytes, say): 0 to `places - 1`, by the seed. 0 if there are none.
    pub fn place_of(&self, places: u64) -> u64 {
        ((u128::from(self.doom.draw.number) * u128::from(places)) >> 64) as u64
    }

    /// It happens now: the reason with which to end, and its event.
    pub(crate) fn strike(self) -> (ExitReason, u64) {
        let (note, event) = self.doom.strike(&self.subject, 0);
        (ExitReason::error(InjectedFault(note)), event)
    }
}
