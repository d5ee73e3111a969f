//! The blob store: staging for claimed bytes, and content-addressed storage for trusted blobs.

use super::Source;
use crate::{
    digest::{BlobClaim, ByteSize, Digest, HashState},
    ids::UploadId,
    parts::{Part, PartLocation},
    upload::Attempt,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use std::{fmt, ops::Range, str::FromStr};
use uuid::Uuid;

/// Bytes of a stored blob. Chunks are of bounded size and read only as fast as they are consumed.
pub type BlobStream = BoxStream<'static, Result<Bytes, BlobError>>;
/// Bytes that a client sends.
pub type BodyStream = BoxStream<'static, Result<Bytes, BodyError>>;

/// Why the body of a client ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The connection broke, or the framing was invalid.
    #[error("the body was cut off")]
    Cut,
    /// No bytes arrived for too long.
    #[error("the body came too slowly")]
    TooSlow,
}

/// The name under which a store has a trusted blob.
///
/// It ends in the id of the session that created it, so that no name is used twice: a late deletion cannot hit other
/// bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BlobName(String);

impl BlobName {
    /// `sha256/ab/cd/<hex>-<session>`: the name for bytes whose digest was declared before the first one.
    pub fn of(digest: &Digest, session: UploadId) -> Self {
        let hex = digest.hex();
        Self(format!("sha256/{}/{}/{hex}-{session}", &hex[..2], &hex[2..4]))
    }

    /// `streams/ab/<session>`: the name for bytes whose digest was not known when the first one was stored.
    pub fn of_undeclared(session: UploadId) -> Self {
        let id = session.to_string();
        Self(format!("streams/{}/{id}", &id[id.len() - 2..]))
    }

    /// A name as a catalog stored it.
    pub const fn restore(raw: String) -> Self {
        Self(raw)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// A stored blob is missing or does not have the recorded size.
    #[error("the stored bytes are missing or damaged")]
    Damaged,
    /// There is no free space.
    #[error("the blob store is full")]
    Full(#[source] Source),
    /// The store cannot be reached, or another transient error.
    #[error("the blob store failed")]
    Unavailable(#[source] Source),
}

/// A part to receive into staging.
pub struct StageRequest {
    /// The session that it belongs to; everything staged for a session can be found by its id.
    pub session: UploadId,
    /// The name that the blob of the session will get.
    pub name: BlobName,
    /// The attempt, with its limit and the hash to continue.
    pub attempt: Attempt,
    /// The announced size.
    pub declared: Option<u64>,
    /// The digest of the part alone, as the client declared it (RFC 9530).
    pub checksum: Option<Digest>,
    /// The bytes.
    pub body: BodyStream,
}

/// A part that was received in full and is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Where its bytes are stored.
    pub location: PartLocation,
    /// Its size.
    pub size: ByteSize,
    /// The hash of everything up to its end, if the attempt continued a hash.
    pub hash: Option<HashState>,
}

/// Why a part was not received; nothing of it remains.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The body ended early.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// There were more bytes than the limit of the attempt.
    #[error("the part has more bytes than fit")]
    TooLarge,
    /// The bytes do not have the digest that was sent with them.
    #[error("the part's digest is {actual}, not the one sent with it")]
    Checksum {
        /// Their digest.
        actual: Digest,
    },
    /// The store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// Staged bytes to verify and to store as a blob.
#[derive(Debug, Clone)]
pub struct IngestRequest {
    /// The session that they belong to.
    pub session: UploadId,
    /// The name of the blob.
    pub name: BlobName,
    /// The digest and size that they must have.
    pub claim: BlobClaim,
    /// The parts, ascending; their sizes sum to the claimed size.
    pub parts: Vec<Part>,
    /// How far they are hashed already.
    pub hashed: Option<HashState>,
}

impl IngestRequest {
    /// Whether the sizes of the parts add up to the claimed size. They do not once another worker has finished the
    /// session, whose parts are forgotten then.
    pub fn is_whole(&self) -> bool {
        self.parts.iter().map(|part| part.size.get()).sum::<u64>() == self.claim.size.get()
    }
}

/// The result of one step of an ingest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ingested {
    /// More bytes were hashed; save the state and call again.
    Hashed(HashState),
    /// The bytes are verified, and durable under the name of the blob.
    Placed,
}

/// Why bytes were not ingested.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// They do not have the claimed digest.
    #[error("the bytes have digest {actual}")]
    Mismatch {
        /// Their digest.
        actual: Digest,
    },
    /// Staged bytes are missing or cut short.
    #[error("staged bytes are gone")]
    StagedGone,
    /// The store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// The catalog that a store belongs to, and the id of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOwner {
    /// The id of the catalog.
    pub catalog: Uuid,
    /// The id of the store, which no other store has.
    pub store: Uuid,
}

