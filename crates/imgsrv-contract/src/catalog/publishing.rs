//! Publish jobs, inspection results and warnings.

use super::{
    Fresh,
    samples::{attachment, claim, debian, inspection, new_artifact, new_blob, new_job, warning},
};
use crate::uuid;
use imgsrv_domain::{
    ids::JobId,
    inspection::{IncusProperties, IncusRow},
    ports::{CatalogTx, Conflict, Visibility},
    publish::{PublishJob, StepName},
    version::Version,
};

/// A draft and its publish job.
async fn queued(tx: &mut dyn CatalogTx) -> (Version, PublishJob) {
    let (_, version) = debian(tx).await;
    let job = new_job(tx, &version).await;
    (version, job)
}

pub(super) async fn a_version_has_one_live_job(fresh: Fresh) {
    let (version, job) = fresh.write(queued).await;
    let now = version.created_at;
    let second = PublishJob::enqueue(JobId::new(uuid()), &version, now);
    assert_eq!(fresh.refused(async |tx| tx.insert_job(&second).await).await, Conflict::LiveJob);

    let mut tx = fresh.begin().await;
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
    let mut tx = fresh.begin().await;
    let now = tx.now();
    let (image, version) = debian(&mut *tx).await;
    let artifact = new_artifact(&mut *tx, &version).await;
    let metadata = attachment(&artifact, "incus.tar.xz", claim(2));
    tx.insert_attachment(version.id, &metadata, &[]).await.unwrap();
    for bytes in [claim(1), claim(2)] {
        new_blob(&mut *tx, bytes).await;
    }
    tx.commit().await.unwrap();

    let id = version.id;
    let warnings = [warning(&artifact, StepName::ValidateCatalog), warning(&artifact, StepName::IncusIndex)];
    // Not for a draft.
    let inspected = fresh.refused(async |tx| tx.insert_inspection(id, artifact.id, &inspection()).await).await;
    let warned = fresh.refused(async |tx| tx.insert_warnings(id, &warnings[1..]).await).await;
    assert_eq!((inspected, warned), (Conflict::Forbidden, Conflict::Forbidden));

    let mut tx = fresh.begin().await;
    let job = new_job(&mut *tx, &version).await;
    let frozen = tx.lock_version_by_id(id).await.unwrap().unwrap().freeze(now).unwrap().0;
    tx.update_version(&frozen).await.unwrap();
    tx.insert_inspection(id, artifact.id, &inspection()).await.unwrap();
    for one in &warnings {
        tx.insert_warnings(id, std::slice::from_ref(one)).await.unwrap();
    }
    let (fingerprint, properties) = (claim(3).digest, IncusProperties::default());
    let row = IncusRow { artifact: artifact.id, attachment: metadata.id, fingerprint, properties };
    tx.insert_stream_row(id, &row).await.unwrap();
    tx.commit().await.unwrap();
    let report = fresh.catalog.get_job(job.id).await.unwrap().unwrap();
    assert_eq!(report.warnings, warnings);
    let manifest = async || {
        let found = fresh.catalog.get_manifest(&image.name, &version.name, Visibility::All).await.unwrap().unwrap();
        (found.warnings, found.entries[0].inspection)
    };
    assert_eq!(manifest().await, (warnings.to_vec(), Some(inspection())));
    // Streams list nothing before it is published.
    assert_eq!(fresh.catalog.get_stream_changes(None).await.unwrap().rows, []);

    let mut tx = fresh.begin().await;
    tx.delete_stream_rows(id).await.unwrap();
    tx.delete_warnings(id, Some(StepName::IncusIndex)).await.unwrap();
    tx.insert_stream_row(id, &row).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(fresh.catalog.get_job(job.id).await.unwrap().unwrap().warnings, warnings[..1]);

    let mut tx = fresh.begin().await;
    tx.delete_inspections(id).await.unwrap();
    tx.delete_stream_rows(id).await.unwrap();
    tx.delete_warnings(id, None).await.unwrap();
    let job = tx.lock_job(job.id).await.unwrap().unwrap();
    let job = job.start(now).unwrap();
    let (job, _) = job.step_failed("no".to_owned(), now).unwrap();
    tx.update_job(&job.abandon(now).unwrap().0).await.unwrap();
    let frozen = tx.lock_version_by_id(id).await.unwrap().unwrap();
    tx.update_version(&frozen.reopen(now).unwrap().0).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(manifest().await, (Vec::new(), None));
    let mut tx = fresh.begin().await;
    let reopened = tx.lock_version_by_id(id).await.unwrap().unwrap();
    tx.delete_version(&reopened).await.unwrap();
    tx.commit().await.unwrap();
}
