//! The rules of the proxy's cache: what is done for a reader who comes now. Pure: no bytes, no sockets, no clock.
//!
//! [`Ledger`] is what is known of one upstream: what is kept, whether a fetch is under way, and what went wrong last. Each
//! of its functions takes `now` and answers what is to be done.
//!
//! ```text
//! fetched        ttl              + grace                          + stale_if_error
//!    ├────────────┼──────────────────┼───────────────────────────────────┤
//!    │    HIT     │     UPDATING     │ EXPIRED; STALE while it fails      │ EXPIRED
//!    │ from here  │ from here, and a │ the reader waits for a fetch, and  │ the reader waits
//!    │            │ fetch behind it  │ has the old poem if that fails     │ for a fetch
//! ```
//!
//! Both `grace` and `stale_if_error` count from the end of the freshness, be it the end of the TTL or a soft purge.

use std::fmt;
use std::time::Duration;

/// How long a poem is fresh, if nothing else is said (Part 14, exercise 2).
pub const TTL: Duration = Duration::from_secs(2 * 60 * 60);

/// How long after that it is still served while the next one is fetched, if nothing else is said (Varnish's default).
pub const GRACE: Duration = Duration::from_secs(10);

/// How long after that it is still served when it cannot be fetched, if nothing else is said.
pub const STALE_IF_ERROR: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a dead upstream is left alone, if nothing else is said.
pub const ERROR_TTL: Duration = Duration::from_secs(1);

/// How many bytes of poetry are kept in all, if nothing else is said.
pub const CACHE_BYTES_MAX: u64 = 64 << 20;

/// The longest poem that is fetched, if nothing else is said. Each poem under way is held whole, once for all its readers.
pub const PROXY_POEM_BYTES_MAX: u64 = 64 << 20;

/// A point of time: so long after the Unix epoch, by a clock that never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(pub Duration);

impl Moment {
    /// How long after another moment this one is; nothing if it is before.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// How long a poem is fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ttl {
    /// Not at all, and nothing is kept: only readers who come during a fetch share it.
    Coalesce,
    /// So long.
    For(Duration),
    /// Until it is purged, as the tutorial's proxy has it.
    Forever,
}

impl From<Duration> for Ttl {
    fn from(ttl: Duration) -> Self {
        if ttl.is_zero() {
            Self::Coalesce
        } else {
            Self::For(ttl)
        }
    }
}

/// The settings of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheRules {
    /// How long a poem is fresh.
    pub ttl: Ttl,
    /// How long after that it is served while the next one is fetched.
    pub grace: Duration,
    /// How long after that it is served when no fetch succeeds.
    pub stale_if_error: Duration,
    /// How long nobody asks an upstream again that could not be reached or said nothing.
    pub error_ttl: Duration,
    /// How many bytes are kept in all.
    pub bytes_max: u64,
}

impl Default for CacheRules {
    fn default() -> Self {
        Self {
            ttl: Ttl::For(TTL),
            grace: GRACE,
            stale_if_error: STALE_IF_ERROR,
            error_ttl: ERROR_TTL,
            bytes_max: CACHE_BYTES_MAX,
        }
    }
}

/// What the cache had to do with a reader's poem, in nginx's words and two of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CacheStatus {
    /// Nothing was kept; fetched.
    Miss,
    /// Nothing is ever kept; fetched.
    Bypass,
    /// What was kept is too old; fetched.
    Expired,
    /// What was kept is old, and no newer one can be had; served from the cache.
    Stale,
    /// What was kept is old, and a newer one is being fetched; served from the cache.
    Updating,
    /// Served from the cache.
    Hit,
    /// Somebody else's fetch was under way, and serves this reader too.
    Coalesced,
    /// The upstream failed a moment ago, and there is no old poem; reset.
    Error,
}

impl CacheStatus {
    /// Every status, in the order in which they are counted.
    pub const ALL: [Self; 8] = [
        Self::Miss,
        Self::Bypass,
        Self::Expired,
        Self::Stale,
        Self::Updating,
        Self::Hit,
        Self::Coalesced,
        Self::Error,
    ];

    /// The status in one upper-case word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Miss => "MISS",
            Self::Bypass => "BYPASS",
            Self::Expired => "EXPIRED",
            Self::Stale => "STALE",
            Self::Updating => "UPDATING",
            Self::Hit => "HIT",
            Self::Coalesced => "COALESCED",
            Self::Error => "ERROR",
        }
    }

    /// True if the poem came out of the cache.
    pub fn is_kept(self) -> bool {
        matches!(self, Self::Stale | Self::Updating | Self::Hit)
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How old is too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Served without a question, for so much longer; `None` for ever.
    Fresh(Option<Duration>),
    /// Served while the next one is fetched.
    Graced,
    /// Served if no fetch succeeds.
    IfError,
    /// Not served any more.
    Spent,
}

