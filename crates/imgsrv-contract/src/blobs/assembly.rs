//! Ingest of many parts to one blob, by one worker or several.

use super::{
    Fresh,
    session::{Session, digest, owner, words},
};
use bytes::Bytes;
use imgsrv_domain::{
    parts::HashBase,
    ports::{BlobError, BodyError, IngestError, IngestRequest, StageError},
    upload::Placement,
};

pub(super) async fn large_parts_in_order_are_not_read_again(fresh: Fresh) {
    let bytes = words(1, 34);
    let session = Session::in_parts(&fresh, &bytes, 11 << 20).await;
    let (steps, read) = session.ingest_and_read(session.parts.len()).await;
    assert_eq!(steps, 0, "nothing is read again");
    assert!(read == bytes);
    session.clear().await;
    assert_eq!(fresh.store.staged_sessions().await.unwrap(), []);
}

pub(super) async fn large_parts_in_any_order_make_one_blob(fresh: Fresh) {
    let bytes = words(2, 31);
    let mut session = Session::claiming(&fresh, &bytes);
    let parts: Vec<&[u8]> = bytes.chunks(8 << 20).collect();
    session.stage_standalone(4, parts[3]).await;
    session.stage_standalone(2, parts[1]).await;
    session.append_first(parts[0]).await;
    session.stage_standalone(3, parts[2]).await;
    let (steps, read) = session.ingest_and_read(1).await;
    assert!(steps > 0);
    assert!(read == bytes);
}

pub(super) async fn replaced_large_part_is_ingested_with_its_new_bytes(fresh: Fresh) {
    let (mut bytes, old) = (words(3, 36), words(9, 12));
    bytes.truncate(33 << 20);
    let mut session = Session::claiming(&fresh, &bytes);
    session.append(&bytes[..12 << 20]).await;
    session.append(&old).await;
    session.append(&bytes[24 << 20..]).await;
    let replaced = session.parts.remove(1);
    session.stage_standalone(2, &bytes[12 << 20..24 << 20]).await;
    fresh.store.discard(session.id, &replaced).await.unwrap();
    let (_, read) = session.ingest_and_read(1).await;
    assert!(read == bytes);
}

pub(super) async fn replaced_first_part_is_ingested_with_its_new_bytes(fresh: Fresh) {
    let bytes = words(4, 18);
    let mut session = Session::claiming(&fresh, &bytes);
    session.append(&words(8, 6)).await;
    session.append(&bytes[6 << 20..]).await;
    session.parts.remove(0);
    session.stage_standalone(1, &bytes[..6 << 20]).await;
    let (_, read) = session.ingest_and_read(0).await;
    assert!(read == bytes);
}

pub(super) async fn small_and_large_parts_make_one_blob(fresh: Fresh) {
    let bytes = words(5, 40);
    let mut session = Session::claiming(&fresh, &bytes);
    let mut start = 0;
    for size in [1 << 20, 9 << 20, 17, 3 << 20, 0, 11 << 20, 1 << 10] {
        session.append(&bytes[start..start + size]).await;
        start += size;
    }
    session.append(&bytes[start..]).await;
    let (steps, read) = session.ingest_and_read(session.parts.len()).await;
    assert_eq!(steps, 0);
    assert!(read == bytes);
}

pub(super) async fn many_small_parts_make_one_blob(fresh: Fresh) {
    let bytes = words(6, 14);
    let session = Session::in_parts(&fresh, &bytes, 700_001).await;
    let (_, read) = session.ingest_and_read(session.parts.len()).await;
    assert!(read == bytes);
}

pub(super) async fn wrong_digest_of_large_bytes_is_a_mismatch(fresh: Fresh) {
    for hashed in [1, 0] {
        let mut session = Session::claiming(&fresh, &words(7, 10));
        let other = words(70, 10);
        session.append(&other).await;
        let refused = session.ingest(session.request(hashed)).await.unwrap_err();
        assert!(matches!(refused, IngestError::Mismatch { actual } if actual == digest(&other)));
        session.clear().await;
        fresh.store.remove(&session.name()).await.unwrap();
        fresh.store.claim(owner()).await.unwrap();
        assert!(session.is_damaged(session.claim.size).await);
    }
}

