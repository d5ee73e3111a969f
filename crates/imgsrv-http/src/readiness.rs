//! Whether the server can serve requests, checked at most once per interval.

use imgsrv_api::FieldError;
use imgsrv_app::Adapters;
use imgsrv_domain::{error_chain, ports::CatalogError};
use std::{
    error::Error,
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

/// A check that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(2);
const UNREACHABLE: &str = "cannot be reached";

/// The readiness checks and their last result. Concurrent requests share one run of the checks.
pub(crate) struct Readiness {
    adapters: Adapters,
    max_age: Duration,
    last: Mutex<Option<(Instant, Vec<FieldError>)>>,
}

impl Readiness {
    /// Checks `adapters`; a result is reused for `max_age`.
    pub(crate) fn new(adapters: Adapters, max_age: Duration) -> Self {
        Self { adapters, max_age, last: Mutex::default() }
    }

    /// The checks that fail.
    pub(crate) async fn failures(&self) -> Vec<FieldError> {
        let mut last = self.last.lock().await;
        if let Some((since, failures)) = &*last
            && since.elapsed() < self.max_age
        {
            return failures.clone();
        }
        let (catalog, blobs) = tokio::join!(
            check("catalog", self.adapters.catalog.check(), |error| match error {
                CatalogError::Replaced(_) => "its file was removed or replaced",
                _ => UNREACHABLE,
            }),
            check("blob store", self.adapters.blobs.check(), |_| UNREACHABLE),
        );
        let failures: Vec<FieldError> = catalog.into_iter().chain(blobs).collect();
        *last = Some((Instant::now(), failures.clone()));
        failures
    }
}

/// `None` if the check succeeds in time. The cause of a failure is logged, never sent to clients.
async fn check<E: Error + 'static>(
    component: &str,
    checking: impl Future<Output = Result<(), E>>,
    reason: fn(&E) -> &'static str,
) -> Option<FieldError> {
    let (reason, cause) = match tokio::time::timeout(DEADLINE, checking).await {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => (reason(&error), error_chain::text(&error)),
        Err(_) => ("does not answer", format!("no response within {DEADLINE:?}")),
    };
    tracing::warn!(check = component, why = cause, "readiness check failed");
    Some(FieldError { field: component.to_owned(), reason: reason.to_owned() })
}
