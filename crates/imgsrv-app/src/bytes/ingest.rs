//! Ingest: makes the bytes of completed uploads trusted blobs.

use crate::{
    audit,
    bytes::{
        clearing::{announce_end, upload_failed, upload_ready},
        verify::remove_superseded,
    },
    context::Context,
    error::blocked_upload,
    work::{
        crash_point::crash_point,
        detach::detached,
        retry::retrying,
        runtime::{Handler, WorkError},
    },
};
use async_trait::async_trait;
use imgsrv_domain::{
    audit::{AuditAction, Event},
    blocks::BlockChecksums,
    digest::{BlobClaim, HashState},
    error_chain,
    ids::UploadId,
    parts::Part,
    ports::{CatalogError, CatalogTx, Conflict, IngestError, IngestRequest, Ingested, StoredBlob, TrustedBlob},
    upload::{PendingIngest, UploadSession, UploadState},
    work::{Lease, WorkKind},
};
use std::sync::Arc;
use uuid::Uuid;

/// The handler that ingests completed uploads.
pub(crate) struct Ingest(pub(crate) Arc<Context>);

/// The result of ingesting the bytes.
enum Verdict {
    /// They are durable under their name; their block checksums, if all were recorded.
    Placed(Option<BlockChecksums>),
    /// They are not what was claimed, or are missing.
    Rejected(String),
    /// Another worker has acquired the item.
    Lost,
}

#[async_trait]
impl Handler for Ingest {
    fn kind(&self) -> WorkKind {
        WorkKind::Ingest
    }

    async fn run(&self, lease: &Lease) -> Result<(), WorkError> {
        let started = match retrying(|| self.started(lease)).await? {
            None => retrying(|| self.start(lease)).await?,
            started => started,
        };
        let Some(request) = started else { return Ok(()) };
        crash_point("ingest.started");
        let (id, claim) = (request.session, request.claim);
        let quarantined = self.0.catalog.get_stored_blob(&claim.digest).await?.filter(|blob| blob.is_quarantined);
        let is_recorded = match self.ingest(request, lease).await? {
            Verdict::Placed(checksums) => {
                crash_point("ingest.placed");
                self.finish(id, claim, checksums.as_ref(), lease).await?
            }
            Verdict::Rejected(reason) => retrying(|| self.reject(id, lease, &reason)).await?,
            Verdict::Lost => false,
        };
        if is_recorded {
            crash_point("ingest.recorded");
            if let Some(StoredBlob { blob, .. }) = quarantined
                && let Err(error) = remove_superseded(&self.0, &blob).await
            {
                let error = error_chain::text(&error);
                tracing::warn!(blob.name = %blob.name, error, "replaced bytes could not be deleted; a collection will");
            }
        } else {
            tracing::warn!(upload.id = %id, "lease lost: ingest result discarded");
        }
        Ok(())
    }

    async fn requeue(&self, tx: &mut dyn CatalogTx, subject: Uuid) -> Result<(), CatalogError> {
        let Some(session) = tx.lock_upload(UploadId::new(subject)).await? else { return Ok(()) };
        match session.requeue_ingest(tx.now()) {
            Ok(session) => tx.update_upload(&session).await,
            Err(_) => Ok(()),
        }
    }

    async fn fail(&self, tx: &mut dyn CatalogTx, subject: Uuid, reason: &str) -> Result<(), CatalogError> {
        let Some(session) = tx.lock_upload(UploadId::new(subject)).await? else { return Ok(()) };
        let Ok((session, event)) = session.reject(reason.to_owned(), tx.now()) else { return Ok(()) };
        tx.update_upload(&session).await?;
        audit::record(tx, &self.0.worker_actor(), event).await?;
        upload_failed(tx, &session).await
    }

    fn failed(&self, subject: Uuid) {
        announce_end(&self.0, UploadId::new(subject));
    }
}

impl Ingest {
    /// The attempt, if it was started when its item was queued.
    async fn started(&self, lease: &Lease) -> Result<Option<IngestRequest>, CatalogError> {
        if !lease.is_first() {
            return Ok(None);
        }
        let Some(session) = self.0.catalog.get_upload(UploadId::new(lease.work.subject)).await? else {
            return Ok(None);
        };
        let UploadState::Ingesting(ingest) = &session.state else { return Ok(None) };
        // The parts of a completed upload do not change before it has ended, and then its lease is void.
        let parts = self.0.catalog.list_hashed_parts(session.id).await?;
        Ok(Some(request(&session, ingest.clone(), parts)))
    }

    /// Starts the attempt; absent when the lease is void, or when the session no longer waits for an attempt, and then the
    /// item is done.
    async fn start(&self, lease: &Lease) -> Result<Option<IngestRequest>, CatalogError> {
        let mut tx = self.0.catalog.begin().await?;
        if !tx.lock_work(lease).await? {
            return Ok(None);
        }
        let found = tx.lock_upload(UploadId::new(lease.work.subject)).await?;
        let now = tx.now();
        let Some((session, ingest)) = found.and_then(|session| session.start_ingest(now).ok()) else {
            tx.finish_work(lease).await?;
            tx.commit().await?;
            return Ok(None);
        };
        // In the same transaction: clearing an ended upload deletes its parts.
        let parts = tx.list_parts(session.id).await?;
        tx.update_upload(&session).await?;
        tx.commit().await?;
        Ok(Some(request(&session, ingest, parts)))
    }

