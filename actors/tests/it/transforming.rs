//! Transforms over real sockets: the tutorial's bytes, what is refused, what a crash costs, and what HTTP says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use actix::Arbiter;
use byron_actors::tree::{self, ServiceHandle};
use byron_actors::{
    Courtesy, INLINE_BYTES_MAX, LONG_TRANSFORMS_WAITING_MAX, Limits, ListenOn, Protocol,
    ServiceConfig, TRANSFORMS, Transform, TransformHttp, TransformNetstring, Transformers, frame,
};
use byron_supervisors::{ActorRef, ArbiterPool, Supervisor, kill, snapshot};
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{LIMIT, details_of, eventually, pid_at, read_all, run};

/// An engine that dies of its poem.
const FALTER: Transform = Transform {
    name: "falter",
    about: "",
    engine: |poem| panic!("cannot read {} bytes", poem.len()),
};

struct Transforms {
    root: ActorRef<Supervisor>,
    transformers: Transformers,
    netstring: ServiceHandle,
    http: ServiceHandle,
}

/// All transforms and more, both protocols, on this arbiter.
async fn transforms(more: &[Transform], courtesy: Courtesy) -> Transforms {
    let here = ArbiterPool::new([Arbiter::current()]);
    transforms_on(more, courtesy, &here, &here).await
}

async fn transforms_on(
    more: &[Transform],
    courtesy: Courtesy,
    workers: &ArbiterPool,
    connections: &ArbiterPool,
) -> Transforms {
    let transformers = Transformers::with([TRANSFORMS, more].concat(), workers);
    let service = |id, protocol: Arc<dyn Protocol>| {
        let config = ServiceConfig {
            listen: ListenOn::loopback(0),
            limits: Limits::default(),
            protocol,
        };
        tree::service_spec(id, config, connections).unwrap()
    };
    let of = transformers.clone();
    let (netstring_spec, netstring) = service(
        "netstring",
        Arc::new(TransformNetstring {
            transformers: of.clone(),
            courtesy,
        }),
    );
    let (http_spec, http) = service(
        "http",
        Arc::new(TransformHttp {
            transformers: of,
            courtesy,
        }),
    );
    let specs = vec![
        transformers.child_spec("transformers"),
        netstring_spec,
        http_spec,
    ];
    let root = tree::start_servers("transforms", specs).await.unwrap();
    Transforms {
        root,
        transformers,
        netstring,
        http,
    }
}

impl Transforms {
    async fn peer(&self) -> TcpStream {
        connect(&self.netstring).await
    }

    /// Says this, and hears the answer to the end.
    async fn ask(&self, said: impl AsRef<[u8]>) -> Vec<u8> {
        ask(self.peer().await, said.as_ref()).await
    }

    /// The same over HTTP.
    async fn ask_http(&self, said: impl AsRef<[u8]>) -> String {
        let heard = ask(connect(&self.http).await, said.as_ref()).await;
        String::from_utf8(heard).unwrap()
    }

    /// Waits until so many peers of the netstring service have gone, served or refused.
    async fn is_counted(&self, served: u64, refused: u64) {
        eventually("they are counted", || {
            let counts = self.netstring.counts();
            (counts.served, counts.refused) == (served, refused)
        })
        .await;
    }

    async fn stop(self) {
        tree::stop(&self.root, LIMIT).await;
    }
}

async fn connect(service: &ServiceHandle) -> TcpStream {
    TcpStream::connect(addr(service)).await.unwrap()
}

fn addr(service: &ServiceHandle) -> SocketAddr {
    service.local_addrs()[0]
}

async fn ask(mut peer: TcpStream, said: &[u8]) -> Vec<u8> {
    peer.write_all(said).await.unwrap();
    let (heard, end) = read_all(peer).await;
    end.unwrap();
    heard
}

fn request(name: &str, poem: &[u8]) -> Vec<u8> {
    frame(&[name.as_bytes(), b".", poem].concat()).into()
}

fn post(name: &str, poem: &str) -> String {
    format!(
        "POST /transform/{name} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{poem}",
        poem.len()
    )
}

/// The status and the body of an answer.
fn status(answer: &str) -> (u16, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body)
}

