//! Background work: what workers run, and how they are woken.

use async_trait::async_trait;
use imgsrv_domain::ports::{BlobError, CatalogError};
use std::time::Duration;

/// What one run of a worker achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// It did something; there may be more.
    Worked,
    /// It did all that there was to do.
    Finished,
    /// There was nothing to do, or nothing due: that proves nothing.
    Idle,
}

/// The infrastructure failed; the work will be tried again.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The catalog failed.
    #[error("catalog: {0}")]
    Catalog(#[from] CatalogError),
    /// The blob store failed.
    #[error("blob store: {0}")]
    Blob(#[from] BlobError),
}

/// Something that workers do over and over.
#[async_trait]
pub trait Work: Send + Sync {
    /// Its name in logs and metrics.
    fn name(&self) -> &'static str;

    /// Does one piece of work, if there is one.
    async fn run_once(&self) -> Result<Ran, WorkError>;

    /// Completes when new work was enqueued.
    async fn wait(&self);

    /// How long until waiting work is due or a lease runs out, as far as is known.
    async fn next_due(&self) -> Option<Duration>;
}
