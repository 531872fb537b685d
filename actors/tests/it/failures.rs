//! Every way in which a download fails has its kind, and those that another attempt can mend are mended.

use std::cell::Cell;
use std::rc::Rc;

use byron_actors::{
    ATTEMPT_OVERDUE, ClientConfig, Event, Expectation, FailureKind, Manner, Patience, PoemHash,
    Target, Whereabouts, tree,
};
use byron_supervisors::testing::{self, fail_start};
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::support::{
    LIMIT, collect_as, collect_one, failure, get, hasty, ms, nobody, once, play, run, say,
    say_and_reset, serve, target,
};

fn expecting(addr: std::net::SocketAddr, expectation: Expectation) -> ClientConfig {
    let target = Target {
        expectation,
        ..target(addr)
    };
    ClientConfig {
        targets: vec![target],
        ..get(&[])
    }
}

#[test]
fn nobody_there_is_refused_after_every_attempt() {
    run(async {
        let outcome = collect_one(get(&[nobody()])).await;
        assert_eq!(
            failure(&outcome),
            (FailureKind::Refused, "connection refused")
        );
        assert_eq!(
            outcome.retried,
            [FailureKind::Refused, FailureKind::Refused]
        );
        assert_eq!(outcome.attempts, 3);
    });
}

#[test]
fn a_name_that_means_nothing_is_not_tried_again() {
    run(async {
        let host = "no-such-poet.invalid".to_owned();
        let target = Target::new("poet", Whereabouts::Name { host, port: 1 });
        let outcome = collect_one(ClientConfig {
            targets: vec![target],
            ..get(&[])
        })
        .await;
        let (kind, message) = failure(&outcome);
        assert_eq!(kind, FailureKind::Resolve);
        assert!(
            message.starts_with("cannot look up no-such-poet.invalid: "),
            "{message}"
        );
    });
}

#[test]
fn every_address_is_tried_and_named() {
    run(async {
        let addr = play(|_, stream| say(stream, b"second")).await;
        let first = nobody();
        let both = Target::new("both", Whereabouts::Addresses(vec![first, addr]));
        let outcome = collect_one(ClientConfig {
            targets: vec![both],
            ..get(&[])
        })
        .await;
        assert_eq!(
            (outcome.heard.as_slice(), outcome.attempts),
            (&b"second"[..], 1)
        );

        let none = Target::new("none", Whereabouts::Addresses(vec![]));
        let outcome = collect_one(ClientConfig {
            targets: vec![none],
            ..get(&[])
        })
        .await;
        assert_eq!(
            failure(&outcome),
            (FailureKind::Io, "no address to connect to")
        );
    });
}

#[test]
fn a_reset_is_tried_again_and_not_one_byte_comes_twice() {
    run(async {
        let poem = b"She walks in beauty, like the night";
        let addr = play(move |number, stream| async move {
            match number {
                1 => say_and_reset(stream, &poem[..9]).await,
                2 => say_and_reset(stream, &poem[..4]).await,
                _ => say(stream, poem).await,
            }
        })
        .await;
        let outcome = collect_one(get(&[addr])).await;
        assert_eq!(outcome.retried, [FailureKind::Reset, FailureKind::Reset]);
        assert_eq!(outcome.heard, poem);
        assert!(outcome.whole);
    });
}

#[test]
fn a_reset_that_is_not_mended_is_a_reset() {
    run(async {
        let addr = play(|_, stream| say_and_reset(stream, b"half a")).await;
        let outcome = collect_one(get(&[addr])).await;
        let text = format!("connection reset by {addr}");
        assert_eq!(failure(&outcome), (FailureKind::Reset, text.as_str()));
        assert_eq!(
            (outcome.heard.as_slice(), outcome.attempts),
            (&b"half a"[..], 3)
        );
    });
}

