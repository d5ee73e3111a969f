//! Uploads: sessions, parts, completion.

use crate::{
    audit,
    auth::caller::Writer,
    bytes::ingest::Ingest,
    context::Context,
    error::{Missing, UseCaseError},
    work::{retry::retrying, runtime::Ran},
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use imgsrv_domain::{
    digest::{BlobClaim, ByteSize, Digest},
    hash::RunningHash,
    ids::{AttemptId, UploadId},
    names::PartNumber,
    page::{Page, PageRequest},
    parts::{ListedPart, Part},
    ports::{BlobError, BlobName, BodyStream, CatalogError, CatalogTx, NeighbouringParts, StageRequest, Staged},
    text::MediaType,
    upload::{Attempt, NewUpload, UploadKind, UploadSession, UploadState},
};
use std::{sync::Arc, time::Duration};

/// How often it is looked whether a worker has ingested what this server stores.
const STORE_POLL: Duration = Duration::from_millis(20);

/// The use cases of uploads.
#[derive(Clone)]
pub struct Uploads(pub(crate) Arc<Context>);

/// The body of a part.
pub struct PartBody {
    /// Its announced size.
    pub declared: Option<u64>,
    /// The digest that came with it.
    pub checksum: Option<Digest>,
    /// Its bytes.
    pub bytes: BodyStream,
}

impl Uploads {
    /// Opens a session, or records that the digest is trusted already: the session is `ready` then.
    pub async fn create(&self, who: &Writer, new: NewUpload) -> Result<UploadSession, UseCaseError> {
        self.0.check_upload_size(new.claim.size)?;
        retrying(|| self.create_once(who, new.clone())).await
    }

    async fn create_once(&self, who: &Writer, new: NewUpload) -> Result<UploadSession, UseCaseError> {
        let id = UploadId::new(self.0.ids.next());
        let free = self.0.check_free_space(new.claim.size.get()).await;
        let mut tx = self.0.catalog.begin().await?;
        let trusted = tx.get_blob(&new.claim.digest).await?;
        let (session, event) = match trusted.map(|blob| blob.claim) {
            Some(claim) if claim.size != new.claim.size => {
                return Err(UseCaseError::OtherSize { digest: claim.digest, size: claim.size });
            }
            Some(_) => UploadSession::already_ready(id, who.id(), new, tx.now()),
            None => {
                free?;
                self.0.check_admission(&mut *tx, new.claim.size).await?;
                UploadSession::open(id, who.id(), new, tx.now(), self.0.settings.upload_ttl)
            }
        };
        tx.insert_upload(&session).await?;
        audit::record(&mut *tx, who.actor(), event).await?;
        tx.commit().await?;
        Ok(session)
    }

    /// The session with that id.
    pub async fn get(&self, _who: &Writer, id: UploadId) -> Result<UploadSession, UseCaseError> {
        let found = self.0.catalog.get_upload(id).await?.filter(is_of_parts);
        found.ok_or(UseCaseError::NotFound(Missing::Upload))
    }

    /// The caller's own sessions that wait for parts, newest first; those for `digest` alone if one is given.
    pub async fn open(
        &self,
        who: &Writer,
        digest: Option<&Digest>,
        page: &PageRequest,
    ) -> Result<Page<UploadSession>, UseCaseError> {
        Ok(self.0.catalog.list_open_uploads(who.id(), digest, page).await?)
    }

    /// Up to `limit` recorded parts after `after`, ascending.
    pub async fn parts(
        &self,
        who: &Writer,
        id: UploadId,
        after: Option<PartNumber>,
        limit: u16,
    ) -> Result<Vec<Part>, UseCaseError> {
        self.get(who, id).await?;
        Ok(self.0.catalog.list_parts(id, after, limit).await?)
    }

    /// Receives a part. Returns once it is durable and recorded; on failure nothing of it is left.
    pub async fn put_part(
        &self,
        _who: &Writer,
        id: UploadId,
        number: PartNumber,
        body: PartBody,
    ) -> Result<Part, UseCaseError> {
        self.0.check_free_space(body.declared.unwrap_or(0)).await?;
        let (name, attempt) = retrying(|| self.begin_attempt(id, number, body.declared)).await?;
        let PartBody { declared, checksum, bytes } = body;
        let request = StageRequest { session: id, name, attempt: attempt.clone(), declared, checksum, body: bytes };
        let staged = match self.0.blobs.stage(request).await {
            Ok(staged) => staged,
            Err(error) => {
                self.give_up(id, &attempt).await;
                return Err(error.into());
            }
        };
        let part = part(&attempt, staged);
        let recorded = retrying(|| self.record(id, &attempt, &part)).await;
        if let Err(refused) = &recorded {
            // When the outcome of the commit is not known, the part may be recorded: its bytes stay.
            if !matches!(refused, UseCaseError::Catalog(_)) {
                self.drop_bytes(id, &part).await;
            }
            self.give_up(id, &attempt).await;
        }
        if let Some(replaced) = recorded? {
            self.drop_bytes(id, &replaced).await;
        }
        Ok(part)
    }

    async fn begin_attempt(
        &self,
        id: UploadId,
        number: PartNumber,
        declared: Option<u64>,
    ) -> Result<(BlobName, Attempt), UseCaseError> {
        let attempt_id = AttemptId::new(self.0.ids.next());
        let mut tx = self.0.catalog.begin().await?;
        let session = find_of_parts(&mut *tx, id).await?;
        let (current, before) = neighbours(&mut *tx, id, number).await?;
        let now = tx.now();
        let (session, attempt) =
            session.begin_attempt(attempt_id, number, declared, current.as_ref(), before.as_ref(), now)?;
        tx.update_upload(&session).await?;
        tx.commit().await?;
        Ok((session.blob_name(), attempt))
    }

    /// Records a received part; returns the part it replaced if nothing can refer to its bytes any more.
    async fn record(&self, id: UploadId, attempt: &Attempt, part: &Part) -> Result<Option<Part>, UseCaseError> {
        let mut tx = self.0.catalog.begin().await?;
        let session = find(&mut *tx, id).await?;
        let (current, before) = neighbours(&mut *tx, id, part.number).await?;
        let now = tx.now();
        let ttl = self.0.settings.upload_ttl;
        let session = session.record_part(attempt, part, current.as_ref(), before.as_ref(), now, ttl)?;
        tx.put_part(id, part).await?;
        tx.update_upload(&session).await?;
        tx.commit().await?;
        // An frontier writer may be writing behind the replaced part, in its file.
        Ok(current.filter(|_| session.frontier_writer.is_none()))
    }

    /// Notes that an attempt has ended without a part. Should that fail, the next attempt supersedes it.
    pub(crate) async fn give_up(&self, id: UploadId, attempt: &Attempt) {
        let ended: Result<(), UseCaseError> = retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            let (session, changed) = find(&mut *tx, id).await?.end_attempt(attempt);
            if changed {
                tx.update_upload(&session).await?;
                tx.commit().await?;
            }
            Ok(())
        })
        .await;
        if let Err(error) = ended {
            tracing::debug!(upload.id = %id, %error, "an ended attempt could not be noted");
        }
    }

    pub(crate) async fn drop_bytes(&self, id: UploadId, part: &Part) {
        if let Err(error) = self.0.blobs.discard(id, part).await {
            tracing::warn!(upload.id = %id, %error, "bytes of a replaced part stay until the session ends");
        }
    }

    /// Fixes the part list and queues the ingest. Repeating it on a completed session changes nothing.
    pub async fn complete(
        &self,
        who: &Writer,
        id: UploadId,
        listed: &[ListedPart],
    ) -> Result<UploadSession, UseCaseError> {
        let session = retrying(|| self.complete_once(who, id, listed)).await?;
        self.0.wakeups.ingest.notify_one();
        Ok(session)
    }

    async fn complete_once(
        &self,
        who: &Writer,
        id: UploadId,
        listed: &[ListedPart],
    ) -> Result<UploadSession, UseCaseError> {
        let mut tx = self.0.catalog.begin().await?;
        let session = find_of_parts(&mut *tx, id).await?;
        match session.state {
            UploadState::Completed(_) | UploadState::Ingesting(_) | UploadState::Ready => return Ok(session),
            UploadState::Created | UploadState::Uploading | UploadState::Failed { .. } | UploadState::Aborted => {}
        }
        let recorded = tx.list_parts(id).await?;
        let now = tx.now();
        let (session, event) = session.complete(listed, &recorded, now)?;
        tx.update_upload(&session).await?;
        audit::record(&mut *tx, who.actor(), event).await?;
        tx.commit().await?;
        Ok(session)
    }

    /// Stores bytes that this server made itself, by the way that all bytes take. Returns once they are a trusted blob.
    pub(crate) async fn store(
        &self,
        who: &Writer,
        bytes: Vec<u8>,
        media_type: &MediaType,
    ) -> Result<BlobClaim, UseCaseError> {
        let mut hash = RunningHash::new();
        hash.update(&bytes);
        let size = ByteSize::try_from(bytes.len() as u64).map_err(|error| CatalogError::Backend(Box::new(error)))?;
        let claim = BlobClaim { digest: hash.finish(), size };
        let new = NewUpload { claim, media_type_hint: Some(media_type.clone()), filename_hint: None };
        let session = self.create(who, new).await?;
        if session.state == UploadState::Ready {
            return Ok(claim);
        }
        let number = PartNumber::FIRST;
        let body = PartBody {
            declared: Some(claim.size.get()),
            checksum: Some(claim.digest),
            bytes: stream::once(async move { Ok(Bytes::from(bytes)) }).boxed(),
        };
        let part = self.put_part(who, session.id, number, body).await?;
        let listed = [ListedPart { number, attempt: part.attempt, size: part.size }];
        retrying(|| self.complete_once(who, session.id, &listed)).await?;
        let ingest = Ingest(Arc::clone(&self.0));
        loop {
            // A worker may have been faster.
            match ingest.run_for(session.id).await? {
                Ran::Worked | Ran::Finished => return Ok(claim),
                Ran::Idle => tokio::time::sleep(STORE_POLL).await,
            }
            match self.get(who, session.id).await?.state {
                UploadState::Ready => return Ok(claim),
                UploadState::Failed { .. } | UploadState::Aborted => return Err(BlobError::Damaged.into()),
                _ => {}
            }
        }
    }

    /// Gives a session up; its bytes go.
    pub async fn abort(&self, who: &Writer, id: UploadId) -> Result<UploadSession, UseCaseError> {
        self.get(who, id).await?;
        self.end(who, id).await
    }

    /// The same, however its bytes come.
    pub(crate) async fn end(&self, who: &Writer, id: UploadId) -> Result<UploadSession, UseCaseError> {
        let session = retrying(|| self.abort_once(who, id)).await?;
        if let Err(error) = self.0.clear(&session).await {
            tracing::warn!(upload.id = %id, %error, "staged bytes stay until the next sweep");
        }
        Ok(session)
    }

    async fn abort_once(&self, who: &Writer, id: UploadId) -> Result<UploadSession, UseCaseError> {
        let mut tx = self.0.catalog.begin().await?;
        let session = find(&mut *tx, id).await?;
        let now = tx.now();
        let (session, event) = session.abort(now)?;
        if let Some(event) = event {
            tx.update_upload(&session).await?;
            audit::record(&mut *tx, who.actor(), event).await?;
            tx.commit().await?;
        }
        Ok(session)
    }
}

