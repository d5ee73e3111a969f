//! Why a publish step did not produce a result.

use crate::work::runtime::WorkError;
use imgsrv_domain::ports::{BlobError, CatalogError, TrustedBlob};

/// The result of a step, or of a part of one.
pub(super) type Result<T, E = StepError> = std::result::Result<T, E>;

/// Why a step did not produce a result.
pub(super) enum StepError {
    /// Retrying would not help: the step fails for this reason.
    Permanent(String),
    /// The bytes of this blob are missing or damaged.
    Damaged(TrustedBlob),
    /// The infrastructure failed: the step is retried.
    Transient(WorkError),
}

impl From<CatalogError> for StepError {
    fn from(error: CatalogError) -> Self {
        Self::Transient(error.into())
    }
}

impl StepError {
    /// The bytes of `blob` could not be read.
    pub(super) fn reading(blob: &TrustedBlob, error: BlobError) -> Self {
        match error {
            BlobError::Damaged => Self::Damaged(blob.clone()),
            error @ (BlobError::Full(_) | BlobError::ReadOnly(_) | BlobError::Unavailable(_)) => {
                Self::Transient(error.into())
            }
        }
    }
}
