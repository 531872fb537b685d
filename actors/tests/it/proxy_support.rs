//! A proxy under test, and the upstream that it has.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use byron_actors::tree::{self, ProxyHandle, UpstreamHandle};
use byron_actors::{
    Abandon, CacheRules, CacheStatus, Expectation, ListenOn, Manner, Patience, ProxyConfig,
    Transforms, Upstream, Whereabouts,
};
use byron_supervisors::{ActorRef, ArbiterPool, Supervisor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::support::{LIMIT, play, read_all};

/// A proxy under test.
pub(crate) struct Proxied {
    pub(crate) handle: ProxyHandle,
    pub(crate) root: ActorRef<Supervisor>,
}

impl Proxied {
    pub(crate) fn upstream(&self) -> &UpstreamHandle {
        &self.handle.upstreams()[0]
    }

    pub(crate) async fn reader(&self) -> TcpStream {
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
    pub(crate) async fn reset(&self) -> Vec<u8> {
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
pub(crate) struct Prompter {
    lines: watch::Sender<Vec<u8>>,
    is_over: watch::Sender<Option<End>>,
    pub(crate) connected: Rc<Cell<usize>>,
    /// One for each connection that its reader closed.
    pub(crate) left: Rc<tokio::sync::Semaphore>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum End {
    Orderly,
    Reset,
}

impl Prompter {
    pub(crate) async fn start() -> (Self, std::net::SocketAddr) {
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

    pub(crate) fn say(&self, bytes: &[u8]) {
        self.lines
            .send_modify(|lines| lines.extend_from_slice(bytes));
    }

    pub(crate) fn end(&self, how: End) {
        self.is_over.send_replace(Some(how));
    }

    /// Begins anew for those who connect from now on.
    pub(crate) fn again(&self, text: &[u8]) {
        self.lines.send_replace(text.to_vec());
        self.is_over.send_replace(None);
    }
}

pub(crate) async fn read_exactly(reader: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut heard = vec![0; bytes];
    reader.read_exact(&mut heard).await.unwrap();
    heard
}
