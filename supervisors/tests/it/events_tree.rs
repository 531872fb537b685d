//! What a tree tells of itself: events with their causes, and the snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::Actor;
use byron_supervisors::{
    AutoShutdown, Backoff, ChildSpec, Context, DynamicFlags, DynamicSupervisor, Event, EventKind,
    ExitReason, NOTE_BYTES_MAX, Node, StartDynamicChild, Strategy, SupFlags, Supervisor,
    TerminateChild, exit, exited, kill, snapshot, spawn, whereis, whereis_actor,
};

use crate::sup_support::{
    Ask, Deed, Log, MILLI, SECOND, Worker, count, events_of, flags, now, part, pass, paused,
    settle, unique,
};

/// The events below a root, one line each, without numbers that no two runs share.
fn lines(events: &[Event], root: &str) -> Vec<String> {
    let first = events.first().map_or(0, |event| event.seq);
    let line = |event: &Event| {
        let text = event.to_string().replace(root, "root");
        let (text, _) = text.rsplit_once(" (#").expect("it ends with its number");
        let cause = event.cause.map_or_else(String::new, |cause| {
            let at = events.iter().position(|event| event.seq == cause);
            at.map_or_else(|| format!(" <- before {first}"), |at| format!(" <- {at}"))
        });
        format!("{text}{cause}")
    };
    events.iter().map(line).collect()
}

fn node(root: &str) -> Node {
    let nodes = snapshot().into_iter();
    let mut nodes = nodes.filter(|node| node.path.to_string() == root);
    nodes.next().expect("it is a root")
}

#[test]
fn a_start_a_crash_and_a_stop_are_told_with_their_causes() {
    paused(async {
        let (root, since) = (unique("root"), now());
        let specs = ["a", "b"].map(|id| part(id, &Log::default()).spec());
        let sup = Supervisor::start(&root, flags(1), specs.into())
            .await
            .expect("it starts");
        sup.end("a", Deed::Leave(ExitReason::error("ink"))).await;
        let end = exited(sup.pid());
        exit(sup.pid(), ExitReason::SHUTDOWN);
        end.await;
        assert_eq!(
            lines(&events_of(&root, since), &root),
            [
                "root#1 started",
                "root/a#1 started",
                "root/a#1 ready",
                "root/b#1 started",
                "root/b#1 ready",
                "root#1 ready",
                "root/a#1 exit: error: ink",
                "root/a#1 restart <- 6",
                "root/a#2 started <- 7",
                "root/a#2 ready <- 7",
                "root#1 stop: shutdown",
                "root/b#1 exit: shutdown <- 10",
                "root/a#2 exit: shutdown <- 10",
                "root#1 exit: shutdown",
            ]
        );
    });
}

#[test]
fn siblings_end_because_of_the_restart_that_takes_them_along() {
    paused(async {
        let (root, since) = (unique("root"), now());
        let specs = ["a", "b"].map(|id| part(id, &Log::default()).spec());
        let flags = SupFlags {
            strategy: Strategy::OneForAll,
            ..flags(1)
        };
        let sup = Supervisor::start(&root, flags, specs.into())
            .await
            .expect("it starts");
        sup.end("a", Deed::Killed).await;
        assert_eq!(
            lines(&events_of(&root, since), &root)[6..],
            [
                "root/a#1 exit: killed",
                "root/a#1 restart <- 6",
                "root/b#1 exit: shutdown <- 7",
                "root/a#2 started <- 7",
                "root/a#2 ready <- 7",
                "root/b#2 started <- 7",
                "root/b#2 ready <- 7",
            ]
        );
    });
}

/// A tree of three levels, in which one crash is one too many for the two below the root.
fn deep(name: &str) -> Vec<ChildSpec> {
    let name = name.to_owned();
    vec![ChildSpec::supervisor("middle", flags(0), move || {
        let name = name.clone();
        vec![ChildSpec::supervisor("below", flags(0), move || {
            vec![part("a", &Log::default()).named(&name).spec()]
        })]
    })]
}

#[test]
fn an_escalation_is_a_chain_of_causes_from_the_root_down_to_the_crash() {
    paused(async {
        let (root, name, since) = (unique("root"), unique("a"), now());
        let sup = Supervisor::start(&root, flags(1), deep(&name))
            .await
            .expect("it starts");
        whereis_actor::<Worker>(&name)
            .expect("it runs")
            .do_send(Deed::Panic);
        settle().await;
        assert!(sup.is_alive());

        let events = events_of(&root, since);
        // From the last one that was started again, back to what began it.
        let mut event = events
            .iter()
            .rev()
            .find(|event| event.kind == EventKind::Ready);
        let mut chain = Vec::new();
        while let Some(link) = event {
            let path = link
                .path
                .as_ref()
                .map(|path| path.to_string().replace(&root, "root"));
            chain.push(format!("{} {}", path.unwrap_or_default(), link.kind.name()));
            let cause = link.cause;
            event = events.iter().find(|event| Some(event.seq) == cause);
        }
        assert_eq!(
            chain,
            [
                "root/middle ready",
                "root/middle restart",
                "root/middle exit",
                "root/middle gave_up",
                "root/middle/below exit",
                "root/middle/below gave_up",
                "root/middle/below/a exit",
            ]
        );
    });
}

