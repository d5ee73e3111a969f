//! What publishing finds out about frozen versions.

use crate::{
    Connection, PairRow, SqlTx,
    core::value::{Value, values},
};
use async_trait::async_trait;
use imgsrv_domain::{
    digest::ByteSize,
    ids::{ArtifactId, VersionId},
    inspection::{ClusterCompression, DetectedFormat, IncusRow, Inspection, Warning},
    ports::{CatalogError, FindingRepo, FingerprintProgress, Pair},
    publish::StepName,
};

const CLEAR_INSPECTIONS: &str = "DELETE FROM inspections WHERE version_id = $1";
const CLEAR_ROWS: &str = "DELETE FROM incus_rows WHERE version_id = $1";
const CLEAR_WARNINGS: &str = "DELETE FROM publish_warnings WHERE version_id = $1 AND step = $2";
const INSERT_INSPECTION: &str = "INSERT INTO inspections (artifact_id, version_id, detected_format,
    virtual_size_bytes, cluster_size_bytes, compression) VALUES ($1, $2, $3, $4, $5, $6)";
const INSERT_WARNING: &str = "INSERT INTO publish_warnings (version_id, step, sequence, artifact_id, reason)
    VALUES ($1, $2, $3, $4, $5)";
const INSERT_ROW: &str = "INSERT INTO incus_rows (artifact_id, version_id, attachment_id, fingerprint)
    VALUES ($1, $2, $3, $4)";
const LIST_ROWS: &str = "UPDATE incus_rows SET catalog_revision = (SELECT revision FROM catalog_revision)
    WHERE version_id = $1";
const FIND_PAIR: &str = "SELECT hashed_bytes, hashed_state, root_bytes, root_state, fingerprint FROM incus_pairs
    WHERE metadata_digest = $1 AND root_digest = $2";
const UPDATE_PAIR: &str =
    "UPDATE incus_pairs SET hashed_bytes = $3, hashed_state = $4, root_bytes = $5, root_state = $6,
    fingerprint = $7
    WHERE metadata_digest = $1 AND root_digest = $2 AND fingerprint IS NULL";
const INSERT_PAIR: &str =
    "INSERT INTO incus_pairs (metadata_digest, root_digest, hashed_bytes, hashed_state, root_bytes,
    root_state, fingerprint) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (metadata_digest, root_digest) DO NOTHING";
const FORGET_PAIR: &str =
    "DELETE FROM incus_pairs WHERE metadata_digest = $1 AND root_digest = $2 AND fingerprint IS NULL";
pub(crate) const STATEMENTS: &[&str] = &[
    CLEAR_INSPECTIONS,
    CLEAR_ROWS,
    CLEAR_WARNINGS,
    INSERT_INSPECTION,
    INSERT_WARNING,
    INSERT_ROW,
    LIST_ROWS,
    FIND_PAIR,
    UPDATE_PAIR,
    INSERT_PAIR,
    FORGET_PAIR,
];

#[async_trait]
impl<C: Connection> FindingRepo for SqlTx<C> {
    async fn clear_findings(&mut self, version: VersionId, step: Option<StepName>) -> Result<(), CatalogError> {
        let steps = step.map_or_else(|| StepName::ALL.to_vec(), |step| vec![step]);
        for step in steps {
            let found = match step {
                StepName::ValidateCatalog => Some(CLEAR_INSPECTIONS),
                StepName::IncusIndex => Some(CLEAR_ROWS),
                StepName::FinalizePublish => None,
            };
            if let Some(found) = found {
                self.execute(found, values![version.uuid()]).await?;
            }
            self.execute(CLEAR_WARNINGS, values![version.uuid(), step.as_str()]).await?;
        }
        Ok(())
    }

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

    async fn insert_warnings(&mut self, version: VersionId, warnings: &[Warning]) -> Result<(), CatalogError> {
        for (sequence, warning) in (1_i64..).zip(warnings) {
            let values =
                values![version.uuid(), warning.step.as_str(), sequence, warning.artifact.uuid(), &warning.reason,];
            self.execute(INSERT_WARNING, values).await?;
        }
        Ok(())
    }

    async fn insert_incus_row(&mut self, version: VersionId, row: &IncusRow) -> Result<(), CatalogError> {
        let values = values![row.artifact.uuid(), version.uuid(), row.attachment.uuid(), row.fingerprint.to_string()];
        self.execute(INSERT_ROW, values).await.map(drop)
    }

    async fn list_in_streams(&mut self, version: VersionId) -> Result<(), CatalogError> {
        self.execute(LIST_ROWS, values![version.uuid()]).await.map(drop)
    }

    async fn get_fingerprint(&mut self, pair: &Pair) -> Result<Option<FingerprintProgress>, CatalogError> {
        let values = values![pair.metadata.to_string(), pair.root.to_string()];
        self.find::<PairRow, _>(FIND_PAIR, values).await
    }

    async fn save_fingerprint(&mut self, pair: &Pair, hash: &FingerprintProgress) -> Result<(), CatalogError> {
        let mut values = values![pair.metadata.to_string(), pair.root.to_string()];
        let (begun, done) = match hash {
            FingerprintProgress::Begun { pair, root } => (Some([pair, root]), None),
            FingerprintProgress::Done(digest) => (None, Some(digest.to_string())),
        };
        for at in 0..2 {
            let state = begun.map(|begun| begun[at]);
            values.push(state.map(|state| i64::try_from(state.bytes).unwrap_or(i64::MAX)).into());
            values.push(Value::Bytes(state.map(|state| state.state.to_vec())));
        }
        values.push(Value::Text(done));
        if self.execute(UPDATE_PAIR, values.clone()).await? == 0 {
            self.execute(INSERT_PAIR, values).await?;
        }
        Ok(())
    }

    async fn delete_fingerprint(&mut self, pair: &Pair) -> Result<(), CatalogError> {
        self.execute(FORGET_PAIR, values![pair.metadata.to_string(), pair.root.to_string()]).await.map(drop)
    }
}
