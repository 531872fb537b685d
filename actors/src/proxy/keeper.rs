//! [`Keeper`]: the cache actor of one upstream.
//!
//! Started by the upstream's supervisor, between the fetches and the services. Begins the fetches that readers ask for, and
//! watches them. What it knows is in its desk, which it shares with the readers'
//! connections and the fetches: when it crashes, a fetch under way goes on and brings its readers the whole poem, what is
//! kept is kept, and its next incarnation takes both up. Never sees a byte of poetry.

use std::sync::Arc;

use actix::fut::{ActorFutureExt, wrap_future};
use actix::{Actor, AsyncContext, Handler, Message};
use byron_supervisors::{Context, Down, DynamicSupervisor, Name, StartDynamicChild, whereis_actor};

use super::cabinet::Desk;
use super::cache::CacheStatus;
use super::fetch::{Fetch, Wanted};
use super::flight::Flight;
use super::story::{self, Story};
use crate::download::{DownloadError, FailureKind};

/// Keeps the poem of one upstream.
#[derive(Debug)]
pub struct Keeper {
    wanted: Arc<Wanted>,
    desk: Desk,
    /// The name of the supervisor of the fetches.
    fetches: Name,
    story: Story,
    /// The fetch whose beginning the event log has, and not yet its end.
    told: Option<Arc<Flight>>,
}

impl Keeper {
    pub(crate) fn new(wanted: Arc<Wanted>, desk: Desk, fetches: Name) -> Self {
        Self {
            wanted,
            desk,
            fetches,
            story: Story::default(),
            told: None,
        }
    }

    fn tell_begin(&mut self, status: CacheStatus, ctx: &Context<Self>) {
        self.tell_end(ctx);
        let is_new = |flight: &Arc<Flight>| flight.fetch().is_none();
        if let Some(flight) = self.desk.flight().filter(is_new)
            && let Some(words) = self.story.begin(status, self.desk.now())
        {
            ctx.note(words);
            self.told = Some(flight);
        }
    }

    fn tell_end(&mut self, ctx: &Context<Self>) {
        if let Some(ending) = self.told.as_ref().and_then(|flight| flight.ending()) {
            self.told = None;
            ctx.note(story::end(&ending, &self.desk.report()));
        }
    }

    /// Sees to it that the flight there is has a fetch, and that its end is noticed.
    fn look_after_flight(&mut self, ctx: &mut Context<Self>) {
        let Some(flight) = self.desk.flight() else {
            return;
        };
        match flight.fetch() {
            Some(fetch) => {
                ctx.monitor(fetch);
            }
            None => self.start_fetch(flight, ctx),
        }
    }

    fn start_fetch(&mut self, flight: Arc<Flight>, ctx: &mut Context<Self>) {
        let Some(fetches) = whereis_actor::<DynamicSupervisor>(&self.fetches) else {
            flight.break_off(not_started("its supervisor is being restarted"));
            return self.desk.look_after_flight();
        };
        let (wanted, desk) = (Arc::clone(&self.wanted), self.desk.clone());
        let of_fetch = Arc::clone(&flight);
        let started = fetches.send(StartDynamicChild::once(move |_| {
            Fetch::new(wanted, desk, of_fetch)
        }));
        let watch =
            wrap_future(started).map(move |started, keeper: &mut Self, ctx| match started {
                Ok(Ok(Some(fetch))) => {
                    ctx.monitor(fetch);
                }
                Ok(Ok(None)) => {}
                Ok(Err(error)) => keeper.give_up(&flight, error.to_string()),
                Err(error) => keeper.give_up(&flight, error.to_string()),
            });
        ctx.spawn(watch);
    }

    fn give_up(&mut self, flight: &Flight, why: String) {
        flight.break_off(not_started(why));
        self.desk.look_after_flight();
    }
}

fn not_started(why: impl std::fmt::Display) -> DownloadError {
    DownloadError::passing(FailureKind::Io, format!("the fetch did not start: {why}"))
}

impl Actor for Keeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let desk = self.desk.clone();
        ctx.describe(move || vec![("cache", desk.report().to_string())]);
        self.look_after_flight(ctx);
    }
}

/// A reader's flight needs a fetch. Sent by the readers' protocol, which has put the flight on the desk before: should this
/// message be lost, the next incarnation finds it there.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(crate) struct Begin(
    /// What the reader was told.
    pub(crate) CacheStatus,
);

impl Handler<Begin> for Keeper {
    type Result = ();

    fn handle(&mut self, Begin(status): Begin, ctx: &mut Context<Self>) {
        self.tell_begin(status, ctx);
        self.look_after_flight(ctx);
    }
}

/// A fetch has ended. One that crashed has broken its flight, and the desk has yet to hear of it.
impl Handler<Down> for Keeper {
    type Result = ();

    fn handle(&mut self, _: Down, ctx: &mut Context<Self>) {
        self.tell_end(ctx);
        self.look_after_flight(ctx);
    }
}