/// Something that is kept, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept<T> {
    /// What.
    pub(crate) what: T,
    /// When it was whole.
    pub(crate) fetched_at: Moment,
    /// When it was purged softly, if it was.
    pub(crate) outdated_at: Option<Moment>,
    /// When it was served last.
    pub(crate) used_at: Moment,
}

impl<T> Kept<T> {
    /// How old it is, measured by the rules.
    pub(crate) fn freshness(&self, rules: &CacheRules, now: Moment) -> Freshness {
        let ends_at = match rules.ttl {
            // Kept by an earlier run with other rules.
            Ttl::Coalesce => return Freshness::Spent,
            Ttl::For(ttl) => Some(Moment(self.fetched_at.0.saturating_add(ttl))),
            Ttl::Forever => None,
        };
        let ends_at = match (ends_at, self.outdated_at) {
            (Some(ends_at), Some(outdated_at)) => Some(ends_at.min(outdated_at)),
            (ends_at, outdated_at) => ends_at.or(outdated_at),
        };
        let Some(ends_at) = ends_at else {
            return Freshness::Fresh(None);
        };
        let stale_for = now.since(ends_at);
        if now < ends_at {
            Freshness::Fresh(Some(ends_at.since(now)))
        } else if stale_for < rules.grace {
            Freshness::Graced
        } else if stale_for < rules.grace.saturating_add(rules.stale_if_error) {
            Freshness::IfError
        } else {
            Freshness::Spent
        }
    }
}

/// What went wrong last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// When.
    pub(crate) at: Moment,
    /// The upstream was not reached, said nothing, or says what nobody wants; one that broke off in the middle of a poem
    /// is asked again at once.
    pub(crate) is_dead: bool,
}

/// What is to be done for a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The kept poem.
    Serve {
        /// `Hit`, `Stale` or `Updating`.
        status: CacheStatus,
        /// Whether a fetch is to begin behind it.
        refresh: bool,
    },
    /// What is being fetched. If that fails before this reader has heard a byte, the kept poem instead, if so said.
    Join {
        /// Whether the kept poem will do.
        or_kept: bool,
    },
    /// A fetch is to begin. If it fails before this reader has heard a byte, the kept poem instead, if so said.
    Fetch {
        /// `Miss`, `Bypass` or `Expired`.
        status: CacheStatus,
        /// Whether the kept poem will do.
        or_kept: bool,
    },
    /// Nothing can be had.
    Refuse,
}

impl Verdict {
    /// How the reader is counted.
    pub(crate) fn status(self) -> CacheStatus {
        match self {
            Self::Serve { status, .. } | Self::Fetch { status, .. } => status,
            Self::Join { .. } => CacheStatus::Coalesced,
            Self::Refuse => CacheStatus::Error,
        }
    }
}

/// What is known of one upstream.
#[derive(Debug, Clone)]
pub(crate) struct Ledger<T> {
    rules: CacheRules,
    kept: Option<Kept<T>>,
    fetch: Fetch,
    trouble: Option<Trouble>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fetch {
    None,
    UnderWay,
    /// A purge has come since it began: what it brings is what the purge was about.
    Purged,
}

impl<T> Ledger<T> {
    /// Nothing is known.
    pub(crate) fn new(rules: CacheRules) -> Self {
        Self {
            rules,
            kept: None,
            fetch: Fetch::None,
            trouble: None,
        }
    }

    /// What is kept.
    pub(crate) fn kept(&self) -> Option<&Kept<T>> {
        self.kept.as_ref()
    }

    /// What went wrong last, if nothing has gone well since.
    pub(crate) fn trouble(&self) -> Option<Trouble> {
        self.trouble
    }

    /// Takes up what an earlier run has kept.
    pub(crate) fn restore(&mut self, kept: Kept<T>) {
        self.kept = Some(kept);
    }

    /// A reader comes. Whoever asks must [`begin`](Self::begin) a fetch if the verdict says so.
    pub(crate) fn ask(&mut self, now: Moment) -> Verdict {
        let verdict = self.judge(now);
        if let (Verdict::Serve { .. }, Some(kept)) = (verdict, &mut self.kept) {
            kept.used_at = now;
        }
        verdict
    }

