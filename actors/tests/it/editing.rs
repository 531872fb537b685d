//! Poems that go through transforms before anybody sees them, and what becomes of them where that fails.

use std::net::SocketAddr;

use byron_actors::{
    ATTEMPT_OVERDUE, ClientConfig, Edition, Event, FailureKind, OnTransformError,
    TRANSFORMED_BYTES_MAX, Transform, TransformStep, TransformedBy, Whereabouts, transform_named,
    tree,
};
use byron_supervisors::testing::fail_start;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::support::{
    LIMIT, Outcome, collect, collect_as, collect_one, failure, get, ms, nobody, note, play, run,
    say, say_and_reset,
};

fn here(name: &str) -> TransformStep {
    by(*transform_named(name).unwrap())
}

fn by(transform: Transform) -> TransformStep {
    TransformStep {
        label: transform.name.to_owned(),
        by: TransformedBy::Here(transform),
    }
}

fn at(addr: SocketAddr) -> TransformStep {
    TransformStep {
        label: format!("shout@{addr}"),
        by: TransformedBy::Server {
            name: "shout".to_owned(),
            whereabouts: Whereabouts::Addresses(vec![addr]),
        },
    }
}

/// A client whose poems go through these.
fn edited(addrs: &[SocketAddr], steps: Vec<TransformStep>) -> ClientConfig {
    ClientConfig {
        edition: Edition {
            steps,
            ..Edition::default()
        },
        ..get(addrs)
    }
}

fn strict(config: ClientConfig) -> ClientConfig {
    let edition = Edition {
        on_error: OnTransformError::Fail,
        ..config.edition
    };
    ClientConfig { edition, ..config }
}

async fn poem(text: &'static str) -> SocketAddr {
    play(move |_, stream| async move { say(stream, text.as_bytes()).await }).await
}

/// Hears a whole request.
async fn heard(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b",") {
        stream.read_buf(&mut request).await.unwrap();
    }
    String::from_utf8(request).unwrap()
}

/// A transformer that does what it is told with each connection, once it has heard the request.
async fn transformer(answers: &'static [Answer]) -> SocketAddr {
    play(move |number, mut stream| async move {
        assert_eq!(heard(&mut stream).await, "10:shout.poem,");
        match answers[(number - 1).min(answers.len() - 1)] {
            Answer::Say(bytes) => say(stream, bytes.as_bytes()).await,
            Answer::Reset(bytes) => say_and_reset(stream, bytes.as_bytes()).await,
            Answer::Nothing => std::future::pending().await,
        }
    })
    .await
}

