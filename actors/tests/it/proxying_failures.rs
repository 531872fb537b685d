//! A proxy whose upstream breaks off, is silent, is gone: what nobody may take for a poem.

use std::io;
use std::time::Duration;

use byron_actors::{
    CacheRules, CacheStatus, Expectation, FailureKind, ProxyConfig, TransformStep, TransformedBy,
    Ttl, Whereabouts,
};
use byron_supervisors::{EventKind, events_since};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use crate::proxy_support::{End, Prompter, config, proxy, read_exactly};
use crate::support::{eventually, ms, nobody, play, read_all, run, say, say_and_reset};

#[test]
fn an_upstream_that_breaks_off_resets_its_readers_and_nothing_is_kept() {
    run(async {
        let (prompter, addr) = Prompter::start().await;
        let proxied = proxy(config(addr)).await;
        let mut readers = Vec::new();
        for _ in 0..10 {
            readers.push(proxied.reader().await);
        }
        prompter.say(b"half ");
        for reader in &mut readers {
            assert_eq!(read_exactly(reader, 5).await, b"half ");
        }
        prompter.end(End::Reset);
        for reader in readers {
            let (rest, end) = read_all(reader).await;
            assert_eq!(rest, b"");
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        }
        assert_eq!(proxied.upstream().report().kept, None);
        prompter.again(b"a whole poem");
        prompter.end(End::Orderly);
        assert_eq!(proxied.whole().await, b"a whole poem");
        assert_eq!(proxied.fetches(), 2);
        proxied.stop().await;
    });
}

#[test]
fn the_old_poem_stands_in_for_one_that_does_not_come() {
    run(async {
        let (prompter, addr) = Prompter::start().await;
        prompter.say(b"the old poem");
        prompter.end(End::Orderly);
        let proxied = proxy(ProxyConfig {
            rules: CacheRules {
                ttl: Ttl::Forever,
                grace: Duration::ZERO,
                error_ttl: Duration::ZERO,
                ..CacheRules::default()
            },
            ..config(addr)
        })
        .await;
        assert_eq!(proxied.whole().await, b"the old poem");
        assert!(proxied.upstream().purge(true));
        // It dies before a byte: those who wait get the old poem.
        prompter.again(b"");
        prompter.end(End::Reset);
        assert_eq!(proxied.whole().await, b"the old poem");
        assert_eq!(proxied.count(CacheStatus::Expired), 1);
        // It dies in the middle: whoever has heard of the new one is reset.
        prompter.again(b"the new ");
        let mut reader = proxied.reader().await;
        assert_eq!(read_exactly(&mut reader, 8).await, b"the new ");
        prompter.end(End::Reset);
        assert_eq!(
            read_all(reader).await.1.unwrap_err().kind(),
            io::ErrorKind::ConnectionReset
        );
        // And then there is a new one.
        prompter.again(b"the new poem");
        prompter.end(End::Orderly);
        assert_eq!(proxied.whole().await, b"the new poem");
        assert_eq!(proxied.whole().await, b"the new poem");
        assert_eq!(proxied.count(CacheStatus::Hit), 1);
        proxied.stop().await;
    });
}

#[test]
fn a_dead_upstream_is_not_asked_by_every_reader() {
    run(async {
        let proxied = proxy(ProxyConfig {
            rules: CacheRules {
                error_ttl: Duration::from_secs(3600),
                ..CacheRules::default()
            },
            ..config(nobody())
        })
        .await;
        for _ in 0..20 {
            assert_eq!(proxied.reset().await, b"");
        }
        assert_eq!(proxied.fetches(), 1);
        assert_eq!(proxied.count(CacheStatus::Error), 19);
        let complaint = proxied.upstream().report().complaint.unwrap();
        assert_eq!(complaint.kind, FailureKind::Refused);
        proxied.stop().await;
    });
}

#[test]
fn what_is_no_whole_poem_ends_in_a_reset_and_is_not_kept() {
    async fn check(kind: FailureKind, expectation: Expectation, text: &'static [u8], heard: &[u8]) {
        let addr = play(move |_, stream| say(stream, text)).await;
        let mut config = config(addr);
        config.upstreams[0].expectation = expectation;
        let proxied = proxy(config).await;
        let said = proxied.reset().await;
        assert!(heard.starts_with(&said), "{kind}: heard {said:?}");
        let report = proxied.upstream().report();
        assert_eq!(report.complaint.unwrap().kind, kind);
        assert_eq!(report.kept, None);
        proxied.stop().await;
    }
    run(async {
        let any = Expectation::default();
        check(FailureKind::Empty, any, b"", b"").await;
        let (bytes, short) = (Some(9), 4);
        check(
            FailureKind::Truncated,
            Expectation { bytes, ..any },
            b"poem",
            b"poem",
        )
        .await;
        check(
            FailureKind::Io,
            Expectation {
                poem_bytes_max: short,
                ..any
            },
            b"poems",
            b"",
        )
        .await;
        let sha256 = Some(byron_actors::PoemHash([7; 32]));
        check(
            FailureKind::Changed,
            Expectation { sha256, ..any },
            b"poem",
            b"poem",
        )
        .await;
    });
}