    fn judge(&self, now: Moment) -> Verdict {
        let is_fetching = self.fetch != Fetch::None;
        let recent = self
            .trouble
            .filter(|trouble| now.since(trouble.at) < self.rules.error_ttl);
        let freshness = self
            .kept
            .as_ref()
            .map(|kept| kept.freshness(&self.rules, now));
        let serve = |status, refresh| Verdict::Serve { status, refresh };
        match freshness {
            Some(Freshness::Fresh(_)) => serve(CacheStatus::Hit, false),
            Some(Freshness::Graced) if is_fetching => serve(CacheStatus::Updating, false),
            Some(Freshness::Graced) if recent.is_some() => serve(CacheStatus::Stale, false),
            Some(Freshness::Graced) => serve(CacheStatus::Updating, true),
            Some(Freshness::IfError) if is_fetching => Verdict::Join { or_kept: true },
            Some(Freshness::IfError) if recent.is_some() => serve(CacheStatus::Stale, false),
            Some(Freshness::IfError) => Verdict::Fetch {
                status: CacheStatus::Expired,
                or_kept: true,
            },
            None | Some(Freshness::Spent) if is_fetching => Verdict::Join { or_kept: false },
            None | Some(Freshness::Spent) if recent.is_some_and(|trouble| trouble.is_dead) => {
                Verdict::Refuse
            }
            spent => Verdict::Fetch {
                status: match (self.rules.ttl, spent) {
                    (Ttl::Coalesce, _) => CacheStatus::Bypass,
                    (_, Some(_)) => CacheStatus::Expired,
                    (_, None) => CacheStatus::Miss,
                },
                or_kept: false,
            },
        }
    }

    /// A fetch begins.
    pub(crate) fn begin(&mut self) {
        self.fetch = Fetch::UnderWay;
    }

    /// The fetch was called off, which says nothing about the upstream.
    pub(crate) fn call_off(&mut self) {
        self.fetch = Fetch::None;
    }

    /// The fetch has brought a whole poem of so many bytes. True if it is to be kept, and then it is.
    pub(crate) fn fetched(&mut self, what: T, bytes: u64, now: Moment) -> bool {
        let keeps = self.would_keep(bytes);
        self.fetch = Fetch::None;
        self.trouble = None;
        if keeps {
            self.kept = Some(Kept {
                what,
                fetched_at: now,
                outdated_at: None,
                used_at: now,
            });
        }
        keeps
    }

    /// Whether a poem of so many bytes would be kept if the fetch under way brought it.
    pub(crate) fn would_keep(&self, bytes: u64) -> bool {
        self.fetch != Fetch::Purged
            && self.rules.ttl != Ttl::Coalesce
            && bytes <= self.rules.bytes_max
    }

    /// The fetch has failed.
    pub(crate) fn failed(&mut self, is_dead: bool, now: Moment) {
        self.fetch = Fetch::None;
        self.trouble = Some(Trouble { at: now, is_dead });
    }

    /// Nothing that was asked for before now is served to whoever comes from here on, but for those who join the fetch
    /// under way. True if something was kept.
    pub(crate) fn purge(&mut self) -> bool {
        self.purge_fetch();
        self.kept.take().is_some()
    }

    /// What is kept is old from now on; it may still be served while the next one is fetched, or if that fails. True if
    /// something was kept.
    pub(crate) fn purge_softly(&mut self, now: Moment) -> bool {
        self.purge_fetch();
        let Some(kept) = &mut self.kept else {
            return false;
        };
        kept.outdated_at.get_or_insert(now);
        true
    }

    fn purge_fetch(&mut self) {
        if self.fetch == Fetch::UnderWay {
            self.fetch = Fetch::Purged;
        }
        // Whoever purges has reason to think that the upstream is well.
        self.trouble = None;
    }

    /// Makes room for another upstream's poem.
    pub(crate) fn evict(&mut self) -> bool {
        self.kept.take().is_some()
    }
}

/// A poem that takes room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Occupied {
    /// Whose it is.
    pub(crate) desk: usize,
    /// How long it is.
    pub(crate) bytes: u64,
    /// When it was served last.
    pub(crate) used_at: Moment,
}

/// Whose poems have to go so that another one of so many bytes fits: those that nobody has asked for the longest.
pub(crate) fn evictions(mut occupied: Vec<Occupied>, bytes: u64, bytes_max: u64) -> Vec<usize> {
    occupied.sort_by_key(|poem| poem.used_at);
    let mut total = occupied
        .iter()
        .fold(bytes, |total, poem| total.saturating_add(poem.bytes));
    let mut evicted = Vec::new();
    for poem in occupied {
        if total <= bytes_max {
            break;
        }
        total = total.saturating_sub(poem.bytes);
        evicted.push(poem.desk);
    }
    evicted
}

#[cfg(test)]
mod tests;