#[test]
fn a_wait_is_told_with_its_length_and_a_child_given_up_with_its_failures() {
    paused(async {
        let (root, since) = (unique("root"), now());
        let backoff = Backoff {
            jitter: 0.0,
            max_failures: Some(1),
            ..Backoff::new(SECOND * 2, SECOND * 9)
        };
        let spec = part("a", &Log::default()).spec().backoff(backoff);
        let sup = Supervisor::start(&root, flags(9), vec![spec])
            .await
            .expect("it starts");
        sup.end("a", Deed::Killed).await;
        pass(SECOND * 2 + MILLI).await;
        sup.end("a", Deed::Killed).await;
        assert_eq!(
            lines(&events_of(&root, since), &root)[4..],
            [
                "root/a#1 exit: killed",
                "root/a#1 backoff waits 2000 ms <- 4",
                "root/a#1 restart <- 4",
                "root/a#2 started <- 6",
                "root/a#2 ready <- 6",
                "root/a#2 exit: killed",
                "root/a#2 gave_up on it after 2 failures <- 9",
            ]
        );
    });
}

#[test]
fn an_automatic_shutdown_is_caused_by_the_childs_end() {
    paused(async {
        let (root, since) = (unique("root"), now());
        let spec = part("a", &Log::default())
            .restart(byron_supervisors::Restart::Transient)
            .significant(true);
        let flags = SupFlags {
            auto_shutdown: AutoShutdown::AnySignificant,
            ..flags(0)
        };
        let sup = Supervisor::start(&root, flags, vec![spec])
            .await
            .expect("it starts");
        sup.end("a", Deed::Leave(ExitReason::Normal)).await;
        assert_eq!(
            lines(&events_of(&root, since), &root)[4..],
            [
                "root/a#1 exit: normal",
                "root#1 stop: shutdown <- 4",
                "root#1 exit: shutdown <- 4",
            ]
        );
    });
}

#[test]
fn the_death_of_a_supervisor_reaches_its_children_as_a_link() {
    paused(async {
        let (root, name, since) = (unique("root"), unique("a"), now());
        let sup = Supervisor::start(&root, flags(1), deep(&name))
            .await
            .expect("it starts");
        let leaf = exited(whereis(&name).expect("it runs"));
        kill(sup.pid_of("middle").await);
        leaf.await;
        settle().await;
        let events = events_of(&root, since);
        let killed = events
            .iter()
            .find(|event| event.kind == EventKind::Exit)
            .expect("one");
        let link = events
            .iter()
            .find(|event| event.kind == EventKind::Link)
            .expect("one");
        assert_eq!(link.cause, Some(killed.seq));
        assert!(
            link.path
                .as_ref()
                .is_some_and(|path| path.to_string().ends_with("/below"))
        );
    });
}

#[test]
fn good_starts_and_ends_of_dynamic_children_are_not_told_and_crashes_are() {
    paused(async {
        let (root, since) = (unique("root"), now());
        let sup = DynamicSupervisor::start(&root, DynamicFlags::new("x")).await;
        let sup = sup.expect("it starts");
        let quiet = lines(&events_of(&root, since), &root);
        assert_eq!(quiet, ["root#1 started", "root#1 ready"]);
        let child = part("x", &Log::default());
        for deed in [
            Deed::Leave(ExitReason::Normal),
            Deed::Leave(ExitReason::SHUTDOWN),
            Deed::Leave(ExitReason::error("reset")),
        ] {
            let child = child.clone();
            let start = StartDynamicChild::with_init(move || child.clone().init());
            let pid = sup.send(start).await.expect("it lives").expect("it starts");
            let pid = pid.expect("it runs");
            let end = exited(pid);
            byron_supervisors::ActorRef::<Worker>::of(pid)
                .expect("a worker")
                .do_send(deed);
            end.await;
        }
        let events = events_of(&root, since);
        assert_eq!(lines(&events, &root)[2..], ["root/3#1 exit: error: reset"]);
        assert_eq!(count(&events, EventKind::Exit), 1);
    });
}

/// Writes one note into the log when it starts, as long as it is told.
struct Notary {
    bytes: usize,
    noted: Arc<AtomicU64>,
}

impl Actor for Notary {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let seq = ctx.note("ü".repeat(self.bytes / 2));
        self.noted.store(seq.unwrap_or_default(), Ordering::Relaxed);
    }
}

