//! Pictures of trees, as a person sees them.

use std::time::Duration;

use jiff::tz::TimeZone;
use snapbox::IntoData;

use super::*;
use crate::observe::model::{
    Budget, Details, DynamicExit, Handling, LastExit, Mailbox, Messages, Reason, ReasonKind,
};

fn now() -> Timestamp {
    "2026-06-21T12:00:00Z".parse().unwrap()
}

fn look(width: Option<usize>) -> Look {
    Look {
        width,
        zone: TimeZone::UTC,
        ..Look::plain()
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn node(path: &str, state: State, up: u64) -> Node {
    Node {
        uptime: (up > 0).then(|| seconds(up)),
        ..Node::new(path, state)
    }
}

fn supervision(strategy: &str, used: u64) -> Supervision {
    Supervision {
        strategy: strategy.into(),
        budget: Some(Budget {
            used,
            intensity: 3,
            period: seconds(5),
        }),
        ..Supervision::default()
    }
}

fn exit(kind: ReasonKind, text: &str, at: Option<&str>, ago: u64) -> LastExit {
    LastExit {
        reason: Reason {
            text: text.into(),
            at: at.map(str::to_owned),
            ..Reason::new(kind)
        },
        ts: now() - seconds(ago),
        event: None,
    }
}

/// The tree of the specification, and what it does not show: a crowd, a stuck actor, one that an operator stopped.
fn sample() -> Tree {
    let hours = 8_100;
    let mut ecstasy = node("root/poems/ecstasy", State::Running, 2);
    ecstasy.actor = "byron_actors::serve::Serve".into();
    ecstasy.restarts = 3;
    ecstasy.mailbox = Some(Mailbox {
        capacity: Some(16),
        ..Mailbox::default()
    });
    ecstasy.messages = Some(Messages {
        handled: 4_000,
        per_second: Some(43.2),
        ..Messages::default()
    });
    ecstasy.details = Details(vec![
        ("listen_addr".into(), "127.0.0.1:10000".into()),
        ("readers".into(), "2".into()),
    ]);
    let at = Some("src/serve.rs:88:17");
    ecstasy.last_exit = Some(exit(ReasonKind::Panic, "poem file vanished", at, 2));

    let mut science = node("root/poems/science", State::Backoff, 0);
    science.next_attempt = Some(now() + Duration::from_millis(1640));
    science.last_exit = Some(exit(ReasonKind::Error, "permission denied", None, 4));

    let mut connections = node("root/poems/connections", State::Running, hours);
    let mut odd = node("root/poems/connections/17", State::Running, 65);
    odd.actor = "byron_actors::connection::Connection".into();
    odd.flags = vec![Flag::Stuck];
    odd.handling = Some(Handling {
        message: "byron_actors::connection::Chunk".into(),
        span: seconds(12),
    });
    let plain = node("root/poems/connections/18", State::Running, 65);
    connections.children = vec![odd, plain];
    connections.supervisor = Some(Supervision {
        children_total: 12,
        dynamic: Some(Dynamic {
            template: "connection".into(),
            started: 340,
            ended: 328,
            crashed: 3,
            exits: vec![DynamicExit {
                path: "root/poems/connections/9".into(),
                incarnation: 1,
                exit: exit(ReasonKind::Error, "reset\u{1b}[2J", None, 60),
            }],
            ..Dynamic::default()
        }),
        ..supervision("simple_one_for_one", 0)
    });

    let mut poems = node("root/poems", State::Running, hours);
    poems.supervisor = Some(supervision("one_for_one", 2));
    poems.children = vec![ecstasy, science, connections];

    let mut proxy = node("root/proxy", State::Stopped, 0);
    proxy.stopped_by = Some("ctl, uid 1000, pid 4242".into());

    let mut root = node("root", State::Running, hours);
    root.supervisor = Some(supervision("rest_for_one", 0));
    root.children = vec![poems, proxy];
    Tree {
        roots: vec![root],
        ..Tree::new(now())
    }
}

#[test]
fn a_tree_shows_what_is_to_be_known_of_each_place() {
    snapbox::assert_data_eq!(
        tree_text(&sample(), &look(None)),
        snapbox::str![[r#"
root               rest_for_one 0/3 in 5s  ● RUNNING        2h15m
├─ poems           one_for_one 2/3 in 5s   ● RUNNING        2h15m
│  ├─ ecstasy      Serve 127.0.0.1:10000   ● RUNNING        2s            restarts 3  mailbox 0/16  43 msg/s  readers 2  last: panic "poem file vanished" serve.rs:88, 2s ago
│  ├─ science                              ◌ BACKOFF        next in 1.6s  last: error "permission denied", 4s ago
│  └─ connections  simple_one_for_one      ● RUNNING        2h15m         12 now, 340 started, 3 crashed  last: error "reset\x1b[2J", 1m00s ago
│     └─ 17        Connection              ● RUNNING STUCK  1m05s         in Chunk for 12s
└─ proxy                                   ○ STOPPED                      by ctl, uid 1000, pid 4242

"#]]
        .raw()
    );
}

#[test]
fn on_a_narrow_terminal_the_least_important_goes_first() {
    let text = tree_text(&sample(), &look(Some(100)));
    snapbox::assert_data_eq!(
        &text,
        snapbox::str![[r#"
root               rest_for_one 0/3 in 5s  ● RUNNING        2h15m
├─ poems           one_for_one 2/3 in 5s   ● RUNNING        2h15m
│  ├─ ecstasy      Serve 127.0.0.1:10000   ● RUNNING        2s            last: panic "poem file va…
│  ├─ science                              ◌ BACKOFF        next in 1.6s  last: error "permission d…
│  └─ connections  simple_one_for_one      ● RUNNING        2h15m         12 now, 340 started, 3 cr…
│     └─ 17        Connection              ● RUNNING STUCK  1m05s         in Chunk for 12s
└─ proxy                                   ○ STOPPED                      by ctl, uid 1000, pid 4242

"#]]
        .raw()
    );
    for width in 1..160 {
        let text = tree_text(&sample(), &look(Some(width)));
        for line in text.lines() {
            assert!(words::width(line) <= width, "{width}: {line}");
        }
    }
}

#[test]
fn colours_change_no_letter() {
    let colour = Look {
        colour: true,
        ..look(Some(120))
    };
    let text = tree_text(&sample(), &colour);
    assert!(text.contains("\u{1b}["));
    let stripped = anstream::adapter::strip_str(&text).to_string();
    let plain = tree_text(&sample(), &look(Some(120)));
    assert_eq!(stripped, plain);
}

#[test]
fn children_that_a_snapshot_left_out_are_counted() {
    let mut root = node("root", State::Running, 1);
    root.supervisor = Some(Supervision {
        children_total: 130,
        ..supervision("one_for_one", 0)
    });
    root.children = vec![node("root/a", State::Running, 1)];
    let tree = Tree {
        roots: vec![root],
        ..Tree::new(now())
    };
    let text = tree_text(&tree, &look(None));
    assert!(
        text.ends_with("├─ a                                    ● RUNNING  1s\n└─ and 129 more\n"),
        "{text}"
    );
}
