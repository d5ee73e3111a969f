//! Reading stored blobs, and quarantining those that are damaged.

use crate::{audit, context::Context};
use futures::TryStreamExt;
use imgsrv_domain::{
    audit::{AuditAction, Event},
    ports::{BlobError, BlobStream, CatalogError, TrustedBlob, Visibility},
};
use imgsrv_inspect::Source;
use std::ops::Range;

/// Opens `range` of a blob. A blob that is missing or has another size is quarantined, so that it is not served again.
pub(crate) async fn open_blob(
    context: &Context,
    blob: &TrustedBlob,
    range: Range<u64>,
) -> Result<BlobStream, BlobError> {
    let opened = context.blobs.open(&blob.name, blob.claim.size, range).await;
    if let Err(BlobError::Damaged) = opened {
        let quarantined = quarantine(context, blob).await;
        // Otherwise it was deleted, replaced or quarantined since it was found.
        if quarantined.map_err(|error| BlobError::Unavailable(Box::new(error)))? {
            tracing::error!(blob.digest = %blob.claim.digest, blob.name = %blob.name, "damaged blob found");
        }
    }
    opened
}

/// The blob that has replaced `blob`, if one has: names that were read earlier may be outdated.
pub(crate) async fn replacement(context: &Context, blob: &TrustedBlob) -> Result<Option<TrustedBlob>, CatalogError> {
    let current = context.catalog.get_blob(&blob.claim.digest, Visibility::All).await?;
    Ok(current.filter(|current| current.name != blob.name))
}

/// Stops serving the blob; returns whether it was served until now.
pub(crate) async fn quarantine(context: &Context, blob: &TrustedBlob) -> Result<bool, CatalogError> {
    let TrustedBlob { claim, name, .. } = blob;
    let mut tx = context.catalog.begin().await?;
    if tx.quarantine_blob(&claim.digest, name).await? {
        let event = Event::new(AuditAction::BlobQuarantined, claim.digest).with(name);
        audit::record(&mut *tx, &context.worker_actor(), event).await?;
        context.revision.commit(tx).await?;
        return Ok(true);
    }
    // It was deleted, or another node has quarantined or replaced it, so that what is cached of it is outdated.
    context.revision.forget();
    Ok(false)
}

/// Random access to the bytes of a blob.
pub(crate) struct BlobReader<'a> {
    pub(crate) context: &'a Context,
    pub(crate) blob: &'a TrustedBlob,
}

impl Source for BlobReader<'_> {
    type Error = BlobError;

    fn size(&self) -> u64 {
        self.blob.claim.size.get()
    }

    async fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, BlobError> {
        let mut read = Vec::with_capacity(length);
        if length > 0 {
            let range = offset..offset + length as u64;
            let mut chunks = open_blob(self.context, self.blob, range).await?;
            while let Some(chunk) = chunks.try_next().await? {
                read.extend_from_slice(&chunk);
            }
        }
        if read.len() == length { Ok(read) } else { Err(BlobError::Damaged) }
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let span = tracing::Span::current();
        match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
            Ok(result) => result,
            // It panicked, or the runtime is shutting down and ends this task as well.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => std::future::pending().await,
            },
        }
    }
}
