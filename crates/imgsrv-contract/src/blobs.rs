//! What every blob store promises.

use crate::{Case, Opening, cases};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use imgsrv_domain::{
    digest::{BlobClaim, ByteSize, Digest},
    ids::{AttemptId, UploadId},
    names::PartNumber,
    parts::{HashBase, Part},
    ports::{BlobError, BlobName, BlobStore, BodyError, PromoteError, Promoted, Promotion, StageError, StageRequest},
    upload::{Attempt, Placement},
};
use sha2::Digest as _;
use std::{any::Any, sync::Arc};
use uuid::Uuid;

/// A fresh store. What `guard` holds lives as long as the case runs.
pub struct Fresh {
    /// The store, empty.
    pub store: Arc<dyn BlobStore>,
    /// Whatever must outlive it.
    pub guard: Box<dyn Any + Send + Sync>,
}

/// Runs every case on stores that `open` makes.
pub fn run(open: fn() -> Opening<Fresh>) -> ! {
    crate::run(open, CASES)
}

const CASES: &[Case<Fresh>] = cases![
    parts_in_order_are_hashed_as_they_arrive,
    parts_out_of_order_are_hashed_at_promotion,
    a_promotion_goes_on_from_a_saved_hash,
    promoting_again_after_success_is_harmless,
    bytes_of_another_digest_are_not_promoted,
    staged_bytes_that_are_gone_are_reported,
    a_replaced_part_is_promoted_with_its_new_bytes,
    a_cut_body_leaves_nothing_and_spares_its_neighbours,
    a_part_beyond_its_limit_is_refused,
    a_wrong_checksum_is_refused,
    a_right_checksum_of_a_later_part_is_accepted,
    an_empty_blob_can_be_promoted,
    two_sessions_promote_one_digest_under_two_names,
    ranges_are_read_exactly,
    a_blob_of_another_size_is_damaged,
    removing_and_clearing_again_is_harmless,
    staged_sessions_are_listed,
    a_promoted_blob_outlives_its_staging,
    the_probe_succeeds,
];

fn uuid() -> Uuid {
    let mut bytes = [0; 16];
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    bytes[..8].copy_from_slice(&count.to_be_bytes());
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

fn digest(bytes: &[u8]) -> Digest {
    Digest::new(sha2::Sha256::digest(bytes).into())
}

fn size(bytes: usize) -> ByteSize {
    ByteSize::try_from(bytes as u64).unwrap()
}

/// A session on the way, as the use cases would lead it.
struct Session<'a> {
    store: &'a dyn BlobStore,
    id: UploadId,
    parts: Vec<Part>,
}

impl<'a> Session<'a> {
    fn new(fresh: &'a Fresh) -> Self {
        Self { store: &*fresh.store, id: UploadId::new(uuid()), parts: Vec::new() }
    }

    fn attempt(&self, number: i64, base: HashBase, placement: Placement) -> Attempt {
        let number = PartNumber::try_from(number).unwrap();
        let sequence = i64::try_from(self.parts.len()).unwrap();
        Attempt { id: AttemptId::new(uuid()), sequence, number, base, placement, limit: size(1 << 30) }
    }

    /// The attempt that continues what was sent so far.
    fn next(&self) -> Attempt {
        let last = self.parts.last();
        let base = last.map_or(HashBase::Start, |last| HashBase::After(last.attempt, last.hash.clone().unwrap()));
        let behind = last.map(|last| (last.place.clone(), last.size));
        self.attempt(i64::try_from(self.parts.len()).unwrap() + 1, base, Placement::Append(behind))
    }

    async fn stage(&self, attempt: Attempt, frames: Vec<Result<Bytes, BodyError>>) -> Result<Part, StageError> {
        self.stage_checked(attempt, None, frames).await
    }

