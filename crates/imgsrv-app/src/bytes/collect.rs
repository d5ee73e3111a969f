//! Garbage collection: deletes blobs that nothing refers to. A run first replaces the record of a blob with an orphan, which
//! keeps the name of the bytes; then it deletes the bytes, and finally the orphan. The next run completes an interrupted one.

use crate::{
    audit,
    bytes::{blocks, history, orphans},
    context::Context,
    work::{
        crash_point::crash_point,
        recurrence::repeat,
        retry::retrying,
        runtime::{Handler, WorkError},
    },
};
use async_trait::async_trait;
use imgsrv_domain::{
    audit::{AuditAction, Event},
    ports::CatalogError,
    time::Timestamp,
    work::{Lease, WorkKind},
};
use std::sync::Arc;

/// Blobs of one transaction.
const BATCH: u16 = 50;

/// The handler that collects garbage. Its work recurs.
pub(crate) struct Collect(pub(crate) Arc<Context>);

#[async_trait]
impl Handler for Collect {
    fn kind(&self) -> WorkKind {
        WorkKind::Collect
    }

    async fn run(&self, lease: &Lease) -> Result<(), WorkError> {
        let ended = self.collect(lease).await;
        match &ended {
            Ok(true) => self.0.collected.succeeded(self.0.clock.now()),
            Ok(false) => tracing::warn!("lease lost: collection continues elsewhere"),
            Err(_) => self.0.collected.failed(),
        }
        ended.map(drop)
    }
}

impl Collect {
    /// Returns whether the lease was still valid at the end.
    async fn collect(&self, lease: &Lease) -> Result<bool, WorkError> {
        // Those of earlier runs. A failure must not keep others from being deleted, nor blobs from being collected.
        let mut failure = orphans::delete_all(&self.0).await;
        failure = failure.and(blocks::fail_blocked_uploads(&self.0).await.map_err(WorkError::from));
        // One time for all batches: what a batch keeps is unreferenced since a later one, even without grace.
        let before = self.0.catalog.catalog_time().await?.minus(self.0.settings.collection.grace);
        loop {
            let batch = retrying(|| self.delete_records(lease, before)).await?;
            let Some((examined, deleted)) = batch else { return Ok(false) };
            if deleted > 0 {
                crash_point("gc.recorded");
                let removed = orphans::delete_all(&self.0).await;
                failure = failure.and(removed);
            }
            if examined < usize::from(BATCH) {
                break;
            }
        }
        history::delete(&self.0).await?;
        // Those of purges during this run, whose requests a crash may have interrupted.
        let removed = orphans::delete_all(&self.0).await;
        failure.and(removed)?;
        Ok(repeat(&*self.0.catalog, lease, self.0.settings.collection.interval).await?)
    }

    /// Deletes the records of a batch of blobs that have been unreferenced since `before`; returns how many were examined
    /// and deleted. `None` when the lease is void.
    async fn delete_records(&self, lease: &Lease, before: Timestamp) -> Result<Option<(usize, usize)>, CatalogError> {
        let mut tx = self.0.catalog.begin().await?;
        if !tx.advance_work(lease, self.0.settings.lease_term).await? {
            return Ok(None);
        }
        let batch = tx.collect_blobs(before, BATCH).await?;
        for claim in &batch.deleted {
            let event = Event::new(AuditAction::BlobCollected, claim.digest).with(format!("{} bytes", claim.size));
            audit::record(&mut *tx, &self.0.worker_actor(), event).await?;
        }
        if !batch.deleted.is_empty() {
            crash_point("gc.committing");
        }
        tx.commit().await?;
        Ok(Some((batch.examined, batch.deleted.len())))
    }
}
