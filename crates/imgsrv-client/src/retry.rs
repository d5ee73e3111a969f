//! Trying again what may succeed.

use crate::error::Error;
use backon::{BackoffBuilder, ExponentialBuilder};
use std::{fmt, sync::Arc, time::Duration};
use tokio::time::Instant;

/// However little patience there is, a server has so long to answer.
const LEAST_TRY: Duration = Duration::from_secs(10);

type Notice = dyn Fn(&Error, Duration) + Send + Sync;

/// How long and how often a call is tried again.
#[derive(Clone)]
pub struct RetryPolicy {
    patience: Duration,
    first: Duration,
    max: Duration,
    notice: Option<Arc<Notice>>,
}

impl Default for RetryPolicy {
    /// Five minutes of trying, with delays of a quarter of a second up to ten.
    fn default() -> Self {
        let (patience, first, max) = (Duration::from_mins(5), Duration::from_millis(250), Duration::from_secs(10));
        Self { patience, first, max, notice: None }
    }
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy").field("patience", &self.patience).finish_non_exhaustive()
    }
}

impl RetryPolicy {
    /// The first error is the last.
    pub fn none() -> Self {
        Self { patience: Duration::ZERO, ..Self::default() }
    }

    /// The default delays, until `patience` has passed since the last thing that went through.
    pub fn for_up_to(patience: Duration) -> Self {
        Self { patience, ..Self::default() }
    }

    /// The same, with a first delay that doubles with each further failure up to `max`, and is lengthened at random by up
    /// to itself. A server may ask for more.
    #[must_use]
    pub fn delays_of(self, first: Duration, max: Duration) -> Self {
        Self { first, max, ..self }
    }

    /// The same, telling of each error that is tried again, and after what delay.
    #[must_use]
    pub fn noticed_by(self, notice: impl Fn(&Error, Duration) + Send + Sync + 'static) -> Self {
        Self { notice: Some(Arc::new(notice)), ..self }
    }

    pub(crate) fn attempts(&self) -> Attempts<'_> {
        Attempts { policy: self, delays: self.delays(), failing_since: None }
    }

    /// The tries of a call whose first one begins now: a server that hangs uses patience up as well.
    pub(crate) fn attempts_from_now(&self) -> Attempts<'_> {
        Attempts { failing_since: Some(Instant::now()), ..self.attempts() }
    }

    /// How long one try may take that could take `longest`.
    pub(crate) fn timeout(&self, longest: Duration) -> Duration {
        longest.min(self.patience.max(LEAST_TRY))
    }

    fn delays(&self) -> backon::ExponentialBackoff {
        let delays = ExponentialBuilder::default().with_min_delay(self.first).with_max_delay(self.max);
        delays.with_jitter().without_max_times().build()
    }
}

/// The tries of one call.
pub(crate) struct Attempts<'a> {
    policy: &'a RetryPolicy,
    delays: backon::ExponentialBackoff,
    failing_since: Option<Instant>,
}

impl Attempts<'_> {
    /// Waits for the next try, or gives `error` back when it was the last.
    pub(crate) async fn after(&mut self, error: Error) -> Result<(), Error> {
        let now = Instant::now();
        let since = *self.failing_since.get_or_insert(now);
        let delay = self.delays.next().unwrap_or(self.policy.max);
        let delay = error.retry_after().map_or(delay, |asked| delay.max(asked));
        if now + delay > since + self.policy.patience {
            return Err(error);
        }
        if let Some(notice) = &self.policy.notice {
            notice(&error, delay);
        }
        tokio::time::sleep(delay).await;
        Ok(())
    }

    /// Something got through: patience begins anew.
    pub(crate) fn moved(&mut self) {
        if self.failing_since.take().is_some() {
            self.delays = self.policy.delays();
        }
    }
}
