//! A proxy over real sockets: one fetch for many readers, what is kept, and what nobody may take for a poem.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use byron_actors::tree::{self, ProxyHandle, UpstreamHandle};
use byron_actors::{
    Abandon, CacheRules, CacheStatus, Expectation, FailureKind, ListenOn, Manner, Patience,
    ProxyConfig, TransformStep, TransformedBy, Transforms, Ttl, Upstream, Whereabouts,
    transform_named,
};
use byron_supervisors::{ActorRef, ArbiterPool, Supervisor, exited, kill};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};

use crate::support::{
    LIMIT, eventually, ms, nobody, play, read_all, run, say, say_and_reset, text,
};

/// A proxy under test.
pub(crate) struct Proxied {
    pub(crate) handle: ProxyHandle,
    pub(crate) root: ActorRef<Supervisor>,
}

impl Proxied {
    pub(crate) fn upstream(&self) -> &UpstreamHandle {
        &self.handle.upstreams()[0]
    }

    async fn reader(&self) -> TcpStream {
        let addr = self.upstream().services()[0].local_addrs()[0];
        TcpStream::connect(addr).await.unwrap()
    }

    /// What one more reader hears.
    pub(crate) async fn hear(&self) -> (Vec<u8>, io::Result<()>) {
        read_all(self.reader().await).await
    }

    /// What one more reader hears to the end.
    pub(crate) async fn whole(&self) -> Vec<u8> {
        let (heard, end) = self.hear().await;
        end.unwrap();
        heard
    }

    /// What one more reader hears until it is reset.
    async fn reset(&self) -> Vec<u8> {
        let (heard, end) = self.hear().await;
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        heard
    }

    pub(crate) fn count(&self, status: CacheStatus) -> u64 {
        self.upstream().report().counts.of(status)
    }

    pub(crate) fn fetches(&self) -> u64 {
        self.upstream().report().fetches
    }

    pub(crate) async fn stop(self) {
        tree::stop(&self.root, LIMIT).await;
    }
}

/// A proxy's settings for a test, with no error TTL: who wants one says so.
pub(crate) fn config(whereabouts: std::net::SocketAddr) -> ProxyConfig {
    ProxyConfig {
        upstreams: vec![Upstream {
            label: whereabouts.to_string(),
            whereabouts: Whereabouts::Addresses(vec![whereabouts]),
            patience: Patience::default(),
            expectation: Expectation::default(),
            transforms: Transforms::default(),
            listen: vec![ListenOn::loopback(0)],
        }],
        rules: CacheRules {
            error_ttl: Duration::ZERO,
            ..CacheRules::default()
        },
        abandon: Abandon::Cancel,
        manner: Manner {
            connections_max: 2000,
            ..Manner::default()
        },
        store: None,
    }
}

pub(crate) async fn proxy(config: ProxyConfig) -> Proxied {
    let pool = ArbiterPool::new([actix::Arbiter::current()]);
    let (specs, handle) = tree::proxy_specs(config, &pool).unwrap();
    let root = tree::start_servers("proxy", specs).await.unwrap();
    Proxied { handle, root }
}

/// An upstream that says what it is told to, when it is told to, to whoever is connected.
#[derive(Clone)]
struct Prompter {
    lines: watch::Sender<Vec<u8>>,
    is_over: watch::Sender<Option<End>>,
    connected: Rc<Cell<usize>>,
    /// One for each connection that its reader closed.
    left: Rc<tokio::sync::Semaphore>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Orderly,
    Reset,
}

impl Prompter {
    async fn start() -> (Self, std::net::SocketAddr) {
        let prompter = Self {
            lines: watch::Sender::new(Vec::new()),
            is_over: watch::Sender::new(None),
            connected: Rc::default(),
            left: Rc::new(tokio::sync::Semaphore::new(0)),
        };
        let own = prompter.clone();
        let addr = play(move |_, stream| own.clone().scene(stream)).await;
        (prompter, addr)
    }

    async fn scene(self, mut stream: TcpStream) {
        self.connected.set(self.connected.get() + 1);
        let (mut lines, mut is_over) = (self.lines.subscribe(), self.is_over.subscribe());
        let mut said = 0;
        loop {
            let new = lines.borrow_and_update()[said..].to_vec();
            stream.write_all(&new).await.unwrap();
            said += new.len();
            match *is_over.borrow_and_update() {
                Some(End::Orderly) => return,
                Some(End::Reset) => {
                    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                    return;
                }
                None => {}
            }
            let mut nothing = [0; 1];
            tokio::select! {
                _ = lines.changed() => {}
                _ = is_over.changed() => {}
                _ = stream.read(&mut nothing) => {
                    self.left.add_permits(1);
                    return;
                }
            }
        }
    }

    fn say(&self, bytes: &[u8]) {
        self.lines
            .send_modify(|lines| lines.extend_from_slice(bytes));
    }

    fn end(&self, how: End) {
        self.is_over.send_replace(Some(how));
    }

    /// Begins anew for those who connect from now on.
    fn again(&self, text: &[u8]) {
        self.lines.send_replace(text.to_vec());
        self.is_over.send_replace(None);
    }
}

async fn read_exactly(reader: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut heard = vec![0; bytes];
    reader.read_exact(&mut heard).await.unwrap();
    heard
}

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
            let keeper = loop {
                match proxied.upstream().keeper() {
                    Some(keeper) => break keeper,
                    None => tokio::time::sleep(ms(2)).await,
                }
            };
            proxied.upstream().purge(false);
            kill(keeper.pid());
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
