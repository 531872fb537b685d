//! Does one thing of byron's hot paths so many times, for callgrind to count: `byron-counts WHAT TIMES`.
//!
//! All on one thread and with a paused clock, so that the same work is done every time. `benches/count` runs it twice, with
//! two numbers of times: the difference has neither the start of the program in it nor its end.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use actix::prelude::*;
use actix_rt::task::yield_now;
use byron_actors::{Poem, ServerConfig, tree};
use byron_supervisors::{
    ArbiterPool, ChildSpec, Context, ExitReason, SupFlags, Supervisor, exited, spawn, whereis_actor,
};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, times] = &arguments[..] else {
        panic!("say WHAT TIMES");
    };
    let times: u64 = times.parse().expect("TIMES is a number");
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime")
    };
    System::with_tokio_rt(runtime).block_on(async move {
        match what.as_str() {
            "message" => messages(times).await,
            "ask" => asks(times).await,
            "life" => lives(times).await,
            "restart" => restarts(times).await,
            "connection" => connections(times).await,
            other => panic!("nothing is called {other}"),
        }
    });
}

struct Worker {
    heard: u64,
}

impl Actor for Worker {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
struct Tick;

impl Handler<Tick> for Worker {
    type Result = ();

    fn handle(&mut self, _: Tick, _: &mut Context<Self>) {
        self.heard += 1;
    }
}

#[derive(Message)]
#[rtype(result = "u64")]
struct HowMany;

impl Handler<HowMany> for Worker {
    type Result = u64;

    fn handle(&mut self, _: HowMany, _: &mut Context<Self>) -> u64 {
        self.heard
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Fail;

impl Handler<Fail> for Worker {
    type Result = ();

    fn handle(&mut self, _: Fail, ctx: &mut Context<Self>) {
        ctx.exit(ExitReason::error("told to"));
    }
}

/// Messages to an actor on the same arbiter, a hundred a turn.
async fn messages(times: u64) {
    let worker = spawn(Worker { heard: 0 });
    for _ in 0..times / 100 {
        for _ in 0..100 {
            worker.do_send(Tick);
        }
        yield_now().await;
    }
    assert_eq!(worker.send(HowMany).await, Ok(times));
}

async fn asks(times: u64) {
    let worker = spawn(Worker { heard: 0 });
    for _ in 0..times {
        worker.send(HowMany).await.expect("it answers");
    }
}

/// Start, monitor, stop, and the news of it.
async fn lives(times: u64) {
    for _ in 0..times {
        let worker = spawn(Worker { heard: 0 });
        let end = exited(worker.pid());
        byron_supervisors::exit(worker.pid(), ExitReason::SHUTDOWN);
        end.await;
    }
}

/// A supervised actor fails and is started again.
async fn restarts(times: u64) {
    let flags = SupFlags {
        intensity: u32::MAX,
        period: Duration::from_secs(1),
        ..SupFlags::default()
    };
    let spec = ChildSpec::new("worker", |_| Worker { heard: 0 }).registered("worker");
    let _root = Supervisor::start("root", flags, vec![spec])
        .await
        .expect("it starts");
    for _ in 0..times {
        let worker = whereis_actor::<Worker>("worker").expect("it runs");
        worker.do_send(Fail);
        exited(worker.pid()).await;
        while whereis_actor::<Worker>("worker").is_none() {
            yield_now().await;
        }
    }
}

/// A reader connects, hears a poem of 3 kB and leaves; the listening, the accepting and the connection's actor.
async fn connections(times: u64) {
    let poem = vec![b'x'; 3003];
    let here = ArbiterPool::new([Arbiter::current()]);
    let config = ServerConfig::new(Poem::new("poem", poem), 0);
    let (spec, server) = tree::server_spec("poem", config, &here).expect("it binds");
    let _root = tree::start_servers("servers", vec![spec])
        .await
        .expect("it starts");
    let server_addr: SocketAddr = server.local_addrs()[0];
    let mut heard = [0; 4096];
    for number in 1..=times {
        let mut reader = TcpStream::connect(server_addr).expect("it listens");
        reader.set_nonblocking(true).expect("a socket can");
        loop {
            match reader.read(&mut heard) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
        drop(reader);
        while server.counts().served < number {
            // Time passes when nobody has anything to do: the connection looks whether its reader has left.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
