//! From what `tracing` reports to lines: [`LogLayer`].

use std::fmt;
use std::io::Write;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::{Format, tail, text};
use crate::observe::model::{Fields, LogRecord, bounded};
use crate::observe::render::Look;
use crate::present::json;

/// Whoever reports the crash of a process.
pub(super) const CRASH: &str = "byron_supervisors::crash";

/// How many fields of a record are kept.
const FIELDS_MAX: usize = 32;

/// Writes records to standard error, and keeps the last of them.
pub(super) struct LogLayer {
    format: Format,
    look: Look,
}

impl LogLayer {
    pub(super) fn new(format: Format, zone: TimeZone) -> LogLayer {
        LogLayer {
            format,
            look: Look {
                width: None,
                // The writer takes colours away where they are not wanted.
                colour: true,
                zone,
            },
        }
    }

    fn line(&self, record: &LogRecord) -> Option<String> {
        match self.format {
            Format::Human => Some(text::line(record, &self.look)),
            Format::Json => json::line(record).ok(),
        }
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let ts = Timestamp::try_from(SystemTime::now())
            .and_then(|ts| Timestamp::from_microsecond(ts.as_microsecond()))
            .unwrap_or(Timestamp::UNIX_EPOCH);
        let record = record(event, ts);
        if let Some(line) = self.line(&record) {
            // With standard error closed there is nobody to tell; the tail remains.
            let _ = anstream::stderr().lock().write_all(line.as_bytes());
        }
        tail::keep(record);
    }
}

/// What was reported, as data.
pub(super) fn record(event: &Event<'_>, ts: Timestamp) -> LogRecord {
    let metadata = event.metadata();
    let mut visitor = Visitor(LogRecord {
        ts,
        level: metadata.level().to_string(),
        path: None,
        incarnation: None,
        event: None,
        msg: String::new(),
        target: metadata.target().to_owned(),
        fields: Fields::default(),
    });
    event.record(&mut visitor);
    let mut record = visitor.0;
    if record.path.is_none() {
        // What a supervisor reports is about its own place.
        let fields = &mut record.fields.0;
        let at = fields.iter().position(|(key, _)| key == "supervisor");
        if let Some((_, Value::String(supervisor))) = at.map(|at| fields.remove(at)) {
            record.path = Some(supervisor);
        }
    }
    record
}

struct Visitor(LogRecord);

impl Visitor {
    fn take(&mut self, field: &Field, value: Value) {
        let record = &mut self.0;
        match (field.name(), &value) {
            ("message", Value::String(text)) => record.msg.clone_from(text),
            ("path", Value::String(text)) => record.path = Some(text.clone()),
            ("incarnation", Value::Number(number)) if number.is_u64() => {
                record.incarnation = number.as_u64();
            }
            ("event", _) => record.event = Some(value),
            (name, _) if record.fields.0.len() < FIELDS_MAX => {
                let is_own = LogRecord::OWN_KEYS.contains(&name);
                let key = if is_own {
                    format!("{name}_")
                } else {
                    name.to_owned()
                };
                record.fields.0.push((key, value));
            }
            _ => {}
        }
    }
}

impl Visit for Visitor {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, Value::from(bounded(format!("{value:?}"))));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, Value::from(bounded(value)));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.take(field, Value::from(value));
    }
}
