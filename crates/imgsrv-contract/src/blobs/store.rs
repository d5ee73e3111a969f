//! Reading and removal of blobs, staged data, and the owner of a store.

use super::{
    Fresh,
    session::{Session, long, owner, size, words},
};
use imgsrv_domain::ports::IngestError;

pub(super) async fn two_sessions_ingest_one_digest_under_two_names(fresh: Fresh) {
    let (one, other) = (Session::complete(&fresh, b"bytes").await, Session::complete(&fresh, b"bytes").await);
    for session in [&one, &other] {
        session.ingest(session.request(0)).await.unwrap();
    }
    assert_ne!(one.name(), other.name());
    fresh.store.remove(&other.name()).await.unwrap();
    assert_eq!(one.read().await, b"bytes");
}

pub(super) async fn ranges_are_read_exactly(fresh: Fresh) {
    let bytes = long();
    let session = Session::complete(&fresh, &bytes).await;
    session.ingest(session.request(0)).await.unwrap();
    let length = bytes.len();
    for (start, end) in
        [(0, 1), (0, 0), (length - 1, length), (262_143, 262_145), (1, length - 1), (300_000, 1_200_000)]
    {
        let read = session.read_range(start as u64..end as u64).await;
        assert!(read == bytes[start..end], "{start}..{end}");
    }
}

pub(super) async fn blob_of_another_size_is_damaged(fresh: Fresh) {
    let session = Session::complete(&fresh, b"bytes").await;
    session.ingest(session.request(0)).await.unwrap();
    assert!(session.is_damaged(size(6)).await);
}

pub(super) async fn remove_discard_and_clear_are_idempotent(fresh: Fresh) {
    let session = Session::complete(&fresh, b"bytes").await;
    for _ in 0..2 {
        fresh.store.remove(&session.name()).await.unwrap();
        fresh.store.discard(session.id, &session.parts[0]).await.unwrap();
        session.clear().await;
    }
}

pub(super) async fn staged_sessions_are_listed(fresh: Fresh) {
    assert_eq!(fresh.store.staged_sessions().await.unwrap(), []);
    let session = Session::complete(&fresh, b"bytes").await;
    assert_eq!(fresh.store.staged_sessions().await.unwrap(), [session.id]);
    session.clear().await;
    assert_eq!(fresh.store.staged_sessions().await.unwrap(), []);
}

pub(super) async fn blob_survives_the_clearing_of_its_staging(fresh: Fresh) {
    let session = Session::complete(&fresh, b"bytes").await;
    session.ingest(session.request(0)).await.unwrap();
    session.clear().await;
    assert_eq!(session.read().await, b"bytes");
}

pub(super) async fn probe_succeeds(fresh: Fresh) {
    fresh.store.probe().await.unwrap();
    fresh.store.claim(owner()).await.unwrap();
    fresh.store.check().await.unwrap();
}

pub(super) async fn cleared_session_cannot_place_its_blob(fresh: Fresh) {
    fresh.store.claim(owner()).await.unwrap();
    let session = Session::in_parts(&fresh, &words(9, 12), 10 << 20).await;
    session.clear().await;
    assert!(matches!(session.ingest(session.request(2)).await.unwrap_err(), IngestError::StagedGone));
    assert!(session.is_damaged(session.claim.size).await);
}

pub(super) async fn unknown_session_is_cleared_without_its_name(fresh: Fresh) {
    let bytes = words(12, 12);
    let mut session = Session::claiming(&fresh, &bytes);
    session.append(&bytes[..10 << 20]).await;
    session.stage_standalone(3, &bytes[11 << 20..]).await;
    let other = Session::complete(&fresh, b"other").await;
    fresh.store.clear_staging(session.id, None).await.unwrap();
    assert_eq!(fresh.store.staged_sessions().await.unwrap(), [other.id]);
    other.ingest(other.request(0)).await.unwrap();
}

pub(super) async fn owner_of_a_store_never_changes(fresh: Fresh) {
    assert_eq!(fresh.store.owners().await.unwrap(), []);
    let (first, second) = (owner(), owner());
    fresh.store.claim(first).await.unwrap();
    fresh.store.claim(second).await.unwrap();
    let owners = fresh.store.owners().await.unwrap();
    assert!(owners.contains(&first), "{owners:?}");
    assert_eq!(owners, fresh.store.owners().await.unwrap());
    fresh.store.check().await.unwrap();
}
