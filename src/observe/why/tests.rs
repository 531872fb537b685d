//! Stories of made-up events, and of a tree in which something falls.

use std::time::Duration;

use jiff::tz::TimeZone;
use snapbox::IntoData;

use super::*;
use crate::observe::model::{Reason, ReasonKind, Supervision};
use crate::observe::render::Look;

fn ts(milliseconds: i64) -> Timestamp {
    let begin: Timestamp = "2026-06-21T12:03:11Z".parse().unwrap();
    begin + Duration::from_millis(milliseconds as u64)
}

fn event(seq: u64, kind: EventKind, place: &str, cause: u64) -> Event {
    let (path, incarnation) = place.split_once('#').unwrap();
    Event {
        path: Some(path.into()),
        incarnation: incarnation.parse().ok(),
        pid: Some(seq + 1000),
        cause: (cause != 0).then_some(cause),
        ..Event::new(seq, ts(seq as i64), kind)
    }
}

fn exit(seq: u64, place: &str, cause: u64, kind: ReasonKind) -> Event {
    Event {
        reason: Some(Reason::new(kind)),
        ..event(seq, EventKind::Exit, place, cause)
    }
}

fn panic(seq: u64, place: &str, cause: u64) -> Event {
    Event {
        reason: Some(Reason {
            text: "poem file vanished".into(),
            at: Some("src/serve.rs:88:17".into()),
            message: Some("byron_actors::server::Recite".into()),
            ..Reason::new(ReasonKind::Panic)
        }),
        ..event(seq, EventKind::Exit, place, cause)
    }
}

fn look() -> Look {
    Look {
        zone: TimeZone::UTC,
        ..Look::plain()
    }
}

fn budget(used: u64) -> Budget {
    Budget {
        used,
        intensity: 3,
        period: Duration::from_secs(5),
    }
}

/// One child of three panics; all three are restarted; then somebody kills one, and the supervisor waits.
fn one_for_all() -> Vec<Event> {
    use EventKind::{Backoff, Operator, Ready, Restart, Started};
    vec![
        event(10, Ready, "root/poems/ecstasy#1", 0),
        panic(11, "root/poems/ecstasy#1", 0),
        Event {
            strategy: Some("one_for_all".into()),
            budget: Some(budget(2)),
            ..event(12, Restart, "root/poems/ecstasy#1", 11)
        },
        exit(13, "root/poems/science#1", 12, ReasonKind::Shutdown),
        exit(14, "root/poems/fascination#4", 12, ReasonKind::Shutdown),
        event(15, Started, "root/poems/fascination#5", 12),
        event(16, Ready, "root/poems/fascination#5", 12),
        event(17, Started, "root/poems/ecstasy#2", 12),
        event(18, Ready, "root/poems/ecstasy#2", 12),
        event(19, Ready, "root/poems/science#2", 12),
        event(20, Ready, "root/other#1", 0),
        Event {
            note: Some("kill by ctl, uid 1000, pid 4242".into()),
            ..event(21, Operator, "root/poems/ecstasy#2", 0)
        },
        exit(22, "root/poems/ecstasy#2", 21, ReasonKind::Killed),
        Event {
            delay: Some(Duration::from_secs(2)),
            ..event(23, Backoff, "root/poems/ecstasy#2", 22)
        },
        exit(24, "root/poems/science#2", 23, ReasonKind::Shutdown),
    ]
}

fn told(events: &[Event], tree: Option<&Tree>, id: &str) -> Chain {
    why(events, tree, &Id::parse(id).unwrap()).unwrap()
}

