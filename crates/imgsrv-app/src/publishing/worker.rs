//! The worker that runs publish jobs, step by step, under a lease.

use crate::publishing::steps::{self, Outcome};
use crate::{
    audit,
    context::Context,
    work::{
        lease::{LeaseOutcome, run_with_lease},
        retry::{random, retrying},
        runtime::{Ran, Work, WorkError},
    },
};
use async_trait::async_trait;
use imgsrv_domain::{
    audit::Event,
    ids::JobId,
    lease::LeaseKey,
    ports::{CatalogError, LeasedWork},
    publish::StepName,
};
use std::{sync::Arc, time::Duration};

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
        let Some((id, key)) = retrying(|| self.acquire()).await? else { return Ok(Ran::Idle) };
        let term = self.0.settings.lease_term;
        match run_with_lease(term, &self.0.stop, self.run_steps(id, &key), || self.renew(id, &key)).await {
            LeaseOutcome::Done(Ok(())) => {}
            LeaseOutcome::Done(Err(error)) => {
                let delay = self.0.settings.backoff.delay(key.attempt, random());
                self.postpone(id, &key, delay).await?;
                return Err(error);
            }
            LeaseOutcome::Lost => tracing::warn!(publish_job.id = %id, "another worker took this job over"),
            LeaseOutcome::Stopped => {
                self.release(id, &key).await?;
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
    async fn acquire(&self) -> Result<Option<(JobId, LeaseKey)>, CatalogError> {
        let mut tx = self.0.catalog.begin().await?;
        let Some(job) = tx.lock_due_job().await? else { return Ok(None) };
        let settings = &self.0.settings;
        let Ok((job, key)) = job.acquire(&settings.worker, tx.now(), settings.lease_term) else { return Ok(None) };
        tx.update_job(&job).await?;
        tx.commit().await?;
        Ok(Some((job.id, key)))
    }

    async fn run_steps(&self, id: JobId, key: &LeaseKey) -> Result<(), WorkError> {
        loop {
            match self.run_step(id, key).await? {
                Ended::More => {}
                Ended::Over => return Ok(()),
                Ended::Lost => {
                    tracing::warn!(publish_job.id = %id, "the lease was lost: this result is void");
                    return Ok(());
                }
            }
        }
    }

    /// Runs the current step, outside of any transaction, and records its end.
    async fn run_step(&self, id: JobId, key: &LeaseKey) -> Result<Ended, WorkError> {
        let Some(report) = self.0.catalog.get_job(id).await? else { return Ok(Ended::Lost) };
        let Some(step) = report.job.current_step().map(|step| step.name) else { return Ok(Ended::Over) };
        let outcome = steps::run(&self.0, &report.job, step).await?;
        Ok(retrying(|| self.record(id, key, step, &outcome)).await?)
    }

    /// Records the end of `step` and what comes of it in one transaction, which the lease's key guards.
    async fn record(
        &self,
        id: JobId,
        key: &LeaseKey,
        step: StepName,
        outcome: &Outcome,
    ) -> Result<Ended, CatalogError> {
        let mut tx = self.0.catalog.begin().await?;
        let actor = self.0.worker_actor();
        let Some(job) = tx.lock_job(id).await? else { return Ok(Ended::Lost) };
        let now = tx.now();
        let is_held = job.clone().renew(key, now, self.0.settings.lease_term).is_ok();
        if !is_held || job.current_step().map(|step| step.name) != Some(step) {
            return Ok(Ended::Lost);
        }
        let ended = match steps::record(&self.0, &mut *tx, &job, outcome, &actor).await? {
            Ok(()) => job.step_succeeded(key, now).map(|job| (job, None::<Event>)),
            Err(reason) => job.step_failed(key, reason, now).map(|(job, event)| (job, Some(event))),
        };
        let Ok((job, event)) = ended else { return Ok(Ended::Lost) };
        let over = event.is_some() || job.current_step().is_none();
        tx.update_job(&job).await?;
        if let Some(event) = event {
            tracing::warn!(publish_job.id = %id, %step, reason = ?event.detail, "a publish step failed");
            audit::record(&mut *tx, &actor, event).await?;
        }
        tx.commit().await?;
        Ok(if over { Ended::Over } else { Ended::More })
    }

    async fn renew(&self, id: JobId, key: &LeaseKey) -> Result<bool, WorkError> {
        let renewed = retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let Some(job) = tx.lock_job(id).await? else { return Ok(false) };
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
            let Some(job) = tx.lock_job(id).await? else { return Ok(()) };
            let Ok((job, event)) = job.postpone(key, delay, tx.now()) else { return Ok(()) };
            tx.update_job(&job).await?;
            if let Some(event) = event {
                audit::record(&mut *tx, &self.0.worker_actor(), event).await?;
            }
            tx.commit().await
        })
        .await?;
        Ok(())
    }

    /// Leaves the job to another process, unless the lease was lost meanwhile.
    async fn release(&self, id: JobId, key: &LeaseKey) -> Result<(), WorkError> {
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let Some(job) = tx.lock_job(id).await? else { return Ok(()) };
            let now = tx.now();
            let Ok(job) = job.release(key, now) else { return Ok(()) };
            tx.update_job(&job).await?;
            tx.commit().await
        })
        .await?;
        Ok(())
    }
}
