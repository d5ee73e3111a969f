//! Purging blobs, and blocked digests.

use super::{BlobReference, CatalogError, OrphanedBlob};
use crate::{
    digest::Digest,
    ids::{UploadId, VersionId},
    names::{ImageName, VersionName},
    page::{Page, PageRequest},
    text::LongText,
    time::Timestamp,
    version::Version,
};
use async_trait::async_trait;

/// A digest whose content was purged with the version that had it. No blob has it until it is unblocked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedDigest {
    /// The digest.
    pub digest: Digest,
    /// The image of the version.
    pub image: ImageName,
    /// The version.
    pub version: VersionName,
    /// The reason of the purge.
    pub reason: LongText,
    /// When it was blocked.
    pub blocked_at: Timestamp,
}

impl std::fmt::Display for BlockedDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { digest, image, version, reason, .. } = self;
        write!(f, "the digest {digest} is blocked, because it was purged with version {version} of {image}: {reason}")
    }
}

impl BlockedDigest {
    /// What everybody may know of the block.
    pub fn in_public(&self) -> String {
        format!("the digest {} is blocked, because it was purged", self.digest)
    }
}

/// The result of a purge for one digest of the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PurgedDigest {
    /// Nothing else refers to it: it is blocked.
    Blocked {
        /// The digest.
        digest: Digest,
        /// Whether it was blocked before.
        was_blocked: bool,
    },
    /// Something else refers to it: it is kept, and not blocked.
    Kept {
        /// The digest.
        digest: Digest,
        /// What refers to it, at most 100 of them.
        by: Vec<BlobReference>,
    },
}

/// Purging blobs, and blocked digests.
#[async_trait]
pub trait BlockRepo: Send {
    /// Blocks each digest in the manifest of a published version that no other version, draft or job refers to, in the
    /// order of the digests. Locks their blobs, so that no reference to them can be added before the end of the
    /// transaction.
    async fn block_digests(&mut self, version: &Version, reason: &LongText) -> Result<Vec<PurgedDigest>, CatalogError>;
    /// Deletes the record of the blob, trusted or quarantined, of a blocked digest that nothing refers to any more. The
    /// name of the blob becomes an orphan.
    async fn purge_blob(&mut self, digest: &Digest) -> Result<Option<OrphanedBlob>, CatalogError>;
    /// The block of a digest.
    async fn get_blocked_digest(&mut self, digest: &Digest) -> Result<Option<BlockedDigest>, CatalogError>;
    /// A blocked digest in the manifest of a version; the first one by digest.
    async fn get_blocked_digest_of(&mut self, version: VersionId) -> Result<Option<BlockedDigest>, CatalogError>;
    /// Unblocks a digest; returns whether it was blocked.
    async fn unblock_digest(&mut self, digest: &Digest) -> Result<bool, CatalogError>;
    /// Uploads that receive bytes of a blocked digest, with its block, by id after `after`.
    async fn list_blocked_uploads(
        &mut self,
        after: UploadId,
        limit: u16,
    ) -> Result<Vec<(UploadId, BlockedDigest)>, CatalogError>;
}

/// Reads of blocked digests and of the versions that have a digest.
#[async_trait]
pub trait BlockQueries: Send + Sync {
    /// Blocked digests by digest.
    async fn list_blocked_digests(&self, page: &PageRequest) -> Result<Page<BlockedDigest>, CatalogError>;
    /// Published versions, tombstones excepted, that have the digest in their manifest, by id.
    async fn list_versions_of_blob(&self, digest: &Digest, page: &PageRequest) -> Result<Page<Version>, CatalogError>;
}
