//! Quarantine: a blob whose bytes are missing or wrong is not served until they are right again.
//!
//! A store that is not there must not condemn its blobs: a fault counts only if a second read finds it too, while the
//! store that the catalog is bound to can be read.

use crate::{audit, context::Context};
use bytes::Bytes;
use imgsrv_domain::{
    audit::{AuditAction, Event},
    ports::{BlobError, BlobStream, CatalogError, CatalogIdentity, StoreOwner, TrustedBlob},
    work::{WorkKind, WorkName},
};
use std::ops::Range;

/// Fails with [`BlobError::Unavailable`] unless the store that the catalog is bound to can be read.
pub(crate) async fn require_store(context: &Context) -> Result<(), BlobError> {
    let CatalogIdentity { catalog, store } = context.catalog.identity().await.map_err(BlobError::unavailable)?;
    let owners = context.blobs.owners().await?;
    match store {
        Some(store) if !owners.contains(&StoreOwner { catalog, store }) => {
            Err(BlobError::unavailable("the store is not the one that the catalog is bound to"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Opens `range` of the stored bytes, without verifying them. Bytes that are missing or have another size are looked for
/// twice before they are [`BlobError::Damaged`].
pub(crate) async fn open_unverified(
    context: &Context,
    blob: &TrustedBlob,
    range: Range<u64>,
) -> Result<BlobStream, BlobError> {
    twice(context, || context.blobs.open(&blob.name, blob.claim.size, range.clone())).await
}

/// The same, for a range that is read at once.
pub(crate) async fn read_unverified(
    context: &Context,
    blob: &TrustedBlob,
    range: Range<u64>,
) -> Result<Bytes, BlobError> {
    twice(context, || context.blobs.read(&blob.name, blob.claim.size, range.clone())).await
}

/// What `read` returns, which is called again after it found damage.
async fn twice<T, F>(context: &Context, read: impl Fn() -> F) -> Result<T, BlobError>
where
    F: Future<Output = Result<T, BlobError>>,
{
    match read().await {
        Err(BlobError::Damaged) => {
            require_store(context).await?;
            let read = read().await;
            if let Err(BlobError::Damaged) = read {
                require_store(context).await?;
            }
            read
        }
        read => read,
    }
}

/// Stops serving a blob that was found damaged twice, and has it verified as a whole soon. If another blob has replaced it
/// meanwhile, nothing changes.
pub(crate) async fn quarantine(context: &Context, blob: &TrustedBlob) -> Result<(), CatalogError> {
    let TrustedBlob { claim, name, .. } = blob;
    let mut tx = context.catalog.begin().await?;
    tx.enqueue_work(WorkName::recurring(WorkKind::Scrub)).await?;
    if tx.quarantine_blob(&claim.digest, name).await? {
        let event = Event::new(AuditAction::BlobQuarantined, claim.digest).with(name);
        audit::record(&mut *tx, &context.worker_actor(), event).await?;
        context.revision.commit(tx).await?;
        tracing::error!(blob.digest = %claim.digest, blob.name = %name, "damaged blob quarantined");
        context.wakeups.wake(WorkKind::Scrub);
    } else {
        // Another node has quarantined or replaced it, so that what is cached of it is outdated.
        context.revision.forget();
    }
    Ok(())
}

/// The error of a read that found damage twice: the blob is quarantined.
pub(crate) async fn condemn(context: &Context, blob: &TrustedBlob) -> BlobError {
    match quarantine(context, blob).await {
        Ok(()) => BlobError::Damaged,
        Err(error) => BlobError::unavailable(error),
    }
}