#[test]
fn an_actors_note_is_an_event_of_its_place_and_has_an_end() {
    paused(async {
        let (root, since) = (unique("root"), now());
        let noted = Arc::new(AtomicU64::new(0));
        let of_child = Arc::clone(&noted);
        let notary = ChildSpec::new("notary", move |_| Notary {
            bytes: NOTE_BYTES_MAX + 2,
            noted: Arc::clone(&of_child),
        });
        let sup = Supervisor::start(&root, flags(1), vec![notary]).await;
        let _sup = sup.expect("it starts");
        let events = events_of(&root, since);
        let notes: Vec<_> = events
            .iter()
            .filter(|event| event.kind == EventKind::Note)
            .collect();
        let [note] = notes[..] else {
            panic!("{notes:?}")
        };
        assert_eq!(note.seq, noted.load(Ordering::Relaxed));
        assert_eq!(
            note.path.as_ref().unwrap().to_string(),
            format!("{root}/notary")
        );
        let text = note.note.as_deref().unwrap();
        assert_eq!(text, format!("{}…", "ü".repeat(NOTE_BYTES_MAX / 2)));

        let nowhere = Arc::new(AtomicU64::new(7));
        let stranger = spawn(Notary {
            bytes: 2,
            noted: Arc::clone(&nowhere),
        });
        settle().await;
        assert_eq!(nowhere.load(Ordering::Relaxed), 0, "it is in no tree");
        kill(stranger.pid());
    });
}

#[test]
fn a_snapshot_is_the_tree_as_it_is() {
    paused(async {
        let (root, name) = (unique("root"), unique("a"));
        let log = Log::default();
        let mut specs = deep(&name);
        specs.push(part("poem", &log).spec().backoff(Backoff {
            jitter: 0.0,
            ..Backoff::new(SECOND * 3, SECOND * 9)
        }));
        specs.push(part("idle", &log).spec());
        specs.push(ChildSpec::dynamic_supervisor(
            "readers",
            DynamicFlags::new("reader"),
        ));
        let sup = Supervisor::start(&root, flags(2), specs)
            .await
            .expect("it starts");
        pass(SECOND * 90).await;
        sup.end("poem", Deed::Leave(ExitReason::error("ink"))).await;
        let stopped = sup.send(TerminateChild("idle".into())).await;
        assert_eq!(stopped, Ok(Ok(())));

        let node = node(&root);
        let picture = node.to_string().replace(&root, "root");
        let picture: Vec<_> = picture
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            picture,
            [
                "root one_for_one 0/2 in 5s RUNNING 1m30s",
                "├─ middle one_for_one 0/0 in 5s RUNNING 1m30s",
                "│ └─ below one_for_one 0/0 in 5s RUNNING 1m30s",
                "│ └─ a Worker RUNNING 1m30s mailbox 0",
                "├─ poem BACKOFF next in 3s last: error: ink",
                "├─ idle STOPPED last: shutdown",
                "└─ readers simple_one_for_one 0/1 in 5s RUNNING 1m30s",
            ]
        );

        let info = node.supervisor.expect("it supervises");
        assert_eq!((info.restarts_used, info.intensity), (0, 2));
        assert_eq!((info.children_total, info.period), (4, SECOND * 5));
        let poem = &node.children[1];
        assert_eq!((poem.incarnation, poem.restarts), (1, 0));
        assert_eq!(poem.state.name(), "BACKOFF");
        let last = poem.last_exit.as_ref().expect("it ended");
        assert_eq!(last.reason, ExitReason::error("ink"));

        pass(SECOND * 3 + MILLI).await;
        let node = self::node(&root);
        assert_eq!(node.supervisor.map(|info| info.restarts_used), Some(1));
        assert_eq!(
            (node.children[1].incarnation, node.children[1].restarts),
            (2, 1)
        );
    });
}

#[test]
fn the_columns_of_a_picture_are_aligned() {
    paused(async {
        let root = unique("root");
        let specs = ["a", "longer"].map(|id| part(id, &Log::default()).spec());
        let _sup = Supervisor::start(&root, flags(0), specs.into())
            .await
            .expect("it starts");
        let picture = node(&root).to_string();
        let columns: Vec<_> = picture
            .lines()
            .map(|line| {
                let at = line.find("RUNNING").expect("all run");
                line[..at].chars().count()
            })
            .collect();
        assert!(
            columns.windows(2).all(|pair| pair[0] == pair[1]),
            "{picture}"
        );
    });
}

#[test]
fn a_crowd_is_shown_in_part_and_counted_whole() {
    paused(async {
        let root = unique("root");
        let sup = DynamicSupervisor::start(&root, DynamicFlags::new("x")).await;
        let sup = sup.expect("it starts");
        let child = part("x", &Log::default());
        for _ in 0..130 {
            let child = child.clone();
            let start = StartDynamicChild::with_init(move || child.clone().init());
            sup.send(start).await.expect("it lives").expect("it starts");
        }
        let node = node(&root);
        assert_eq!(node.children.len(), 100);
        let info = node.supervisor.as_ref().expect("it supervises");
        assert_eq!(info.children_total, 130);
        assert!(node.to_string().ends_with("└─ and 30 more"));
    });
}
