//! Requests in flight on a connection, and when it is idle.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// The number of requests in flight on a connection.
#[derive(Clone, Default)]
pub(crate) struct InFlight(Arc<Counts>);

#[derive(Default)]
struct Counts {
    current: AtomicUsize,
    begun: AtomicUsize,
}

/// Counts a request as in flight until this is dropped.
pub(crate) struct InFlightRequest(InFlight);

impl InFlight {
    pub(crate) fn begin(&self) -> InFlightRequest {
        self.0.current.fetch_add(1, Ordering::SeqCst);
        self.0.begun.fetch_add(1, Ordering::SeqCst);
        InFlightRequest(self.clone())
    }

    /// Completes once no request was in flight or begun for `span`, and at most `span` later.
    pub(crate) async fn idle(&self, span: Duration) {
        let mut seen = None;
        loop {
            let begun = self.0.begun.load(Ordering::SeqCst);
            if self.0.current.load(Ordering::SeqCst) > 0 {
                seen = None;
            } else if seen == Some(begun) {
                return;
            } else {
                seen = Some(begun);
            }
            tokio::time::sleep(span).await;
        }
    }
}

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        self.0.0.current.fetch_sub(1, Ordering::SeqCst);
    }
}
