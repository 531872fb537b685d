//! The proxy: one upstream's poem for many readers. The protocol of a proxy, and the map of its parts.
//!
//! ```text
//! upstream ═══► fetch ─► flight ─► readers            while it is fetched
//!                          └─► cabinet ─► connections from then on
//! ```
//!
//! | file | actor | what it does |
//! | --- | --- | --- |
//! | `keeper` | [`Keeper`] | the cache actor of one upstream: begins fetches and watches them |
//! | `fetch` | [`Fetch`] | asks the upstream, once |
//! | `reader` | [`Reader`] | recites a poem while it is being fetched |
//!
//! | file | what it holds |
//! | --- | --- |
//! | `cache` | the rules: what is done for a reader who comes now; pure |
//! | `growing` | bytes that grow at the end while many read them; a value |
//! | `flight` | one poem on its way from the upstream to however many readers |
//! | `cabinet` | what the actors share: what is kept, the flight under way, the counts |
//! | `store` | what is kept, in a file |
//! | `report` | how a cache looks to a person |
//! | `story` | what the event log tells of a cache |
//!
//! What is kept is served as a poem server serves its poem, by a [`Connection`] that no other actor is involved in.
//!
//! # What a reader can rely on
//!
//! - It hears a whole poem and an end, or it is reset. The upstream's reset, an end before the known length, a crash of any
//!   actor and the end of the program are resets.
//! - An upstream that could not be reached, or closed without a word (unless empty poems are allowed), is a reset too: over
//!   plain TCP an empty poem cannot be told from a server that died while it accepted.
//! - A poem that is longer than allowed is cut off, that is, reset: to pass it on without holding it would let the slowest
//!   reader dictate the pace of all.
//! - If the upstream fails before a reader has heard a byte, it hears the old poem, within the limits of stale-if-error.

pub(crate) mod cabinet;
pub(crate) mod cache;
pub(crate) mod fetch;
pub(crate) mod flight;
mod growing;
pub(crate) mod keeper;
pub(crate) mod reader;
pub(crate) mod report;
pub(crate) mod store;
pub(crate) mod story;

use std::sync::Arc;
use std::time::Duration;

use byron_supervisors::{Name, StartDynamicChild, whereis_actor};

use self::cabinet::{Answer, Desk, Offer};
use self::cache::CacheRules;
use self::fetch::{FETCH_TIMEOUT, Transforms, Wanted};
use self::flight::Abandon;
use self::keeper::{Begin, Keeper};
use self::reader::{Manners, Reader, TurnedAway};
use self::store::{OpenStoreError, Store};
use crate::binding::BindServerError;
use crate::binding::ListenOn;
use crate::connect::Whereabouts;
use crate::connection::Connection;
use crate::download::{Expectation, Patience};
use crate::gate::Permit;
use crate::protocol::Protocol;
use crate::recital::Manner;
use crate::stream::Accepted;

/// By how much a reader's patience exceeds the fetch's own limits: time for the keeper to be restarted.
const WAIT_MARGIN: Duration = Duration::from_secs(5);

/// One upstream of a proxy, and where its poem is served.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// What people call it; also the key of its poem in a store.
    pub label: String,
    /// Where it is.
    pub whereabouts: Whereabouts,
    /// How long to wait for what.
    pub patience: Patience,
    /// What makes its poem whole; the longest that is fetched.
    pub expectation: Expectation,
    /// What its poem goes through before anybody hears of it.
    pub transforms: Transforms,
    /// Where its poem is served.
    pub listen: Vec<ListenOn>,
}

/// What a proxy serves, and how.
#[derive(Debug)]
pub struct ProxyConfig {
    /// Whose poems.
    pub upstreams: Vec<Upstream>,
    /// What is kept, and for how long.
    pub rules: CacheRules,
    /// What becomes of a fetch when its last reader leaves.
    pub abandon: Abandon,
    /// How readers are served; the upstreams' poems are framed as ours are.
    pub manner: Manner,
    /// Where what is kept survives the program; nowhere if not said.
    pub store: Option<Store>,
}

/// A proxy cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeProxyError {
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindServerError),
    /// Its store cannot be read.
    #[error(transparent)]
    Store(#[from] OpenStoreError),
}

/// The protocol of a proxy.
#[derive(Debug)]
pub(crate) struct Proxying {
    desk: Desk,
    keeper: Name,
    manners: Manners,
}

impl Proxying {
    pub(crate) fn new(desk: Desk, keeper: Name, manner: Manner, wanted: &Wanted) -> Self {
        Self {
            desk,
            keeper,
            manners: Manners {
                manner: Arc::new(manner),
                wait_timeout: longest_wait(wanted),
            },
        }
    }
}

/// The longest that a reader may have to wait for the next bytes if everybody does what they should.
fn longest_wait(wanted: &Wanted) -> Duration {
    let Patience {
        connect_timeout,
        first_byte_timeout,
        idle_timeout,
        max_time,
    } = wanted.patience;
    let wait = if wanted.transforms.steps.is_empty() {
        connect_timeout.saturating_add(first_byte_timeout.max(idle_timeout))
    } else {
        max_time.unwrap_or(FETCH_TIMEOUT)
    };
    wait.saturating_add(WAIT_MARGIN)
}

impl Protocol for Proxying {
    fn name(&self) -> &'static str {
        "proxy"
    }

    fn start(self: Arc<Self>, accepted: Accepted, permit: Permit) -> StartDynamicChild {
        let Answer {
            status,
            offer,
            begins,
        } = self.desk.ask();
        tracing::info!(upstream = %self.desk.label(), %status, "reader");
        if begins && let Some(keeper) = whereis_actor::<Keeper>(&self.keeper) {
            keeper.do_send(Begin(status));
        }
        let manners = self.manners.clone();
        match offer {
            Offer::Kept(text) => {
                let connection = Connection::new(accepted, text, manners.manner, permit);
                StartDynamicChild::once(move |_| connection)
            }
            Offer::Live { seat, or_kept } => {
                let reader = Reader::new(accepted, permit, seat, or_kept, manners);
                StartDynamicChild::once(move |_| reader)
            }
            Offer::Nothing(why) => {
                let turned_away = TurnedAway::new(accepted, permit, why);
                StartDynamicChild::once(move |_| turned_away)
            }
        }
    }
}
