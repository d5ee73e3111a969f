//! Ingest: completed uploads become trusted blobs.

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
    audit::{Actor, AuditAction, Event},
    digest::{BlobClaim, HashState},
    ids::UploadId,
    lease::LeaseKey,
    parts::Part,
    ports::{BlobError, CatalogError, IngestError, IngestRequest, Ingested, LeasedWork, TrustedBlob},
    upload::{PendingIngest, UploadSession},
};
use std::{sync::Arc, time::Duration};

/// The worker that ingests completed uploads.
pub struct Ingest(pub(crate) Arc<Context>);

/// A session whose ingest this worker holds.
struct Leased {
    session: UploadSession,
    ingest: PendingIngest,
    parts: Vec<Part>,
    key: LeaseKey,
}

/// What became of the bytes.
enum Verdict {
    /// They are durable under their name.
    Placed,
    /// They are not what was claimed, or are gone.
    Rejected(String),
    /// The store failed.
    Unavailable(BlobError),
    /// Another worker took the session over.
    Lost,
}

#[async_trait]
impl Work for Ingest {
    fn name(&self) -> &'static str {
        "cas-promotion"
    }

    async fn run_once(&self) -> Result<Ran, WorkError> {
        match retrying(|| self.acquire(None)).await? {
            Some(claimed) => self.ingest(claimed).await,
            None => Ok(Ran::Idle),
        }
    }

    async fn wait(&self) {
        self.0.wakeups.ingest.notified().await;
    }

    async fn next_due(&self) -> Option<Duration> {
        self.0.next_due(LeasedWork::Ingest).await
    }
}

impl Ingest {
    /// Ingests one session at once, unless a worker has taken it up already.
    pub(crate) async fn run_for(&self, id: UploadId) -> Result<Ran, WorkError> {
        match retrying(|| self.acquire(Some(id))).await? {
            Some(claimed) => self.ingest(claimed).await,
            None => Ok(Ran::Idle),
        }
    }

    async fn ingest(&self, Leased { session, ingest, parts, key }: Leased) -> Result<Ran, WorkError> {
        let term = self.0.settings.lease_term;
        let id = session.id;
        let claim = ingest.claim.blob();
        let ingesting = self.ingest_bytes(&session, ingest, parts, &key);
        let verdict = run_with_lease(term, &self.0.stop, ingesting, || self.renew(id, &key, None)).await;
        match verdict {
            LeaseOutcome::Done(Ok(Verdict::Placed)) => self.finish(&session, claim, &key).await?,
            LeaseOutcome::Done(Ok(Verdict::Rejected(reason))) => self.reject(&session, &key, &reason).await?,
            LeaseOutcome::Done(Ok(Verdict::Unavailable(error))) => {
                self.postpone(id, &key, self.delay(&key)).await?;
                return Err(error.into());
            }
            LeaseOutcome::Done(Err(error)) => {
                self.postpone(id, &key, self.delay(&key)).await?;
                return Err(error);
            }
            LeaseOutcome::Done(Ok(Verdict::Lost)) | LeaseOutcome::Lost => {
                tracing::warn!(upload.id = %id, "another worker took this ingest over");
            }
            LeaseOutcome::Stopped => {
                self.release(id, &key).await?;
                return Ok(Ran::Idle);
            }
        }
        Ok(Ran::Worked)
    }

