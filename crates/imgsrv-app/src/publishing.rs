//! Publishing: the request that freezes a draft, and the durable job that publishes it.

use crate::{
    caller::{Writer, audit},
    drafts,
    error::{Missing, UseCaseError},
    lease::{Held, hold},
    retry::{random, retrying},
    services::Context,
    work::{Ran, Work, WorkError},
};
use async_trait::async_trait;
use imgsrv_domain::{
    audit::{Actor, Event},
    ids::{JobId, VersionId},
    lease::LeaseKey,
    manifest::Unpublishable,
    names::{ImageName, VersionName},
    ports::{CatalogError, CatalogTx, LeasedWork},
    publish::{PublishJob, StepName},
    version::{Version, VersionState},
};
use std::{sync::Arc, time::Duration};

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
                let job = tx.find_live_job(version.id).await?.ok_or(UseCaseError::NotFound(Missing::Job))?;
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
        audit(&mut *tx, who.actor(), event.with(job.id)).await?;
        tx.commit().await?;
        Ok(Requested { version, job: job.id, started: true })
    }

    /// The job with that id.
    pub async fn job(&self, _who: &Writer, id: JobId) -> Result<PublishJob, UseCaseError> {
        self.0.catalog.get_job(id).await?.ok_or(UseCaseError::NotFound(Missing::Job))
    }

    /// Queues a failed job again, from the step that failed.
    pub async fn retry(&self, who: &Writer, id: JobId) -> Result<PublishJob, UseCaseError> {
        let job = retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let job = tx.find_job(id).await?.ok_or(UseCaseError::NotFound(Missing::Job))?;
            let (job, event) = job.retry(tx.now())?;
            tx.update_job(&job).await?;
            audit(&mut *tx, who.actor(), event).await?;
            tx.commit().await?;
            Ok::<_, UseCaseError>(job)
        })
        .await?;
        self.0.wakeups.publish.notify_one();
        Ok(job)
    }

    /// Gives a failed job up; its version is a draft again.
    pub async fn abandon(&self, who: &Writer, id: JobId) -> Result<PublishJob, UseCaseError> {
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let job = tx.find_job(id).await?.ok_or(UseCaseError::NotFound(Missing::Job))?;
            let now = tx.now();
            let (job, event) = job.abandon(now)?;
            let version = tx.find_version_by_id(job.version_id).await?;
            let (version, reopened) = version.ok_or(UseCaseError::NotFound(Missing::Version))?.reopen(now)?;
            tx.update_job(&job).await?;
            tx.update_version(&version).await?;
            audit(&mut *tx, who.actor(), event).await?;
            audit(&mut *tx, who.actor(), reopened).await?;
            tx.commit().await?;
            Ok(job)
        })
        .await
    }
}

/// Why the manifest of `version` cannot be published as it stands.
async fn unpublishable(tx: &mut dyn CatalogTx, version: VersionId) -> Result<Option<Unpublishable>, CatalogError> {
    if tx.count_artifacts(version).await? == 0 {
        return Ok(Some(Unpublishable::Empty));
    }
    let untrusted = tx.list_untrusted(version).await?;
    Ok((!untrusted.is_empty()).then_some(Unpublishable::Untrusted(untrusted)))
}

/// A step of the pipeline. It runs in the transaction that records its end, so that its effect and its state
/// are one.
#[async_trait]
trait PublishStep: Send + Sync {
    /// Does the step's work; `Err` of the inner result fails the step for good.
    async fn run(
        &self,
        tx: &mut dyn CatalogTx,
        job: &PublishJob,
        actor: &Actor,
    ) -> Result<Result<(), String>, CatalogError>;
}

/// The step that bears `name`.
fn step(name: StepName) -> &'static dyn PublishStep {
    match name {
        StepName::ValidateCatalog => &ValidateCatalog,
        StepName::FinalizePublish => &FinalizePublish,
    }
}

struct ValidateCatalog;

#[async_trait]
impl PublishStep for ValidateCatalog {
    async fn run(
        &self,
        tx: &mut dyn CatalogTx,
        job: &PublishJob,
        _: &Actor,
    ) -> Result<Result<(), String>, CatalogError> {
        let why = unpublishable(tx, job.version_id).await?;
        Ok(why.map_or(Ok(()), |why| Err(why.to_string())))
    }
}

struct FinalizePublish;

#[async_trait]
impl PublishStep for FinalizePublish {
    async fn run(
        &self,
        tx: &mut dyn CatalogTx,
        job: &PublishJob,
        actor: &Actor,
    ) -> Result<Result<(), String>, CatalogError> {
        if let Some(why) = unpublishable(tx, job.version_id).await? {
            return Ok(Err(why.to_string()));
        }
        let Some(version) = tx.find_version_by_id(job.version_id).await? else {
            return Ok(Err("the version is gone".to_owned()));
        };
        let (version, event) = match version.publish(tx.now()) {
            Ok(published) => published,
            Err(illegal) => return Ok(Err(illegal.to_string())),
        };
        tx.update_version(&version).await?;
        tx.bump_catalog_revision().await?;
        audit(tx, actor, event).await?;
        Ok(Ok(()))
    }
}

