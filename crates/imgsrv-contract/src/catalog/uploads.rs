//! Upload sessions and blobs.

use super::{
    Fresh, conflict,
    samples::{claim, session},
};
use crate::uuid;
use imgsrv_domain::{
    digest::{BlobClaim, ByteSize, Digest, HashState},
    ids::{AttemptId, UploadId},
    lease::{LeaseLost, WorkerId},
    names::PartNumber,
    page::PageRequest,
    parts::{ListedPart, Part, PartLocation},
    ports::{CatalogError, CatalogTx, Conflict},
    upload::{NewUpload, UploadSession},
};
use std::time::Duration;

const TERM: Duration = Duration::from_secs(30);
const TTL: Duration = Duration::from_hours(24);

fn part(number: i64, size: i64, hashed: u64) -> Part {
    Part {
        number: PartNumber::try_from(number).unwrap(),
        attempt: AttemptId::new(uuid()),
        sequence: number,
        size: ByteSize::try_from(size).unwrap(),
        location: PartLocation(format!("file@{number}")),
        hash: Some(HashState { bytes: hashed, state: [u8::try_from(number).unwrap(); HashState::LENGTH] }),
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
        UploadSession::open(UploadId::new(uuid()), first.created_by, new, now, TTL).0
    };
    let (second, third, given_up) = (open(claim(2)), open(claim(1)), open(claim(1)));
    for session in [&second, &third, &given_up] {
        tx.insert_upload(session).await.unwrap();
    }
    tx.update_upload(&given_up.abort(now).unwrap().0).await.unwrap();
    tx.commit().await.unwrap();
    let (one, all) = (PageRequest { limit: 1.try_into().unwrap(), after: None }, PageRequest::FIRST);
    let list = async |digest: Option<&Digest>, page: &PageRequest| {
        let found = fresh.catalog.list_open_uploads(first.created_by, digest, page).await.unwrap();
        (found.items.iter().map(|session| session.id).collect::<Vec<_>>(), found.next)
    };
    assert_eq!(list(None, &all).await.0, [third.id, second.id, first.id]);
    let digest = claim(1).digest;
    let (ids, next) = list(Some(&digest), &one).await;
    assert_eq!(ids, [third.id]);
    let next = PageRequest { after: next, ..one };
    assert_eq!(list(Some(&digest), &next).await, (vec![first.id], None));
    let foreign = fresh.catalog.list_open_uploads(first.created_by, None, &next).await;
    assert!(matches!(foreign, Err(CatalogError::InvalidCursor)));
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

pub(super) async fn ingests_are_acquired_when_due_and_reclaimed_after_expiry(fresh: Fresh) {
    fresh.write(completed).await;
    let claim = async |owner: &str| {
        let mut tx = fresh.begin().await;
        let session = tx.lock_due_upload().await.unwrap()?;
        let (session, _, key) = session.acquire_ingest(&WorkerId::new(owner.to_owned()), tx.now(), TERM).unwrap();
        tx.update_upload(&session).await.unwrap();
        let session = stored(&mut *tx, &session).await;
        tx.commit().await.unwrap();
        Some((session, key))
    };
    let (session, key) = claim("first").await.unwrap();
    assert_eq!(claim("second").await, None);
    let (postponed, _) = session.postpone_ingest(&key, TERM, fresh.catalog.catalog_time().await.unwrap()).unwrap();
    fresh.write(async |tx| tx.update_upload(&postponed).await.unwrap()).await;
    assert_eq!(claim("second").await, None, "it is not due yet");
    (fresh.advance)(TERM);
    let (_, second) = claim("second").await.unwrap();
    (fresh.advance)(TERM);
    let (_, third) = claim("third").await.unwrap();
    assert_eq!((key.attempt, second.attempt, third.attempt), (1, 2, 3));
}

pub(super) async fn an_expired_lease_cannot_finish(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let session = completed(&mut *tx).await;
    let now = tx.now();
    let (held, _, lost) = session.acquire_ingest(&WorkerId::new("first".to_owned()), now, TERM).unwrap();
    tx.update_upload(&held).await.unwrap();
    tx.commit().await.unwrap();
    (fresh.advance)(TERM);
    let mut tx = fresh.begin().await;
    let taken = tx.lock_due_upload().await.unwrap().unwrap();
    let (taken, _, key) = taken.acquire_ingest(&WorkerId::new("first".to_owned()), tx.now(), TERM).unwrap();
    tx.update_upload(&taken).await.unwrap();
    let read = stored(&mut *tx, &taken).await;
    assert_eq!(read.clone().finish_ingest(&lost, now).unwrap_err(), LeaseLost);
    let (ready, _) = read.finish_ingest(&key, now).unwrap();
    tx.update_upload(&ready).await.unwrap();
    assert_eq!(stored(&mut *tx, &ready).await.state, ready.state);
    // The write of a holder that read before the other claimed is refused as well.
    assert_eq!(conflict(tx.update_upload(&held).await), Conflict::StaleRevision);
}

pub(super) async fn unfinished_sessions_expire(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let session = session(&mut *tx, claim(1), TTL).await;
    completed(&mut *tx).await;
    assert!(tx.lock_expired_uploads(10).await.unwrap().is_empty());
    tx.commit().await.unwrap();
    (fresh.advance)(TTL);
    let expired = fresh.begin().await.lock_expired_uploads(10).await.unwrap();
    assert_eq!(expired.iter().map(|session| session.id).collect::<Vec<_>>(), [session.id]);
}

pub(super) async fn ended_sessions_are_listed_until_cleared(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let session = session(&mut *tx, claim(1), TTL).await;
    send(&mut *tx, &session, &part(1, 100, 100)).await;
    assert!(tx.lock_uncleared_uploads(10).await.unwrap().is_empty());
    let now = tx.now();
    let (aborted, _) = stored(&mut *tx, &session).await.abort(now).unwrap();
    tx.update_upload(&aborted).await.unwrap();
    assert_eq!(tx.lock_uncleared_uploads(10).await.unwrap().len(), 1);
    tx.mark_upload_cleared(session.id).await.unwrap();
    assert!(tx.lock_uncleared_uploads(10).await.unwrap().is_empty());
    assert!(tx.list_parts(session.id).await.unwrap().is_empty());
    assert_eq!(stored(&mut *tx, &session).await.state, aborted.state);
}
