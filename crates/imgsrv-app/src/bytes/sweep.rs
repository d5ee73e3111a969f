//! Sweeping: unfinished uploads expire, and what ended or crashed uploads left behind goes.

use crate::{
    audit,
    context::Context,
    work::{
        retry::retrying,
        runtime::{Ran, Work, WorkError},
    },
};
use async_trait::async_trait;
use imgsrv_domain::{audit::Actor, ports::CatalogError, upload::UploadSession};
use std::{sync::Arc, time::Duration};

const BATCH: u16 = 50;

/// The worker that expires and clears uploads.
pub struct Sweeper(pub(crate) Arc<Context>);

impl Context {
    pub(crate) fn worker_actor(&self) -> Actor {
        Actor::Worker(self.settings.worker.to_string())
    }

    /// Frees everything that an ended session staged, and its blob name unless that is the one being served.
    pub(crate) async fn clear(&self, session: &UploadSession) -> Result<(), WorkError> {
        let name = session.blob_name();
        let mut tx = self.catalog.begin().await?;
        let stored = tx.is_stored(&name).await?;
        drop(tx);
        // Staging first: without it, nobody who lost the lease can place the blob any more.
        self.blobs.clear_staging(session.id, Some(&name)).await?;
        if !stored {
            self.blobs.remove(&name).await?;
        }
        let mut tx = self.catalog.begin().await?;
        tx.mark_upload_cleared(session.id).await?;
        tx.commit().await?;
        Ok(())
    }
}

#[async_trait]
impl Work for Sweeper {
    fn name(&self) -> &'static str {
        "sweep"
    }

    async fn run_once(&self) -> Result<Ran, WorkError> {
        let expired = retrying(|| self.expire()).await?;
        let uncleared = {
            let mut tx = self.0.catalog.begin().await?;
            tx.lock_uncleared_uploads(BATCH).await?
        };
        let (mut followed, mut failure) = (0, None);
        match self.0.follow_stranded().await {
            Ok(count) => followed = count,
            Err(error) => failure = Some(error),
        }
        for session in &uncleared {
            if let Err(error) = self.0.clear(session).await {
                tracing::warn!(upload.id = %session.id, %error, "an ended upload could not be cleared");
                failure = Some(error);
            }
        }
        let batch = usize::from(BATCH);
        let more = expired == batch || uncleared.len() == batch || followed == batch;
        if more && failure.is_none() {
            return Ok(Ran::Worked);
        }
        // Also when some could not be cleared: they must not keep the others waiting.
        let left = self.clear_leftovers().await;
        failure.map_or(left.map(|()| Ran::Finished), Err)
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

    /// Clears staged leftovers of sessions that have ended or that the catalog does not know: attempts that
    /// a crash cut off after their session was cleared.
    async fn clear_leftovers(&self) -> Result<(), WorkError> {
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
                    tracing::warn!(upload.id = %id, %error, "leftovers of an upload could not be removed");
                    failure = Some(error);
                }
            }
        }
        if cleared > 0 {
            tracing::info!(cleared, "leftovers of uploads were removed");
        }
        failure.map_or(Ok(()), |error| Err(error.into()))
    }
}