pub(super) async fn truncated_large_body_leaves_nothing_staged(fresh: Fresh) {
    let bytes = words(8, 30);
    let session = Session::claiming(&fresh, &bytes);
    for placement in [Placement::Frontier(None), Placement::Standalone] {
        let attempt = session.attempt(1, HashBase::Start, placement);
        let frames = vec![Ok(Bytes::copy_from_slice(&bytes[..20 << 20])), Err(BodyError::Cut)];
        assert!(matches!(session.stage(attempt, frames).await.unwrap_err(), StageError::Body(BodyError::Cut)));
        session.clear().await;
        assert_eq!(fresh.store.staged_sessions().await.unwrap(), []);
    }
}

pub(super) async fn tiny_last_part_makes_one_blob_with_large_ones(fresh: Fresh) {
    let mut bytes = words(13, 19);
    bytes.truncate((18 << 20) + 1000);
    let session = Session::in_parts(&fresh, &bytes, 9 << 20).await;
    let (_, read) = session.ingest_and_read(session.parts.len()).await;
    assert!(read == bytes);
}

pub(super) async fn part_replaced_by_an_empty_one_makes_one_blob_with_the_others(fresh: Fresh) {
    let bytes = words(14, 24);
    let mut session = Session::claiming(&fresh, &bytes);
    session.append(&bytes[..8 << 20]).await;
    session.append(&words(15, 6)).await;
    session.append(&bytes[8 << 20..16 << 20]).await;
    session.parts.remove(1);
    session.stage_standalone(2, b"").await;
    session.stage_standalone(4, &bytes[16 << 20..]).await;
    let (_, read) = session.ingest_and_read(1).await;
    assert!(read == bytes);
}

pub(super) async fn concurrent_workers_add_to_one_upload(fresh: Fresh) {
    fresh.store.claim(owner()).await.unwrap();
    let bytes = words(17, 34);
    let mut session = Session::claiming(&fresh, &bytes);
    session.append(&bytes[..10 << 20]).await;
    session.stage_standalone(2, &bytes[10 << 20..19 << 20]).await;
    session.stage_standalone(3, &bytes[19 << 20..33 << 20]).await;
    session.stage_standalone(4, &bytes[33 << 20..]).await;
    ingest_concurrently(&session, &bytes).await;
}

/// Three workers ingest the same session. Those without the lease must not make the one with the lease fail.
async fn ingest_concurrently(session: &Session<'_>, bytes: &[u8]) {
    let worker = || session.ingest(session.request(1));
    let done = tokio::join!(worker(), worker(), worker());
    for done in [done.0, done.1, done.2] {
        assert!(matches!(done, Ok(_) | Err(IngestError::Blob(BlobError::Unavailable(_)))), "{done:?}");
    }
    worker().await.unwrap();
    assert!(session.read().await == bytes);
}

pub(super) async fn concurrent_workers_make_one_blob(fresh: Fresh) {
    fresh.store.claim(owner()).await.unwrap();
    let bytes = words(10, 30);
    // A part in the middle was replaced, so that the upload cannot be completed as it is.
    let mut session = Session::claiming(&fresh, &bytes);
    session.append(&bytes[..10 << 20]).await;
    session.append(&words(11, 10)).await;
    session.append(&bytes[20 << 20..]).await;
    session.parts.remove(1);
    session.stage_standalone(2, &bytes[10 << 20..20 << 20]).await;
    ingest_concurrently(&session, &bytes).await;
}

pub(super) async fn late_worker_without_parts_does_not_harm_the_blob(fresh: Fresh) {
    for size in [1, 9 << 20] {
        let bytes = &words(16, 9)[..size];
        let session = Session::complete(&fresh, bytes).await;
        session.ingest(session.request(1)).await.unwrap();
        session.clear().await;
        let late = IngestRequest { parts: Vec::new(), ..session.request(1) };
        assert!(matches!(session.ingest(late).await.unwrap_err(), IngestError::StagedGone));
        assert!(session.read().await == bytes);
    }
}
