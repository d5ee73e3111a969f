//! Orphans: stored content that no blob refers to any more. The content is deleted first, and then the record.

use crate::{
    context::Context,
    work::{crash_point::crash_point, retry::retrying, runtime::WorkError},
};
use futures::{StreamExt, stream};
use imgsrv_domain::{
    error_chain,
    ports::{BlobName, CatalogError, OrphanedBlob},
};

/// Orphans that are read at once.
const BATCH: u16 = 50;
/// Orphans whose content is deleted at the same time.
const CONCURRENT_DELETIONS: usize = 8;

/// Deletes all orphans. A failure does not keep others from being deleted; returns the last one.
pub(crate) async fn delete_all(context: &Context) -> Result<(), WorkError> {
    let (mut after, mut failure): (Option<BlobName>, _) = (None, Ok(()));
    loop {
        let orphans = {
            let mut tx = context.catalog.begin().await?;
            tx.list_orphaned_blobs(after.as_ref(), BATCH).await?
        };
        let Some(last) = orphans.last() else { return failure };
        after = Some(last.name.clone());
        let deleted = delete(context, orphans).await;
        failure = failure.and(deleted);
    }
}

/// Deletes the content of orphans, and then their records. A failure does not keep others from being deleted; returns the
/// last one.
pub(crate) async fn delete(context: &Context, orphans: Vec<OrphanedBlob>) -> Result<(), WorkError> {
    let removing = orphans.into_iter().map(|orphan| async {
        let removed = context.blobs.remove(&orphan.name).await;
        (orphan, removed)
    });
    let mut removing = stream::iter(removing).buffer_unordered(CONCURRENT_DELETIONS);
    let (mut gone, mut failure) = (Vec::new(), Ok(()));
    while let Some((orphan, removed)) = removing.next().await {
        match removed {
            Ok(()) => gone.push(orphan),
            Err(error) => {
                let cause = error_chain::text(&error);
                tracing::warn!(blob.name = %orphan.name, error = cause, "unreferenced bytes could not be deleted");
                failure = Err(error.into());
            }
        }
    }
    crash_point("gc.removed");
    retrying(|| forget(context, &gone)).await?;
    crash_point("gc.forgotten");
    failure
}

/// Deletes the records of orphans whose content is gone.
async fn forget(context: &Context, gone: &[OrphanedBlob]) -> Result<(), CatalogError> {
    let mut tx = context.catalog.begin().await?;
    let mut freed = Vec::new();
    for orphan in gone {
        if tx.delete_orphaned_blob(&orphan.name).await? {
            freed.push(orphan.size.get());
        }
    }
    tx.commit().await?;
    for bytes in freed {
        context.collected.freed(bytes);
    }
    Ok(())
}
