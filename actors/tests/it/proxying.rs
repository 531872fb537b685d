//! A proxy over real sockets: one fetch for many readers, and what is kept.

use std::io;
use std::time::Duration;

use byron_actors::{
    Abandon, CacheStatus, ProxyConfig, TransformStep, TransformedBy, Upstream, Whereabouts,
    transform_named,
};
use byron_supervisors::{exited, kill};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::proxy_support::{End, Prompter, config, proxy, read_exactly};
use crate::support::{eventually, play, read_all, run, say, text};

#[test]
fn a_thousand_readers_at_once_are_one_fetch_and_each_is_at_the_live_position() {
    run(async {
        let (prompter, addr) = Prompter::start().await;
        let proxied = proxy(config(addr)).await;
        let text = text(100);
        let mut readers = Vec::new();
        for _ in 0..1000 {
            readers.push(proxied.reader().await);
        }
        for line in text.chunks(10) {
            prompter.say(line);
            // Every one of them has this chunk before there is another.
            for reader in &mut readers {
                assert_eq!(read_exactly(reader, line.len()).await, line);
            }
        }
        let mut late = proxied.reader().await;
        assert_eq!(read_exactly(&mut late, text.len()).await, text);
        prompter.end(End::Orderly);
        for reader in readers.into_iter().chain([late]) {
            let (rest, end) = read_all(reader).await;
            end.unwrap();
            assert!(rest.is_empty());
        }
        assert_eq!(prompter.connected.get(), 1);
        assert_eq!(proxied.count(CacheStatus::Miss), 1);
        assert_eq!(proxied.count(CacheStatus::Coalesced), 1000);
        assert_eq!(proxied.whole().await, text);
        assert_eq!(proxied.count(CacheStatus::Hit), 1);
        assert_eq!(prompter.connected.get(), 1);
        proxied.stop().await;
    });
}

#[test]
fn when_the_last_reader_leaves_the_upstream_is_left_too() {
    run(async {
        let (prompter, addr) = Prompter::start().await;
        prompter.say(b"half ");
        let proxied = proxy(config(addr)).await;
        let (mut first, mut second) = (proxied.reader().await, proxied.reader().await);
        for reader in [&mut first, &mut second] {
            assert_eq!(read_exactly(reader, 5).await, b"half ");
        }
        socket2::SockRef::from(&first)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(first);
        eventually("one reader has left", || {
            let fetching = proxied.upstream().report().fetching;
            fetching.is_some_and(|fetch| fetch.readers == 1)
        })
        .await;
        assert_eq!(prompter.left.available_permits(), 0);
        // In order, which a reader that only has nothing more to say does as well.
        drop(second);
        prompter.left.acquire().await.unwrap().forget();
        // Nobody was told of a failure, and the next reader begins anew.
        prompter.again(b"a whole poem");
        prompter.end(End::Orderly);
        assert_eq!(proxied.whole().await, b"a whole poem");
        assert_eq!(proxied.count(CacheStatus::Miss), 2);
        proxied.stop().await;
    });
}

#[test]
fn a_fetch_that_is_to_finish_outlives_its_last_reader() {
    run(async {
        let (prompter, addr) = Prompter::start().await;
        prompter.say(b"half ");
        let proxied = proxy(ProxyConfig {
            abandon: Abandon::Finish,
            ..config(addr)
        })
        .await;
        let mut reader = proxied.reader().await;
        assert_eq!(read_exactly(&mut reader, 5).await, b"half ");
        // With a reset: somebody who closes in order may be reading on.
        socket2::SockRef::from(&reader)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(reader);
        eventually("the reader has left", || {
            proxied
                .upstream()
                .report()
                .fetching
                .is_some_and(|fetch| fetch.readers == 0)
        })
        .await;
        prompter.say(b"a poem");
        prompter.end(End::Orderly);
        eventually("it is kept", || proxied.upstream().report().kept.is_some()).await;
        assert_eq!(proxied.whole().await, b"half a poem");
        assert_eq!(prompter.connected.get(), 1);
        proxied.stop().await;
    });
}

#[test]
fn a_reader_that_closes_only_its_own_side_hears_the_poem_to_its_end() {
    run(async {
        let (prompter, addr) = Prompter::start().await;
        prompter.say(b"half ");
        let proxied = proxy(config(addr)).await;
        let mut reader = proxied.reader().await;
        reader.shutdown().await.unwrap();
        assert_eq!(read_exactly(&mut reader, 5).await, b"half ");
        // It takes bytes after that, and so it is known to be there, however long the upstream pauses.
        prompter.say(b"a ");
        assert_eq!(read_exactly(&mut reader, 2).await, b"a ");
        tokio::time::sleep(3 * byron_actors::HALF_CLOSED_PATIENCE).await;
        assert_eq!(prompter.left.available_permits(), 0);
        prompter.say(b"poem");
        prompter.end(End::Orderly);
        let (rest, end) = read_all(reader).await;
        end.unwrap();
        assert_eq!(rest, b"poem");
        proxied.stop().await;
    });
}

#[test]
fn a_kill_of_the_cache_in_the_middle_of_a_fetch_is_noticed_by_nobody() {
    run(async {
        let (prompter, addr) = Prompter::start().await;
        prompter.say(b"half ");
        let proxied = proxy(config(addr)).await;
        let mut first = proxied.reader().await;
        assert_eq!(read_exactly(&mut first, 5).await, b"half ");
        let keeper = proxied.upstream().keeper().unwrap();
        kill(keeper.pid());
        exited(keeper.pid()).await;
        let mut second = proxied.reader().await;
        assert_eq!(read_exactly(&mut second, 5).await, b"half ");
        prompter.say(b"a poem");
        prompter.end(End::Orderly);
        for reader in [first, second] {
            let (rest, end) = read_all(reader).await;
            end.unwrap();
            assert_eq!(rest, b"a poem");
        }
        eventually("the cache is back", || {
            proxied.upstream().keeper().is_some()
        })
        .await;
        assert_eq!(proxied.whole().await, b"half a poem");
        assert_eq!(prompter.connected.get(), 1);
        proxied.stop().await;
    });
}

