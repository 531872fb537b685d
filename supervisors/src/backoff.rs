//! How long a supervisor waits before it tries a failed child again. Pure: chance comes in as a number.

use std::time::Duration;

/// A growing delay between restarts of one child, which OTP never got (erlang/otp#1287, EEP pull request 28).
///
/// While it waits, the child is in state `restarting(until)`: it can be seen, and terminated. The attempt counts in the
/// supervisor's intensity when it is made, like any other; [`gives_up_after`](Self::gives_up_after) says whether that
/// can ever add up to too many.
///
/// ```
/// # use std::time::Duration;
/// # use byron_supervisors::Backoff;
/// let backoff = Backoff { jitter: 0.0, ..Backoff::new(Duration::from_millis(200), Duration::from_secs(10)) };
/// let delays: Vec<_> = (1..=4).map(|failures| backoff.delay(failures, 0.5).as_millis()).collect();
/// assert_eq!(delays, [200, 400, 800, 1600]);
/// // "gives up after about 3 s of crashing"
/// assert_eq!(backoff.gives_up_after(3, Duration::from_secs(5)), Some(Duration::from_secs(3)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The first delay.
    pub min: Duration,
    /// No delay is longer, jitter included.
    pub max: Duration,
    /// Each delay is this many times the one before; at least 1.
    pub factor: f64,
    /// By how much a delay may differ, up or down, as a part of it: 0.1 is a tenth. From 0 to 1.
    pub jitter: f64,
    /// A child that has run this long begins at `min` again.
    pub reset_after: Duration,
    /// How often a child may fail in a row before it is given up; `None` leaves that to the intensity.
    pub max_failures: Option<u32>,
}

impl Backoff {
    /// Doubles from `min` to `max`, with a tenth of jitter; resets after 30 seconds of running.
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            factor: 2.0,
            jitter: 0.1,
            reset_after: Duration::from_secs(30),
            max_failures: None,
        }
    }

    /// The delay after so many failures in a row (1 for the first); `chance` from 0 to 1 places it within the jitter.
    pub fn delay(&self, failures: u32, chance: f64) -> Duration {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let plain = self.min.as_secs_f64() * self.factor.max(1.0).powi(exponent);
        let capped = plain.min(self.max.as_secs_f64());
        let jittered =
            capped * (1.0 + self.jitter.clamp(0.0, 1.0) * (chance.clamp(0.0, 1.0) * 2.0 - 1.0));
        Duration::try_from_secs_f64(jittered)
            .unwrap_or(self.max)
            .min(self.max)
    }

    /// After how long a child that always fails at once exceeds this intensity; `None` if it never does, and is retried
    /// for ever.
    pub fn gives_up_after(&self, intensity: u32, period: Duration) -> Option<Duration> {
        // The tightest window is the first: delays only grow.
        let first = self.delay(1, 0.5);
        (1..=intensity.saturating_add(1)).try_fold(Duration::ZERO, |sum, failures| {
            let sum = sum + self.delay(failures, 0.5);
            (sum - first <= period).then_some(sum)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;
    use crate::intensity::Intensity;

    fn plain() -> Backoff {
        Backoff {
            jitter: 0.0,
            ..Backoff::new(Duration::from_millis(200), Duration::from_secs(10))
        }
    }

    #[test]
    fn delays_double_up_to_the_maximum() {
        let delays: Vec<_> = (1..=8)
            .map(|failures| plain().delay(failures, 0.0).as_millis())
            .collect();
        assert_eq!(delays, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    }

    #[test]
    fn jitter_moves_a_delay_both_ways_and_never_above_the_maximum() {
        let backoff = Backoff {
            jitter: 0.5,
            ..plain()
        };
        assert_eq!(backoff.delay(1, 0.0), Duration::from_millis(100));
        assert_eq!(backoff.delay(1, 1.0), Duration::from_millis(300));
        assert_eq!(backoff.delay(99, 1.0), Duration::from_secs(10));
    }

    #[test]
    fn absurd_values_neither_panic_nor_exceed_the_maximum() {
        let backoff = Backoff {
            factor: f64::INFINITY,
            jitter: f64::NAN,
            ..plain()
        };
        for failures in [0, 1, 2, u32::MAX] {
            assert!(backoff.delay(failures, f64::NAN) <= backoff.max);
        }
    }

    #[test]
    fn a_backoff_that_spans_the_period_never_gives_up() {
        assert_eq!(
            plain().gives_up_after(3, Duration::from_secs(5)),
            Some(Duration::from_secs(3))
        );
        assert_eq!(plain().gives_up_after(10, Duration::from_secs(5)), None);
        assert_eq!(
            plain().gives_up_after(0, Duration::ZERO),
            Some(Duration::from_millis(200))
        );
    }

    prop_compose! {
        fn any_backoff()(
            min in 0u64..5_000,
            more in 0u64..60_000,
            factor in 1.0f64..4.0,
            jitter in 0.0f64..=1.0,
        ) -> Backoff {
            let min = Duration::from_millis(min);
            let max = min + Duration::from_millis(more);
            Backoff { factor, jitter, ..Backoff::new(min, max) }
        }
    }

    proptest! {
        #[test]
        fn a_delay_is_within_its_jitter_and_its_maximum(
            backoff in any_backoff(),
            failures in 0u32..100,
            chance in 0.0f64..=1.0,
        ) {
            let middle = backoff.delay(failures, 0.5).as_secs_f64();
            let delay = backoff.delay(failures, chance);
            prop_assert!(delay <= backoff.max);
            prop_assert!(delay.as_secs_f64() >= middle * (1.0 - backoff.jitter) - 1e-6);
            prop_assert!(delay.as_secs_f64() <= middle * (1.0 + backoff.jitter) + 1e-6);
        }

        #[test]
        fn delays_never_shrink(backoff in any_backoff(), failures in 1u32..100) {
            prop_assert!(backoff.delay(failures, 0.5) <= backoff.delay(failures + 1, 0.5));
        }

        #[test]
        fn giving_up_is_foretold_as_the_intensity_decides(
            backoff in any_backoff(),
            intensity in 0u32..6,
            period in 1u64..20_000,
        ) {
            let period = Duration::from_millis(period);
            let start = Instant::now();
            let mut window = Intensity::new(intensity, period);
            let mut elapsed = Duration::ZERO;
            // Long after the delays have reached their maximum.
            let gave_up = (1..200).find_map(|failures| {
                elapsed += backoff.delay(failures, 0.5);
                (!window.admit(start + elapsed)).then_some(elapsed)
            });
            prop_assert_eq!(backoff.gives_up_after(intensity, period), gave_up);
        }
    }
}
