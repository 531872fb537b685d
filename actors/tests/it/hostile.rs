//! Peers of transforms and libraries who mean no good: each ends within its named limit, and the others notice nothing.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use byron_actors::tree::{self, ServiceHandle};
use byron_actors::{
    Courtesy, Library, Limits, ListenOn, Protocol, ServiceConfig, TransformHttp,
    TransformNetstring, Transformers,
};
use byron_supervisors::{ActorRef, ArbiterPool, Supervisor, events_since};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{LIMIT, eventually, read_all, run, say_and_reset, text};

/// Longer than what the kernel takes for a reader that reads nothing.
const LONG_BYTES: usize = 64 << 20;

/// All services whose peers speak first.
struct Services {
    _directory: tempfile::TempDir,
    root: ActorRef<Supervisor>,
    netstring: ServiceHandle,
    http: ServiceHandle,
    library: ServiceHandle,
}

async fn services(courtesy: Courtesy) -> Services {
    let here = ArbiterPool::new([Arbiter::current()]);
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("short"), "one").unwrap();
    fs::write(directory.path().join("long"), text(LONG_BYTES)).unwrap();
    let transformers = Transformers::new(&here);
    let mut specs = vec![transformers.child_spec("transformers")];
    let mut service = |id, protocol: Arc<dyn Protocol>| {
        let config = ServiceConfig {
            listen: ListenOn::loopback(0),
            limits: Limits::default(),
            protocol,
        };
        let (spec, handle) = tree::service_spec(id, config, &here).unwrap();
        specs.push(spec);
        handle
    };
    let of = transformers.clone();
    let netstring = TransformNetstring {
        transformers: of.clone(),
        courtesy,
    };
    let http = TransformHttp {
        transformers: of,
        courtesy,
    };
    let library = Library::open(directory.path(), courtesy).unwrap();
    let (netstring, http) = (
        service("netstring", Arc::new(netstring)),
        service("http", Arc::new(http)),
    );
    let library = service("library", Arc::new(library));
    let root = tree::start_servers("services", specs).await.unwrap();
    Services {
        _directory: directory,
        root,
        netstring,
        http,
        library,
    }
}

impl Services {
    fn all(&self) -> [&ServiceHandle; 3] {
        [&self.netstring, &self.http, &self.library]
    }

    /// The others notice nothing.
    async fn answer_others(&self) {
        let ask = async |service, said: &[u8]| {
            let mut peer = connect(service).await;
            peer.write_all(said).await.unwrap();
            peer.shutdown().await.unwrap();
            let (heard, end) = read_all(peer).await;
            end.unwrap();
            heard
        };
        assert_eq!(ask(&self.netstring, b"8:shout.on,").await, b"2:ON,");
        assert_eq!(ask(&self.library, b"5:short,").await, b"3:one,");
        let heard = ask(
            &self.http,
            b"POST /transform/shout HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\non",
        )
        .await;
        assert!(heard.ends_with(b"ON"), "{}", heard.escape_ascii());
    }

    async fn stop(self) {
        tree::stop(&self.root, LIMIT).await;
    }
}

async fn connect(service: &ServiceHandle) -> TcpStream {
    TcpStream::connect(service.local_addrs()[0]).await.unwrap()
}

/// What a peer of each service says.
const REQUESTS: [&[u8]; 3] = [
    b"27:cummingsify.HERE IS MY POEM,",
    b"POST /transform/shout HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\npoem",
    b"4:LIST,4:long,5:short,",
];

#[test]
fn a_peer_that_resets_at_any_byte_is_no_crash() {
    run(async {
        let services = services(Courtesy::default()).await;
        let before = events_since(0).last;
        let mut peers = 0;
        for (service, request) in services.all().into_iter().zip(REQUESTS) {
            for cut in 0..=request.len() {
                say_and_reset(connect(service).await, &request[..cut]).await;
                peers += 1;
            }
        }
        eventually("all are gone", || {
            let counts = services.all().map(ServiceHandle::counts);
            counts.iter().all(|counts| counts.active == 0)
                && counts.iter().map(|counts| counts.accepted).sum::<u64>() == peers
        })
        .await;
        let crashes: Vec<_> = events_since(before)
            .events
            .into_iter()
            .filter(|event| event.crash_id().is_some())
            .collect();
        assert!(crashes.is_empty(), "{crashes:#?}");
        services.answer_others().await;
        services.stop().await;
    });
}

#[test]
fn a_reader_that_takes_nothing_is_cut_off_in_time() {
    run(async {
        let courtesy = Courtesy {
            write_timeout: Duration::from_millis(200),
            ..Courtesy::default()
        };
        let services = services(courtesy).await;
        let mut deaf = connect(&services.library).await;
        deaf.write_all(b"4:long,").await.unwrap();
        eventually("it is cut off", || {
            services.library.counts().write_timeout == 1
        })
        .await;
        services.answer_others().await;
        // What was in the kernel's hands is no poem: it ends before its comma.
        let mut heard = Vec::new();
        let end = deaf.read_to_end(&mut heard).await;
        assert!(
            end.is_err() && heard.len() < LONG_BYTES,
            "{} bytes, {end:?}",
            heard.len()
        );
        services.stop().await;
    });
}

#[test]
fn a_reader_that_takes_little_is_slow_and_no_more() {
    run(async {
        let services = services(Courtesy::default()).await;
        let mut slow = connect(&services.library).await;
        slow.write_all(b"5:short,4:LIST,").await.unwrap();
        slow.shutdown().await.unwrap();
        let mut heard = Vec::new();
        while let Ok(byte) = slow.read_u8().await {
            heard.push(byte);
            services.answer_others().await;
        }
        assert_eq!(heard, b"3:one,11:long\nshort\n,");
        services.stop().await;
    });
}

#[test]
fn half_open_peers_are_answered_and_let_go() {
    run(async {
        let courtesy = Courtesy {
            request_timeout: Duration::from_millis(200),
            linger_timeout: Duration::from_millis(200),
            ..Courtesy::default()
        };
        let services = services(courtesy).await;
        // One that has shut down its side, one that never leaves, one that goes on talking after the end.
        let mut half = connect(&services.netstring).await;
        half.write_all(b"8:shout.on,").await.unwrap();
        half.shutdown().await.unwrap();
        assert_eq!(read_all(half).await.0, b"2:ON,");
        let mut staying = connect(&services.netstring).await;
        staying.write_all(b"8:shout.on,").await.unwrap();
        let mut heard = [0; 5];
        staying.read_exact(&mut heard).await.unwrap();
        let talking = connect(&services.netstring).await;
        let (mut from, mut to) = talking.into_split();
        let saying = actix_rt::spawn(async move {
            let mut said = 0;
            while to.write_all(b"8:shout.on,").await.is_ok() {
                said += 11;
            }
            said
        });
        let mut heard = Vec::new();
        let _ = from.read_to_end(&mut heard).await;
        assert_eq!(heard, b"2:ON,");
        eventually("they are gone", || services.netstring.counts().active == 0).await;
        let said = tokio::time::timeout(LIMIT, saying).await.unwrap().unwrap();
        assert!(said >= 11);
        drop(staying);
        services.stop().await;
    });
}
