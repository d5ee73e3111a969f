//! Reading and removal of blobs, staged data, and the owner of a store.

use super::{
    Fresh,
    session::{Session, long, owner, read, size, words},
};
use bytes::Bytes;
use futures::TryStreamExt;
use imgsrv_domain::ports::{BlobError, IngestError};

pub(super) async fn two_sessions_ingest_one_digest_under_two_names(fresh: Fresh) {
    let mut names = Vec::new();
    for _ in 0..2 {
        let mut session = Session::claiming(&fresh, b"bytes");
        session.append(b"bytes").await;
        let request = session.request();
        session.ingest(request.clone()).await.unwrap();
        names.push(request.name);
    }
    assert_ne!(names[0], names[1]);
    fresh.store.remove(&names[1]).await.unwrap();
    assert_eq!(read(&*fresh.store, &names[0], 5).await, b"bytes");
}

pub(super) async fn ranges_are_read_exactly(fresh: Fresh) {
    let bytes = long();
    let mut session = Session::claiming(&fresh, &bytes);
    session.append(&bytes).await;
    let request = session.request();
    session.ingest(request.clone()).await.unwrap();
    let length = bytes.len();
    for (start, end) in
        [(0, 1), (0, 0), (length - 1, length), (262_143, 262_145), (1, length - 1), (300_000, 1_200_000)]
    {
        let range = start as u64..end as u64;
        let stream = fresh.store.open(&request.name, size(length), range).await.unwrap();
        let read = stream.try_collect::<Vec<Bytes>>().await.unwrap().concat();
        assert!(read == bytes[start..end], "{start}..{end}");
    }
}

pub(super) async fn blob_of_another_size_is_damaged(fresh: Fresh) {
    let mut session = Session::claiming(&fresh, b"bytes");
    session.append(b"bytes").await;
    let request = session.request();
    session.ingest(request.clone()).await.unwrap();
    let opened = fresh.store.open(&request.name, size(6), 0..6).await;
    assert!(matches!(opened.err().unwrap(), BlobError::Damaged));
}

pub(super) async fn remove_discard_and_clear_are_idempotent(fresh: Fresh) {
    let mut session = Session::claiming(&fresh, b"bytes");
    session.append(b"bytes").await;
    let name = session.request().name;
    for _ in 0..2 {
        fresh.store.remove(&name).await.unwrap();
        fresh.store.discard(session.id, &session.parts[0]).await.unwrap();
        fresh.store.clear_staging(session.id, Some(&session.name())).await.unwrap();
    }
}

pub(super) async fn staged_sessions_are_listed(fresh: Fresh) {
    assert_eq!(fresh.store.staged_sessions().await.unwrap(), []);
    let mut session = Session::claiming(&fresh, b"bytes");
    session.append(b"bytes").await;
    assert_eq!(fresh.store.staged_sessions().await.unwrap(), [session.id]);
    fresh.store.clear_staging(session.id, Some(&session.name())).await.unwrap();
    assert_eq!(fresh.store.staged_sessions().await.unwrap(), []);
}

pub(super) async fn blob_survives_the_clearing_of_its_staging(fresh: Fresh) {
    let mut session = Session::claiming(&fresh, b"bytes");
    session.append(b"bytes").await;
    let request = session.request();
    session.ingest(request.clone()).await.unwrap();
    fresh.store.clear_staging(session.id, Some(&session.name())).await.unwrap();
    assert_eq!(read(&*fresh.store, &request.name, 5).await, b"bytes");
}

pub(super) async fn probe_succeeds(fresh: Fresh) {
    fresh.store.probe().await.unwrap();
    fresh.store.claim(owner()).await.unwrap();
    fresh.store.check().await.unwrap();
}

pub(super) async fn cleared_session_cannot_place_its_blob(fresh: Fresh) {
    fresh.store.claim(owner()).await.unwrap();
    let bytes = words(9, 12);
    let mut session = Session::claiming(&fresh, &bytes);
    session.append(&bytes[..10 << 20]).await;
    session.append(&bytes[10 << 20..]).await;
    let mut request = session.request();
    request.hashed = session.parts[1].hash.clone();
    fresh.store.clear_staging(session.id, Some(&session.name())).await.unwrap();
    assert!(matches!(session.ingest(request.clone()).await.unwrap_err(), IngestError::StagedGone));
    let opened = fresh.store.open(&request.name, session.claim.size, 0..1).await;
    assert!(matches!(opened.err().unwrap(), BlobError::Damaged));
}

pub(super) async fn unknown_session_is_cleared_without_its_name(fresh: Fresh) {
    let bytes = words(12, 12);
    let mut session = Session::claiming(&fresh, &bytes);
    session.append(&bytes[..10 << 20]).await;
    session.stage_standalone(3, &bytes[11 << 20..]).await;
    let mut other = Session::claiming(&fresh, b"other");
    other.append(b"other").await;
    fresh.store.clear_staging(session.id, None).await.unwrap();
    assert_eq!(fresh.store.staged_sessions().await.unwrap(), [other.id]);
    other.ingest(other.request()).await.unwrap();
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
