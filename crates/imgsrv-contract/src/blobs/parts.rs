//! Receiving parts and hashing them.

use super::{
    Fresh,
    session::{Session, digest, long, owner, read, size},
};
use bytes::Bytes;
use futures::StreamExt;
use imgsrv_domain::{
    ports::{BlobError, BodyError, IngestError, IngestRequest, Ingested, StageError, StageRequest},
    upload::Attempt,
};

pub(super) async fn parts_in_order_are_hashed_as_they_arrive(fresh: Fresh) {
    let bytes = long();
    let mut session = Session::claiming(&fresh, &bytes);
    for part in bytes.chunks(700_001) {
        session.append(part).await;
    }
    let mut promotion = session.promotion();
    promotion.hashed = session.parts.last().unwrap().hash.clone();
    assert_eq!(session.ingest(promotion.clone()).await.unwrap(), 0, "nothing is read again");
    assert_eq!(read(&*fresh.store, &promotion.name, bytes.len()).await, bytes);
    drop(fresh.guard);
}

pub(super) async fn parts_out_of_order_are_hashed_at_promotion(fresh: Fresh) {
    let bytes = long();
    let mut session = Session::claiming(&fresh, &bytes);
    session.apart(3, &bytes[1_000_000..]).await;
    session.append_first(&bytes[..500_000]).await;
    session.apart(2, &bytes[500_000..1_000_000]).await;
    let mut promotion = session.promotion();
    promotion.hashed = session.parts[0].hash.clone();
    assert!(session.ingest(promotion.clone()).await.unwrap() > 0);
    assert_eq!(read(&*fresh.store, &promotion.name, bytes.len()).await, bytes);
}

pub(super) async fn a_promotion_goes_on_from_a_saved_hash(fresh: Fresh) {
    let bytes = long();
    let mut session = Session::claiming(&fresh, &bytes);
    session.append(&bytes).await;
    let promotion = session.promotion();
    let Ingested::Hashed(state) = session.store.ingest(&promotion).await.unwrap() else { panic!("hashed nothing") };
    assert_eq!(state.bytes, bytes.len() as u64);
    let resumed = IngestRequest { hashed: Some(state), ..promotion };
    assert_eq!(session.store.ingest(&resumed).await.unwrap(), Ingested::Placed);
}

pub(super) async fn promoting_again_after_success_is_harmless(fresh: Fresh) {
    let mut session = Session::claiming(&fresh, b"bytes");
    session.append(b"bytes").await;
    for _ in 0..2 {
        session.ingest(session.promotion()).await.unwrap();
    }
    let name = session.promotion().name;
    assert_eq!(read(&*fresh.store, &name, 5).await, b"bytes");
}

pub(super) async fn bytes_of_another_digest_are_not_promoted(fresh: Fresh) {
    fresh.store.claim(owner()).await.unwrap();
    let mut session = Session::claiming(&fresh, b"bytes");
    session.append(b"other").await;
    let promotion = session.promotion();
    let refused = session.ingest(promotion.clone()).await.unwrap_err();
    assert!(matches!(refused, IngestError::Mismatch { actual } if actual == digest(b"other")));
    let opened = fresh.store.open(&promotion.name, size(5), 0..5).await;
    assert!(matches!(opened.err().unwrap(), BlobError::Damaged));
}

pub(super) async fn staged_bytes_that_are_gone_are_reported(fresh: Fresh) {
    fresh.store.claim(owner()).await.unwrap();
    let mut session = Session::claiming(&fresh, b"bytes");
    session.append(b"bytes").await;
    let mut hashed = session.promotion();
    hashed.hashed = session.parts[0].hash.clone();
    fresh.store.clear_staging(session.id, Some(&session.name())).await.unwrap();
    for promotion in [session.promotion(), hashed] {
        assert!(matches!(session.ingest(promotion).await.unwrap_err(), IngestError::StagedGone));
    }
}

pub(super) async fn a_replaced_part_is_promoted_with_its_new_bytes(fresh: Fresh) {
    let mut session = Session::claiming(&fresh, b"onetwo");
    session.append(b"one").await;
    session.append(b"tw0").await;
    let replaced = session.parts.pop().unwrap();
    session.apart(2, b"two").await;
    fresh.store.discard(session.id, &replaced).await.unwrap();
    let promotion = session.promotion();
    session.ingest(promotion.clone()).await.unwrap();
    assert_eq!(read(&*fresh.store, &promotion.name, 6).await, b"onetwo");
}

pub(super) async fn a_cut_body_leaves_nothing_and_spares_its_neighbours(fresh: Fresh) {
    let mut session = Session::claiming(&fresh, b"onetwo");
    session.append(b"one").await;
    let frames = vec![Ok(Bytes::from(vec![7; 1 << 20])), Err(BodyError::Cut)];
    let cut = session.stage(session.next(), frames).await.unwrap_err();
    assert!(matches!(cut, StageError::Body(BodyError::Cut)));
    session.append(b"two").await;
    let mut promotion = session.promotion();
    promotion.hashed = session.parts[1].hash.clone();
    assert_eq!(session.ingest(promotion.clone()).await.unwrap(), 0);
    assert_eq!(read(&*fresh.store, &promotion.name, 6).await, b"onetwo");
}

pub(super) async fn a_part_beyond_its_limit_is_refused(fresh: Fresh) {
    let session = Session::claiming(&fresh, b"bytes");
    let attempt = Attempt { limit: size(3), ..session.next() };
    let refused = session.stage(attempt, vec![Ok(Bytes::from("on")), Ok(Bytes::from("ex"))]).await.unwrap_err();
    assert!(matches!(refused, StageError::TooLarge));
    let exact = Attempt { limit: size(3), ..session.next() };
    session.stage(exact, vec![Ok(Bytes::from("one"))]).await.unwrap();
}

pub(super) async fn a_wrong_checksum_is_refused(fresh: Fresh) {
    let session = Session::claiming(&fresh, b"bytes");
    let frames = vec![Ok(Bytes::from("one"))];
    let refused = session.stage_checked(session.next(), Some(digest(b"two")), frames).await.unwrap_err();
    assert!(matches!(refused, StageError::Checksum { actual } if actual == digest(b"one")));
}

pub(super) async fn a_right_checksum_of_a_later_part_is_accepted(fresh: Fresh) {
    let mut session = Session::claiming(&fresh, b"bytes");
    session.append(b"one").await;
    let frames = vec![Ok(Bytes::from("two"))];
    session.stage_checked(session.next(), Some(digest(b"two")), frames).await.unwrap();
}

pub(super) async fn a_body_of_another_length_than_announced_is_refused(fresh: Fresh) {
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

pub(super) async fn an_empty_blob_can_be_promoted(fresh: Fresh) {
    let session = Session::claiming(&fresh, b"");
    let promotion = session.promotion();
    session.ingest(promotion.clone()).await.unwrap();
    assert!(read(&*fresh.store, &promotion.name, 0).await.is_empty());
}
