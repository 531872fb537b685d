//! The model travels without loss, old readers read what new writers say, and a running program is what it says.

use std::error::Error;
use std::fmt;

use byron_supervisors::ExitReason;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::present::json;

fn ts(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn json<T: Serialize>(value: &T) -> String {
    json::line(value).unwrap().trim_end().to_owned()
}

#[test]
fn an_event_is_written_as_documented() {
    let event = Event {
        path: Some("root/poems/ecstasy".into()),
        incarnation: Some(3),
        reason: Some(Reason {
            text: "poem file vanished".into(),
            at: Some("src/serve.rs:88".into()),
            ..Reason::new(ReasonKind::Panic)
        }),
        cause: Some(911),
        ..Event::new(918, ts(1_782_000_000), EventKind::Exit)
    };
    assert_eq!(
        json(&event),
        r#"{"v":1,"seq":918,"ts":"2026-06-21T00:00:00Z","type":"exit","path":"root/poems/ecstasy","inc":3,"reason":{"kind":"panic","text":"poem file vanished","at":"src/serve.rs:88"},"cause":911}"#
    );
    assert_eq!(event.crash_id().as_deref(), Some("crash-918"));
}

#[test]
fn what_a_later_version_adds_is_no_hindrance() {
    let text = r#"{"v":1,"seq":1,"ts":"2026-06-21T00:00:00Z","type":"hibernated","mood":["calm"],"reason":{"kind":"boredom","depth":7}}"#;
    let event: Event = serde_json::from_str(text).unwrap();
    assert_eq!(event.kind, EventKind::Other("hibernated".into()));
    assert_eq!(event.kind.to_string(), "hibernated");
    assert_eq!(
        event.reason.map(|reason| reason.kind),
        Some(ReasonKind::Other("boredom".into()))
    );
    let node: Node = serde_json::from_str(r#"{"path":"root","state":"DREAMING","of":1}"#).unwrap();
    assert_eq!(node, Node::new("root", State::Other("DREAMING".into())));
}

#[test]
fn what_is_no_line_is_refused_with_the_reason() {
    for (text, expected) in [
        ("", "EOF while parsing a value at line 1 column 0"),
        ("{}", "missing field `type` at line 1 column 2"),
        (
            r#"{"type":"tree"}"#,
            "missing field `tree` at line 1 column 15",
        ),
        (
            r#"{"type":"gap","after":-1}"#,
            "invalid value: integer `-1`, expected u64 at line 1 column 24",
        ),
        (
            r#"{"type":"exit","v":1,"seq":1,"ts":"yesterday"}"#,
            "as year: invalid digit, expected 0-9 but got y at line 1 column 45",
        ),
    ] {
        let error = Line::from_json(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let mailbox = r#"{"message":"Recite","for_s":1e300}"#;
    let error = serde_json::from_str::<Handling>(mailbox).unwrap_err();
    assert!(
        error.to_string().contains("no number of seconds"),
        "{error}"
    );
}

#[test]
fn a_node_is_found_by_its_whole_path_only() {
    let child = |path: &str| Node::new(path, State::Running);
    let mut root = child("root");
    root.children = vec![child("root/a"), child("root/ab")];
    root.children[1].children = vec![child("root/ab/c")];
    let mut tree = Tree::new(ts(0));
    tree.roots = vec![child("roo"), root];
    for path in ["root", "root/a", "root/ab", "root/ab/c", "roo"] {
        assert_eq!(tree.find(path).map(|node| node.path.as_str()), Some(path));
        assert_eq!(
            tree.find_mut(path).map(|node| node.path.clone()).as_deref(),
            Some(path)
        );
    }
    for path in ["", "ro", "root/", "root/b", "root/ab/c/d", "oot"] {
        assert_eq!(tree.find(path), None, "{path}");
    }
}

#[test]
fn rates_are_of_one_process_only() {
    let node = |pid, handled| {
        let mut node = Node::new("root", State::Running);
        node.pid = Some(pid);
        node.messages = Some(Messages {
            handled,
            ..Messages::default()
        });
        node
    };
    let tree = |second, node| Tree {
        roots: vec![node],
        ..Tree::new(ts(second))
    };
    for (before, now, expected) in [
        (tree(0, node(1, 100)), tree(2, node(1, 186)), Some(43.0)),
        (tree(0, node(1, 100)), tree(2, node(2, 186)), None),
        (tree(2, node(1, 100)), tree(2, node(1, 186)), None),
        (tree(3, node(1, 100)), tree(2, node(1, 186)), None),
    ] {
        let mut now = now;
        now.measure_rates_since(&before);
        let messages = now.roots.remove(0).messages.unwrap();
        assert_eq!(messages.per_second, expected);
    }
}

#[test]
fn the_names_of_actors_are_short() {
    let mut node = Node::new("root/a", State::Running);
    for (actor, name) in [
        ("byron_actors::server::Server", "Server"),
        ("Server", "Server"),
        ("", ""),
        ("a::Pool<b::Worker, c::D>", "Pool<b::Worker, c::D>"),
    ] {
        node.actor = actor.into();
        assert_eq!(node.actor_name(), name);
    }
    assert_eq!(node.name(), "a");
}

#[derive(Debug)]
struct Unspeakable;

impl fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("not a word")
    }
}

impl Error for Unspeakable {}

#[test]
fn reasons_are_bounded_and_an_error_that_panics_when_shown_has_one() {
    let reason = Reason::from(&ExitReason::error(Unspeakable));
    assert_eq!(reason.text, "an error that panics when it is shown");
    let reason = Reason::from(&ExitReason::error("é".repeat(TEXT_BYTES_MAX)));
    assert_eq!(reason.text.len(), TEXT_BYTES_MAX + '…'.len_utf8());
    assert_eq!(
        Reason::from(&ExitReason::Killed),
        Reason::new(ReasonKind::Killed)
    );
}

// ---- anything that a program can say

fn word<T: From<String> + Clone + fmt::Debug + 'static>(
    known: &[T],
) -> impl Strategy<Value = T> + use<T> {
    prop_oneof![
        3 => prop::sample::select(known.to_vec()),
        1 => "[a-zA-Z_]{0,9}".prop_map(T::from),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z/:#]{0,12}", any::<String>()]
}

fn span() -> impl Strategy<Value = Duration> {
    (0..1_000_000_000_000_000_u64).prop_map(Duration::from_micros)
}

fn moment() -> impl Strategy<Value = Timestamp> {
    (0..4_000_000_000_000_000_i64).prop_map(|us| Timestamp::from_microsecond(us).unwrap())
}

fn reason() -> impl Strategy<Value = Reason> {
    let kind = word(ReasonKind::KNOWN);
    (
        kind,
        text(),
        option::of(text()),
        option::of(text()),
        option::of(text()),
    )
        .prop_map(|(kind, text, at, message, during)| Reason {
            kind,
            text,
            at,
            message,
            during,
        })
}

fn budget() -> impl Strategy<Value = Budget> {
    (any::<u64>(), any::<u32>(), span()).prop_map(|(used, intensity, period)| Budget {
        used,
        intensity,
        period,
    })
}

fn event() -> impl Strategy<Value = Event> {
    let operator = (option::of(any::<u32>()), option::of(any::<u32>()), text())
        .prop_map(|(uid, pid, via)| Operator { uid, pid, via });
    let about = (
        option::of(text()),
        option::of(any::<u64>()),
        option::of(any::<u32>()),
        option::of(reason()),
        option::of(text()),
        option::of(any::<u64>()),
    );
    let details = (
        option::of(span()),
        option::of(moment()),
        option::of(text()),
        option::of(budget()),
        vec(text(), 0..3),
        option::of(text()),
        option::of(operator),
    );
    let more = (
        any::<u64>(),
        option::of(any::<u32>()),
        option::of(any::<bool>()),
        option::of(span()),
        option::of(any::<u64>()),
        option::of(text()),
        option::of(text()),
    );
    (
        any::<u64>(),
        moment(),
        word(EventKind::KNOWN),
        about,
        (details, more),
    )
        .prop_map(|(seq, ts, kind, about, (details, more))| Event {
            path: about.0,
            pid: about.1,
            incarnation: about.2,
            reason: about.3,
            note: about.4,
            cause: about.5,
            delay: details.0,
            until: details.1,
            strategy: details.2,
            budget: details.3,
            taken_along: details.4,
            message: details.5,
            operator: details.6,
            taken_along_more: more.0,
            failures: more.1,
            crash: more.2,
            uptime: more.3,
            mailbox_len: more.4,
            action: more.5,
            refused: more.6,
            ..Event::new(seq, ts, kind)
        })
}

fn last_exit() -> impl Strategy<Value = LastExit> {
    (reason(), moment(), option::of(any::<u64>())).prop_map(|(reason, ts, event)| LastExit {
        reason,
        ts,
        event,
    })
}

fn spec() -> impl Strategy<Value = Spec> {
    (text(), text(), text(), any::<bool>(), option::of(text())).prop_map(
        |(restart, shutdown, child_type, significant, backoff)| Spec {
            restart,
            shutdown,
            child_type,
            significant,
            backoff,
        },
    )
}

fn dynamic() -> impl Strategy<Value = Dynamic> {
    let exits =
        (text(), any::<u32>(), last_exit()).prop_map(|(path, incarnation, exit)| DynamicExit {
            path,
            incarnation,
            exit,
        });
    (
        text(),
        option::of(spec()),
        prop::collection::btree_map(word(State::KNOWN), any::<u64>(), 0..3),
        any::<[u64; 4]>(),
        vec(exits, 0..3),
    )
        .prop_map(|(template, spec, by_state, counts, exits)| {
            let [started, ended, restarted, crashed] = counts;
            Dynamic {
                template,
                spec,
                max: Some(started),
                by_state,
                started,
                ended,
                restarted,
                crashed,
                exits,
            }
        })
}

fn supervision() -> impl Strategy<Value = Supervision> {
    (
        text(),
        option::of(text()),
        option::of(budget()),
        any::<u64>(),
        option::of(dynamic()),
    )
        .prop_map(
            |(strategy, auto_shutdown, budget, children_total, dynamic)| Supervision {
                strategy,
                auto_shutdown,
                budget,
                children_total,
                dynamic,
            },
        )
}

fn numbers() -> impl Strategy<Value = (Mailbox, Messages, Turns)> {
    let number = || option::of(any::<u64>());
    let rate = option::of((0..1_000_000_u32).prop_map(|rate| f64::from(rate) / 100.0));
    (
        (any::<u64>(), number(), number(), option::of(text())),
        (any::<u64>(), number(), rate),
        (
            any::<u64>(),
            span(),
            option::of(span()),
            option::of(span()),
            span(),
        ),
    )
        .prop_map(|(mailbox, messages, turns)| {
            (
                Mailbox {
                    len: mailbox.0,
                    capacity: mailbox.1,
                    high_water: mailbox.2,
                    policy: mailbox.3,
                },
                Messages {
                    handled: messages.0,
                    refused: messages.1,
                    lost: messages.1,
                    per_second: messages.2,
                },
                Turns {
                    count: turns.0,
                    total: turns.1,
                    p50: turns.2,
                    p99: turns.3,
                    longest: turns.4,
                },
            )
        })
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = (
        (
            text(),
            word(State::KNOWN),
            vec(word(Flag::KNOWN), 0..3),
            text(),
        ),
        (any::<u32>(), any::<u32>(), option::of(any::<u64>())),
        (
            option::of(moment()),
            option::of(span()),
            option::of(moment()),
        ),
        option::of(numbers()),
        (option::of((text(), span())), option::of((text(), span()))),
        (
            option::of(any::<u64>()),
            option::of(any::<u64>()),
            option::of(any::<u64>()),
        ),
        (
            option::of(last_exit()),
            option::of(text()),
            option::of(spec()),
        ),
        (vec((text(), text()), 0..4), option::of(supervision())),
    )
        .prop_map(
            |(head, counts, times, numbers, doing, others, past, rest)| {
                let (mailbox, messages, turns) = match numbers {
                    Some((mailbox, messages, turns)) => {
                        (Some(mailbox), Some(messages), Some(turns))
                    }
                    None => (None, None, None),
                };
                Node {
                    path: head.0,
                    state: head.1,
                    flags: head.2,
                    actor: head.3,
                    incarnation: counts.0,
                    restarts: counts.1,
                    failures: Some(counts.1),
                    waits_for_sibling: past.1.clone(),
                    pid: counts.2,
                    since: times.0,
                    uptime: times.1,
                    next_attempt: times.2,
                    mailbox,
                    messages,
                    turns,
                    handling: doing.0.map(|(message, span)| Handling { message, span }),
                    waiting: doing.1.map(|(message, span)| Handling { message, span }),
                    waits_for: others.0,
                    links: others.1,
                    monitors: others.2,
                    last_exit: past.0,
                    stopped_by: past.1,
                    spec: past.2,
                    details: Details(rest.0),
                    supervisor: rest.1,
                    children: Vec::new(),
                }
            },
        );
    leaf.prop_recursive(3, 12, 3, |inner| {
        (inner.clone(), vec(inner, 0..3)).prop_map(|(node, children)| Node { children, ..node })
    })
}

fn line() -> impl Strategy<Value = Line> {
    let endpoint = (text(), text(), option::of(any::<u16>()))
        .prop_map(|(what, at, port)| Endpoint { what, at, port });
    let instance = (
        (text(), any::<u32>(), option::of(any::<u32>())),
        vec(text(), 0..4),
        text(),
        moment(),
        vec(endpoint, 0..3),
    )
        .prop_map(
            |((name, pid, uid), command_line, version, started, endpoints)| Instance {
                name,
                pid,
                uid,
                command_line,
                version,
                started,
                endpoints,
            },
        );
    let tree = (any::<u64>(), moment(), any::<u64>(), vec(node(), 0..3)).prop_map(
        |(seq, ts, dropped, roots)| Tree {
            v: VERSION,
            seq,
            ts,
            dropped,
            roots,
        },
    );
    // The words of the other lines are no events.
    let event = event().prop_filter("a word of another line", |event| {
        !["instance", "tree", "gap", "log"].contains(&event.kind.as_str())
    });
    let value = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    let key = text().prop_filter("a key of its own", |key| {
        !LogRecord::OWN_KEYS.contains(&key.as_str())
    });
    let log = (
        moment(),
        (
            option::of(text()),
            option::of(any::<u64>()),
            option::of(any::<u64>()),
        ),
        (text(), text()),
        prop::collection::btree_map(key, value, 0..4),
    )
        .prop_map(
            |(ts, (path, incarnation, event), (msg, target), fields)| LogRecord {
                ts,
                level: "WARN".into(),
                path,
                incarnation,
                event: event.map(Value::from),
                msg,
                target,
                fields: Fields(fields.into_iter().collect()),
            },
        );
    prop_oneof![
        log.prop_map(|log| Line::Log(Box::new(log))),
        "later_[a-z]{0,3}".prop_map(Line::Other),
        instance.prop_map(|instance| Line::Instance(Box::new(instance))),
        tree.prop_map(|tree| Line::Tree(Box::new(tree))),
        event.prop_map(|event| Line::Event(Box::new(event))),
        any::<[u64; 2]>().prop_map(|[after, missed]| Line::Gap(Gap { after, missed })),
    ]
}

proptest! {
    #[test]
    fn whatever_travels_arrives_as_it_was(line in line()) {
        let text = json(&line);
        prop_assert!(!text.contains('\n'));
        prop_assert_eq!(Line::from_json(&text).unwrap(), line);
    }
}
