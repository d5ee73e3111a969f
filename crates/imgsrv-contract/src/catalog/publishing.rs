//! Publish jobs, inspection results and warnings.

use super::{
    Fresh, all_pages,
    samples::{attachment, claim, debian, inspection, new_artifact, new_blob, new_draft, new_image, new_job, warning},
};
use crate::uuid;
use imgsrv_domain::{
    ids::JobId,
    inspection::{IncusLayout, IncusProperties, IncusRow},
    names::ImageName,
    page::PageRequest,
    ports::{CatalogError, CatalogTx, Conflict, JobWork, Setback, View},
    publish::{JobFilter, JobState, PublishJob, StepName},
    version::Version,
    work::{WorkKind, WorkName, WorkerId},
};
use std::{slice, time::Duration};

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

pub(super) async fn jobs_are_listed_newest_first_by_state_and_image(fresh: Fresh) {
    let mut tx = fresh.begin().await;
    let now = tx.now();
    let images = [new_image(&mut *tx, "debian").await, new_image(&mut *tx, "alpine").await];
    let mut expected = Vec::new();
    for number in 0..6 {
        let image = &images[number % 2];
        let version = new_draft(&mut *tx, image, &number.to_string()).await;
        let job = new_job(&mut *tx, &version).await;
        let job = match number {
            0 | 1 => job,
            2 => job.start(now).unwrap(),
            _ => job.start(now).unwrap().step_failed("because".to_owned(), now).unwrap().0,
        };
        let job = if number == 5 { job.abandon(now).unwrap().0 } else { job };
        if number > 1 {
            tx.update_job(&job).await.unwrap();
        }
        expected.insert(0, (number, job.state));
    }
    tx.commit().await.unwrap();
    let (failed, queued) = (JobState::Failed, JobState::Queued);
    for (states, image) in [
        (&[][..], None),
        (&[queued], None),
        (&[failed, queued], None),
        (&[JobState::Succeeded], None),
        (&[], Some("debian")),
        (&[failed, queued], Some("alpine")),
        (&[failed], Some("fedora")),
    ] {
        let image: Option<ImageName> = image.map(|name| name.parse().unwrap());
        let filter = JobFilter { states: states.iter().copied().collect(), image };
        let listed = all_pages(2, async |page| fresh.catalog.list_jobs(&filter, page).await.map(Some)).await.unwrap();
        let listed: Vec<_> = listed.iter().map(|found| (found.job.version.to_string(), found.job.state)).collect();
        let expected = expected.iter().filter(|(number, state)| {
            let name = filter.image.as_ref();
            (states.is_empty() || states.contains(state)) && name.is_none_or(|name| *name == images[number % 2].name)
        });
        let expected: Vec<_> = expected.map(|(number, state)| (number.to_string(), *state)).collect();
        assert_eq!(listed, expected, "{filter:?}");
    }
    let one = PageRequest { limit: 1.try_into().unwrap(), after: None };
    let after = fresh.catalog.list_jobs(&JobFilter::default(), &one).await.unwrap().next;
    let other = JobFilter { states: [queued].into(), image: None };
    let refused = fresh.catalog.list_jobs(&other, &PageRequest { after, ..one }).await;
    assert!(matches!(refused, Err(CatalogError::InvalidCursor)), "{refused:?}");
}

pub(super) async fn a_job_shows_its_next_attempt_or_that_it_is_parked(fresh: Fresh) {
    let (_, job) = fresh.write(queued).await;
    let work = async || {
        let found = fresh.catalog.get_job(job.id).await.unwrap().unwrap();
        let listed = fresh.catalog.list_jobs(&JobFilter::default(), &PageRequest::FIRST).await.unwrap();
        assert_eq!(listed.items, slice::from_ref(&found));
        found.work
    };
    assert_eq!(work().await, JobWork::default());

    let mut tx = fresh.begin().await;
    let now = tx.now();
    tx.enqueue_work(WorkName::publish(job.id)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(work().await, JobWork { next_attempt_at: Some(now), ..JobWork::default() });

    let (owner, hour) = (WorkerId::new("a".to_owned()), Duration::from_hours(1));
    let lease = async || {
        let leased = fresh.catalog.acquire_work(WorkKind::Publish, None, &owner, hour, hour).await;
        leased.unwrap().unwrap().lease
    };
    let first = lease().await;
    assert_eq!(work().await, JobWork::default(), "a worker has it");
    let setback = Setback { delay: hour, error: "why".to_owned(), silent: false };
    let now = fresh
        .write(async |tx| {
            assert!(tx.postpone_work(&first, &setback).await.unwrap());
            tx.now()
        })
        .await;
    let error = Some("why".to_owned());
    let waits = JobWork { next_attempt_at: Some(now.plus(hour)), error: error.clone(), is_parked: false };
    assert_eq!(work().await, waits);

    (fresh.advance)(hour);
    let second = lease().await;
    assert_eq!(work().await, JobWork { next_attempt_at: None, ..waits });
    fresh.write(async |tx| assert!(tx.park_work(&second, "why").await.unwrap())).await;
    assert_eq!(work().await, JobWork { next_attempt_at: None, error, is_parked: true });
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
        tx.insert_warnings(id, slice::from_ref(one)).await.unwrap();
    }
    let (fingerprint, properties) = (claim(3).digest, IncusProperties::default());
    let layout = IncusLayout::Split(metadata.id);
    let row = IncusRow { artifact: artifact.id, layout, fingerprint, properties, expires_at: None };
    tx.insert_stream_row(id, &row).await.unwrap();
    tx.commit().await.unwrap();
    let report = fresh.catalog.get_job(job.id).await.unwrap().unwrap();
    assert_eq!(report.warnings, warnings);
    assert_eq!(fresh.catalog.list_jobs(&JobFilter::default(), &PageRequest::FIRST).await.unwrap().items, [report]);
    let manifest = async || {
        let found = fresh.catalog.get_manifest(&image.name, &version.name, View::All).await.unwrap().unwrap();
        (found.warnings, found.entries[0].inspection)
    };
    assert_eq!(manifest().await, (warnings.to_vec(), Some(inspection())));
    // Streams list nothing before it is published.
    assert_eq!(fresh.catalog.get_stream_changes(None).await.unwrap().rows, []);

    let mut tx = fresh.begin().await;
    tx.delete_inspections(id).await.unwrap();
    tx.delete_stream_rows(id).await.unwrap();
    tx.delete_warnings(id).await.unwrap();
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
