//! Reading stored blobs.

use crate::{audit, context::Context};
use futures::TryStreamExt;
use imgsrv_domain::{
    audit::{AuditAction, Event},
    digest::BlobClaim,
    ports::{BlobError, BlobName, BlobStream, CatalogError, TrustedBlob},
};
use imgsrv_inspect::Source;
use std::ops::Range;

impl Context {
    /// Opens `range` of a blob. Bytes that are found missing or of another size are quarantined: nobody is served them
    /// again.
    pub(crate) async fn open_blob(
        &self,
        claim: &BlobClaim,
        name: &BlobName,
        range: Range<u64>,
    ) -> Result<BlobStream, BlobError> {
        let opened = self.blobs.open(name, claim.size, range).await;
        if let Err(BlobError::Damaged) = opened {
            tracing::error!(blob.digest = %claim.digest, blob.name = %name, "a blob is damaged");
            self.quarantine(claim, name).await.map_err(|error| BlobError::Unavailable(Box::new(error)))?;
        }
        opened
    }

    /// Stops serving a blob whose bytes are not what they should be.
    pub(crate) async fn quarantine(&self, claim: &BlobClaim, name: &BlobName) -> Result<(), CatalogError> {
        let mut tx = self.catalog.begin().await?;
        if tx.quarantine_blob(&claim.digest, name).await? {
            let event = Event::new(AuditAction::BlobQuarantined, claim.digest).with(name);
            audit::record(&mut *tx, &self.worker_actor(), event).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}

/// A blob whose bytes are looked into.
pub(crate) struct StoredBlob<'a> {
    pub(crate) context: &'a Context,
    pub(crate) blob: &'a TrustedBlob,
}

impl Source for StoredBlob<'_> {
    type Error = BlobError;

    fn size(&self) -> u64 {
        self.blob.claim.size.get()
    }

    async fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, BlobError> {
        let mut read = Vec::with_capacity(length);
        if length > 0 {
            let range = offset..offset + length as u64;
            let mut chunks = self.context.open_blob(&self.blob.claim, &self.blob.name, range).await?;
            while let Some(chunk) = chunks.try_next().await? {
                read.extend_from_slice(&chunk);
            }
        }
        if read.len() == length { Ok(read) } else { Err(BlobError::Damaged) }
    }
}
