//! `byron get`: poems from servers, in order.
//!
//! The actors have a thread of their own; this one takes their events and writes the poems. A terminal or a pipe that does
//! not take bytes keeps this thread waiting, and through the credit of each poem, in the end, the servers: never the
//! actors' clocks.

mod presenter;
mod sink;

use std::collections::VecDeque;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::anyhow;
use byron_actors::tree::{self, ClientHandle, STOP_TIMEOUT};
use byron_actors::{
    ClientConfig, Edition, Event, Events, Expectation, Patience, PoemHash, Retries, Target, Title,
};
use byron_supervisors::ExitReason;
use tokio::time::{Instant, sleep_until};

pub(super) use self::presenter::Presenter;
pub(super) use self::sink::SinkError;
use super::endpoints::{SSL_NOTICE, transform_steps, whereabouts};
use super::{chaos, observed};
use crate::cli::{GetConfig, Verbosity};
use crate::exit_code::ExitCode;
use crate::host::signals::{Request, Signals};
use crate::host::{self, FOREVER, logs};
use crate::observe::{About, Observer, Order};
use crate::present::chaos::Outcome;

/// How often lines that show time are rewritten.
const TICK: Duration = Duration::from_millis(100);

/// How long an event may wait for others, if some were passed on just before: the writing thread is woken once for all
/// that comes in a hurry, and at once for what comes after a pause.
const GATHER: Duration = Duration::from_millis(5);

/// How long the actors may take to stop.
const STOP_LIMIT: Duration = Duration::from_secs(2).saturating_add(STOP_TIMEOUT);

/// What the actors' thread tells the one that writes.
pub(super) enum Told {
    /// Things happened to the poems, in this order.
    Events(VecDeque<Event>),
    /// Something for the person who watches.
    Say(String),
    /// Time has passed.
    Tick,
    /// A signal: the poems that are not whole are called off.
    Interrupted(Request),
}

/// Fetches the poems and prints them.
pub fn run(config: GetConfig) -> anyhow::Result<ExitCode> {
    // An attempt that fails is told with its retry; the reports of its end would say the same twice more.
    logs::init(config.verbosity, "off", "warn,byron_supervisors=off");
    let is_called_ssl = |target: &crate::endpoint::Target| target.endpoint.is_called_ssl();
    if config.verbosity > Verbosity::Quiet && config.targets.iter().any(is_called_ssl) {
        super::say(SSL_NOTICE);
    }
    let (sender, told) = mpsc::channel();
    let presenter = Presenter::new(&config)?;
    let ticks = presenter.wants_ticks();
    let client = client_config(&config)?;
    let rehearsing = chaos::begin(config.chaos.as_ref(), config.verbosity);
    let about = About {
        title: "get".to_owned(),
        endpoints: Vec::new(),
    };
    let observer = observed(&config.observe, config.verbosity, about)?;
    let actors = host::beside(move || gather(client, observer, ticks, sender));
    let outcome = presenter.present(&told);
    // If the output has failed there is nobody to fetch for, and the thread ends with the program.
    let gathered = match outcome {
        Ok(_) => Some(actors.join()),
        Err(_) => None,
    };
    if let Some(rehearsing) = rehearsing {
        rehearsing.conclude(match &gathered {
            Some(Ok(Ok((poems, lost)))) => Outcome::Got {
                poems: *poems as u64,
                poems_lost: *lost as u64,
            },
            _ => Outcome::Unknown,
        })?;
    }
    if let Some(gathered) = gathered {
        gathered
            .map_err(|_| anyhow!("the actors' thread panicked"))?
            .map_err(|reason| anyhow!("cannot start the downloads: {reason}"))?;
    }
    outcome
}

/// Runs one client to its end, on the actors' thread. Answers how many poems are whole, and how many are not.
async fn gather(
    config: ClientConfig,
    mut observer: Observer,
    ticks: bool,
    told: mpsc::Sender<Told>,
) -> Result<(usize, usize), ExitReason> {
    let asked = config.targets.len();
    let mut signals = Signals::listen()
        .map_err(|error| ExitReason::error(format!("cannot listen for signals: {error}")))?;
    let (root, handle, mut events) = tree::start_client("get", config).await?;
    observer.ready();
    let gathered = forward(
        &mut events,
        &handle,
        &mut signals,
        &mut observer,
        ticks,
        &told,
    )
    .await;
    tree::stop(&root, STOP_LIMIT).await;
    // A client that crashed has nothing whole to show.
    let (poems, failed) = gathered.counts.unwrap_or((0, asked));
    let code = match gathered.request {
        Some(request) if poems < asked => request.exit_code(),
        _ => ExitCode::of_poems(asked, failed),
    };
    observer.close(code).await;
    Ok((poems, failed))
}

