//! A line of the log for a person; a crash is a block.

use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde_json::Value;

use super::layer::CRASH;
use crate::observe::model::{Budget, LogRecord, Mailbox, Reason, ReasonKind};
use crate::observe::render::{CrashReport, DIM, Look, STRONG, words};
use crate::present::escape::escape_name;

/// `12:03:11.204 WARN  root/poems/ecstasy#3 the fetch failed upstream=10000 kind=refused`, or the block of a crash.
pub fn line(record: &LogRecord, look: &Look) -> String {
    let time = look.paint(DIM, &look.time(record.ts));
    let level = escape_name(&record.level);
    let level = look.paint(style(&level), &format!("{level:5}"));
    if record.target == CRASH {
        return format!("{time} {level} {}\n", crash_report(record).block());
    }
    let whom = match (&record.path, record.incarnation) {
        (Some(path), Some(incarnation)) => format!("{}#{incarnation} ", escape_name(path)),
        (Some(path), None) => format!("{} ", escape_name(path)),
        (None, _) => String::new(),
    };
    let event = record.event.as_ref().map(|event| ("event", event));
    let fields = record.fields.0.iter();
    let fields = fields.map(|(key, value)| (key.as_str(), value));
    let fields: Vec<_> = event
        .into_iter()
        .chain(fields)
        .map(|(key, value)| format!("{}={}", escape_name(key), value_text(value)))
        .collect();
    let gap = if fields.is_empty() { "" } else { " " };
    format!(
        "{time} {level} {}{}{gap}{}\n",
        look.paint(STRONG, &whom),
        words::one_line(&record.msg),
        look.paint(DIM, &fields.join(" ")),
    )
}

fn style(level: &str) -> Style {
    let colour = match level {
        "ERROR" => AnsiColor::Red,
        "WARN" => AnsiColor::Yellow,
        "INFO" => AnsiColor::Green,
        _ => return DIM,
    };
    colour.on_default().bold()
}

/// Texts with spaces or quotes are quoted, so that it is clear where they end.
fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let text = words::one_line(text);
            let is_plain = !text.is_empty()
                && !text.contains(|letter: char| letter == '"' || letter.is_whitespace());
            if is_plain {
                text
            } else {
                format!("\"{}\"", text.replace('"', "\\\""))
            }
        }
        other => other.to_string(),
    }
}

/// What a process's crash report says.
fn crash_report(record: &LogRecord) -> CrashReport {
    let fields = &record.fields;
    let text = |key: &str| fields.text(key).map(str::to_owned);
    let milliseconds = |key: &str| fields.number(key).map(Duration::from_millis);
    let path = record.path.clone().unwrap_or_default();
    let above = path.rsplit_once('/').map(|(parent, _)| parent.to_owned());
    let event = record.event.as_ref().and_then(Value::as_u64);
    let budget = fields.number("restarts_used").and_then(|used| {
        Some(Budget {
            used,
            // The largest number there is stands for no limit.
            intensity: u32::try_from(fields.number("intensity")?)
                .ok()
                .filter(|intensity| *intensity != u32::MAX)?,
            period: milliseconds("period_ms")?,
        })
    });
    CrashReport {
        incarnation: record.incarnation.and_then(|number| number.try_into().ok()),
        pid: text("pid"),
        reason: panic_of(record),
        text: record
            .msg
            .strip_prefix("crashed: ")
            .unwrap_or(&record.msg)
            .to_owned(),
        supervisor: text("supervisor").or(above),
        strategy: text("strategy"),
        budget,
        mailbox: fields.number("mailbox").map(|len| Mailbox {
            len,
            capacity: fields.number("mailbox_capacity"),
            ..Mailbox::default()
        }),
        uptime: milliseconds("uptime_ms"),
        waits_for: text("waits_for"),
        state: text("state"),
        effect: text("effect"),
        taken_along: fields.number("taken_along").unwrap_or_default(),
        children: fields.number("children").unwrap_or_default(),
        id: text("crash").or(event.map(|event| format!("crash-{event}"))),
        path,
    }
}

/// The panic, with its parts; of an error the message says all.
fn panic_of(record: &LogRecord) -> Option<Reason> {
    let fields = &record.fields;
    let panic = fields.text("panic")?;
    Some(Reason {
        text: panic.to_owned(),
        at: fields.text("location").map(str::to_owned),
        message: fields.text("in_message").map(str::to_owned),
        during: fields.text("during").map(str::to_owned),
        ..Reason::new(ReasonKind::Panic)
    })
}
