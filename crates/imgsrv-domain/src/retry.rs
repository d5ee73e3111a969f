//! Delays between retries.

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
