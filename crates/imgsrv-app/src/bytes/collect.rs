//! Garbage collection: deletes blobs that nothing refers to. A run first replaces the record of a blob with an orphan, which
//! keeps the name of the bytes; then it deletes the bytes, and finally the orphan. The next run completes an interrupted one.

use crate::{
    audit,
    bytes::history,
    context::Context,
    work::{
        crash_point::crash_point,
        retry::retrying,
        runtime::{Handler, WorkError},
    },
};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use imgsrv_domain::{
    audit::{AuditAction, Event},
    error_chain,
    ports::{BlobName, CatalogError, OrphanedBlob},
    work::{Lease, WorkKind},
};
use std::sync::Arc;

/// Blobs of one transaction, and orphans that are read at once.
const BATCH: u16 = 50;
/// Orphans whose bytes are deleted at the same time.
const CONCURRENT_DELETIONS: usize = 8;

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
        let mut failure = self.delete_orphans().await;
        loop {
            let Some((examined, deleted)) = retrying(|| self.delete_records(lease)).await? else { return Ok(false) };
            if deleted > 0 {
                crash_point("gc.recorded");
                let removed = self.delete_orphans().await;
                failure = failure.and(removed);
            }
            if examined < usize::from(BATCH) {
                break;
            }
        }
        history::delete(&self.0).await?;
        failure?;
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let is_leased = match self.0.settings.collection.interval {
                Some(interval) => tx.repeat_work(lease, interval).await?,
                None => tx.finish_work(lease).await?,
            };
            tx.commit().await?;
            Ok::<_, CatalogError>(is_leased)
        })
        .await
        .map_err(WorkError::from)
    }

    /// Deletes the records of a batch of blobs; returns how many were examined and deleted. `None` when the lease is void.
    async fn delete_records(&self, lease: &Lease) -> Result<Option<(usize, usize)>, CatalogError> {
        let settings = &self.0.settings;
        let mut tx = self.0.catalog.begin().await?;
        if !tx.advance_work(lease, settings.lease_term).await? {
            return Ok(None);
        }
        let before = tx.now().minus(settings.collection.grace);
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

    /// Deletes the bytes of all orphans, and then their records. Returns the last failure.
    async fn delete_orphans(&self) -> Result<(), WorkError> {
        let (mut after, mut failure): (Option<BlobName>, _) = (None, Ok(()));
        loop {
            let orphans = {
                let mut tx = self.0.catalog.begin().await?;
                tx.list_orphaned_blobs(after.as_ref(), BATCH).await?
            };
            let Some(last) = orphans.last() else { return failure };
            after = Some(last.name.clone());
            let removing = orphans.into_iter().map(|orphan| async {
                let removed = self.0.blobs.remove(&orphan.name).await;
                (orphan, removed)
            });
            let mut removing = stream::iter(removing).buffer_unordered(CONCURRENT_DELETIONS);
            let mut gone = Vec::new();
            while let Some((orphan, removed)) = removing.next().await {
                match removed {
                    Ok(()) => gone.push(orphan),
                    Err(error) => {
                        tracing::warn!(blob.name = %orphan.name, error = error_chain::text(&error), "unreferenced bytes could not be deleted");
                        failure = Err(error.into());
                    }
                }
            }
            crash_point("gc.removed");
            retrying(|| self.forget(&gone)).await?;
            crash_point("gc.forgotten");
        }
    }

    /// Deletes the records of orphans whose bytes are gone.
    async fn forget(&self, gone: &[OrphanedBlob]) -> Result<(), CatalogError> {
        let mut tx = self.0.catalog.begin().await?;
        let mut freed = Vec::new();
        for orphan in gone {
            if tx.delete_orphaned_blob(&orphan.name).await? {
                freed.push(orphan.size.get());
            }
        }
        tx.commit().await?;
        for bytes in freed {
            self.0.collected.freed(bytes);
        }
        Ok(())
    }
}
