//! Publish jobs, inspection results and warnings.

use super::{
    Fresh,
    samples::{artifact, attachment, blob, claim, conflict, draft, image, inspection, uuid, warning},
};
use imgsrv_domain::{
    ids::JobId,
    inspection::IncusRow,
    ports::{Conflict, Visibility},
    publish::{PublishJob, StepName},
};

pub(super) async fn a_version_has_one_live_job(fresh: Fresh) {
    let mut tx = fresh.catalog.begin().await.unwrap();
    let now = tx.now();
    let image = image("debian", now);
    tx.insert_image(&image).await.unwrap();
    let version = draft(&image, "1", now);
    tx.insert_version(&version).await.unwrap();
    let job = PublishJob::enqueue(JobId::new(uuid()), &version, now);
    tx.insert_job(&job).await.unwrap();
    tx.commit().await.unwrap();
    let second = PublishJob::enqueue(JobId::new(uuid()), &version, now);
    let mut tx = fresh.catalog.begin().await.unwrap();
    assert_eq!(conflict!(tx.insert_job(&second).await), Conflict::LiveJob);

    drop(tx);
    let mut tx = fresh.catalog.begin().await.unwrap();
    assert_eq!(tx.get_live_job(version.id).await.unwrap(), Some(job.clone()));
    let started = job.start(now).unwrap();
    tx.update_job(&started).await.unwrap();
    let stored = tx.lock_job(started.id).await.unwrap().unwrap();
    let (failed, _) = stored.step_failed("because".to_owned(), now).unwrap();
    tx.update_job(&failed).await.unwrap();
    let stored = tx.lock_job(failed.id).await.unwrap().unwrap();
    assert_eq!(stored.failed_step().unwrap().state.reason(), Some("because"));
    tx.update_job(&stored.abandon(now).unwrap().0).await.unwrap();
    assert_eq!(tx.get_live_job(version.id).await.unwrap(), None);
    tx.insert_job(&second).await.unwrap();
    tx.commit().await.unwrap();
}

pub(super) async fn publish_results_change_only_while_a_version_is_publishing(fresh: Fresh) {
    let mut tx = fresh.catalog.begin().await.unwrap();
    let now = tx.now();
    let image = image("debian", now);
    tx.insert_image(&image).await.unwrap();
    let version = draft(&image, "1", now);
    tx.insert_version(&version).await.unwrap();
    let artifact = artifact(&version, "amd64", claim(1));
    tx.insert_artifact(&artifact, &[], None).await.unwrap();
    let metadata = attachment(&artifact, "incus.tar.xz", claim(2));
    tx.insert_attachment(version.id, &metadata, &[]).await.unwrap();
    for bytes in [claim(1), claim(2)] {
        tx.insert_blob(&blob(bytes, now)).await.unwrap();
    }
    tx.commit().await.unwrap();

    // Not for a draft.
    let mut tx = fresh.catalog.begin().await.unwrap();
    assert_eq!(conflict!(tx.insert_inspection(version.id, artifact.id, &inspection()).await), Conflict::Forbidden);
    drop(tx);
    let mut tx = fresh.catalog.begin().await.unwrap();
    let odd = warning(&artifact, StepName::IncusIndex);
    assert_eq!(conflict!(tx.insert_warnings(version.id, &[odd]).await), Conflict::Forbidden);
    drop(tx);

    let mut tx = fresh.catalog.begin().await.unwrap();
    let job = PublishJob::enqueue(JobId::new(uuid()), &version, now);
    tx.insert_job(&job).await.unwrap();
    let frozen = tx.lock_version_by_id(version.id).await.unwrap().unwrap().freeze(now).unwrap().0;
    tx.update_version(&frozen).await.unwrap();
    tx.insert_inspection(version.id, artifact.id, &inspection()).await.unwrap();
    let warnings = [warning(&artifact, StepName::ValidateCatalog), warning(&artifact, StepName::IncusIndex)];
    for one in &warnings {
        tx.insert_warnings(version.id, std::slice::from_ref(one)).await.unwrap();
    }
    let row = IncusRow { artifact: artifact.id, attachment: metadata.id, fingerprint: claim(3).digest };
    tx.insert_stream_row(version.id, &row).await.unwrap();
    tx.commit().await.unwrap();
    let report = fresh.catalog.get_job(job.id).await.unwrap().unwrap();
    assert_eq!(report.warnings, warnings);
    let manifest = fresh.catalog.get_manifest(&image.name, &version.name, Visibility::All).await.unwrap().unwrap();
    assert_eq!((manifest.warnings.as_slice(), manifest.entries[0].inspection), (&warnings[..], Some(inspection())));
    // Streams list nothing before it is published.
    assert_eq!(fresh.catalog.get_stream_changes(None).await.unwrap().rows, []);

    let mut tx = fresh.catalog.begin().await.unwrap();
    tx.delete_stream_rows(version.id).await.unwrap();
    tx.delete_warnings(version.id, Some(StepName::IncusIndex)).await.unwrap();
    tx.insert_stream_row(version.id, &row).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(fresh.catalog.get_job(job.id).await.unwrap().unwrap().warnings, warnings[..1]);

    let mut tx = fresh.catalog.begin().await.unwrap();
    tx.delete_inspections(version.id).await.unwrap();
    tx.delete_stream_rows(version.id).await.unwrap();
    tx.delete_warnings(version.id, None).await.unwrap();
    let job = tx.lock_job(job.id).await.unwrap().unwrap();
    let job = job.start(now).unwrap();
    let (job, _) = job.step_failed("no".to_owned(), now).unwrap();
    tx.update_job(&job.abandon(now).unwrap().0).await.unwrap();
    let version = tx.lock_version_by_id(version.id).await.unwrap().unwrap();
    tx.update_version(&version.clone().reopen(now).unwrap().0).await.unwrap();
    tx.commit().await.unwrap();
    let manifest = fresh.catalog.get_manifest(&image.name, &version.name, Visibility::All).await.unwrap().unwrap();
    assert_eq!((manifest.warnings.len(), manifest.entries[0].inspection), (0, None));
    let mut tx = fresh.catalog.begin().await.unwrap();
    let version = tx.lock_version_by_id(version.id).await.unwrap().unwrap();
    tx.delete_version(&version).await.unwrap();
    tx.commit().await.unwrap();
}
