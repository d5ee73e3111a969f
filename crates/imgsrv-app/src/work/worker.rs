//! One attempt at a leased item: the lease is renewed during the attempt, and its outcome is recorded.

use crate::{
    context::Context,
    work::{
        retry::retrying,
        runtime::{Handler, Ran, WorkError},
    },
};
use futures::FutureExt;
use imgsrv_domain::{
    error_chain,
    ports::{CatalogError, Renewal, Setback, Source},
    work::{Lease, LeasedWork, WorkKind},
};
use std::{future::pending, panic::AssertUnwindSafe, sync::Arc, time::Duration};
use tracing::Instrument;
use uuid::Uuid;

/// The longest delay until work that recurs is due again.
const LONGEST_INTERVAL: Duration = Duration::from_hours(1);

/// The part of a retry limit that must have been spent waiting between attempts; attempts may take the rest.
const CLOCK_SLACK: u32 = 8;

/// The worker of one kind of work.
#[derive(Clone)]
pub struct Worker {
    pub(crate) context: Arc<Context>,
    pub(crate) handler: Arc<dyn Handler>,
}

/// How an attempt ended.
enum Ended<T> {
    /// The work returned.
    Done(T),
    /// Another worker has acquired the item: the outcome of this attempt is discarded.
    Lost,
    /// This process is stopping.
    Stopped,
}

impl Worker {
    /// The kind of its work.
    pub fn kind(&self) -> WorkKind {
        self.handler.kind()
    }

    /// Leases one item that is due, if there is one, and works on it.
    pub async fn run_once(&self) -> Result<Ran, WorkError> {
        match self.acquire(None).await? {
            Some(leased) => self.attempt(leased).await.map(|()| Ran::Worked),
            None => Ok(Ran::Idle),
        }
    }

    /// Works on the item about `subject`, unless it is not due or another worker has leased it.
    pub(crate) async fn run_for(&self, subject: Uuid) -> Result<(), WorkError> {
        match self.acquire(Some(subject)).await? {
            Some(leased) => self.attempt(leased).await,
            None => Ok(()),
        }
    }

    pub(super) async fn acquire(&self, subject: Option<Uuid>) -> Result<Option<LeasedWork>, CatalogError> {
        let (context, kind) = (&self.context, self.kind());
        let settings = &context.settings;
        let longest = LONGEST_INTERVAL.max(settings.retention_interval);
        let longest = longest.max(settings.collection.interval.unwrap_or_default());
        let horizon = settings.lease_term.max(settings.backoff.longest()).max(longest);
        retrying(|| context.catalog.acquire_work(kind, subject, &settings.worker, settings.lease_term, horizon)).await
    }

    /// Works on a leased item.
    pub(super) async fn attempt(&self, leased: LeasedWork) -> Result<(), WorkError> {
        let (name, attempt) = (leased.lease.work, leased.lease.attempt);
        // So that errors name their item at every level.
        let span = tracing::error_span!("work", kind = %name.kind, subject = %name.subject, attempt);
        self.run_leased(&leased).instrument(span).await
    }

    async fn run_leased(&self, leased: &LeasedWork) -> Result<(), WorkError> {
        let settings = &self.context.settings;
        if leased.silent >= settings.work_attempts {
            let attempts = leased.silent;
            let reason = format!("{attempts} consecutive attempts crashed the worker or its process");
            return Ok(self.park(leased, &reason).await.inspect_err(not_recorded)?);
        }
        let work = AssertUnwindSafe(self.handler.run(&leased.lease)).catch_unwind();
        let error = match self.under_lease(&leased.lease, work).await {
            Ended::Done(Ok(Ok(()))) => return Ok(()),
            Ended::Done(Ok(Err(error))) => error,
            Ended::Done(Err(_panic)) => WorkError::Panic,
            Ended::Lost => {
                tracing::warn!("lease lost: another worker has acquired the item");
                return Ok(());
            }
            Ended::Stopped => return Ok(self.release(&leased.lease, true).await.inspect_err(not_recorded)?),
        };
        tracing::warn!(error = error_chain::text(&error), "attempt failed");
        let recorded = match self.record_failure(leased, &error).await {
            Err(CatalogError::Corrupt(corrupt)) => self.park(leased, &undecodable(&corrupt)).await,
            recorded => recorded,
        };
        recorded.inspect_err(not_recorded)?;
        Err(error)
    }

    /// Runs `work` and renews the lease after each third of its term. When a renewal fails, the next one may succeed before
    /// the lease expires.
    async fn under_lease<T>(&self, lease: &Lease, work: impl Future<Output = T>) -> Ended<T> {
        let (catalog, stop) = (&self.context.catalog, &self.context.stop);
        let term = self.context.settings.lease_term;
        let lost = async {
            loop {
                tokio::time::sleep(term / 3).await;
                match retrying(|| catalog.renew_work(lease, term)).await {
                    Ok(Renewal::Renewed) => {}
                    // The work has recorded its result meanwhile, and does what remains after that.
                    Ok(Renewal::Ended) => pending().await,
                    Ok(Renewal::Lost) => return,
                    Err(error) => tracing::warn!(error = error_chain::text(&error), "lease renewal failed"),
                }
            }
        };
        tokio::select! {
            biased;
            done = work => Ended::Done(done),
            () = lost => Ended::Lost,
            () = stop.cancelled() => Ended::Stopped,
        }
    }

