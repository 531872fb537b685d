//! The client's side as a whole: all at once, one after another, killed and resumed, and never faster than its reader.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::rc::Rc;

use byron_actors::{ClientConfig, Event, FailureKind, IN_FLIGHT_BYTES_MAX, WhichDownloads, tree};
use byron_supervisors::{ExitReason, exited, kill};
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

use crate::support::{
    LIMIT, Outcome, collect, endless, failure, get, ms, nobody, note, once, pace, pid_at, play,
    run, say, serve, text,
};

#[test]
fn poems_and_losses_are_counted_as_they_end() {
    run(async {
        let poem = text(100_000);
        let served = serve(poem.clone(), byron_actors::Manner::default()).await;
        let config = get(&[served.addr(), nobody(), served.addr()]);
        let outcomes = collect(config).await;
        assert_eq!(outcomes[0].heard, poem);
        assert_eq!(failure(&outcomes[1]).0, FailureKind::Refused);
        assert_eq!(outcomes[2].heard, poem);
        served.stop().await;
    });
}

#[test]
fn nothing_asked_is_done_at_once() {
    run(async {
        assert!(collect(get(&[])).await.is_empty());
    });
}

#[test]
fn without_a_number_of_jobs_all_connections_are_open_at_once() {
    run(async {
        // Nobody gets a byte before everybody is there.
        let everybody = Rc::new(tokio::sync::Barrier::new(5));
        let addr = play(move |_, stream| {
            let everybody = Rc::clone(&everybody);
            async move {
                everybody.wait().await;
                say(stream, b"a poem").await;
            }
        })
        .await;
        let outcomes = collect(get(&[addr; 5])).await;
        assert!(outcomes.iter().all(|outcome| outcome.whole));
    });
}

#[test]
fn with_one_job_never_two_connections_are_open() {
    run(async {
        let open = Rc::new(Cell::new((0, 0)));
        let seen = Rc::clone(&open);
        let addr = play(move |_, stream| {
            let open = Rc::clone(&open);
            async move {
                let (now, most) = open.get();
                open.set((now + 1, most.max(now + 1)));
                tokio::task::yield_now().await;
                say(stream, b"one after another").await;
                let (now, most) = open.get();
                open.set((now - 1, most));
            }
        })
        .await;
        let jobs = NonZeroUsize::new(1);
        let addrs = [addr, nobody(), addr, addr];
        let outcomes = collect(ClientConfig {
            jobs,
            ..get(&addrs)
        })
        .await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.whole).count(), 3);
        assert_eq!(seen.get(), (0, 1));
    });
}

#[test]
fn the_first_failure_calls_off_the_rest_if_asked() {
    run(async {
        let served = serve("endless", endless()).await;
        let config = ClientConfig {
            fail_fast: true,
            jobs: NonZeroUsize::new(2),
            ..once(get(&[served.addr(), nobody(), served.addr()]))
        };
        let outcomes = collect(config).await;
        let kinds: Vec<_> = outcomes.iter().map(|outcome| failure(outcome).0).collect();
        let cancelled = FailureKind::Cancelled;
        assert_eq!(kinds, [cancelled, FailureKind::Refused, cancelled]);
        assert_eq!(outcomes[2].attempts, 0);
        served.stop().await;
    });
}

#[test]
fn a_killed_download_is_restarted_and_continues_where_it_was() {
    run(async {
        let poem = text(30);
        let served = serve(poem.clone(), pace(1, ms(10))).await;
        let (client, handle, mut events) = tree::start_client("get", get(&[served.addr()]))
            .await
            .unwrap();
        let mut outcomes = [Outcome::default()];
        let mut is_killed = false;
        loop {
            match events.recv().await.unwrap() {
                Event::Done { .. } => break,
                event => note(event, &mut outcomes),
            }
            if !is_killed && outcomes[0].heard.len() > 10 {
                is_killed = true;
                let coordinator = handle.coordinator().unwrap();
                let downloads = coordinator.send(WhichDownloads).await.unwrap();
                let end = exited(downloads[0].1);
                kill(downloads[0].1);
                assert_eq!(end.await, ExitReason::Killed);
            }
        }
        assert_eq!(outcomes[0].heard, poem);
        assert_eq!(outcomes[0].attempts, 2);
        tree::stop(&client, LIMIT).await;
        served.stop().await;
    });
}