    async fn stage_checked(
        &self,
        attempt: Attempt,
        checksum: Option<Digest>,
        frames: Vec<Result<Bytes, BodyError>>,
    ) -> Result<Part, StageError> {
        let body = futures::stream::iter(frames).boxed();
        let request = StageRequest { session: self.id, attempt: attempt.clone(), declared: None, checksum, body };
        let staged = self.store.stage(request).await?;
        Ok(Part {
            number: attempt.number,
            attempt: attempt.id,
            sequence: attempt.sequence,
            size: staged.size,
            place: staged.place,
            hash: staged.hash,
        })
    }

    async fn append(&mut self, bytes: &[u8]) {
        let part = self.stage(self.next(), vec![Ok(Bytes::copy_from_slice(bytes))]).await.unwrap();
        self.parts.push(part);
    }

    async fn apart(&mut self, number: i64, bytes: &[u8]) {
        let attempt = self.attempt(number, HashBase::Unknown, Placement::Apart);
        let part = self.stage(attempt, vec![Ok(Bytes::copy_from_slice(bytes))]).await.unwrap();
        self.parts.push(part);
        self.parts.sort_by_key(|part| part.number);
    }

    fn promotion(&self, bytes: &[u8]) -> Promotion {
        let claim = BlobClaim { digest: digest(bytes), size: size(bytes.len()) };
        let name = BlobName::of(&claim.digest, self.id);
        Promotion { session: self.id, name, claim, parts: self.parts.clone(), hashed: None }
    }

    /// Promotes to the end; says how many steps hashed something.
    async fn promote(&self, mut promotion: Promotion) -> Result<u32, PromoteError> {
        for hashed in 0.. {
            match self.store.promote(&promotion).await? {
                Promoted::Placed => return Ok(hashed),
                Promoted::Hashed(state) => promotion.hashed = Some(state),
            }
        }
        unreachable!("a promotion ends");
    }
}

async fn read(store: &dyn BlobStore, name: &BlobName, length: usize) -> Vec<u8> {
    let stream = store.open(name, size(length), 0..length as u64).await.unwrap();
    stream.try_collect::<Vec<Bytes>>().await.unwrap().concat()
}

/// Bytes in which every 8 differ, over several read buffers.
fn long() -> Vec<u8> {
    (0..200_000_u64).flat_map(u64::to_le_bytes).collect()
}

async fn parts_in_order_are_hashed_as_they_arrive(fresh: Fresh) {
    let bytes = long();
    let mut session = Session::new(&fresh);
    for part in bytes.chunks(700_001) {
        session.append(part).await;
    }
    let mut promotion = session.promotion(&bytes);
    promotion.hashed = session.parts.last().unwrap().hash.clone();
    assert_eq!(session.promote(promotion.clone()).await.unwrap(), 0, "nothing is read again");
    assert_eq!(read(&*fresh.store, &promotion.name, bytes.len()).await, bytes);
    drop(fresh.guard);
}

async fn parts_out_of_order_are_hashed_at_promotion(fresh: Fresh) {
    let bytes = long();
    let mut session = Session::new(&fresh);
    session.apart(3, &bytes[1_000_000..]).await;
    session.append_first(&bytes[..500_000]).await;
    session.apart(2, &bytes[500_000..1_000_000]).await;
    let mut promotion = session.promotion(&bytes);
    promotion.hashed = session.parts[0].hash.clone();
    assert!(session.promote(promotion.clone()).await.unwrap() > 0);
    assert_eq!(read(&*fresh.store, &promotion.name, bytes.len()).await, bytes);
}

impl Session<'_> {
    async fn append_first(&mut self, bytes: &[u8]) {
        let attempt = self.attempt(1, HashBase::Start, Placement::Append(None));
        let part = self.stage(attempt, vec![Ok(Bytes::copy_from_slice(bytes))]).await.unwrap();
        self.parts.push(part);
        self.parts.sort_by_key(|part| part.number);
    }
}

