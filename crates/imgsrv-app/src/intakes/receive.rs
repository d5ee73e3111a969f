//! Receiving a stream: in pieces, each durable and recorded before the next, so that little is to be sent again.

use crate::intakes::{IntakeStatus, Intakes, receivers::Waiting};
use crate::{
    audit,
    auth::caller::Writer,
    bytes::uploads::{find, part},
    error::{Missing, UseCaseError},
    work::retry::retrying,
};
use bytes::Bytes;
use futures::StreamExt;
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
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The least bytes of a piece, unless fewer come.
const PIECE: u64 = 16 << 20;
/// How long a piece may take, however few bytes have come of it.
const PIECE_TIME: Duration = Duration::from_secs(30);
/// Into how many pieces a stream is cut at most; the other part numbers are for requests that broke off.
const PIECES: u64 = 5000;

/// The bytes of a request.
pub struct StreamBody {
    /// How many are announced.
    pub declared: Option<u64>,
    /// Whether they count together or not at all, because they are verified as a whole.
    pub is_atomic: bool,
    /// The bytes.
    pub bytes: BodyStream,
}

/// What a request has added to a stream.
#[derive(Debug)]
pub struct Appended {
    /// Where the next byte goes.
    pub offset: ByteSize,
    /// Until when it is waited for.
    pub expires_at: Timestamp,
    /// Why the request ended before its end; what had come until then is kept.
    pub cut: Option<BodyError>,
}

/// The bytes that are still to come, with what was taken out of them and not wanted yet.
struct Rest {
    bytes: BodyStream,
    ahead: Option<Bytes>,
    /// Why there is nothing more, if not because all has come.
    cut: Option<BodyError>,
    is_atomic: bool,
    waiting: Waiting,
    /// A newer request has taken the place.
    taken: CancellationToken,
}

impl Rest {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(ahead) = self.ahead.take() {
            return Some(ahead);
        }
        if self.cut.is_some() {
            return None;
        }
        self.waiting.begin();
        let next = loop {
            match self.taken.run_until_cancelled(self.bytes.next()).await {
                Some(Some(Ok(bytes))) if bytes.is_empty() => {}
                Some(next) => break next,
                None => break Some(Err(BodyError::Cut)),
            }
        };
        self.waiting.end();
        match next? {
            Ok(bytes) => Some(bytes),
            Err(cut) => {
                self.cut = Some(cut);
                None
            }
        }
    }

    async fn is_over(&mut self) -> bool {
        self.ahead = self.next().await;
        self.ahead.is_none()
    }
}

/// The next bytes of `rest`, at most `limit` of them or what comes within `time`, unless it is to count as a whole; all
/// that come when there is no limit.
fn piece(rest: &Arc<tokio::sync::Mutex<Rest>>, limit: Option<u64>, time: Duration) -> BodyStream {
    let rest = Arc::clone(rest);
    let until = Instant::now() + time;
    let taken = futures::stream::unfold((rest, limit.unwrap_or(u64::MAX)), move |(rest, left)| async move {
        if left == 0 {
            return None;
        }
        let mut own = rest.lock().await;
        let Some(mut bytes) = own.next().await else {
            // A request that breaks off has brought what it has brought, unless that was to be verified as a whole.
            let cut = own.cut.filter(|_| own.is_atomic)?;
            drop(own);
            return Some((Err(cut), (rest, 0)));
        };
        if bytes.len() as u64 > left {
            own.ahead = Some(bytes.split_off(usize::try_from(left).unwrap_or(usize::MAX)));
        }
        let is_over = Instant::now() >= until && !own.is_atomic;
        let left = if is_over { 0 } else { left - bytes.len() as u64 };
        drop(own);
        Some((Ok(bytes), (rest, left)))
    });
    taken.boxed()
}

