//! Inspection results and warnings of publish steps.

use crate::core::{connection::Connection, tx::SqlTx, value::values};
use async_trait::async_trait;
use imgsrv_domain::{
    digest::ByteSize,
    ids::{ArtifactId, VersionId},
    inspection::{ClusterCompression, DetectedFormat, Inspection, Warning},
    ports::{CatalogError, InspectionRepo},
    publish::StepName,
};

const INSERT_INSPECTION: &str = "INSERT INTO inspections (artifact_id, version_id, detected_format,
    virtual_size_bytes, cluster_size_bytes, compression) VALUES ($1, $2, $3, $4, $5, $6)";
const DELETE_INSPECTIONS: &str = "DELETE FROM inspections WHERE version_id = $1";
const INSERT_WARNING: &str = "INSERT INTO publish_warnings (version_id, step, sequence, artifact_id, reason)
    VALUES ($1, $2, $3, $4, $5)";
const DELETE_WARNINGS: &str = "DELETE FROM publish_warnings WHERE version_id = $1 AND step = coalesce($2, step)";
pub(crate) const STATEMENTS: &[&str] = &[INSERT_INSPECTION, DELETE_INSPECTIONS, INSERT_WARNING, DELETE_WARNINGS];

#[async_trait]
impl<C: Connection> InspectionRepo for SqlTx<C> {
    async fn insert_inspection(
        &mut self,
        version: VersionId,
        artifact: ArtifactId,
        inspection: &Inspection,
    ) -> Result<(), CatalogError> {
        let values = values![
            artifact.uuid(),
            version.uuid(),
            inspection.detected.map(DetectedFormat::as_str),
            inspection.virtual_size.map(ByteSize::signed),
            inspection.cluster_size.map(ByteSize::signed),
            inspection.compression.map(ClusterCompression::as_str),
        ];
        self.execute(INSERT_INSPECTION, values).await.map(drop)
    }

    async fn delete_inspections(&mut self, version: VersionId) -> Result<(), CatalogError> {
        self.execute(DELETE_INSPECTIONS, values![version.uuid()]).await.map(drop)
    }

    async fn insert_warnings(&mut self, version: VersionId, warnings: &[Warning]) -> Result<(), CatalogError> {
        for (sequence, warning) in (1_i64..).zip(warnings) {
            let values =
                values![version.uuid(), warning.step.as_str(), sequence, warning.artifact.uuid(), &warning.reason];
            self.execute(INSERT_WARNING, values).await?;
        }
        Ok(())
    }

    async fn delete_warnings(&mut self, version: VersionId, step: Option<StepName>) -> Result<(), CatalogError> {
        let values = values![version.uuid(), step.map(StepName::as_str)];
        self.execute(DELETE_WARNINGS, values).await.map(drop)
    }
}
