//! Retries of transient errors, and the delays between polls.

use crate::error::Error;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use std::{fmt, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Between polls of a state that the server is about to change.
const POLL_DELAYS: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(20))
    .with_max_delay(Duration::from_secs(1))
    .without_max_times();
/// A server has at least this long to respond, however short the retry limit is.
const MIN_TIMEOUT: Duration = Duration::from_secs(10);

type OnRetry = dyn Fn(&Error, Duration) + Send + Sync;

/// How long, and with which delays, a call is retried.
#[derive(Clone)]
#[must_use]
pub struct RetryPolicy {
    limit: Duration,
    delays: ExponentialBuilder,
    on_retry: Option<Arc<OnRetry>>,
}

impl Default for RetryPolicy {
    /// Retries for five minutes, with delays from a quarter of a second to ten seconds.
    fn default() -> Self {
        Self::for_up_to(Duration::from_mins(5))
    }
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl RetryPolicy {
    /// Never retries.
    pub fn none() -> Self {
        Self::for_up_to(Duration::ZERO)
    }

    /// The default delays, until nothing has succeeded for `limit`.
    pub fn for_up_to(limit: Duration) -> Self {
        let delays = ExponentialBuilder::new().with_jitter().without_max_times();
        let policy = Self { limit, delays, on_retry: None };
        policy.with_delays(Duration::from_millis(250), Duration::from_secs(10))
    }

    /// The same with other delays: the first is `min`, each further one twice the last up to `max`, and each is extended
    /// by up to its own length at random. A server may ask for longer ones.
    pub fn with_delays(self, min: Duration, max: Duration) -> Self {
        Self { delays: self.delays.with_min_delay(min).with_max_delay(max), ..self }
    }

    /// The same, calling `observer` with each error that is retried and the delay before the retry.
    pub fn on_retry(self, observer: impl Fn(&Error, Duration) + Send + Sync + 'static) -> Self {
        Self { on_retry: Some(Arc::new(observer)), ..self }
    }

    /// Retries of a call whose retry limit starts with its first error.
    pub(crate) fn retries(&self) -> Retries<'_> {
        Retries { policy: self, delays: self.delays.build(), failing_since: None }
    }

    /// Retries of a call whose retry limit starts now, so that a server that hangs uses it up as well.
    pub(crate) fn retries_from_now(&self) -> Retries<'_> {
        Retries { failing_since: Some(Instant::now()), ..self.retries() }
    }

    /// The timeout of one attempt that may take up to `longest`.
    pub(crate) fn timeout(&self, longest: Duration) -> Duration {
        longest.min(self.limit.max(MIN_TIMEOUT))
    }
}

/// The retries of one call.
pub(crate) struct Retries<'a> {
    policy: &'a RetryPolicy,
    delays: ExponentialBackoff,
    failing_since: Option<Instant>,
}

impl Retries<'_> {
    /// Waits until the call may be retried; `error` itself if it is permanent or the retry limit is reached.
    pub(crate) async fn wait_after(&mut self, error: Error) -> Result<(), Error> {
        let Some(delay) = self.delays.next() else { return Err(error) };
        let delay = error.retry_after().map_or(delay, |asked| delay.max(asked));
        let now = Instant::now();
        let since = *self.failing_since.get_or_insert(now);
        if !error.is_transient() || now + delay > since + self.policy.limit {
            return Err(error);
        }
        if let Some(on_retry) = &self.policy.on_retry {
            on_retry(&error, delay);
        }
        tokio::time::sleep(delay).await;
        Ok(())
    }

    /// Resets delays and retry limit after progress.
    pub(crate) fn reset(&mut self) {
        *self = self.policy.retries();
    }
}

/// The delays between polls, which grow.
pub(crate) struct PollDelays(ExponentialBackoff);

impl PollDelays {
    pub(crate) fn new() -> Self {
        Self(POLL_DELAYS.build())
    }

    /// Waits until the next poll.
    pub(crate) async fn wait(&mut self) {
        if let Some(delay) = self.0.next() {
            tokio::time::sleep(delay).await;
        }
    }
}
