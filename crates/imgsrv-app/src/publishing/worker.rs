//! The worker that runs publish jobs, step by step, under a lease.

use crate::{
    audit,
    context::Context,
    publishing::{
        error::StepError,
        publication::Publication,
        steps::{self, Outcome},
    },
    work::{
        lease::{LeaseOutcome, run_with_lease},
        retry::retrying,
        runtime::{Ran, Work, WorkError},
    },
};
use async_trait::async_trait;
use imgsrv_domain::{
    audit::Event,
    ids::JobId,
    lease::{LeaseKey, LeaseLost},
    ports::{CatalogError, LeasedWork},
    publish::{JobState, PublishJob, StepName},
    time::Timestamp,
};
use std::{sync::Arc, time::Duration};

/// The worker that runs publish jobs.
pub struct PublishWorker(pub(crate) Arc<Context>);

#[async_trait]
impl Work for PublishWorker {
    fn name(&self) -> &'static str {
        "publish"
    }

    async fn run_once(&self) -> Result<Ran, WorkError> {
        match retrying(|| self.acquire()).await? {
            Some((job, key)) => self.publish(job, &key).await,
            None => Ok(Ran::Idle),
        }
    }

    async fn wait(&self) {
        self.0.wakeups.publish.notified().await;
    }

    async fn next_due(&self) -> Option<Duration> {
        self.0.next_due(LeasedWork::Publish).await
    }
}

impl PublishWorker {
    async fn acquire(&self) -> Result<Option<(PublishJob, LeaseKey)>, CatalogError> {
        let mut tx = self.0.catalog.begin().await?;
        let Some(job) = tx.lock_due_job().await? else { return Ok(None) };
        let settings = &self.0.settings;
        let Ok((job, key)) = job.acquire(&settings.worker, tx.now(), settings.lease_term) else { return Ok(None) };
        tx.update_job(&job).await?;
        tx.commit().await?;
        Ok(Some((job, key)))
    }

    #[tracing::instrument(name = "publish_job", level = "debug", skip_all, err(level = "debug"),
        fields(publish_job.id = %job.id, image.name = %job.image, version.name = %job.version,
            lease.attempt = key.attempt))]
    async fn publish(&self, job: PublishJob, key: &LeaseKey) -> Result<Ran, WorkError> {
        let (id, term) = (job.id, self.0.settings.lease_term);
        let renew = || self.change(id, |job, now| Ok((job.renew(key, now, term)?, None)));
        match run_with_lease(term, &self.0.stop, self.run_steps(job, key), renew).await {
            LeaseOutcome::Done(Ok(())) => {}
            LeaseOutcome::Done(Err(error)) => {
                let delay = self.0.settings.backoff.delay(key.attempt);
                self.change(id, |job, now| job.postpone(key, delay, now)).await?;
                return Err(error);
            }
            LeaseOutcome::Lost => {
                tracing::warn!(publish_job.id = %id, "lease lost: another worker has reclaimed the publish job");
            }
            LeaseOutcome::Stopped => {
                // Another process may continue at once.
                self.change(id, |job, now| Ok((job.release(key, now)?, None))).await?;
                return Ok(Ran::Idle);
            }
        }
        Ok(Ran::Worked)
    }

    async fn run_steps(&self, mut job: PublishJob, key: &LeaseKey) -> Result<(), WorkError> {
        let mut publication = None;
        while let (JobState::Running(_), Some(step)) = (&job.state, job.current_step()) {
            let name = step.name;
            let Some(stored) = self.run_step(&job, key, name, &mut publication).await? else {
                tracing::warn!(publish_job.id = %job.id, "lease lost: result of a publish step discarded");
                break;
            };
            job = stored;
        }
        Ok(())
    }

    /// Runs `step` outside of any transaction, and records its end. Returns the job as it was stored, or `None` if another
    /// worker has reclaimed it.
    #[tracing::instrument(name = "publish_step", level = "debug", skip_all, fields(publish_step.name = %step), err(level = "debug"))]
    async fn run_step(
        &self,
        job: &PublishJob,
        key: &LeaseKey,
        step: StepName,
        publication: &mut Option<Publication>,
    ) -> Result<Option<PublishJob>, WorkError> {
        let outcome = match steps::run(&self.0, job, step, publication).await {
            Ok(outcome) => outcome,
            Err(StepError::Permanent(reason)) => Outcome::Failed(reason),
            Err(StepError::Transient(error)) => return Err(error),
        };
        let stored = retrying(|| self.record(job.id, key, step, &outcome)).await?;
        if let (Outcome::Validated(validated), Some(publication)) = (&outcome, publication) {
            publication.inspected(&validated.inspections);
        }
        Ok(stored)
    }

    /// Records the end of `step` and its result in one transaction, which the lease's key fences.
    async fn record(
        &self,
        id: JobId,
        key: &LeaseKey,
        step: StepName,
        outcome: &Outcome,
    ) -> Result<Option<PublishJob>, CatalogError> {
        let mut tx = self.0.catalog.begin().await?;
        let Some(job) = tx.lock_job(id).await? else { return Ok(None) };
        let now = tx.now();
        let is_leased = job.clone().renew(key, now, self.0.settings.lease_term).is_ok();
        if !is_leased || job.current_step().map(|step| step.name) != Some(step) {
            return Ok(None);
        }
        let ended = match steps::record(&self.0, &mut *tx, &job, outcome).await? {
            Ok(()) => job.step_succeeded(key, now).map(|job| (job, None::<Event>)),
            Err(reason) => job.step_failed(key, reason, now).map(|(job, event)| (job, Some(event))),
        };
        let Ok((job, event)) = ended else { return Ok(None) };
        tx.update_job(&job).await?;
        if let Some(event) = event {
            tracing::warn!(publish_job.id = %id, %step, reason = ?event.detail, "publish step failed");
            audit::record(&mut *tx, &self.0.worker_actor(), event).await?;
        }
        match outcome {
            Outcome::Ready => self.0.revision.commit(tx).await?,
            Outcome::Validated(_) | Outcome::Indexed(_) | Outcome::Failed(_) => tx.commit().await?,
        }
        Ok(Some(job))
    }

    /// Stores what `transition` makes of the job. Returns whether the lease was still this worker's.
    async fn change(
        &self,
        id: JobId,
        transition: impl Fn(PublishJob, Timestamp) -> Result<(PublishJob, Option<Event>), LeaseLost> + Send + Sync,
    ) -> Result<bool, WorkError> {
        let changed = retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let Some(job) = tx.lock_job(id).await? else { return Ok(false) };
            let Ok((job, event)) = transition(job, tx.now()) else { return Ok(false) };
            tx.update_job(&job).await?;
            audit::commit(tx, &self.0.worker_actor(), event).await?;
            Ok::<_, CatalogError>(true)
        })
        .await?;
        Ok(changed)
    }
}
