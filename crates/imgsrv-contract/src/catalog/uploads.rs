//! Upload sessions and blobs.

use super::{
    Fresh, conflict,
    samples::{claim, new_principal, session},
};
use crate::uuid;
use imgsrv_domain::{
    access::{ImageScope, Sender},
    blocks::BlockChecksums,
    digest::{BlobClaim, ByteSize, Digest, HashState},
    ids::{AttemptId, UploadId},
    names::PartNumber,
    page::PageRequest,
    parts::{ListedPart, Part, PartLocation},
    ports::{CatalogError, CatalogTx, Conflict},
    upload::{IdempotencyKey, NewUpload, UploadSession},
};
use std::time::Duration;
use uuid::Uuid;

const TTL: Duration = Duration::from_hours(24);

fn part(number: i64, size: i64, hashed: u64) -> Part {
    Part {
        number: PartNumber::try_from(number).unwrap(),
        attempt: AttemptId::new(uuid()),
        sequence: number,
        size: ByteSize::try_from(size).unwrap(),
        location: PartLocation(format!("file@{number}")),
        hash: Some(HashState {
            bytes: hashed,
            state: [u8::try_from(number).unwrap(); HashState::LENGTH],
            blocks: BlockChecksums::of(b"a block"),
        }),
    }
}

async fn stored(tx: &mut dyn CatalogTx, session: &UploadSession) -> UploadSession {
    tx.lock_upload(session.id).await.unwrap().unwrap()
}

/// Sends `part` as its session would have it.
async fn send(tx: &mut dyn CatalogTx, session: &UploadSession, part: &Part) {
    let now = tx.now();
    let before = match part.number.previous() {
        Some(previous) => tx.get_part(session.id, previous).await.unwrap(),
        None => None,
    };
    let current = tx.get_part(session.id, part.number).await.unwrap();
    let (before, current) = (before.as_ref(), current.as_ref());
    let begun = stored(tx, session).await.begin_attempt(part.attempt, part.number, None, current, before, now);
    let (begun, attempt) = begun.unwrap();
    tx.update_upload(&begun).await.unwrap();
    let part = Part { sequence: attempt.sequence, ..part.clone() };
    let recorded = stored(tx, session).await.record_part(&attempt, &part, current, before, now, TTL).unwrap();
    tx.put_part(session.id, &part).await.unwrap();
    tx.update_upload(&recorded).await.unwrap();
}

/// A session whose one part was sent and which is completed.
async fn completed(tx: &mut dyn CatalogTx) -> UploadSession {
    let session = session(tx, claim(1), TTL).await;
    let only = part(1, 100, 100);
    send(tx, &session, &only).await;
    let listed = [ListedPart { number: only.number, attempt: only.attempt, size: only.size }];
    let recorded = tx.list_parts(session.id).await.unwrap();
    let now = tx.now();
    let (done, _) = stored(tx, &session).await.complete(&listed, &recorded, now).unwrap();
    tx.update_upload(&done).await.unwrap();
    stored(tx, &session).await
}

pub(super) async fn sessions_and_parts_are_stored(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let opened = session(&mut *tx, claim(1), TTL).await;
    assert_eq!(stored(&mut *tx, &opened).await, opened);
    let (first, second) = (part(1, 40, 40), part(2, 60, 100));
    send(&mut *tx, &opened, &first).await;
    send(&mut *tx, &opened, &second).await;
    tx.commit().await.unwrap();
    let read = fresh.catalog.get_upload(opened.id).await.unwrap().unwrap();
    let receiving = read.receiving().unwrap();
    assert_eq!((read.state.name(), read.offset().get(), receiving.attempts), ("uploading", 100, 2));
    assert_eq!(receiving.frontier_writer, None);
    let frontier = receiving.frontier().unwrap();
    assert_eq!((frontier.number, &frontier.hash), (second.number, second.hash.as_ref().unwrap()));
    let listed = fresh.catalog.list_parts(opened.id, Some(first.number), 10).await.unwrap();
    let listed: Vec<_> = listed.iter().map(|part| (part.number, part.attempt)).collect();
    assert_eq!(listed, [(second.number, second.attempt)]);
    assert_eq!(fresh.begin().await.get_part(opened.id, first.number).await.unwrap(), Some(first));
}

pub(super) async fn a_principals_open_sessions_are_listed_newest_first(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let first = session(&mut *tx, claim(1), TTL).await;
    let _of_another = session(&mut *tx, claim(1), TTL).await;
    let now = tx.now();
    let open = |claim: BlobClaim| {
        let new = NewUpload { claim, media_type_hint: None, filename_hint: None };
        UploadSession::open(UploadId::new(uuid()), first.created_by.clone(), new, now, TTL).0
    };
    let (second, third, aborted) = (open(claim(2)), open(claim(1)), open(claim(1)));
    for session in [&second, &third, &aborted] {
        tx.insert_upload(session, None).await.unwrap();
    }
    tx.update_upload(&aborted.abort(now).unwrap().0).await.unwrap();
    tx.commit().await.unwrap();
    let (one, all) = (PageRequest { limit: 1.try_into().unwrap(), after: None }, PageRequest::FIRST);
    let list = async |digest: Option<&Digest>, page: &PageRequest| {
        let found = fresh.catalog.list_open_uploads(Some(&first.created_by), digest, page).await.unwrap();
        (found.items.iter().map(|session| session.id).collect::<Vec<_>>(), found.next)
    };
    assert_eq!(list(None, &all).await.0, [third.id, second.id, first.id]);
    let limited = Sender { images: ImageScope::none(), ..first.created_by.clone() };
    let of_others = fresh.catalog.list_open_uploads(Some(&limited), None, &one).await.unwrap();
    assert_eq!((of_others.items, of_others.next), (vec![], None), "a limited credential sees nothing of a wider one");
    let digest = claim(1).digest;
    let (ids, next) = list(Some(&digest), &one).await;
    assert_eq!(ids, [third.id]);
    let next = PageRequest { after: next, ..one };
    assert_eq!(list(Some(&digest), &next).await, (vec![first.id], None));
    let foreign = fresh.catalog.list_open_uploads(Some(&first.created_by), None, &next).await;
    assert!(matches!(foreign, Err(CatalogError::InvalidCursor)));
}

