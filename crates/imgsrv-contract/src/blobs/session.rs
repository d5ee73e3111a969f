//! An upload session as the use cases run it, and bytes to send.

use super::Fresh;
use crate::uuid;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use imgsrv_domain::{
    blocks::BlockChecksums,
    digest::{BlobClaim, ByteSize, Digest},
    ids::{AttemptId, UploadId},
    names::PartNumber,
    parts::{HashBase, Part},
    ports::{
        BlobError, BlobName, BlobStore, BodyError, BodyStream, IngestError, IngestRequest, Ingested, StageError,
        StageRequest, StoreOwner,
    },
    upload::{Attempt, Placement},
};
use sha2::Digest as _;
use std::ops::Range;

pub(super) fn digest(bytes: &[u8]) -> Digest {
    Digest::new(sha2::Sha256::digest(bytes).into())
}

pub(super) fn size(bytes: usize) -> ByteSize {
    ByteSize::try_from(bytes as u64).unwrap()
}

/// What arrives of a body.
type Frames = Vec<Result<Bytes, BodyError>>;

/// An upload session.
pub(super) struct Session<'a> {
    pub(super) store: &'a dyn BlobStore,
    pub(super) id: UploadId,
    pub(super) claim: BlobClaim,
    pub(super) parts: Vec<Part>,
}

impl<'a> Session<'a> {
    /// A session that claims digest and size of `bytes`.
    pub(super) fn claiming(fresh: &'a Fresh, bytes: &[u8]) -> Self {
        let claim = BlobClaim { digest: digest(bytes), size: size(bytes.len()) };
        Self { store: &*fresh.store, id: UploadId::new(uuid()), claim, parts: Vec::new() }
    }

    /// A session with all of its bytes, sent in order in parts of `size`.
    pub(super) async fn in_parts(fresh: &'a Fresh, bytes: &[u8], size: usize) -> Self {
        let mut session = Self::claiming(fresh, bytes);
        for part in bytes.chunks(size) {
            session.append(part).await;
        }
        session
    }

    /// A session with all of its bytes in one part.
    pub(super) async fn complete(fresh: &'a Fresh, bytes: &[u8]) -> Self {
        Self::in_parts(fresh, bytes, bytes.len()).await
    }

    pub(super) async fn clear(&self) {
        self.store.clear_staging(self.id, Some(&self.name())).await.unwrap();
    }

    pub(super) fn name(&self) -> BlobName {
        BlobName::of(&self.claim.digest, self.id)
    }

    pub(super) fn attempt(&self, number: i64, base: HashBase, placement: Placement) -> Attempt {
        let number = PartNumber::try_from(number).unwrap();
        let sequence = i64::try_from(self.parts.len()).unwrap();
        Attempt { id: AttemptId::new(uuid()), sequence, number, base, placement, limit: size(1 << 30) }
    }

    /// The attempt that continues the contiguous prefix.
    pub(super) fn next(&self) -> Attempt {
        let last = self.parts.last();
        let base = last.map_or(HashBase::Start, |last| HashBase::After(last.attempt, last.hash.clone().unwrap()));
        let end = last.map(|last| (last.location.clone(), last.size));
        self.attempt(i64::try_from(self.parts.len()).unwrap() + 1, base, Placement::Frontier(end))
    }

    pub(super) async fn stage(&self, attempt: Attempt, frames: Frames) -> Result<Part, StageError> {
        let body = futures::stream::iter(frames).boxed();
        let staged = self.store.stage(self.stage_request(attempt.clone(), body)).await?;
        Ok(staged.into_part(&attempt))
    }

    pub(super) fn stage_request(&self, attempt: Attempt, body: BodyStream) -> StageRequest {
        StageRequest { session: self.id, name: self.name(), attempt, declared: None, checksum: None, space: None, body }
    }

