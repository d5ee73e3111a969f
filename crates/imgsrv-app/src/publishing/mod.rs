//! Publishing: the request that freezes a draft, and the durable job that publishes it.

mod fingerprint;
mod index;
mod steps;
mod validate;
mod worker;

pub use worker::PublishWorker;

use crate::{
    audit,
    auth::caller::Writer,
    content::drafts,
    context::Context,
    error::{Missing, UseCaseError},
    work::retry::retrying,
};
use imgsrv_domain::{
    ids::JobId,
    names::{ImageName, VersionName},
    ports::JobReport,
    publish::PublishJob,
    version::{Version, VersionState},
};
use std::sync::Arc;
use steps::unpublishable;

/// The use cases of publishing.
#[derive(Clone)]
pub struct Publishing(pub(crate) Arc<Context>);

/// What a publish request came to.
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
    /// Freezes a draft and queues its job. On a version that is frozen or published already, finds its job.
    pub async fn publish(
        &self,
        who: &Writer,
        image: &ImageName,
        version: &VersionName,
    ) -> Result<Requested, UseCaseError> {
        let requested = retrying(|| self.publish_once(who, image, version)).await?;
        if requested.started {
            self.0.wakeups.publish.notify_one();
        }
        Ok(requested)
    }

    async fn publish_once(
        &self,
        who: &Writer,
        image: &ImageName,
        version: &VersionName,
    ) -> Result<Requested, UseCaseError> {
        let mut tx = self.0.catalog.begin().await?;
        let version = drafts::find(&mut *tx, image, version).await?;
        match version.state {
            VersionState::Publishing | VersionState::Published { .. } => {
                let job = tx.get_live_job(version.id).await?.ok_or(UseCaseError::NotFound(Missing::Job))?;
                return Ok(Requested { version, job: job.id, started: false });
            }
            VersionState::Draft => {}
        }
        if let Some(why) = unpublishable(&mut *tx, version.id).await? {
            return Err(why.into());
        }
        let now = tx.now();
        let (version, event) = version.freeze(now)?;
        let job = PublishJob::enqueue(JobId::new(self.0.ids.next()), &version, now);
        tx.update_version(&version).await?;
        tx.insert_job(&job).await?;
        audit::record(&mut *tx, who.actor(), event.with(job.id)).await?;
        tx.commit().await?;
        Ok(Requested { version, job: job.id, started: true })
    }

    /// The job with that id, and what its steps found wrong without failing.
    pub async fn job(&self, _who: &Writer, id: JobId) -> Result<JobReport, UseCaseError> {
        self.0.catalog.get_job(id).await?.ok_or(UseCaseError::NotFound(Missing::Job))
    }

    /// Queues a failed job again, from the step that failed.
    pub async fn retry(&self, who: &Writer, id: JobId) -> Result<JobReport, UseCaseError> {
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let job = tx.lock_job(id).await?.ok_or(UseCaseError::NotFound(Missing::Job))?;
            let (job, event) = job.retry(tx.now())?;
            tx.update_job(&job).await?;
            audit::record(&mut *tx, who.actor(), event).await?;
            tx.commit().await?;
            Ok::<_, UseCaseError>(())
        })
        .await?;
        self.0.wakeups.publish.notify_one();
        self.job(who, id).await
    }

    /// Gives a failed job up; its version is a draft again.
    pub async fn abandon(&self, who: &Writer, id: JobId) -> Result<JobReport, UseCaseError> {
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let job = tx.lock_job(id).await?.ok_or(UseCaseError::NotFound(Missing::Job))?;
            let now = tx.now();
            let (job, event) = job.abandon(now)?;
            let version = tx.lock_version_by_id(job.version_id).await?;
            let (version, reopened) = version.ok_or(UseCaseError::NotFound(Missing::Version))?.reopen(now)?;
            tx.update_job(&job).await?;
            tx.delete_inspections(version.id).await?;
            tx.delete_stream_rows(version.id).await?;
            tx.delete_warnings(version.id, None).await?;
            tx.update_version(&version).await?;
            audit::record(&mut *tx, who.actor(), event).await?;
            audit::record(&mut *tx, who.actor(), reopened).await?;
            tx.commit().await?;
            Ok::<_, UseCaseError>(())
        })
        .await?;
        self.job(who, id).await
    }
}
