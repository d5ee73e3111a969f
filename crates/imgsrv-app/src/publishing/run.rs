//! Running publish jobs, step by step, under a lease of the queue.

use crate::{
    audit,
    bytes::reader::replacement,
    context::Context,
    publishing::{
        error::StepError,
        publication::Publication,
        steps::{self, Outcome},
    },
    work::{
        crash_point::crash_point,
        retry::retrying,
        runtime::{Handler, WorkError},
    },
};
use async_trait::async_trait;
use imgsrv_domain::{
    audit::Event,
    ids::JobId,
    ports::{CatalogError, CatalogTx, TrustedBlob},
    publish::{JobState, PublishJob, StepName},
    work::{Lease, WorkKind},
};
use std::sync::Arc;
use uuid::Uuid;

/// The handler that runs publish jobs.
pub(crate) struct RunJob(pub(crate) Arc<Context>);

#[async_trait]
impl Handler for RunJob {
    fn kind(&self) -> WorkKind {
        WorkKind::Publish
    }

    async fn run(&self, lease: &Lease) -> Result<(), WorkError> {
        let mut publication = None;
        let mut running = retrying(|| self.start(lease)).await?;
        crash_point("publish.started");
        while let Some((job, step)) = running.as_ref().and_then(|job| Some((job, job.current_step()?.name))) {
            running = self.run_step(job, lease, step, &mut publication).await?;
        }
        Ok(())
    }

    async fn requeue(&self, tx: &mut dyn CatalogTx, subject: Uuid) -> Result<(), CatalogError> {
        let Some(job) = tx.lock_job(JobId::new(subject)).await? else { return Ok(()) };
        match job.requeue(tx.now()) {
            Ok(job) => tx.update_job(&job).await,
            Err(_) => Ok(()),
        }
    }

    async fn fail(&self, tx: &mut dyn CatalogTx, subject: Uuid, reason: &str) -> Result<(), CatalogError> {
        let Some(job) = tx.lock_job(JobId::new(subject)).await? else { return Ok(()) };
        let Ok((job, event)) = job.step_failed(reason.to_owned(), tx.now()) else { return Ok(()) };
        tx.update_job(&job).await?;
        audit::record(tx, &self.0.worker_actor(), event).await
    }
}

impl RunJob {
    /// Starts the current step; absent when the job has ended, and then the item is done.
    async fn start(&self, lease: &Lease) -> Result<Option<PublishJob>, CatalogError> {
        let mut tx = self.0.catalog.begin().await?;
        if !tx.lock_work(lease).await? {
            return Ok(None);
        }
        let found = tx.lock_job(JobId::new(lease.work.subject)).await?;
        let now = tx.now();
        let job = found.and_then(|job| job.start(now).ok());
        match &job {
            Some(job) => tx.update_job(job).await?,
            None => drop(tx.finish_work(lease).await?),
        }
        tx.commit().await?;
        Ok(job)
    }

    /// Runs `step` outside of any transaction, and records its end. Returns the job as it was stored, unless it has ended
    /// or another worker has acquired it.
    #[tracing::instrument(name = "publish_step", level = "debug", skip_all, fields(publish_step.name = %step), err(level = "debug"))]
    async fn run_step(
        &self,
        job: &PublishJob,
        lease: &Lease,
        step: StepName,
        publication: &mut Option<Publication>,
    ) -> Result<Option<PublishJob>, WorkError> {
        let outcome = loop {
            match steps::run(&self.0, job, step, publication).await {
                Ok(outcome) => break outcome,
                Err(StepError::Permanent(reason)) => break Outcome::Failed(reason),
                Err(StepError::Transient(error)) => return Err(error),
                // The names of the blobs were read once, and this one was quarantined and replaced since then.
                Err(StepError::Damaged(blob)) if replacement(&self.0, &blob).await?.is_some() => *publication = None,
                Err(StepError::Damaged(TrustedBlob { claim, .. })) => {
                    let reason = format!("the content of {} is missing or damaged; upload it again", claim.digest);
                    break Outcome::Failed(reason);
                }
            }
        };
        crash_point("publish.computed");
        let Some(stored) = retrying(|| self.record(job.id, lease, step, &outcome)).await? else {
            tracing::warn!(publish_job.id = %job.id, "lease lost: publish step result discarded");
            return Ok(None);
        };
        crash_point("publish.recorded");
        if let (Outcome::Validated(validated), Some(publication)) = (&outcome, publication) {
            publication.inspected(&validated.inspections);
        }
        Ok(Some(stored).filter(|job| job.state == JobState::Running))
    }

    /// Records the end of `step` and its result in one transaction, which the lease fences.
    async fn record(
        &self,
        id: JobId,
        lease: &Lease,
        step: StepName,
        outcome: &Outcome,
    ) -> Result<Option<PublishJob>, CatalogError> {
        let mut tx = self.0.catalog.begin().await?;
        let actor = self.0.worker_actor();
        if !tx.advance_work(lease, self.0.settings.lease_term).await? {
            return Ok(None);
        }
        let Some(job) = tx.lock_job(id).await? else { return Ok(None) };
        if job.current_step().map(|step| step.name) != Some(step) {
            return Ok(None);
        }
        let now = tx.now();
        let ended = match steps::record(&self.0, &mut *tx, &job, outcome).await? {
            Ok(()) => job.step_succeeded(now).map(|job| (job, None::<Event>)),
            Err(reason) => job.step_failed(reason, now).map(|(job, event)| (job, Some(event))),
        };
        let Ok((job, event)) = ended else { return Ok(None) };
        tx.update_job(&job).await?;
        if let Some(event) = event {
            tracing::debug!(publish_job.id = %id, %step, reason = ?event.detail, "publish step failed");
            audit::record(&mut *tx, &actor, event).await?;
        }
        if job.state != JobState::Running {
            tx.finish_work(lease).await?;
        }
        crash_point("publish.committing");
        match outcome {
            Outcome::Ready => self.0.revision.commit(tx).await?,
            Outcome::Validated(_) | Outcome::Indexed(_) | Outcome::Failed(_) => tx.commit().await?,
        }
        Ok(Some(job))
    }
}
