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

/// A digest whose content was purged with the version that had it. Until it is unblocked, no blob has it, or no version of
/// the image is published with it.
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
    /// Whether it is blocked in every image, and not only in that of the version.
    pub everywhere: bool,
    /// When it was blocked.
    pub blocked_at: Timestamp,
}

impl std::fmt::Display for BlockedDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { digest, image, version, reason, .. } = self;
        let scope = if self.everywhere { String::new() } else { format!(" in image {image}") };
        write!(
            f,
            "the digest {digest} is blocked{scope}, because it was purged with version {version} of {image}: {reason}"
        )
    }
}

/// Why a blob does not exist any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobDeletion {
    /// It was purged, and its digest is blocked.
    Purged(BlockedDigest),
    /// Nothing referred to it: it was last collected at that time.
    Collected(Timestamp),
}

/// The result of a purge for one digest of the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PurgedDigest {
    /// No other published or publishing version refers to it: it is blocked.
    Blocked {
        /// The digest.
        digest: Digest,
        /// Whether it is blocked in every image, and not only in that of the version.
        everywhere: bool,
        /// Whether it was blocked as widely before; then no blob is to be deleted.
        was_blocked: bool,
    },
    /// Another published or publishing version refers to it: it is kept, and not blocked.
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
    /// Blocks each digest in the manifest of a published version that no other published or publishing version refers to,
    /// `everywhere` or in its image, in the order of the digests. The empty digest is left out. Locks their blobs, so that
    /// no reference to them can be added before the end of the transaction.
    async fn block_digests(
        &mut self,
        version: &Version,
        reason: &LongText,
        everywhere: bool,
    ) -> Result<Vec<PurgedDigest>, CatalogError>;
    /// Deletes the record of the blob, trusted or quarantined, of a blocked digest that no published or publishing version
    /// refers to any more. The name of the blob becomes an orphan.
    async fn purge_blob(&mut self, digest: &Digest) -> Result<Option<OrphanedBlob>, CatalogError>;
    /// The block of a digest everywhere or, if an image is given, in that image.
    async fn get_blocked_digest(
        &mut self,
        digest: &Digest,
        image: Option<&ImageName>,
    ) -> Result<Option<BlockedDigest>, CatalogError>;
    /// A digest in the manifest of a version that is blocked for its image; the first one by digest.
    async fn get_blocked_digest_of(&mut self, version: VersionId) -> Result<Option<BlockedDigest>, CatalogError>;
    /// Unblocks a digest in every image; returns whether it was blocked in any.
    async fn unblock_digest(&mut self, digest: &Digest) -> Result<bool, CatalogError>;
    /// Uploads that receive bytes of a digest that is blocked everywhere, by id after `after`.
    async fn list_blocked_uploads(
        &mut self,
        after: UploadId,
        limit: u16,
    ) -> Result<Vec<(UploadId, Digest)>, CatalogError>;
}

/// Reads of blocked digests and of the versions that have a digest.
#[async_trait]
pub trait BlockQueries: Send + Sync {
    /// Blocked digests by digest and image.
    async fn list_blocked_digests(&self, page: &PageRequest) -> Result<Page<BlockedDigest>, CatalogError>;
    /// Why the blob with that digest does not exist any more, if that is known.
    async fn get_blob_deletion(&self, digest: &Digest) -> Result<Option<BlobDeletion>, CatalogError>;
    /// Published versions, tombstones excepted, that have the digest in their manifest, by id.
    async fn list_versions_of_blob(&self, digest: &Digest, page: &PageRequest) -> Result<Page<Version>, CatalogError>;
}
