//! Storing bytes that this server created itself, as an upload like any other.

use crate::{
    auth::caller::Writer,
    bytes::{
        ingest::Ingest,
        uploads::{PartBody, Uploads},
    },
    context::Context,
    error::Result,
    work::{detach::detached, worker::Worker},
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use imgsrv_domain::{
    digest::BlobClaim,
    error_chain,
    ids::UploadId,
    names::PartNumber,
    parts::ListedPart,
    ports::BlobError,
    text::MediaType,
    upload::{NewUpload, UploadState},
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout};

/// How long the bytes may take to become trusted.
const LIMIT: Duration = Duration::from_secs(30);
/// The longest interval between two polls of the upload: notifications do not cover ingests on other nodes.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Stores `bytes`. Returns when they are a trusted blob. On failure, and when the caller is dropped, no upload is left that
/// waits for parts.
pub(crate) async fn store_blob(
    context: &Arc<Context>,
    who: &Writer,
    bytes: Vec<u8>,
    media_type: &MediaType,
) -> Result<BlobClaim> {
    let (context, who, media_type) = (Arc::clone(context), who.clone(), media_type.clone());
    detached(async move { store(&context, &who, bytes, media_type).await }).await
}

async fn store(context: &Arc<Context>, who: &Writer, bytes: Vec<u8>, media_type: MediaType) -> Result<BlobClaim> {
    let claim = BlobClaim::of(&bytes);
    let uploads = Uploads(Arc::clone(context));
    let new = NewUpload { claim, media_type_hint: Some(media_type), filename_hint: None };
    let session = uploads.create(who, new, None).await?;
    if matches!(session.state, UploadState::Ready(_)) {
        return Ok(claim);
    }
    let mut ended = context.endings.listen();
    if let Err(error) = send(&uploads, who, session.id, claim, bytes).await {
        if let Err(open) = uploads.end(who, session.id).await {
            let error = error_chain::text(&open);
            tracing::warn!(upload.id = %session.id, error, "failed upload could not be aborted; it will expire");
        }
        return Err(error);
    }
    let worker = Worker { context: Arc::clone(context), handler: Arc::new(Ingest(Arc::clone(context))) };
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        // Ingest it in this task, unless a worker has acquired it first.
        worker.run_for(session.id.uuid()).await?;
        match uploads.get(who, session.id).await?.state {
            UploadState::Ready(_) => return Ok(claim),
            UploadState::Failed { .. } | UploadState::Aborted { .. } => return Err(BlobError::Damaged.into()),
            UploadState::Receiving(_) | UploadState::Completed(_) | UploadState::Ingesting(_) => {}
        }
        // A timeout means that it is time to poll again.
        let _ = timeout(LONGEST_WAIT, ended.end_of(session.id)).await;
    }
    Err(BlobError::unavailable("the bytes were not ingested in time").into())
}

/// Sends `bytes` as the only part of an upload, and completes it.
async fn send(uploads: &Uploads, who: &Writer, id: UploadId, claim: BlobClaim, bytes: Vec<u8>) -> Result<()> {
    let number = PartNumber::FIRST;
    let body = PartBody {
        declared: Some(claim.size.get()),
        checksum: Some(claim.digest),
        bytes: stream::once(async move { Ok(Bytes::from(bytes)) }).boxed(),
        slot: None,
    };
    let part = uploads.put_part(who, id, number, body).await?;
    let listed = [ListedPart { number, attempt: part.attempt, size: part.size }];
    uploads.complete(who, id, &listed).await.map(drop)
}
