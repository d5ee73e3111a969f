//! Errors of the folder store, and work on blocking threads.

use imgsrv_domain::ports::BlobError;
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
    async move { task.await.map_err(|panic| E::from(unavailable(panic)))? }
}

pub(super) fn unavailable(source: impl std::error::Error + Send + Sync + 'static) -> BlobError {
    BlobError::Unavailable(Box::new(source))
}

/// Maps an error of the operating system.
pub(super) fn failed(error: io::Error) -> BlobError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BlobError::Full(Box::new(error)),
        _ => unavailable(error),
    }
}
