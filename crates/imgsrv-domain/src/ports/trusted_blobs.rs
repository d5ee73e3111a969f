//! Trusted blobs in the catalog.

use super::{BlobName, CatalogError};
use crate::{
    access::{Reach, Sender, View},
    digest::{BlobClaim, Digest},
    ids::VersionId,
    time::Timestamp,
    version::Version,
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
    /// The trusted blob with that digest, which is locked against deletion and counts as used now: if nothing refers to
    /// it, its grace period starts again.
    async fn reuse_blob(&mut self, digest: &Digest) -> Result<Option<TrustedBlob>, CatalogError>;
    /// Records that the blobs of a version are referenced. Only for a version whose manifest no concurrent transaction can
    /// change: it is needed for blobs that were stored after they were added to the manifest.
    async fn mark_referenced(&mut self, version: VersionId) -> Result<(), CatalogError>;
    /// Starts the grace period of the blobs of a version, in the transaction in which it stops to refer to them. Locks
    /// them in the order of their digests.
    async fn release_blobs(&mut self, version: VersionId) -> Result<(), CatalogError>;
    /// Whether a blob, trusted or quarantined, is stored as `name`.
    async fn is_stored(&mut self, name: &BlobName) -> Result<bool, CatalogError>;
    /// Whether a sender may read a blob with that digest: a published version of an image that `reach` shows
    /// refers to it, and is neither revoked nor a tombstone, or its bytes were sent by one that it
    /// [covers](Sender::covers).
    async fn is_readable(&mut self, digest: &Digest, reach: &Reach, sender: &Sender) -> Result<bool, CatalogError>;
    /// Records who has sent the bytes of the blob with that digest. The record is deleted with the blob.
    async fn record_sender(&mut self, sender: &Sender, digest: &Digest) -> Result<(), CatalogError>;
    /// Records bytes that are durable under their name, and that are not verified until
    /// [`record_verified`](super::VerificationRepo::record_verified). Replaces a quarantined blob of the same digest, whose name becomes a
    /// orphan; a digest that is trusted already is [`Conflict::BlobDigest`](super::Conflict::BlobDigest).
    async fn insert_blob(&mut self, blob: &TrustedBlob) -> Result<(), CatalogError>;
    /// Stops serving the blob stored as `name`; returns whether it was trusted until now. Quarantining a blob, or
    /// replacing a quarantined one, changes the catalog revision.
    async fn quarantine_blob(&mut self, digest: &Digest, name: &BlobName) -> Result<bool, CatalogError>;
}

/// Reads of blobs.
#[async_trait]
pub trait BlobQueries: Send + Sync {
    /// The trusted blob with that digest; for [`View::Published`] only when a published version that is
    /// neither revoked nor a tombstone refers to it, and for [`View::Public`] only when one of a public image does. Then its
    /// time is that of the publication: when others stored it tells nothing.
    async fn get_blob(&self, digest: &Digest, see: View) -> Result<Option<TrustedBlob>, CatalogError>;
    /// The trusted blob with that digest, if a published version of an image that `reach` shows refers to it, and is
    /// neither revoked nor a tombstone, or if its bytes were sent by one that `sender` [covers](Sender::covers). Its time is
    /// that of the publication or of the sending.
    async fn get_readable_blob(
        &self,
        digest: &Digest,
        reach: &Reach,
        sender: Option<&Sender>,
    ) -> Result<Option<TrustedBlob>, CatalogError>;
    /// A revoked version, and no tombstone, of an image that `reach` shows that refers to the digest.
    async fn get_revoked_version_of(&self, digest: &Digest, reach: &Reach) -> Result<Option<Version>, CatalogError>;
}
