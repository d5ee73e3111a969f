//! Running publish jobs, step by step, under a lease of the queue.

use crate::{
    audit,
    bytes::reader::replacement,
    context::Context,
    publishing::{
        error::StepError,
        publication::Publication,
        steps::{self, Ended, Outcome, Recorded},
    },
    work::{
        crash_point::{crash_point, is_switched_on},
        retry::retrying,
        runtime::{Handler, WorkError},
    },
};
use async_trait::async_trait;
use futures::FutureExt;
use imgsrv_domain::{
    ids::JobId,
    ports::{CatalogError, CatalogTx, TrustedBlob},
    publish::{JobState, PublishJob, StepName},
    work::{Lease, WorkKind},
};
use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};
use tokio::time::Instant;
use uuid::Uuid;

/// Why results of steps were not recorded.
enum Unrecorded {
    /// Another worker has acquired the item.
    Lost,
    /// The catalog failed.
    Failed(CatalogError),
}

impl From<Unrecorded> for Result<(), WorkError> {
    fn from(unrecorded: Unrecorded) -> Self {
        match unrecorded {
            Unrecorded::Lost => Ok(()),
            Unrecorded::Failed(error) => Err(error.into()),
        }
    }
}

/// The handler that runs publish jobs.
pub(crate) struct RunJob(pub(crate) Arc<Context>);

#[async_trait]
impl Handler for RunJob {
    fn kind(&self) -> WorkKind {
        WorkKind::Publish
    }

    async fn run(&self, lease: &Lease) -> Result<(), WorkError> {
        let started = match retrying(|| self.started(lease)).await? {
            None => retrying(|| self.start(lease)).await?,
            started => started,
        };
        crash_point("publish.started");
        match started {
            Some(job) => self.run_steps(&job, lease).await,
            None => Ok(()),
        }
    }

    async fn requeue(&self, tx: &mut dyn CatalogTx, subject: Uuid) -> Result<(), CatalogError> {
        let Some(job) = tx.lock_job(JobId::new(subject)).await? else { return Ok(()) };
        match job.requeue(tx.now()) {
            Ok(job) => tx.update_job(&job).await,
            Err(_) => Ok(()),
        }
    }

