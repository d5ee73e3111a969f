//! The blob store port: staged parts of uploads, whose digest is only claimed, and trusted blobs.

use super::Source;
use crate::{
    blocks::BlockChecksums,
    digest::{BlobClaim, ByteSize, Digest, HashState},
    hash::RunningHash,
    ids::UploadId,
    parts::{Part, PartLocation},
    space::SpaceReservation,
    time::Timestamp,
    upload::Attempt,
};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{TryStreamExt, stream::BoxStream};
use std::{fmt, ops::Range, str::FromStr};
use uuid::Uuid;

/// Content of a blob. Chunks are of bounded size and are read only as fast as the consumer polls.
pub type BlobStream = BoxStream<'static, Result<Bytes, BlobError>>;
/// Request body of a part.
pub type BodyStream = BoxStream<'static, Result<Bytes, BodyError>>;

/// Why a request body ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The connection broke, the framing was invalid, or the size is not the declared one.
    #[error("the request body is incomplete")]
    Cut,
    /// The client sent nothing, or too little, for too long.
    #[error("the request body was received too slowly")]
    TooSlow,
}

/// Name of a trusted blob in the store.
///
/// It ends in the id of the upload session that made the blob, so no name is ever used twice: a late delete cannot
/// remove another blob.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BlobName(String);

