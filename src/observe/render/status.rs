//! How an instance is, as `systemctl status` tells of a unit.

use jiff::Timestamp;

use super::{Look, STRONG, shape, style, words};
use crate::observe::discovery::command_text;
use crate::observe::model::State;
use crate::observe::protocol::Status;
use crate::present::escape::escape_name;

/// How wide the labels are.
const LABEL_COLUMNS: usize = 11;

/// A heading and a few labelled lines.
pub fn status_text(status: &Status, now: Timestamp, look: &Look) -> String {
    let instance = &status.instance;
    let mut lines = vec![heading(status, look)];
    let mut line = |label: &str, text: String| {
        lines.push(format!("{label:>LABEL_COLUMNS$}: {text}"));
    };
    let since = instance.started.to_zoned_datetime(look.zone.clone());
    line(
        "Active",
        format!(
            "{} since {}; {} ago",
            if status.ready { "ready" } else { "not ready" },
            since.strftime("%a %Y-%m-%d %H:%M:%S %Z"),
            words::span(words::between(instance.started, now))
        ),
    );
    for place in &status.not_ready {
        line(
            "Not ready",
            format!("{} {}", escape_name(&place.path), escape_name(&place.state)),
        );
    }
    let uid = instance.uid.map(|uid| format!(", uid {uid}"));
    line(
        "PID",
        format!(
            "{}{} (byron {})",
            instance.pid,
            uid.unwrap_or_default(),
            escape_name(&instance.version)
        ),
    );
    for endpoint in &instance.endpoints {
        line(
            "Listen",
            format!(
                "{} ({})",
                escape_name(&endpoint.at),
                escape_name(&endpoint.what)
            ),
        );
    }
    line(
        "Tree",
        format!(
            "{} running, {}",
            words::counted(status.running, "actor"),
            words::counted(status.restarts, "restart")
        ),
    );
    line("Events", events(status));
    if let Some(recorded) = &status.recorded {
        line(
            "Record",
            format!(
                "{} ({} written, {} lost)",
                escape_name(&recorded.path),
                recorded.written,
                recorded.lost
            ),
        );
    }
    if status.strangers > 0 {
        line(
            "Strangers",
            format!(
                "{} of other users closed",
                words::counted(status.strangers, "connection")
            ),
        );
    }
    lines.join("\n")
}

fn heading(status: &Status, look: &Look) -> String {
    let state = match status.ready {
        true => State::Running,
        false => State::Starting,
    };
    format!(
        "{} {} - {}",
        look.paint(style(&state), shape(&state)),
        look.paint(STRONG, &escape_name(&status.instance.name)),
        escape_name(&command_text(&status.instance.command_line))
    )
}

fn events(status: &Status) -> String {
    let mut text = format!("{}, {} dropped", status.seq, status.dropped);
    if status.followers > 0 || status.followers_missed > 0 {
        text += &format!(
            "; {}, {} missed",
            words::counted(status.followers, "follower"),
            status.followers_missed
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::tz::TimeZone;
    use snapbox::{assert_data_eq, str};

    use super::*;
    use crate::observe::model::{Endpoint, Instance, VERSION};
    use crate::observe::protocol::{NotReady, Recorded};

    #[test]
    fn it_reads_like_the_status_of_a_unit() {
        let started = Timestamp::UNIX_EPOCH;
        let status = Status {
            v: VERSION,
            instance: Instance {
                name: "ecstasy".to_owned(),
                pid: 4242,
                uid: Some(1000),
                command_line: ["/usr/bin/byron", "serve", "a poem.txt"]
                    .map(str::to_owned)
                    .to_vec(),
                version: "0.1.0".to_owned(),
                started,
                endpoints: vec![Endpoint {
                    what: "ecstasy".to_owned(),
                    at: "127.0.0.1:10000".to_owned(),
                    port: Some(10000),
                }],
            },
            ready: false,
            not_ready: vec![NotReady {
                path: "byron/ecstasy-1/server".to_owned(),
                state: "BACKOFF".to_owned(),
            }],
            running: 12,
            restarts: 1,
            seq: 918,
            dropped: 0,
            followers: 1,
            followers_missed: 3,
            recorded: Some(Recorded {
                path: "/tmp/a.jsonl".to_owned(),
                written: 17,
                lost: 0,
            }),
            strangers: 1,
        };
        let look = Look {
            zone: TimeZone::UTC,
            ..Look::plain()
        };
        let now = started + Duration::from_secs(8100);
        assert_data_eq!(
            status_text(&status, now, &look),
            str![[r#"
◍ ecstasy - byron serve 'a poem.txt'
     Active: not ready since Thu 1970-01-01 00:00:00 UTC; 2h15m ago
  Not ready: byron/ecstasy-1/server BACKOFF
        PID: 4242, uid 1000 (byron 0.1.0)
     Listen: 127.0.0.1:10000 (ecstasy)
       Tree: 12 actors running, 1 restart
     Events: 918, 0 dropped; 1 follower, 3 missed
     Record: /tmp/a.jsonl (17 written, 0 lost)
  Strangers: 1 connection of other users closed
"#]]
        );
    }
}
