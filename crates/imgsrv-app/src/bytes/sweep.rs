//! Sweeping: expires unfinished uploads, clears the staging of ended ones, and fails intakes whose upload or job has ended.

use crate::{
    audit,
    bytes::clearing::clear_upload,
    context::Context,
    intakes::follow,
    work::{
        retry::retrying,
        runtime::{Ran, Work, WorkError},
    },
};
use async_trait::async_trait;
use imgsrv_domain::ports::CatalogError;
use std::{sync::Arc, time::Duration};

const BATCH: u16 = 50;

/// The worker that expires and clears uploads.
pub struct Sweeper(pub(crate) Arc<Context>);

#[async_trait]
impl Work for Sweeper {
    fn name(&self) -> &'static str {
        "sweep"
    }

    #[tracing::instrument(name = "sweep", level = "debug", skip_all, err(level = "debug"))]
    async fn run_once(&self) -> Result<Ran, WorkError> {
        let expired = retrying(|| self.expire()).await?;
        let uncleared = {
            let mut tx = self.0.catalog.begin().await?;
            tx.lock_uncleared_uploads(BATCH).await?
        };
        let (followed, mut failure) = match follow::follow_stranded(&self.0).await {
            Ok(count) => (count, None),
            Err(error) => (0, Some(error)),
        };
        for session in &uncleared {
            if let Err(error) = clear_upload(&self.0, session).await {
                tracing::warn!(upload.id = %session.id, %error, "ended upload not cleared");
                failure = Some(error);
            }
        }
        let has_more = [expired, uncleared.len(), followed].contains(&usize::from(BATCH));
        if has_more && failure.is_none() {
            return Ok(Ran::Worked);
        }
        // Also after failures: uploads that cannot be cleared must not delay the others.
        let swept = self.clear_unknown_staging().await;
        failure.map_or(swept.map(|()| Ran::Finished), Err)
    }

    async fn wait(&self) {
        std::future::pending::<()>().await;
    }

    async fn next_due(&self) -> Option<Duration> {
        None
    }
}

impl Sweeper {
    async fn expire(&self) -> Result<usize, CatalogError> {
        let mut tx = self.0.catalog.begin().await?;
        let expired = tx.lock_expired_uploads(BATCH).await?;
        let count = expired.len();
        let now = tx.now();
        for session in expired {
            let Ok((session, event)) = session.expire(now) else { continue };
            tx.update_upload(&session).await?;
            audit::record(&mut *tx, &self.0.worker_actor(), event).await?;
        }
        tx.commit().await?;
        Ok(count)
    }

    /// Clears what is staged for uploads that have ended or that the catalog does not know: attempts that a crash
    /// interrupted after their upload was cleared.
    async fn clear_unknown_staging(&self) -> Result<(), WorkError> {
        let (mut cleared, mut failure) = (0, None);
        for id in self.0.blobs.staged_sessions().await? {
            let name = match self.0.catalog.get_upload(id).await? {
                Some(session) if !session.state.has_ended() => continue,
                Some(session) => Some(session.blob_name()),
                None => None,
            };
            match self.0.blobs.clear_staging(id, name.as_ref()).await {
                Ok(()) => cleared += 1,
                Err(error) => {
                    tracing::warn!(upload.id = %id, %error, "staged bytes of an ended upload not removed");
                    failure = Some(error);
                }
            }
        }
        if cleared > 0 {
            tracing::info!(cleared, "staged bytes of ended uploads removed");
        }
        failure.map_or(Ok(()), |error| Err(error.into()))
    }
}
