//! Sweeping: expires unfinished uploads, and removes staged bytes that no upload accounts for.

use crate::{
    audit,
    bytes::clearing::{announce_end, upload_failed},
    context::Context,
    work::{
        recurrence::repeat,
        retry::retrying,
        runtime::{Handler, WorkError},
    },
};
use async_trait::async_trait;
use imgsrv_domain::{
    error_chain,
    ids::UploadId,
    ports::CatalogError,
    work::{Lease, WorkKind},
};
use std::sync::Arc;
use uuid::Uuid;

const BATCH: u16 = 50;

/// The handler that expires uploads and removes abandoned staged bytes. Its work recurs.
pub(crate) struct Sweep(pub(crate) Arc<Context>);

#[async_trait]
impl Handler for Sweep {
    fn kind(&self) -> WorkKind {
        WorkKind::Sweep
    }

    async fn run(&self, lease: &Lease) -> Result<(), WorkError> {
        let expired = self.expire_all().await;
        self.clear_unknown_staging().await?;
        expired?;
        repeat(&*self.0.catalog, lease, self.0.settings.sweep_interval).await?;
        Ok(())
    }
}

impl Sweep {
    /// Expires uploads one by one: one that fails must not delay the others. Returns the last failure.
    async fn expire_all(&self) -> Result<(), WorkError> {
        let (mut after, mut failure) = (UploadId::new(Uuid::nil()), Ok(()));
        loop {
            let expired = {
                let mut tx = self.0.catalog.begin().await?;
                tx.list_expired_uploads(after, BATCH).await?
            };
            let Some(last) = expired.last() else { return failure };
            after = *last;
            for id in expired {
                match retrying(|| self.expire(id)).await {
                    Ok(true) => announce_end(&self.0, id),
                    Ok(false) => {}
                    Err(error) => {
                        tracing::warn!(upload.id = %id, error = error_chain::text(&error), "upload could not be expired");
                        failure = unless_undecodable(error, failure);
                    }
                }
            }
        }
    }

    /// Returns whether the upload has expired.
    async fn expire(&self, id: UploadId) -> Result<bool, CatalogError> {
        let mut tx = self.0.catalog.begin().await?;
        let Some(session) = tx.lock_upload(id).await? else { return Ok(false) };
        let Ok((session, event)) = session.expire(tx.now()) else { return Ok(false) };
        tx.update_upload(&session).await?;
        audit::record(&mut *tx, &self.0.worker_actor(), event).await?;
        upload_failed(&mut *tx, &session).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Clears the staged bytes of uploads that have ended or that the catalog does not contain, such as those of attempts
    /// that a crash interrupted after their upload was cleared.
    async fn clear_unknown_staging(&self) -> Result<(), WorkError> {
        let (mut cleared, mut failure) = (0, Ok(()));
        for id in self.0.blobs.staged_sessions().await? {
            match self.clear_if_ended(id).await {
                Ok(true) => cleared += 1,
                Ok(false) => {}
                Err(error) => {
                    let cause = error_chain::text(&error);
                    tracing::warn!(upload.id = %id, error = cause, "staged data of an ended upload could not be removed");
                    failure = unless_undecodable(error, failure);
                }
            }
        }
        if cleared > 0 {
            tracing::info!(cleared, "staged data of ended uploads removed");
        }
        failure
    }

    async fn clear_if_ended(&self, id: UploadId) -> Result<bool, WorkError> {
        let name = match self.0.catalog.get_upload(id).await? {
            Some(session) if !session.state.has_ended() => return Ok(false),
            Some(session) => Some(session.blob_name()),
            None => None,
        };
        self.0.blobs.clear_staging(id, name.as_ref()).await?;
        Ok(true)
    }
}

/// The failure of a sweep after `error`. A record that cannot be decoded is logged and counted each time, but the sweep
/// succeeds without it.
fn unless_undecodable<E: Into<WorkError>>(error: E, failure: Result<(), WorkError>) -> Result<(), WorkError> {
    match error.into() {
        WorkError::Catalog(CatalogError::Corrupt(_)) => failure,
        error => Err(error),
    }
}