#[test]
fn an_upstream_that_dribbles_for_ever_is_left_when_its_time_is_over() {
    run(async {
        let (left, mut leaving) = mpsc::unbounded_channel();
        let addr = play(move |_, mut stream| {
            let left = left.clone();
            async move {
                while stream.write_all(b"x").await.is_ok() {
                    tokio::time::sleep(ms(10)).await;
                }
                let _ = left.send(());
            }
        })
        .await;
        let mut config = config(addr);
        config.upstreams[0].patience.max_time = Some(ms(300));
        let proxied = proxy(config).await;
        assert!(!proxied.reset().await.is_empty());
        leaving.recv().await.unwrap();
        assert_eq!(
            proxied.upstream().report().complaint.unwrap().kind,
            FailureKind::MaxTime
        );
        proxied.stop().await;
    });
}

#[test]
fn a_silent_upstream_is_given_up_and_its_readers_are_reset() {
    run(async {
        let (_prompter, addr) = Prompter::start().await;
        let mut config = config(addr);
        config.upstreams[0].patience.first_byte_timeout = ms(50);
        let proxied = proxy(config).await;
        assert_eq!(proxied.reset().await, b"");
        assert_eq!(
            proxied.upstream().report().complaint.unwrap().kind,
            FailureKind::IdleTimeout
        );
        proxied.stop().await;
    });
}

#[test]
fn an_upstream_that_resets_at_any_byte_never_yields_a_poem() {
    run(async {
        const POEM: &[u8] = b"a short poem";
        let addr =
            play(|number, stream| say_and_reset(stream, &POEM[..(number - 1) % POEM.len()])).await;
        let proxied = proxy(config(addr)).await;
        for _ in 0..POEM.len() {
            proxied.reset().await;
            assert_eq!(proxied.upstream().report().kept, None);
        }
        proxied.stop().await;
    });
}

#[test]
fn a_transform_that_fails_is_a_fetch_that_failed() {
    run(async {
        let addr = play(|_, stream| say(stream, b"A POEM")).await;
        let mut config = config(addr);
        config.upstreams[0].transforms.steps = vec![TransformStep {
            label: "cummingsify@nobody".to_owned(),
            by: TransformedBy::Server {
                name: "cummingsify".to_owned(),
                whereabouts: Whereabouts::Addresses(vec![nobody()]),
            },
        }];
        let proxied = proxy(config).await;
        assert_eq!(proxied.reset().await, b"");
        let complaint = proxied.upstream().report().complaint.unwrap();
        assert_eq!(complaint.kind, FailureKind::Transform);
        assert_eq!(complaint.message, "cummingsify@nobody: connection refused");
        assert_eq!(proxied.upstream().report().kept, None);
        proxied.stop().await;
    });
}

#[test]
fn the_event_log_has_what_became_of_each_fetch_and_no_crash_of_ours() {
    run(async {
        let (prompter, addr) = Prompter::start().await;
        prompter.say(b"the old poem");
        prompter.end(End::Orderly);
        let spaced = ProxyConfig {
            rules: CacheRules {
                ttl: Ttl::Forever,
                grace: Duration::ZERO,
                error_ttl: Duration::ZERO,
                ..CacheRules::default()
            },
            ..config(addr)
        };
        let proxied = proxy(spaced).await;
        let told = || -> Vec<String> {
            let of_us = |event: &byron_supervisors::Event| {
                let path = event.path.as_ref().map(ToString::to_string);
                path.is_some_and(|path| path.contains(&addr.to_string()))
            };
            let events = events_since(0).events.into_iter().filter(of_us);
            let crash = events.clone().find(|event| event.crash_id().is_some());
            assert!(crash.is_none(), "{crash:?}");
            let notes = events.filter(|event| event.kind == EventKind::Note);
            notes.map(|event| event.note.unwrap().into()).collect()
        };
        assert_eq!(proxied.whole().await, b"the old poem");
        eventually("the first fetch is told", || told().len() == 2).await;
        assert_eq!(told(), ["MISS: asks the server", "keeps a poem of 12B"]);
        assert_eq!(proxied.whole().await, b"the old poem");
        assert_eq!(told().len(), 2, "a hit is counted, not told");

        proxied.upstream().purge(true);
        prompter.again(b"");
        prompter.end(End::Reset);
        // One fetch in a hundred milliseconds is told.
        while told().len() < 4 {
            assert_eq!(proxied.whole().await, b"the old poem");
        }
        assert!(
            told()[2].starts_with("EXPIRED: asks the server"),
            "{:?}",
            told()
        );
        assert!(
            told()[3].starts_with("STALE: the old poem, 0s old, stands in: "),
            "{:?}",
            told()
        );
        proxied.stop().await;
    });
}
