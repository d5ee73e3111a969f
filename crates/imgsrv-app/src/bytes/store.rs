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

/// Stores `bytes`. Returns when they are a trusted blob.
pub(crate) async fn store_blob(
    context: &Arc<Context>,
    who: &Writer,
    bytes: Vec<u8>,
    media_type: &MediaType,
) -> Result<BlobClaim> {
    let claim = BlobClaim::of(&bytes);
    let uploads = Uploads(Arc::clone(context));
    let new = NewUpload { claim, media_type_hint: Some(media_type.clone()), filename_hint: None };
    let session = uploads.create(who, new, None).await?;
    if matches!(session.state, UploadState::Ready(_)) {
        return Ok(claim);
    }
    let number = PartNumber::FIRST;
    let body = PartBody {
        declared: Some(claim.size.get()),
        checksum: Some(claim.digest),
        bytes: stream::once(async move { Ok(Bytes::from(bytes)) }).boxed(),
        slot: None,
    };
    let part = uploads.put_part(who, session.id, number, body).await?;
    let listed = [ListedPart { number, attempt: part.attempt, size: part.size }];
    let mut ended = context.endings.listen();
    uploads.complete(who, session.id, &listed).await?;
    let worker = Worker { context: Arc::clone(context), handler: Arc::new(Ingest(Arc::clone(context))) };
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        // Here and now, if no worker has acquired it first.
        let (worker, subject) = (worker.clone(), session.id.uuid());
        detached(async move { worker.run_for(subject).await }).await?;
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
