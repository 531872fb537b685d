//! One event on one line.

use super::{BAD, DIM, Look, STRONG, words};
use crate::observe::model::{Event, EventKind};
use crate::present::escape::escape_name;

/// How wide the words for kinds are, as a rule.
const KIND_COLUMNS: usize = 8;

/// One line: `12:03:11.204 #918 exit     root/poems/ecstasy#3  panicked at 'poem file vanished' … (because of #911)`.
pub fn event_line(event: &Event, look: &Look) -> String {
    let cause = event
        .cause
        .map(|cause| format!(" (because of #{cause})"))
        .unwrap_or_default();
    let time = look.time(event.ts);
    let kind = escape_name(event.kind.as_str());
    let kind = format!("{kind:KIND_COLUMNS$}");
    let whom = words::whom(event);
    let number = format!("#{}", event.seq);
    let what = what(event);
    let mut plain = words::width(&time) + words::width(&number) + words::width(&kind);
    plain += words::width(&whom) + "   ".len();
    let what = match look.width {
        // The cause is what leads on: it stays.
        Some(width) => words::cut(
            &what,
            width.saturating_sub(plain + 2 + words::width(&cause)),
        ),
        None => what,
    };
    let gap = if what.is_empty() { "" } else { "  " };
    format!(
        "{} {} {} {}{gap}{what}{}",
        look.paint(DIM, &time),
        look.paint(DIM, &number),
        look.paint(if is_bad(event) { BAD } else { STRONG }, &kind),
        look.paint(STRONG, &whom),
        look.paint(DIM, &cause),
    )
}

fn is_bad(event: &Event) -> bool {
    event.is_bad_exit() || event.kind == EventKind::GaveUp
}

/// What an event says besides its kind and whom it is about.
pub(crate) fn what(event: &Event) -> String {
    let mut parts = Vec::new();
    match &event.kind {
        EventKind::Restart => {
            parts.extend(event.strategy.as_deref().map(escape_name));
            parts.extend(event.budget.as_ref().map(words::budget));
            parts.extend(taken_along(event));
        }
        EventKind::Backoff => {
            if let Some(delay) = event.delay {
                parts.push(format!("next attempt after {}", words::exact_span(delay)));
            }
            let failures = event.failures.filter(|failures| *failures > 1);
            parts.extend(failures.map(|failures| format!("{failures} failures in a row")));
            parts.extend(taken_along(event));
        }
        _ => {}
    }
    let is_told = !parts.is_empty();
    // Notes say for people what a version before could not say otherwise.
    if let Some(note) = event.note.as_deref().filter(|_| !is_told) {
        parts.push(words::one_line(note));
    }
    if let Some(reason) = &event.reason {
        parts.push(words::reason(reason));
        parts.extend(words::doing(reason));
    }
    if let Some(message) = &event.message {
        parts.push(words::type_name(message));
    }
    if let Some(operator) = &event.operator
        && event.note.is_none()
    {
        parts.push(escape_name(&operator.to_string()));
    }
    parts.join(", ")
}

/// `takes along science, fascination`.
fn taken_along(event: &Event) -> Option<String> {
    let names = event.taken_along.iter().map(|name| escape_name(name));
    let mut names: Vec<_> = names.collect();
    if event.taken_along_more > 0 {
        names.push(format!("{} more", event.taken_along_more));
    }
    (!names.is_empty()).then(|| format!("takes along {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    use super::*;
    use crate::observe::model::{Budget, Reason, ReasonKind};

    fn look(width: Option<usize>) -> Look {
        Look {
            width,
            zone: TimeZone::UTC,
            ..Look::plain()
        }
    }

    fn event(seq: u64, kind: EventKind) -> Event {
        let ts: Timestamp = "2026-06-21T12:03:11.204Z".parse().unwrap();
        Event {
            path: Some("root/poems/ecstasy".into()),
            incarnation: Some(3),
            ..Event::new(seq, ts, kind)
        }
    }

    fn crash() -> Event {
        Event {
            reason: Some(Reason {
                text: "poem file vanished".into(),
                at: Some("src/serve.rs:88:17".into()),
                message: Some("byron::Recite".into()),
                ..Reason::new(ReasonKind::Panic)
            }),
            cause: Some(911),
            ..event(918, EventKind::Exit)
        }
    }

    #[test]
    fn an_event_is_one_line_that_leads_to_its_cause() {
        let budget = Budget {
            used: 2,
            intensity: 3,
            period: Duration::from_secs(5),
        };
        for (event, expected) in [
            (
                event(7, EventKind::Ready),
                "12:03:11.204 #7 ready    root/poems/ecstasy#3",
            ),
            (
                crash(),
                "12:03:11.204 #918 exit     root/poems/ecstasy#3  panicked at 'poem file vanished' src/serve.rs:88:17, \
                 handling Recite (because of #911)",
            ),
            (
                Event {
                    strategy: Some("one_for_all".into()),
                    budget: Some(budget),
                    taken_along: vec!["science".into(), "fascination".into()],
                    cause: Some(918),
                    ..event(919, EventKind::Restart)
                },
                "12:03:11.204 #919 restart  root/poems/ecstasy#3  one_for_all, 2/3 in 5s, takes along science, fascination \
                 (because of #918)",
            ),
            (
                Event {
                    delay: Some(Duration::from_millis(1600)),
                    note: Some("waits 1600 ms".into()),
                    ..event(920, EventKind::Backoff)
                },
                "12:03:11.204 #920 backoff  root/poems/ecstasy#3  next attempt after 1.6s",
            ),
            (
                Event {
                    note: Some("ctl kills\u{1b}[2J it".into()),
                    path: None,
                    pid: Some(42),
                    ..event(921, EventKind::Other("hex\u{9b}ed".into()))
                },
                r"12:03:11.204 #921 hex\u{9b}ed <0.42.0>  ctl kills\x1b[2J it",
            ),
        ] {
            assert_eq!(event_line(&event, &look(None)), expected);
        }
    }

    #[test]
    fn a_narrow_terminal_loses_the_middle_of_a_line() {
        let line = event_line(&crash(), &look(Some(80)));
        assert_eq!(
            line,
            "12:03:11.204 #918 exit     root/poems/ecstasy#3  panicked at … (because of #911)"
        );
    }

    #[test]
    fn colours_are_only_there_if_wanted() {
        let colour = Look {
            colour: true,
            ..look(None)
        };
        let line = event_line(&crash(), &colour);
        assert!(line.contains("\u{1b}["));
        let stripped = anstream::adapter::strip_str(&line).to_string();
        assert_eq!(stripped, event_line(&crash(), &look(None)));
    }
}
