//! The caches of a proxy, in the form that travels. Values only.

use std::collections::BTreeMap;

use byron_actors::{CacheReport, CacheStatus, Freshness};
use serde::{Deserialize, Serialize};

use super::model::VERSION;

/// Every cache of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Caches {
    /// The version of the format.
    pub v: u32,
    /// One for each upstream.
    pub caches: Vec<Cache>,
}

/// The cache of one upstream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cache {
    /// Whose poem it is.
    pub upstream: String,
    /// How it does, as a line: `HIT 98%  1 poem 3.0kB fresh 1h42m`.
    pub summary: String,
    /// What is kept.
    pub kept: Option<KeptPoem>,
    /// How many bytes of the next poem are here, while it is fetched.
    #[serde(default)]
    pub fetching_bytes: Option<u64>,
    /// How many readers listen to that.
    #[serde(default)]
    pub waiting: u64,
    /// How many readers got which status.
    pub readers: BTreeMap<String, u64>,
    /// How often the upstream was asked.
    pub fetches: u64,
    /// What its last failure said, if nothing has gone well since.
    #[serde(default)]
    pub last_failure: Option<String>,
}

/// A poem that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptPoem {
    /// How long it is.
    pub bytes: u64,
    /// Its hash.
    pub sha256: String,
    /// How many seconds ago it was whole.
    pub age_s: f64,
    /// `fresh`, `graced`, `if_error` or `spent`.
    pub freshness: String,
    /// For how many seconds it is fresh; absent if it is not, or for ever.
    #[serde(default)]
    pub fresh_for_s: Option<f64>,
}

/// What was purged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// The version of the format.
    pub v: u32,
    /// The upstreams of which something was kept.
    pub purged: Vec<String>,
    /// Those of which nothing was.
    pub empty: Vec<String>,
    /// The number of the event that tells of it.
    pub event: u64,
}

impl Caches {
    /// The caches as they are.
    pub fn new(reports: impl IntoIterator<Item = CacheReport>) -> Caches {
        Caches {
            v: VERSION,
            caches: reports.into_iter().map(Cache::from).collect(),
        }
    }
}

impl From<CacheReport> for Cache {
    fn from(report: CacheReport) -> Cache {
        let count = |status: CacheStatus| (status.name().to_owned(), report.counts.of(status));
        Cache {
            upstream: report.upstream.to_string(),
            summary: report.to_string(),
            kept: report.kept.map(|kept| {
                let (freshness, left) = match kept.freshness {
                    Freshness::Fresh(left) => ("fresh", left),
                    Freshness::Graced => ("graced", None),
                    Freshness::IfError => ("if_error", None),
                    Freshness::Spent => ("spent", None),
                };
                KeptPoem {
                    bytes: kept.bytes as u64,
                    sha256: kept.sha256.to_string(),
                    age_s: kept.age.as_secs_f64(),
                    freshness: freshness.to_owned(),
                    fresh_for_s: left.map(|left| left.as_secs_f64()),
                }
            }),
            fetching_bytes: report.fetching.map(|fetch| fetch.bytes as u64),
            waiting: report.fetching.map_or(0, |fetch| fetch.readers as u64),
            readers: CacheStatus::ALL.into_iter().map(count).collect(),
            fetches: report.fetches,
            last_failure: report.complaint.map(|complaint| complaint.to_string()),
        }
    }
}
