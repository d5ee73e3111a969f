//! Operation of the server: garbage collection, blocked digests, nodes, storage and its verification.

use serde::{Deserialize, Serialize};

/// Request to collect garbage.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CollectGarbage {
    /// Only count what would be deleted.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a garbage collection deletes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GarbageCollection {
    /// Whether nothing is deleted.
    pub dry_run: bool,
    /// Number of blobs that nothing refers to and whose grace period is over.
    pub blobs: i64,
    /// Bytes in them.
    pub bytes: i64,
    /// Whether these are all: at most 2,000 blobs are examined for this response. A collection deletes all of them.
    pub complete: bool,
}

/// Something that refers to a blob.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BlobReference {
    /// `artifact`, `attachment`, or `upload` for an upload of the same digest that has not ended.
    pub kind: String,
    /// Image of the artifact or attachment; absent if the caller may not see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_name: Option<String>,
    /// Version of the artifact or attachment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// State of that version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_state: Option<String>,
    /// State of the lifecycle of that version, if it is published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle_state: Option<String>,
    /// Time until which that version keeps the content, if it was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub available_until: Option<String>,
    /// Id of the upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub upload_id: Option<String>,
}

/// A blob, and why it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoredBlob {
    /// Digest.
    pub digest: String,
    /// Size.
    pub size_bytes: i64,
    /// `trusted`, or `quarantined` if the content was found damaged and is not served.
    pub state: String,
    /// Time when it became trusted.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub created_at: String,
    /// What refers to it, at most 100 entries.
    pub references: Vec<BlobReference>,
    /// Whether more refers to it than is listed.
    pub more_references: bool,
    /// Versions that referred to it until they were removed permanently, at most 100 entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tombstones: Vec<BlobReference>,
    /// Time of its last reference or reuse, if no version refers to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub unreferenced_since: Option<String>,
    /// Time after which it is deleted; absent while something refers to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub collectable_at: Option<String>,
    /// Time when the content was last hashed and found right; absent if that never happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub verified_at: Option<String>,
}

/// A quarantined blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QuarantinedBlob {
    /// Digest.
    pub digest: String,
    /// Size.
    pub size_bytes: i64,
    /// Time when it became trusted.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub created_at: String,
    /// Time when the content was last hashed and found right; absent if that never happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub verified_at: Option<String>,
    /// Time when the content was last looked at since it was quarantined; that happens every hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub looked_at: Option<String>,
}

/// A page of quarantined blobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QuarantinedBlobList {
    /// The blobs, ordered by digest.
    pub blobs: Vec<QuarantinedBlob>,
    /// Cursor of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// The storage of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StorageStatus {
    /// Stored blobs.
    pub blobs: BlobTotals,
    /// Uploads that have not ended.
    pub staged: StagedTotals,
    /// Blobs that the next garbage collection deletes.
    pub reclaimable: ReclaimableTotals,
    /// Free space of the blob store; absent where it is not known, as in a bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<i64>,
    /// Regular verification of blobs.
    pub scrub: ScrubStatus,
    /// Garbage collections of this node since its start.
    pub gc: GcStatus,
}

/// Stored blobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BlobTotals {
    /// Number of blobs, including quarantined ones.
    pub count: i64,
    /// Bytes in them.
    pub bytes: i64,
    /// Number of quarantined blobs.
    pub quarantined: i64,
    /// Oldest time at which a blob that is not quarantined was last verified; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub oldest_verified_at: Option<String>,
}

/// Uploads that have not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StagedTotals {
    /// Number of uploads.
    pub sessions: i64,
    /// Declared bytes of them.
    pub bytes: i64,
}

/// Blobs that the next garbage collection deletes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReclaimableTotals {
    /// Number of blobs, of the first 2000 that may be deleted.
    pub blobs: i64,
    /// Bytes in them.
    pub bytes: i64,
}

/// Regular verification of blobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ScrubStatus {
    /// Bytes in blobs that were verified again in the last 24 hours.
    pub bytes_last_day: i64,
    /// Whether the last verification of some blob is older than `--scrub-cycle`.
    pub behind: bool,
}

/// Garbage collections of one node since its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GcStatus {
    /// Time of the end of the last one; absent if there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub last_run_at: Option<String>,
    /// Bytes that they have freed.
    pub freed_bytes: i64,
}

/// A digest whose content was purged. Until it is unblocked, it cannot be uploaded, or not be published in the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BlockedDigest {
    /// Digest.
    pub digest: String,
    /// Image of the version with which it was purged.
    pub image_name: String,
    /// Version with which it was purged.
    pub version: String,
    /// Reason of the purge.
    pub reason: String,
    /// Whether it is blocked in every image. Otherwise only versions of the image cannot be published with it.
    pub everywhere: bool,
    /// Time of the purge.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub blocked_at: String,
}

/// A server process that shares the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Node {
    /// Identifies the run of the process; the log of its workers names it.
    pub id: String,
    /// Name of the node (`--node-name`).
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// `live`, or `gone` if it has not recorded for a minute that it runs.
    pub state: String,
    /// Kinds of background work that it runs.
    pub workers: Vec<String>,
    /// Time when it started to run them.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub started_at: String,
    /// Time when it last recorded that it runs.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub last_seen_at: String,
}