pub(crate) async fn find(tx: &mut dyn CatalogTx, id: UploadId) -> Result<UploadSession, UseCaseError> {
    tx.lock_upload(id).await?.ok_or(UseCaseError::NotFound(Missing::Upload))
}

/// A session of an intake takes no numbered parts, and is looked at as one.
async fn find_of_parts(tx: &mut dyn CatalogTx, id: UploadId) -> Result<UploadSession, UseCaseError> {
    let found = find(tx, id).await?;
    if is_of_parts(&found) { Ok(found) } else { Err(UseCaseError::NotFound(Missing::Upload)) }
}

fn is_of_parts(session: &UploadSession) -> bool {
    session.kind == UploadKind::Multipart
}

/// The part recorded under `number`, and the one under the number before it.
async fn neighbours(
    tx: &mut dyn CatalogTx,
    id: UploadId,
    number: PartNumber,
) -> Result<(Option<Part>, Option<Part>), UseCaseError> {
    let NeighbouringParts { current, previous } = tx.get_neighbouring_parts(id, number).await?;
    Ok((current, previous))
}

pub(crate) fn part(attempt: &Attempt, staged: Staged) -> Part {
    Part {
        number: attempt.number,
        attempt: attempt.id,
        sequence: attempt.sequence,
        size: staged.size,
        place: staged.place,
        hash: staged.hash,
    }
}
