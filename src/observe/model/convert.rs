//! From what `byron-supervisors` tells of its processes to the model.

use std::error::Error;
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, SystemTime};

use byron_supervisors as supervisors;
use byron_supervisors::{AutoShutdown, EventDetails, ExitReason, events_since, snapshot};
use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    Budget, Details, Dynamic, DynamicExit, Event, EventKind, Flag, Handling, LastExit, Mailbox,
    Messages, Node, Operator, Reason, ReasonKind, Spec, State, Supervision, Tree, Turns, VERSION,
    bounded,
};

impl Tree {
    /// What the trees of this program look like now.
    pub fn now() -> Tree {
        // First the number, then the look: what happens in between may be in the tree, and is told afterwards too.
        let events = events_since(u64::MAX);
        let moment = Moment::now();
        let roots = snapshot();
        Tree {
            v: VERSION,
            seq: events.last,
            ts: moment.ts,
            dropped: events.dropped,
            roots: roots.iter().map(|root| node(root, moment)).collect(),
        }
    }
}

/// One moment on both clocks: people's, and the one that never goes back.
#[derive(Clone, Copy)]
struct Moment {
    ts: Timestamp,
    instant: Instant,
}

impl Moment {
    fn now() -> Moment {
        Moment {
            ts: timestamp(SystemTime::now()),
            instant: Instant::now(),
        }
    }

    fn since(self, instant: Instant) -> Duration {
        to_microseconds(self.instant.saturating_duration_since(instant))
    }

    fn of(self, instant: Instant) -> Timestamp {
        let ts = match instant.checked_duration_since(self.instant) {
            Some(ahead) => self.ts.checked_add(ahead),
            None => self.ts.checked_sub(self.instant - instant),
        };
        ts.unwrap_or(self.ts)
    }
}

/// To the microsecond; a clock that is set to where RFC 3339 has no years counts as 1970.
fn timestamp(at: SystemTime) -> Timestamp {
    Timestamp::try_from(at)
        .and_then(|ts| Timestamp::from_microsecond(ts.as_microsecond()))
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

/// What travels is as exact as what JSON says of it.
fn to_microseconds(span: Duration) -> Duration {
    Duration::from_micros(span.as_micros() as u64)
}

fn node(node: &supervisors::Node, moment: Moment) -> Node {
    let vitals = node.vitals.as_ref();
    let mut state = State::from(node.state.name());
    // What holds still says so instead of that it runs.
    let is_still = state == State::Running && node.flags.suspended;
    if is_still {
        state = State::Suspended;
    }
    let flags = node.flags.names().map(Flag::from);
    let flags = flags.filter(|flag| !is_still || flag.as_str() != State::Suspended.as_str());
    Node {
        pid: node.state.pid().map(supervisors::Pid::as_u64),
        actor: node.actor.to_owned(),
        incarnation: node.incarnation,
        since: node
            .uptime
            .and_then(|uptime| moment.ts.checked_sub(uptime).ok())
            .and_then(|ts| Timestamp::from_microsecond(ts.as_microsecond()).ok()),
        uptime: node.uptime.map(to_microseconds),
        restarts: node.restarts,
        failures: (node.failures != 0).then_some(node.failures),
        next_attempt: node.state.until().map(|until| moment.of(until)),
        flags: flags.collect(),
        mailbox: vitals.and_then(mailbox),
        turns: vitals.map(turns),
        handling: vitals.and_then(|vitals| handling(vitals, moment)),
        waiting: vitals.and_then(|vitals| waiting(vitals, moment)),
        waits_for: vitals
            .and_then(supervisors::Vitals::waits_for)
            .map(supervisors::Pid::as_u64),
        links: vitals.map(|vitals| vitals.links as u64),
        monitors: vitals.map(|vitals| vitals.monitors as u64),
        details: Details(
            node.details
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone()))
                .collect(),
        ),
        messages: (!node.actor.is_empty()).then(|| Messages {
            handled: node.handled,
            refused: vitals
                .map(|vitals| vitals.refused)
                .filter(|count| *count > 0),
            lost: vitals.map(|vitals| vitals.lost).filter(|count| *count > 0),
            per_second: None,
        }),
        last_exit: node.last_exit.as_ref().map(last_exit),
        waits_for_sibling: node.waits_for.as_deref().map(str::to_owned),
        stopped_by: node.stopped_by.as_ref().map(ToString::to_string),
        spec: node.spec.as_ref().map(spec),
        supervisor: node.supervisor.as_ref().map(supervision),
        children: node
            .children
            .iter()
            .map(|child| self::node(child, moment))
            .collect(),
        ..Node::new(node.path.to_string(), state)
    }
}