    async fn withdraw(&self, tx: &mut dyn CatalogTx, subject: Uuid) -> Result<(), CatalogError> {
        let Some(job) = tx.lock_job(JobId::new(subject)).await? else { return Ok(()) };
        match job.withdraw(tx.now()) {
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
    /// The job, if it was started when its item was queued.
    async fn started(&self, lease: &Lease) -> Result<Option<PublishJob>, CatalogError> {
        if !lease.is_first() {
            return Ok(None);
        }
        let found = self.0.catalog.get_job(JobId::new(lease.work.subject)).await?;
        Ok(found.map(|report| report.job).filter(|job| job.state == JobState::Running))
    }

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

    /// Runs the remaining steps of a running job outside of any transaction. Results of steps that end soon after one another
    /// are recorded together.
    async fn run_steps(&self, job: &PublishJob, lease: &Lease) -> Result<(), WorkError> {
        let (mut publication, mut ended) = (None, Vec::new());
        let (mut recorded, mut since) = (0, Instant::now());
        for step in job.remaining_steps().map(|step| step.name) {
            let computed = {
                let mut computing = pin!(self.compute(job, step, &mut publication, &ended));
                match tokio::time::timeout_at(since + record_within(), &mut computing).await {
                    Ok(computed) => computed,
                    Err(_) => {
                        // Both at once: the step may have a connection of the catalog that recording waits for.
                        let recording = self.record(job.id, lease, &ended[recorded..]);
                        let computed = async { Ok(computing.await) };
                        match tokio::try_join!(recording, computed) {
                            Ok(((), computed)) => {
                                (recorded, since) = (ended.len(), Instant::now());
                                computed
                            }
                            Err(unrecorded) => return unrecorded.into(),
                        }
                    }
                }
            };
            let outcome = match computed {
                Ok(outcome) => outcome,
                Err(error) => {
                    // The steps before it have succeeded.
                    return match self.record(job.id, lease, &ended[recorded..]).await {
                        Ok(()) => Err(error),
                        Err(unrecorded) => unrecorded.into(),
                    };
                }
            };
            crash_point("publish.computed");
            if let (Outcome::Validated(validated), Some(publication)) = (&outcome, &mut publication) {
                publication.inspected(&validated.inspections);
            }
            let has_failed = matches!(outcome, Outcome::Failed(_));
            ended.push(Ended { step, outcome, at: Instant::now() });
            if has_failed {
                break;
            }
            if since.elapsed() >= record_within() {
                if let Err(unrecorded) = self.record(job.id, lease, &ended[recorded..]).await {
                    return unrecorded.into();
                }
                (recorded, since) = (ended.len(), Instant::now());
            }
        }
        self.record(job.id, lease, &ended[recorded..]).await.or_else(Into::into)
    }

    /// Computes the result of `step` after those that have `ended`.
    #[tracing::instrument(name = "publish_step", level = "debug", skip_all, fields(publish_step.name = %step), err(level = "debug"))]
    async fn compute(
        &self,
        job: &PublishJob,
        step: StepName,
        publication: &mut Option<Publication>,
        ended: &[Ended],
    ) -> Result<Outcome, WorkError> {
        let computing = async {
            loop {
                match steps::run(&self.0, job, step, publication, ended).await {
                    Ok(outcome) => return Ok(outcome),
                    Err(StepError::Permanent(reason)) => return Ok(Outcome::Failed(reason)),
                    Err(StepError::Transient(error)) => return Err(error),
                    // The names of the blobs were read once, and this one was quarantined and replaced since then.
                    Err(StepError::Damaged(blob)) if replacement(&self.0, &blob).await?.is_some() => {
                        *publication = None;
                    }
                    Err(StepError::Damaged(TrustedBlob { claim, .. })) => {
                        let reason = format!("the content of {} is missing or damaged; upload it again", claim.digest);
                        return Ok(Outcome::Failed(reason));
                    }
                }
            }
        };
        // The results before it are recorded also if it panics.
        AssertUnwindSafe(computing).catch_unwind().await.unwrap_or(Err(WorkError::Panic))
    }

    /// Records the ends of steps, if there are any.
    async fn record(&self, id: JobId, lease: &Lease, ended: &[Ended]) -> Result<(), Unrecorded> {
        if ended.is_empty() {
            return Ok(());
        }
        if retrying(|| self.try_to_record(id, lease, ended)).await.map_err(Unrecorded::Failed)? {
            crash_point("publish.recorded");
            return Ok(());
        }
        tracing::warn!(publish_job.id = %id, "lease lost: publish step result discarded");
        Err(Unrecorded::Lost)
    }

    /// Records the ends of steps and their results in one transaction, which the lease fences; returns whether it was valid.
    async fn try_to_record(&self, id: JobId, lease: &Lease, ended: &[Ended]) -> Result<bool, CatalogError> {
        let mut tx = self.0.catalog.begin().await?;
        // The last result ends the job, whatever it is.
        let is_last = ended.last().is_some_and(|ended| matches!(ended.outcome, Outcome::Ready | Outcome::Failed(_)));
        let is_leased = if is_last {
            tx.finish_work(lease).await?
        } else {
            tx.advance_work(lease, self.0.settings.lease_term).await?
        };
        if !is_leased {
            return Ok(false);
        }
        let Some(mut job) = tx.lock_job(id).await? else { return Ok(false) };
        let mut locked = match ended.last() {
            Some(Ended { outcome: Outcome::Ready, .. }) => Some(steps::lock(&mut *tx, &job).await?),
            _ => None,
        };
        let (now, mut published) = (tx.now(), None);
        for Ended { step, outcome, at } in ended {
            if job.current_step().map(|step| step.name) != Some(*step) {
                return Ok(false);
            }
            let failed = match steps::record(&self.0, &mut *tx, &job, outcome, &mut locked).await? {
                Recorded::Done => None,
                Recorded::Published(image) => {
                    published = Some(image);
                    None
                }
                Recorded::Failed(reason) => Some(reason),
            };
            let at = now.minus(at.elapsed()).max(job.updated_at);
            let stepped = match failed {
                None => job.step_succeeded(at).map(|job| (job, None)),
                Some(reason) => job.step_failed(reason, at).map(|(job, event)| (job, Some(event))),
            };
            let Ok((next, event)) = stepped else { return Ok(false) };
            job = next;
            if let Some(event) = event {
                tracing::debug!(publish_job.id = %id, %step, reason = ?event.detail, "publish step failed");
                audit::record(&mut *tx, &self.0.worker_actor(), event).await?;
            }
        }
        tx.update_job(&job).await?;
        if let Some(image) = published {
            let lists_nothing = ended.iter().any(|ended| ended.outcome.lists_nothing());
            steps::announce(&mut *tx, image, job.version_id, !lists_nothing).await?;
        }
        crash_point("publish.committing");
        match published {
            Some(_) => self.0.revision.commit(tx).await?,
            None => tx.commit().await?,
        }
        Ok(true)
    }
}

/// How long the result of a step may wait for that of the next one to be recorded with it.
fn record_within() -> Duration {
    if is_switched_on("publish.one_by_one") { Duration::ZERO } else { Duration::from_millis(100) }
}
