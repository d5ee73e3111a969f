//! Work that runs to completion even when its caller is dropped.

use std::panic;
use tracing::Instrument;

/// Runs `work` in a task that continues when the returned future is dropped, as it is when a client disconnects.
pub(crate) async fn detached<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work.in_current_span()).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panicked) => panic::resume_unwind(panicked),
            // The runtime is shutting down, and the caller with it.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn work_ends_after_its_caller_was_dropped() {
        let (begin, begun) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        let work = detached(async move {
            begun.await.expect("the sender lives");
            end.send(()).expect("the receiver lives");
        });
        assert!(tokio::time::timeout(Duration::ZERO, work).await.is_err());
        begin.send(()).expect("the task lives");
        ended.await.expect("the task completed");
    }
}
