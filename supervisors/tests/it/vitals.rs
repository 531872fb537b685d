//! What is known of a process without asking it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use actix::fut::wrap_future;
use actix::prelude::*;
use byron_supervisors::{
    ActorRef, BUSY_AFTER, ChildSpec, Context, DETAIL_BYTES_MAX, DETAILS_MAX, During, EventKind,
    HANDLER_SLOW, MAILBOX_HIGH, Node, Placement, STATE_BYTES_MAX, STUCK_AFTER, Spawn, SupFlags,
    Supervisor, events_since, exited, record_operator, snapshot, spawn, vitals, whereis_actor,
};
use futures_util::FutureExt;

use crate::report::Scribe;
use crate::support::{
    LIMIT, Note, Puppet, Strings, eventually, paused, puppet, settle, system, unique,
};

/// Blocks its thread until it is told to go on.
#[derive(Message)]
#[rtype(result = "()")]
struct Block(mpsc::Receiver<()>);

struct Reciter;

impl Actor for Reciter {
    type Context = Context<Self>;
}

impl Handler<Block> for Reciter {
    type Result = ();

    fn handle(&mut self, block: Block, _: &mut Context<Self>) {
        let _ = block.0.recv_timeout(LIMIT);
    }
}

#[test]
fn a_handler_that_runs_is_shown_with_its_message_and_grows_busy_and_stuck() {
    system(async {
        let arbiter = Arbiter::new();
        let (reciter, _) = Spawn::new()
            .at(Placement::On(arbiter.handle()))
            .start(|_| Reciter);
        let (go_on, block) = mpsc::channel();
        reciter.do_send(Block(block));
        let doing = || vitals(reciter.pid()).expect("it lives").doing;
        eventually("the handler runs", || {
            doing().is_some_and(|doing| doing.in_message.is_some())
        })
        .await;
        let shown = vitals(reciter.pid()).expect("it lives");
        let turn = shown.doing.expect("its turn is long");
        assert_eq!(turn.in_message, Some("it::vitals::Block"));
        assert_eq!(turn.during, During::Message);
        assert_eq!(turn.to_string(), "handling it::vitals::Block");
        let names = |after: Duration| {
            let flags = shown.flags(turn.since + after);
            flags.names().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(BUSY_AFTER), "");
        assert_eq!(names(BUSY_AFTER + Duration::from_millis(1)), "BUSY");
        assert_eq!(names(STUCK_AFTER + Duration::from_millis(1)), "STUCK");
        go_on.send(()).expect("it waits");
        eventually("the turn is over", || doing().is_none()).await;
        let later = vitals(reciter.pid()).expect("it lives");
        assert!(later.turn_longest > Duration::ZERO);
        assert!(later.turn_time >= later.turn_longest);
        arbiter.stop();
    });
}

#[test]
fn messages_turns_links_and_monitors_are_counted() {
    system(async {
        let (one, _) = puppet();
        let (other, _) = puppet();
        for number in 0..7 {
            one.do_send(Note(number.to_string()));
        }
        let others = other.pid();
        one.tell(move |_, ctx| ctx.link(others)).await;
        let _end = exited(one.pid());
        let shown = vitals(one.pid()).expect("it lives");
        assert_eq!(shown.handled, 8);
        assert_eq!(shown.mailbox_high, 8);
        assert_eq!(shown.mailbox_len, Some(0));
        assert_eq!((shown.links, shown.monitors), (1, 1));
        assert!(shown.turns >= 1, "{shown:?}");
        let end = exited(one.pid());
        one.cast(|_, ctx| ctx.stop());
        end.await;
        assert!(vitals(one.pid()).is_none(), "the dead have no vitals");
    });
}

/// Asks another one for the same, and waits for the answer.
#[derive(Message)]
#[rtype(result = "()")]
struct AskAlong(Vec<ActorRef<Asker>>);

#[derive(Debug)]
struct Asker;

impl Actor for Asker {
    type Context = Context<Self>;
}

impl Handler<AskAlong> for Asker {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, AskAlong(mut line): AskAlong, _: &mut Context<Self>) -> Self::Result {
        let answer = line.pop().map(|next| next.send(AskAlong(line)));
        AtomicResponse::new(Box::pin(wrap_future(async move {
            if let Some(answer) = answer {
                let _ = answer.await;
            }
        })))
    }
}

fn find<'a>(nodes: &'a [Node], path: &str) -> Option<&'a Node> {
    nodes.iter().find_map(|node| {
        if node.path.to_string() == path {
            Some(node)
        } else {
            find(&node.children, path)
        }
    })
}

