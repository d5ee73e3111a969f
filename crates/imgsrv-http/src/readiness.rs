//! Whether the server can serve, found out at most once per interval.

use imgsrv_api::FieldError;
use imgsrv_app::Adapters;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long a check may take before it counts as failed.
const DEADLINE: Duration = Duration::from_secs(2);

/// The last answer, and since when it stands. Whoever asks while it is being found out waits for it.
#[derive(Default)]
pub(crate) struct Readiness(Mutex<Option<(Instant, Vec<FieldError>)>>);

impl Readiness {
    /// The checks that fail, found out at most `age` ago.
    pub(crate) async fn failed(&self, adapters: &Adapters, age: Duration) -> Vec<FieldError> {
        let mut last = self.0.lock().await;
        if let Some((since, failed)) = &*last
            && since.elapsed() < age
        {
            return failed.clone();
        }
        let (catalog, blobs) = tokio::join!(
            check("catalog", async { adapters.catalog.check().await }),
            check("blob store", async { adapters.blobs.check().await }),
        );
        let failed: Vec<FieldError> = catalog.into_iter().chain(blobs).collect();
        *last = Some((Instant::now(), failed.clone()));
        failed
    }
}

/// `None` if the check succeeds in time. Why it does not is for the log only.
async fn check<E: std::error::Error>(what: &str, checking: impl Future<Output = Result<(), E>>) -> Option<FieldError> {
    let (reason, why) = match tokio::time::timeout(DEADLINE, checking).await {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => ("cannot be reached", format!("{error}{}", cause(&error))),
        Err(_) => ("does not answer", format!("no answer in {DEADLINE:?}")),
    };
    tracing::warn!(check = what, why, "not ready");
    Some(FieldError { field: what.to_owned(), reason: reason.to_owned() })
}

fn cause(error: &dyn std::error::Error) -> String {
    error.source().map(|source| format!(": {source}")).unwrap_or_default()
}
