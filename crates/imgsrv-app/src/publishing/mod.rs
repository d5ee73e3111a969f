//! Publishing: the request that freezes a draft, and the durable job that publishes it.

mod error;
mod fingerprint;
mod index;
mod inspection;
mod near_miss;
mod packages;
mod publication;
pub(crate) mod queue;
mod readable;
mod run;
mod steps;
mod validate;

pub(crate) use run::RunJob;

use crate::{
    audit,
    auth::caller::Writer,
    bytes::blocks::refusal,
    content::drafts,
    context::Context,
    error::{Missing, Result, UseCaseError},
    intakes::follow,
    work::{crash_point::crash_point, detach::detached, retry::retrying},
};
use imgsrv_domain::{
    ids::JobId,
    manifest::Unpublishable,
    names::{ImageName, VersionName},
    page::{Page, PageRequest},
    ports::JobReport,
    publish::{JobFilter, PublishJob},
    version::{Version, VersionState},
    work::{WorkKind, WorkName},
};
use readable::unpublishable;
use std::sync::Arc;

/// The use cases of publishing.
#[derive(Clone)]
pub struct Publishing(pub(crate) Arc<Context>);

/// The result of a publish request.
#[derive(Debug, Clone)]
pub struct Requested {
    /// The version as it is now.
    pub version: Version,
    /// Its job.
    pub job: JobId,
    /// Whether this request queued the job.
    pub started: bool,
}

impl Publishing {
    /// Freezes a draft and queues its job. A digest that neither the caller nor the principal that added it may read counts as
    /// missing. If the version is frozen or published already, returns its job.
    ///
    /// Cancel-safe: when the caller is dropped, the workers still learn of the job after the commit.
    #[tracing::instrument(name = "version.publish", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image, version.name = %version))]
    pub async fn publish(&self, who: &Writer, image: &ImageName, version: &VersionName) -> Result<Requested> {
        let (publishing, who, image, version) = (self.clone(), who.clone(), image.clone(), version.clone());
        detached(async move { publishing.freeze(&who, &image, &version).await }).await
    }

    async fn freeze(&self, who: &Writer, image: &ImageName, version: &VersionName) -> Result<Requested> {
        let actor = who.on(&self.0, image).await?;
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let version = drafts::lock_version(&mut *tx, image, version).await?;
            match version.state {
                VersionState::Publishing | VersionState::Published { .. } => {
                    let job = tx.get_live_job(version.id).await?.ok_or_else(|| Missing::JobOf(version.path()))?;
                    return Ok(Requested { version, job: job.id, started: false });
                }
                VersionState::Draft => {}
            }
            let why = match tx.count_artifacts(version.id).await? {
                0 => Some(Unpublishable::Empty),
                _ => unpublishable(&mut *tx, who, version.id).await?,
            };
            if matches!(why, Some(Unpublishable::Untrusted(_)))
                && let Some(block) = tx.get_blocked_digest_of(version.id).await?
            {
                return Err(refusal(who, block));
            }
            if let Some(why) = why {
                return Err(UseCaseError::Unpublishable { version: version.path(), why });
            }
            let (version, event) = version.freeze(tx.now())?;
            let job = PublishJob::enqueue(JobId::new(self.0.ids.next()), &version, tx.now());
            let id = job.id;
            let queued = queue::queue(&self.0, &mut *tx, job).await?;
            tx.update_version(&version).await?;
            audit::record(&mut *tx, actor, event.with(id)).await?;
            crash_point("freeze.committing");
            let committed = tx.commit().await;
            crash_point("freeze.committed");
            queued.start(&self.0);
            committed?;
            Ok::<_, UseCaseError>(Requested { version, job: id, started: true })
        })
        .await
    }

    /// The job with that id, and the warnings of its steps.
    #[tracing::instrument(name = "publish_job.get", level = "debug", skip_all, fields(publish_job.id = %id), err(level = "debug"))]
    pub async fn job(&self, who: &Writer, id: JobId) -> Result<JobReport> {
        let found = self.0.catalog.get_job(id).await?;
        found.filter(|report| who.covers(&report.job.image)).ok_or(Missing::Job(id).into())
    }

    /// Jobs of the images to which the caller may write, newest first. A page may have fewer than requested.
    #[tracing::instrument(name = "publish_job.list", level = "debug", skip_all, err(level = "debug"))]
    pub async fn jobs(&self, who: &Writer, filter: &JobFilter, page: &PageRequest) -> Result<Page<JobReport>> {
        let mut found = self.0.catalog.list_jobs(filter, page).await?;
        found.items.retain(|report| who.covers(&report.job.image));
        Ok(found)
    }

    /// Queues a failed job again, starting at the step that failed.
    ///
    /// Cancel-safe: when the caller is dropped, the workers are still woken after the commit.
    #[tracing::instrument(name = "publish_job.retry", level = "debug", skip_all, fields(publish_job.id = %id), err(level = "debug"))]
    pub async fn retry(&self, who: &Writer, id: JobId) -> Result<JobReport> {
        let (publishing, who) = (self.clone(), who.clone());
        detached(async move { publishing.requeue(&who, id).await }).await
    }

    async fn requeue(&self, who: &Writer, id: JobId) -> Result<JobReport> {
        let actor = who.on(&self.0, &self.job(who, id).await?.job.image).await?;
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            // Its item may be parked; items are locked before jobs.
            tx.enqueue_work(WorkName::publish(id)).await?;
            let job = tx.lock_job(id).await?.ok_or(Missing::Job(id))?;
            let (job, event) = job.retry(tx.now())?;
            tx.update_job(&job).await?;
            audit::commit(tx, actor, event).await?;
            Ok::<_, UseCaseError>(())
        })
        .await?;
        self.0.wakeups.wake(WorkKind::Publish);
        self.job(who, id).await
    }

    /// Abandons a failed job; its version becomes a draft again.
    #[tracing::instrument(name = "publish_job.abandon", level = "debug", skip_all, fields(publish_job.id = %id), err(level = "debug"))]
    pub async fn abandon(&self, who: &Writer, id: JobId) -> Result<JobReport> {
        let actor = who.on(&self.0, &self.job(who, id).await?.job.image).await?;
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            tx.discard_parked_work(WorkName::publish(id)).await?;
            let job = tx.lock_job(id).await?.ok_or(Missing::Job(id))?;
            let now = tx.now();
            let (job, event) = job.abandon(now)?;
            follow::job_abandoned(&mut *tx, &job).await?;
            let version = tx.lock_version_by_id(job.version_id).await?;
            let version = version.ok_or_else(|| Missing::Version(job.image.clone(), job.version.clone()))?;
            let (version, reopened) = version.reopen(now)?;
            tx.update_job(&job).await?;
            tx.delete_inspections(version.id).await?;
            tx.delete_stream_rows(version.id).await?;
            tx.delete_warnings(version.id).await?;
            tx.update_version(&version).await?;
            audit::record(&mut *tx, actor, event).await?;
            audit::commit(tx, actor, reopened).await?;
            Ok::<_, UseCaseError>(())
        })
        .await?;
        self.job(who, id).await
    }
}