#[test]
fn processes_that_wait_for_each_other_are_a_deadlock_and_those_who_wait_for_them_are_not() {
    paused(async {
        let root = unique("circle");
        let names: Vec<String> = ["one", "two", "three"].map(unique).to_vec();
        let specs = names.iter().map(|name| {
            ChildSpec::new(name.as_str(), |_: &mut Context<Asker>| Asker).registered(name.as_str())
        });
        Supervisor::start(&root, SupFlags::default(), specs.collect())
            .await
            .expect("it starts");
        let askers: Vec<ActorRef<Asker>> = names
            .iter()
            .map(|name| whereis_actor(name).expect("it runs"))
            .collect();
        let [one, two, three] = [0, 1, 2].map(|at: usize| askers[at].clone());
        // `one` asks `two`, and `two` asks `one`, which does not look at its mailbox any more.
        one.do_send(AskAlong(vec![one.clone(), two.clone()]));
        three.do_send(AskAlong(vec![one.clone()]));
        let waits_for = |asker: &ActorRef<Asker>| vitals(asker.pid()).and_then(|it| it.waits_for());
        eventually("all wait", || {
            askers.iter().all(|asker| waits_for(asker).is_some())
        })
        .await;
        assert_eq!(
            [&one, &two, &three].map(waits_for),
            [two.pid(), one.pid(), one.pid()].map(Some)
        );
        let wait = vitals(one.pid()).and_then(|it| it.waiting).expect("waits");
        assert_eq!(wait.in_message, Some("it::vitals::AskAlong"));
        let flags = || {
            let trees = snapshot();
            names
                .iter()
                .map(|name| {
                    let node = find(&trees, &format!("{root}/{name}")).expect("it is shown");
                    node.flags.names().collect::<Vec<_>>().join(" ")
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(flags(), ["", "", ""], "such a wait may be over in a moment");
        tokio::time::advance(Duration::from_secs(2)).await;
        // Somebody waits for `one`, and nobody for `three`.
        assert_eq!(flags(), ["DEADLOCK BUSY", "DEADLOCK", ""]);
        let text = snapshot()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n");
        assert!(text.contains("RUNNING DEADLOCK BUSY"), "{text}");
    });
}

#[test]
fn a_wait_that_is_over_is_not_shown() {
    system(async {
        let (one, two) = (spawn(Asker), spawn(Asker));
        one.send(AskAlong(vec![two])).await.expect("it lives");
        eventually("the wait ends", || {
            vitals(one.pid()).expect("it lives").waiting.is_none()
        })
        .await;
    });
}

/// Shows itself at length, or panics.
struct Shown(&'static str);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "long" => (0..).try_for_each(|_| f.write_str("é")),
            "broken" => panic!("a broken Debug"),
            short => f.write_str(short),
        }
    }
}

impl Actor for Shown {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.expose_state();
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Crash;

impl Handler<Crash> for Shown {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("crashed");
    }
}

#[test]
fn the_crash_report_tells_the_exposed_state_within_bounds() {
    let scribe = Scribe::default();
    let _guard = tracing::subscriber::set_default(scribe.clone());
    system(async {
        let long = format!("{}…", "é".repeat(STATE_BYTES_MAX / 2));
        let states = [
            ("short", "short"),
            ("long", &long),
            ("broken", "its Debug panicked"),
        ];
        for (number, (state, told)) in states.into_iter().enumerate() {
            let shown = spawn(Shown(state));
            let end = exited(shown.pid());
            shown.do_send(Crash);
            let reason = end.await;
            assert!(reason.to_string().contains("'crashed'"), "{reason}");
            let crashes = scribe.crashes();
            assert_eq!(crashes.len(), number + 1);
            let told = format!(" state={told:?}");
            assert!(
                crashes[number].contains(&told),
                "{told} in {}",
                crashes[number]
            );
        }
        let (silent, _) = puppet();
        let end = exited(silent.pid());
        silent.cast(|_, _| panic!("crashed"));
        end.await;
        assert!(!scribe.crashes()[3].contains(" state="));
    });
}

/// Says when it is dropped.
struct Flag(Arc<AtomicBool>);

impl Drop for Flag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn what_an_actor_tells_of_itself_is_in_the_snapshot_within_bounds() {
    system(async {
        let (root, name) = (unique("described"), unique("puppet"));
        let spec = ChildSpec::new(name.as_str(), |_: &mut Context<Puppet>| Puppet::default())
            .registered(name.as_str());
        let supervisor = Supervisor::start(&root, SupFlags::default(), vec![spec])
            .await
            .expect("it starts");
        let details = || {
            let trees = snapshot();
            find(&trees, &format!("{root}/{name}"))
                .expect("it is shown")
                .details
                .clone()
        };
        assert_eq!(details(), []);
        let puppet = whereis_actor::<Puppet>(&name).expect("it runs");
        puppet
            .tell(|_, ctx| ctx.describe(|| vec![("readers", "3".to_owned())]))
            .await;
        assert_eq!(details(), [("readers", "3".to_owned())]);
        let dropped = Arc::new(AtomicBool::new(false));
        let flag = Flag(Arc::clone(&dropped));
        puppet
            .tell(move |_, ctx| {
                ctx.describe(move || {
                    let _held = &flag;
                    vec![("long", "é".repeat(DETAIL_BYTES_MAX)); DETAILS_MAX + 1]
                });
            })
            .await;
        let long = details();
        assert_eq!(long.len(), DETAILS_MAX);
        assert_eq!(long[0].1, format!("{}…", "é".repeat(DETAIL_BYTES_MAX / 2)));
        puppet
            .tell(|_, ctx| ctx.describe(|| panic!("cannot tell")))
            .await;
        assert!(dropped.load(Ordering::Relaxed), "the old one is kept");
        assert_eq!(details(), []);
        assert!(puppet.is_alive());
        let end = exited(supervisor.pid());
        byron_supervisors::shutdown(supervisor.pid(), LIMIT).await;
        end.await;
    });
}

fn events_of(kind: EventKind, since: u64) -> HashMap<String, Vec<String>> {
    let mut found: HashMap<String, Vec<String>> = HashMap::new();
    for event in events_since(since).events {
        if event.kind == kind {
            let path = event.path.map(|path| path.to_string()).unwrap_or_default();
            let note = event.note.map(String::from).unwrap_or_default();
            found.entry(path).or_default().push(note);
        }
    }
    found
}

async fn supervised(root: &str, name: &str) -> ActorRef<Puppet> {
    let spec = ChildSpec::new(name, |_: &mut Context<Puppet>| Puppet::default()).registered(name);
    Supervisor::start(root, SupFlags::default(), vec![spec])
        .await
        .expect("it starts");
    whereis_actor(name).expect("it runs")
}

#[test]
fn a_very_long_mailbox_is_an_event_once_until_it_was_short_again() {
    paused(async {
        let before = record_operator("looks", None);
        let (root, name) = (unique("high"), unique("puppet"));
        let puppet = supervised(&root, &name).await;
        let told = || events_of(EventKind::MailboxHigh, before).remove(&format!("{root}/{name}"));
        for _ in 0..2 {
            for _ in 0..MAILBOX_HIGH {
                puppet.cast(|_, _| ());
            }
            puppet.tell(|_, _| ()).await;
        }
        let wait = format!("{} messages wait", MAILBOX_HIGH + 1);
        // Twice as long, and never short between.
        assert_eq!(told(), Some(vec![wait.clone(), wait.clone()]));
        settle().await;
        for _ in 0..MAILBOX_HIGH {
            puppet.cast(|_, _| ());
        }
        puppet.tell(|_, _| ()).await;
        assert_eq!(told().map_or(0, |told| told.len()), 3);
        let shown = vitals(puppet.pid()).expect("it lives");
        assert_eq!(shown.mailbox_high, MAILBOX_HIGH + 1);
        assert!(shown.turn_p50.is_some() && shown.turn_p99 >= shown.turn_p50);
    });
}

#[test]
fn a_turn_that_takes_long_is_an_event_with_its_message() {
    paused(async {
        let before = record_operator("looks", None);
        let (root, name) = (unique("slow"), unique("puppet"));
        let puppet = supervised(&root, &name).await;
        let told = || events_of(EventKind::HandlerSlow, before).remove(&format!("{root}/{name}"));
        for (span, count) in [
            (HANDLER_SLOW, 0),
            (HANDLER_SLOW + Duration::from_millis(100), 1),
        ] {
            puppet
                .tell(move |_, _| {
                    // The clock is paused: this is what takes long.
                    let _ = tokio::time::advance(span).now_or_never();
                })
                .await;
            settle().await;
            assert_eq!(told().map_or(0, |told| told.len()), count, "{span:?}");
        }
        let note = &told().expect("it was slow")[0];
        assert_eq!(
            note,
            "a turn took 1.1s, at the end handling it::support::Do<()>"
        );
    });
}
