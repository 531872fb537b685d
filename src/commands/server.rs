//! The running of a server, whatever it serves: arbiters, endpoints, announcements, signals, the drain and the exit code.
//!
//! `serve` and its kin make the specifications of their trees on the [`Ground`], [`start`](Ground::start) them, and let
//! [`Servers::run`] do the rest.

mod ready;

use std::thread;
use std::time::Duration;

use actix::Arbiter;
use anyhow::{Context, bail};
use byron_actors::tree::{self, ServiceHandle, UpstreamHandle};
use byron_actors::{Address, Courtesy, Drained, Frame, Limits, Manner};
use byron_supervisors::{ActorRef, ArbiterPool, ChildSpec, Supervisor, exited};
use futures_util::future::join_all;

use super::chaos::{self, Rehearsing};
pub(super) use super::endpoints::{SSL_NOTICE, explain, listen_on, nature, place_text};
use super::{observed, say, write_stdout};
use crate::cli::{ServerSettings, Verbosity};
use crate::endpoint::ListenEndpoint;
use crate::exit_code::ExitCode;
use crate::host::signals::{Request, Signals};
use crate::host::{FOREVER, stdio};
use crate::observe::history::story_of_end;
use crate::observe::model::{Endpoint, Tree};
use crate::observe::render::{Look, tree_text};
use crate::observe::{About, Observer, Order};
use crate::present::chaos::Outcome;
use crate::present::message::{counted, elapsed_text};

/// How long the tree may take to stop once the last reader has gone.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// What a program of servers stands on: signals from before the first socket, and an arbiter for each processor.
pub(super) struct Ground {
    signals: Signals,
    arbiters: Vec<Arbiter>,
    pool: ArbiterPool,
    rehearsing: Option<Rehearsing>,
    say: Say,
}

/// One thing that is served at one endpoint.
pub(super) struct Served {
    /// What it is called: the title of a poem.
    pub(super) title: String,
    /// The tutorial's line for it on standard output.
    pub(super) line: String,
    /// What a person may want to know besides where it is: `3003 bytes`.
    pub(super) detail: String,
    pub(super) handle: ServiceHandle,
}

/// Servers that were started.
pub(super) struct Servers {
    ground: Ground,
    root: ActorRef<Supervisor>,
    served: Vec<Served>,
    observer: Observer,
    settings: ServerSettings,
    /// What a reader is served: `poem`.
    unit: &'static str,
}

impl Ground {
    /// Takes the signals over, and starts the arbiters.
    pub(super) fn new(settings: &ServerSettings) -> anyhow::Result<Ground> {
        let signals = Signals::listen().context("cannot listen for signals")?;
        let arbiters: Vec<_> = (0..arbiter_count()).map(|_| Arbiter::new()).collect();
        Ok(Ground {
            signals,
            pool: ArbiterPool::new(arbiters.iter().map(Arbiter::handle)),
            arbiters,
            rehearsing: chaos::begin(settings.chaos.as_ref(), settings.verbosity),
            say: Say(settings.verbosity),
        })
    }

    /// The arbiters, for the trees.
    pub(super) fn pool(&self) -> &ArbiterPool {
        &self.pool
    }

    /// Where lines for a person go.
    pub(super) fn say(&self) -> Say {
        self.say
    }

    /// Starts the trees of what is served; each reader of it gets one `unit`.
    pub(super) async fn start(
        self,
        specs: Vec<ChildSpec>,
        served: Vec<Served>,
        settings: ServerSettings,
        unit: &'static str,
    ) -> anyhow::Result<Servers> {
        // Before anything is started: a name that is taken is no reason to stop readers who are being served.
        let observer = observed(&settings.observe, settings.verbosity, about(&served))?;
        match tree::start_servers("byron", specs).await {
            Ok(root) => Ok(Servers {
                ground: self,
                root,
                served,
                observer,
                settings,
                unit,
            }),
            Err(reason) => {
                // Who rehearses failures wants to know which one this was.
                if let Some(rehearsing) = self.rehearsing {
                    rehearsing.conclude(outcome(&served))?;
                }
                bail!("the servers did not start: {reason}")
            }
        }
    }
}

