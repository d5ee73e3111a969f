//! The interface between background work and the runtime: handlers, their errors, and observers of their attempts.

use async_trait::async_trait;
use imgsrv_domain::{
    ports::{BlobError, CatalogError, CatalogTx},
    time::Timestamp,
    work::{Lease, WorkKind},
};
use uuid::Uuid;

/// The result of one poll of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// An item was worked on; more may be waiting.
    Worked,
    /// No item was due. That does not prove that work would succeed.
    Idle,
}

/// Why an attempt at an item failed; it will be repeated.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The catalog failed.
    #[error("catalog: {0}")]
    Catalog(#[from] CatalogError),
    /// The blob store failed.
    #[error("blob store: {0}")]
    Blob(#[from] BlobError),
    /// The handler panicked.
    #[error("the worker panicked; the panic message was logged before")]
    Panic,
}

impl WorkError {
    /// Whether a disk is full or read-only.
    pub(super) const fn is_unwritable(&self) -> bool {
        match self {
            Self::Catalog(error) => error.why_unwritable().is_some(),
            Self::Blob(error) => matches!(error, BlobError::Full(_) | BlobError::ReadOnly(_)),
            Self::Panic => false,
        }
    }
}

/// The work of one kind.
#[async_trait]
pub(crate) trait Handler: Send + Sync {
    /// Its kind.
    fn kind(&self) -> WorkKind;

    /// Works on a leased item. It ends the item (or repeats it, if it recurs) in the transaction that records the last
    /// result; the lease fences each of its transactions. It is dropped when the lease is lost or the process stops.
    async fn run(&self, lease: &Lease) -> Result<(), WorkError>;

    /// Records that the subject waits again, after an attempt that has ended early.
    async fn requeue(&self, _tx: &mut dyn CatalogTx, _subject: Uuid) -> Result<(), CatalogError> {
        Ok(())
    }

    /// Records that the subject waits again, whose item was queued in this process as one that had started and was not begun.
    async fn withdraw(&self, tx: &mut dyn CatalogTx, subject: Uuid) -> Result<(), CatalogError> {
        self.requeue(tx, subject).await
    }

    /// Fails the subject for `reason`.
    async fn fail(&self, _tx: &mut dyn CatalogTx, _subject: Uuid, _reason: &str) -> Result<(), CatalogError> {
        Ok(())
    }

    /// Called once a failure of the subject is committed.
    fn failed(&self, _subject: Uuid) {}
}

/// Observes the attempts of the workers of a process.
pub trait WorkObserver: Send + Sync {
    /// A poll of the queue succeeded.
    fn ran(&self, kind: WorkKind, ran: Ran, now: Timestamp);
    /// An attempt failed, the `failures`th in a row; after it the workers of this kind may have `paused`.
    fn failed(&self, kind: WorkKind, failures: u32, paused: bool, now: Timestamp);
}
