//! The phrases that all texts use: spans of time, budgets, reasons.

use std::time::Duration;

use jiff::Timestamp;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::observe::model::{Budget, Event, LastExit, Mailbox, Reason, ReasonKind};
use crate::present::escape::escape_name;

/// A span of time as a person says it: `250ms`, `2s`, `1m12s`, `2h15m`, `3d04h`.
pub(crate) fn span(span: Duration) -> String {
    match span.as_secs() {
        0 if span < Duration::from_millis(1) => format!("{}us", span.as_micros()),
        0 => format!("{}ms", span.as_millis()),
        seconds @ 1..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        seconds @ 3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        seconds => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// A span that somebody waits for, or measures: tenths of a second where they are to be seen.
pub(crate) fn exact_span(exact: Duration) -> String {
    match exact.as_millis() {
        milliseconds @ 1000..60_000 if milliseconds % 1000 >= 100 => {
            format!("{}.{}s", milliseconds / 1000, milliseconds % 1000 / 100)
        }
        _ => span(exact),
    }
}

/// From `earlier` to `later`; nothing if it is the other way round.
pub(crate) fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or_default()
}

/// `mailbox 4/16`.
pub(crate) fn mailbox(mailbox: &Mailbox) -> String {
    match mailbox.capacity {
        Some(capacity) => format!("mailbox {}/{capacity}", mailbox.len),
        None => format!("mailbox {}", mailbox.len),
    }
}

/// `2/3 in 5s`.
pub(crate) fn budget(budget: &Budget) -> String {
    format!(
        "{}/{} in {}",
        budget.used,
        budget.intensity,
        span(budget.period)
    )
}

/// A type without the modules it is in.
pub(crate) fn type_name(name: &str) -> String {
    // The parameters of a generic type have paths of their own.
    let end = name.find('<').unwrap_or(name.len());
    let start = name[..end].rfind("::").map_or(0, |at| at + 2);
    escape_name(&name[start..])
}

/// A text that may have lines, as one: `\n` stands between them.
pub(crate) fn one_line(text: &str) -> String {
    escape_name(&text.trim_end().replace('\n', "\\n"))
}

/// What was the matter, without where in its life that was: `panicked at 'poem file vanished' src/serve.rs:88:17`.
pub(crate) fn reason(reason: &Reason) -> String {
    let text = one_line(&reason.text);
    match (&reason.kind, &reason.at) {
        (ReasonKind::Panic, Some(at)) => format!("panicked at '{text}' {}", escape_name(at)),
        (ReasonKind::Panic, None) => format!("panicked at '{text}'"),
        (kind, _) if text.is_empty() => escape_name(kind.as_str()),
        (kind, _) => format!("{}: {text}", escape_name(kind.as_str())),
    }
}

/// What a process was doing when it ended: `handling Recite`, `in init`.
pub(crate) fn doing(reason: &Reason) -> Option<String> {
    match (&reason.message, &reason.during) {
        (Some(message), _) => Some(format!("handling {}", type_name(message))),
        (None, Some(during)) => Some(format!("in {}", escape_name(during))),
        (None, None) => None,
    }
}

/// A reason in short, for the end of a line: `panic "poem file vanished" serve.rs:88`.
pub(crate) fn short_reason(reason: &Reason) -> String {
    let mut text = escape_name(reason.kind.as_str());
    if !reason.text.is_empty() {
        text += &format!(" \"{}\"", one_line(&reason.text));
    }
    if let Some(at) = &reason.at {
        // The file alone, and without the column.
        let file = at.rsplit('/').next().unwrap_or(at);
        let file = match file.rsplit_once(':') {
            Some((line, _)) if line.contains(':') => line,
            _ => file,
        };
        text += &format!(" {}", escape_name(file));
    }
    text
}

/// `panic "poem file vanished" serve.rs:88, 2s ago`.
pub(crate) fn last_exit(exit: &LastExit, now: Timestamp) -> String {
    format!(
        "{}, {} ago",
        short_reason(&exit.reason),
        span(between(exit.ts, now))
    )
}

/// Who an event is about: `root/poems/ecstasy#3`.
pub(crate) fn whom(event: &Event) -> String {
    match (&event.path, event.incarnation, event.pid) {
        (Some(path), Some(incarnation), _) => format!("{}#{incarnation}", escape_name(path)),
        (Some(path), None, _) => escape_name(path),
        (None, _, Some(pid)) => pid_text(pid),
        (None, _, None) => "-".to_owned(),
    }
}

/// A pid as Erlang prints it.
pub(crate) fn pid_text(pid: u64) -> String {
    format!("<0.{pid}.0>")
}

/// `1 reader`, `2 readers`.
pub(crate) use crate::present::message::counted;

/// How many columns a text without colours takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// At most so many columns of a text; what is cut off shows as `…`.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut room = columns.saturating_sub(1);
    let fits = |letter: &char| {
        let columns = letter.width().unwrap_or(0);
        let fits = columns <= room;
        room = room.saturating_sub(columns);
        fits
    };
    let mut kept: String = text.chars().take_while(fits).collect();
    if columns > 0 {
        kept.push('…');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short_and_have_a_unit() {
        for (milliseconds, coarse, exact) in [
            (0, "0us", "0us"),
            (250, "250ms", "250ms"),
            (1_000, "1s", "1s"),
            (1_640, "1s", "1.6s"),
            (59_999, "59s", "59.9s"),
            (72_000, "1m12s", "1m12s"),
            (8_100_000, "2h15m", "2h15m"),
            (273_600_000, "3d04h", "3d04h"),
        ] {
            let value = Duration::from_millis(milliseconds);
            assert_eq!(
                (span(value), exact_span(value)),
                (coarse.into(), exact.into())
            );
        }
        assert_eq!(span(Duration::from_micros(12)), "12us");
    }

    #[test]
    fn what_is_cut_takes_no_more_columns_than_there_are() {
        for (text, columns, expected) in [
            ("ecstasy", 7, "ecstasy"),
            ("ecstasy", 6, "ecsta…"),
            ("ecstasy", 1, "…"),
            ("ecstasy", 0, ""),
            ("诗诗诗", 6, "诗诗诗"),
            ("诗诗诗", 5, "诗诗…"),
            ("诗诗诗", 4, "诗…"),
        ] {
            assert_eq!(cut(text, columns), expected);
            assert!(width(expected) <= columns);
        }
    }

    #[test]
    fn reasons_are_told_long_and_short() {
        let panic = Reason {
            text: "poem file\nvanished\u{1b}\n".into(),
            at: Some("src/serve.rs:88:17".into()),
            message: Some("byron_actors::server::Recite".into()),
            ..Reason::new(ReasonKind::Panic)
        };
        assert_eq!(
            reason(&panic),
            r"panicked at 'poem file\nvanished\x1b' src/serve.rs:88:17"
        );
        assert_eq!(doing(&panic).as_deref(), Some("handling Recite"));
        assert_eq!(
            short_reason(&panic),
            r#"panic "poem file\nvanished\x1b" serve.rs:88"#
        );
        let plain = Reason::new(ReasonKind::Shutdown);
        assert_eq!(
            (reason(&plain), short_reason(&plain), doing(&plain)),
            ("shutdown".into(), "shutdown".into(), None)
        );
        let in_init = Reason {
            text: "no room".into(),
            during: Some("init".into()),
            ..Reason::new(ReasonKind::Error)
        };
        assert_eq!(
            (reason(&in_init), doing(&in_init)),
            ("error: no room".into(), Some("in init".into()))
        );
        assert_eq!(short_reason(&in_init), "error \"no room\"");
    }
}
