//! The event log. It belongs to the whole program: other tests may write to it at any time.

use std::time::Duration;

use byron_supervisors::{
    EVENT_BYTES_MAX, EVENTS_MAX, EventDetails, EventKind, ExitReason, Operator, Path, Pid,
    events_since, exited, next_events, record_operator,
};
use parking_lot::{Mutex, MutexGuard};

use crate::support::{Strings, puppet, system, unique};

/// Tests that fill the ring, and those that look back in it, take turns.
static RING: Mutex<()> = Mutex::new(());

fn ring() -> MutexGuard<'static, ()> {
    RING.lock()
}

fn last() -> u64 {
    record_operator("looks", None)
}

#[test]
fn a_crash_is_an_event_with_pid_and_reason() {
    let _ring = ring();
    system(async {
        let before = last();
        let (victim, _) = puppet();
        let end = exited(victim.pid());
        victim.cast(|_, _| panic!("for the log"));
        let reason = end.await;
        let events = events_since(before).events;
        let own: Vec<_> = events
            .iter()
            .filter(|event| event.pid == Some(victim.pid()))
            .collect();
        assert_eq!(own.len(), 1, "{own:?}");
        assert_eq!(own[0].kind, EventKind::Exit);
        assert_eq!(own[0].reason, Some(reason));
        assert_eq!(own[0].path, None);
    });
}

#[test]
fn processes_outside_every_tree_that_end_in_order_are_no_events() {
    let _ring = ring();
    system(async {
        let before = last();
        let mut pids: Vec<Pid> = Vec::new();
        for reason in [ExitReason::Normal, ExitReason::SHUTDOWN] {
            let (one, _) = puppet();
            pids.push(one.pid());
            let end = exited(one.pid());
            one.cast(move |_, ctx| ctx.exit(reason));
            end.await;
        }
        let events = events_since(before).events;
        assert!(
            events
                .iter()
                .all(|event| event.pid.is_none_or(|pid| !pids.contains(&pid)))
        );
    });
}

#[test]
fn what_an_operator_does_is_an_event() {
    let _ring = ring();
    let before = last();
    let operator = Operator {
        uid: Some(1000),
        pid: Some(4242),
        via: "socket".to_owned(),
    };
    let path = Path::root(unique("root")).child("poems");
    let seq = operator.record("drains root/poems", Some(&path));
    let event = events_since(before).events.remove(0);
    assert_eq!((event.seq, event.kind), (seq, EventKind::Operator));
    assert_eq!(
        event.to_string(),
        format!("{path} operator uid 1000, pid 4242 drains root/poems (#{seq})")
    );
    let EventDetails::Operator {
        operator: who,
        action,
        refused,
    } = event.details
    else {
        panic!("{:?}", event.details);
    };
    assert_eq!((*who, action, refused), (operator, None, None));
}

#[test]
fn the_ring_keeps_a_bounded_number_and_counts_what_it_drops() {
    let _ring = ring();
    let before = last();
    for _ in 0..EVENTS_MAX + 100 {
        record_operator("fills", None);
    }
    let all = events_since(0);
    assert!(all.events.len() <= EVENTS_MAX);
    assert!(
        all.events
            .windows(2)
            .all(|pair| pair[0].seq + 1 == pair[1].seq)
    );
    let first = all.events[0].seq;
    assert_eq!(all.missed, first - 1);
    assert_eq!(all.dropped, first - 1);
    let since = events_since(before);
    assert!(since.missed >= 100);
    assert!(since.events[0].seq > before + 100);
    assert_eq!(events_since(u64::MAX).events.len(), 0);
    assert_eq!(events_since(u64::MAX).missed, 0);
}

#[test]
fn the_ring_keeps_a_bounded_number_of_bytes_those_of_errors_too() {
    let _ring = ring();
    system(async {
        let text = "x".repeat(EVENT_BYTES_MAX / 10);
        for _ in 0..20 {
            record_operator(text.clone(), None);
        }
        let kept = |by: fn(&byron_supervisors::Event) -> usize| -> usize {
            events_since(0).events.iter().map(by).sum()
        };
        let notes = kept(|event| event.note.as_deref().map_or(0, str::len));
        assert!(notes <= EVENT_BYTES_MAX, "{notes}");
        for _ in 0..20 {
            let (one, _) = puppet();
            let end = exited(one.pid());
            let text = text.clone();
            one.cast(move |_, ctx| ctx.exit(ExitReason::error(text)));
            end.await;
        }
        let reasons = kept(|event| {
            let reason = event.reason.as_ref();
            reason.map_or(0, |reason| reason.to_string().len())
        });
        assert!(reasons <= EVENT_BYTES_MAX, "{reasons}");
        // More than all there is room for.
        let seq = record_operator("y".repeat(2 * EVENT_BYTES_MAX), None);
        assert!(events_since(0).events.iter().all(|event| event.seq != seq));
        assert!(events_since(seq - 1).missed > 0 || !events_since(seq - 1).events.is_empty());
    });
}

#[test]
fn next_events_wakes_for_what_comes() {
    let _ring = ring();
    system(async {
        let seq = last();
        let note = unique("wakes");
        let waiting = actix_rt::spawn({
            let note = note.clone();
            async move {
                let mut seq = seq;
                loop {
                    let news = next_events(seq).await;
                    for event in &news.events {
                        assert!(event.seq > seq);
                        seq = event.seq;
                        if event.note.as_deref() == Some(note.as_str()) {
                            return;
                        }
                    }
                }
            }
        });
        tokio::task::yield_now().await;
        let thread = std::thread::spawn(move || record_operator(note, None));
        tokio::time::timeout(Duration::from_secs(30), waiting)
            .await
            .expect("it wakes")
            .expect("it does not panic");
        thread.join().expect("no panic");
    });
}

#[test]
fn events_of_many_threads_are_in_one_order_without_gaps_for_whoever_looks_meanwhile() {
    const THREADS: usize = 20;
    const EACH: usize = 300;
    let _ring = ring();
    let mut seen = last();
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            std::thread::spawn(move || {
                let seqs: Vec<_> = (0..EACH)
                    .map(|number| record_operator(format!("lane {thread}/{number}"), None))
                    .collect();
                assert!(seqs.is_sorted(), "{seqs:?}");
            })
        })
        .collect();
    let mut found = [0; THREADS];
    while found.iter().sum::<usize>() < THREADS * EACH {
        let events = events_since(seen);
        assert_eq!(events.missed, 0);
        for event in events.events {
            assert_eq!(event.seq, seen + 1, "every number once, in order");
            seen = event.seq;
            let note = event.note.unwrap_or_default();
            let Some((thread, number)) = note
                .strip_prefix("lane ")
                .and_then(|text| text.split_once('/'))
            else {
                continue;
            };
            let thread: usize = thread.parse().expect("a number");
            assert_eq!(number, found[thread].to_string(), "in the thread's order");
            found[thread] += 1;
        }
    }
    for thread in threads {
        thread.join().expect("it records in order");
    }
}
