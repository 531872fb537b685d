//! `byron serve`: poems for whoever connects.

mod ready;
mod watch;

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use actix::{Arbiter, System};
use anyhow::{Context, bail};
use byron_actors::tree::{self, ServerHandle};
use byron_actors::{
    BACKLOG, BindServerError, Drained, Interfaces, ListenOn, Manner, Pace, Poem, Recite,
    ServerConfig, TallyCounts,
};
use byron_supervisors::{ActorRef, ArbiterPool, Supervisor, exited, snapshot};
use futures_util::future::join_all;

use super::write_stdout;
use crate::cli::{ServeConfig, ServedPoem, Verbosity};
use crate::endpoint::{Host, Interface, ListenEndpoint, PoemSource};
use crate::exit_code::ExitCode;
use crate::host::signals::{Request, Signals};
use crate::host::{FOREVER, logs};
use crate::present::message::{cannot_listen, counted, elapsed_text, serving_line};

/// How long the tree may take to stop once the last reader has gone.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Serves until a signal, or until enough poems were served.
pub fn run(config: ServeConfig) -> anyhow::Result<ExitCode> {
    logs::init(config.verbosity, "warn", "info");
    // Before anything is bound: a poem that cannot be read is nobody's port.
    let poems = config
        .poems
        .iter()
        .map(|poem| read(&poem.source))
        .collect::<anyhow::Result<Vec<_>>>()?;
    System::new().block_on(serve(config, poems))
}

fn read(source: &PoemSource) -> anyhow::Result<Poem> {
    match source {
        PoemSource::File(path) => Ok(Poem::read(path)?),
        PoemSource::Stdin => Poem::read_from("standard input", io::stdin().lock())
            .context("cannot read the poem from standard input"),
    }
}

/// One poem at one endpoint.
struct Served {
    source: PoemSource,
    bytes: usize,
    handle: ServerHandle,
}

async fn serve(config: ServeConfig, poems: Vec<Poem>) -> anyhow::Result<ExitCode> {
    let signals = Signals::listen().context("cannot listen for signals")?;
    let say = Say(config.verbosity);
    let arbiters: Vec<_> = (0..arbiter_count()).map(|_| Arbiter::new()).collect();
    let pool = ArbiterPool::new(arbiters.iter().map(Arbiter::handle));

    let (mut specs, mut served) = (Vec::new(), Vec::new());
    for (ServedPoem { source, endpoints }, poem) in config.poems.iter().zip(poems) {
        for endpoint in endpoints {
            let id = format!("{}-{}", poem.title, served.len() + 1);
            let server = ServerConfig {
                poem: poem.clone(),
                listen: listen_on(endpoint)?,
                manner: manner(&config),
            };
            let (spec, handle) = tree::server_spec(id, server, &pool).map_err(explain)?;
            if endpoint.interface == Interface::Every {
                say.notice(&format!(
                    "port {} is open to everyone who can reach this machine",
                    handle.port()
                ));
            }
            specs.push(spec);
            served.push(Served {
                source: source.clone(),
                bytes: poem.text.len(),
                handle,
            });
        }
    }
    let root = match tree::start_servers("byron", specs).await {
        Ok(root) => root,
        Err(reason) => bail!("the servers did not start: {reason}"),
    };
    // Before anybody is told: a change after that must not be missed.
    if config.watch {
        watch(&served, say)?;
    }
    for server in &served {
        write_stdout(
            format!("{}\n", serving_line(&server.source, server.handle.port())).as_bytes(),
        )?;
        say.notice(&server.whereabouts());
    }
    ready::tell(
        &config,
        &served
            .iter()
            .map(|server| server.handle.port())
            .collect::<Vec<_>>(),
    )?;

    let code = run_until_over(&root, &served, &config, signals, say).await;
    tree::stop(&root, STOP_LIMIT).await;
    for arbiter in arbiters {
        arbiter.stop();
        let _ = arbiter.join();
    }
    Ok(code)
}

/// Waits for a signal, for the last of a limited number of readers, or for the supervisor to give up.
async fn run_until_over(
    root: &ActorRef<Supervisor>,
    served: &[Served],
    config: &ServeConfig,
    mut signals: Signals,
    say: Say,
) -> ExitCode {
    let all_over = join_all(served.iter().map(|server| server.handle.over()));
    tokio::pin!(all_over);
    let root_exit = exited(root.pid());
    tokio::pin!(root_exit);
    loop {
        tokio::select! {
            _ = &mut all_over => return ExitCode::Done,
            reason = &mut root_exit => {
                say.error(&format!("the root supervisor gave up ({reason}); -v says why, and so do the lines above"));
                return ExitCode::GaveUp;
            }
            request = signals.next() => match request {
                Request::ShowTree => say.error(&tree_text()),
                Request::Interrupt | Request::Terminate => return drain(served, config.drain, signals, say).await,
            },
        }
    }
}