async fn a_promotion_goes_on_from_a_saved_hash(fresh: Fresh) {
    let bytes = long();
    let mut session = Session::new(&fresh);
    session.append(&bytes).await;
    let promotion = session.promotion(&bytes);
    let Promoted::Hashed(state) = session.store.promote(&promotion).await.unwrap() else { panic!("hashed nothing") };
    assert_eq!(state.bytes, bytes.len() as u64);
    let resumed = Promotion { hashed: Some(state), ..promotion };
    assert_eq!(session.store.promote(&resumed).await.unwrap(), Promoted::Placed);
}

async fn promoting_again_after_success_is_harmless(fresh: Fresh) {
    let mut session = Session::new(&fresh);
    session.append(b"bytes").await;
    for _ in 0..2 {
        session.promote(session.promotion(b"bytes")).await.unwrap();
    }
    let name = session.promotion(b"bytes").name;
    assert_eq!(read(&*fresh.store, &name, 5).await, b"bytes");
}

async fn bytes_of_another_digest_are_not_promoted(fresh: Fresh) {
    let mut session = Session::new(&fresh);
    session.append(b"other").await;
    let promotion = session.promotion(b"bytes");
    let refused = session.promote(promotion.clone()).await.unwrap_err();
    assert!(matches!(refused, PromoteError::Mismatch { actual } if actual == digest(b"other")));
    let opened = fresh.store.open(&promotion.name, size(5), 0..5).await;
    assert!(matches!(opened.err().unwrap(), BlobError::Damaged));
}

async fn staged_bytes_that_are_gone_are_reported(fresh: Fresh) {
    let mut session = Session::new(&fresh);
    session.append(b"bytes").await;
    let mut hashed = session.promotion(b"bytes");
    hashed.hashed = session.parts[0].hash.clone();
    fresh.store.clear_staging(session.id).await.unwrap();
    for promotion in [session.promotion(b"bytes"), hashed] {
        assert!(matches!(session.promote(promotion).await.unwrap_err(), PromoteError::StagedGone));
    }
}

async fn a_replaced_part_is_promoted_with_its_new_bytes(fresh: Fresh) {
    let mut session = Session::new(&fresh);
    session.append(b"one").await;
    session.append(b"tw0").await;
    let replaced = session.parts.pop().unwrap();
    session.apart(2, b"two").await;
    fresh.store.discard(session.id, &replaced).await.unwrap();
    let promotion = session.promotion(b"onetwo");
    session.promote(promotion.clone()).await.unwrap();
    assert_eq!(read(&*fresh.store, &promotion.name, 6).await, b"onetwo");
}

async fn a_cut_body_leaves_nothing_and_spares_its_neighbours(fresh: Fresh) {
    let mut session = Session::new(&fresh);
    session.append(b"one").await;
    let frames = vec![Ok(Bytes::from(vec![7; 1 << 20])), Err(BodyError::Cut)];
    let cut = session.stage(session.next(), frames).await.unwrap_err();
    assert!(matches!(cut, StageError::Body(BodyError::Cut)));
    session.append(b"two").await;
    let mut promotion = session.promotion(b"onetwo");
    promotion.hashed = session.parts[1].hash.clone();
    assert_eq!(session.promote(promotion.clone()).await.unwrap(), 0);
    assert_eq!(read(&*fresh.store, &promotion.name, 6).await, b"onetwo");
}

async fn a_part_beyond_its_limit_is_refused(fresh: Fresh) {
    let session = Session::new(&fresh);
    let attempt = Attempt { limit: size(3), ..session.next() };
    let refused = session.stage(attempt, vec![Ok(Bytes::from("on")), Ok(Bytes::from("ex"))]).await.unwrap_err();
    assert!(matches!(refused, StageError::TooLarge));
    let exact = Attempt { limit: size(3), ..session.next() };
    session.stage(exact, vec![Ok(Bytes::from("one"))]).await.unwrap();
}

async fn a_wrong_checksum_is_refused(fresh: Fresh) {
    let session = Session::new(&fresh);
    let frames = vec![Ok(Bytes::from("one"))];
    let refused = session.stage_checked(session.next(), Some(digest(b"two")), frames).await.unwrap_err();
    assert!(matches!(refused, StageError::Checksum { actual } if actual == digest(b"one")));
}

