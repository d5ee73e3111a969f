//! Receiving the bytes of one attempt: staging them, and undoing that when the part is not recorded.

use crate::{
    audit,
    auth::caller::Writer,
    bytes::admission::Admission,
    context::Context,
    error::{Missing, Result, UseCaseError},
    work::{crash_point::crash_point, queued::queue, retry::retrying},
};
use imgsrv_domain::{
    audit::Event,
    error_chain,
    ids::UploadId,
    parts::Part,
    ports::{CatalogError, CatalogTx, StageRequest},
    upload::{Attempt, UploadSession},
    work::WorkName,
};

/// Receives the bytes of an attempt and makes them durable. On failure nothing of them is left, and the attempt has ended.
///
/// A failure may be a consequence of what others did meanwhile, such as completing the upload on another node. Then the
/// error is the refusal of the part.
pub(crate) async fn stage(context: &Context, request: StageRequest, admission: &Admission) -> Result<Part> {
    let (session, attempt) = (request.session, request.attempt.clone());
    match context.blobs.stage(request).await {
        Ok(staged) => Ok(staged.into_part(&attempt)),
        Err(error) => {
            let error = admission.refusal_or(error.into());
            Err(end_attempt(context, session, &attempt).await.unwrap_or(error))
        }
    }
}

/// Commits the end of receiving an upload: its last byte is recorded, and its ingest is queued. Not cancel-safe: when this is
/// dropped, the ingest may wait until the lease of its item expires.
pub(crate) async fn commit_completed(
    context: &Context,
    mut tx: Box<dyn CatalogTx>,
    who: &Writer,
    session: &UploadSession,
    event: Event,
) -> Result<(), CatalogError> {
    let queued = queue(context, &mut *tx, WorkName::ingest(session.id)).await?;
    let started = queued.is_here().then(|| session.clone().start_ingest(tx.now()));
    tx.update_upload(started.and_then(Result::ok).as_ref().map_or(session, |(started, _)| started)).await?;
    audit::record(&mut *tx, who.uploader(), event).await?;
    crash_point("complete.committing");
    let committed = tx.commit().await;
    crash_point("complete.committed");
    queued.start(context);
    committed
}

/// What recording a staged part returned. If it was refused, its bytes are discarded and its attempt ends. If it failed
/// and would be refused by now, it is refused.
pub(crate) async fn recorded<T>(
    context: &Context,
    session: UploadId,
    attempt: &Attempt,
    part: &Part,
    recorded: Result<T>,
) -> Result<T> {
    let error = match recorded {
        Ok(recorded) => return Ok(recorded),
        Err(error) => error,
    };
    // When the outcome of the commit is unknown, the part may be recorded: its bytes stay.
    let is_refused = !matches!(error, UseCaseError::Catalog(_));
    if is_refused {
        discard(context, session, part).await;
    }
    let refusal = end_attempt(context, session, attempt).await.filter(|_| !is_refused);
    Err(refusal.unwrap_or(error))
}

/// Discards the bytes of a part that the catalog does not refer to; what fails is left to the end of the upload.
pub(crate) async fn discard(context: &Context, session: UploadId, part: &Part) {
    if let Err(error) = context.blobs.discard(session, part).await {
        let error = error_chain::text(&error);
        tracing::warn!(upload.id = %session, error, "staged part could not be removed; it remains until the upload ends");
    }
}

/// Records that an attempt has ended without a part, and returns why none of it could be recorded any more, if so. If that
/// fails, the next attempt supersedes it.
pub(crate) async fn end_attempt(context: &Context, id: UploadId, attempt: &Attempt) -> Option<UseCaseError> {
    let ended: Result<_> = retrying(|| async {
        let mut tx = context.catalog.begin().await?;
        let session = lock_upload(&mut *tx, id).await?;
        let current = tx.get_part(id, attempt.number).await?;
        let refusal = session.check_attempt(attempt, current.as_ref(), tx.now()).err();
        let (session, is_changed) = session.end_attempt(attempt);
        if is_changed {
            tx.update_upload(&session).await?;
            tx.commit().await?;
        }
        Ok(refusal)
    })
    .await;
    match ended {
        Ok(refusal) => refusal.map(UseCaseError::Upload),
        Err(error) => {
            let error = error_chain::text(&error);
            tracing::debug!(upload.id = %id, error, "end of the attempt could not be recorded");
            None
        }
    }
}

/// The upload with that id, locked.
pub(crate) async fn lock_upload(tx: &mut dyn CatalogTx, id: UploadId) -> Result<UploadSession> {
    tx.lock_upload(id).await?.ok_or(Missing::Upload(id).into())
}