impl Intakes {
    /// Where the next byte of a stream goes. A request that stalls is ended first, so that what it brought counts.
    pub async fn offset(&self, who: &Writer, id: UploadId) -> Result<IntakeStatus, UseCaseError> {
        self.get(who, id).await?;
        self.receivers.end_stalled(id).await;
        self.get(who, id).await
    }

    /// Ends the request that is receiving bytes of an intake of the caller's, if there is one: what it has brought counts.
    pub async fn end_receiving(&self, who: &Writer, id: UploadId) -> Result<(), UseCaseError> {
        self.get(who, id).await?;
        self.receivers.end(id).await;
        Ok(())
    }

    /// Adds to a stream what comes at `offset`. The last byte completes the upload.
    pub async fn append(
        &self,
        who: &Writer,
        id: UploadId,
        offset: u64,
        body: StreamBody,
    ) -> Result<Appended, UseCaseError> {
        let status = self.get(who, id).await?;
        let place = self.receivers.take(id).await;
        check(&status.session, offset, &body)?;
        let StreamBody { declared, is_atomic, bytes } = body;
        let size = status.session.size().get();
        let (waiting, taken) = (place.waiting(), place.taken());
        let rest = Rest { bytes, ahead: None, cut: None, is_atomic, waiting, taken };
        let rest = Arc::new(tokio::sync::Mutex::new(rest));
        let limit = size.div_ceil(PIECES).max(PIECE);
        // Recorded now and then however slowly it comes: what is recorded counts, and puts the expiry off.
        let time = (self.context.settings.upload_ttl / 4).min(PIECE_TIME);
        let mut now_at = offset;
        while !rest.lock().await.is_over().await {
            let left = size - now_at;
            self.context
                .check_free_space(declared.map_or(PIECE, |all| (offset + all).saturating_sub(now_at)).min(left))
                .await?;
            // The last piece takes whatever comes, so that a byte too many is noticed.
            let limit = Some(limit).filter(|limit| !is_atomic && *limit < left);
            now_at += self.append_piece(who, id, now_at, piece(&rest, limit, time)).await?;
            if now_at == size {
                break;
            }
        }
        let cut = rest.lock().await.cut;
        // Short of what it announced, without being told so.
        let is_short = declared.is_some_and(|all| now_at < offset + all);
        let cut = cut.or(is_short.then_some(BodyError::Cut)).filter(|_| now_at < size || size == 0);
        let is_empty = size == 0 && cut.is_none();
        let session = if is_empty { self.complete_empty(who, id).await? } else { self.get(who, id).await?.session };
        Ok(Appended { offset: session.offset(), expires_at: session.expires_at, cut })
    }

    /// Receives one piece, and says how many bytes it was.
    async fn append_piece(
        &self,
        who: &Writer,
        id: UploadId,
        offset: u64,
        body: BodyStream,
    ) -> Result<u64, UseCaseError> {
        let uploads = self.uploads();
        let (name, attempt) = retrying(|| self.begin(id, offset)).await?;
        let request =
            StageRequest { session: id, name, attempt: attempt.clone(), declared: None, checksum: None, body };
        let staged = match self.context.blobs.stage(request).await {
            Ok(staged) => staged,
            Err(error) => {
                uploads.give_up(id, &attempt).await;
                return Err(error.into());
            }
        };
        let received = staged.size.get();
        let part = part(&attempt, staged);
        if received == 0 {
            uploads.drop_bytes(id, &part).await;
            uploads.give_up(id, &attempt).await;
            return Ok(0);
        }
        match retrying(|| self.record(who, id, &attempt, &part)).await {
            Ok(is_complete) => {
                if is_complete {
                    self.context.wakeups.ingest.notify_one();
                }
                Ok(received)
            }
            Err(refused) => {
                // When the outcome of the commit is not known, the part may be recorded: its bytes stay.
                if !matches!(refused, UseCaseError::Catalog(_)) {
                    uploads.drop_bytes(id, &part).await;
                }
                uploads.give_up(id, &attempt).await;
                Err(refused)
            }
        }
    }

