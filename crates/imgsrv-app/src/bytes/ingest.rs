//! Ingest: makes the bytes of completed uploads trusted blobs.

use crate::{
    audit,
    bytes::clearing::clear_or_leave,
    context::Context,
    intakes::follow,
    work::{
        lease::{LeaseOutcome, run_with_lease},
        retry::retrying,
        runtime::{Ran, Work, WorkError},
    },
};
use async_trait::async_trait;
use imgsrv_domain::{
    audit::{AuditAction, Event},
    digest::{BlobClaim, HashState},
    ids::UploadId,
    lease::{LeaseKey, LeaseLost},
    ports::{CatalogError, IngestError, IngestRequest, Ingested, LeasedWork, TrustedBlob},
    time::Timestamp,
    upload::UploadSession,
};
use std::{sync::Arc, time::Duration};

/// The worker that ingests completed uploads.
pub struct Ingest(pub(crate) Arc<Context>);

/// An upload whose ingest this worker has leased.
struct Leased {
    session: UploadSession,
    request: IngestRequest,
    key: LeaseKey,
}

/// The result of ingesting the bytes.
enum Verdict {
    /// They are durable under their name.
    Placed,
    /// They are not what was claimed, or are missing.
    Rejected(String),
    /// Another worker has reclaimed the lease.
    Lost,
}

#[async_trait]
impl Work for Ingest {
    fn name(&self) -> &'static str {
        "cas-promotion"
    }

    async fn run_once(&self) -> Result<Ran, WorkError> {
        self.run(None).await
    }

    async fn wait(&self) {
        self.0.wakeups.ingest.notified().await;
    }

    async fn next_due(&self) -> Option<Duration> {
        self.0.next_due(LeasedWork::Ingest).await
    }
}

impl Ingest {
    /// Ingests the upload with that id at once, unless another worker has leased it already, or one that is due.
    pub(crate) async fn run(&self, id: Option<UploadId>) -> Result<Ran, WorkError> {
        match retrying(|| self.acquire(id)).await? {
            Some(leased) => self.ingest(leased).await,
            None => Ok(Ran::Idle),
        }
    }

