//! Lifecycles of published versions.

use crate::{
    core::{Connection, SqlTx, values},
    repos::{aliases::select as aliases, versions::select as versions},
    rows::lifecycles,
};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::VersionId,
    image::Alias,
    lifecycle::Replacement,
    ports::{CatalogError, LifecycleRepo},
    version::Version,
};

const UPDATE: &str = "UPDATE version_lifecycles SET state = $3, deprecated_at = $4, deprecation_reason = $5,
    deprecation_image = $6, deprecation_ref = $7, end_of_life = $8, revoked_at = $9, revocation_reason = $10,
    revocation_image = $11, revocation_ref = $12, removed_at = $13, removal_reason = $14, removal_image = $15,
    removal_ref = $16, available_until = $17, tombstone_at = $18, hold_reason = $19, hold_until = $20,
    hold_lifts_at = $21, changed_at = $22, catalog_revision = (SELECT revision FROM catalog_revision),
    revision = revision + 1 WHERE version_id = $1 AND revision = $2";
const ALIASES: &str = aliases!("WHERE a.version_id = $1 ORDER BY a.name");
const REPLACEMENT: &str = versions!(
    "WHERE i.name = $1 AND v.state = 'published' AND v.id = coalesce(
        (SELECT id FROM versions WHERE image_id = i.id AND name = $2),
        (SELECT version_id FROM aliases WHERE image_id = i.id AND name = $2))"
);
/// From the index of versions that are drained; in the order of their ids, all published versions would be looked at.
const DRAINED: &str = versions!(
    "WHERE v.id IN (SELECT version_id FROM version_lifecycles WHERE state = 'removed' AND available_until <= $1
        AND (hold_reason IS NULL OR hold_until <= $1 OR hold_lifts_at <= $1) AND version_id > $2)
    ORDER BY v.id LIMIT $3"
);
pub(crate) const STATEMENTS: &[&str] = &[UPDATE, ALIASES, REPLACEMENT, DRAINED];

#[async_trait]
impl<C: Connection> LifecycleRepo for SqlTx<C> {
    async fn update_lifecycle(&mut self, version: &Version) -> Result<(), CatalogError> {
        let values = lifecycles::values(version.id, &version.lifecycle);
        self.execute_fenced(UPDATE, values).await
    }

    async fn list_aliases_of(&mut self, version: VersionId) -> Result<Vec<Alias>, CatalogError> {
        self.list(ALIASES, values![version]).await
    }

    async fn get_replacement(&mut self, replacement: &Replacement) -> Result<Option<Version>, CatalogError> {
        self.find(REPLACEMENT, values![replacement.image, replacement.reference]).await
    }

    async fn list_drained_versions(&mut self, after: VersionId, limit: u16) -> Result<Vec<Version>, CatalogError> {
        let now = self.time();
        self.list_decodable(DRAINED, values![now, after, i64::from(limit)]).await
    }
}
