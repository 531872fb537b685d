//! `byron demo`: three slow servers and a client in one process; one download is killed and one connection panics, and the
//! poems arrive whole.

use std::collections::HashSet;
use std::sync::mpsc;
use std::time::Duration;

use actix::Arbiter;
use anyhow::anyhow;
use byron_actors::tree::{self, ClientHandle, STOP_TIMEOUT, ServerHandle};
use byron_actors::{
    ClientConfig, Connection, Event, Events, Pace, Poem, ServerConfig, Stumble, Target,
    Whereabouts, WhichConnections, WhichDownloads, telling,
};
use byron_supervisors::{
    Action, ActorRef, ArbiterPool, EventKind, ExitReason, Operator, events_since, next_events,
    operate, path_of,
};

use super::get::{Presenter, Told, forward};
use crate::cli::{Expectation, GetConfig, Output, Verbosity};
use crate::endpoint::{self, ConnectEndpoint, Host};
use crate::exit_code::ExitCode;
use crate::host::signals::Signals;
use crate::host::{self, logs};
use crate::observe::model::Tree;
use crate::observe::render::{Look, tree_text};
use crate::observe::{Listen, ObserveSettings, Observer};
use crate::output_file::{Existing, Partial};
use crate::present::order::Order;
use crate::present::progress::Progress;

/// The poems, and how many bytes each server says at a time: all take about as long.
const POEMS: [(&str, &[u8], usize); 3] = [
    ("ecstasy", include_bytes!("../../poetry/ecstasy.txt"), 60),
    (
        "fascination",
        include_bytes!("../../poetry/fascination.txt"),
        13,
    ),
    ("science", include_bytes!("../../poetry/science.txt"), 13),
];

/// How long each server waits between two chunks.
const DELAY: Duration = Duration::from_millis(80);

/// Whose download is killed, and whose connection panics.
const KILLED: usize = 0;
const PANICKED: usize = 1;

/// How long the trees may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(1).saturating_add(STOP_TIMEOUT);

/// Runs the demonstration.
pub fn run(verbosity: Verbosity) -> anyhow::Result<ExitCode> {
    logs::init(verbosity, "off", "info");
    let mut presenter = Presenter::new(&config(verbosity))?;
    presenter.keep_lines_whole();
    let (sender, told) = mpsc::channel();
    let actors = host::beside(move || perform(sender));
    let code = presenter.present(&told)?;
    let trees = actors
        .join()
        .map_err(|_| anyhow!("the actors' thread panicked"))?
        .map_err(|reason| anyhow!("the actors did not start: {reason}"))?;
    if verbosity > Verbosity::Quiet {
        super::say(&format!("the trees, now that all is said:\n{trees}"));
    }
    Ok(code)
}

/// What `byron get` would be told.
fn config(verbosity: Verbosity) -> GetConfig {
    let target = |(name, _, _): &(&str, &[u8], usize)| endpoint::Target {
        endpoint: ConnectEndpoint::tcp(Host::Name((*name).to_owned()), 0),
        title: None,
        name: Some((*name).to_owned()),
    };
    GetConfig {
        targets: POEMS.iter().map(target).collect(),
        output: Output::Stdout,
        existing: Existing::Replace,
        partial: Partial::Remove,
        order: Order::Args,
        separator: None,
        jobs: None,
        retries_max: 2,
        retry_delay: Duration::from_millis(200),
        transforms: Vec::new(),
        frame: byron_actors::Frame::Eof,
        on_transform_error: byron_actors::OnTransformError::default(),
        transform_timeout: byron_actors::REWRITING_TIMEOUT,
        connect_timeout: None,
        first_byte_timeout: None,
        idle_timeout: None,
        max_time: None,
        fail_fast: false,
        expected: Expectation {
            sha256: None,
            bytes: None,
            bytes_max: u64::MAX,
            allow_empty: false,
        },
        spool_bytes_max: 1 << 20,
        json: None,
        progress: Progress::None,
        raw: false,
        chaos: None,
        verbosity,
        observe: ObserveSettings {
            listen: Listen::Off,
            ..ObserveSettings::default()
        },
    }
}

