//! Garbage collection: blobs that nothing refers to, and records that are no longer retained.

use super::{BlobName, CatalogError};
use crate::{
    digest::{BlobClaim, ByteSize, Digest},
    ids::{PrincipalId, UploadId, VersionId},
    lifecycle::LifecycleState,
    names::{ImageName, VersionName},
    time::Timestamp,
};
use async_trait::async_trait;

/// One batch of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CollectedBatch {
    /// How many blobs were examined; fewer than the limit when no more are due.
    pub examined: usize,
    /// The blobs whose records were deleted. Their names are orphans.
    pub deleted: Vec<BlobClaim>,
}

/// Stored bytes that no blob refers to any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrphanedBlob {
    /// The name in the store.
    pub name: BlobName,
    /// The size.
    pub size: ByteSize,
}

/// Deletions of garbage. Each call deletes at most `limit` records, and skips those that other transactions have locked.
#[async_trait]
pub trait CollectionRepo: Send {
    /// Deletes the records of blobs that have been unreferenced since `before` or longer, oldest first. Each is checked
    /// for references again while it is locked. The names of deleted blobs become orphans in the same transaction. While
    /// an export is running, it examines and deletes nothing.
    async fn collect_blobs(&mut self, before: Timestamp, limit: u16) -> Result<CollectedBatch, CatalogError>;
    /// Orphans by name, after `after`.
    async fn list_orphaned_blobs(
        &mut self,
        after: Option<&BlobName>,
        limit: u16,
    ) -> Result<Vec<OrphanedBlob>, CatalogError>;
    /// Deletes the record of an orphan whose bytes were removed; returns whether there was one.
    async fn delete_orphaned_blob(&mut self, name: &BlobName) -> Result<bool, CatalogError>;
    /// Deletes uploads, with their intakes, that ended before `before`. Keeps those whose staged bytes are not cleared
    /// yet, whose intake has not ended, or that an orphan is named after.
    async fn delete_ended_uploads(&mut self, before: Timestamp, limit: u16) -> Result<u64, CatalogError>;
    /// Deletes jobs, with their steps, that were abandoned before `before`. Keeps the last job of every version.
    async fn delete_abandoned_jobs(&mut self, before: Timestamp, limit: u16) -> Result<u64, CatalogError>;
    /// Deletes fingerprints, finished or not, that last changed before `before`. They can be computed again.
    async fn delete_fingerprints(&mut self, before: Timestamp, limit: u16) -> Result<u64, CatalogError>;
    /// Deletes rows of the audit log from before `before`; later rows cannot be deleted.
    async fn delete_audit(&mut self, before: Timestamp, limit: u16) -> Result<u64, CatalogError>;
    /// Drafts that last changed before `before`.
    async fn list_old_drafts(&mut self, before: Timestamp, limit: u16) -> Result<Vec<VersionId>, CatalogError>;
    /// Deletes principals that provisioning rules created and that were last seen before `before`; returns which. Keeps
    /// those that are deactivated, have a role granted by hand or a grant that was ended, own a token, or opened an
    /// upload that is still recorded.
    async fn delete_unseen_principals(
        &mut self,
        before: Timestamp,
        limit: u16,
    ) -> Result<Vec<PrincipalId>, CatalogError>;
}

/// What a collection would free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collectable {
    /// The blobs.
    pub blobs: u64,
    /// The bytes in them.
    pub bytes: u64,
    /// Whether these are all; otherwise there are more blobs than the limit.
    pub is_complete: bool,
}

/// Something that refers to a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobReference {
    /// An artifact or attachment of a version.
    Version {
        /// The image.
        image: ImageName,
        /// The version.
        version: VersionName,
        /// The state of the version.
        state: String,
        /// Its lifecycle, if it is published.
        lifecycle: Option<LifecycleState>,
        /// The end of its drain, if it was removed.
        available_until: Option<Timestamp>,
        /// Whether an attachment refers to it, else an artifact.
        is_attachment: bool,
    },
    /// An upload of the same digest that has not ended.
    Upload(UploadId),
    /// An artifact or attachment of a version that the caller may not see.
    Hidden {
        /// Whether an attachment refers to it, else an artifact.
        is_attachment: bool,
    },
}

/// A blob, and what refers to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobStatus {
    /// Digest and size.
    pub claim: BlobClaim,
    /// Whether it is quarantined: found damaged, and not served.
    pub is_quarantined: bool,
    /// When it became trusted.
    pub created_at: Timestamp,
    /// When its bytes were last hashed and found right, if that ever happened.
    pub verified_at: Option<Timestamp>,
    /// The time of the last reference or reuse, if no version refers to it.
    pub unreferenced_since: Option<Timestamp>,
    /// What refers to it, at most the limit.
    pub references: Vec<BlobReference>,
    /// Versions that referred to it until they became tombstones, at most the limit.
    pub tombstones: Vec<BlobReference>,
}

/// Reads for the collection of garbage. They write nothing.
#[async_trait]
pub trait CollectionQueries: Send + Sync {
    /// What [`CollectionRepo::collect_blobs`] would delete in all, as far as the first `limit` blobs that are due show.
    async fn count_collectable(&self, before: Timestamp, limit: u32) -> Result<Collectable, CatalogError>;
    /// The blob with that digest, trusted or quarantined, and up to `limit` references.
    async fn get_blob_status(&self, digest: &Digest, limit: u16) -> Result<Option<BlobStatus>, CatalogError>;
    /// When the last pin of an export expires, before which no blob is collected; absent without a pin.
    async fn pinned_until(&self) -> Result<Option<Timestamp>, CatalogError>;
}
