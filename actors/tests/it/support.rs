//! How a test starts a server, reads from it raw, plays a server that misbehaves, and collects what a client tells.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use actix::{Arbiter, System};
use byron_actors::tree::{self, ServerHandle};
use byron_actors::{
    ClientConfig, Event, FailureKind, Manner, Pace, Patience, Poem, Retries, ServerConfig, Target,
    Whereabouts,
};
use byron_supervisors::{ActorRef, ArbiterPool, Node, Pid, Supervisor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// No test waits longer for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn ms(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// Runs a test in an actix system, with a limit.
pub(crate) fn run(test: impl Future<Output = ()>) {
    System::new().block_on(async {
        tokio::time::timeout(LIMIT, test)
            .await
            .expect("the test ends within its limit");
    });
}

/// Waits until it is true, looking again after other work has been done.
pub(crate) async fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let looks = async {
        while !is_true() {
            tokio::time::sleep(ms(2)).await;
        }
    };
    let outcome = tokio::time::timeout(LIMIT, looks).await;
    outcome.unwrap_or_else(|_| panic!("never happened: {what}"));
}

/// A text of so many bytes in which every position is recognisable.
pub(crate) fn text(bytes: usize) -> Vec<u8> {
    (0..bytes as u32)
        .flat_map(|number| number.to_le_bytes())
        .take(bytes)
        .collect()
}

/// A server under test. The arbiters are the system's own one and as many others as asked for.
pub(crate) struct Served {
    pub(crate) handle: ServerHandle,
    pub(crate) root: ActorRef<Supervisor>,
    pub(crate) arbiters: Vec<Arbiter>,
}

pub(crate) async fn serve(poem: impl Into<Vec<u8>>, manner: Manner) -> Served {
    serve_on(poem, manner, 0).await
}

/// On so many arbiters of its own; none means the system's.
pub(crate) async fn serve_on(poem: impl Into<Vec<u8>>, manner: Manner, own: usize) -> Served {
    let arbiters: Vec<_> = (0..own).map(|_| Arbiter::new()).collect();
    let pool = match own {
        0 => ArbiterPool::new([Arbiter::current()]),
        _ => ArbiterPool::new(arbiters.iter().map(Arbiter::handle)),
    };
    let config = ServerConfig {
        manner,
        ..ServerConfig::new(Poem::new("test", poem.into()), 0)
    };
    let (spec, handle) = tree::server_spec("test", config, &pool).unwrap();
    let root = tree::start_servers("servers", vec![spec]).await.unwrap();
    Served {
        handle,
        root,
        arbiters,
    }
}

impl Served {
    pub(crate) fn addr(&self) -> SocketAddr {
        self.handle.local_addrs()[0]
    }

    pub(crate) async fn reader(&self) -> TcpStream {
        TcpStream::connect(self.addr()).await.unwrap()
    }

    pub(crate) async fn connections(&self) -> Vec<Pid> {
        let server = self.handle.server().expect("the server lives");
        server.send(byron_actors::WhichConnections).await.unwrap()
    }

    /// The only connection, once there is one.
    pub(crate) async fn connection(&self) -> Pid {
        loop {
            if let [only] = self.connections().await[..] {
                return only;
            }
            tokio::time::sleep(ms(2)).await;
        }
    }

    pub(crate) async fn stop(self) {
        tree::stop(&self.root, LIMIT).await;
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
    }
}

/// The pid at the place whose path ends like this, below this root.
pub(crate) fn pid_at(root: Pid, end: &str) -> Option<Pid> {
    fn find(node: &Node, end: &str) -> Option<Pid> {
        if node.path.to_string().ends_with(end) {
            return node.state.pid();
        }
        node.children.iter().find_map(|child| find(child, end))
    }
    let trees = byron_supervisors::snapshot();
    let of_root = trees.iter().filter(|node| node.state.pid() == Some(root));
    of_root.into_iter().find_map(|node| find(node, end))
}

/// So many bytes every so often.
pub(crate) fn pace(bytes: usize, delay: Duration) -> Manner {
    let chunk_bytes = bytes.try_into().unwrap();
    Manner {
        pace: Some(Pace { chunk_bytes, delay }),
        ..Manner::default()
    }
}

/// A pace at which a poem of a few bytes does not end during a test.
pub(crate) fn endless() -> Manner {
    pace(1, Duration::from_secs(3600))
}

pub(crate) async fn read_all(mut reader: TcpStream) -> (Vec<u8>, io::Result<()>) {
    let mut heard = Vec::new();
    let outcome = reader.read_to_end(&mut heard).await;
    (heard, outcome.map(drop))
}

