//! Retries of requests: attempt cap and backoff, the same for requests of `object_store` and our own.

use backon::ExponentialBuilder;
use object_store::{BackoffConfig, RetryConfig};
use std::time::Duration;

/// Retries after the first attempt.
const RETRIES: usize = 4;
const FIRST_DELAY: Duration = Duration::from_millis(100);
const MAX_DELAY: Duration = Duration::from_secs(3);

/// Retries of requests that `object_store` sends, for at most `timeout`.
pub(super) fn config(timeout: Duration) -> RetryConfig {
    let backoff = BackoffConfig { init_backoff: FIRST_DELAY, max_backoff: MAX_DELAY, base: 2.0 };
    RetryConfig { backoff, max_retries: RETRIES, retry_timeout: timeout }
}

/// Delays between further attempts. The jitter adds up to the whole delay, so that the longest is [`MAX_DELAY`].
pub(super) fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::new()
        .with_min_delay(FIRST_DELAY / 2)
        .with_max_delay(MAX_DELAY / 2)
        .with_max_times(RETRIES)
        .with_jitter()
}