impl Servers {
    /// Whoever observes them can ask for these caches, and purge them.
    pub(super) fn show_caches(&self, caches: &[UpstreamHandle]) {
        self.observer.show_caches(caches.to_vec());
    }

    /// Says where they are, runs them until a signal, or until enough readers were served, and stops them.
    pub(super) async fn run(mut self) -> anyhow::Result<ExitCode> {
        self.announce()?;
        self.observer.ready();
        let code = self.run_until_over().await;
        tree::stop(&self.root, STOP_LIMIT).await;
        self.observer.close(code).await;
        for arbiter in self.ground.arbiters {
            arbiter.stop();
            let _ = arbiter.join();
        }
        if let Some(rehearsing) = self.ground.rehearsing {
            rehearsing.conclude(outcome(&self.served))?;
        }
        Ok(code)
    }

    fn is_on_stdio(&self) -> bool {
        self.served
            .iter()
            .any(|server| server.handle.is_connected())
    }

    fn announce(&self) -> anyhow::Result<()> {
        // With a connection on it, standard output is that reader's.
        let is_taken = self.is_on_stdio();
        for server in &self.served {
            if is_taken {
                self.ground.say.notice(&server.line);
            } else {
                write_stdout(format!("{}\n", server.line).as_bytes())?;
            }
            self.ground.say.notice(&server.whereabouts());
        }
        let handles: Vec<_> = self.served.iter().map(|server| &server.handle).collect();
        ready::tell(&self.settings, &handles)
    }

    /// Waits for a signal, for the last of a limited number of readers, or for the supervisor to give up.
    async fn run_until_over(&mut self) -> ExitCode {
        let Servers {
            ground: Ground { signals, say, .. },
            root,
            served,
            observer,
            settings,
            unit,
        } = self;
        let all_over = join_all(served.iter().map(|server| server.handle.over()));
        tokio::pin!(all_over);
        let root_exit = exited(root.pid());
        tokio::pin!(root_exit);
        let grace = loop {
            tokio::select! {
                _ = &mut all_over => return outcome_on_stdio(served, settings.linger),
                reason = &mut root_exit => {
                    let story = story_of_end(root.pid(), &Look::plain());
                    let story = story.map(|story| format!("; what led to it:\n{}", story.trim_end()));
                    say.error(&format!("the root supervisor gave up ({reason}){}", story.unwrap_or_default()));
                    return ExitCode::GaveUp;
                }
                request = signals.next() => match request {
                    Request::ShowTree => say.error(&picture()),
                    Request::Interrupt | Request::Terminate => break settings.drain,
                },
                order = observer.order() => match order {
                    Order::Stop => break settings.drain,
                    Order::Drain(limit) => break limit.unwrap_or(FOREVER),
                },
            }
        };
        drain(served, grace, unit, signals, observer, *say).await
    }
}

/// How the one connection on the standard streams ended, if there is one: its reader may have no other way to know.
fn outcome_on_stdio(served: &[Served], limit: Duration) -> ExitCode {
    let mut connections = served.iter().filter(|server| server.handle.is_connected());
    let is_whole = connections.all(|server| server.handle.counts().served > 0);
    if is_whole && stdio::is_carried(limit) {
        ExitCode::Done
    } else {
        ExitCode::SomeFailed
    }
}

/// Stops accepting, lets what is under way finish, and cuts off what takes too long. A second signal does not wait.
async fn drain(
    served: &[Served],
    grace: Duration,
    unit: &str,
    signals: &mut Signals,
    observer: &mut Observer,
    say: Say,
) -> ExitCode {
    let counts = served.iter().map(|server| server.handle.counts());
    let going: u64 = counts
        .map(|counts| counts.active.saturating_sub(counts.lingering))
        .sum();
    if going > 0 {
        let limit = match grace {
            FOREVER => String::new(),
            grace => format!(" up to {}", elapsed_text(grace)),
        };
        say.notice(&format!(
            "{} still going; waiting{limit} for them (again: end now)",
            counted(going, unit),
        ));
    }
    let drain_all = |grace| join_all(served.iter().map(move |server| server.handle.drain(grace)));
    let drained: Vec<Drained> = tokio::select! {
        drained = drain_all(grace) => drained,
        _ = signals.end() => drain_all(Duration::ZERO).await,
        _ = observer.order() => drain_all(Duration::ZERO).await,
    };
    say.notice(&total(served, unit));
    let reset: usize = drained.iter().map(|drained| drained.reset).sum();
    if reset == 0 {
        return ExitCode::Done;
    }
    say.error(&format!("{} cut off", counted(reset as u64, "reader")));
    ExitCode::DrainExpired
}

