//! Uploads: sessions, parts, completion.

use crate::{
    audit,
    auth::caller::Writer,
    bytes::{
        admission::{admit, check_free_space, check_quota, check_size},
        blocks::require_unblocked,
        clearing::{announce_end, upload_failed},
        receipt::{commit_completed, discard, lock_upload, recorded, stage},
    },
    context::Context,
    error::{Missing, Result, UseCaseError},
    work::{detach::detached, retry::retrying},
};
use imgsrv_domain::{
    digest::Digest,
    ids::{AttemptId, UploadId},
    names::PartNumber,
    page::{Page, PageRequest},
    parts::{ListedPart, Part},
    ports::{BlobName, BodyStream, CatalogTx, NeighbouringParts, StageRequest},
    upload::{Attempt, IdempotencyKey, NewUpload, UploadKind, UploadSession, UploadState},
};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// The use cases of uploads.
#[derive(Clone)]
pub struct Uploads(pub(crate) Arc<Context>);

/// The body of a part.
pub struct PartBody {
    /// Its declared size.
    pub declared: Option<u64>,
    /// The digest that the client sent with it.
    pub checksum: Option<Digest>,
    /// Its bytes.
    pub bytes: BodyStream,
    /// Released when the part is recorded or undone, which may be after the caller has stopped waiting.
    pub slot: Option<OwnedSemaphorePermit>,
}

