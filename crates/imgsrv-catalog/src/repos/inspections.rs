//! Inspection results and warnings of publish steps.

use crate::core::{Connection, SqlTx, values};
use async_trait::async_trait;
use imgsrv_domain::{
    digest::Digest,
    ids::{ArtifactId, VersionId},
    inspection::{Inspection, Warning},
    packages::PackageList,
    ports::{CatalogError, InspectionRepo},
};

const INSERT_INSPECTION: &str = "INSERT INTO inspections (artifact_id, version_id, detected_format,
    virtual_size_bytes, cluster_size_bytes, compression) VALUES ($1, $2, $3, $4, $5, $6)";
const DELETE_INSPECTIONS: &str = "DELETE FROM inspections WHERE version_id = $1";
const INSERT_PACKAGES: &str = "INSERT INTO package_lists (digest, packages) VALUES ($1, $2) ON CONFLICT DO NOTHING";
const INSERT_WARNING: &str = "INSERT INTO publish_warnings (version_id, step, sequence, artifact_id, reason)
    VALUES ($1, $2, $3, $4, $5)";
const DELETE_WARNINGS: &str = "DELETE FROM publish_warnings WHERE version_id = $1";
pub(crate) const STATEMENTS: &[&str] =
    &[INSERT_INSPECTION, DELETE_INSPECTIONS, INSERT_PACKAGES, INSERT_WARNING, DELETE_WARNINGS];

#[async_trait]
impl<C: Connection> InspectionRepo for SqlTx<C> {
    async fn insert_inspection(
        &mut self,
        version: VersionId,
        artifact: ArtifactId,
        inspection: &Inspection,
    ) -> Result<(), CatalogError> {
        let Inspection { detected, virtual_size, cluster_size, compression } = inspection;
        let values = values![artifact, version, detected, virtual_size, cluster_size, compression];
        self.execute(INSERT_INSPECTION, values).await.map(drop)
    }

    async fn delete_inspections(&mut self, version: VersionId) -> Result<(), CatalogError> {
        self.execute(DELETE_INSPECTIONS, values![version]).await.map(drop)
    }

    async fn insert_package_list(&mut self, digest: Digest, list: &PackageList) -> Result<(), CatalogError> {
        self.execute(INSERT_PACKAGES, values![digest, list]).await.map(drop)
    }

    async fn insert_warnings(&mut self, version: VersionId, warnings: &[Warning]) -> Result<(), CatalogError> {
        for (sequence, warning) in (1_i64..).zip(warnings) {
            let Warning { step, artifact, reason } = warning;
            self.execute(INSERT_WARNING, values![version, step, sequence, artifact, reason]).await?;
        }
        Ok(())
    }

    async fn delete_warnings(&mut self, version: VersionId) -> Result<(), CatalogError> {
        self.execute(DELETE_WARNINGS, values![version]).await.map(drop)
    }
}
