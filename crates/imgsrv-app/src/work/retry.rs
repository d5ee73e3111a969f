//! Running a decision again when a fresh transaction may cure what failed.

use crate::error::UseCaseError;
use imgsrv_domain::ports::{CatalogError, Conflict};
use std::time::Duration;

const ATTEMPTS: u32 = 4;

/// Whether an error may be cured by a fresh transaction. The outcome of a commit is always known to these.
pub(crate) trait Transient {
    fn is_transient(&self) -> bool;
}

impl Transient for CatalogError {
    fn is_transient(&self) -> bool {
        match self {
            Self::Retryable(_) => true,
            // Somebody else was first, beside this: the fresh transaction sees what they left.
            Self::Conflict(conflict) => matches!(
                conflict,
                Conflict::StaleRevision
                    | Conflict::LiveJob
                    | Conflict::BlobDigest
                    | Conflict::PrincipalId
                    | Conflict::Identity
            ),
            Self::InvalidCursor | Self::Unavailable(_) | Self::Full(_) | Self::Backend(_) => false,
        }
    }
}

impl Transient for UseCaseError {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Catalog(error) if error.is_transient())
    }
}

/// Calls `attempt` until it succeeds, fails for good, or has failed four times.
pub(crate) async fn retrying<T, E, Fut>(mut attempt: impl FnMut() -> Fut) -> Result<T, E>
where
    E: Transient,
    Fut: Future<Output = Result<T, E>> + Send,
{
    let mut failures = 0;
    loop {
        match attempt().await {
            Err(error) if error.is_transient() && failures + 1 < ATTEMPTS => failures += 1,
            done => return done,
        }
        let spread = u64::from(random() % 8);
        tokio::time::sleep(Duration::from_millis((1 << failures) * 2 + spread)).await;
    }
}

/// A random number for spreading retries; zero when the system gives none.
pub(crate) fn random() -> u32 {
    getrandom::u32().unwrap_or(0)
}
