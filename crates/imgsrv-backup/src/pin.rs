//! The lease that keeps collections from deleting blobs during an export.

use crate::error::BackupError;
use imgsrv_domain::{
    error_chain,
    ports::{BackupCatalog, CatalogError},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// How long it lasts after its last renewal: so long does an export that was killed delay collections.
const TERM: Duration = Duration::from_mins(2);
const RENEWAL: Duration = Duration::from_secs(20);
/// How often a collection in progress may delay its start.
const ATTEMPTS: u32 = 10;

/// A lease that a task renews.
pub(crate) struct Pin {
    catalog: Arc<dyn BackupCatalog>,
    id: Uuid,
    is_lost: Arc<AtomicBool>,
    renewing: JoinHandle<()>,
}

impl Pin {
    /// Acquires it.
    pub(crate) async fn acquire(catalog: Arc<dyn BackupCatalog>, id: Uuid) -> Result<Self, CatalogError> {
        let mut attempt = 1;
        while let Err(error) = catalog.acquire_pin(id, TERM).await {
            if attempt == ATTEMPTS || !matches!(error, CatalogError::Retryable(_)) {
                return Err(error);
            }
            attempt += 1;
        }
        let is_lost = Arc::new(AtomicBool::new(false));
        let renewing = tokio::spawn(renew(Arc::clone(&catalog), id, Arc::clone(&is_lost)));
        Ok(Self { catalog, id, is_lost, renewing })
    }

    /// Fails if it is known to be lost.
    pub(crate) fn check(&self) -> Result<(), BackupError> {
        if self.is_lost.load(Ordering::Relaxed) { Err(BackupError::PinLost) } else { Ok(()) }
    }

    /// Fails unless it has held without interruption until now.
    pub(crate) async fn confirm(&self) -> Result<(), BackupError> {
        if self.catalog.renew_pin(self.id, TERM).await? { Ok(()) } else { Err(BackupError::PinLost) }
    }

    /// Releases it.
    pub(crate) async fn release(self) -> Result<(), CatalogError> {
        self.renewing.abort();
        self.catalog.release_pin(self.id).await
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

async fn renew(catalog: Arc<dyn BackupCatalog>, id: Uuid, is_lost: Arc<AtomicBool>) {
    loop {
        tokio::time::sleep(RENEWAL).await;
        match catalog.renew_pin(id, TERM).await {
            Ok(true) => {}
            Ok(false) => return is_lost.store(true, Ordering::Relaxed),
            // The next renewal may succeed before its end.
            Err(error) => tracing::warn!(error = error_chain::text(&error), "export lease not renewed"),
        }
    }
}
