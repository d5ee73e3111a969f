//! What a background worker runs.

use async_trait::async_trait;
use imgsrv_domain::ports::{BlobError, CatalogError};
use std::time::Duration;

/// The result of one run of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// It did something; more work may be waiting.
    Worked,
    /// It did all the work there was.
    Finished,
    /// No work was due. That does not prove that work would succeed.
    Idle,
}

/// The infrastructure failed; the work will be retried.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The catalog failed.
    #[error("catalog: {0}")]
    Catalog(#[from] CatalogError),
    /// The blob store failed.
    #[error("blob store: {0}")]
    Blob(#[from] BlobError),
}

/// Work that a worker runs repeatedly.
#[async_trait]
pub trait Work: Send + Sync {
    /// Its name in logs and metrics.
    fn name(&self) -> &'static str;

    /// Does one piece of work, if one is due.
    async fn run_once(&self) -> Result<Ran, WorkError>;

    /// Completes when work was enqueued.
    async fn wait(&self);

    /// Time until waiting work is due or a lease expires, if known.
    async fn next_due(&self) -> Option<Duration>;
}
