//! Storing bytes that this server created itself, as an upload like any other.

use crate::{
    auth::caller::Writer,
    bytes::{
        ingest::Ingest,
        uploads::{PartBody, Uploads},
    },
    context::Context,
    error::Result,
    work::runtime::Ran,
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

/// Time between checks whether a worker that acquired the ingest first has finished it.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

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
    let session = uploads.create(who, new).await?;
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
    uploads.complete_quietly(who, session.id, &listed).await?;
    let ingest = Ingest(Arc::clone(context));
    loop {
        match ingest.run(Some(session.id)).await? {
            Ran::Worked | Ran::Finished => return Ok(claim),
            // A worker has acquired it first.
            Ran::Idle => tokio::time::sleep(POLL_INTERVAL).await,
        }
        match uploads.get(who, session.id).await?.state {
            UploadState::Ready(_) => return Ok(claim),
            UploadState::Failed { .. } | UploadState::Aborted { .. } => return Err(BlobError::Damaged.into()),
            UploadState::Receiving(_) | UploadState::Completed { .. } | UploadState::Ingesting { .. } => {}
        }
    }
}
