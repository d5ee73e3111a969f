//! Receipt and hashing of parts.

use super::{
    Fresh,
    session::{Session, digest, long, owner, size, words},
};
use bytes::Bytes;
use futures::StreamExt;
use imgsrv_domain::{
    ports::{BodyError, IngestError, IngestRequest, Ingested, StageError, StageRequest},
    upload::Attempt,
};

pub(super) async fn parts_in_order_are_hashed_on_arrival(fresh: Fresh) {
    let bytes = long();
    let session = Session::in_parts(&fresh, &bytes, 700_001).await;
    let (steps, read) = session.ingest_and_read(session.parts.len()).await;
    assert_eq!(steps, 0, "nothing is read again");
    assert!(read == bytes);
}

pub(super) async fn parts_out_of_order_are_hashed_at_ingest(fresh: Fresh) {
    let bytes = long();
    let mut session = Session::claiming(&fresh, &bytes);
    session.stage_standalone(3, &bytes[1_000_000..]).await;
    session.append_first(&bytes[..500_000]).await;
    session.stage_standalone(2, &bytes[500_000..1_000_000]).await;
    let (steps, read) = session.ingest_and_read(1).await;
    assert!(steps > 0);
    assert!(read == bytes);
}

pub(super) async fn ingest_resumes_from_a_saved_hash(fresh: Fresh) {
    let bytes = long();
    let session = Session::complete(&fresh, &bytes).await;
    let request = session.request(0);
    let Ingested::Hashed(state) = session.store.ingest(&request).await.unwrap() else { panic!("nothing was hashed") };
    assert_eq!(state.bytes, bytes.len() as u64);
    let resumed = IngestRequest { hashed: Some(state), ..request };
    assert_eq!(session.store.ingest(&resumed).await.unwrap(), Ingested::Placed);
}

pub(super) async fn ingest_is_idempotent(fresh: Fresh) {
    let session = Session::complete(&fresh, b"bytes").await;
    assert_eq!(session.ingest_and_read(0).await.1, b"bytes");
}

pub(super) async fn wrong_digest_is_a_mismatch(fresh: Fresh) {
    fresh.store.claim(owner()).await.unwrap();
    let mut session = Session::claiming(&fresh, b"bytes");
    session.append(b"other").await;
    let refused = session.ingest(session.request(0)).await.unwrap_err();
    assert!(matches!(refused, IngestError::Mismatch { actual } if actual == digest(b"other")));
    assert!(session.is_damaged(size(5)).await);
}

pub(super) async fn missing_staged_bytes_are_reported(fresh: Fresh) {
    fresh.store.claim(owner()).await.unwrap();
    let session = Session::complete(&fresh, b"bytes").await;
    session.clear().await;
    for hashed in [0, 1] {
        assert!(matches!(session.ingest(session.request(hashed)).await.unwrap_err(), IngestError::StagedGone));
    }
}

pub(super) async fn replaced_part_is_ingested_with_its_new_bytes(fresh: Fresh) {
    let mut session = Session::claiming(&fresh, b"onetwo");
    session.append(b"one").await;
    session.append(b"tw0").await;
    let replaced = session.parts.pop().unwrap();
    session.stage_standalone(2, b"two").await;
    fresh.store.discard(session.id, &replaced).await.unwrap();
    assert_eq!(session.ingest_and_read(0).await.1, b"onetwo");
}

pub(super) async fn truncated_body_leaves_nothing_and_spares_other_parts(fresh: Fresh) {
    let mut session = Session::claiming(&fresh, b"onetwo");
    session.append(b"one").await;
    let frames = vec![Ok(Bytes::from(vec![7; 1 << 20])), Err(BodyError::Cut)];
    let cut = session.stage(session.next(), frames).await.unwrap_err();
    assert!(matches!(cut, StageError::Body(BodyError::Cut)));
    session.append(b"two").await;
    assert_eq!(session.ingest_and_read(2).await, (0, b"onetwo".to_vec()));
}

pub(super) async fn dropped_receipt_spares_the_parts_before_it(fresh: Fresh) {
    for size in [1 << 10, 18 << 20] {
        let (bytes, half) = (&words(21, 18)[..size], size / 2);
        let mut session = Session::claiming(&fresh, bytes);
        session.append(&bytes[..half]).await;
        let (waiting, waits) = tokio::sync::oneshot::channel();
        let frames = futures::stream::iter([Ok(Bytes::from(vec![7; 20 << 20]))]);
        let silence = futures::stream::once(async {
            waiting.send(()).unwrap();
            std::future::pending().await
        });
        let request = session.stage_request(session.next(), frames.chain(silence).boxed());
        tokio::select! {
            _ = fresh.store.stage(request) => unreachable!("the body does not end"),
            received = waits => received.unwrap(),
        }
        session.stage_standalone(2, &bytes[half..]).await;
        let (_, read) = session.ingest_and_read(1).await;
        assert!(read == bytes);
    }
}

pub(super) async fn part_over_its_limit_is_rejected(fresh: Fresh) {
    let session = Session::claiming(&fresh, b"bytes");
    let attempt = Attempt { limit: size(3), ..session.next() };
    let refused = session.stage(attempt, vec![Ok(Bytes::from("on")), Ok(Bytes::from("ex"))]).await.unwrap_err();
    assert!(matches!(refused, StageError::TooLarge));
    let exact = Attempt { limit: size(3), ..session.next() };
    session.stage(exact, vec![Ok(Bytes::from("one"))]).await.unwrap();
}

pub(super) async fn wrong_checksum_is_rejected(fresh: Fresh) {
    let session = Session::claiming(&fresh, b"bytes");
    let request = StageRequest { checksum: Some(digest(b"two")), ..session.stage_next(b"one") };
    let refused = fresh.store.stage(request).await.unwrap_err();
    assert!(matches!(refused, StageError::Checksum { actual } if actual == digest(b"one")));
}

pub(super) async fn checksum_of_a_later_part_is_accepted(fresh: Fresh) {
    let mut session = Session::claiming(&fresh, b"bytes");
    session.append(b"one").await;
    let request = StageRequest { checksum: Some(digest(b"two")), ..session.stage_next(b"two") };
    fresh.store.stage(request).await.unwrap();
}

pub(super) async fn body_of_another_size_than_declared_is_rejected(fresh: Fresh) {
    let session = Session::claiming(&fresh, b"bytes");
    for declared in [4, 6] {
        let request = StageRequest { declared: Some(declared), ..session.stage_next(b"bytes") };
        let refused = fresh.store.stage(request).await.unwrap_err();
        assert!(matches!(refused, StageError::Body(BodyError::Cut)), "{refused:?}");
    }
}

pub(super) async fn empty_blob_is_ingested(fresh: Fresh) {
    let session = Session::claiming(&fresh, b"");
    assert_eq!(session.ingest_and_read(0).await.1, b"");
}