impl BlobName {
    /// The folders of all names.
    pub const FOLDERS: [&'static str; 2] = ["sha256", "streams"];

    /// `sha256/ab/cd/<hex>-<session>`: the name of the blob that `session` makes of `digest`.
    pub fn of(digest: &Digest, session: UploadId) -> Self {
        let hex = digest.hex();
        Self(format!("sha256/{}/{}/{hex}-{session}", &hex[..2], &hex[2..4]))
    }

    /// `streams/ab/<session>`: the name of the blob that `session` makes of a streaming upload of unknown digest.
    pub fn of_undeclared(session: UploadId) -> Self {
        let id = session.to_string();
        Self(format!("streams/{}/{id}", &id[id.len() - 2..]))
    }

    /// Restores a name from the catalog.
    pub const fn restore(raw: String) -> Self {
        Self(raw)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The upload session that gave this name to a blob of `digest`; `None` if no session does.
    pub fn session_of(&self, digest: &Digest) -> Option<UploadId> {
        let id = self.0.len().checked_sub(36).and_then(|start| self.0.get(start..))?;
        let session = id.parse().ok()?;
        (*self == Self::of(digest, session) || *self == Self::of_undeclared(session)).then_some(session)
    }

    /// The upload session that made it.
    pub fn session(&self) -> Option<UploadId> {
        self.0.get(self.0.len().checked_sub(36)?..)?.parse().ok()
    }

    /// Its first segment, which is one of [`BlobName::FOLDERS`].
    pub fn folder(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(folder, _)| folder)
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Stored bytes, whether or not a catalog refers to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Where they are stored.
    pub name: BlobName,
    /// How many they are.
    pub size: u64,
    /// When they were stored, by the clock of the store.
    pub modified_at: Timestamp,
}

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// A blob is missing, its size is not the recorded one, or some of its bytes cannot be read.
    #[error("the stored data is missing or damaged")]
    Damaged,
    /// There is no free space, or a quota is exhausted.
    #[error("the blob store is full")]
    Full(#[source] Source),
    /// It is on a read-only file system.
    #[error("the blob store is read-only")]
    ReadOnly(#[source] Source),
    /// The store cannot be reached, or failed with another error that may be transient.
    #[error("the blob store failed")]
    Unavailable(#[source] Source),
}

impl BlobError {
    /// An error of a store that may be transient.
    pub fn unavailable(source: impl Into<Source>) -> Self {
        Self::Unavailable(source.into())
    }
}

/// A part to receive.
pub struct StageRequest {
    /// The upload session.
    pub session: UploadId,
    /// Name that the session's blob will have.
    pub name: BlobName,
    /// The attempt, with its size limit, its location and the hash that it continues.
    pub attempt: Attempt,
    /// Declared size.
    pub declared: Option<u64>,
    /// Declared digest of this part alone (RFC 9530).
    pub checksum: Option<Digest>,
    /// The disk space that is promised to it, if space is limited. The store records what it has used of it.
    pub space: Option<SpaceReservation>,
    /// The bytes.
    pub body: BodyStream,
}

/// A part that was received in full and is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Its location.
    pub location: PartLocation,
    /// Its size.
    pub size: ByteSize,
    /// The hash of the upload up to the end of this part, if the attempt knew the hash up to its start.
    pub hash: Option<HashState>,
}

impl Staged {
    /// The part that `attempt` sent.
    pub fn into_part(self, attempt: &Attempt) -> Part {
        Part {
            number: attempt.number,
            attempt: attempt.id,
            sequence: attempt.sequence,
            size: self.size,
            location: self.location,
            hash: self.hash,
        }
    }
}

/// Why a part was not received; nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The request body ended early.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The body is larger than the attempt's limit.
    #[error("the part exceeds the expected size of the upload")]
    TooLarge,
    /// The part's digest is not the declared one.
    #[error("the part has the digest {actual}, not the one in Content-Digest")]
    Checksum {
        /// The computed digest.
        actual: Digest,
    },
    /// The store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// Staged parts to make a trusted blob of.
#[derive(Debug, Clone)]
pub struct IngestRequest {
    /// The upload session.
    pub session: UploadId,
    /// Name of the blob.
    pub name: BlobName,
    /// Claimed digest and size.
    pub claim: BlobClaim,
    /// The parts, ascending; their sizes sum to the claimed size.
    pub parts: Vec<Part>,
    /// The hash of the contiguous prefix that is hashed already.
    pub hashed: Option<HashState>,
}

/// The next step of an ingest.
pub enum IngestStep {
    /// Hash further bytes, continuing this hash.
    Hash(RunningHash),
    /// The digest is verified: make the bytes durable under the blob's name.
    Place,
}

impl IngestRequest {
    /// The next step, as far as the request alone shows.
    ///
    /// Parts that do not sum to the claimed size are [`IngestError::StagedGone`]: the session was finished by another
    /// worker, and its parts are no longer recorded.
    pub fn next_step(&self) -> Result<IngestStep, IngestError> {
        let (claimed, total) = (self.claim.size.get(), self.parts.iter().map(|part| part.size.get()).sum::<u64>());
        if total != claimed {
            return Err(IngestError::StagedGone);
        }
        let hash = match &self.hashed {
            Some(saved) => RunningHash::resume(saved).ok_or(IngestError::StagedGone)?,
            None => RunningHash::default(),
        };
        if hash.bytes() < claimed {
            return Ok(IngestStep::Hash(hash));
        }
        let actual = hash.finish();
        if actual == self.claim.digest { Ok(IngestStep::Place) } else { Err(IngestError::Mismatch { actual }) }
    }

    /// The checksums of the blocks of the blob, once all of it is hashed; `None` if some were not recorded.
    pub fn block_checksums(&self) -> Option<BlockChecksums> {
        let hash = self.hashed.as_ref().map_or_else(|| Some(RunningHash::default()), RunningHash::resume)?;
        let parts = self.parts.iter().filter_map(|part| part.hash.as_ref()).map(|hash| &hash.blocks);
        hash.block_checksums_after(parts).filter(|_| hash.bytes() == self.claim.size.get())
    }
}

/// What one step of an ingest achieved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ingested {
    /// Further bytes were hashed; save the hash and call again.
    Hashed(HashState),
    /// The bytes are verified and durable under the blob's name.
    Placed,
}

/// Why no blob was made.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The computed digest is not the claimed one.
    #[error("the content has the digest {actual}")]
    Mismatch {
        /// The computed digest.
        actual: Digest,
    },
    /// Staged bytes are missing or truncated.
    #[error("staged data is missing")]
    StagedGone,
    /// The store failed.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// Binds a blob store to the catalog that records its blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOwner {
    /// Identity of the catalog.
    pub catalog: Uuid,
    /// Identity of this binding; no two stores have the same.
    pub store: Uuid,
}

impl fmt::Display for StoreOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "catalog {} store {}", self.catalog, self.store)
    }
}

