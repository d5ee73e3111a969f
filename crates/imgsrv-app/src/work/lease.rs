//! Holding a lease while working under it.

use crate::work::runtime::WorkError;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How work under a lease came to its end.
pub(crate) enum LeaseOutcome<T> {
    /// The work did.
    Done(T),
    /// Another worker took it over; the result would be void.
    Lost,
    /// This process is stopping.
    Stopped,
}

/// Runs `work`, calling `renew` at a third of `term`; `renew` says whether the lease is still held. An error of
/// `renew` is left to the next turn: the lease outlives one failure.
pub(crate) async fn run_with_lease<T, R, Fut>(
    term: Duration,
    stop: &CancellationToken,
    work: impl Future<Output = T>,
    mut renew: R,
) -> LeaseOutcome<T>
where
    R: FnMut() -> Fut,
    Fut: Future<Output = Result<bool, WorkError>>,
{
    let lost = async {
        loop {
            tokio::time::sleep(term / 3).await;
            match renew().await {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => tracing::warn!(%error, "a lease could not be renewed"),
            }
        }
    };
    tokio::select! {
        biased;
        done = work => LeaseOutcome::Done(done),
        () = lost => LeaseOutcome::Lost,
        () = stop.cancelled() => LeaseOutcome::Stopped,
    }
}
