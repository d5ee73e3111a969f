//! When to try again: capped exponential backoff and a circuit breaker. Pure; callers bring time and chance.

use crate::time::Timestamp;
use std::time::Duration;

/// Delays that double from `first` up to `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The delay after the first failure.
    pub first: Duration,
    /// No delay is longer.
    pub max: Duration,
}

impl Backoff {
    /// The delay after `failures` failures in a row, between half and the whole of the doubled delay.
    ///
    /// `chance` is a uniformly random number; it spreads callers that failed together ("equal jitter").
    pub fn delay(&self, failures: u32, chance: u32) -> Duration {
        let doubled =
            self.first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1).min(30)).unwrap_or(u32::MAX));
        let whole = doubled.min(self.max);
        whole / 2 + (whole / 2).mul_f64(f64::from(chance) / f64::from(u32::MAX))
    }
}

/// Stops a worker for a while once every one of its attempts fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    threshold: u32,
    cooldown: Duration,
    failures: u32,
    open_until: Option<Timestamp>,
}

impl Breaker {
    /// A closed breaker that opens for `cooldown` after `threshold` failures in a row (at least one).
    pub fn new(threshold: u32, cooldown: Duration) -> Self {
        Self { threshold: threshold.max(1), cooldown, failures: 0, open_until: None }
    }

    /// How many attempts failed since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Until when no attempt may be made, if that is after `now`.
    pub fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.open_until.filter(|until| *until > now)
    }

    /// Notes a success: the breaker closes.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.open_until = None;
    }

    /// Notes a failure; says whether it opened the breaker. After the cool-down one more failure opens it again.
    pub fn failed(&mut self, now: Timestamp) -> bool {
        self.failures = self.failures.saturating_add(1);
        let opens = self.failures >= self.threshold;
        if opens {
            self.open_until = Some(now.plus(self.cooldown));
        }
        opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn delays_double_up_to_the_cap_and_never_vanish() {
        let backoff = Backoff { first: SECOND, max: 60 * SECOND };
        assert_eq!(backoff.delay(1, u32::MAX), SECOND);
        assert_eq!(backoff.delay(3, u32::MAX), 4 * SECOND);
        assert_eq!(backoff.delay(3, 0), 2 * SECOND);
        assert_eq!(backoff.delay(4_000_000_000, u32::MAX), 60 * SECOND);
    }

    #[test]
    fn the_breaker_opens_after_failures_in_a_row_and_one_more_after_the_cooldown() {
        let mut breaker = Breaker::new(2, SECOND);
        let start = Timestamp::from_micros(0);
        assert!(!breaker.failed(start));
        breaker.succeeded();
        assert!(!breaker.failed(start));
        assert!(breaker.failed(start));
        assert_eq!(breaker.open_until(start), Some(start.plus(SECOND)));
        let later = start.plus(SECOND);
        assert_eq!(breaker.open_until(later), None);
        assert!(breaker.failed(later));
    }
}