impl Uploads {
    /// Opens an upload. It is `ready` at once if its digest is a trusted blob already that the caller may read.
    ///
    /// With a key, the same request by the same caller opens no further upload but finds the one that the first opened,
    /// in whatever state it is by then, unless it is `ready` and its blob was collected. This holds for concurrent requests
    /// as well.
    #[tracing::instrument(name = "upload.create", level = "debug", skip_all, err(level = "debug"),
        fields(blob.digest = %new.claim.digest, blob.size = %new.claim.size))]
    pub async fn create(&self, who: &Writer, new: NewUpload, key: Option<&IdempotencyKey>) -> Result<UploadSession> {
        check_size(&self.0, new.claim.size)?;
        retrying(|| async {
            let (id, new) = (UploadId::new(self.0.ids.next()), new.clone());
            let free = check_free_space(&self.0, new.claim.size.get()).await;
            let mut tx = self.0.catalog.begin().await?;
            if let Some(key) = key
                && let Some(opened) = tx.get_upload_by_key(who.id(), key).await?
            {
                if !is_own(who, &opened) || !opened.was_opened_for(&new) {
                    return Err(UseCaseError::KeyReused(key.clone()));
                }
                if !has_lost_blob(&mut *tx, &opened).await? {
                    tx.commit().await?;
                    return Ok(opened);
                }
                tx.release_key(opened.id).await?;
            }
            // Bytes that the caller may not read are received as if they were not stored.
            let trusted = who.reuse_blob(&mut *tx, &new.claim.digest).await?;
            let (session, event) = match trusted.map(|blob| blob.claim) {
                Some(claim) if claim.size != new.claim.size => {
                    return Err(UseCaseError::OtherSize { digest: claim.digest, size: claim.size });
                }
                Some(_) => UploadSession::already_ready(id, who.sender().clone(), new, tx.now()),
                None => {
                    require_unblocked(&mut *tx, who, &new.claim.digest, None).await?;
                    free?;
                    check_quota(&self.0, &mut *tx, who.id(), new.claim.size).await?;
                    UploadSession::open(id, who.sender().clone(), new, tx.now(), self.0.settings.upload_ttl)
                }
            };
            tx.insert_upload(&session, key).await?;
            audit::commit(tx, who.uploader(), event).await?;
            Ok(session)
        })
        .await
    }

    /// The upload with that id, if it is the caller's, or the caller may see those of others.
    #[tracing::instrument(name = "upload.get", level = "debug", skip_all, fields(upload.id = %id), err(level = "debug"))]
    pub async fn get(&self, who: &Writer, id: UploadId) -> Result<UploadSession> {
        let found = self.0.catalog.get_upload(id).await?.filter(is_multipart);
        found.filter(|found| is_own(who, found) || who.oversees_uploads()).ok_or(Missing::Upload(id).into())
    }

    /// The caller's uploads that wait for parts, or those of all callers, newest first; only those of `digest` if one is
    /// given.
    #[tracing::instrument(name = "upload.open", level = "debug", skip_all, err(level = "debug"))]
    pub async fn open(
        &self,
        who: &Writer,
        all: bool,
        digest: Option<&Digest>,
        page: &PageRequest,
    ) -> Result<Page<UploadSession>> {
        if all {
            who.require_overseer()?;
        }
        Ok(self.0.catalog.list_open_uploads((!all).then(|| who.sender()), digest, page).await?)
    }

    /// Up to `limit` recorded parts after `after`, ascending.
    #[tracing::instrument(name = "upload.parts", level = "debug", skip_all, fields(upload.id = %id), err(level = "debug"))]
    pub async fn parts(&self, who: &Writer, id: UploadId, after: Option<PartNumber>, limit: u16) -> Result<Vec<Part>> {
        self.get(who, id).await?;
        Ok(self.0.catalog.list_parts(id, after, limit).await?)
    }

    /// Receives a part. Returns when it is durable and recorded; on failure nothing of it is left.
    ///
    /// Cancel-safe: when the caller is dropped, the part is still recorded or undone.
    #[tracing::instrument(name = "upload.put_part", level = "debug", skip_all, err(level = "debug"),
        fields(upload.id = %id, part.number = %number))]
    pub async fn put_part(&self, who: &Writer, id: UploadId, number: PartNumber, body: PartBody) -> Result<Part> {
        let (uploads, who) = (self.clone(), who.clone());
        detached(async move { uploads.receive(&who, id, number, body).await }).await
    }

    async fn receive(&self, who: &Writer, id: UploadId, number: PartNumber, body: PartBody) -> Result<Part> {
        let PartBody { declared, checksum, bytes, slot: _slot } = body;
        let admission = admit(&self.0, declared).await?;
        let (name, attempt) = retrying(|| self.begin(who, id, number, declared)).await?;
        let (space, body) = (admission.space.clone(), admission.limit(bytes, false));
        let request = StageRequest { session: id, name, attempt: attempt.clone(), declared, checksum, space, body };
        let part = stage(&self.0, request, &admission).await?;
        drop(admission);
        let replaced = retrying(|| self.record(id, &attempt, &part)).await;
        if let Some(replaced) = recorded(&self.0, id, &attempt, &part, replaced).await? {
            discard(&self.0, id, &replaced).await;
        }
        Ok(part)
    }

    async fn begin(
        &self,
        who: &Writer,
        id: UploadId,
        number: PartNumber,
        declared: Option<u64>,
    ) -> Result<(BlobName, Attempt)> {
        let attempt = AttemptId::new(self.0.ids.next());
        let mut tx = self.0.catalog.begin().await?;
        let session = continued(who, lock_multipart(&mut *tx, who, id).await?)?;
        let NeighbouringParts { current, previous } = tx.get_neighbouring_parts(id, number).await?;
        let (current, previous) = (current.as_ref(), previous.as_ref());
        let (session, attempt) = session.begin_attempt(attempt, number, declared, current, previous, tx.now())?;
        tx.update_upload(&session).await?;
        tx.commit().await?;
        Ok((session.blob_name(), attempt))
    }

    /// Records a received part. Returns the part that it replaced, if the bytes of that one can be discarded.
    async fn record(&self, id: UploadId, attempt: &Attempt, part: &Part) -> Result<Option<Part>> {
        let mut tx = self.0.catalog.begin().await?;
        let session = lock_upload(&mut *tx, id).await?;
        let NeighbouringParts { current, previous } = tx.get_neighbouring_parts(id, part.number).await?;
        let (now, ttl) = (tx.now(), self.0.settings.upload_ttl);
        let session = session.record_part(attempt, part, current.as_ref(), previous.as_ref(), now, ttl)?;
        tx.put_part(id, part).await?;
        tx.update_upload(&session).await?;
        tx.commit().await?;
        // A frontier writer may be appending to the file of the replaced part.
        Ok(current.filter(|_| session.receiving().is_none_or(|receiving| receiving.frontier_writer.is_none())))
    }

    /// Fixes the part list and queues the ingest. Does nothing for an upload that is completed already.
    ///
    /// Cancel-safe: when the caller is dropped, the workers are still woken after the commit.
    #[tracing::instrument(name = "upload.complete", level = "debug", skip_all, fields(upload.id = %id), err(level = "debug"))]
    pub async fn complete(&self, who: &Writer, id: UploadId, listed: &[ListedPart]) -> Result<UploadSession> {
        let (uploads, who, listed) = (self.clone(), who.clone(), listed.to_vec());
        detached(async move { uploads.fix_parts(&who, id, &listed).await }).await
    }

    async fn fix_parts(&self, who: &Writer, id: UploadId, listed: &[ListedPart]) -> Result<UploadSession> {
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let session = lock_multipart(&mut *tx, who, id).await?;
            match session.state {
                UploadState::Completed(_) | UploadState::Ingesting(_) | UploadState::Ready(_) => return Ok(session),
                UploadState::Receiving(_) | UploadState::Failed { .. } | UploadState::Aborted { .. } => {}
            }
            let parts = tx.list_parts(id).await?;
            let (session, event) = session.complete(listed, &parts, tx.now())?;
            commit_completed(&self.0, tx, who, &session, event).await?;
            Ok::<_, UseCaseError>(session)
        })
        .await
    }

    /// Aborts an upload; its bytes are removed.
    #[tracing::instrument(name = "upload.abort", level = "debug", skip_all, fields(upload.id = %id), err(level = "debug"))]
    pub async fn abort(&self, who: &Writer, id: UploadId) -> Result<UploadSession> {
        self.get(who, id).await?;
        self.end(who, id).await
    }

    /// The same for uploads of either kind.
    ///
    /// Cancel-safe: when the caller is dropped, the workers are still woken after the commit.
    pub(crate) async fn end(&self, who: &Writer, id: UploadId) -> Result<UploadSession> {
        let (uploads, who) = (self.clone(), who.clone());
        detached(async move { uploads.end_and_wake(&who, id).await }).await
    }

    async fn end_and_wake(&self, who: &Writer, id: UploadId) -> Result<UploadSession> {
        let session = retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let (session, event) = lock_upload(&mut *tx, id).await?.abort(tx.now())?;
            if let Some(event) = event {
                tx.update_upload(&session).await?;
                upload_failed(&mut *tx, &session).await?;
                audit::commit(tx, who.uploader(), event).await?;
            }
            Ok::<_, UseCaseError>(session)
        })
        .await?;
        announce_end(&self.0, id);
        Ok(session)
    }
}

