//! A circuit breaker for workers.

use crate::time::Timestamp;
use std::time::Duration;

/// Pauses a worker whose every attempt fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    threshold: u32,
    cooldown: Duration,
    failures: u32,
    open_until: Option<Timestamp>,
}

impl Breaker {
    /// A closed breaker that opens for `cooldown` after `threshold` consecutive failures (at least one).
    pub fn new(threshold: u32, cooldown: Duration) -> Self {
        Self { threshold: threshold.max(1), cooldown, failures: 0, open_until: None }
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Until when no attempt may be made, if the breaker is open at `now`. It is closed if the clock was set back.
    pub fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.open_until.filter(|until| *until > now && until.since(now) <= self.cooldown)
    }

    /// Records a success: the breaker closes.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.open_until = None;
    }

    /// Records a failure; returns whether it opened the breaker. After the cool-down one more failure opens it again.
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
    fn breaker_opens_after_consecutive_failures_and_after_one_more_once_cooled_down() {
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

    #[test]
    fn breaker_is_closed_once_the_clock_was_set_back() {
        let mut breaker = Breaker::new(1, SECOND);
        let start = Timestamp::from_micros(1_000_000);
        assert!(breaker.failed(start));
        assert_eq!(breaker.open_until(Timestamp::from_micros(0)), None);
    }
}