#[test]
fn a_poem_that_changed_between_attempts_is_not_continued() {
    run(async {
        let addr = play(|number, stream| async move {
            match number {
                1 => say_and_reset(stream, b"She walks").await,
                _ => say(stream, b"He walks in beauty").await,
            }
        })
        .await;
        let outcome = collect_one(get(&[addr])).await;
        let text = "the poem changed within its first 9 bytes";
        assert_eq!(failure(&outcome), (FailureKind::Changed, text));
        assert_eq!(
            (outcome.heard.as_slice(), outcome.attempts),
            (&b"She walks"[..], 2)
        );
    });
}

#[test]
fn a_server_that_never_begins_is_tried_again() {
    run(async {
        let addr = play(|number, mut stream| async move {
            match number {
                // As if the handshake had been dropped: connected, and nobody speaks.
                1 => drop(stream.read_u8().await),
                _ => say(stream, b"at last").await,
            }
        })
        .await;
        let patience = hasty(ms(100), ms(5000));
        let outcome = collect_one(ClientConfig {
            patience,
            ..get(&[addr])
        })
        .await;
        assert_eq!(outcome.retried, [FailureKind::IdleTimeout]);
        assert_eq!(outcome.heard, b"at last");
    });
}

#[test]
fn a_server_that_falls_silent_is_an_idle_timeout() {
    run(async {
        let addr = play(|_, mut stream| async move {
            use tokio::io::AsyncWriteExt;
            stream.write_all(b"well").await.unwrap();
            let _ = stream.read_u8().await;
        })
        .await;
        let patience = hasty(ms(5000), ms(100));
        let outcome = collect_one(once(ClientConfig {
            patience,
            ..get(&[addr])
        }))
        .await;
        let text = format!("{addr} fell silent for 100ms");
        assert_eq!(failure(&outcome), (FailureKind::IdleTimeout, text.as_str()));
        assert_eq!(outcome.heard, b"well");
    });
}

#[test]
fn all_attempts_together_have_one_time_limit() {
    run(async {
        let addr = play(|_, mut stream| async move { drop(stream.read_u8().await) }).await;
        let patience = Patience {
            max_time: Some(ms(1160)),
            ..hasty(ms(400), ms(400))
        };
        let outcome = collect_one(ClientConfig {
            patience,
            ..get(&[addr])
        })
        .await;
        assert_eq!(
            failure(&outcome),
            (FailureKind::MaxTime, "not done within 1.16s")
        );
        assert_eq!(outcome.attempts, 3);
    });
}

#[test]
fn a_connect_timeout_names_the_addresses() {
    run(async {
        // Full queues answer nobody: a backlog of none, and more readers than fit.
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        socket.listen(0).unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        let mut crowd = Vec::new();
        while let Ok(Ok(reader)) =
            tokio::time::timeout(ms(200), tokio::net::TcpStream::connect(addr)).await
        {
            crowd.push(reader);
        }
        let patience = Patience {
            connect_timeout: ms(100),
            ..Patience::default()
        };
        let outcome = collect_one(once(ClientConfig {
            patience,
            ..get(&[addr])
        }))
        .await;
        assert_eq!(
            failure(&outcome),
            (FailureKind::ConnectTimeout, "no answer within 100ms")
        );
    });
}

#[test]
fn an_empty_poem_is_a_failure_unless_it_is_allowed() {
    run(async {
        let addr = play(|_, stream| say(stream, b"")).await;
        let outcome = collect_one(once(get(&[addr]))).await;
        assert_eq!(failure(&outcome), (FailureKind::Empty, "the poem is empty"));
        let allowed = Expectation {
            allow_empty: true,
            ..Expectation::default()
        };
        assert!(collect_one(expecting(addr, allowed)).await.whole);
    });
}

