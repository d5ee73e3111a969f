//! Trusted blobs, and the files of published versions, in the catalog.

use super::{BlobName, CatalogError, Visibility};
use crate::{
    digest::{BlobClaim, Digest},
    ids::{ArtifactId, AttachmentId},
    manifest::Artifact,
    names::{AttachmentName, FileName, ImageName, RefName, VersionName},
    text::MediaType,
    time::Timestamp,
};
use async_trait::async_trait;

/// A blob whose bytes were verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedBlob {
    /// Its digest and size.
    pub claim: BlobClaim,
    /// Where it is stored.
    pub name: BlobName,
    /// When it became trusted.
    pub created_at: Timestamp,
}

/// Trusted blobs.
#[async_trait]
pub trait BlobLedger: Send {
    /// The trusted blob with that digest; a quarantined one is not.
    async fn get_blob(&mut self, digest: &Digest) -> Result<Option<TrustedBlob>, CatalogError>;
    /// Whether a blob, trusted or quarantined, is stored as `name`.
    async fn is_stored(&mut self, name: &BlobName) -> Result<bool, CatalogError>;
    /// Records bytes that are durable under their name. Replaces a quarantined blob of the same digest; a digest that is
    /// trusted already is [`Conflict::BlobDigest`](super::Conflict::BlobDigest).
    async fn insert_blob(&mut self, blob: &TrustedBlob) -> Result<(), CatalogError>;
    /// Stops serving the blob stored as `name`; returns whether it was trusted until now. Quarantining a blob, or
    /// replacing a quarantined one, changes the catalog revision.
    async fn quarantine_blob(&mut self, digest: &Digest, name: &BlobName) -> Result<bool, CatalogError>;
}

/// Bytes of a published version, ready to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedFile {
    /// The digest and size of the bytes.
    pub claim: BlobClaim,
    /// Where they are stored.
    pub name: BlobName,
    /// The media type that they are served as.
    pub media_type: MediaType,
    /// When the version was published.
    pub published_at: Timestamp,
    /// The artifact it is or belongs to.
    pub artifact: Artifact,
    /// The attachment's name, if it is one.
    pub attachment: Option<AttachmentName>,
}

/// A file of a published version, found by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasedFile {
    /// Its bytes.
    pub file: PublishedFile,
    /// Its version.
    pub version: VersionName,
    /// The name that was found: that of the file, or that of its checksum.
    pub name: String,
}

/// Reads of blobs and of the files of published versions.
#[async_trait]
pub trait FileQueries: Send + Sync {
    /// The trusted blob with that digest; for [`Visibility::Published`] only when a published version refers to it.
    async fn get_blob(&self, digest: &Digest, see: Visibility) -> Result<Option<TrustedBlob>, CatalogError>;
    /// The bytes of an artifact of a published version, or of one of its attachments.
    async fn get_published_file(
        &self,
        image: &ImageName,
        version: &VersionName,
        artifact: ArtifactId,
        attachment: Option<AttachmentId>,
    ) -> Result<Option<PublishedFile>, CatalogError>;
    /// The file of that name of the published version with that name or alias. Under an alias, the file is also found
    /// by its name without the version.
    async fn get_released_file(
        &self,
        image: &ImageName,
        reference: &RefName,
        name: &FileName,
    ) -> Result<Option<ReleasedFile>, CatalogError>;
}