pub(super) async fn a_session_is_found_by_the_key_of_its_principal(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let (one, other) = (new_principal(&mut *tx, &[]).await.id, new_principal(&mut *tx, &[]).await.id);
    let now = tx.now();
    let open = |by| {
        let new = NewUpload { claim: claim(1), media_type_hint: None, filename_hint: None };
        UploadSession::open(UploadId::new(uuid()), Sender::unlimited(by), new, now, TTL).0
    };
    let (first, of_other, unkeyed) = (open(one), open(other), open(one));
    let keys: [IdempotencyKey; 2] = ["a\"key".parse().unwrap(), "A\"KEY".parse().unwrap()];
    tx.insert_upload(&first, Some(&keys[0])).await.unwrap();
    tx.insert_upload(&of_other, Some(&keys[0])).await.unwrap();
    for session in [&unkeyed, &open(one)] {
        tx.insert_upload(session, None).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut tx = fresh.begin().await;
    assert_eq!(tx.get_upload_by_key(one, &keys[0]).await.unwrap(), Some(first.clone()));
    assert_eq!(tx.get_upload_by_key(other, &keys[0]).await.unwrap(), Some(of_other));
    assert_eq!(tx.get_upload_by_key(one, &keys[1]).await.unwrap(), None);
    // It is found in every state.
    let (aborted, _) = stored(&mut *tx, &first).await.abort(now).unwrap();
    tx.update_upload(&aborted).await.unwrap();
    let found = tx.get_upload_by_key(one, &keys[0]).await.unwrap().unwrap();
    assert_eq!((found.id, found.state.name()), (first.id, "aborted"));
    tx.commit().await.unwrap();
    let taken = fresh.refused(async |tx| tx.insert_upload(&open(one), Some(&keys[0])).await).await;
    assert_eq!(taken, Conflict::IdempotencyKey);
}

pub(super) async fn a_replaced_part_keeps_its_number(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let session = session(&mut *tx, claim(1), TTL).await;
    send(&mut *tx, &session, &part(1, 40, 40)).await;
    let again = part(1, 50, 50);
    send(&mut *tx, &session, &again).await;
    let parts = tx.list_parts(session.id).await.unwrap();
    assert_eq!(parts.iter().map(|part| part.attempt).collect::<Vec<_>>(), [again.attempt]);
    assert_eq!(stored(&mut *tx, &session).await.offset().get(), 50);
}

pub(super) async fn an_ingest_is_stored_and_fenced_by_revision(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let session = completed(&mut *tx).await;
    let now = tx.now();
    let (ingesting, _) = session.start_ingest(now).unwrap();
    tx.update_upload(&ingesting).await.unwrap();
    let read = stored(&mut *tx, &ingesting).await;
    let (ready, _) = read.finish_ingest(now).unwrap();
    tx.update_upload(&ready).await.unwrap();
    assert_eq!(stored(&mut *tx, &ready).await.state, ready.state);
    // The write of a worker that read before the other wrote is refused.
    assert_eq!(conflict(tx.update_upload(&ingesting).await), Conflict::StaleRevision);
}

pub(super) async fn expired_sessions_are_listed_by_id(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let first = session(&mut *tx, claim(1), TTL).await.id;
    let second = session(&mut *tx, claim(2), TTL).await.id;
    completed(&mut *tx).await;
    let nil = UploadId::new(Uuid::nil());
    assert_eq!(tx.list_expired_uploads(nil, 10).await.unwrap(), []);
    tx.commit().await.unwrap();
    (fresh.advance)(TTL);
    let mut tx = fresh.begin().await;
    let mut ids = [first, second];
    ids.sort_by_key(|id| id.uuid());
    assert_eq!(tx.list_expired_uploads(nil, 10).await.unwrap(), ids);
    assert_eq!(tx.list_expired_uploads(nil, 1).await.unwrap(), ids[..1]);
    assert_eq!(tx.list_expired_uploads(ids[0], 10).await.unwrap(), ids[1..]);
}

pub(super) async fn the_parts_of_an_ended_session_are_deleted(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let session = session(&mut *tx, claim(1), TTL).await;
    send(&mut *tx, &session, &part(1, 100, 100)).await;
    let now = tx.now();
    let (aborted, _) = stored(&mut *tx, &session).await.abort(now).unwrap();
    tx.update_upload(&aborted).await.unwrap();
    tx.delete_parts(session.id).await.unwrap();
    assert!(tx.list_parts(session.id).await.unwrap().is_empty());
    assert_eq!(stored(&mut *tx, &session).await.state, aborted.state);
}