#[test]
fn a_connection_that_is_killed_costs_its_reader_a_retry_and_no_byte() {
    run(async {
        let poem = text(30);
        let served = serve(poem.clone(), pace(1, ms(10))).await;
        let (client, _, mut events) = tree::start_client("get", get(&[served.addr()]))
            .await
            .unwrap();
        let mut outcomes = [Outcome::default()];
        loop {
            match events.recv().await.unwrap() {
                Event::Done { .. } => break,
                event => note(event, &mut outcomes),
            }
            if outcomes[0].retried.is_empty() && outcomes[0].heard.len() == 10 {
                kill(served.connection().await);
            }
        }
        assert_eq!(outcomes[0].retried, [FailureKind::Reset]);
        assert_eq!(outcomes[0].heard, poem);
        tree::stop(&client, LIMIT).await;
        served.stop().await;
    });
}

#[test]
fn a_client_without_its_coordinator_ends_and_so_do_the_events() {
    run(async {
        let served = serve("endless", endless()).await;
        let (client, handle, mut events) = tree::start_client("get", get(&[served.addr()]))
            .await
            .unwrap();
        while !matches!(events.recv().await.unwrap(), Event::Chunk(_)) {}
        let end = exited(client.pid());
        kill(handle.coordinator().unwrap().pid());
        assert!(matches!(end.await, ExitReason::Shutdown(_)));
        while let Some(event) = events.recv().await {
            assert!(!matches!(event, Event::Done { .. }));
        }
        assert!(pid_at(client.pid(), "downloads").is_none());
        served.stop().await;
    });
}

#[test]
fn a_client_without_its_downloads_supervisor_ends_and_hangs_up() {
    run(async {
        let served = serve("endless", endless()).await;
        let (client, _, mut events) = tree::start_client("get", get(&[served.addr()]))
            .await
            .unwrap();
        while !matches!(events.recv().await.unwrap(), Event::Chunk(_)) {}
        let (end, connection) = (exited(client.pid()), exited(served.connection().await));
        kill(pid_at(client.pid(), "downloads").unwrap());
        assert!(matches!(end.await, ExitReason::Shutdown(_)));
        while events.recv().await.is_some() {}
        kill(served.connection().await);
        connection.await;
        served.stop().await;
    });
}

#[test]
fn a_client_without_its_client_actor_ends_and_has_no_poem() {
    run(async {
        let served = serve("endless", endless()).await;
        let (client, _, mut events) = tree::start_client("get", get(&[served.addr()]))
            .await
            .unwrap();
        while !matches!(events.recv().await.unwrap(), Event::Chunk(_)) {}
        let end = exited(client.pid());
        kill(pid_at(client.pid(), "get/client").unwrap());
        assert!(matches!(end.await, ExitReason::Shutdown(_)));
        // Its downloads are called off, or nothing more is heard; nothing that was cut off is a poem.
        while let Some(event) = events.recv().await {
            assert!(!matches!(event, Event::Poem { .. }));
        }
        served.stop().await;
    });
}

#[test]
fn a_client_whose_events_nobody_takes_ends_and_hangs_up() {
    run(async {
        let served = serve("endless", endless()).await;
        let (client, _, mut events) = tree::start_client("get", get(&[served.addr()]))
            .await
            .unwrap();
        while !matches!(events.recv().await.unwrap(), Event::Chunk(_)) {}
        let end = exited(client.pid());
        drop(events);
        // The next event finds nobody.
        kill(served.connection().await);
        assert!(matches!(end.await, ExitReason::Shutdown(_)));
        served.stop().await;
    });
}

#[test]
fn a_reader_who_does_not_take_the_bytes_stops_the_server_not_the_memory() {
    run(async {
        let stuck = Rc::new(Notify::new());
        let is_stuck = Rc::clone(&stuck);
        let addr = play(move |_, mut stream| {
            let stuck = Rc::clone(&stuck);
            async move {
                let piece = text(1 << 20);
                for _ in 0..64 {
                    let sent = tokio::time::timeout(ms(300), stream.write_all(&piece)).await;
                    if sent.is_err() {
                        stuck.notify_one();
                        return;
                    }
                }
            }
        })
        .await;
        let (client, _, mut events) = tree::start_client("get", get(&[addr])).await.unwrap();
        is_stuck.notified().await;
        let mut chunks = Vec::new();
        while let Some(event) = events.try_recv() {
            if let Event::Chunk(chunk) = event {
                chunks.push(chunk);
            }
        }
        let bytes: usize = chunks.iter().map(|chunk| chunk.bytes.len()).sum();
        assert!(bytes > 0 && bytes <= IN_FLIGHT_BYTES_MAX, "{bytes}");
        tree::stop(&client, LIMIT).await;
    });
}
