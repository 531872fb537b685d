//! What an event says in numbers and names, where its note has a sentence for people.

use std::time::{Duration, SystemTime};

use crate::child_spec::ChildId;
use crate::intensity::Budget;
use crate::operate::{Action, Operator};

/// How many of the siblings that a restart takes along an event names; the others it counts.
pub const TAKEN_ALONG_MAX: usize = 20;

/// What there is to know of an event besides where, when and why. Which one it is follows from the event's kind.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub enum EventDetails {
    /// Nothing more.
    #[default]
    None,
    /// Of an [`Exit`](crate::EventKind::Exit).
    Exit {
        /// It was the process's own failure, a panic or an error: not a signal of somebody else's.
        crash: bool,
        /// How long the process had lived.
        uptime: Duration,
        /// How many messages were waiting.
        mailbox_len: usize,
    },
    /// Of a [`Restart`](crate::EventKind::Restart).
    Restart {
        /// OTP's word for the supervisor's strategy.
        strategy: &'static str,
        /// The supervisor's budget, this restart included.
        budget: Budget,
        /// The siblings that are stopped and started with it.
        taken_along: TakenAlong,
    },
    /// Of a [`Backoff`](crate::EventKind::Backoff).
    Backoff {
        /// How long the supervisor waits.
        delay: Duration,
        /// Until when.
        until: SystemTime,
        /// How often the child has failed in a row.
        failures: u32,
        /// The siblings that are stopped meanwhile.
        taken_along: TakenAlong,
    },
    /// Of a [`GaveUp`](crate::EventKind::GaveUp) of a supervisor that has restarted too often.
    GaveUp {
        /// The budget, with the restart that was one too many.
        budget: Budget,
    },
    /// Of a [`GaveUp`](crate::EventKind::GaveUp) on one child, whose [`Backoff`](crate::Backoff) allows no more.
    GaveUpOn {
        /// How often it has failed in a row.
        failures: u32,
    },
    /// Of an [`Operator`](crate::EventKind::Operator)'s deed.
    Operator {
        /// Who.
        operator: Box<Operator>,
        /// What was asked for, if it was something that [`operate`](crate::operate()) does.
        action: Option<Action>,
        /// Why it was not done. The event's cause is then the one that tells of the request.
        refused: Option<Box<str>>,
    },
}

impl EventDetails {
    /// What there is besides the size of the value itself, by estimate.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Restart { taken_along, .. } | Self::Backoff { taken_along, .. } => {
                taken_along.ids.len() * std::mem::size_of::<ChildId>()
            }
            Self::Operator {
                operator, refused, ..
            } => {
                std::mem::size_of::<Operator>()
                    + operator.via.len()
                    + refused.as_ref().map_or(0, |refused| refused.len())
            }
            Self::None | Self::Exit { .. } | Self::GaveUp { .. } | Self::GaveUpOn { .. } => 0,
        }
    }
}

/// The siblings of a failed child that its supervisor stops and starts with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TakenAlong {
    /// Their ids in start order, the first [`TAKEN_ALONG_MAX`].
    pub ids: Vec<ChildId>,
    /// How many there are.
    pub total: usize,
}

impl FromIterator<ChildId> for TakenAlong {
    fn from_iter<I: IntoIterator<Item = ChildId>>(siblings: I) -> Self {
        let mut all = Self::default();
        for id in siblings {
            all.total += 1;
            if all.ids.len() < TAKEN_ALONG_MAX {
                all.ids.push(id);
            }
        }
        all
    }
}
