//! The follow-up of the end of an upload: its staged data is removed, and its intake continues.

use crate::{
    context::Context,
    intakes::follow,
    work::{
        crash_point::crash_point,
        queued::{Queued, queue},
        retry::retrying,
        runtime::{Handler, WorkError},
    },
};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::UploadId,
    ports::{CatalogError, CatalogTx},
    upload::UploadSession,
    work::{Lease, WorkKind, WorkName},
};
use std::sync::Arc;

/// Every transaction in which an upload ends without becoming ready calls this, and [`announce_end`] follows.
pub(crate) async fn upload_failed(tx: &mut dyn CatalogTx, session: &UploadSession) -> Result<(), CatalogError> {
    tx.enqueue_work(WorkName::clear(session.id)).await?;
    follow::upload_failed(tx, session).await
}

/// Every transaction in which an upload becomes ready calls this. Returns what it queued, to be started after the commit.
pub(crate) async fn upload_ready(
    context: &Context,
    tx: &mut dyn CatalogTx,
    session: &UploadSession,
) -> Result<Vec<Queued>, CatalogError> {
    let clearing = queue(context, tx, WorkName::clear(session.id)).await?;
    let publishing = follow::upload_ready(context, tx, session).await?;
    Ok([clearing].into_iter().chain(publishing).collect())
}

/// Called once the failure of an upload is committed: wakes the workers that clear it, and the requests that wait for the
/// end of its ingest.
pub(crate) fn announce_end(context: &Context, upload: UploadId) {
    context.wakeups.wake(WorkKind::Clear);
    context.endings.announce(upload);
}

/// The handler that removes what an ended upload has staged, and its blob unless that is in use.
pub(crate) struct Clear(pub(crate) Arc<Context>);

#[async_trait]
impl Handler for Clear {
    fn kind(&self) -> WorkKind {
        WorkKind::Clear
    }

    async fn run(&self, lease: &Lease) -> Result<(), WorkError> {
        let id = UploadId::new(lease.work.subject);
        let ended = self.0.catalog.get_upload(id).await?.filter(|session| session.state.has_ended());
        if let Some(session) = ended {
            let name = session.blob_name();
            // Staging first: without it, a worker that lost the lease can no longer place the blob, nor place it again after
            // it was collected.
            self.0.blobs.clear_staging(id, Some(&name)).await?;
            crash_point("clear.unstaged");
            let is_stored = {
                let mut tx = self.0.catalog.begin().await?;
                tx.is_stored(&name).await?
            };
            if !is_stored {
                self.0.blobs.remove(&name).await?;
            }
        }
        crash_point("clear.removed");
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            if tx.finish_work(lease).await? {
                tx.delete_parts(id).await?;
                tx.commit().await?;
            }
            Ok::<_, CatalogError>(())
        })
        .await?;
        Ok(())
    }
}
