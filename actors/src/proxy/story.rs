//! What the event log tells of a cache: which fetches, and in which words. Values only.
//!
//! The log is one for the whole program and has an end; a cache that fetches for every reader must not wash it away. So a
//! fetch within [`STORY_INTERVAL`] of the last that was told is only counted, and one that is a reader's own, because
//! nothing is ever kept, is not told at all. The program's log has a line for each reader.

use std::time::Duration;

use super::cache::{CacheStatus, Freshness, Moment};
use super::flight::Ending;
use super::report::{CacheReport, Size, Span};

/// At most one fetch in so long is told.
pub(crate) const STORY_INTERVAL: Duration = Duration::from_millis(100);

/// Which fetches were told.
#[derive(Debug, Default)]
pub(crate) struct Story {
    last: Option<Moment>,
    untold: u64,
}

impl Story {
    /// A fetch begins; the words for it, if it is told.
    pub(crate) fn begin(&mut self, status: CacheStatus, now: Moment) -> Option<String> {
        if status == CacheStatus::Bypass {
            return None;
        }
        let is_soon = |last| now.since(last) < STORY_INTERVAL;
        if self.last.is_some_and(is_soon) {
            self.untold += 1;
            return None;
        }
        self.last = Some(now);
        let untold = match std::mem::take(&mut self.untold) {
            0 => String::new(),
            1 => "; one more since the last note".to_owned(),
            untold => format!("; {untold} more since the last note"),
        };
        Some(format!("{status}: asks the server{untold}"))
    }
}

/// What became of a fetch, and how the cache looks now.
pub(crate) fn end(ending: &Ending, report: &CacheReport) -> String {
    match (ending, &report.kept) {
        (Ending::Abandoned, _) => "cancelled: nobody waits any more".to_owned(),
        (Ending::Whole, Some(kept)) if matches!(kept.freshness, Freshness::Fresh(_)) => {
            format!("keeps a poem of {}", Size(kept.bytes))
        }
        (Ending::Whole, _) => "has passed on a poem, and keeps none".to_owned(),
        (Ending::Broken(error), Some(kept)) if kept.freshness != Freshness::Spent => {
            let age = Span(kept.age);
            format!("STALE: the old poem, {age} old, stands in: {error}")
        }
        (Ending::Broken(error), _) => format!("ERROR: no poem: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::download::{DownloadError, FailureKind};
    use crate::proxy::report::{KeptReport, StatusCounts};
    use crate::wire::PoemHash;

    fn at(ms: u64) -> Moment {
        Moment(Duration::from_millis(ms))
    }

    #[test]
    fn a_fetch_soon_after_another_is_counted_and_one_that_is_a_readers_own_is_not() {
        let mut story = Story::default();
        let mut begin = |status, now| story.begin(status, at(now));
        assert_eq!(begin(CacheStatus::Bypass, 0), None);
        assert_eq!(
            begin(CacheStatus::Miss, 0).as_deref(),
            Some("MISS: asks the server")
        );
        assert_eq!(begin(CacheStatus::Miss, 1), None);
        assert_eq!(begin(CacheStatus::Expired, 99), None);
        assert_eq!(
            begin(CacheStatus::Updating, 100).as_deref(),
            Some("UPDATING: asks the server; 2 more since the last note")
        );
        assert_eq!(
            begin(CacheStatus::Expired, 200).as_deref(),
            Some("EXPIRED: asks the server")
        );
    }

    #[test]
    fn the_end_of_a_fetch_says_what_readers_have_now() {
        let report = |freshness: Option<Freshness>| CacheReport {
            upstream: "127.0.0.1:10000".into(),
            counts: StatusCounts::default(),
            fetches: 1,
            kept: freshness.map(|freshness| KeptReport {
                bytes: 3003,
                sha256: PoemHash([0; 32]),
                age: Duration::from_secs(61),
                freshness,
            }),
            fetching: None,
            complaint: None,
        };
        let refused = || {
            let error = DownloadError::passing(FailureKind::Refused, "connection refused");
            Ending::Broken(error)
        };
        for (ending, freshness, said) in [
            (
                Ending::Whole,
                Some(Freshness::Fresh(None)),
                "keeps a poem of 3.0kB",
            ),
            (Ending::Whole, None, "has passed on a poem, and keeps none"),
            (
                Ending::Abandoned,
                Some(Freshness::IfError),
                "cancelled: nobody waits any more",
            ),
            (
                refused(),
                Some(Freshness::IfError),
                "STALE: the old poem, 1m01s old, stands in: connection refused",
            ),
            (
                refused(),
                Some(Freshness::Spent),
                "ERROR: no poem: connection refused",
            ),
            (refused(), None, "ERROR: no poem: connection refused"),
        ] {
            assert_eq!(end(&ending, &report(freshness)), said);
        }
    }
}
