//! Delivery: resolving what a consumer asks for, and opening its bytes.

use crate::{
    caller::{Caller, audit},
    error::{Missing, UseCaseError},
    services::Context,
};
use imgsrv_domain::{
    audit::{AuditAction, Event},
    digest::{BlobClaim, Digest},
    ids::{ArtifactId, AttachmentId},
    names::{ImageName, VersionName},
    ports::{BlobError, BlobName, BlobStream, CatalogError, Visibility},
    text::MediaType,
    time::Timestamp,
};
use std::{ops::Range, sync::Arc};

/// The use cases of downloads.
#[derive(Clone)]
pub struct Delivery(pub(crate) Arc<Context>);

/// Bytes that the caller may have.
#[derive(Debug, Clone)]
pub struct Download {
    /// What they are.
    pub claim: BlobClaim,
    /// What they are served as; absent when only their digest is known.
    pub media_type: Option<MediaType>,
    /// How a file of them is called.
    pub file_name: String,
    /// Since when they have been so.
    pub modified_at: Timestamp,
    /// Whether anybody may have them.
    pub public: bool,
    name: BlobName,
}

impl Delivery {
    /// The blob with that digest, if the caller may have it.
    pub async fn blob(&self, caller: &Caller, digest: &Digest) -> Result<Download, UseCaseError> {
        let public = self.0.catalog.get_blob(digest, Visibility::Published).await?;
        let found = match (public, caller.visibility()) {
            (Some(blob), _) => Some((blob, true)),
            (None, Visibility::All) => {
                self.0.catalog.get_blob(digest, Visibility::All).await?.map(|blob| (blob, false))
            }
            (None, Visibility::Published) => None,
        };
        let (blob, public) = found.ok_or(UseCaseError::NotFound(Missing::Blob))?;
        Ok(Download {
            claim: blob.claim,
            media_type: None,
            file_name: blob.claim.digest.hex(),
            modified_at: blob.created_at,
            public,
            name: blob.name,
        })
    }

    /// The bytes of an artifact of a published version, or of one of its attachments.
    pub async fn file(
        &self,
        image: &ImageName,
        version: &VersionName,
        artifact: ArtifactId,
        attachment: Option<AttachmentId>,
    ) -> Result<Download, UseCaseError> {
        let found = self.0.catalog.get_published_file(image, version, artifact, attachment).await?;
        let missing = if attachment.is_some() { Missing::Attachment } else { Missing::Artifact };
        let file = found.ok_or(UseCaseError::NotFound(missing))?;
        let file_name = match file.attachment {
            Some(name) => name.to_string(),
            None => file.artifact.file_name(image, version),
        };
        Ok(Download {
            claim: file.claim,
            media_type: Some(file.media_type),
            file_name,
            modified_at: file.published_at,
            public: true,
            name: file.name,
        })
    }

    /// Opens `range` of the bytes. Bytes that are found missing or of another size are quarantined: nobody is
    /// served them again.
    pub async fn open(&self, download: &Download, range: Range<u64>) -> Result<BlobStream, UseCaseError> {
        let opened = self.0.blobs.open(&download.name, download.claim.size, range).await;
        if let Err(BlobError::Damaged) = opened {
            tracing::error!(blob.digest = %download.claim.digest, blob.name = %download.name, "a blob is damaged");
            self.quarantine(download).await?;
        }
        Ok(opened?)
    }

    async fn quarantine(&self, download: &Download) -> Result<(), CatalogError> {
        let mut tx = self.0.catalog.begin().await?;
        if tx.quarantine_blob(&download.claim.digest, &download.name).await? {
            let event = Event::new(AuditAction::BlobQuarantined, download.claim.digest).with(&download.name);
            audit(&mut *tx, &self.0.worker_actor(), event).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}
