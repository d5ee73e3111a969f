//! Running work under a lease that is renewed meanwhile.

use crate::work::runtime::WorkError;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How work under a lease ended.
pub(crate) enum LeaseOutcome<T> {
    /// The work returned.
    Done(T),
    /// Another worker has reclaimed the lease: the result would be void.
    Lost,
    /// This process is stopping.
    Stopped,
}

/// Runs `work`, calling `renew` after each third of `term`. `renew` returns whether the lease still belongs to the caller;
/// when it fails, the next call may succeed before the lease expires.
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
                Err(error) => tracing::warn!(%error, "lease renewal failed"),
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