#[test]
fn a_poem_of_another_length_or_hash_is_a_failure() {
    run(async {
        let addr = play(|_, stream| say(stream, b"poem")).await;
        let any = Expectation::default();
        let longer = Expectation {
            bytes: Some(5),
            ..any
        };
        let outcome = collect_one(expecting(addr, longer)).await;
        assert_eq!(
            failure(&outcome),
            (FailureKind::Truncated, "ended after 4 of 5 bytes")
        );
        assert_eq!(outcome.attempts, 3);
        let shorter = Expectation {
            bytes: Some(3),
            ..any
        };
        let outcome = collect_one(expecting(addr, shorter)).await;
        assert_eq!(failure(&outcome).0, FailureKind::Changed);
        assert_eq!(outcome.attempts, 1);
        let other = Expectation {
            sha256: Some(PoemHash([7; 32])),
            ..any
        };
        let outcome = collect_one(expecting(addr, other)).await;
        assert_eq!(
            (failure(&outcome).0, outcome.attempts),
            (FailureKind::Changed, 1)
        );
        let too_long = Expectation {
            poem_bytes_max: 3,
            ..any
        };
        let outcome = collect_one(expecting(addr, too_long)).await;
        assert_eq!(failure(&outcome), (FailureKind::Io, "longer than 3 bytes"));
    });
}

#[test]
fn calling_a_download_off_closes_its_socket() {
    run(async {
        let (closed, is_closed) = oneshot::channel();
        let closed = Rc::new(Cell::new(Some(closed)));
        let addr = play(move |_, mut stream| {
            let closed = Rc::clone(&closed);
            async move {
                assert_eq!(
                    stream.read(&mut [0; 8]).await.unwrap(),
                    0,
                    "the client hangs up"
                );
                closed.take().unwrap().send(()).unwrap();
            }
        })
        .await;
        let (client, handle, mut events) = byron_actors::tree::start_client("get", get(&[addr]))
            .await
            .unwrap();
        let mut outcomes = [crate::support::Outcome::default()];
        while let Some(event) = events.recv().await {
            match event {
                byron_actors::Event::Connected { .. } => handle.cancel(),
                byron_actors::Event::Done {
                    poems: 0,
                    failed: 1,
                } => break,
                other => crate::support::note(other, &mut outcomes),
            }
        }
        assert_eq!(failure(&outcomes[0]), (FailureKind::Cancelled, "cancelled"));
        is_closed.await.unwrap();
        byron_actors::tree::stop(&client, crate::support::LIMIT).await;
    });
}

#[test]
fn a_download_that_does_not_start_at_all_is_a_failure_at_once() {
    run(async {
        let served = serve("a poem", Manner::default()).await;
        fail_start("/unstarted/downloads/download", 1);
        let begin = Instant::now();
        let outcomes = collect_as("unstarted", get(&[served.addr(), served.addr()])).await;
        let lost: Vec<_> = outcomes.iter().filter(|outcome| !outcome.whole).collect();
        assert_eq!(lost.len(), 1);
        let (kind, message) = failure(lost[0]);
        assert_eq!(kind, FailureKind::Io);
        assert!(
            message.starts_with("the download did not start: "),
            "{message}"
        );
        assert_eq!(lost[0].attempts, 0);
        assert!(begin.elapsed() < ATTEMPT_OVERDUE);
        served.stop().await;
    });
}

#[test]
fn a_download_that_is_not_started_again_is_given_up_when_it_is_overdue() {
    testing::run(async {
        let (client, _, mut events) = tree::start_client("overdue", get(&[nobody(), nobody()]))
            .await
            .unwrap();
        let begin = Instant::now();
        let (mut has_fallen, mut lost) = (false, Vec::new());
        loop {
            match events.recv().await.unwrap() {
                Event::Retry { .. } if !has_fallen => {
                    has_fallen = true;
                    fail_start("/overdue/downloads/download", 100);
                }
                Event::Failed { message, .. } => lost.push(message),
                Event::Done { .. } => break,
                _ => {}
            }
        }
        assert_eq!(lost, ["the download was not restarted"; 2]);
        assert!(begin.elapsed() >= ATTEMPT_OVERDUE);
        assert!(begin.elapsed() < ATTEMPT_OVERDUE * 2);
        tree::stop(&client, LIMIT).await;
    });
}
