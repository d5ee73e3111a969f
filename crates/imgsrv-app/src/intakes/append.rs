//! Receiving the bytes of an intake in pieces, each durable and recorded before the next, so that little must be sent again
//! after an interruption.

use crate::{
    auth::caller::Writer,
    bytes::{
        admission::{Admission, admit},
        receipt::{commit_completed, discard, end_attempt, lock_upload, recorded, stage},
        uploads::{Uploads, continued},
    },
    error::{Missing, Result, UseCaseError},
    intakes::{IntakeStatus, Intakes, pieces::PiecedBody},
    work::{detach::detached, retry::retrying},
};
use imgsrv_domain::{
    digest::ByteSize,
    ids::{AttemptId, UploadId},
    names::PartNumber,
    parts::Part,
    ports::{BlobName, BodyError, BodyStream, CatalogTx, StageRequest},
    time::Timestamp,
    upload::{Attempt, Receiving, UploadRefusal, UploadSession},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::OwnedSemaphorePermit;

/// Minimum size of a piece, unless fewer bytes arrive.
const PIECE: u64 = 16 << 20;
/// Maximum time for a piece, however few bytes have arrived.
const PIECE_TIME: Duration = Duration::from_secs(30);
/// Maximum number of pieces of an uninterrupted upload; the other part numbers are reserved for interrupted requests.
const PIECES: u64 = 5000;

/// The body of an append request.
pub struct AppendBody {
    /// Its declared size.
    pub declared: Option<u64>,
    /// Whether its bytes count only together, because they are verified as a whole.
    pub is_atomic: bool,
    /// Its bytes.
    pub bytes: BodyStream,
    /// Released when all received bytes are recorded or undone, which may be after the caller has stopped waiting.
    pub slot: Option<OwnedSemaphorePermit>,
}

/// The result of an append request.
#[derive(Debug)]
pub struct Appended {
    /// The offset of the next byte.
    pub offset: ByteSize,
    /// When the upload expires without further bytes.
    pub expires_at: Timestamp,
    /// Why the body ended early; what had arrived until then is stored.
    pub cut: Option<BodyError>,
}

impl Intakes {
    /// The offset of the next byte. Ends a stalled request first, so that its bytes are recorded.
    #[tracing::instrument(name = "intake.offset", level = "debug", skip_all, fields(upload.id = %id), err(level = "debug"))]
    pub async fn offset(&self, who: &Writer, id: UploadId) -> Result<IntakeStatus> {
        self.get(who, id).await?;
        self.active.end_stalled(id).await;
        self.get(who, id).await
    }

    /// Ends the append request of the caller's intake, if there is one; its bytes are recorded.
    #[tracing::instrument(name = "intake.end_append", level = "debug", skip_all, fields(upload.id = %id), err(level = "debug"))]
    pub async fn end_append(&self, who: &Writer, id: UploadId) -> Result<()> {
        self.get(who, id).await?;
        self.active.end(id).await;
        Ok(())
    }

    /// Appends bytes at `offset`. The last byte completes the upload.
    ///
    /// Cancel-safe: when the caller is dropped, what has arrived is still recorded.
    #[tracing::instrument(name = "intake.append", level = "debug", skip_all, fields(upload.id = %id, upload.offset = offset), err(level = "debug"))]
    pub async fn append(&self, who: &Writer, id: UploadId, offset: u64, body: AppendBody) -> Result<Appended> {
        let (intakes, who) = (self.clone(), who.clone());
        detached(async move { intakes.receive(&who, id, offset, body).await }).await
    }

    async fn receive(&self, who: &Writer, id: UploadId, offset: u64, body: AppendBody) -> Result<Appended> {
        let status = self.get(who, id).await?;
        let registration = self.active.register(id).await;
        check(&status.session, offset, &body)?;
        let AppendBody { declared, is_atomic, bytes, slot: _slot } = body;
        let size = status.session.size().get();
        let body = PiecedBody::new(bytes, is_atomic, registration.waiting.clone(), registration.cancel.clone());
        let limit = size.div_ceil(PIECES).max(PIECE);
        // Slow requests are recorded regularly as well: that postpones the expiry.
        let time = (self.context.settings.upload_ttl / 4).min(PIECE_TIME);
        let mut received = offset;
        let admission = admit(&self.context, declared).await?;
        while !body.is_over().await {
            let left = size - received;
            if let Err(error) = admission.extend().await {
                // Bytes of a newer request may have been recorded, and have used the space.
                check_offset(&self.get(who, id).await?.session, received)?;
                return Err(error);
            }
            // The last piece is unlimited, so that bytes beyond the end are refused.
            let limit = Some(limit).filter(|limit| !is_atomic && *limit < left);
            let piece = admission.limit(body.piece(limit, time), !is_atomic);
            received += self.receive_piece(who, id, received, piece, &admission).await?;
            if received == size {
                break;
            }
        }
        // A body may also end short of its declared size without an error.
        let is_short = declared.is_some_and(|all| received < offset + all);
        let cut = body.cut().await.or(is_short.then_some(BodyError::Cut)).filter(|_| received < size || size == 0);
        let is_empty = size == 0 && cut.is_none();
        let session = if is_empty { self.complete_empty(who, id).await? } else { self.get(who, id).await?.session };
        Ok(Appended { offset: session.offset(), expires_at: session.expires_at, cut })
    }

    /// Receives one piece, and returns its size.
    async fn receive_piece(
        &self,
        who: &Writer,
        id: UploadId,
        offset: u64,
        body: BodyStream,
        admission: &Admission,
    ) -> Result<u64> {
        let context = &self.context;
        let (name, attempt) = retrying(|| self.begin(who, id, offset)).await?;
        let (space, attempted) = (admission.space.clone(), attempt.clone());
        let request =
            StageRequest { session: id, name, attempt: attempted, declared: None, checksum: None, space, body };
        let part = stage(context, request, admission).await?;
        if part.size == ByteSize::ZERO {
            discard(context, id, &part).await;
            end_attempt(context, id, &attempt).await;
            return Ok(0);
        }
        let ended = retrying(|| self.record(who, id, &attempt, &part)).await;
        recorded(context, id, &attempt, &part, ended).await?;
        Ok(part.size.get())
    }

    async fn begin(&self, who: &Writer, id: UploadId, offset: u64) -> Result<(BlobName, Attempt)> {
        let attempt = AttemptId::new(self.context.ids.next());
        let mut tx = self.context.catalog.begin().await?;
        // A wider credential of the principal may have continued it since the request began.
        let session = continued(who, lock_upload(&mut *tx, id).await?)?;
        let last = last_part(&mut *tx, &session).await?;
        let (session, attempt) = session.begin_append(attempt, offset, last.as_ref(), tx.now())?;
        tx.update_upload(&session).await?;
        tx.commit().await?;
        Ok((session.blob_name(), attempt))
    }

    /// Records a piece. The last one completes the upload in the same transaction, because no request does so later.
    async fn record(&self, who: &Writer, id: UploadId, attempt: &Attempt, part: &Part) -> Result<()> {
        let mut tx = self.context.catalog.begin().await?;
        let session = lock_upload(&mut *tx, id).await?;
        let last = last_part(&mut *tx, &session).await?;
        let (now, ttl) = (tx.now(), self.context.settings.upload_ttl);
        let (session, completed) = session.record_append(attempt, part, last.as_ref(), now, ttl)?;
        tx.put_part(id, part).await?;
        let Some(event) = completed else {
            tx.update_upload(&session).await?;
            return Ok(tx.commit().await?);
        };
        Ok(commit_completed(&self.context, tx, who, &session, event).await?)
    }

    /// Completes the upload of an intake of zero bytes.
    async fn complete_empty(&self, who: &Writer, id: UploadId) -> Result<UploadSession> {
        retrying(|| async {
            let mut tx = self.context.catalog.begin().await?;
            let session = lock_upload(&mut *tx, id).await?;
            if !session.state.is_created() {
                return Ok(session);
            }
            let (session, event) = session.complete_empty(tx.now())?;
            commit_completed(&self.context, tx, who, &session, event).await?;
            Ok::<_, UseCaseError>(session)
        })
        .await
    }

    /// Aborts an intake; its bytes are removed.
    #[tracing::instrument(name = "intake.terminate", level = "debug", skip_all, fields(upload.id = %id), err(level = "debug"))]
    pub async fn terminate(&self, who: &Writer, id: UploadId) -> Result<()> {
        self.get(who, id).await?;
        let _registration = self.active.register(id).await;
        Uploads(Arc::clone(&self.context)).end(who, id).await.map(drop)
    }
}

/// Refuses what cannot be appended, before any byte is received.
fn check(session: &UploadSession, offset: u64, body: &AppendBody) -> Result<()> {
    let size = session.size();
    check_offset(session, offset)?;
    let left = size.get() - offset;
    if body.declared.is_some_and(|declared| declared > left) {
        return Err(UploadRefusal::TooLarge { expected: size }.into());
    }
    let pieces =
        session.receiving().and_then(Receiving::frontier).map_or(0, |frontier| u64::from(frontier.number.get()));
    let least = left.div_ceil((u64::from(PartNumber::MAX) - pieces).max(1));
    match body.declared {
        Some(declared) if declared > 0 && declared < least && declared < left => {
            let reason = format!("must be at least {least}, because an upload has a maximum number of parts");
            Err(UseCaseError::invalid("Content-Length", reason))
        }
        _ => Ok(()),
    }
}

fn check_offset(session: &UploadSession, offset: u64) -> Result<(), UploadRefusal> {
    let expected = session.offset();
    if expected.get() == offset { Ok(()) } else { Err(UploadRefusal::Offset { expected }) }
}

async fn last_part(tx: &mut dyn CatalogTx, session: &UploadSession) -> Result<Option<Part>> {
    let Some(frontier) = session.receiving().and_then(Receiving::frontier) else { return Ok(None) };
    Ok(Some(tx.get_part(session.id, frontier.number).await?.ok_or(Missing::Upload(session.id))?))
}
