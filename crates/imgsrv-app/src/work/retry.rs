//! The delays between retries: of one decision in a fresh transaction, and of leased work.

use backon::{BackoffBuilder, ExponentialBuilder, Retryable};
use imgsrv_domain::ports::{CatalogError, Conflict};
use std::time::Duration;

/// Up to three retries of a decision, after at least 4, 8 and 16 ms.
const DECISION: ExponentialBuilder =
    ExponentialBuilder::new().with_min_delay(Duration::from_millis(4)).with_max_times(3).with_jitter();

/// Failures after which a delay has reached any maximum.
const DOUBLINGS: u32 = 64;

/// Whether a fresh transaction may succeed after an error. The outcome of the failed commit is always known.
pub(crate) trait Transient {
    fn is_transient(&self) -> bool;
}

impl Transient for CatalogError {
    fn is_transient(&self) -> bool {
        match self {
            Self::Retryable(_) => true,
            // A concurrent transaction committed first; a fresh one sees its result.
            Self::Conflict(conflict) => matches!(
                conflict,
                Conflict::StaleRevision
                    | Conflict::LiveJob
                    | Conflict::BlobDigest
                    | Conflict::PrincipalId
                    | Conflict::Identity
                    | Conflict::IdempotencyKey
            ),
            Self::InvalidCursor
            | Self::Unavailable(_)
            | Self::Full(_)
            | Self::ReadOnly(_)
            | Self::Replaced(_)
            | Self::Corrupt(_)
            | Self::Backend(_) => false,
        }
    }
}

/// Calls `attempt` until it succeeds, fails permanently, or has failed four times.
pub(crate) async fn retrying<T, E, Fut>(attempt: impl FnMut() -> Fut) -> Result<T, E>
where
    E: Transient,
    Fut: Future<Output = Result<T, E>> + Send,
{
    attempt.retry(DECISION).sleep(tokio::time::sleep).when(E::is_transient).await
}

/// Delays that double with each failure in a row up to a maximum.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    delays: ExponentialBuilder,
    max: Duration,
}

impl Backoff {
    /// Delays from `first` up to `max`, each shortened at random by up to half, so that callers that failed together do
    /// not retry together.
    pub fn new(first: Duration, max: Duration) -> Self {
        // The jitter adds up to the delay itself.
        let delays = ExponentialBuilder::new().with_min_delay(first / 2).with_max_delay(max / 2);
        Self { delays: delays.with_jitter().without_max_times(), max }
    }

    /// The longest delay.
    pub const fn longest(&self) -> Duration {
        self.max
    }

    /// The delays after so many failures in a row, all together.
    pub(crate) fn total(&self, failures: u32) -> Duration {
        let growing: Duration = self.delays.build().take(failures.min(DOUBLINGS) as usize).sum();
        growing.saturating_add((self.max / 2).saturating_mul(failures.saturating_sub(DOUBLINGS)))
    }

    /// The delay after `failures` failures in a row.
    pub fn delay(&self, failures: u32) -> Duration {
        let earlier = failures.saturating_sub(1).min(DOUBLINGS);
        self.delays.build().nth(earlier as usize).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn delays_double_up_to_the_maximum_and_never_vanish() {
        let backoff = Backoff::new(SECOND, 60 * SECOND);
        for (failures, whole) in [(0, 1), (1, 1), (3, 4), (7, 60), (4_000_000_000, 60)] {
            let (delay, whole) = (backoff.delay(failures), whole * SECOND);
            assert!((whole / 2..=whole).contains(&delay), "{delay:?} after {failures} failures");
        }
    }

    #[test]
    fn total_is_at_least_half_of_the_whole_delays_and_at_most_all_of_them() {
        let backoff = Backoff::new(SECOND, 60 * SECOND);
        for (failures, whole) in [(0, 0), (1, 1), (3, 7), (7, 123), (70, 123 + 63 * 60)] {
            let (total, whole) = (backoff.total(failures), whole * SECOND);
            assert!((whole / 2..=whole).contains(&total), "{total:?} after {failures} failures");
        }
        assert!(backoff.total(4_000_000_000) > 1_000_000_000 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn transient_errors_are_retried_three_times_and_permanent_ones_not_at_all() {
        let errors: [(fn() -> CatalogError, u32); 2] =
            [(|| CatalogError::Retryable("busy".into()), 4), (|| CatalogError::Backend("broken".into()), 1)];
        for (error, attempts) in errors {
            let made = Cell::new(0);
            let failed: Result<(), CatalogError> = retrying(|| {
                made.set(made.get() + 1);
                std::future::ready(Err(error()))
            })
            .await;
            assert!(failed.is_err());
            assert_eq!(made.get(), attempts);
        }
    }
}