    /// Takes up the session with that id, or whichever is due.
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
        // In the same transaction: whoever finishes the session forgets its parts.
        let parts = tx.list_parts(session.id).await?;
        tx.update_upload(&session).await?;
        tx.commit().await?;
        Ok(Some(Leased { session, ingest, parts, key }))
    }

    async fn ingest_bytes(
        &self,
        session: &UploadSession,
        ingest: PendingIngest,
        parts: Vec<Part>,
        key: &LeaseKey,
    ) -> Result<Verdict, WorkError> {
        let mut promotion = IngestRequest {
            session: session.id,
            name: session.blob_name(),
            claim: ingest.claim.blob(),
            parts,
            hashed: ingest.hashed,
        };
        loop {
            match self.0.blobs.ingest(&promotion).await {
                Ok(Ingested::Placed) => return Ok(Verdict::Placed),
                Ok(Ingested::Hashed(state)) => {
                    promotion.hashed = Some(state.clone());
                    if !self.renew(session.id, key, Some(state)).await? {
                        return Ok(Verdict::Lost);
                    }
                }
                Err(IngestError::Mismatch { actual }) => {
                    return Ok(Verdict::Rejected(format!("the bytes have digest {actual}")));
                }
                Err(IngestError::StagedGone) => {
                    return Ok(Verdict::Rejected("the received bytes are gone or altered; begin again".to_owned()));
                }
                Err(IngestError::Blob(error)) => return Ok(Verdict::Unavailable(error)),
            }
        }
    }

    /// Holds the ingest for another term; says whether it was still held.
    async fn renew(&self, id: UploadId, key: &LeaseKey, hashed: Option<HashState>) -> Result<bool, WorkError> {
        let renewed = retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let Some(session) = tx.lock_upload(id).await? else { return Ok(false) };
            let Ok(session) = session.renew_ingest(key, hashed.clone(), tx.now(), self.0.settings.lease_term) else {
                return Ok(false);
            };
            tx.update_upload(&session).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(true)
        })
        .await?;
        Ok(renewed)
    }

    /// Records the trusted blob and the session's success in one transaction. When another session was first
    /// with the same digest, this one is `ready` too and its own copy goes.
    async fn finish(&self, session: &UploadSession, claim: BlobClaim, key: &LeaseKey) -> Result<(), WorkError> {
        let ready = retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let Some(session) = tx.lock_upload(session.id).await? else { return Ok(None) };
            let now = tx.now();
            let Ok((session, event)) = session.finish_ingest(key, now) else { return Ok(None) };
            if tx.get_blob(&claim.digest).await?.is_none() {
                tx.insert_blob(&TrustedBlob { claim, name: session.blob_name(), created_at: now }).await?;
                let trusted = Event::new(AuditAction::BlobTrusted, claim.digest).with(session.id);
                audit::record(&mut *tx, &self.actor(), trusted).await?;
            }
            tx.update_upload(&session).await?;
            audit::record(&mut *tx, &self.actor(), event).await?;
            let queued = self.0.follow_upload(&mut *tx, &session).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(Some((session, queued)))
        })
        .await?;
        if ready.as_ref().is_some_and(|(_, queued)| *queued) {
            self.0.wakeups.publish.notify_one();
        }
        let ready = ready.map(|(session, _)| session);
        self.clear_after(session, ready).await;
        Ok(())
    }

    async fn reject(&self, session: &UploadSession, key: &LeaseKey, reason: &str) -> Result<(), WorkError> {
        tracing::warn!(upload.id = %session.id, reason, "an upload failed");
        let failed = retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let Some(session) = tx.lock_upload(session.id).await? else { return Ok(None) };
            let Ok((session, event)) = session.reject(key, reason.to_owned(), tx.now()) else { return Ok(None) };
            tx.update_upload(&session).await?;
            audit::record(&mut *tx, &self.actor(), event).await?;
            self.0.follow_upload(&mut *tx, &session).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(Some(session))
        })
        .await?;
        self.clear_after(session, failed).await;
        Ok(())
    }

    /// Frees what an ended session staged; what fails here is left to the sweeper.
    async fn clear_after(&self, session: &UploadSession, ended: Option<UploadSession>) {
        if ended.is_none() {
            tracing::warn!(upload.id = %session.id, "the lease was lost: this result is void");
            return;
        }
        if let Err(error) = self.0.clear(session).await {
            tracing::warn!(upload.id = %session.id, %error, "staged bytes stay until the next sweep");
        }
    }

    /// Puts the ingest back, unless the lease was lost meanwhile.
    async fn postpone(&self, id: UploadId, key: &LeaseKey, delay: Duration) -> Result<(), WorkError> {
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let Some(session) = tx.lock_upload(id).await? else { return Ok(()) };
            let now = tx.now();
            let Ok((session, event)) = session.postpone_ingest(key, delay, now) else { return Ok(()) };
            tx.update_upload(&session).await?;
            if let Some(event) = event {
                audit::record(&mut *tx, &self.actor(), event).await?;
            }
            tx.commit().await
        })
        .await?;
        Ok(())
    }

    /// Leaves the ingest to another process, unless the lease was lost meanwhile.
    async fn release(&self, id: UploadId, key: &LeaseKey) -> Result<(), WorkError> {
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let Some(session) = tx.lock_upload(id).await? else { return Ok(()) };
            let now = tx.now();
            let Ok(session) = session.release_ingest(key, now) else { return Ok(()) };
            tx.update_upload(&session).await?;
            tx.commit().await
        })
        .await?;
        Ok(())
    }

    fn delay(&self, key: &LeaseKey) -> Duration {
        self.0.settings.backoff.delay(key.attempt, random())
    }

    fn actor(&self) -> Actor {
        self.0.worker_actor()
    }
}