fn mailbox(vitals: &supervisors::Vitals) -> Option<Mailbox> {
    Some(Mailbox {
        len: vitals.mailbox_len? as u64,
        capacity: vitals.mailbox_capacity.map(|capacity| capacity as u64),
        high_water: Some(vitals.mailbox_high as u64),
        policy: vitals
            .mailbox_overflow
            .map(|overflow| overflow.name().to_owned()),
    })
}

fn turns(vitals: &supervisors::Vitals) -> Turns {
    Turns {
        count: vitals.turns,
        total: to_microseconds(vitals.turn_time),
        p50: vitals.turn_p50.map(to_microseconds),
        p99: vitals.turn_p99.map(to_microseconds),
        longest: to_microseconds(vitals.turn_longest),
    }
}

fn handling(vitals: &supervisors::Vitals, moment: Moment) -> Option<Handling> {
    let doing = vitals.doing.as_ref()?;
    let message = doing
        .in_message
        .map_or_else(|| doing.during.to_string(), str::to_owned);
    Some(Handling {
        message,
        span: moment.since(doing.since),
    })
}

fn waiting(vitals: &supervisors::Vitals, moment: Moment) -> Option<Handling> {
    let waiting = vitals.waiting.as_ref()?;
    Some(Handling {
        message: waiting.in_message.unwrap_or_default().to_owned(),
        span: moment.since(waiting.since),
    })
}

fn supervision(info: &supervisors::SupervisorInfo) -> Supervision {
    Supervision {
        strategy: info.strategy.to_owned(),
        auto_shutdown: auto_shutdown(info.auto_shutdown),
        budget: budget(info.budget()),
        children_total: info.children_total as u64,
        dynamic: info.dynamic.as_ref().map(dynamic),
    }
}

/// A supervisor that tolerates every restart says so with the largest number there is.
fn budget(budget: supervisors::Budget) -> Option<Budget> {
    (budget.limit != u32::MAX).then(|| Budget {
        used: budget.used as u64,
        intensity: budget.limit,
        period: to_microseconds(budget.period),
    })
}

fn auto_shutdown(auto_shutdown: AutoShutdown) -> Option<String> {
    let word = match auto_shutdown {
        AutoShutdown::Never => return None,
        AutoShutdown::AnySignificant => "any_significant",
        AutoShutdown::AllSignificant => "all_significant",
    };
    Some(word.to_owned())
}

fn spec(spec: &supervisors::ChildSpecInfo) -> Spec {
    Spec {
        restart: spec.restart.name().to_owned(),
        shutdown: spec.shutdown.to_string(),
        child_type: spec.child_type.name().to_owned(),
        significant: spec.significant,
        backoff: spec
            .backoff
            .map(|backoff| format!("{:?} to {:?}", backoff.min, backoff.max)),
    }
}

fn dynamic(info: &supervisors::DynamicInfo) -> Dynamic {
    let states = [
        (State::Starting, info.starting),
        (State::Running, info.running),
        (State::Stopping, info.stopping),
        (State::Restarting, info.restarting),
    ];
    let states = states.into_iter().filter(|(_, count)| *count > 0);
    Dynamic {
        template: info.template.id.to_string(),
        spec: Some(spec(&info.template)),
        max: info.children_max.map(|max| max as u64),
        by_state: states.map(|(state, count)| (state, count as u64)).collect(),
        started: info.counts.started,
        ended: info.counts.ended,
        restarted: info.counts.restarted,
        crashed: info.counts.crashed,
        exits: info.exits.iter().map(dynamic_exit).collect(),
    }
}

