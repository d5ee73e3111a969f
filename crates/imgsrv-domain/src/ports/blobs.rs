//! The blob store: staging for bytes that are only claimed, and a content-addressed store for those that are trusted.

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

/// Bytes of a stored blob. Chunks are bounded and read only as fast as they are taken.
pub type BlobStream = BoxStream<'static, Result<Bytes, BlobError>>;
/// Bytes that a client sends.
pub type BodyStream = BoxStream<'static, Result<Bytes, BodyError>>;

/// Why a client's bytes ended before their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The connection broke or the framing was wrong.
    #[error("the body was cut off")]
    Cut,
    /// Nothing came for too long.
    #[error("the body came too slowly")]
    TooSlow,
}

/// The name under which a store keeps a trusted blob.
///
/// It ends in the session that made it, so that no name is ever used twice: a late delete cannot hit
/// another's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BlobName(String);

impl BlobName {
    /// `sha256/ab/cd/<hex>-<session>`: the name that `session` promotes `digest` to.
    pub fn of(digest: &Digest, session: UploadId) -> Self {
        let hex = digest.hex();
        Self(format!("sha256/{}/{}/{hex}-{session}", &hex[..2], &hex[2..4]))
    }

    /// `streams/ab/<session>`: the name that `session` promotes bytes to whose digest was not known when their first
    /// ones were stored.
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

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// What should be there is missing, or not of the recorded size.
    #[error("the stored bytes are missing or damaged")]
    Damaged,
    /// There is no room for more bytes.
    #[error("the blob store is full")]
    Full(#[source] Source),
    /// The store cannot be reached, or fails in another way that may pass.
    #[error("the blob store failed")]
    Unavailable(#[source] Source),
}

/// A part to receive.
pub struct StageRequest {
    /// The session it belongs to; everything staged for it can be found by this id.
    pub session: UploadId,
    /// The name that the session's blob will get.
    pub name: BlobName,
    /// The attempt, with its limit and the hash to continue.
    pub attempt: Attempt,
    /// The announced size.
    pub declared: Option<u64>,
    /// What the client says the part's own digest is (RFC 9530).
    pub checksum: Option<Digest>,
    /// The bytes.
    pub body: BodyStream,
}

/// A part that was received in full and is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Where it lies.
    pub place: PartLocation,
    /// Its size.
    pub size: ByteSize,
    /// The hash of everything up to its end, if the attempt knew the hash up to its start.
    pub hash: Option<HashState>,
}

/// Why a part was not received; nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The client's bytes ended early.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// There were more bytes than the attempt's limit.
    #[error("the part has more bytes than fit")]
    TooLarge,
    /// The bytes do not have the digest that came with them.
    #[error("the part's digest is {actual}, not the one sent with it")]
    Checksum {
        /// Their digest.
        actual: Digest,
    },
    /// The store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// Bytes to make trusted.
#[derive(Debug, Clone)]
pub struct IngestRequest {
    /// The session whose parts they are.
    pub session: UploadId,
    /// The name they get.
    pub name: BlobName,
    /// What they must be.
    pub claim: BlobClaim,
    /// The parts, ascending; their sizes sum to the claimed size.
    pub parts: Vec<Part>,
    /// How far they were hashed.
    pub hashed: Option<HashState>,
}

impl IngestRequest {
    /// Whether the parts are those of the claim, as far as their sizes tell. When not, what is promoted is not known
    /// any more: the session was finished by somebody else.
    pub fn is_whole(&self) -> bool {
        self.parts.iter().map(|part| part.size.get()).sum::<u64>() == self.claim.size.get()
    }
}

/// What one step of a promotion achieved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ingested {
    /// More was hashed; save it and call again.
    Hashed(HashState),
    /// The bytes are verified and durable under their name.
    Placed,
}

/// Why bytes were not promoted.
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

/// Which catalog's blobs a store holds, and what tells it from every other store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOwner {
    /// The catalog's identity.
    pub catalog: Uuid,
    /// The store's own.
    pub store: Uuid,
}

impl fmt::Display for StoreOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "catalog {} store {}", self.catalog, self.store)
    }
}

/// The text does not tell whose store it is.
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

/// Stores bytes. Implementations are shared by all requests and workers of a process.
///
/// Dropping a future of this trait may leave staged leftovers, never a partial or overwritten blob.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Receives a part, hashing as it arrives, and makes it durable before returning.
    ///
    /// Runs to its end even if nobody waits any more, so that a failed part leaves nothing behind.
    async fn stage(&self, request: StageRequest) -> Result<Staged, StageError>;

    /// Frees the bytes of a part that no session refers to any more, where that is possible without
    /// touching its neighbours. Succeeds when they are gone already.
    async fn discard(&self, session: UploadId, part: &Part) -> Result<(), BlobError>;

    /// Does a bounded part of a promotion: verifies what is not yet hashed, then makes the bytes durable
    /// under their name. Calling again after [`Ingested::Placed`], or after a crash, is harmless.
    async fn ingest(&self, promotion: &IngestRequest) -> Result<Ingested, IngestError>;

    /// Reads `range` of the blob `name`, which must have exactly `size` bytes, else [`BlobError::Damaged`].
    async fn open(&self, name: &BlobName, size: ByteSize, range: Range<u64>) -> Result<BlobStream, BlobError>;

    /// Removes a blob that no catalog refers to. Succeeds when it is gone already.
    async fn remove(&self, name: &BlobName) -> Result<(), BlobError>;

    /// Removes everything staged for `session`, so that nobody can place its blob `name` any more. Without the name,
    /// for a session that is not known, whatever can be told to be its own. Succeeds when nothing is staged.
    async fn clear_staging(&self, session: UploadId, name: Option<&BlobName>) -> Result<(), BlobError>;

    /// The sessions for which something is staged.
    async fn staged_sessions(&self) -> Result<Vec<UploadId>, BlobError>;

    /// How many more bytes there is room for; `None` where nobody can tell.
    async fn free_bytes(&self) -> Result<Option<u64>, BlobError>;

    /// Writes, reads back and deletes a probe.
    async fn probe(&self) -> Result<(), BlobError>;

    /// Whose store this is, in a fixed order; nobody's when it is new. More than one when several nodes claimed it in
    /// the same moment, where the store cannot keep them apart.
    async fn owners(&self) -> Result<Vec<StoreOwner>, BlobError>;

    /// Claims the store, which may be in vain: look at [`BlobStore::owners`] afterwards.
    async fn claim(&self, owner: StoreOwner) -> Result<(), BlobError>;

    /// Checks that blobs can be read, without writing.
    async fn check(&self) -> Result<(), BlobError>;
}