    /// Makes the item due again after a delay, or fails its subject once every attempt has failed for too long.
    async fn record_failure(&self, leased: &LeasedWork, error: &WorkError) -> Result<(), CatalogError> {
        if let WorkError::Catalog(CatalogError::Corrupt(corrupt)) = error {
            return self.park(leased, &undecodable(corrupt)).await;
        }
        let LeasedWork { lease, .. } = leased;
        let backoff = &self.context.settings.backoff;
        // Without having waited, the item has not been failing for so long: the clock was set forward.
        let waited = backoff.total(leased.failures);
        let setback = Setback {
            delay: backoff.delay(leased.failures.saturating_add(1)),
            error: error_chain::text(error),
            silent: matches!(error, WorkError::Panic),
        };
        retrying(|| async {
            let mut tx = self.context.catalog.begin().await?;
            let failing_for = leased.failing_for(tx.now());
            let limit = self.kind().retry_limit();
            let limit = limit.filter(|limit| failing_for >= *limit && waited >= *limit / CLOCK_SLACK);
            let is_leased =
                if limit.is_some() { tx.finish_work(lease).await? } else { tx.postpone_work(lease, &setback).await? };
            if !is_leased {
                return Ok(());
            }
            let subject = lease.work.subject;
            match limit {
                Some(limit) => self.handler.fail(&mut *tx, subject, &out_of_retries(limit)).await?,
                None if setback.silent => {}
                None => self.handler.requeue(&mut *tx, subject).await?,
            }
            tx.commit().await?;
            if limit.is_some() {
                self.handler.failed(subject);
            }
            Ok(())
        })
        .await
    }

    /// Makes the item due at once for another process: this one is stopping, or, if the work was not begun, busy.
    pub(super) async fn release(&self, lease: &Lease, was_begun: bool) -> Result<(), CatalogError> {
        retrying(|| async {
            let mut tx = self.context.catalog.begin().await?;
            if tx.release_work(lease).await? {
                let subject = lease.work.subject;
                if was_begun {
                    self.handler.requeue(&mut *tx, subject).await?;
                } else {
                    self.handler.withdraw(&mut *tx, subject).await?;
                }
                tx.commit().await?;
            }
            Ok(())
        })
        .await
    }

    /// Fails the subject and parks the item, so that no worker runs it until a retry is requested. If a retry cannot be
    /// requested, the item is removed. Recurring work is repeated after the longest interval instead.
    async fn park(&self, leased: &LeasedWork, reason: &str) -> Result<(), CatalogError> {
        let LeasedWork { lease, .. } = leased;
        tracing::error!(reason, "work item failed");
        if self.kind().recurs() {
            let setback = Setback { delay: LONGEST_INTERVAL, error: reason.to_owned(), silent: false };
            return retrying(|| async {
                let mut tx = self.context.catalog.begin().await?;
                tx.postpone_work(lease, &setback).await?;
                tx.commit().await
            })
            .await;
        }
        match retrying(|| self.park_decodable(lease, reason)).await {
            Err(CatalogError::Corrupt(_)) => {}
            parked => return parked,
        }
        retrying(|| async {
            let mut tx = self.context.catalog.begin().await?;
            if tx.park_work(lease, reason).await? {
                let has_failed = tx.fail_undecodable(lease.work, reason).await?;
                if has_failed && self.kind().ends_with_failure() {
                    tx.discard_parked_work(lease.work).await?;
                }
                tx.commit().await?;
            }
            Ok(())
        })
        .await
    }

    async fn park_decodable(&self, lease: &Lease, reason: &str) -> Result<(), CatalogError> {
        let mut tx = self.context.catalog.begin().await?;
        if tx.park_work(lease, reason).await? {
            self.handler.fail(&mut *tx, lease.work.subject, reason).await?;
            if self.kind().ends_with_failure() {
                tx.discard_parked_work(lease.work).await?;
            }
            tx.commit().await?;
            self.handler.failed(lease.work.subject);
        }
        Ok(())
    }
}

pub(super) fn not_recorded(error: &CatalogError) {
    tracing::warn!(error = error_chain::text(error), "end of the attempt could not be recorded; its lease will expire");
}

fn out_of_retries(limit: Duration) -> String {
    let minutes = limit.as_secs() / 60;
    let time =
        if minutes.is_multiple_of(60) { format!("{} hours", minutes / 60) } else { format!("{minutes} minutes") };
    format!("the catalog or the storage could not be reached for {time}")
}

fn undecodable(cause: &Source) -> String {
    format!("its record in the catalog cannot be decoded: {cause}")
}
