//! The network under rehearsed failure: whatever falls, a poem arrives whole or is a failure, and the same seed makes the
//! same connections fall.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix::Arbiter;
use byron_actors::tree::{self, ServerHandle};
use byron_actors::{
    ClientConfig, Courtesy, FailureKind, LATE_CHUNKS_MAX, Limits, ListenOn, Poem, Retries,
    ServerConfig, ServiceConfig, TRANSFORMS, TransformNetstring, Transformers,
};
use byron_supervisors::chaos::{Chaos, ChaosReport, Rehearsal};
use byron_supervisors::{ActorRef, ArbiterPool, Supervisor};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::{LIMIT, collect_as, get, ms, pace, read_all, run, text};

/// Longer than the latest turn in which something falls, 63, although each turn writes as many chunks as it may: what is due
/// after such a pause is due in the next turn of the timer.
const POEM_BYTES: usize = 64 * LATE_CHUNKS_MAX * CHUNK_BYTES;
const CHUNK_BYTES: usize = 12;
const PAUSE: Duration = Duration::from_micros(1);

/// Two servers on two arbiters, below a root that no other test has: the rules are for the whole program.
struct Network {
    root: ActorRef<Supervisor>,
    servers: Vec<ServerHandle>,
    arbiters: Vec<Arbiter>,
}

impl Network {
    async fn start(name: &str) -> Network {
        let arbiters: Vec<_> = (0..2).map(|_| Arbiter::new()).collect();
        let pool = ArbiterPool::new(arbiters.iter().map(Arbiter::handle));
        let (mut specs, mut servers) = (Vec::new(), Vec::new());
        for id in ["one", "other"] {
            let config = ServerConfig {
                manner: pace(CHUNK_BYTES, PAUSE),
                ..ServerConfig::new(Poem::new(id, text(POEM_BYTES)), 0)
            };
            let (spec, handle) = tree::server_spec(id, config, &pool).unwrap();
            specs.push(spec);
            servers.push(handle);
        }
        Network {
            root: tree::start_servers(name, specs).await.unwrap(),
            servers,
            arbiters,
        }
    }

    fn addr(&self, server: usize) -> SocketAddr {
        self.servers[server].local_addrs()[0]
    }

    async fn stop(self) {
        tree::stop(&self.root, LIMIT).await;
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
    }
}

fn rehearse(rules: &str, seed: u64) -> Rehearsal {
    let chaos = Chaos::parse_with(rules, &[byron_actors::RESET]).unwrap();
    chaos.rehearse(seed)
}

fn with_retries(config: ClientConfig, count: u32) -> ClientConfig {
    let retries = Retries {
        count,
        delay: ms(1),
    };
    ClientConfig { retries, ..config }
}

#[test]
fn with_retries_every_poem_arrives_whole() {
    let mut struck = 0;
    for seed in 1..=6 {
        run(async {
            let rules = [
                "/mended/**/connection:panic@15%,reset@15%,kill@5%",
                "/mended/*/listeners/*:panic@50%",
                "/mended-get/downloads/download:exit@10%,panic@10%,start@5%",
            ];
            let rehearsal = rehearse(&rules.join(";"), seed);
            let network = Network::start("mended").await;
            let addrs = [0, 1, 0, 1].map(|server| network.addr(server));
            let outcomes = collect_as("mended-get", with_retries(get(&addrs), 12)).await;
            for outcome in &outcomes {
                assert!(outcome.whole, "seed {seed}: {:?}", outcome.failure);
                assert_eq!(outcome.heard, text(POEM_BYTES), "seed {seed}");
            }
            network.stop().await;
            struck += rehearsal.report().struck.len();
        });
    }
    assert!(struck > 10, "only {struck} faults: nothing was rehearsed");
}

