//! What every blob store promises.

use crate::{Case, Open, cases};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use imgsrv_domain::{
    digest::{BlobClaim, ByteSize, Digest},
    ids::{AttemptId, UploadId},
    names::PartNumber,
    parts::{HashBase, Part},
    ports::{
        BlobError, BlobName, BlobStore, BodyError, PromoteError, Promoted, Promotion, StageError, StageRequest,
        StoreOwner,
    },
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

/// Runs every case on fresh stores of each adapter.
pub fn run(adapters: &[(&str, Open<Fresh>)]) -> ! {
    crate::run(adapters, CASES)
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
    large_parts_in_order_are_not_read_again,
    large_parts_in_any_order_make_one_blob,
    a_replaced_part_among_large_ones_is_promoted_with_its_new_bytes,
    a_first_part_that_was_replaced_is_promoted_with_its_new_bytes,
    small_and_large_parts_make_one_blob,
    many_small_parts_make_one_blob,
    large_bytes_of_another_digest_are_not_promoted,
    a_large_body_that_is_cut_leaves_nothing_staged,
    a_cleared_session_places_nothing_any_more,
    a_tiny_last_part_makes_one_blob_with_large_ones,
    a_part_that_was_replaced_by_nothing_makes_one_blob_with_the_others,
    a_blob_outlives_a_worker_that_comes_late_and_knows_no_parts,
    a_body_of_another_length_than_announced_is_refused,
    two_workers_may_promote_beside_one_another,
    two_workers_may_add_to_one_upload_beside_one_another,
    leftovers_of_an_unknown_session_are_cleared,
    a_store_is_somebodys_for_good,
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
    claim: BlobClaim,
    parts: Vec<Part>,
}

impl<'a> Session<'a> {
    /// A session that claims to send `bytes`.
    fn claiming(fresh: &'a Fresh, bytes: &[u8]) -> Self {
        let claim = BlobClaim { digest: digest(bytes), size: size(bytes.len()) };
        Self { store: &*fresh.store, id: UploadId::new(uuid()), claim, parts: Vec::new() }
    }

    fn name(&self) -> BlobName {
        BlobName::of(&self.claim.digest, self.id)
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
        let (session, name) = (self.id, self.name());
        let request = StageRequest { session, name, attempt: attempt.clone(), declared: None, checksum, body };
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

    fn promotion(&self) -> Promotion {
        let (session, name, claim) = (self.id, self.name(), self.claim);
        Promotion { session, name, claim, parts: self.parts.clone(), hashed: None }
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
    let mut session = Session::claiming(&fresh, &bytes);
    for part in bytes.chunks(700_001) {
        session.append(part).await;
    }
    let mut promotion = session.promotion();
    promotion.hashed = session.parts.last().unwrap().hash.clone();
    assert_eq!(session.promote(promotion.clone()).await.unwrap(), 0, "nothing is read again");
    assert_eq!(read(&*fresh.store, &promotion.name, bytes.len()).await, bytes);
    drop(fresh.guard);
}

async fn parts_out_of_order_are_hashed_at_promotion(fresh: Fresh) {
    let bytes = long();
    let mut session = Session::claiming(&fresh, &bytes);
    session.apart(3, &bytes[1_000_000..]).await;
    session.append_first(&bytes[..500_000]).await;
    session.apart(2, &bytes[500_000..1_000_000]).await;
    let mut promotion = session.promotion();
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
    let mut session = Session::claiming(&fresh, &bytes);
    session.append(&bytes).await;
    let promotion = session.promotion();
    let Promoted::Hashed(state) = session.store.promote(&promotion).await.unwrap() else { panic!("hashed nothing") };
    assert_eq!(state.bytes, bytes.len() as u64);
    let resumed = Promotion { hashed: Some(state), ..promotion };
    assert_eq!(session.store.promote(&resumed).await.unwrap(), Promoted::Placed);
}

async fn promoting_again_after_success_is_harmless(fresh: Fresh) {
    let mut session = Session::claiming(&fresh, b"bytes");
    session.append(b"bytes").await;
    for _ in 0..2 {
        session.promote(session.promotion()).await.unwrap();
    }
    let name = session.promotion().name;
    assert_eq!(read(&*fresh.store, &name, 5).await, b"bytes");
}

async fn bytes_of_another_digest_are_not_promoted(fresh: Fresh) {
    fresh.store.set_owner(owner()).await.unwrap();
    let mut session = Session::claiming(&fresh, b"bytes");
    session.append(b"other").await;
    let promotion = session.promotion();
    let refused = session.promote(promotion.clone()).await.unwrap_err();
    assert!(matches!(refused, PromoteError::Mismatch { actual } if actual == digest(b"other")));
    let opened = fresh.store.open(&promotion.name, size(5), 0..5).await;
    assert!(matches!(opened.err().unwrap(), BlobError::Damaged));
}

async fn staged_bytes_that_are_gone_are_reported(fresh: Fresh) {
    fresh.store.set_owner(owner()).await.unwrap();
    let mut session = Session::claiming(&fresh, b"bytes");
    session.append(b"bytes").await;
    let mut hashed = session.promotion();
    hashed.hashed = session.parts[0].hash.clone();
    fresh.store.clear_staging(session.id, Some(&session.name())).await.unwrap();
    for promotion in [session.promotion(), hashed] {
        assert!(matches!(session.promote(promotion).await.unwrap_err(), PromoteError::StagedGone));
    }
}

async fn a_replaced_part_is_promoted_with_its_new_bytes(fresh: Fresh) {
    let mut session = Session::claiming(&fresh, b"onetwo");
    session.append(b"one").await;
    session.append(b"tw0").await;
    let replaced = session.parts.pop().unwrap();
    session.apart(2, b"two").await;
    fresh.store.discard(session.id, &replaced).await.unwrap();
    let promotion = session.promotion();
    session.promote(promotion.clone()).await.unwrap();
    assert_eq!(read(&*fresh.store, &promotion.name, 6).await, b"onetwo");
}

async fn a_cut_body_leaves_nothing_and_spares_its_neighbours(fresh: Fresh) {
    let mut session = Session::claiming(&fresh, b"onetwo");
    session.append(b"one").await;
    let frames = vec![Ok(Bytes::from(vec![7; 1 << 20])), Err(BodyError::Cut)];
    let cut = session.stage(session.next(), frames).await.unwrap_err();
    assert!(matches!(cut, StageError::Body(BodyError::Cut)));
    session.append(b"two").await;
    let mut promotion = session.promotion();
    promotion.hashed = session.parts[1].hash.clone();
    assert_eq!(session.promote(promotion.clone()).await.unwrap(), 0);
    assert_eq!(read(&*fresh.store, &promotion.name, 6).await, b"onetwo");
}

async fn a_part_beyond_its_limit_is_refused(fresh: Fresh) {
    let session = Session::claiming(&fresh, b"bytes");
    let attempt = Attempt { limit: size(3), ..session.next() };
    let refused = session.stage(attempt, vec![Ok(Bytes::from("on")), Ok(Bytes::from("ex"))]).await.unwrap_err();
    assert!(matches!(refused, StageError::TooLarge));
    let exact = Attempt { limit: size(3), ..session.next() };
    session.stage(exact, vec![Ok(Bytes::from("one"))]).await.unwrap();
}

async fn a_wrong_checksum_is_refused(fresh: Fresh) {
    let session = Session::claiming(&fresh, b"bytes");
    let frames = vec![Ok(Bytes::from("one"))];
    let refused = session.stage_checked(session.next(), Some(digest(b"two")), frames).await.unwrap_err();
    assert!(matches!(refused, StageError::Checksum { actual } if actual == digest(b"one")));
}

async fn a_right_checksum_of_a_later_part_is_accepted(fresh: Fresh) {
    let mut session = Session::claiming(&fresh, b"bytes");
    session.append(b"one").await;
    let frames = vec![Ok(Bytes::from("two"))];
    session.stage_checked(session.next(), Some(digest(b"two")), frames).await.unwrap();
}

async fn an_empty_blob_can_be_promoted(fresh: Fresh) {
    let session = Session::claiming(&fresh, b"");
    let promotion = session.promotion();
    session.promote(promotion.clone()).await.unwrap();
    assert!(read(&*fresh.store, &promotion.name, 0).await.is_empty());
}

async fn two_sessions_promote_one_digest_under_two_names(fresh: Fresh) {
    let mut names = Vec::new();
    for _ in 0..2 {
        let mut session = Session::claiming(&fresh, b"bytes");
        session.append(b"bytes").await;
        let promotion = session.promotion();
        session.promote(promotion.clone()).await.unwrap();
        names.push(promotion.name);
    }
    assert_ne!(names[0], names[1]);
    fresh.store.remove(&names[1]).await.unwrap();
    assert_eq!(read(&*fresh.store, &names[0], 5).await, b"bytes");
}

async fn ranges_are_read_exactly(fresh: Fresh) {
    let bytes = long();
    let mut session = Session::claiming(&fresh, &bytes);
    session.append(&bytes).await;
    let promotion = session.promotion();
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
    let mut session = Session::claiming(&fresh, b"bytes");
    session.append(b"bytes").await;
    let promotion = session.promotion();
    session.promote(promotion.clone()).await.unwrap();
    let opened = fresh.store.open(&promotion.name, size(6), 0..6).await;
    assert!(matches!(opened.err().unwrap(), BlobError::Damaged));
}

async fn removing_and_clearing_again_is_harmless(fresh: Fresh) {
    let mut session = Session::claiming(&fresh, b"bytes");
    session.append(b"bytes").await;
    let name = session.promotion().name;
    for _ in 0..2 {
        fresh.store.remove(&name).await.unwrap();
        fresh.store.discard(session.id, &session.parts[0]).await.unwrap();
        fresh.store.clear_staging(session.id, Some(&session.name())).await.unwrap();
    }
}

async fn staged_sessions_are_listed(fresh: Fresh) {
    assert_eq!(fresh.store.staged_sessions().await.unwrap(), []);
    let mut session = Session::claiming(&fresh, b"bytes");
    session.append(b"bytes").await;
    assert_eq!(fresh.store.staged_sessions().await.unwrap(), [session.id]);
    fresh.store.clear_staging(session.id, Some(&session.name())).await.unwrap();
    assert_eq!(fresh.store.staged_sessions().await.unwrap(), []);
}

async fn a_promoted_blob_outlives_its_staging(fresh: Fresh) {
    let mut session = Session::claiming(&fresh, b"bytes");
    session.append(b"bytes").await;
    let promotion = session.promotion();
    session.promote(promotion.clone()).await.unwrap();
    fresh.store.clear_staging(session.id, Some(&session.name())).await.unwrap();
    assert_eq!(read(&*fresh.store, &promotion.name, 5).await, b"bytes");
}

async fn the_probe_succeeds(fresh: Fresh) {
    fresh.store.probe().await.unwrap();
    fresh.store.set_owner(owner()).await.unwrap();
    fresh.store.check().await.unwrap();
}

/// Bytes in which every 8 differ, from `start` on.
fn words(start: u64, mib: u64) -> Vec<u8> {
    (start..start + (mib << 17)).flat_map(u64::to_le_bytes).collect()
}

impl Session<'_> {
    /// Promotes from the hash of the first `hashed` parts, twice, and reads the blob.
    async fn promote_and_read(&self, hashed: usize) -> (u32, Vec<u8>) {
        let mut promotion = self.promotion();
        promotion.hashed = hashed.checked_sub(1).and_then(|last| self.parts[last].hash.clone());
        let steps = self.promote(promotion.clone()).await.unwrap();
        self.promote(promotion).await.unwrap();
        let length = usize::try_from(self.claim.size.get()).unwrap();
        (steps, read(self.store, &self.name(), length).await)
    }
}

async fn large_parts_in_order_are_not_read_again(fresh: Fresh) {
    let bytes = words(1, 34);
    let mut session = Session::claiming(&fresh, &bytes);
    for part in bytes.chunks(11 << 20) {
        session.append(part).await;
    }
    let (steps, read) = session.promote_and_read(session.parts.len()).await;
    assert_eq!(steps, 0, "nothing is read again");
    assert!(read == bytes);
    fresh.store.clear_staging(session.id, Some(&session.name())).await.unwrap();
    assert_eq!(fresh.store.staged_sessions().await.unwrap(), []);
}

async fn large_parts_in_any_order_make_one_blob(fresh: Fresh) {
    let bytes = words(2, 31);
    let mut session = Session::claiming(&fresh, &bytes);
    let parts: Vec<&[u8]> = bytes.chunks(8 << 20).collect();
    session.apart(4, parts[3]).await;
    session.apart(2, parts[1]).await;
    session.append_first(parts[0]).await;
    session.apart(3, parts[2]).await;
    let (steps, read) = session.promote_and_read(1).await;
    assert!(steps > 0);
    assert!(read == bytes);
}

async fn a_replaced_part_among_large_ones_is_promoted_with_its_new_bytes(fresh: Fresh) {
    let (mut bytes, old) = (words(3, 36), words(9, 12));
    bytes.truncate(33 << 20);
    let mut session = Session::claiming(&fresh, &bytes);
    session.append(&bytes[..12 << 20]).await;
    session.append(&old).await;
    session.append(&bytes[24 << 20..]).await;
    let replaced = session.parts.remove(1);
    session.apart(2, &bytes[12 << 20..24 << 20]).await;
    fresh.store.discard(session.id, &replaced).await.unwrap();
    let (_, read) = session.promote_and_read(1).await;
    assert!(read == bytes);
}

async fn a_first_part_that_was_replaced_is_promoted_with_its_new_bytes(fresh: Fresh) {
    let bytes = words(4, 18);
    let mut session = Session::claiming(&fresh, &bytes);
    session.append(&words(8, 6)).await;
    session.append(&bytes[6 << 20..]).await;
    session.parts.remove(0);
    session.apart(1, &bytes[..6 << 20]).await;
    let (_, read) = session.promote_and_read(0).await;
    assert!(read == bytes);
}

async fn small_and_large_parts_make_one_blob(fresh: Fresh) {
    let bytes = words(5, 40);
    let mut session = Session::claiming(&fresh, &bytes);
    let mut start = 0;
    for size in [1 << 20, 9 << 20, 17, 3 << 20, 0, 11 << 20, 1 << 10] {
        session.append(&bytes[start..start + size]).await;
        start += size;
    }
    session.append(&bytes[start..]).await;
    let (steps, read) = session.promote_and_read(session.parts.len()).await;
    assert_eq!(steps, 0);
    assert!(read == bytes);
}

async fn many_small_parts_make_one_blob(fresh: Fresh) {
    let bytes = words(6, 14);
    let mut session = Session::claiming(&fresh, &bytes);
    for part in bytes.chunks(700_001) {
        session.append(part).await;
    }
    let (_, read) = session.promote_and_read(session.parts.len()).await;
    assert!(read == bytes);
}

async fn large_bytes_of_another_digest_are_not_promoted(fresh: Fresh) {
    for hashed in [true, false] {
        let mut session = Session::claiming(&fresh, &words(7, 10));
        let other = words(70, 10);
        session.append(&other).await;
        let mut promotion = session.promotion();
        promotion.hashed = session.parts[0].hash.clone().filter(|_| hashed);
        let refused = session.promote(promotion.clone()).await.unwrap_err();
        assert!(matches!(refused, PromoteError::Mismatch { actual } if actual == digest(&other)));
        fresh.store.clear_staging(session.id, Some(&session.name())).await.unwrap();
        fresh.store.remove(&session.name()).await.unwrap();
        fresh.store.set_owner(owner()).await.unwrap();
        let opened = fresh.store.open(&promotion.name, session.claim.size, 0..session.claim.size.get()).await;
        assert!(matches!(opened.err().unwrap(), BlobError::Damaged));
    }
}

async fn a_large_body_that_is_cut_leaves_nothing_staged(fresh: Fresh) {
    let bytes = words(8, 30);
    let session = Session::claiming(&fresh, &bytes);
    for placement in [Placement::Append(None), Placement::Apart] {
        let attempt = session.attempt(1, HashBase::Start, placement);
        let frames = vec![Ok(Bytes::copy_from_slice(&bytes[..20 << 20])), Err(BodyError::Cut)];
        assert!(matches!(session.stage(attempt, frames).await.unwrap_err(), StageError::Body(BodyError::Cut)));
        fresh.store.clear_staging(session.id, Some(&session.name())).await.unwrap();
        assert_eq!(fresh.store.staged_sessions().await.unwrap(), []);
    }
}

async fn a_cleared_session_places_nothing_any_more(fresh: Fresh) {
    fresh.store.set_owner(owner()).await.unwrap();
    let bytes = words(9, 12);
    let mut session = Session::claiming(&fresh, &bytes);
    session.append(&bytes[..10 << 20]).await;
    session.append(&bytes[10 << 20..]).await;
    let mut promotion = session.promotion();
    promotion.hashed = session.parts[1].hash.clone();
    fresh.store.clear_staging(session.id, Some(&session.name())).await.unwrap();
    assert!(matches!(session.promote(promotion.clone()).await.unwrap_err(), PromoteError::StagedGone));
    let opened = fresh.store.open(&promotion.name, session.claim.size, 0..1).await;
    assert!(matches!(opened.err().unwrap(), BlobError::Damaged));
}

async fn a_tiny_last_part_makes_one_blob_with_large_ones(fresh: Fresh) {
    let mut bytes = words(13, 19);
    bytes.truncate((18 << 20) + 1000);
    let mut session = Session::claiming(&fresh, &bytes);
    for part in bytes.chunks(9 << 20) {
        session.append(part).await;
    }
    let (_, read) = session.promote_and_read(session.parts.len()).await;
    assert!(read == bytes);
}

async fn a_part_that_was_replaced_by_nothing_makes_one_blob_with_the_others(fresh: Fresh) {
    let bytes = words(14, 24);
    let mut session = Session::claiming(&fresh, &bytes);
    session.append(&bytes[..8 << 20]).await;
    session.append(&words(15, 6)).await;
    session.append(&bytes[8 << 20..16 << 20]).await;
    session.parts.remove(1);
    session.apart(2, b"").await;
    session.apart(4, &bytes[16 << 20..]).await;
    let (_, read) = session.promote_and_read(1).await;
    assert!(read == bytes);
}

async fn a_blob_outlives_a_worker_that_comes_late_and_knows_no_parts(fresh: Fresh) {
    for size in [1, 9 << 20] {
        let bytes = &words(16, 9)[..size];
        let mut session = Session::claiming(&fresh, bytes);
        session.append(bytes).await;
        let mut promotion = session.promotion();
        promotion.hashed = session.parts[0].hash.clone();
        session.promote(promotion.clone()).await.unwrap();
        fresh.store.clear_staging(session.id, Some(&session.name())).await.unwrap();
        let late = Promotion { parts: Vec::new(), ..promotion };
        assert!(matches!(session.promote(late).await.unwrap_err(), PromoteError::StagedGone));
        assert!(read(&*fresh.store, &session.name(), size).await == bytes);
    }
}

async fn a_body_of_another_length_than_announced_is_refused(fresh: Fresh) {
    let session = Session::claiming(&fresh, b"bytes");
    for declared in [4, 6] {
        let body = futures::stream::iter([Ok(Bytes::from("bytes"))]).boxed();
        let (attempt, name) = (session.next(), session.name());
        let request =
            StageRequest { session: session.id, name, attempt, declared: Some(declared), checksum: None, body };
        let refused = fresh.store.stage(request).await.unwrap_err();
        assert!(matches!(refused, StageError::Body(BodyError::Cut)), "{refused:?}");
    }
}

async fn two_workers_may_add_to_one_upload_beside_one_another(fresh: Fresh) {
    fresh.store.set_owner(owner()).await.unwrap();
    let bytes = words(17, 34);
    let mut session = Session::claiming(&fresh, &bytes);
    session.append(&bytes[..10 << 20]).await;
    session.apart(2, &bytes[10 << 20..19 << 20]).await;
    session.apart(3, &bytes[19 << 20..33 << 20]).await;
    session.apart(4, &bytes[33 << 20..]).await;
    let mut promotion = session.promotion();
    promotion.hashed.clone_from(&session.parts[0].hash);
    several_promote(&fresh, &session, promotion, &bytes).await;
}

/// Three workers do the same; one of them holds the lease, and must not be made to fail by the others.
async fn several_promote(fresh: &Fresh, session: &Session<'_>, promotion: Promotion, bytes: &[u8]) {
    let worker = || session.promote(promotion.clone());
    let done = tokio::join!(worker(), worker(), worker());
    for done in [done.0, done.1, done.2] {
        assert!(matches!(done, Ok(_) | Err(PromoteError::Blob(BlobError::Unavailable(_)))), "{done:?}");
    }
    session.promote(promotion).await.unwrap();
    assert!(read(&*fresh.store, &session.name(), bytes.len()).await == bytes);
}

async fn two_workers_may_promote_beside_one_another(fresh: Fresh) {
    fresh.store.set_owner(owner()).await.unwrap();
    let bytes = words(10, 30);
    // The hard case: a part in the middle was replaced, so that nothing can be taken as it lies.
    let mut session = Session::claiming(&fresh, &bytes);
    session.append(&bytes[..10 << 20]).await;
    session.append(&words(11, 10)).await;
    session.append(&bytes[20 << 20..]).await;
    session.parts.remove(1);
    session.apart(2, &bytes[10 << 20..20 << 20]).await;
    let mut promotion = session.promotion();
    promotion.hashed.clone_from(&session.parts[0].hash);
    several_promote(&fresh, &session, promotion, &bytes).await;
}

async fn leftovers_of_an_unknown_session_are_cleared(fresh: Fresh) {
    let bytes = words(12, 12);
    let mut session = Session::claiming(&fresh, &bytes);
    session.append(&bytes[..10 << 20]).await;
    session.apart(3, &bytes[11 << 20..]).await;
    let mut kept = Session::claiming(&fresh, b"kept");
    kept.append(b"kept").await;
    fresh.store.clear_staging(session.id, None).await.unwrap();
    assert_eq!(fresh.store.staged_sessions().await.unwrap(), [kept.id]);
    kept.promote(kept.promotion()).await.unwrap();
}

fn owner() -> StoreOwner {
    StoreOwner { catalog: uuid(), store: uuid() }
}

async fn a_store_is_somebodys_for_good(fresh: Fresh) {
    assert_eq!(fresh.store.owner().await.unwrap(), None);
    let (first, second) = (owner(), owner());
    fresh.store.set_owner(first).await.unwrap();
    fresh.store.set_owner(second).await.unwrap();
    assert_eq!(fresh.store.owner().await.unwrap(), Some(first));
    fresh.store.check().await.unwrap();
}
