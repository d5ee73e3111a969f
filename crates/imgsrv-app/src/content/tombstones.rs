//! Making removed versions tombstones once their drain has ended.

use crate::{
    audit,
    context::Context,
    work::{
        recurrence::repeat,
        retry::retrying,
        runtime::{Handler, WorkError},
    },
};
use async_trait::async_trait;
use imgsrv_domain::{
    audit::Event,
    error_chain,
    ids::VersionId,
    ports::CatalogError,
    version::Version,
    work::{Lease, WorkKind},
};
use std::sync::Arc;
use uuid::Uuid;

const BATCH: u16 = 50;

/// The handler that records the end of drains. Its work recurs.
pub(crate) struct Tombstones(pub(crate) Arc<Context>);

#[async_trait]
impl Handler for Tombstones {
    fn kind(&self) -> WorkKind {
        WorkKind::Tombstone
    }

    async fn run(&self, lease: &Lease) -> Result<(), WorkError> {
        self.entomb_all().await?;
        repeat(&*self.0.catalog, lease, self.0.settings.sweep_interval).await?;
        Ok(())
    }
}

impl Tombstones {
    /// Records the drains that have ended, one by one: one that fails must not delay the others. Returns the last failure.
    async fn entomb_all(&self) -> Result<(), CatalogError> {
        let (mut after, mut failure) = (VersionId::new(Uuid::nil()), Ok(()));
        loop {
            let drained = {
                let mut tx = self.0.catalog.begin().await?;
                tx.list_drained_versions(after, BATCH).await?
            };
            let Some(last) = drained.last() else { return failure };
            after = last.id;
            for version in &drained {
                if let Err(error) = retrying(|| self.entomb(version)).await {
                    let (path, cause) = (version.path(), error_chain::text(&error));
                    tracing::warn!(version = path, error = cause, "removed version could not become a tombstone");
                    failure = Err(error);
                }
            }
        }
    }

    /// Makes a version a tombstone, unless it was restored or held in the meantime.
    async fn entomb(&self, drained: &Version) -> Result<(), CatalogError> {
        let mut tx = self.0.catalog.begin().await?;
        tx.lock_image(&drained.image).await?;
        let Some(version) = tx.lock_version_by_id(drained.id).await? else { return Ok(()) };
        let Some((lifecycle, Some(action))) = version.lifecycle.clone().entomb(tx.now()) else { return Ok(()) };
        audit::record(&mut *tx, &self.0.worker_actor(), Event::new(action, version.path())).await?;
        // Collection looks whether other versions refer to them as well.
        tx.release_blobs(version.id).await?;
        tx.bump_catalog_revision(version.image_id).await?;
        tx.update_lifecycle(&version.with_lifecycle(lifecycle)).await?;
        self.0.revision.commit(tx).await
    }
}
