//! Errors of the folder store, and work on blocking threads.

use crate::observe::Outcome;
use imgsrv_domain::ports::{BlobError, IngestError, StageError};
use std::io;
use tracing::Span;

/// Runs `work` on a blocking thread, in the caller's span. It starts at once, and runs to its end even if the returned
/// future is dropped.
pub(super) fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> impl Future<Output = Result<T, E>> + Send
where
    T: Send + 'static,
    E: From<BlobError> + Send + 'static,
{
    let span = Span::current();
    let task = tokio::task::spawn_blocking(move || span.in_scope(work));
    async move { task.await.map_err(BlobError::unavailable)? }
}

/// Maps an error of the operating system.
pub(super) fn failed(error: io::Error) -> BlobError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BlobError::Full(Box::new(error)),
        _ => BlobError::unavailable(error),
    }
}

impl From<&BlobError> for Outcome {
    fn from(error: &BlobError) -> Self {
        match error {
            BlobError::Damaged => Self::NotFound,
            BlobError::Full(_) | BlobError::Unavailable(_) => Self::Error,
        }
    }
}

impl From<&StageError> for Outcome {
    fn from(error: &StageError) -> Self {
        match error {
            StageError::Body(_) => Self::Canceled,
            StageError::TooLarge | StageError::Checksum { .. } => Self::Invalid,
            StageError::Blob(error) => error.into(),
        }
    }
}

impl From<&IngestError> for Outcome {
    fn from(error: &IngestError) -> Self {
        match error {
            IngestError::Mismatch { .. } => Self::Invalid,
            IngestError::StagedGone => Self::NotFound,
            IngestError::Blob(error) => error.into(),
        }
    }
}
