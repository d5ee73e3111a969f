//! Clearing the staging of an upload that has ended.

use crate::{context::Context, work::runtime::WorkError};
use imgsrv_domain::upload::UploadSession;

/// Removes everything that an ended upload staged, and the blob with its name unless that blob is in use.
pub(crate) async fn clear_upload(context: &Context, session: &UploadSession) -> Result<(), WorkError> {
    let name = session.blob_name();
    let mut tx = context.catalog.begin().await?;
    let is_stored = tx.is_stored(&name).await?;
    drop(tx);
    // Staging first: without it, a worker that lost the lease can no longer place the blob.
    context.blobs.clear_staging(session.id, Some(&name)).await?;
    if !is_stored {
        context.blobs.remove(&name).await?;
    }
    let mut tx = context.catalog.begin().await?;
    tx.mark_upload_cleared(session.id).await?;
    tx.commit().await?;
    Ok(())
}

/// The same for callers that do not depend on it: what fails is left to the sweeper.
pub(crate) async fn clear_or_leave(context: &Context, session: &UploadSession) {
    if let Err(error) = clear_upload(context, session).await {
        tracing::warn!(upload.id = %session.id, %error, "upload not cleared; the sweeper will retry");
    }
}
