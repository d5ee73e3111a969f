//! The errors of PostgreSQL as errors of the catalog (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).

use crate::core::conflict;
use imgsrv_domain::ports::{CatalogError, Conflict};

pub(crate) fn map(error: sqlx::Error) -> CatalogError {
    let database = match &error {
        sqlx::Error::Database(database) => database,
        sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::BeginFailed
        | sqlx::Error::WorkerCrashed => return CatalogError::Unavailable(Box::new(error)),
        _ => return CatalogError::Backend(Box::new(error)),
    };
    let code = database.code().unwrap_or_default().into_owned();
    let broken = match (code.as_str(), code.get(..2).unwrap_or_default()) {
        // raise_exception: a guarding trigger.
        ("P0001", _) => conflict(database.message()),
        ("23505", _) => database.constraint().and_then(conflict),
        // An image was deleted and a version inserted at the same time: the second transaction reads again.
        ("23503", _) if database.constraint() == Some("versions_image") => Some(Conflict::StaleRevision),
        ("23503", _) => Some(Conflict::Forbidden),
        // serialization_failure, deadlock_detected, lock_not_available.
        ("40001" | "40P01" | "55P03", _) => return CatalogError::Retryable(Box::new(error)),
        ("53100", _) => return CatalogError::Full(Box::new(error)),
        // Connection failures, no resources, shutting down or cancelled, fenced off as a standby, I/O errors, and a
        // transaction ended because it idled.
        ("25006" | "25P03" | "57014", _) | (_, "08" | "53" | "57" | "58") => {
            return CatalogError::Unavailable(Box::new(error));
        }
        _ => None,
    };
    broken.map_or_else(|| CatalogError::Backend(Box::new(error)), CatalogError::Conflict)
}
