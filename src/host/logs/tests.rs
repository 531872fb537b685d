//! Lines of the log, as a person and as a program gets them.

use std::sync::Arc;

use jiff::Timestamp;
use snapbox::IntoData;
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::*;
use crate::observe::model::LogRecord;
use crate::observe::render::Look;
use crate::present::json;

/// Keeps records instead of writing them.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<Vec<LogRecord>>>);

impl<S: Subscriber> Layer<S> for Records {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let ts: Timestamp = "2026-06-21T12:03:11.204Z".parse().unwrap();
        self.0.lock().push(layer::record(event, ts));
    }
}

fn records(log: impl FnOnce()) -> Vec<LogRecord> {
    let records = Records::default();
    let subscriber = tracing_subscriber::registry().with(records.clone());
    tracing::subscriber::with_default(subscriber, log);
    records.0.lock().clone()
}

fn human(records: &[LogRecord]) -> String {
    let look = Look {
        zone: TimeZone::UTC,
        ..Look::plain()
    };
    records
        .iter()
        .map(|record| text::line(record, &look))
        .collect()
}

fn some_records() -> Vec<LogRecord> {
    records(|| {
        tracing::error!(
            target: "byron_supervisors::crash",
            pid = %"<0.42.0>",
            path = %"poems/ecstasy",
            incarnation = 3_u32,
            reason = "panic",
            panic = "poem file\nvanished \u{1b}[2J",
            location = "src/serve.rs:88:17",
            in_message = "byron_actors::server::Recite",
            mailbox = 4_usize,
            mailbox_capacity = 16_usize,
            uptime_ms = 72_000_u64,
            supervisor = %"poems",
            strategy = "one_for_all",
            restarts_used = 2_usize,
            intensity = 3_u32,
            period_ms = 5_000_u64,
            effect = %"restarted now",
            taken_along = 1_usize,
            children = 2_usize,
            crash = %"crash-918",
            event = 918_u64,
            "crashed: panicked",
        );
        tracing::error!(
            target: "byron_supervisors::supervisor",
            supervisor = %"poems",
            context = "child_terminated",
            pid = %"<0.42.0>",
            "child_terminated: panicked",
        );
        tracing::warn!(
            path = %"byron/proxy", incarnation = 1_u32, upstream = %"127.0.0.1:10000", level = "low",
            error = %"cannot \"listen\"", active = true, "the fetch failed\u{202e}"
        );
        tracing::info!(event = "operator", "stopped");
    })
}

#[test]
fn a_person_gets_lines_and_a_block_for_a_crash() {
    snapbox::assert_data_eq!(
        human(&some_records()),
        snapbox::str![[r#"
12:03:11.204 ERROR poems/ecstasy#3 crashed: panicked at 'poem file\nvanished \x1b[2J' src/serve.rs:88:17
      supervisor poems: one_for_all, restarts 2/3 in 5s
      was handling Recite, mailbox 4/16, up 1m12s
      2 children lost, restarted now, takes along 1 sibling; byron ctl why crash-918
12:03:11.204 ERROR poems child_terminated: panicked context=child_terminated pid=<0.42.0>
12:03:11.204 WARN  byron/proxy#1 the fetch failed\u{202e} upstream=127.0.0.1:10000 level_=low error="cannot \"listen\"" active=true
12:03:11.204 INFO  stopped event=operator

"#]]
        .raw()
    );
}

#[test]
fn a_program_gets_one_object_a_line() {
    let lines: String = some_records()
        .iter()
        .map(|record| json::line(record).unwrap())
        .collect();
    snapbox::assert_data_eq!(
        &lines,
        snapbox::str![[r#"
{"ts":"2026-06-21T12:03:11.204Z","level":"ERROR","path":"poems/ecstasy","inc":3,"event":918,"msg":"crashed: panicked","target":"byron_supervisors::crash","pid":"<0.42.0>","reason":"panic","panic":"poem file\nvanished \u001b[2J","location":"src/serve.rs:88:17","in_message":"byron_actors::server::Recite","mailbox":4,"mailbox_capacity":16,"uptime_ms":72000,"supervisor":"poems","strategy":"one_for_all","restarts_used":2,"intensity":3,"period_ms":5000,"effect":"restarted now","taken_along":1,"children":2,"crash":"crash-918"}
{"ts":"2026-06-21T12:03:11.204Z","level":"ERROR","path":"poems","msg":"child_terminated: panicked","target":"byron_supervisors::supervisor","context":"child_terminated","pid":"<0.42.0>"}
{"ts":"2026-06-21T12:03:11.204Z","level":"WARN","path":"byron/proxy","inc":1,"msg":"the fetch failed\u202e","target":"byron::host::logs::tests","upstream":"127.0.0.1:10000","level_":"low","error":"cannot \"listen\"","active":true}
{"ts":"2026-06-21T12:03:11.204Z","level":"INFO","event":"operator","msg":"stopped","target":"byron::host::logs::tests"}

"#]]
        .raw()
    );
    for line in lines.lines() {
        assert!(!line.contains('\u{1b}') && !line.contains('\u{202e}'));
        let record: LogRecord = serde_json::from_str(line).unwrap();
        assert_eq!(json::line(&record).unwrap().trim_end(), line);
    }
}

#[test]
fn the_format_follows_the_terminal_unless_it_was_asked_for() {
    use Format::{Human, Json};
    for (asked, is_terminal, format) in [
        (None, true, Human),
        (None, false, Json),
        (Some(""), true, Human),
        (Some("auto"), false, Json),
        (Some("human"), false, Human),
        (Some("json"), true, Json),
    ] {
        assert_eq!(Format::chosen(asked, is_terminal), Ok(format));
    }
    assert_eq!(
        Format::chosen(Some("xml\u{7}"), true).unwrap_err(),
        r"BYRON_LOG_FORMAT is `xml\x07`; expected auto, human or json"
    );
}

#[test]
fn a_filter_is_changed_while_the_program_runs() {
    assert_eq!(set_filter("debug"), Err(SetFilterError::NoLog));
    assert_eq!(filter(), None);
    init(Verbosity::Quiet, "warn", "info");
    let logged = |text: &str| {
        let last = tail_since(u64::MAX).last;
        tracing::info!(target: "byron::poem", "{text}");
        tail_since(last).records.len()
    };
    assert_eq!(logged("off"), 0);
    assert_eq!(set_filter("warn,byron::poem=info"), Ok("off".to_owned()));
    assert_eq!(logged("on"), 1);
    for wrong in ["", " ", "byron=loud", "a=b=c"] {
        let error = set_filter(wrong).unwrap_err();
        assert!(
            error.to_string().contains("is no filter"),
            "{wrong}: {error}"
        );
    }
    assert_eq!(filter().as_deref(), Some("warn,byron::poem=info"));
    assert_eq!(restore_filter(), Ok("off".to_owned()));
    assert_eq!(logged("off again"), 0);
}