impl fmt::Display for StoreOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "catalog {} store {}", self.catalog, self.store)
    }
}

/// The text is not the owner of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the mark of the blob store's owner is damaged")]
pub struct InvalidOwner;

impl FromStr for StoreOwner {
    type Err = InvalidOwner;

    fn from_str(raw: &str) -> Result<Self, InvalidOwner> {
        let words: Vec<&str> = raw.split_whitespace().collect();
        let ["catalog", catalog, "store", store] = words.as_slice() else { return Err(InvalidOwner) };
        let uuid = |raw: &str| raw.parse().map_err(|_| InvalidOwner);
        Ok(Self { catalog: uuid(catalog)?, store: uuid(store)? })
    }
}

/// Stores bytes. All requests and workers of a process share one implementation.
///
/// Dropping a future of this trait may leave staged bytes, never a partial or overwritten blob.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Receives a part, hashes it as it arrives, and makes it durable before returning.
    ///
    /// Runs to completion even if the future is dropped, so that nothing remains of a failed part.
    async fn stage(&self, request: StageRequest) -> Result<Staged, StageError>;

    /// Removes the bytes of a part that no session refers to, where that is possible without changing adjacent parts.
    /// Succeeds if they are already gone.
    async fn discard(&self, session: UploadId, part: &Part) -> Result<(), BlobError>;

    /// Runs a bounded step of an ingest: hashes bytes that are not hashed yet, then verifies the digest and makes the
    /// bytes durable under the name of the blob. Idempotent, also after [`Ingested::Placed`] or a crash.
    async fn ingest(&self, request: &IngestRequest) -> Result<Ingested, IngestError>;

    /// Reads `range` of the blob `name`, which must have exactly `size` bytes, else [`BlobError::Damaged`].
    async fn open(&self, name: &BlobName, size: ByteSize, range: Range<u64>) -> Result<BlobStream, BlobError>;

    /// Removes a blob that no catalog refers to. Succeeds if it is already gone.
    async fn remove(&self, name: &BlobName) -> Result<(), BlobError>;

    /// Removes everything staged for `session`, so that its blob `name` can no longer be created. Without a name, for an
    /// unknown session, removes what is certain to belong to it. Succeeds if nothing is staged.
    async fn clear_staging(&self, session: UploadId, name: Option<&BlobName>) -> Result<(), BlobError>;

    /// Every session for which bytes are staged.
    async fn staged_sessions(&self) -> Result<Vec<UploadId>, BlobError>;

    /// The free space in bytes; `None` if the store cannot report it.
    async fn free_bytes(&self) -> Result<Option<u64>, BlobError>;

    /// Writes, reads and deletes a probe.
    async fn probe(&self) -> Result<(), BlobError>;

    /// The owners of the store, in a fixed order; none if it is new. More than one if several nodes claimed it at the
    /// same time and the store cannot prevent that.
    async fn owners(&self) -> Result<Vec<StoreOwner>, BlobError>;

    /// Claims the store for `owner`. Another claim may win: read [`BlobStore::owners`] afterwards.
    async fn claim(&self, owner: StoreOwner) -> Result<(), BlobError>;

    /// Checks that blobs can be read, without writing.
    async fn check(&self) -> Result<(), BlobError>;
}