    async fn ingest(&self, mut request: IngestRequest, lease: &Lease) -> Result<Verdict, WorkError> {
        loop {
            match self.0.blobs.ingest(&request).await {
                Ok(Ingested::Placed) => return Ok(Verdict::Placed(request.block_checksums())),
                Ok(Ingested::Hashed(state)) => {
                    crash_point("ingest.hashed");
                    request.hashed = Some(state.clone());
                    if !retrying(|| self.save_hash(request.session, lease, state.clone())).await? {
                        return Ok(Verdict::Lost);
                    }
                }
                Err(IngestError::Mismatch { actual }) => {
                    return Ok(Verdict::Rejected(format!("the content has the digest {actual}")));
                }
                Err(IngestError::StagedGone) => {
                    return Ok(Verdict::Rejected(
                        "the received data is missing or was changed; upload it again".to_owned(),
                    ));
                }
                Err(IngestError::Blob(error)) => return Err(error.into()),
            }
        }
    }

    /// Saves how far the bytes were hashed. Returns whether the lease was still valid.
    async fn save_hash(&self, id: UploadId, lease: &Lease, hashed: HashState) -> Result<bool, CatalogError> {
        let mut tx = self.0.catalog.begin().await?;
        if !tx.advance_work(lease, self.0.settings.lease_term).await? {
            return Ok(false);
        }
        let Some(session) = tx.lock_upload(id).await? else { return Ok(false) };
        let Ok(session) = session.save_hash(hashed) else { return Ok(false) };
        tx.update_upload(&session).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Records the trusted blob and the end of the upload in one transaction; returns whether the lease was still valid.
    /// When another upload has stored the same digest first, this one is `ready` as well and its own copy is removed.
    ///
    /// If the digest was blocked meanwhile, the upload fails.
    async fn finish(
        &self,
        id: UploadId,
        claim: BlobClaim,
        checksums: Option<&BlockChecksums>,
        lease: &Lease,
    ) -> Result<bool, CatalogError> {
        let finished = retrying(|| self.record(id, claim, checksums, lease)).await;
        match finished {
            Err(CatalogError::Conflict(Conflict::DigestBlocked)) => {
                retrying(|| self.reject_blocked(id, claim, lease)).await
            }
            finished => finished,
        }
    }

    /// The catalog refuses a blob with a blocked digest.
    async fn record(
        &self,
        id: UploadId,
        claim: BlobClaim,
        checksums: Option<&BlockChecksums>,
        lease: &Lease,
    ) -> Result<bool, CatalogError> {
        let mut tx = self.0.catalog.begin().await?;
        if !tx.finish_work(lease).await? {
            return Ok(false);
        }
        let Some(session) = tx.lock_upload(id).await? else { return Ok(false) };
        let now = tx.now();
        let Ok((session, event)) = session.finish_ingest(now) else { return Ok(false) };
        tx.update_upload(&session).await?;
        audit::record(&mut *tx, &self.0.worker_actor(), event).await?;
        let queued = upload_ready(&self.0, &mut *tx, &session).await?;
        // Blobs are locked after versions, and the catalog revision, which replacing a quarantined blob changes, last.
        if tx.reuse_blob(&claim.digest).await?.is_none() {
            let name = session.blob_name();
            tx.insert_blob(&TrustedBlob { claim, name: name.clone(), created_at: now }).await?;
            // Without checksums, the scrub hashes it again soon.
            if let Some(checksums) = checksums {
                tx.record_verified(&name, Some(checksums)).await?;
            }
            let trusted = Event::new(AuditAction::BlobTrusted, claim.digest).with(session.id);
            audit::record(&mut *tx, &self.0.worker_actor(), trusted).await?;
        }
        tx.record_sender(&session.created_by, &claim.digest).await?;
        crash_point("ingest.committing");
        let context = Arc::clone(&self.0);
        // Also when the process stops meanwhile: what was queued must not wait until its lease expires.
        detached(async move {
            let committed = context.revision.commit(tx).await;
            for queued in queued {
                queued.start(&context);
            }
            committed.map(|()| context.endings.announce(id))
        })
        .await?;
        Ok(true)
    }

    /// Fails an upload whose digest is blocked; returns whether the lease was still valid.
    async fn reject_blocked(&self, id: UploadId, claim: BlobClaim, lease: &Lease) -> Result<bool, CatalogError> {
        let block = {
            let mut tx = self.0.catalog.begin().await?;
            tx.get_blocked_digest(&claim.digest, None).await?
        };
        // Without a block it was lifted meanwhile, and another attempt can succeed.
        block.ok_or(CatalogError::Conflict(Conflict::StaleRevision))?;
        self.reject(id, lease, &blocked_upload(&claim.digest)).await
    }

    /// Fails the upload; returns whether the lease was still valid.
    async fn reject(&self, id: UploadId, lease: &Lease, reason: &str) -> Result<bool, CatalogError> {
        let mut tx = self.0.catalog.begin().await?;
        if !tx.finish_work(lease).await? {
            return Ok(false);
        }
        self.fail(&mut *tx, id.uuid(), reason).await?;
        tx.commit().await?;
        announce_end(&self.0, id);
        Ok(true)
    }
}

fn request(session: &UploadSession, ingest: PendingIngest, parts: Vec<Part>) -> IngestRequest {
    let (session, name) = (session.id, session.blob_name());
    IngestRequest { session, name, claim: ingest.claim.blob(), parts, hashed: ingest.hashed }
}