/// Stops accepting, lets the poems under way finish, and cuts off those that take too long. A second signal does not wait.
async fn drain(served: &[Served], grace: Duration, mut signals: Signals, say: Say) -> ExitCode {
    let counts = served.iter().map(|server| server.handle.counts());
    let going: u64 = counts
        .map(|counts| counts.active.saturating_sub(counts.lingering))
        .sum();
    if going > 0 {
        say.notice(&format!(
            "{} still going; waiting up to {} for them (again: end now)",
            counted(going, "poem"),
            elapsed_text(grace)
        ));
    }
    let drain_all = |grace| join_all(served.iter().map(move |server| server.handle.drain(grace)));
    let drained: Vec<Drained> = tokio::select! {
        drained = drain_all(grace) => drained,
        _ = signals.end() => drain_all(Duration::ZERO).await,
    };
    say.notice(&total(served));
    let reset: usize = drained.iter().map(|drained| drained.reset).sum();
    if reset == 0 {
        return ExitCode::Done;
    }
    say.error(&format!("{} cut off", counted(reset as u64, "reader")));
    ExitCode::DrainExpired
}

fn total(served: &[Served]) -> String {
    let counts = served.iter().map(|server| server.handle.counts());
    let (mut poems, mut gone, mut bytes) = (0, 0, 0);
    for TallyCounts {
        served,
        client_gone,
        bytes: sent,
        ..
    } in counts
    {
        (poems, gone, bytes) = (poems + served, gone + client_gone, bytes + sent);
    }
    let left = if gone > 0 {
        format!(", {} left early", counted(gone, "reader"))
    } else {
        String::new()
    };
    format!(
        "served {}{left}, {}",
        counted(poems, "poem"),
        counted(bytes, "byte")
    )
}

fn tree_text() -> String {
    let trees: Vec<_> = snapshot().iter().map(ToString::to_string).collect();
    format!("this is the tree:\n{}", trees.join("\n"))
}

/// One arbiter for each processor: a connection lives on the one that accepted it.
fn arbiter_count() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn manner(config: &ServeConfig) -> Manner {
    Manner {
        pace: config.pace.map(|pace| Pace {
            chunk_bytes: pace.chunk_bytes,
            delay: pace.delay,
        }),
        connections_max: config.connections_max.get(),
        write_timeout: config.write_timeout.unwrap_or(FOREVER),
        linger_timeout: config.linger,
        readers: config.poems_max.map(|readers| readers.get() as u64),
    }
}

fn listen_on(endpoint: &ListenEndpoint) -> anyhow::Result<ListenOn> {
    let interfaces = match &endpoint.interface {
        Interface::Every => Interfaces::Every,
        Interface::Host(Host::Localhost) => Interfaces::Loopback,
        Interface::Host(Host::Ip(ip)) => Interfaces::These(vec![*ip]),
        Interface::Host(Host::Name(name)) => Interfaces::These(resolve(name)?),
    };
    Ok(ListenOn {
        interfaces,
        port: endpoint.port,
        backlog: endpoint.backlog.unwrap_or(BACKLOG),
    })
}

fn resolve(name: &str) -> anyhow::Result<Vec<IpAddr>> {
    let found = (name, 0)
        .to_socket_addrs()
        .with_context(|| format!("cannot listen on {name}: no address of that name"))?;
    let mut ips: Vec<_> = found.map(|found: SocketAddr| found.ip()).collect();
    ips.dedup();
    Ok(ips)
}

fn explain(error: BindServerError) -> anyhow::Error {
    let (listen_addr, kind) = match &error {
        BindServerError::AddressInUse(listen_addr) => (*listen_addr, io::ErrorKind::AddrInUse),
        BindServerError::NeedsPrivileges(listen_addr) => {
            (*listen_addr, io::ErrorKind::PermissionDenied)
        }
        BindServerError::NotAvailable(listen_addr) => {
            (*listen_addr, io::ErrorKind::AddrNotAvailable)
        }
        _ => return error.into(),
    };
    anyhow::Error::msg(cannot_listen(listen_addr, &kind.into()))
}

impl Served {
    fn whereabouts(&self) -> String {
        let places: Vec<_> = self
            .handle
            .local_addrs()
            .iter()
            .map(ToString::to_string)
            .collect();
        format!(
            "{} at {}, pid {}",
            counted(self.bytes as u64, "byte"),
            places.join(" and "),
            std::process::id()
        )
    }
}

/// Reads a file again when it changes; poems under way finish with the old text.
fn watch(served: &[Served], say: Say) -> anyhow::Result<()> {
    let servers: Vec<(PathBuf, ServerHandle)> = served
        .iter()
        .filter_map(|server| match &server.source {
            PoemSource::File(path) => Some((path.clone(), server.handle.clone())),
            PoemSource::Stdin => None,
        })
        .collect();
    let files: Vec<_> = servers.iter().map(|(path, _)| path.clone()).collect();
    watch::watch(&files, move |changed| match Poem::read(changed) {
        Ok(poem) => {
            say.notice(&format!(
                "{} has changed; {} from the next reader on",
                changed.display(),
                counted(poem.text.len() as u64, "byte")
            ));
            let of_file = servers.iter().filter(|(path, _)| path == changed);
            for server in of_file.filter_map(|(_, handle)| handle.server()) {
                server.do_send(Recite(poem.clone()));
            }
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            say.error(&format!(
                "{error}{}; the old text stays",
                cause.unwrap_or_default()
            ));
        }
    })
}

/// Lines for a person on standard error.
#[derive(Clone, Copy)]
struct Say(Verbosity);

impl Say {
    fn notice(self, line: &str) {
        if self.0 > Verbosity::Quiet {
            self.error(line);
        }
    }

    fn error(self, line: &str) {
        super::say(line);
    }
}