/// The text is not a store owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the owner record of the blob store is invalid")]
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

/// Stores parts of uploads and trusted blobs. One instance is shared by all requests and workers of a process.
///
/// Dropping a future of this trait may leave staged data, never a partial or overwritten blob.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Receives a part, hashing it as it arrives, and makes it durable before returning. On an error it removes what it
    /// wrote.
    ///
    /// The caller runs this future to completion, in a spawned task if a request could drop it: dropping it may leave
    /// staged data, and writes that are still in progress. No other attempt may continue the same location before that
    /// end.
    async fn stage(&self, request: StageRequest) -> Result<Staged, StageError>;

    /// Frees the bytes of a part that no session refers to any more, where that is possible without
    /// touching its neighbours. Succeeds if they are already gone.
    async fn discard(&self, session: UploadId, part: &Part) -> Result<(), BlobError>;

    /// Does one bounded step of an ingest: verifies bytes that are not yet hashed, then makes the blob durable under
    /// its name. Idempotent: it can be called again after [`Ingested::Placed`] and after a crash.
    async fn ingest(&self, request: &IngestRequest) -> Result<Ingested, IngestError>;

    /// Reads `range` of the blob `name`, which must have exactly `size` bytes, else [`BlobError::Damaged`].
    async fn open(&self, name: &BlobName, size: ByteSize, range: Range<u64>) -> Result<BlobStream, BlobError>;

    /// Reads `range` of the blob `name` at once, which is held in memory: for ranges of a few hundred KiB. Otherwise it is like
    /// [`BlobStore::open`], and one call where that is faster.
    async fn read(&self, name: &BlobName, size: ByteSize, range: Range<u64>) -> Result<Bytes, BlobError> {
        let length = range.end - range.start;
        let mut stored = self.open(name, size, range).await?;
        let mut bytes = stored.try_next().await?.unwrap_or_default();
        if (bytes.len() as u64) < length {
            let mut all = BytesMut::from(bytes);
            while let Some(more) = stored.try_next().await? {
                all.extend_from_slice(&more);
            }
            bytes = all.freeze();
        }
        if bytes.len() as u64 == length { Ok(bytes) } else { Err(BlobError::Damaged) }
    }

    /// Removes a blob that no catalog refers to. Succeeds if it is already gone.
    async fn remove(&self, name: &BlobName) -> Result<(), BlobError>;

    /// Removes everything staged for `session`, so that no worker can place its blob `name` any more. Without the name,
    /// for a session that the catalog does not know, removes what the store can attribute to it. Succeeds if nothing is
    /// staged.
    async fn clear_staging(&self, session: UploadId, name: Option<&BlobName>) -> Result<(), BlobError>;

    /// The sessions that have staged data.
    async fn staged_sessions(&self) -> Result<Vec<UploadId>, BlobError>;

    /// All stored bytes but staged ones. Lists the whole store: only for an operator's check.
    async fn stored_objects(&self) -> Result<Vec<StoredObject>, BlobError>;

    /// Free space in bytes; `None` if the back end does not report it.
    async fn free_bytes(&self) -> Result<Option<u64>, BlobError>;

    /// Writes, reads back and deletes a probe object.
    async fn probe(&self) -> Result<(), BlobError>;

    /// The owners that have claimed this store, in a fixed order; none if it is new. There can be several if nodes
    /// claimed it at the same time and the back end has no atomic create.
    async fn owners(&self) -> Result<Vec<StoreOwner>, BlobError>;

    /// Claims the store for `owner`. Another claim may win: check [`BlobStore::owners`] afterwards.
    async fn claim(&self, owner: StoreOwner) -> Result<(), BlobError>;

    /// Checks that blobs can be read, without writing.
    async fn check(&self) -> Result<(), BlobError>;
}
