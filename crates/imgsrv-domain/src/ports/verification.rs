//! Verification of stored blobs: block checksums, when each blob was verified last, and quarantine.

use super::{BlobName, CatalogError, TrustedBlob};
use crate::{
    access::{Reach, Sender},
    blocks::BlockChecksums,
    digest::{BlobClaim, Digest},
    page::{Page, PageRequest},
    time::Timestamp,
};
use async_trait::async_trait;

/// Block checksums that the catalog stores together: those of one GiB.
pub const SECTION_BLOCKS: usize = 4096;

/// A stored blob, and what is known of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlob {
    /// The blob.
    pub blob: TrustedBlob,
    /// Whether it is quarantined: found damaged, and not served.
    pub is_quarantined: bool,
    /// When its bytes were last hashed and found right, with the block checksums that were stored then; absent if that
    /// never happened.
    pub verified_at: Option<Timestamp>,
}

/// A quarantined blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuarantinedBlob {
    /// Digest and size.
    pub claim: BlobClaim,
    /// When it became trusted.
    pub created_at: Timestamp,
    /// When its bytes were last found right.
    pub verified_at: Option<Timestamp>,
    /// When its bytes were last looked at; absent if that was not after it was quarantined.
    pub looked_at: Option<Timestamp>,
}

/// Numbers about the verification of blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerificationTotals {
    /// Quarantined blobs.
    pub quarantined: u64,
    /// The bytes in them.
    pub quarantined_bytes: u64,
    /// The oldest time at which a trusted blob was verified last, or became trusted if it never was; absent if there is
    /// none.
    pub oldest_verified_at: Option<Timestamp>,
    /// The bytes in trusted blobs whose last verification was not that of their upload, and not before the given time.
    pub verified_bytes: u64,
}

/// Changes of what is known of stored bytes.
#[async_trait]
pub trait VerificationRepo: Send {
    /// Records that the bytes stored as `name` were hashed now and are right, with the checksums of their blocks unless
    /// those are stored already. Nothing is recorded if no blob has that name any more; returns whether one does.
    async fn record_verified(
        &mut self,
        name: &BlobName,
        checksums: Option<&BlockChecksums>,
    ) -> Result<bool, CatalogError>;
    /// Serves a quarantined blob again, if it is stored as `name`; returns whether it was quarantined until now. Changes
    /// the catalog revision.
    async fn restore_blob(&mut self, digest: &Digest, name: &BlobName) -> Result<bool, CatalogError>;
    /// Records that the bytes of a quarantined blob were looked at now.
    async fn note_look(&mut self, name: &BlobName) -> Result<(), CatalogError>;
}

/// Reads of what is known of stored bytes.
#[async_trait]
pub trait VerificationQueries: Send + Sync {
    /// One section of the block checksums of the bytes stored as `name`; absent if none are stored.
    async fn get_block_checksums(&self, name: &BlobName, section: u32) -> Result<Option<BlockChecksums>, CatalogError>;
    /// The blob with that digest, trusted or quarantined.
    async fn get_stored_blob(&self, digest: &Digest) -> Result<Option<StoredBlob>, CatalogError>;
    /// Whether a blob is quarantined that `reach` shows or `sender` has sent; see
    /// [`get_readable_blob`](super::BlobQueries::get_readable_blob). A reach of everything also shows unpublished blobs.
    async fn is_quarantined(
        &self,
        digest: &Digest,
        reach: &Reach,
        sender: Option<&Sender>,
    ) -> Result<bool, CatalogError>;
    /// Quarantined blobs, ordered by digest.
    async fn list_quarantined(&self, page: &PageRequest) -> Result<Page<QuarantinedBlob>, CatalogError>;
    /// The digests of all quarantined blobs.
    async fn quarantined_digests(&self) -> Result<Vec<Digest>, CatalogError>;
    /// Blobs after `after`, trusted or quarantined, by digest.
    async fn list_stored_blobs(&self, after: Option<&Digest>, limit: u16) -> Result<Vec<StoredBlob>, CatalogError>;
    /// A quarantined blob that was not looked at since `looked_before`, or else the trusted blob that was verified least
    /// recently, if that was not after `verified_before`.
    async fn get_blob_to_verify(
        &self,
        looked_before: Timestamp,
        verified_before: Option<Timestamp>,
    ) -> Result<Option<StoredBlob>, CatalogError>;
    /// Numbers about the verification of blobs; of those that were verified again, since `since`.
    async fn verification_totals(&self, since: Timestamp) -> Result<VerificationTotals, CatalogError>;
}