    #[tracing::instrument(name = "ingest", level = "debug", skip_all, err(level = "debug"),
        fields(upload.id = %session.id, lease.attempt = key.attempt))]
    async fn ingest(&self, Leased { session, request, key }: Leased) -> Result<Ran, WorkError> {
        let term = self.0.settings.lease_term;
        let (id, claim) = (session.id, request.claim);
        let ingesting = self.ingest_bytes(request, &key);
        let verdict = run_with_lease(term, &self.0.stop, ingesting, || self.renew(id, &key, None)).await;
        match verdict {
            LeaseOutcome::Done(Ok(Verdict::Placed)) => self.finish(&session, claim, &key).await?,
            LeaseOutcome::Done(Ok(Verdict::Rejected(reason))) => self.reject(&session, &key, &reason).await?,
            LeaseOutcome::Done(Err(error)) => {
                let delay = self.0.settings.backoff.delay(key.attempt);
                self.change(id, |session, now| session.postpone_ingest(&key, delay, now)).await?;
                return Err(error);
            }
            LeaseOutcome::Done(Ok(Verdict::Lost)) | LeaseOutcome::Lost => {
                tracing::warn!(upload.id = %id, "lease lost: another worker has reclaimed the ingest");
            }
            LeaseOutcome::Stopped => {
                // Another process may continue at once.
                self.change(id, |session, now| Ok((session.release_ingest(&key, now)?, None))).await?;
                return Ok(Ran::Idle);
            }
        }
        Ok(Ran::Worked)
    }

    /// Leases the ingest of the upload with that id, or of one that is due.
    async fn acquire(&self, id: Option<UploadId>) -> Result<Option<Leased>, CatalogError> {
        let mut tx = self.0.catalog.begin().await?;
        let found = match id {
            Some(id) => tx.lock_upload(id).await?,
            None => tx.lock_due_upload().await?,
        };
        let Some(session) = found else { return Ok(None) };
        let settings = &self.0.settings;
        let Ok((session, ingest, key)) = session.acquire_ingest(&settings.worker, tx.now(), settings.lease_term) else {
            return Ok(None);
        };
        // In the same transaction: clearing an ended upload deletes its parts.
        let parts = tx.list_parts(session.id).await?;
        tx.update_upload(&session).await?;
        tx.commit().await?;
        let (id, name, claim) = (session.id, session.blob_name(), ingest.claim.blob());
        let request = IngestRequest { session: id, name, claim, parts, hashed: ingest.hashed };
        Ok(Some(Leased { session, request, key }))
    }

    async fn ingest_bytes(&self, mut request: IngestRequest, key: &LeaseKey) -> Result<Verdict, WorkError> {
        loop {
            match self.0.blobs.ingest(&request).await {
                Ok(Ingested::Placed) => return Ok(Verdict::Placed),
                Ok(Ingested::Hashed(state)) => {
                    request.hashed = Some(state.clone());
                    if !self.renew(request.session, key, Some(state)).await? {
                        return Ok(Verdict::Lost);
                    }
                }
                Err(IngestError::Mismatch { actual }) => {
                    return Ok(Verdict::Rejected(format!("the bytes have digest {actual}")));
                }
                Err(IngestError::StagedGone) => {
                    return Ok(Verdict::Rejected("the received bytes are gone or altered; begin again".to_owned()));
                }
                Err(IngestError::Blob(error)) => return Err(error.into()),
            }
        }
    }

    /// Renews the lease, and saves how far the bytes were hashed. Returns whether the lease was still this worker's.
    async fn renew(&self, id: UploadId, key: &LeaseKey, hashed: Option<HashState>) -> Result<bool, WorkError> {
        let term = self.0.settings.lease_term;
        self.change(id, |session, now| Ok((session.renew_ingest(key, hashed.clone(), now, term)?, None))).await
    }

    /// Stores what `transition` makes of the upload. Returns whether the lease was still this worker's.
    async fn change(
        &self,
        id: UploadId,
        transition: impl Fn(UploadSession, Timestamp) -> Result<(UploadSession, Option<Event>), LeaseLost> + Send + Sync,
    ) -> Result<bool, WorkError> {
        let changed = retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let Some(session) = tx.lock_upload(id).await? else { return Ok(false) };
            let Ok((session, event)) = transition(session, tx.now()) else { return Ok(false) };
            tx.update_upload(&session).await?;
            audit::commit(tx, &self.0.worker_actor(), event).await?;
            Ok::<_, CatalogError>(true)
        })
        .await?;
        Ok(changed)
    }

    /// Records the trusted blob and the end of the upload in one transaction. When another upload has stored the same
    /// digest first, this one is `ready` as well and its own copy is removed.
    async fn finish(&self, session: &UploadSession, claim: BlobClaim, key: &LeaseKey) -> Result<(), WorkError> {
        let ready = retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let Some(session) = tx.lock_upload(session.id).await? else { return Ok(None) };
            let now = tx.now();
            let Ok((session, event)) = session.finish_ingest(key, now) else { return Ok(None) };
            if tx.get_blob(&claim.digest).await?.is_none() {
                tx.insert_blob(&TrustedBlob { claim, name: session.blob_name(), created_at: now }).await?;
                let trusted = Event::new(AuditAction::BlobTrusted, claim.digest).with(session.id);
                audit::record(&mut *tx, &self.0.worker_actor(), trusted).await?;
            }
            tx.update_upload(&session).await?;
            audit::record(&mut *tx, &self.0.worker_actor(), event).await?;
            let is_queued = follow::upload_ended(&self.0, &mut *tx, &session).await?;
            // Replacing a quarantined blob changes the revision.
            self.0.revision.commit(tx).await?;
            Ok::<_, CatalogError>(Some(is_queued))
        })
        .await?;
        if ready == Some(true) {
            self.0.wakeups.publish.notify_one();
        }
        self.clear_after(session, ready.is_some()).await;
        Ok(())
    }

    async fn reject(&self, session: &UploadSession, key: &LeaseKey, reason: &str) -> Result<(), WorkError> {
        tracing::warn!(upload.id = %session.id, reason, "upload failed");
        let failed = retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let Some(session) = tx.lock_upload(session.id).await? else { return Ok(None) };
            let Ok((session, event)) = session.reject(key, reason.to_owned(), tx.now()) else { return Ok(None) };
            tx.update_upload(&session).await?;
            audit::record(&mut *tx, &self.0.worker_actor(), event).await?;
            follow::upload_ended(&self.0, &mut *tx, &session).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(Some(()))
        })
        .await?;
        self.clear_after(session, failed.is_some()).await;
        Ok(())
    }

    async fn clear_after(&self, session: &UploadSession, has_ended: bool) {
        if has_ended {
            clear_or_leave(&self.0, session).await;
        } else {
            tracing::warn!(upload.id = %session.id, "lease lost: result of the ingest discarded");
        }
    }
}
