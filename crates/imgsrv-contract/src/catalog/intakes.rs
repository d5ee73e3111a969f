//! Streams and intakes.

use super::{
    Fresh,
    samples::{claim, new_draft, new_image, new_job, new_principal, session},
};
use crate::uuid;
use imgsrv_domain::{
    access::Sender,
    claims::{Binding, ClaimValues},
    digest::ByteSize,
    ids::{AttemptId, UploadId},
    intake::{Intake, IntakeState, NewIntake},
    names::Format,
    page::PageRequest,
    parts::{Part, PartLocation},
    ports::{CatalogTx, Conflict},
    upload::{Attempt, Claim, NewAppendUpload, UploadSession},
};
use std::time::Duration;

const TTL: Duration = Duration::from_hours(24);

fn wanted() -> NewIntake {
    NewIntake {
        image: "debian".parse().unwrap(),
        version: "12.5.0".parse().unwrap(),
        operating_system: "linux".parse().unwrap(),
        architecture: "amd64".parse().unwrap(),
        variant: "default".parse().unwrap(),
        format: Format::Qcow2,
        media_type: "a/b".parse().unwrap(),
        aliases: vec!["latest".parse().unwrap(), "stable".parse().unwrap()],
    }
}

/// An append upload of `size` bytes without a declared digest, opened by a new principal, and its intake.
async fn intake(tx: &mut dyn CatalogTx, size: i64) -> (UploadSession, Intake) {
    let now = tx.now();
    let by = new_principal(tx, &[]).await.id;
    let new = NewAppendUpload { size: size.try_into().unwrap(), digest: None, media_type_hint: None };
    let (session, _) = UploadSession::open_append(UploadId::new(uuid()), Sender::unlimited(by), new, now, TTL);
    let intake = {
        let claims = ClaimValues::new([("repository", "acme/'images'")]);
        let admitted_by = Some(Binding { rule: "ci".parse().unwrap(), claims });
        Intake::open(session.id, by, admitted_by, wanted(), now)
    };
    tx.insert_upload(&session, None).await.unwrap();
    tx.insert_intake(&intake).await.unwrap();
    (session, intake)
}

pub(super) async fn the_digest_of_an_append_upload_is_computed(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let (session, _) = intake(&mut *tx, 0).await;
    let stored = tx.lock_upload(session.id).await.unwrap().unwrap();
    assert_eq!(stored, session);
    assert_eq!(stored.declared(), Claim::Undeclared(ByteSize::ZERO));
    let name = stored.blob_name();
    let (completed, _) = stored.complete_empty(tx.now()).unwrap();
    tx.update_upload(&completed).await.unwrap();
    tx.commit().await.unwrap();
    let read = fresh.catalog.get_upload(session.id).await.unwrap().unwrap();
    // SHA-256 of nothing (FIPS 180-4).
    let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(read.declared(), Claim::Undeclared(ByteSize::ZERO));
    assert_eq!(read.digest().unwrap().to_string(), digest);
    assert_eq!(read.blob_name(), name, "its bytes are stored under it already");
    let open = fresh.catalog.list_open_uploads(Some(&session.created_by), None, &PageRequest::FIRST).await.unwrap();
    assert_eq!(open.items, []);
}

pub(super) async fn only_the_latest_attempt_at_an_append_is_recorded(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let (session, _) = intake(&mut *tx, 10).await;
    let now = tx.now();
    let mut attempts = Vec::new();
    for _ in 0..2 {
        let session = tx.lock_upload(session.id).await.unwrap().unwrap();
        let (session, attempt) = session.begin_append(AttemptId::new(uuid()), 0, None, now).unwrap();
        tx.update_upload(&session).await.unwrap();
        attempts.push(attempt);
    }
    let (older, newer) = (&attempts[0], &attempts[1]);
    let session = tx.lock_upload(session.id).await.unwrap().unwrap();
    let part = |attempt: &Attempt| Part {
        number: attempt.number,
        attempt: attempt.id,
        sequence: attempt.sequence,
        size: ByteSize::try_from(4_i64).unwrap(),
        location: PartLocation("file@0".to_owned()),
        hash: None,
    };
    assert!(session.clone().record_append(older, &part(older), None, now, TTL).is_err());
    let (recorded, _) = session.record_append(newer, &part(newer), None, now, TTL).unwrap();
    tx.put_part(recorded.id, &part(newer)).await.unwrap();
    tx.update_upload(&recorded).await.unwrap();
    let stored = tx.lock_upload(recorded.id).await.unwrap().unwrap();
    assert_eq!(stored.offset().get(), 4);
    assert!(stored.begin_append(AttemptId::new(uuid()), 0, None, now).is_err(), "an offset never goes back");
}

pub(super) async fn intakes_are_stored_and_updated_by_revision(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let (session, opened) = intake(&mut *tx, 10).await;
    assert_eq!(tx.lock_intake(session.id).await.unwrap().as_ref(), Some(&opened));
    let image = new_image(&mut *tx, "debian").await;
    let version = new_draft(&mut *tx, &image, "12.5.0").await;
    let job = new_job(&mut *tx, &version).await;
    let publishing = opened.clone().publish(job.id, tx.now()).unwrap();
    tx.update_intake(&publishing).await.unwrap();
    let found = tx.lock_intake_of_job(job.id).await.unwrap().unwrap();
    assert_eq!((&found.state, &found.wanted), (&IntakeState::Publishing(job.id), &opened.wanted));
    let failed = found.clone().fail("why".to_owned(), tx.now()).unwrap();
    tx.update_intake(&failed).await.unwrap();
    tx.commit().await.unwrap();
    let read = fresh.catalog.get_intake(session.id).await.unwrap().unwrap();
    assert_eq!(read.state, IntakeState::Failed { reason: "why".to_owned(), job: Some(job.id) });
    assert_eq!(fresh.refused(async |tx| tx.update_intake(&publishing).await).await, Conflict::StaleRevision);
}

pub(super) async fn staged_bytes_are_the_sum_of_expected_sizes(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    assert_eq!(tx.sum_staged_bytes().await.unwrap(), 0);
    let first = session(&mut *tx, claim(1), TTL).await;
    let (second, _) = intake(&mut *tx, 1000).await;
    assert_eq!(tx.sum_staged_bytes_of(second.created_by.principal).await.unwrap(), 1000);
    assert_eq!(tx.sum_staged_bytes().await.unwrap(), first.size().get() + 1000);
    let now = tx.now();
    tx.update_upload(&second.clone().abort(now).unwrap().0).await.unwrap();
    assert_eq!(tx.sum_staged_bytes().await.unwrap(), first.size().get());
    assert_eq!(tx.sum_staged_bytes_of(second.created_by.principal).await.unwrap(), 0);
}