/// What there is when a client is over.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// How many poems are whole, and how many failed; unknown if the client crashed.
    counts: Option<(usize, usize)>,
    /// What called it off.
    request: Option<Request>,
}

/// Passes events on until the last one, or until nobody takes them.
pub(super) async fn forward(
    events: &mut Events,
    handle: &ClientHandle,
    signals: &mut Signals,
    observer: &mut Observer,
    ticks: bool,
    told: &mpsc::Sender<Told>,
) -> Gathered {
    let mut tick = tokio::time::interval(TICK);
    let mut gathered = Gathered::default();
    // It takes nothing new and ends when all is there, also without being told to; at the latest when it was told to.
    let mut deadline = None;
    // Before that, what comes waits for more; the beginning is a hurry.
    let mut due = Instant::now() + GATHER;
    loop {
        let next = tokio::select! {
            events = events.gather(due) => match events {
                Some(events) => {
                    due = Instant::now() + GATHER;
                    Told::Events(events)
                }
                None => return gathered,
            },
            _ = tick.tick(), if ticks => Told::Tick,
            request = signals.end() => {
                if gathered.request.is_some() {
                    // Whoever asks twice does not want to wait for a terminal either.
                    std::process::exit(request.exit_code().number().into());
                }
                gathered.request = Some(request);
                handle.cancel();
                Told::Interrupted(request)
            }
            order = observer.order() => match order {
                Order::Drain(limit) => {
                    deadline = limit.map(|limit| Instant::now() + limit);
                    continue;
                }
                Order::Stop => {
                    gathered.request = Some(Request::Terminate);
                    handle.cancel();
                    Told::Interrupted(Request::Terminate)
                }
            },
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                deadline = None;
                gathered.request = Some(Request::Terminate);
                handle.cancel();
                Told::Interrupted(Request::Terminate)
            }
        };
        // What came before an interruption is told before it.
        let before = match next {
            Told::Interrupted(_) => Some(Told::Events(events.take())),
            _ => None,
        };
        for next in before.into_iter().chain([next]) {
            if let Told::Events(events) = &next
                && let Some(Event::Done { poems, failed }) = events.back()
            {
                gathered.counts = Some((*poems, *failed));
            }
            if told.send(next).is_err() {
                return gathered;
            }
        }
        if gathered.counts.is_some() {
            return gathered;
        }
    }
}

fn client_config(config: &GetConfig) -> anyhow::Result<ClientConfig> {
    let limit = |limit: Option<Duration>| limit.unwrap_or(FOREVER);
    let targets = config.targets.iter().map(|target| {
        Ok(Target {
            label: target.label(),
            whereabouts: whereabouts(&target.endpoint)?,
            title: target.title.as_deref().map(Title::new),
            frame: config.frame,
            connect_timeout: target.endpoint.connect_timeout,
            expectation: Expectation {
                poem_bytes_max: config.expected.bytes_max,
                bytes: config.expected.bytes,
                sha256: config.expected.sha256.map(PoemHash),
                allow_empty: config.expected.allow_empty,
            },
        })
    });
    Ok(ClientConfig {
        jobs: config.jobs,
        fail_fast: config.fail_fast,
        patience: Patience {
            connect_timeout: limit(config.connect_timeout),
            first_byte_timeout: limit(config.first_byte_timeout),
            idle_timeout: limit(config.idle_timeout),
            max_time: config.max_time,
        },
        retries: Retries {
            count: config.retries_max,
            delay: config.retry_delay,
        },
        edition: Edition {
            steps: transform_steps(&config.transforms)?,
            on_error: config.on_transform_error,
            timeout: config.transform_timeout,
        },
        ..ClientConfig::new(targets.collect::<anyhow::Result<_>>()?)
    })
}