    /// A request to stage `bytes` as the next part.
    pub(super) fn stage_next(&self, bytes: &'static [u8]) -> StageRequest {
        self.stage_request(self.next(), futures::stream::iter([Ok(Bytes::from_static(bytes))]).boxed())
    }

    pub(super) async fn append(&mut self, bytes: &[u8]) {
        self.insert(self.next(), bytes).await;
    }

    pub(super) async fn stage_standalone(&mut self, number: i64, bytes: &[u8]) {
        self.insert(self.attempt(number, HashBase::Unknown, Placement::Standalone), bytes).await;
    }

    /// A request to ingest from the hash of the first `hashed` parts.
    pub(super) fn request(&self, hashed: usize) -> IngestRequest {
        let hashed = hashed.checked_sub(1).and_then(|last| self.parts[last].hash.clone());
        IngestRequest { session: self.id, name: self.name(), claim: self.claim, parts: self.parts.clone(), hashed }
    }

    /// Ingests to the end; returns the number of steps that hashed something.
    pub(super) async fn ingest(&self, request: IngestRequest) -> Result<u32, IngestError> {
        self.ingest_with_checksums(request).await.map(|(hashed, _)| hashed)
    }

    /// The same, and the block checksums.
    async fn ingest_with_checksums(&self, mut request: IngestRequest) -> Result<(u32, BlockChecksums), IngestError> {
        for hashed in 0.. {
            match self.store.ingest(&request).await? {
                Ingested::Placed => return Ok((hashed, request.block_checksums().expect("all checksums"))),
                Ingested::Hashed(state) => request.hashed = Some(state),
            }
        }
        unreachable!("an ingest ends");
    }

    pub(super) async fn append_first(&mut self, bytes: &[u8]) {
        self.insert(self.attempt(1, HashBase::Start, Placement::Frontier(None)), bytes).await;
    }

    async fn insert(&mut self, attempt: Attempt, bytes: &[u8]) {
        let part = self.stage(attempt, vec![Ok(Bytes::copy_from_slice(bytes))]).await.unwrap();
        self.parts.push(part);
        self.parts.sort_by_key(|part| part.number);
    }

    /// Ingests from the hash of the first `hashed` parts, twice with the same result, and reads the blob.
    pub(super) async fn ingest_and_read(&self, hashed: usize) -> (u32, Vec<u8>) {
        let (steps, checksums) = self.ingest_with_checksums(self.request(hashed)).await.unwrap();
        let blob = self.read().await;
        assert_eq!(checksums, BlockChecksums::of(&blob));
        self.ingest(self.request(hashed)).await.unwrap();
        assert!(self.read().await == blob);
        (steps, blob)
    }

    /// The bytes of the blob.
    pub(super) async fn read(&self) -> Vec<u8> {
        self.read_range(0..self.claim.size.get()).await
    }

    pub(super) async fn read_range(&self, range: Range<u64>) -> Vec<u8> {
        let stream = self.store.open(&self.name(), self.claim.size, range).await.unwrap();
        stream.try_collect::<Vec<Bytes>>().await.unwrap().concat()
    }

    /// Whether a blob of `size` cannot be read because it is absent or different.
    pub(super) async fn is_damaged(&self, size: ByteSize) -> bool {
        let opened = self.store.open(&self.name(), size, 0..size.get()).await;
        matches!(opened.err().unwrap(), BlobError::Damaged)
    }
}

/// Bytes over several read buffers, in which every 8 differ.
pub(super) fn long() -> Vec<u8> {
    (0..200_000_u64).flat_map(u64::to_le_bytes).collect()
}

/// `mib` MiB in which every 8 bytes differ, counted from `start`.
pub(super) fn words(start: u64, mib: u64) -> Vec<u8> {
    (start..start + (mib << 17)).flat_map(u64::to_le_bytes).collect()
}

pub(super) fn owner() -> StoreOwner {
    StoreOwner { catalog: uuid(), store: uuid() }
}