/// The worker that runs publish jobs.
pub struct PublishWorker(pub(crate) Arc<Context>);

/// How a step ended.
enum Ended {
    /// There is another one.
    More,
    /// The job has come to its end.
    Over,
    /// Another worker took the job over.
    Lost,
}

#[async_trait]
impl Work for PublishWorker {
    fn name(&self) -> &'static str {
        "publish"
    }

    async fn run_once(&self) -> Result<Ran, WorkError> {
        let Some((id, key)) = retrying(|| self.claim()).await? else { return Ok(Ran::Idle) };
        let term = self.0.settings.lease_term;
        match hold(term, &self.0.stop, self.run_steps(id, &key), || self.renew(id, &key)).await {
            Held::Done(Ok(())) => {}
            Held::Done(Err(error)) => {
                let delay = self.0.settings.backoff.delay(key.attempt, random());
                self.postpone(id, &key, delay).await?;
                return Err(error.into());
            }
            Held::Lost => tracing::warn!(publish_job.id = %id, "another worker took this job over"),
            Held::Stopped => {
                self.hand_back(id, &key).await?;
                return Ok(Ran::Idle);
            }
        }
        Ok(Ran::Worked)
    }

    async fn wait(&self) {
        self.0.wakeups.publish.notified().await;
    }

    async fn next_due(&self) -> Option<Duration> {
        self.0.next_due(LeasedWork::Publish).await
    }
}

impl PublishWorker {
    async fn claim(&self) -> Result<Option<(JobId, LeaseKey)>, CatalogError> {
        let mut tx = self.0.catalog.begin().await?;
        let Some(job) = tx.find_claimable_job().await? else { return Ok(None) };
        let settings = &self.0.settings;
        let Ok((job, key)) = job.claim(&settings.worker, tx.now(), settings.lease_term) else { return Ok(None) };
        tx.update_job(&job).await?;
        tx.commit().await?;
        Ok(Some((job.id, key)))
    }

    async fn run_steps(&self, id: JobId, key: &LeaseKey) -> Result<(), CatalogError> {
        loop {
            match retrying(|| self.run_step(id, key)).await? {
                Ended::More => {}
                Ended::Over => return Ok(()),
                Ended::Lost => {
                    tracing::warn!(publish_job.id = %id, "the lease was lost: this result is void");
                    return Ok(());
                }
            }
        }
    }

    /// Runs the current step and records its end, in one transaction that the lease's key guards.
    async fn run_step(&self, id: JobId, key: &LeaseKey) -> Result<Ended, CatalogError> {
        let mut tx = self.0.catalog.begin().await?;
        let actor = self.0.worker_actor();
        let Some(job) = tx.find_job(id).await? else { return Ok(Ended::Lost) };
        let Some(current) = job.current_step().map(|step| step.name) else { return Ok(Ended::Over) };
        let now = tx.now();
        if job.clone().renew(key, now, self.0.settings.lease_term).is_err() {
            return Ok(Ended::Lost);
        }
        let ended = match step(current).run(&mut *tx, &job, &actor).await? {
            Ok(()) => job.step_succeeded(key, now).map(|job| (job, None::<Event>)),
            Err(reason) => job.step_failed(key, reason, now).map(|(job, event)| (job, Some(event))),
        };
        let Ok((job, event)) = ended else { return Ok(Ended::Lost) };
        let over = event.is_some() || job.current_step().is_none();
        tx.update_job(&job).await?;
        if let Some(event) = event {
            tracing::warn!(publish_job.id = %id, step = %current, reason = ?event.detail, "a publish step failed");
            audit(&mut *tx, &actor, event).await?;
        }
        tx.commit().await?;
        Ok(if over { Ended::Over } else { Ended::More })
    }

    async fn renew(&self, id: JobId, key: &LeaseKey) -> Result<bool, WorkError> {
        let renewed = retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let Some(job) = tx.find_job(id).await? else { return Ok(false) };
            let Ok(job) = job.renew(key, tx.now(), self.0.settings.lease_term) else { return Ok(false) };
            tx.update_job(&job).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(true)
        })
        .await?;
        Ok(renewed)
    }

    /// Puts the job back, unless the lease was lost meanwhile.
    async fn postpone(&self, id: JobId, key: &LeaseKey, delay: Duration) -> Result<(), WorkError> {
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let Some(job) = tx.find_job(id).await? else { return Ok(()) };
            let Ok((job, event)) = job.postpone(key, delay, tx.now()) else { return Ok(()) };
            tx.update_job(&job).await?;
            if let Some(event) = event {
                audit(&mut *tx, &self.0.worker_actor(), event).await?;
            }
            tx.commit().await
        })
        .await?;
        Ok(())
    }

    /// Leaves the job to another process, unless the lease was lost meanwhile.
    async fn hand_back(&self, id: JobId, key: &LeaseKey) -> Result<(), WorkError> {
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let Some(job) = tx.find_job(id).await? else { return Ok(()) };
            let now = tx.now();
            let Ok(job) = job.hand_back(key, now) else { return Ok(()) };
            tx.update_job(&job).await?;
            tx.commit().await
        })
        .await?;
        Ok(())
    }
}