fn outcome(served: &[Served]) -> Outcome {
    let (mut readers_served, mut readers_reset) = (0, 0);
    for server in served {
        let counts = server.handle.counts();
        readers_served += counts.served;
        readers_reset += counts.reset;
    }
    Outcome::Served {
        readers_served,
        readers_reset,
    }
}

fn total(served: &[Served], unit: &str) -> String {
    let counts = served.iter().map(|server| server.handle.counts());
    let (mut units, mut gone, mut refused, mut bytes) = (0, 0, 0, 0);
    for counts in counts {
        units += counts.served;
        gone += counts.client_gone;
        refused += counts.refused;
        bytes += counts.bytes;
    }
    let besides = [(gone, "left early"), (refused, "refused")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!(", {} {what}", counted(count, "reader")));
    let besides: String = besides.collect();
    format!(
        "served {}{besides}, {}",
        counted(units, unit),
        counted(bytes, "byte")
    )
}

fn picture() -> String {
    let tree = tree_text(&Tree::now(), &Look::plain());
    format!("this is the tree:\n{}", tree.trim_end())
}

/// What others are told of the servers.
fn about(served: &[Served]) -> About {
    let endpoints = served.iter().flat_map(|server| {
        server.handle.addresses().iter().map(|local_addr| Endpoint {
            what: server.title.clone(),
            at: local_addr.to_string(),
            port: local_addr.internet().map(|addr| addr.port()),
        })
    });
    About {
        title: served
            .first()
            .map_or_else(String::new, |server| server.title.clone()),
        endpoints: endpoints.collect(),
    }
}

/// One arbiter for each processor: a connection lives on the one that accepted it.
fn arbiter_count() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// How readers are served, so far as it does not depend on what.
pub(super) fn manner(settings: &ServerSettings) -> Manner {
    Manner {
        pace: None,
        frame: Frame::Eof,
        connections_max: settings.connections_max.get(),
        write_timeout: settings.write_timeout.unwrap_or(FOREVER),
        linger_timeout: settings.linger,
        readers: settings.readers_max.map(|readers| readers.get() as u64),
    }
}

/// For how many peers a service is.
pub(super) fn limits(settings: &ServerSettings) -> Limits {
    Limits {
        connections_max: settings.connections_max.get(),
        connections: settings.readers_max.map(|readers| readers.get() as u64),
    }
}

/// How long a peer that asks may take for what, so far as it does not depend on the question.
pub(super) fn courtesy(settings: &ServerSettings) -> Courtesy {
    Courtesy {
        write_timeout: settings.write_timeout.unwrap_or(FOREVER),
        linger_timeout: settings.linger,
        ..Courtesy::default()
    }
}

impl Served {
    fn whereabouts(&self) -> String {
        let places: Vec<_> = self
            .handle
            .addresses()
            .iter()
            .map(Address::to_string)
            .collect();
        format!(
            "{} at {}, pid {}",
            self.detail,
            places.join(" and "),
            std::process::id()
        )
    }
}

/// Lines for a person on standard error.
#[derive(Clone, Copy)]
pub(super) struct Say(Verbosity);

impl Say {
    pub(super) fn notice(self, line: &str) {
        if self.0 > Verbosity::Quiet {
            self.error(line);
        }
    }

    pub(super) fn error(self, line: &str) {
        say(line);
    }

    /// A notice for whoever may not have meant to be open to the world.
    pub(super) fn openness(self, endpoint: &ListenEndpoint, handle: &ServiceHandle) {
        if endpoint.is_open_to_everyone() {
            self.notice(&format!(
                "{} is open to everyone who can reach this machine",
                place_text(handle)
            ));
        }
        if endpoint.is_called_ssl() {
            self.notice(SSL_NOTICE);
        }
    }
}
