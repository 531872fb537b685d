//! How a cache looks to a person: [`CacheReport`]. Values only.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use byron_supervisors::Pid;

use super::cache::{CacheStatus, Freshness};
use crate::download::DownloadError;
use crate::wire::PoemHash;

/// How many readers got which status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatusCounts(pub(super) [u64; CacheStatus::ALL.len()]);

impl StatusCounts {
    /// How many readers got this one.
    pub fn of(&self, status: CacheStatus) -> u64 {
        self.0[status as usize]
    }

    /// How many readers came.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// How many of a hundred readers were served from the cache; `None` before the first.
    pub fn kept_percent(&self) -> Option<u64> {
        let kept = CacheStatus::ALL
            .into_iter()
            .filter(|status| status.is_kept());
        let kept: u64 = kept.map(|status| self.of(status)).sum();
        (kept * 100).checked_div(self.total())
    }
}

/// What is kept of one upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptReport {
    /// How long it is.
    pub bytes: usize,
    /// Its hash.
    pub sha256: PoemHash,
    /// How long ago it was whole.
    pub age: Duration,
    /// Whether it is fresh.
    pub freshness: Freshness,
}

/// A fetch under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchReport {
    /// The process, once it runs.
    pub pid: Option<Pid>,
    /// How many bytes are here.
    pub bytes: usize,
    /// How many readers listen.
    pub readers: usize,
}

/// How the cache of one upstream looks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheReport {
    /// Whose poem it is.
    pub upstream: Arc<str>,
    /// How many readers got which status.
    pub counts: StatusCounts,
    /// How often the upstream was asked.
    pub fetches: u64,
    /// What is kept.
    pub kept: Option<KeptReport>,
    /// The fetch under way.
    pub fetching: Option<FetchReport>,
    /// What the upstream's last failure said, if nothing has gone well since.
    pub complaint: Option<DownloadError>,
}

/// One line: `HIT 98%  1 poem 3.0kB fresh 1h42m`.
impl fmt::Display for CacheReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.counts.kept_percent() {
            Some(percent) => write!(f, "HIT {percent}%  ")?,
            None => f.write_str("no reader yet  ")?,
        }
        match &self.kept {
            None => f.write_str("nothing kept")?,
            Some(kept) => {
                write!(f, "1 poem {} ", Size(kept.bytes))?;
                match kept.freshness {
                    Freshness::Fresh(None) => f.write_str("fresh for ever")?,
                    Freshness::Fresh(Some(left)) => write!(f, "fresh {}", Span(left))?,
                    Freshness::Graced | Freshness::IfError => {
                        write!(f, "stale, {} old", Span(kept.age))?
                    }
                    Freshness::Spent => write!(f, "too old, {}", Span(kept.age))?,
                }
            }
        }
        if let Some(FetchReport { bytes, readers, .. }) = self.fetching {
            write!(f, "  fetching: {} so far, readers {readers}", Size(bytes))?;
        }
        if let Some(complaint) = &self.complaint {
            write!(f, "  last failure: {complaint}")?;
        }
        Ok(())
    }
}

/// Bytes as `615B`, `3.0kB`, `12MB`.
pub(super) struct Size(pub(super) usize);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 3] = ["kB", "MB", "GB"];
        if self.0 < 1000 {
            return write!(f, "{}B", self.0);
        }
        let mut amount = self.0 as f64 / 1000.0;
        let mut unit = 0;
        while amount >= 999.5 && unit + 1 < UNITS.len() {
            amount /= 1000.0;
            unit += 1;
        }
        let digits = usize::from(amount < 9.95);
        write!(f, "{amount:.digits$}{}", UNITS[unit])
    }
}

/// The two largest parts of a duration: `1h42m`, `9s`.
pub(super) struct Span(pub(super) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds}s"),
            (0, 0, _) => write!(f, "{minutes}m{:02}s", seconds % 60),
            (0, _, _) => write!(f, "{hours}h{minutes:02}m"),
            (_, _, _) => write!(f, "{days}d{hours:02}h"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(kept: Option<(usize, Freshness)>, counts: [u64; 8]) -> CacheReport {
        CacheReport {
            upstream: "127.0.0.1:10000".into(),
            counts: StatusCounts(counts),
            fetches: 1,
            kept: kept.map(|(bytes, freshness)| KeptReport {
                bytes,
                sha256: PoemHash([0; 32]),
                age: Duration::from_secs(7210),
                freshness,
            }),
            fetching: None,
            complaint: None,
        }
    }

    #[test]
    fn one_line_says_how_well_the_cache_does() {
        let fresh = Freshness::Fresh(Some(Duration::from_secs(6135)));
        assert_eq!(
            report(Some((3003, fresh)), [1, 0, 0, 0, 0, 49, 0, 0]).to_string(),
            "HIT 98%  1 poem 3.0kB fresh 1h42m"
        );
        assert_eq!(
            report(
                Some((64 << 20, Freshness::IfError)),
                [0, 0, 0, 1, 1, 0, 0, 0]
            )
            .to_string(),
            "HIT 100%  1 poem 67MB stale, 2h00m old"
        );
        let busy = CacheReport {
            fetching: Some(FetchReport {
                pid: None,
                bytes: 615,
                readers: 1000,
            }),
            complaint: Some(DownloadError::passing(
                crate::download::FailureKind::Refused,
                "connection refused",
            )),
            ..report(None, [0; 8])
        };
        assert_eq!(
            busy.to_string(),
            "no reader yet  nothing kept  fetching: 615B so far, readers 1000  last failure: connection refused"
        );
    }

    #[test]
    fn sizes_and_spans_are_short() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1.0kB"),
            (9949, "9.9kB"),
            (9950, "10kB"),
            (999_499, "999kB"),
            (999_500, "1.0MB"),
            (5_000_000_000, "5.0GB"),
        ] {
            assert_eq!(Size(bytes).to_string(), text);
        }
        for (seconds, text) in [(0, "0s"), (61, "1m01s"), (3600, "1h00m"), (90_000, "1d01h")] {
            assert_eq!(Span(Duration::from_secs(seconds)).to_string(), text);
        }
    }
}