#[test]
fn whoever_was_taken_along_fell_because_of_a_sibling() {
    let chain = told(&one_for_all(), None, "poems/fascination");
    snapbox::assert_data_eq!(
        chain.text(&look(), ts(3000)),
        snapbox::str![[r#"
#14: root/poems/fascination#4: shutdown, 2s ago
  fell first  root/poems/ecstasy#1: panicked at 'poem file vanished' src/serve.rs:88:17, handling Recite
  supervisor  root/poems: one_for_all, restarts it (#12), budget 2/3 in 5s, 1 left
  took along  science#1, fascination#4
  since then  #5 was ready after 2ms (#16)

what led to it
  12:03:11.011 #11 exit     root/poems/ecstasy#1  panicked at 'poem file vanished' src/serve.rs:88:17, handling Recite
  12:03:11.012 #12 restart  root/poems/ecstasy#1  one_for_all, 2/3 in 5s (because of #11)
▶ 12:03:11.014 #14 exit     root/poems/fascination#4  shutdown (because of #12)

"#]]
        .raw()
    );
}

#[test]
fn what_an_operator_did_began_it_and_the_next_attempt_is_told() {
    let chain = told(&one_for_all(), None, "crash-22");
    snapbox::assert_data_eq!(
        chain.text(&look(), ts(500)),
        snapbox::str![[r#"
#22: root/poems/ecstasy#2: killed, 478ms ago
  began with  kill by ctl, uid 1000, pid 4242 (#21)
  fell first  root/poems/ecstasy#2: killed
  supervisor  root/poems: waits, then restarts it (#23)
  took along  science#2
  since then  next attempt in 1.5s

what led to it
  12:03:11.021 #21 operator root/poems/ecstasy#2  kill by ctl, uid 1000, pid 4242
▶ 12:03:11.022 #22 exit     root/poems/ecstasy#2  killed (because of #21)

what it led to
  12:03:11.023 #23 backoff  root/poems/ecstasy#2  next attempt after 2s (because of #22)
  12:03:11.024 #24 exit     root/poems/science#2  shutdown (because of #23)

"#]]
        .raw()
    );
}

#[test]
fn a_crash_tells_its_message_and_what_the_strategy_took_along() {
    let mut root = Node::new("root", State::Running);
    let mut poems = Node::new("root/poems", State::Running);
    poems.supervisor = Some(Supervision {
        strategy: "one_for_all".into(),
        budget: Some(budget(1)),
        ..Supervision::default()
    });
    let mut ecstasy = Node::new("root/poems/ecstasy", State::Running);
    ecstasy.actor = "byron_actors::server::Server".into();
    poems.children.push(ecstasy);
    root.children.push(poems);
    let tree = Tree {
        roots: vec![root],
        ..Tree::new(ts(100))
    };
    let chain = told(&one_for_all()[..11], Some(&tree), "11");
    snapbox::assert_data_eq!(
        chain.text(&look(), ts(2500)),
        snapbox::str![[r#"
crash-11: root/poems/ecstasy#1: panicked at 'poem file vanished' src/serve.rs:88:17, 2s ago
  fell first  root/poems/ecstasy#1 (Server): panicked at 'poem file vanished' src/serve.rs:88:17, handling Recite
  supervisor  root/poems: one_for_all, restarts it (#12), budget 2/3 in 5s, 1 left
  took along  science#1, fascination#4
  since then  #2 was ready after 7ms (#18)

what happened
▶ 12:03:11.011 #11 exit     root/poems/ecstasy#1  panicked at 'poem file vanished' src/serve.rs:88:17, handling Recite

what it led to
  12:03:11.012 #12 restart  root/poems/ecstasy#1  one_for_all, 2/3 in 5s (because of #11)
  12:03:11.013 #13 exit     root/poems/science#1  shutdown (because of #12)
  12:03:11.014 #14 exit     root/poems/fascination#4  shutdown (because of #12)
  12:03:11.015 #15 started  root/poems/fascination#5 (because of #12)
  12:03:11.016 #16 ready    root/poems/fascination#5 (because of #12)
  12:03:11.017 #17 started  root/poems/ecstasy#2 (because of #12)
  12:03:11.018 #18 ready    root/poems/ecstasy#2 (because of #12)
  12:03:11.019 #19 ready    root/poems/science#2 (because of #12)

"#]]
        .raw()
    );
}

/// A crash that was one too many, up to the root.
fn escalation() -> Vec<Event> {
    use EventKind::{GaveUp, Stop};
    let gave_up = |seq, place, cause| Event {
        note: Some("after more than 0 restarts in 5s".into()),
        ..event(seq, GaveUp, place, cause)
    };
    vec![
        panic(1, "root/poems/ecstasy#1", 0),
        gave_up(2, "root/poems#1", 1),
        event(3, Stop, "root/poems#1", 2),
        exit(4, "root/poems#1", 2, ReasonKind::Shutdown),
        gave_up(5, "root#1", 4),
        event(6, Stop, "root#1", 5),
        exit(7, "root#1", 5, ReasonKind::Shutdown),
    ]
}

#[test]
fn give_ups_are_told_upwards() {
    let chain = told(&escalation(), None, "root");
    assert_eq!(chain.fell_first, Some(1));
    assert_eq!(chain.gave_up, ["root/poems", "root"]);
    let causes: Vec<_> = chain.causes.iter().map(|event| event.seq).collect();
    assert_eq!(causes, [1, 2, 4, 5]);
    let chain = told(&escalation(), None, "crash-1");
    assert_eq!(chain.outcome, Outcome::Gone { event: Some(2) });
    let effects: Vec<_> = chain.effects.iter().map(|event| event.seq).collect();
    assert_eq!(effects, [2, 3, 4, 5, 6, 7]);
}

#[test]
fn a_chain_says_where_it_breaks_off() {
    let chain = told(&escalation()[3..], None, "7");
    assert_eq!(chain.lost, Some(2));
    let text = chain.text(&look(), ts(100));
    assert!(
        text.contains("(#2 began it, and is no longer known)"),
        "{text}"
    );
}

#[test]
fn causes_that_go_round_in_a_circle_have_an_end() {
    let events = [
        exit(1, "root/a#1", 2, ReasonKind::Killed),
        exit(2, "root/b#1", 1, ReasonKind::Killed),
    ];
    let chain = told(&events, None, "2");
    assert_eq!((chain.causes.len(), chain.lost), (1, None));
}

#[test]
fn a_crowd_of_effects_is_told_in_part_and_counted_whole() {
    let crowd = EFFECTS_MAX as u64 + 50;
    let mut events = vec![panic(1, "root/a#1", 0)];
    events.extend((2..crowd + 2).map(|seq| exit(seq, "root/b#1", 1, ReasonKind::Killed)));
    let chain = told(&events, None, "1");
    assert_eq!((chain.effects.len(), chain.effects_more), (EFFECTS_MAX, 50));
    let text = chain.text(&look(), ts(0));
    assert!(text.ends_with("  and 230 more\n"), "{text}");
}

#[test]
fn ids_are_events_pids_and_paths() {
    for (text, id) in [
        ("918", Id::Event(918)),
        ("#918", Id::Event(918)),
        ("crash-918", Id::Event(918)),
        ("<0.42.0>", Id::Pid(42)),
        ("/poems/ecstasy/", Id::Path("poems/ecstasy".into())),
        ("9lives", Id::Path("9lives".into())),
    ] {
        assert_eq!(Id::parse(text), Ok(id), "{text}");
    }
    for text in [
        "",
        "/",
        "crash-",
        "crash-x",
        "#",
        "<0.42>",
        "<0.x.0>",
        "99999999999999999999",
    ] {
        let error = Id::parse(text).unwrap_err().to_string();
        assert!(error.contains("names nothing; expected"), "{text}: {error}");
    }
}

#[test]
fn a_pid_and_a_path_mean_the_last_exit() {
    let events = one_for_all();
    for (id, seq) in [
        ("root/poems/ecstasy", 22),
        ("poems/science", 24),
        ("<0.1013.0>", 13),
        // It lives: this is why it was started.
        ("<0.1015.0>", 15),
    ] {
        assert_eq!(told(&events, None, id).subject.seq, seq, "{id}");
    }
}

#[test]
fn what_cannot_be_told_is_refused_with_the_reason() {
    let events = one_for_all();
    let mut tree = Tree::new(ts(0));
    tree.roots.push(Node::new("root/proxy", State::Running));
    for (id, expected) in [
        ("9", "event #9 is no longer known: the oldest is #10"),
        ("crash-99", "there is no event #99 yet: the newest is #24"),
        ("<0.7.0>", "nothing is known of <0.7.0>"),
        ("poems", "nothing is known of poems"),
        (
            "root/ecstasy",
            "nothing is known of root/ecstasy; did you mean root/poems/ecstasy?",
        ),
        (
            "proxy",
            "nothing has ended at root/proxy, as far as is known",
        ),
        ("no\u{1b}[2J", r"nothing is known of no\x1b[2J"),
    ] {
        let error = why(&events, Some(&tree), &Id::parse(id).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let error = why(&[], None, &Id::Event(1)).unwrap_err();
    assert_eq!(error, WhyError::NoEvents);

    tree.roots.push(Node::new("root/poems", State::Running));
    let error = why(&events, Some(&tree), &Id::Path("poems".into())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "nothing has ended at root/poems, as far as is known; below it: root/poems/ecstasy (#22), \
         root/poems/ecstasy (crash-11)"
    );
}

#[test]
fn a_chain_travels() {
    let chain = told(&one_for_all(), None, "crash-11");
    let text = crate::present::json::line(&chain).unwrap();
    assert_eq!(serde_json::from_str::<Chain>(&text).unwrap(), chain);
}

// ---- a real tree

/// Panics when it is told anything.
struct Fragile;

impl actix::Actor for Fragile {
    type Context = byron_supervisors::Context<Self>;
}

#[derive(actix::Message)]
#[rtype(result = "()")]
struct Touch;

impl actix::Handler<Touch> for Fragile {
    type Result = ();

    fn handle(&mut self, _: Touch, _: &mut Self::Context) {
        panic!("a crack")
    }
}

#[test]
fn a_real_crash_is_told_with_its_message_its_siblings_and_its_budget() {
    use byron_supervisors::{ChildSpec, SupFlags, Supervisor, events_since, next_events};

    actix::System::new().block_on(async {
        let specs = ["glass", "plate"]
            .map(|id| ChildSpec::new(id, |_| Fragile).registered(format!("why-{id}")));
        let flags = SupFlags {
            strategy: byron_supervisors::Strategy::OneForAll,
            intensity: 3,
            ..SupFlags::default()
        };
        let _root = Supervisor::start("fragile", flags, specs.into())
            .await
            .unwrap();
        let mut seq = events_since(u64::MAX).last;
        let glass = byron_supervisors::whereis_actor::<Fragile>("why-glass").unwrap();
        glass.do_send(Touch);
        let is_ready = |event: &Event| {
            event.path.as_deref() == Some("fragile/plate") && event.kind == EventKind::Ready
        };
        loop {
            let events = next_events(seq).await.events;
            seq = events.last().map_or(seq, |event| event.seq);
            if events.iter().any(|event| is_ready(&Event::from(event))) {
                break;
            }
        }
        let events: Vec<_> = events_since(0).events.iter().map(Event::from).collect();
        let chain = told(&events, Some(&Tree::now()), "fragile/plate");
        let first = chain
            .causes
            .iter()
            .find(|event| Some(event.seq) == chain.fell_first);
        let first = first.unwrap();
        assert_eq!(first.path.as_deref(), Some("fragile/glass"));
        assert!(first.is_crash());
        let message = first.reason.as_ref().unwrap().message.as_deref().unwrap();
        assert!(message.ends_with("Touch"), "{message}");
        assert!(chain.actor.ends_with("Fragile"), "{}", chain.actor);
        let taken: Vec<_> = chain.taken_along.iter().map(|taken| &*taken.path).collect();
        assert_eq!(taken, ["fragile/plate"]);
        let reaction = chain.reaction.as_ref().unwrap();
        assert_eq!(reaction.strategy.as_deref(), Some("one_for_all"));
        assert_eq!(reaction.budget.as_ref().map(Budget::left), Some(2));
        assert!(matches!(
            chain.outcome,
            Outcome::Restarted { incarnation: 2, .. }
        ));
        let whole = told(&events, None, "fragile/glass");
        assert_eq!(
            whole.subject.crash_id(),
            Some(format!("crash-{}", first.seq))
        );
    });
}