/// Whether the upload is `ready`, but its blob was collected since then. A blob that is left counts as used now.
async fn has_lost_blob(tx: &mut dyn CatalogTx, session: &UploadSession) -> Result<bool> {
    let UploadState::Ready(claim) = &session.state else { return Ok(false) };
    Ok(tx.reuse_blob(&claim.blob().digest).await?.is_none())
}

/// The caller's upload with that id, locked; those of intakes take no numbered parts and are not found.
async fn lock_multipart(tx: &mut dyn CatalogTx, who: &Writer, id: UploadId) -> Result<UploadSession> {
    let found = tx.lock_upload(id).await?.filter(is_multipart);
    found.filter(|found| is_own(who, found)).ok_or(Missing::Upload(id).into())
}

/// The upload, whose bytes the caller continues to send.
pub(crate) fn continued(who: &Writer, session: UploadSession) -> Result<UploadSession> {
    if is_own(who, &session) {
        Ok(session.sent_by(who.sender().clone()))
    } else {
        Err(Missing::Upload(session.id).into())
    }
}

/// Whether the caller may continue the upload and read what is recorded of it.
pub(crate) fn is_own(who: &Writer, session: &UploadSession) -> bool {
    who.sender().covers(&session.created_by)
}

fn is_multipart(session: &UploadSession) -> bool {
    session.declared().kind() == UploadKind::Multipart
}
