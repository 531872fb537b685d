//! Restart intensity: how many restarts in how long are too many. Pure: time comes in as `now`.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::snapshot::human;

/// How much of a supervisor's restart intensity is used: `3/10 in 10s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// Restarts in the window.
    pub used: usize,
    /// Restarts tolerated in the window; `u32::MAX` is as good as no limit.
    pub limit: u32,
    /// The window.
    pub period: Duration,
}

impl Budget {
    /// How many more restarts are tolerated now.
    pub fn left(&self) -> usize {
        (self.limit as usize).saturating_sub(self.used)
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.limit == u32::MAX {
            return write!(f, "{} in {}, no limit", self.used, human(self.period));
        }
        write!(f, "{}/{} in {}", self.used, self.limit, human(self.period))
    }
}

/// The sliding window of one supervisor, shared by all its children (`supervisor.erl`, `add_restart`).
///
/// OTP counts whole seconds, so its window is up to one second longer; this one is exact and includes its edge. It
/// keeps at most `limit + 1` instants and looks at one, where OTP walks a list.
#[derive(Debug, Clone)]
pub(crate) struct Intensity {
    limit: u32,
    period: Duration,
    recent: VecDeque<Instant>,
}

impl Intensity {
    pub(crate) fn new(limit: u32, period: Duration) -> Self {
        Self {
            limit,
            period,
            recent: VecDeque::new(),
        }
    }

    /// Counts a restart that is about to be tried; false if it is one too many.
    pub(crate) fn admit(&mut self, now: Instant) -> bool {
        self.forget(now);
        self.recent.push_back(now);
        self.recent.len() <= self.limit as usize
    }

    /// How many restarts are in the window.
    pub(crate) fn used(&self, now: Instant) -> usize {
        let is_old = |at: &Instant| !self.is_recent(*at, now);
        // They are in order; and as a rule none is old, just after a restart was counted.
        let old = if self.recent.front().is_some_and(is_old) {
            self.recent.partition_point(is_old)
        } else {
            0
        };
        self.recent.len() - old
    }

    /// The budget just after a restart was counted.
    pub(crate) fn budget_spent(&self) -> Budget {
        Budget {
            used: self.recent.len(),
            limit: self.limit,
            period: self.period,
        }
    }

    pub(crate) fn budget(&self, now: Instant) -> Budget {
        Budget {
            used: self.used(now),
            limit: self.limit,
            period: self.period,
        }
    }

    /// How long ago the restarts in the window were, oldest first; nothing where there is no limit to reach.
    pub(crate) fn ages(&self, now: Instant) -> Vec<Duration> {
        if self.limit == u32::MAX {
            return Vec::new();
        }
        let recent = self.recent.iter().filter(|at| self.is_recent(**at, now));
        recent
            .map(|at| now.saturating_duration_since(*at))
            .collect()
    }

    fn is_recent(&self, at: Instant, now: Instant) -> bool {
        now.saturating_duration_since(at) <= self.period
    }

    fn forget(&mut self, now: Instant) {
        while self
            .recent
            .front()
            .is_some_and(|at| !self.is_recent(*at, now))
        {
            self.recent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn admitted(limit: u32, period: Duration, at: &[u64]) -> Vec<bool> {
        let start = Instant::now();
        let mut intensity = Intensity::new(limit, period);
        at.iter()
            .map(|millis| intensity.admit(start + Duration::from_millis(*millis)))
            .collect()
    }

    #[test]
    fn intensity_zero_admits_no_restart() {
        assert_eq!(admitted(0, SECOND, &[0, 5000]), [false, false]);
    }

    #[test]
    fn one_more_than_the_limit_within_the_period_is_too_many() {
        assert_eq!(admitted(2, SECOND, &[0, 10, 20]), [true, true, false]);
    }

    #[test]
    fn the_window_slides_and_does_not_tumble() {
        assert_eq!(
            admitted(2, SECOND, &[0, 900, 1100, 1200]),
            [true, true, true, false]
        );
    }

    #[test]
    fn a_sustained_rate_below_the_limit_never_ends() {
        let at: Vec<_> = (0..1000).map(|n| n * 501).collect();
        assert!(
            admitted(2, SECOND, &at)
                .into_iter()
                .all(|is_admitted| is_admitted)
        );
    }

    #[test]
    fn the_edge_of_the_window_counts() {
        assert_eq!(admitted(1, SECOND, &[0, 1000]), [true, false]);
        assert_eq!(admitted(1, SECOND, &[0, 1001]), [true, true]);
    }

    #[test]
    fn restarts_leave_the_window_one_by_one_though_nobody_counts_another() {
        let start = Instant::now();
        let mut intensity = Intensity::new(3, SECOND);
        for millis in [0, 500, 900] {
            intensity.admit(start + Duration::from_millis(millis));
        }
        let used = |millis| intensity.used(start + Duration::from_millis(millis));
        assert_eq!([900, 1000, 1001, 1501, 1901].map(used), [3, 3, 2, 1, 0]);
    }

    #[test]
    fn memory_is_bounded_by_the_limit() {
        let start = Instant::now();
        let mut intensity = Intensity::new(3, SECOND * 3600);
        for _ in 0..4 {
            intensity.admit(start);
        }
        assert_eq!(intensity.recent.len(), 4);
        assert_eq!(intensity.used(start + SECOND * 3601), 0);
    }

    /// OTP's `add_restart`, as it is written: a list of all restarts, walked each time.
    fn naive(limit: u32, period: Duration, at: &[Instant]) -> Vec<bool> {
        let mut restarts = Vec::new();
        at.iter()
            .map(|now| {
                restarts.push(*now);
                restarts.retain(|restart| *now - *restart <= period);
                restarts.len() <= limit as usize
            })
            .collect()
    }

    proptest! {
        #[test]
        fn it_admits_what_a_list_of_all_restarts_admits(
            limit in 0u32..6,
            period in 1u64..50,
            gaps in vec(0u64..30, 0..60),
        ) {
            let start = Instant::now();
            let period = Duration::from_millis(period);
            let mut elapsed = Duration::ZERO;
            let at: Vec<_> = gaps
                .iter()
                .map(|gap| {
                    elapsed += Duration::from_millis(*gap);
                    start + elapsed
                })
                .collect();
            let wanted = naive(limit, period, &at);
            let mut intensity = Intensity::new(limit, period);
            for (now, wanted) in at.into_iter().zip(wanted) {
                let is_admitted = intensity.admit(now);
                prop_assert_eq!(is_admitted, wanted);
                prop_assert!(intensity.used(now) >= 1);
                // A supervisor ends with the first that is not admitted.
                if !is_admitted {
                    break;
                }
                prop_assert!(intensity.recent.len() <= limit as usize);
            }
        }
    }
}