#[test]
fn a_reader_who_comes_while_the_cache_is_being_restarted_gets_a_fetch_all_the_same() {
    run(async {
        let addr = play(|_, stream| say(stream, b"a poem")).await;
        let proxied = proxy(config(addr)).await;
        for _ in 0..5 {
            let keeper = || proxied.upstream().keeper();
            eventually("there is a cache", || keeper().is_some()).await;
            let pid = keeper().unwrap().pid();
            proxied.upstream().purge(false);
            kill(pid);
            assert_eq!(proxied.whole().await, b"a poem");
        }
        proxied.stop().await;
    });
}

#[test]
fn a_kill_of_the_fetch_resets_its_readers() {
    run(async {
        let (prompter, addr) = Prompter::start().await;
        prompter.say(b"half ");
        let proxied = proxy(config(addr)).await;
        let mut reader = proxied.reader().await;
        assert_eq!(read_exactly(&mut reader, 5).await, b"half ");
        let fetch = proxied.upstream().report().fetching.unwrap().pid.unwrap();
        kill(fetch);
        let (_, end) = read_all(reader).await;
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        prompter.again(b"a whole poem");
        prompter.end(End::Orderly);
        assert_eq!(proxied.whole().await, b"a whole poem");
        proxied.stop().await;
    });
}

#[test]
fn within_the_grace_the_old_poem_is_served_while_one_fetch_brings_the_next() {
    run(async {
        let (prompter, addr) = Prompter::start().await;
        prompter.say(b"old");
        prompter.end(End::Orderly);
        let proxied = proxy(config(addr)).await;
        assert_eq!(proxied.whole().await, b"old");
        proxied.upstream().purge(true);
        prompter.again(b"");
        for _ in 0..3 {
            assert_eq!(proxied.whole().await, b"old");
        }
        assert_eq!(proxied.count(CacheStatus::Updating), 3);
        eventually("the next one is asked for", || {
            prompter.connected.get() == 2
        })
        .await;
        prompter.say(b"new");
        prompter.end(End::Orderly);
        eventually("it is kept", || {
            proxied
                .upstream()
                .report()
                .kept
                .is_some_and(|kept| kept.age < Duration::from_secs(1))
                && proxied.upstream().report().fetching.is_none()
        })
        .await;
        assert_eq!(proxied.whole().await, b"new");
        assert_eq!(proxied.fetches(), 2);
        proxied.stop().await;
    });
}

#[test]
fn a_reader_who_does_not_read_holds_nobody_back() {
    run(async {
        let text = text(4 << 20);
        let said = text.clone();
        let addr = play(move |_, stream| {
            let said = said.clone();
            async move { say(stream, &said).await }
        })
        .await;
        let proxied = proxy(config(addr)).await;
        let stubborn = proxied.reader().await;
        assert_eq!(proxied.whole().await, text);
        assert_eq!(proxied.fetches(), 1);
        // And when it reads at last, it has it all.
        let (heard, end) = read_all(stubborn).await;
        end.unwrap();
        assert_eq!(heard, text);
        proxied.stop().await;
    });
}

#[test]
fn the_least_used_poem_makes_room() {
    run(async {
        let mut config = config(play(|_, stream| say(stream, b"first")).await);
        for poem in [&b"second"[..], b"third"] {
            let addr = play(move |_, stream| say(stream, poem)).await;
            config.upstreams.push(Upstream {
                whereabouts: Whereabouts::Addresses(vec![addr]),
                label: addr.to_string(),
                ..config.upstreams[0].clone()
            });
        }
        config.rules.bytes_max = 12;
        let proxied = proxy(config).await;
        let hear = async |at: usize| {
            let addr = proxied.handle.upstreams()[at].services()[0].local_addrs()[0];
            read_all(TcpStream::connect(addr).await.unwrap()).await.0
        };
        let kept = || {
            let upstreams = proxied.handle.upstreams().iter();
            upstreams
                .map(|upstream| upstream.report().kept.is_some())
                .collect::<Vec<_>>()
        };
        assert_eq!(hear(0).await, b"first");
        assert_eq!(hear(1).await, b"second");
        assert_eq!(kept(), [true, true, false]);
        assert_eq!(hear(0).await, b"first");
        assert_eq!(hear(2).await, b"third");
        assert_eq!(kept(), [true, false, true]);
        proxied.stop().await;
    });
}

#[test]
fn what_is_heard_and_kept_is_the_transformed_poem() {
    run(async {
        let addr = play(|_, stream| say(stream, b"A POEM OF LINES\n")).await;
        let mut config = config(addr);
        config.upstreams[0].transforms.steps = ["cummingsify", "reverse"]
            .map(|name| TransformStep {
                label: name.to_owned(),
                by: TransformedBy::Here(*transform_named(name).unwrap()),
            })
            .to_vec();
        let proxied = proxy(config).await;
        let transformed = proxied.whole().await;
        let expected =
            ["cummingsify", "reverse"]
                .iter()
                .fold(b"A POEM OF LINES\n".to_vec(), |poem, name| {
                    transform_named(name)
                        .unwrap()
                        .apply(&poem)
                        .unwrap()
                        .to_vec()
                });
        assert_eq!(transformed, expected);
        assert_eq!(proxied.whole().await, expected);
        assert_eq!(proxied.count(CacheStatus::Hit), 1);
        proxied.stop().await;
    });
}