#[test]
fn the_tutorials_request_has_the_tutorials_answer() {
    run(async {
        let transforms = transforms(&[], Courtesy::default()).await;
        let said = b"27:cummingsify.HERE IS MY POEM,";
        assert_eq!(transforms.ask(said).await, b"15:here is my poem,");
        // However it is cut, and with dots of its own, bytes that are no text, or nothing in it.
        let mut peer = transforms.peer().await;
        for byte in said {
            peer.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(ask(peer, b"").await, b"15:here is my poem,");
        for (said, answer) in [
            (&b"15:cummingsify.A.B,"[..], &b"3:a.b,"[..]),
            (b"15:cummingsify.\xff\0A,", b"3:\xff\0a,"),
            (b"12:cummingsify.,", b"0:,"),
        ] {
            assert_eq!(transforms.ask(said).await, answer);
        }
        transforms.is_counted(5, 0).await;
        transforms.stop().await;
    });
}

#[test]
fn what_cannot_be_transformed_is_closed_on_without_an_answer() {
    run(async {
        let courtesy = Courtesy {
            request_bytes_max: 99,
            ..Courtesy::default()
        };
        let transforms = transforms(&[FALTER], courtesy).await;
        for said in [
            &b"15:cummingsifie.xy,"[..],
            b"5:nodot,",
            b"2:.x,",
            b"10:byronify.x,",
            b"8:falter.x,",
            b"x",
            b"01",
            b"-1:",
            b"100",
            b"99999999999999999999",
            b"3:a.bc",
        ] {
            let heard = transforms.ask(said).await;
            assert_eq!(heard, b"", "{}", said.escape_ascii());
        }
        transforms.is_counted(0, 11).await;
        let counts = transforms.transformers.counts();
        assert_eq!(
            (counts.unknown, counts.gibberish, counts.crashed),
            (2, 1, 1)
        );
        let shown = snapshot();
        let shown = details_of(&shown, "byron_actors::server::Server").unwrap();
        assert!(shown.contains(&("refused", "11".to_owned())), "{shown:?}");
        transforms.stop().await;
    });
}

#[test]
fn a_crash_costs_its_own_poem_however_often_it_happens() {
    run(async {
        let transforms = transforms(&[FALTER], Courtesy::default()).await;
        let long = vec![b'x'; INLINE_BYTES_MAX + 1];
        for round in 0..20 {
            let poem = if round % 2 == 0 { &b"x"[..] } else { &long };
            let (fallen, others) = tokio::join!(
                transforms.ask(request("falter", poem)),
                join_all((0..5).map(|_| transforms.ask(request("shout", b"on")))),
            );
            assert_eq!(fallen, b"");
            assert!(others.iter().all(|answer| answer == b"2:ON,"), "{others:?}");
        }
        let counts = transforms.transformers.counts();
        assert_eq!((counts.transformed, counts.crashed), (100, 20));
        eventually("every place is free again", || {
            transforms.transformers.counts().waiting == 0
        })
        .await;
        let text = snapshot()
            .iter()
            .find(|node| node.state.pid() == Some(transforms.root.pid()))
            .unwrap()
            .to_string();
        assert!(text.contains("cannot read 16385 bytes"), "{text}");
        transforms.stop().await;
    });
}

#[test]
fn a_killed_pool_is_there_again() {
    run(async {
        let transforms = transforms(&[], Courtesy::default()).await;
        let pool = pid_at(transforms.root.pid(), "/transformers").unwrap();
        kill(pool);
        eventually("another one", || {
            pid_at(transforms.root.pid(), "/transformers").is_some_and(|other| other != pool)
                && pid_at(transforms.root.pid(), "/transformers/0").is_some()
        })
        .await;
        assert_eq!(transforms.ask(request("shout", b"on")).await, b"2:ON,");
        transforms.stop().await;
    });
}

/// An engine that waits until its test lets it go on. There is one gate for all tests, which take turns.
fn gated() -> (Transform, mpsc::Sender<()>, MutexGuard<'static, ()>) {
    static TURN: Mutex<()> = Mutex::new(());
    static GATE: Mutex<Option<mpsc::Receiver<()>>> = Mutex::new(None);
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (open, gate) = mpsc::channel();
    *GATE.lock().unwrap() = Some(gate);
    let transform = Transform {
        name: "wait",
        about: "",
        engine: |poem| {
            GATE.lock()
                .unwrap()
                .as_ref()
                .unwrap()
                .recv_timeout(LIMIT)
                .unwrap();
            Ok(poem.to_vec())
        },
    };
    (transform, open, turn)
}

/// All transforms and one more, whose worker keeps no connection waiting: it has an arbiter of its own.
async fn transforms_beside(more: Transform) -> Transforms {
    let workers = ArbiterPool::new([Arbiter::new().handle()]);
    let here = ArbiterPool::new([Arbiter::current()]);
    transforms_on(&[more], Courtesy::default(), &workers, &here).await
}

/// Peers whose poems wait, one at work and the others behind it.
async fn waiting(transforms: &Transforms, peers: usize, poem: &[u8]) -> Vec<TcpStream> {
    let mut waiting = Vec::new();
    for _ in 0..peers {
        let mut peer = transforms.peer().await;
        peer.write_all(&request("wait", poem)).await.unwrap();
        waiting.push(peer);
    }
    eventually("all of them wait", || {
        transforms.transformers.counts().waiting == peers as u64
    })
    .await;
    waiting
}

#[test]
fn beyond_the_queue_callers_with_long_poems_are_turned_away_at_once() {
    let (wait, open, _turn) = gated();
    run(async {
        let transforms = transforms_beside(wait).await;
        let long = "x".repeat(INLINE_BYTES_MAX + 1);
        let peers = waiting(&transforms, LONG_TRANSFORMS_WAITING_MAX, long.as_bytes()).await;

        assert_eq!(transforms.ask(request("shout", long.as_bytes())).await, b"");
        let answer = transforms.ask_http(post("shout", &long)).await;
        assert_eq!(
            status(&answer),
            (429, "too many poems are waiting to be transformed\n")
        );
        assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
        assert_eq!(transforms.transformers.counts().overloaded, 2);

        for peer in peers {
            open.send(()).unwrap();
            assert_eq!(read_all(peer).await.0, frame(long.as_bytes()));
        }
        assert_eq!(transforms.ask(request("shout", b"x")).await, b"1:X,");
        transforms.stop().await;
    });
}

#[test]
fn a_burst_of_short_poems_is_answered_to_the_last() {
    let (wait, open, _turn) = gated();
    run(async {
        let transforms = transforms_beside(wait).await;
        let peers = waiting(&transforms, 2 * LONG_TRANSFORMS_WAITING_MAX, b"x").await;
        for peer in peers {
            open.send(()).unwrap();
            assert_eq!(read_all(peer).await.0, b"1:x,");
        }
        assert_eq!(transforms.transformers.counts().overloaded, 0);
        transforms.stop().await;
    });
}

#[test]
fn a_long_poem_keeps_its_place_while_it_is_worked_on_and_no_short_one_behind_it() {
    let (wait, open, _turn) = gated();
    run(async {
        let other = Arbiter::new();
        let both = ArbiterPool::new([Arbiter::current(), other.handle()]);
        let here = ArbiterPool::new([Arbiter::current()]);
        let transforms = transforms_on(&[wait], Courtesy::default(), &both, &here).await;
        let long = vec![b'x'; INLINE_BYTES_MAX + 1];
        let mut peer = transforms.peer().await;
        peer.write_all(&request("wait", &long)).await.unwrap();
        let waiting = || transforms.transformers.counts().waiting;
        eventually("it is worked on", || waiting() == 1).await;
        for _ in 0..10 {
            assert_eq!(transforms.ask(request("shout", b"x")).await, b"1:X,");
            assert_eq!(waiting(), 1);
        }
        open.send(()).unwrap();
        assert_eq!(read_all(peer).await.0.len(), long.len() + "16385:,".len());
        assert_eq!(waiting(), 0);
        transforms.stop().await;
    });
}

#[test]
fn http_has_a_status_for_everything() {
    run(async {
        let courtesy = Courtesy {
            request_bytes_max: 50,
            ..Courtesy::default()
        };
        let transforms = transforms(&[FALTER], courtesy).await;
        let with = |header: &str| {
            post("shout", "poem").replace("Host: here", &format!("Host: here\r\n{header}"))
        };
        let long = "x".repeat(51);
        let chunked = format!(
            "POST /transform/shout HTTP/1.1\r\nHost: here\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n33\r\n{long}\r\n0\r\n\r\n"
        );
        for (said, expected) in [
            (
                post("cummingsify", "HERE IS MY POEM"),
                (200, "here is my poem"),
            ),
            (with("Content-Type: text/plain"), (200, "POEM")),
            (
                with("Content-Type: application/json"),
                (415, "a poem is text/plain or application/octet-stream\n"),
            ),
            (
                with("Content-Encoding: gzip"),
                (415, "a poem comes as it is, without Content-Encoding\n"),
            ),
            (
                post("whisper", ""),
                (
                    404,
                    "no transform is called \"whisper\"; GET /transforms lists them\n",
                ),
            ),
            (
                post("byronify", "x"),
                (422, "gibberish: less than 3 words\n"),
            ),
            (post("falter", "x"), (500, "the transform crashed\n")),
            (
                post("shout", &long),
                (413, "a poem has at most 50 bytes here\n"),
            ),
            (chunked, (413, "a poem has at most 50 bytes here\n")),
            (
                post("shout", "x").replace("POST", "GET"),
                (405, "only POST here\n"),
            ),
            ("neither\r\n\r\n".to_owned(), (400, "")),
            (
                format!(
                    "GET / HTTP/1.1\r\nHost: here\r\nX: {}\r\n\r\n",
                    "x".repeat(20_000)
                ),
                (431, ""),
            ),
        ] {
            let answer = transforms.ask_http(&said).await;
            assert_eq!(status(&answer), expected, "{said}");
        }
        let list = transforms
            .ask_http("GET /transforms HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            .await;
        let (code, list) = status(&list);
        assert_eq!(code, 200);
        assert!(list.starts_with("cummingsify\tlower case"), "{list}");
        transforms.stop().await;
    });
}

#[test]
fn a_connection_of_http_is_kept_for_more() {
    run(async {
        let transforms = transforms(&[], Courtesy::default()).await;
        let mut peer = connect(&transforms.http).await;
        for _ in 0..3 {
            let said = post("shout", "on").replace("Connection: close\r\n", "");
            peer.write_all(said.as_bytes()).await.unwrap();
            let mut heard = Vec::new();
            while !heard.ends_with(b"ON") {
                assert_ne!(peer.read_buf(&mut heard).await.unwrap(), 0);
            }
        }
        assert_eq!(transforms.http.counts().accepted, 1);
        transforms.stop().await;
    });
}

/// Says one byte now and then, for as long as it is listened to; how long that was.
async fn trickle(service: &ServiceHandle, said: &'static [u8]) -> Duration {
    let begin = tokio::time::Instant::now();
    let (mut from, mut to) = connect(service).await.into_split();
    let saying = actix_rt::spawn(async move {
        for byte in said.iter().cycle() {
            if to.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let mut heard = Vec::new();
    let _ = from.read_to_end(&mut heard).await;
    saying.abort();
    begin.elapsed()
}

#[test]
fn a_request_that_trickles_ends_within_its_limit() {
    run(async {
        let courtesy = Courtesy {
            request_timeout: Duration::from_millis(150),
            linger_timeout: Duration::from_millis(50),
            ..Courtesy::default()
        };
        let transforms = transforms(&[], courtesy).await;
        let (netstring, header, body, ()) = tokio::join!(
            trickle(&transforms.netstring, b"99999:cummingsify.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            trickle(&transforms.http, b"GET / HTTP/1.1\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y"),
            trickle(
                &transforms.http,
                b"POST /transform/shout HTTP/1.1\r\nContent-Length: 9999\r\n\r\nAAAAAAAAAAAAAAAAAAA"
            ),
            async {
                let (heard, _) = read_all(transforms.peer().await).await;
                assert_eq!(heard, b"");
            }
        );
        for heard in [netstring, header, body] {
            assert!(heard >= courtesy.request_timeout, "{heard:?}");
        }
        eventually("all are gone", || {
            transforms.netstring.counts().active + transforms.http.counts().active == 0
        })
        .await;
        assert_eq!(transforms.netstring.counts().write_timeout, 2);
        transforms.stop().await;
    });
}

#[test]
fn a_drain_does_not_wait_for_the_idle_but_for_those_who_ask() {
    run(async {
        let transforms = transforms(&[], Courtesy::default()).await;
        let (idle, idle_http) = (transforms.peer().await, connect(&transforms.http).await);
        let mut asking = transforms.peer().await;
        asking.write_all(b"8:shout.").await.unwrap();
        eventually("all are inside", || {
            transforms.netstring.counts().active >= 2 && transforms.http.counts().active == 1
        })
        .await;
        // By the time that somebody else is answered, its bytes are there, and it is not idle like the others.
        assert_eq!(transforms.ask(request("shout", b"x")).await, b"1:X,");
        let (netstring, http, answer, heard_http) = tokio::join!(
            transforms.netstring.drain(LIMIT),
            transforms.http.drain(LIMIT),
            async {
                let (heard, end) = read_all(idle).await;
                asking.write_all(b"on,").await.unwrap();
                let answer = read_all(asking).await.0;
                end.unwrap();
                (heard, answer)
            },
            read_all(idle_http),
        );
        assert_eq!((netstring.reset, http.reset), (0, 0));
        assert_eq!(answer, (Vec::new(), b"2:ON,".to_vec()));
        assert!(heard_http.1.is_ok());
        transforms.stop().await;
    });
}