#[test]
fn without_retries_no_half_poem_looks_whole() {
    let (mut whole, mut lost) = (0, 0);
    for seed in 1..=6 {
        run(async {
            let _rehearsal = rehearse("/lost/**/connection:panic@20%,reset@20%,exit@10%", seed);
            let network = Network::start("lost").await;
            let addrs = [0, 1, 0, 1].map(|server| network.addr(server));
            for outcome in collect_as("lost-get", with_retries(get(&addrs), 0)).await {
                let poem = text(POEM_BYTES);
                if outcome.whole {
                    assert_eq!(outcome.heard, poem, "seed {seed}");
                    whole += 1;
                } else {
                    let (kind, _) = outcome.failure.unwrap();
                    assert_eq!(kind, FailureKind::Reset, "seed {seed}");
                    assert_eq!(outcome.heard, poem[..outcome.heard.len()], "seed {seed}");
                    lost += 1;
                }
            }
            network.stop().await;
        });
    }
    assert!(whole > 3 && lost > 3, "{whole} whole, {lost} lost");
}

/// Readers who come one after the other: who was cut off, and what the report says.
async fn readers_one_by_one(seed: u64) -> (Vec<bool>, ChaosReport) {
    let rehearsal = rehearse("/again/one/*/connection:reset@30%,panic@30%", seed);
    let network = Network::start("again").await;
    let mut cut_off = Vec::new();
    for _ in 0..16 {
        // Whoever is cut off before the first byte may not even hear that it was connected.
        let (heard, end) = match TcpStream::connect(network.addr(0)).await {
            Ok(reader) => read_all(reader).await,
            Err(error) => (Vec::new(), Err(error)),
        };
        if let Err(error) = &end {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        } else {
            assert_eq!(heard, text(POEM_BYTES));
        }
        cut_off.push(end.is_err());
    }
    network.stop().await;
    (cut_off, rehearsal.report())
}

#[test]
fn the_same_seed_cuts_off_the_same_readers() {
    run(async {
        let (cut_off, report) = readers_one_by_one(7).await;
        let numbers = |report: &ChaosReport| -> Vec<u64> {
            report.struck.iter().map(|struck| struck.number).collect()
        };
        let fallen = (1..).zip(&cut_off).filter(|(_, cut_off)| **cut_off);
        let fallen: Vec<u64> = fallen.map(|(number, _)| number).collect();
        assert_eq!(fallen, numbers(&report), "{report}");
        assert!((3..15).contains(&fallen.len()), "{fallen:?}");

        let (again, report_again) = readers_one_by_one(7).await;
        assert_eq!((cut_off, report.struck), (again, report_again.struck));
        let (_, other) = readers_one_by_one(8).await;
        assert_ne!(numbers(&other), fallen);
    });
}

#[test]
fn a_peer_that_asks_is_answered_whole_or_cut_off() {
    run(async {
        let rehearsal = rehearse("/asked/**/connection:reset@50%", 7);
        let here = ArbiterPool::new([Arbiter::current()]);
        let transformers = Transformers::with(TRANSFORMS.to_vec(), &here);
        let protocol = TransformNetstring {
            transformers: transformers.clone(),
            courtesy: Courtesy::default(),
        };
        let config = ServiceConfig {
            listen: ListenOn::loopback(0),
            limits: Limits::default(),
            protocol: Arc::new(protocol),
        };
        let (spec, handle) = tree::service_spec("transform", config, &here).unwrap();
        let specs = vec![transformers.child_spec("transformers"), spec];
        let root = tree::start_servers("asked", specs).await.unwrap();
        let ask = async || -> io::Result<Vec<u8>> {
            let mut peer = TcpStream::connect(handle.local_addrs()[0]).await?;
            peer.write_all(b"27:cummingsify.HERE IS MY POEM,").await?;
            peer.shutdown().await?;
            let (heard, end) = read_all(peer).await;
            end.map(|()| heard)
        };
        let mut cut_off = 0;
        for _ in 0..16 {
            match ask().await {
                Ok(heard) => assert_eq!(heard, b"15:here is my poem,"),
                Err(_) => cut_off += 1,
            }
        }
        tree::stop(&root, LIMIT).await;
        let report = rehearsal.report();
        assert_eq!(report.rules[0].struck, cut_off, "{report}");
        assert!((3..14).contains(&cut_off), "{report}");
        assert_eq!(handle.counts().reset, cut_off);
    });
}