async fn a_right_checksum_of_a_later_part_is_accepted(fresh: Fresh) {
    let mut session = Session::new(&fresh);
    session.append(b"one").await;
    let frames = vec![Ok(Bytes::from("two"))];
    session.stage_checked(session.next(), Some(digest(b"two")), frames).await.unwrap();
}

async fn an_empty_blob_can_be_promoted(fresh: Fresh) {
    let session = Session::new(&fresh);
    let promotion = session.promotion(b"");
    session.promote(promotion.clone()).await.unwrap();
    assert!(read(&*fresh.store, &promotion.name, 0).await.is_empty());
}

async fn two_sessions_promote_one_digest_under_two_names(fresh: Fresh) {
    let mut names = Vec::new();
    for _ in 0..2 {
        let mut session = Session::new(&fresh);
        session.append(b"bytes").await;
        let promotion = session.promotion(b"bytes");
        session.promote(promotion.clone()).await.unwrap();
        names.push(promotion.name);
    }
    assert_ne!(names[0], names[1]);
    fresh.store.remove(&names[1]).await.unwrap();
    assert_eq!(read(&*fresh.store, &names[0], 5).await, b"bytes");
}

async fn ranges_are_read_exactly(fresh: Fresh) {
    let bytes = long();
    let mut session = Session::new(&fresh);
    session.append(&bytes).await;
    let promotion = session.promotion(&bytes);
    session.promote(promotion.clone()).await.unwrap();
    let length = bytes.len();
    for (start, end) in
        [(0, 1), (0, 0), (length - 1, length), (262_143, 262_145), (1, length - 1), (300_000, 1_200_000)]
    {
        let range = start as u64..end as u64;
        let stream = fresh.store.open(&promotion.name, size(length), range).await.unwrap();
        let read = stream.try_collect::<Vec<Bytes>>().await.unwrap().concat();
        assert!(read == bytes[start..end], "{start}..{end}");
    }
}

async fn a_blob_of_another_size_is_damaged(fresh: Fresh) {
    let mut session = Session::new(&fresh);
    session.append(b"bytes").await;
    let promotion = session.promotion(b"bytes");
    session.promote(promotion.clone()).await.unwrap();
    let opened = fresh.store.open(&promotion.name, size(6), 0..6).await;
    assert!(matches!(opened.err().unwrap(), BlobError::Damaged));
}

async fn removing_and_clearing_again_is_harmless(fresh: Fresh) {
    let mut session = Session::new(&fresh);
    session.append(b"bytes").await;
    let name = session.promotion(b"bytes").name;
    for _ in 0..2 {
        fresh.store.remove(&name).await.unwrap();
        fresh.store.discard(session.id, &session.parts[0]).await.unwrap();
        fresh.store.clear_staging(session.id).await.unwrap();
    }
}

async fn staged_sessions_are_listed(fresh: Fresh) {
    assert_eq!(fresh.store.staged_sessions().await.unwrap(), []);
    let mut session = Session::new(&fresh);
    session.append(b"bytes").await;
    assert_eq!(fresh.store.staged_sessions().await.unwrap(), [session.id]);
    fresh.store.clear_staging(session.id).await.unwrap();
    assert_eq!(fresh.store.staged_sessions().await.unwrap(), []);
}

async fn a_promoted_blob_outlives_its_staging(fresh: Fresh) {
    let mut session = Session::new(&fresh);
    session.append(b"bytes").await;
    let promotion = session.promotion(b"bytes");
    session.promote(promotion.clone()).await.unwrap();
    fresh.store.clear_staging(session.id).await.unwrap();
    assert_eq!(read(&*fresh.store, &promotion.name, 5).await, b"bytes");
}

async fn the_probe_succeeds(fresh: Fresh) {
    fresh.store.probe().await.unwrap();
    fresh.store.check().await.unwrap();
}