/// Runs servers and client, on the actors' thread; answers what the trees looked like at the end.
async fn perform(told: mpsc::Sender<Told>) -> Result<String, ExitReason> {
    let failed =
        |what: &str, error: &dyn std::fmt::Display| ExitReason::error(format!("{what}: {error}"));
    let mut signals =
        Signals::listen().map_err(|error| failed("cannot listen for signals", &error))?;
    let pool = ArbiterPool::new([Arbiter::current()]);
    let (mut specs, mut servers) = (Vec::new(), Vec::new());
    for (name, text, chunk_bytes) in POEMS {
        let mut server = ServerConfig::new(Poem::new(name, text), 0);
        let chunk_bytes = chunk_bytes
            .try_into()
            .map_err(|error| failed("a pace", &error))?;
        server.manner.pace = Some(Pace {
            chunk_bytes,
            delay: DELAY,
        });
        let (spec, handle) =
            tree::server_spec(name, server, &pool).map_err(|error| failed("a server", &error))?;
        specs.push(spec);
        servers.push(handle);
    }
    let server_root = tree::start_servers("servers", specs).await?;
    let targets = POEMS.iter().zip(&servers).map(|((name, _, _), server)| {
        Target::new(*name, Whereabouts::Addresses(server.local_addrs().to_vec()))
    });
    let begin = events_since(0).events.last().map_or(0, |event| event.seq);
    let (client_root, client, events) =
        tree::start_client("client", ClientConfig::new(targets.collect())).await?;
    let _ = told.send(Told::Say(format!(
        "three servers ({}) and a client, all of them actors",
        places(&servers)
    )));
    actix_rt::spawn(narrate(begin, told.clone()));
    let mut events = meddle(events, client.clone(), servers);
    forward(
        &mut events,
        &client,
        &mut signals,
        &mut Observer::default(),
        false,
        &told,
    )
    .await;
    let trees = tree_text(&Tree::now(), &Look::plain());
    tree::stop(&client_root, STOP_LIMIT).await;
    tree::stop(&server_root, STOP_LIMIT).await;
    Ok(trees.trim_end().to_owned())
}

fn places(servers: &[ServerHandle]) -> String {
    let ports: Vec<_> = servers
        .iter()
        .filter_map(|server| server.port())
        .map(|port| port.to_string())
        .collect();
    format!("ports {}", ports.join(", "))
}

/// Lets events pass, and at a third of the way does what the demonstration is for.
fn meddle(mut events: Events, client: ClientHandle, servers: Vec<ServerHandle>) -> Events {
    let (teller, passed) = telling();
    actix_rt::spawn(async move {
        let mut heard = [0; POEMS.len()];
        let mut done = HashSet::new();
        while let Some(event) = events.recv().await {
            if let Event::Chunk(chunk) = &event {
                heard[chunk.task] += chunk.bytes.len();
                let is_third = heard[chunk.task] * 3 >= POEMS[chunk.task].1.len();
                if is_third && done.insert(chunk.task) {
                    match chunk.task {
                        KILLED => kill_download(&client).await,
                        PANICKED => panic_connection(&servers[PANICKED]).await,
                        _ => {}
                    }
                }
            }
            if teller.tell(event).is_err() {
                return;
            }
        }
    });
    passed
}

async fn kill_download(client: &ClientHandle) {
    let Some(coordinator) = client.coordinator() else {
        return;
    };
    let downloads = coordinator.send(WhichDownloads).await.unwrap_or_default();
    let mut downloads = downloads.into_iter();
    let download = downloads.find(|(task, _)| *task == KILLED);
    if let Some(path) = download.and_then(|(_, pid)| path_of(pid)) {
        // If it has ended just now there is nothing to show, and the events say so.
        let _ = operate(Action::Kill, &path, &Operator::program("the demo")).await;
    }
}

async fn panic_connection(server: &ServerHandle) {
    let Some(server) = server.server() else {
        return;
    };
    let connections = server.send(WhichConnections).await.unwrap_or_default();
    for connection in connections
        .into_iter()
        .filter_map(ActorRef::<Connection>::of)
    {
        connection.do_send(Stumble);
    }
}

/// Tells what falls, why, and who picks it up.
async fn narrate(mut seq: u64, told: mpsc::Sender<Told>) {
    loop {
        for event in next_events(seq).await.events {
            seq = event.seq;
            let (Some(path), false) = (&event.path, event.incarnation == 0) else {
                continue;
            };
            let reason = event
                .reason
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            let note = event.note.as_deref().unwrap_or_default();
            let line = match event.kind {
                EventKind::Operator => note.to_owned(),
                EventKind::Exit if !event.reason.as_ref().is_some_and(ExitReason::is_normal) => {
                    format!("{path}#{} fell: {reason}", event.incarnation)
                }
                EventKind::Backoff => {
                    format!("{path}: its supervisor {note}, then starts it again")
                }
                EventKind::Restart => {
                    format!("{path}: restarted by {}", path.parent().unwrap_or(path))
                }
                _ => continue,
            };
            if told.send(Told::Say(line)).is_err() {
                return;
            }
        }
    }
}