fn dynamic_exit(exit: &supervisors::DynamicExit) -> DynamicExit {
    DynamicExit {
        path: exit.path.to_string(),
        incarnation: exit.incarnation,
        exit: last_exit(&exit.exit),
    }
}

fn last_exit(exit: &supervisors::LastExit) -> LastExit {
    LastExit {
        reason: Reason::from(&exit.reason),
        ts: timestamp(exit.at),
        event: (exit.event != 0).then_some(exit.event),
    }
}

impl From<&supervisors::Event> for Event {
    fn from(event: &supervisors::Event) -> Event {
        let plain = Event {
            path: event.path.as_ref().map(ToString::to_string),
            pid: event.pid.map(supervisors::Pid::as_u64),
            incarnation: (event.incarnation != 0).then_some(event.incarnation),
            reason: event.reason.as_ref().map(Reason::from),
            note: event.note.as_deref().map(bounded),
            cause: event.cause,
            ..Event::new(
                event.seq,
                timestamp(event.at),
                EventKind::from(event.kind.name()),
            )
        };
        detailed(plain, &event.details)
    }
}

/// The event with what is to be known of its kind.
fn detailed(event: Event, details: &EventDetails) -> Event {
    match details {
        EventDetails::Exit {
            crash,
            uptime,
            mailbox_len,
        } => Event {
            crash: Some(*crash),
            uptime: Some(to_microseconds(*uptime)),
            mailbox_len: Some(*mailbox_len as u64),
            ..event
        },
        EventDetails::Restart {
            strategy,
            budget,
            taken_along,
        } => Event {
            strategy: Some((*strategy).to_owned()),
            budget: self::budget(*budget),
            ..taking(event, taken_along)
        },
        EventDetails::Backoff {
            delay,
            until,
            failures,
            taken_along,
        } => Event {
            delay: Some(to_microseconds(*delay)),
            until: Some(timestamp(*until)),
            failures: Some(*failures),
            ..taking(event, taken_along)
        },
        EventDetails::GaveUp { budget } => Event {
            budget: self::budget(*budget),
            ..event
        },
        EventDetails::GaveUpOn { failures } => Event {
            failures: Some(*failures),
            ..event
        },
        EventDetails::Operator {
            operator,
            action,
            refused,
        } => Event {
            operator: Some(Operator {
                uid: operator.uid,
                pid: operator.pid,
                via: bounded(operator.via.as_str()),
            }),
            action: action.map(|action| action.name().to_owned()),
            refused: refused.as_deref().map(bounded),
            ..event
        },
        // What a later version of the crate tells, this one has no words for.
        _ => event,
    }
}

fn taking(event: Event, taken_along: &supervisors::TakenAlong) -> Event {
    let named = taken_along.ids.len();
    Event {
        taken_along: taken_along.ids.iter().map(ToString::to_string).collect(),
        taken_along_more: taken_along.total.saturating_sub(named) as u64,
        ..event
    }
}

impl From<&ExitReason> for Reason {
    fn from(reason: &ExitReason) -> Reason {
        let plain = Reason::new(ReasonKind::from(reason.kind()));
        match reason {
            ExitReason::Panic(panic) => Reason {
                text: bounded(panic.message.as_str()),
                at: panic.location.clone(),
                message: panic.in_message.map(str::to_owned),
                during: panic.in_message.is_none().then(|| panic.during.to_string()),
                ..plain
            },
            ExitReason::Error(error) | ExitReason::Shutdown(Some(error)) => Reason {
                text: bounded(text_of(&**error)),
                ..plain
            },
            _ => plain,
        }
    }
}

/// An error may be anybody's: one that panics when it is shown must not take down who looks.
fn text_of(error: &dyn Error) -> String {
    panic::catch_unwind(AssertUnwindSafe(|| error.to_string()))
        .unwrap_or_else(|_| "an error that panics when it is shown".to_owned())
}