#[derive(Clone, Copy)]
enum Answer {
    Say(&'static str),
    Reset(&'static str),
    Nothing,
}

#[test]
fn poems_go_through_the_transforms_in_order() {
    run(async {
        let server = poem("over the Sea\nand away\n").await;
        let steps = vec![here("reverse"), here("shout")];
        let outcome = collect_one(edited(&[server], steps)).await;
        assert!(outcome.whole);
        assert_eq!(outcome.heard, b"AND AWAY\nOVER THE SEA\n");
    });
}

#[test]
fn a_server_is_asked_as_the_tutorial_asks() {
    run(async {
        let (server, other) = (
            poem("poem").await,
            transformer(&[Answer::Say("4:POEM,")]).await,
        );
        let outcome = collect_one(edited(&[server], vec![at(other)])).await;
        assert_eq!((outcome.whole, &outcome.heard[..]), (true, &b"POEM"[..]));
    });
}

/// The events of transforms: which, and why not.
async fn transforms(config: ClientConfig) -> (Outcome, Vec<(String, Option<String>)>) {
    let (client, _, mut events) = tree::start_client("get", config).await.unwrap();
    let (mut outcome, mut transforms) = ([Outcome::default()], Vec::new());
    while let Some(event) = events.recv().await {
        match event {
            Event::Transformed {
                transform, outcome, ..
            } => transforms.push((transform, outcome.err())),
            Event::Done { .. } => break,
            event => note(event, &mut outcome),
        }
    }
    tree::stop(&client, LIMIT).await;
    let [outcome] = outcome;
    (outcome, transforms)
}

#[test]
fn a_failure_keeps_the_poem_and_is_told_and_the_other_transforms_are_made() {
    run(async {
        for (answers, why) in [
            (&[Answer::Say("")][..], "closed without an answer"),
            (&[Answer::Reset("")], "the connection was reset"),
            (
                &[Answer::Say("4:POE")],
                "an answer that was cut off: the netstring ended after 3 of 4 bytes",
            ),
            (
                &[Answer::Say("what?")],
                "no answer: \"w\" where the length of a netstring should be",
            ),
            (
                &[Answer::Say("999:")],
                "no answer: a netstring of more than 288 bytes",
            ),
        ] {
            let (server, other) = (poem("poem").await, transformer(answers).await);
            let steps = vec![at(other), here("shout")];
            let (outcome, made) = transforms(edited(&[server], steps)).await;
            assert_eq!((outcome.whole, &outcome.heard[..]), (true, &b"POEM"[..]));
            let expected = [
                (format!("shout@{other}"), Some(why.to_owned())),
                ("shout".to_owned(), None),
            ];
            assert_eq!(made, expected);
        }
    });
}

#[test]
fn a_failure_can_lose_the_poem() {
    run(async {
        let server = poem("poem").await;
        let gone = nobody();
        let outcome = collect_one(strict(edited(&[server], vec![at(gone)]))).await;
        let message = format!("shout@{gone}: connection refused");
        assert_eq!(failure(&outcome), (FailureKind::Transform, &*message));
        assert_eq!(outcome.heard, b"");
    });
}

#[test]
fn gibberish_is_a_failed_poem_and_the_others_are_poems() {
    run(async {
        let servers = [poem("xkcd").await, poem("She walks in beauty").await];
        let outcomes = collect(edited(&servers, vec![here("byronify")])).await;
        assert_eq!(
            failure(&outcomes[0]),
            (
                FailureKind::Transform,
                "byronify: gibberish: less than 3 words"
            )
        );
        assert_eq!(outcomes[1].heard, b"Oh! She walks in beauty!\n");
        assert!(outcomes[1].whole);
    });
}

#[test]
fn an_attempt_that_fails_is_made_again() {
    run(async {
        let answers = &[Answer::Reset(""), Answer::Say(""), Answer::Say("4:POEM,")];
        let (server, other) = (poem("poem").await, transformer(answers).await);
        let (outcome, made) = transforms(edited(&[server], vec![at(other)])).await;
        assert_eq!(outcome.heard, b"POEM");
        assert_eq!(made, [(format!("shout@{other}"), None)]);
    });
}

#[test]
fn a_transform_that_crashes_leaves_the_poem() {
    run(async {
        let falter = Transform {
            name: "falter",
            about: "",
            engine: |_| panic!("forgot the words"),
        };
        let server = poem("poem").await;
        let (outcome, made) = transforms(edited(&[server], vec![by(falter)])).await;
        assert_eq!((outcome.whole, &outcome.heard[..]), (true, &b"poem"[..]));
        let (_, why) = &made[0];
        assert!(
            why.as_ref().unwrap().contains("forgot the words"),
            "{why:?}"
        );
    });
}

#[test]
fn an_answer_that_does_not_come_is_not_waited_for() {
    run(async {
        let (server, other) = (poem("poem").await, transformer(&[Answer::Nothing]).await);
        let mut config = edited(&[server], vec![at(other)]);
        config.edition.timeout = ms(50);
        let (outcome, made) = transforms(config).await;
        assert_eq!(outcome.heard, b"poem");
        assert_eq!(
            made,
            [(
                format!("shout@{other}"),
                Some("no answer within 50ms".to_owned())
            )]
        );
    });
}

#[test]
fn the_time_for_a_poem_is_over_for_its_transforms_too() {
    run(async {
        let (server, other) = (poem("poem").await, transformer(&[Answer::Nothing]).await);
        let mut config = edited(&[server], vec![at(other)]);
        config.patience.max_time = Some(ms(100));
        let outcome = collect_one(config).await;
        assert_eq!(
            failure(&outcome),
            (FailureKind::MaxTime, "not done within 100ms")
        );
    });
}

#[test]
fn a_client_that_is_called_off_leaves_its_transforms() {
    run(async {
        let (server, other) = (poem("poem").await, transformer(&[Answer::Nothing]).await);
        let config = edited(&[server, server], vec![at(other)]);
        let (client, handle, mut events) = tree::start_client("get", config).await.unwrap();
        let (mut outcomes, mut held) = ([Outcome::default(), Outcome::default()], 0);
        while let Some(event) = events.recv().await {
            match event {
                Event::Held { task, bytes } => {
                    outcomes[task].held += bytes;
                    held += bytes;
                    if held == 8 {
                        handle.cancel();
                    }
                }
                Event::Done { poems, failed } => {
                    assert_eq!((poems, failed), (0, 2));
                    break;
                }
                event => note(event, &mut outcomes),
            }
        }
        for outcome in &outcomes {
            assert_eq!(failure(outcome), (FailureKind::Cancelled, "cancelled"));
        }
        tree::stop(&client, LIMIT).await;
    });
}

#[test]
fn one_poem_that_is_lost_here_calls_off_the_rest_if_that_is_wanted() {
    run(async {
        let endless = play(|_, stream| async move {
            let _stream = stream;
            std::future::pending().await
        })
        .await;
        let mut config = edited(&[poem("xkcd").await, endless], vec![here("byronify")]);
        config.fail_fast = true;
        let outcomes = collect(config).await;
        assert_eq!(failure(&outcomes[0]).0, FailureKind::Transform);
        assert_eq!(failure(&outcomes[1]).0, FailureKind::Cancelled);
    });
}

#[test]
fn a_poem_too_long_for_transforms_passes_or_fails() {
    run(async {
        let server = play(|_, stream| async move {
            let text = vec![b'x'; TRANSFORMED_BYTES_MAX + 100_000];
            say(stream, &text).await;
        })
        .await;
        let (outcome, made) = transforms(edited(&[server], vec![here("shout")])).await;
        assert_eq!(
            (outcome.whole, outcome.heard.len()),
            (true, TRANSFORMED_BYTES_MAX + 100_000)
        );
        assert_eq!(
            made,
            [(
                "shout".to_owned(),
                Some("the poem is longer than 16777216 bytes".to_owned())
            )]
        );

        let outcome = collect_one(strict(edited(&[server], vec![here("shout")]))).await;
        assert_eq!(
            failure(&outcome),
            (FailureKind::Io, "longer than 16777216 bytes")
        );
    });
}

#[test]
fn a_hundred_poems_wait_their_turn() {
    run(async {
        let server = poem("poem").await;
        let outcomes = collect(edited(&[server; 100], vec![here("shout"), here("lines")])).await;
        assert!(
            outcomes
                .iter()
                .all(|outcome| outcome.whole && outcome.heard == b"   POEM")
        );
    });
}

#[test]
fn a_transform_that_does_not_start_at_all_is_a_failure_at_once() {
    run(async {
        let server = poem("poem").await;
        fail_start("/untransformed/rewritings/rewriting", 1);
        let begin = Instant::now();
        let config = strict(edited(&[server], vec![here("shout")]));
        let outcomes = collect_as("untransformed", config).await;
        let (kind, message) = failure(&outcomes[0]);
        assert_eq!(kind, FailureKind::Transform);
        let begins = "shout: the transform did not start: ";
        assert!(message.starts_with(begins), "{message}");
        assert!(begin.elapsed() < ATTEMPT_OVERDUE);
    });
}