/// The address of a server that does what it is told with each connection, counted from 1.
pub(crate) async fn play<F, Fut>(scene: F) -> SocketAddr
where
    F: Fn(usize, TcpStream) -> Fut + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    actix_rt::spawn(async move {
        for number in 1.. {
            let Ok((stream, _)) = listener.accept().await else {
                return;
            };
            actix_rt::spawn(scene(number, stream));
        }
    });
    addr
}

/// Says this and closes.
pub(crate) async fn say(mut stream: TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
}

/// Says this and resets.
pub(crate) async fn say_and_reset(mut stream: TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes).await;
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// An address where nobody listens.
pub(crate) fn nobody() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

pub(crate) fn target(addr: SocketAddr) -> Target {
    Target::new(addr.to_string(), Whereabouts::Addresses(vec![addr]))
}

/// A client with quick retries.
pub(crate) fn get(addrs: &[SocketAddr]) -> ClientConfig {
    ClientConfig {
        retries: Retries {
            count: 2,
            delay: ms(10),
        },
        ..ClientConfig::new(addrs.iter().copied().map(target).collect())
    }
}

pub(crate) fn once(config: ClientConfig) -> ClientConfig {
    ClientConfig {
        retries: Retries {
            count: 0,
            ..config.retries
        },
        ..config
    }
}

pub(crate) fn hasty(first_byte: Duration, idle: Duration) -> Patience {
    Patience {
        first_byte_timeout: first_byte,
        idle_timeout: idle,
        ..Patience::default()
    }
}

/// What became of one task.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) heard: Vec<u8>,
    /// How many bytes came and were held back.
    pub(crate) held: u64,
    pub(crate) whole: bool,
    pub(crate) failure: Option<(FailureKind, String)>,
    pub(crate) attempts: u32,
    pub(crate) retried: Vec<FailureKind>,
}

/// Takes events until they end with `Done`.
pub(crate) async fn collect(config: ClientConfig) -> Vec<Outcome> {
    collect_as("get", config).await
}

/// As [`collect`], by a client of this name.
pub(crate) async fn collect_as(name: &str, config: ClientConfig) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = config.targets.iter().map(|_| Outcome::default()).collect();
    let (client, _, mut events) = tree::start_client(name, config).await.unwrap();
    while let Some(event) = events.recv().await {
        if let Event::Done { poems, failed } = event {
            assert_eq!(
                poems,
                outcomes.iter().filter(|outcome| outcome.whole).count()
            );
            assert_eq!(poems + failed, outcomes.len());
            tree::stop(&client, LIMIT).await;
            assert!(events.recv().await.is_none(), "Done is the last event");
            return outcomes;
        }
        note(event, &mut outcomes);
    }
    panic!("the events ended without Done");
}

pub(crate) fn note(event: Event, outcomes: &mut [Outcome]) {
    match event {
        Event::Chunk(chunk) => outcomes[chunk.task].heard.extend_from_slice(&chunk.bytes),
        Event::Held { task, bytes } => outcomes[task].held += bytes,
        Event::Retry { task, kind, .. } => outcomes[task].retried.push(kind),
        Event::Poem {
            task,
            bytes,
            attempts,
            ..
        } => {
            assert_eq!(bytes, outcomes[task].heard.len() as u64);
            outcomes[task].whole = true;
            outcomes[task].attempts = attempts;
        }
        Event::Failed {
            task,
            kind,
            message,
            attempts,
            bytes,
            ..
        } => {
            let came = outcomes[task].held + outcomes[task].heard.len() as u64;
            assert_eq!(bytes, came);
            outcomes[task].failure = Some((kind, message));
            outcomes[task].attempts = attempts;
        }
        _ => {}
    }
}

/// The one outcome of a client with one target.
pub(crate) async fn collect_one(config: ClientConfig) -> Outcome {
    collect(config)
        .await
        .pop()
        .expect("one target, one outcome")
}

/// The kind of a failure and its text.
pub(crate) fn failure(outcome: &Outcome) -> (FailureKind, &str) {
    let (kind, message) = outcome.failure.as_ref().expect("it failed");
    (*kind, message)
}

/// What the first actor of this type tells of itself.
pub(crate) fn details_of(nodes: &[Node], actor: &str) -> Option<Vec<(&'static str, String)>> {
    nodes.iter().find_map(|node| {
        if node.actor == actor {
            Some(node.details.clone())
        } else {
            details_of(&node.children, actor)
        }
    })
}
