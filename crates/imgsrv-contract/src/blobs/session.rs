//! A session on the way, and bytes to send.

use super::Fresh;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use imgsrv_domain::{
    digest::{BlobClaim, ByteSize, Digest},
    ids::{AttemptId, UploadId},
    names::PartNumber,
    parts::{HashBase, Part},
    ports::{
        BlobName, BlobStore, BodyError, IngestError, IngestRequest, Ingested, StageError, StageRequest, StoreOwner,
    },
    upload::{Attempt, Placement},
};
use sha2::Digest as _;
use uuid::Uuid;

pub(super) fn uuid() -> Uuid {
    let mut bytes = [0; 16];
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    bytes[..8].copy_from_slice(&count.to_be_bytes());
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

pub(super) fn digest(bytes: &[u8]) -> Digest {
    Digest::new(sha2::Sha256::digest(bytes).into())
}

pub(super) fn size(bytes: usize) -> ByteSize {
    ByteSize::try_from(bytes as u64).unwrap()
}

/// A session on the way, as the use cases would lead it.
pub(super) struct Session<'a> {
    pub(super) store: &'a dyn BlobStore,
    pub(super) id: UploadId,
    pub(super) claim: BlobClaim,
    pub(super) parts: Vec<Part>,
}

impl<'a> Session<'a> {
    /// A session that claims to send `bytes`.
    pub(super) fn claiming(fresh: &'a Fresh, bytes: &[u8]) -> Self {
        let claim = BlobClaim { digest: digest(bytes), size: size(bytes.len()) };
        Self { store: &*fresh.store, id: UploadId::new(uuid()), claim, parts: Vec::new() }
    }

    pub(super) fn name(&self) -> BlobName {
        BlobName::of(&self.claim.digest, self.id)
    }

    pub(super) fn attempt(&self, number: i64, base: HashBase, placement: Placement) -> Attempt {
        let number = PartNumber::try_from(number).unwrap();
        let sequence = i64::try_from(self.parts.len()).unwrap();
        Attempt { id: AttemptId::new(uuid()), sequence, number, base, placement, limit: size(1 << 30) }
    }

    /// The attempt that continues what was sent so far.
    pub(super) fn next(&self) -> Attempt {
        let last = self.parts.last();
        let base = last.map_or(HashBase::Start, |last| HashBase::After(last.attempt, last.hash.clone().unwrap()));
        let behind = last.map(|last| (last.location.clone(), last.size));
        self.attempt(i64::try_from(self.parts.len()).unwrap() + 1, base, Placement::Frontier(behind))
    }

    pub(super) async fn stage(
        &self,
        attempt: Attempt,
        frames: Vec<Result<Bytes, BodyError>>,
    ) -> Result<Part, StageError> {
        self.stage_checked(attempt, None, frames).await
    }

    pub(super) async fn stage_checked(
        &self,
        attempt: Attempt,
        checksum: Option<Digest>,
        frames: Vec<Result<Bytes, BodyError>>,
    ) -> Result<Part, StageError> {
        let body = futures::stream::iter(frames).boxed();
        let (session, name) = (self.id, self.name());
        let request = StageRequest { session, name, attempt: attempt.clone(), declared: None, checksum, body };
        let staged = self.store.stage(request).await?;
        Ok(Part {
            number: attempt.number,
            attempt: attempt.id,
            sequence: attempt.sequence,
            size: staged.size,
            location: staged.location,
            hash: staged.hash,
        })
    }

    pub(super) async fn append(&mut self, bytes: &[u8]) {
        let part = self.stage(self.next(), vec![Ok(Bytes::copy_from_slice(bytes))]).await.unwrap();
        self.parts.push(part);
    }

    pub(super) async fn apart(&mut self, number: i64, bytes: &[u8]) {
        let attempt = self.attempt(number, HashBase::Unknown, Placement::Standalone);
        let part = self.stage(attempt, vec![Ok(Bytes::copy_from_slice(bytes))]).await.unwrap();
        self.parts.push(part);
        self.parts.sort_by_key(|part| part.number);
    }

    pub(super) fn promotion(&self) -> IngestRequest {
        let (session, name, claim) = (self.id, self.name(), self.claim);
        IngestRequest { session, name, claim, parts: self.parts.clone(), hashed: None }
    }

    /// Promotes to the end; says how many steps hashed something.
    pub(super) async fn ingest(&self, mut promotion: IngestRequest) -> Result<u32, IngestError> {
        for hashed in 0.. {
            match self.store.ingest(&promotion).await? {
                Ingested::Placed => return Ok(hashed),
                Ingested::Hashed(state) => promotion.hashed = Some(state),
            }
        }
        unreachable!("a promotion ends");
    }

    pub(super) async fn append_first(&mut self, bytes: &[u8]) {
        let attempt = self.attempt(1, HashBase::Start, Placement::Frontier(None));
        let part = self.stage(attempt, vec![Ok(Bytes::copy_from_slice(bytes))]).await.unwrap();
        self.parts.push(part);
        self.parts.sort_by_key(|part| part.number);
    }

    /// Promotes from the hash of the first `hashed` parts, twice, and reads the blob.
    pub(super) async fn promote_and_read(&self, hashed: usize) -> (u32, Vec<u8>) {
        let mut promotion = self.promotion();
        promotion.hashed = hashed.checked_sub(1).and_then(|last| self.parts[last].hash.clone());
        let steps = self.ingest(promotion.clone()).await.unwrap();
        self.ingest(promotion).await.unwrap();
        let length = usize::try_from(self.claim.size.get()).unwrap();
        (steps, read(self.store, &self.name(), length).await)
    }
}

pub(super) async fn read(store: &dyn BlobStore, name: &BlobName, length: usize) -> Vec<u8> {
    let stream = store.open(name, size(length), 0..length as u64).await.unwrap();
    stream.try_collect::<Vec<Bytes>>().await.unwrap().concat()
}

/// Bytes in which every 8 differ, over several read buffers.
pub(super) fn long() -> Vec<u8> {
    (0..200_000_u64).flat_map(u64::to_le_bytes).collect()
}

/// Bytes in which every 8 differ, from `start` on.
pub(super) fn words(start: u64, mib: u64) -> Vec<u8> {
    (start..start + (mib << 17)).flat_map(u64::to_le_bytes).collect()
}

pub(super) fn owner() -> StoreOwner {
    StoreOwner { catalog: uuid(), store: uuid() }
}