    async fn begin(&self, id: UploadId, offset: u64) -> Result<(BlobName, Attempt), UseCaseError> {
        let attempt = AttemptId::new(self.context.ids.next());
        let mut tx = self.context.catalog.begin().await?;
        let session = find(&mut *tx, id).await?;
        let last = last_part(&mut *tx, &session).await?;
        let now = tx.now();
        let (session, attempt) = session.begin_append(attempt, offset, last.as_ref(), now)?;
        tx.update_upload(&session).await?;
        tx.commit().await?;
        Ok((session.blob_name(), attempt))
    }

    /// Records a piece. In the same transaction the last one completes the upload: nobody would ask for it later.
    async fn record(&self, who: &Writer, id: UploadId, attempt: &Attempt, part: &Part) -> Result<bool, UseCaseError> {
        let mut tx = self.context.catalog.begin().await?;
        let session = find(&mut *tx, id).await?;
        let last = last_part(&mut *tx, &session).await?;
        let (now, ttl) = (tx.now(), self.context.settings.upload_ttl);
        let (session, completed) = session.record_append(attempt, part, last.as_ref(), now, ttl)?;
        tx.put_part(id, part).await?;
        tx.update_upload(&session).await?;
        let is_complete = completed.is_some();
        if let Some(event) = completed {
            audit::record(&mut *tx, who.actor(), event).await?;
        }
        tx.commit().await?;
        Ok(is_complete)
    }

    /// Completes the upload of an intake without bytes.
    async fn complete_empty(&self, who: &Writer, id: UploadId) -> Result<UploadSession, UseCaseError> {
        let session = retrying(|| async {
            let mut tx = self.context.catalog.begin().await?;
            let session = find(&mut *tx, id).await?;
            if !session.state.is_created() {
                return Ok(session);
            }
            let (session, event) = session.complete_empty(tx.now())?;
            tx.update_upload(&session).await?;
            audit::record(&mut *tx, who.actor(), event).await?;
            tx.commit().await?;
            Ok::<_, UseCaseError>(session)
        })
        .await?;
        self.context.wakeups.ingest.notify_one();
        Ok(session)
    }

    /// Gives an intake up; its bytes go.
    pub async fn terminate(&self, who: &Writer, id: UploadId) -> Result<(), UseCaseError> {
        self.get(who, id).await?;
        let _place = self.receivers.take(id).await;
        self.uploads().end(who, id).await.map(drop)
    }

    fn uploads(&self) -> crate::bytes::uploads::Uploads {
        crate::bytes::uploads::Uploads(Arc::clone(&self.context))
    }
}

/// Refuses what cannot be added, before a byte of it is taken.
fn check(session: &UploadSession, offset: u64, body: &StreamBody) -> Result<(), UseCaseError> {
    let size = session.size();
    if session.offset().get() != offset {
        return Err(UploadRefusal::Offset { expected: session.offset() }.into());
    }
    let left = size.get() - offset;
    if body.declared.is_some_and(|declared| declared > left) {
        return Err(UploadRefusal::TooLarge { expected: size }.into());
    }
    let pieces =
        session.receiving().and_then(Receiving::frontier).map_or(0, |frontier| u64::from(frontier.number.get()));
    let least = left.div_ceil((u64::from(PartNumber::MAX) - pieces).max(1));
    match body.declared {
        Some(declared) if declared > 0 && declared < least && declared < left => {
            let reason = format!("must be at least {least} in each request, or there would be too many of them");
            Err(UseCaseError::invalid("Content-Length", reason))
        }
        _ => Ok(()),
    }
}

async fn last_part(tx: &mut dyn CatalogTx, session: &UploadSession) -> Result<Option<Part>, UseCaseError> {
    match session.receiving().and_then(Receiving::frontier) {
        Some(frontier) => {
            let last = tx.get_part(session.id, frontier.number).await?;
            Ok(Some(last.ok_or(UseCaseError::NotFound(Missing::Upload))?))
        }
        None => Ok(None),
    }
}
