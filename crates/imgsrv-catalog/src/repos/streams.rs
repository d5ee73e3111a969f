//! The stream index: its rows and fingerprints.

use crate::core::{Connection, Corrupt, Record, Row, SqlTx, values};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::VersionId,
    inspection::{IncusLayout, IncusRow},
    ports::{CatalogError, FingerprintKey, FingerprintProgress, StreamIndexRepo},
};

const INSERT_ROW: &str = "INSERT INTO incus_rows (artifact_id, version_id, attachment_id, unified_kind, fingerprint,
    properties, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";
const DELETE_ROWS: &str = "DELETE FROM incus_rows WHERE version_id = $1";
const PUBLISH_ROWS: &str = "UPDATE incus_rows SET catalog_revision = (SELECT revision FROM catalog_revision)
    WHERE version_id = $1";
const GET_FINGERPRINT: &str = "SELECT combined_bytes, combined_state, root_bytes, root_state, fingerprint
    FROM incus_fingerprints WHERE metadata_digest = $1 AND root_digest = $2";
const SAVE_FINGERPRINT: &str = "INSERT INTO incus_fingerprints (metadata_digest, root_digest, combined_bytes,
    combined_state, root_bytes, root_state, fingerprint, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (metadata_digest, root_digest) DO UPDATE SET combined_bytes = excluded.combined_bytes,
    combined_state = excluded.combined_state, root_bytes = excluded.root_bytes, root_state = excluded.root_state,
    fingerprint = excluded.fingerprint, updated_at = excluded.updated_at WHERE incus_fingerprints.fingerprint IS NULL";
const DELETE_FINGERPRINT: &str =
    "DELETE FROM incus_fingerprints WHERE metadata_digest = $1 AND root_digest = $2 AND fingerprint IS NULL";
pub(crate) const STATEMENTS: &[&str] =
    &[INSERT_ROW, DELETE_ROWS, PUBLISH_ROWS, GET_FINGERPRINT, SAVE_FINGERPRINT, DELETE_FINGERPRINT];

#[async_trait]
impl<C: Connection> StreamIndexRepo for SqlTx<C> {
    async fn insert_stream_row(&mut self, version: VersionId, row: &IncusRow) -> Result<(), CatalogError> {
        let IncusRow { artifact, layout, fingerprint, properties, expires_at } = row;
        let (attachment, unified) = match layout {
            IncusLayout::Split(attachment) => (Some(*attachment), None),
            IncusLayout::Unified(kind) => (None, Some(*kind)),
        };
        let values = values![artifact, version, attachment, unified, fingerprint, properties, expires_at];
        self.execute(INSERT_ROW, values).await.map(drop)
    }

    async fn delete_stream_rows(&mut self, version: VersionId) -> Result<(), CatalogError> {
        self.execute(DELETE_ROWS, values![version]).await.map(drop)
    }

    async fn publish_stream_rows(&mut self, version: VersionId) -> Result<(), CatalogError> {
        self.execute(PUBLISH_ROWS, values![version]).await.map(drop)
    }

    async fn get_fingerprint(&mut self, key: &FingerprintKey) -> Result<Option<FingerprintProgress>, CatalogError> {
        self.find(GET_FINGERPRINT, values![key.metadata, key.root]).await
    }

    async fn save_fingerprint(
        &mut self,
        key: &FingerprintKey,
        progress: &FingerprintProgress,
    ) -> Result<(), CatalogError> {
        let (combined, root, done) = match progress {
            FingerprintProgress::Begun { combined, root } => (Some(combined), Some(root), None),
            FingerprintProgress::Done(digest) => (None, None, Some(*digest)),
        };
        let mut values = values![key.metadata, key.root];
        for hash in [combined, root] {
            values.extend(values![hash.map(|hash| hash.bytes), hash.map(|hash| hash.state)]);
        }
        values.extend(values![done, self.time()]);
        self.execute(SAVE_FINGERPRINT, values).await.map(drop)
    }

    async fn delete_fingerprint(&mut self, key: &FingerprintKey) -> Result<(), CatalogError> {
        self.execute(DELETE_FINGERPRINT, values![key.metadata, key.root]).await.map(drop)
    }
}

impl Record for FingerprintProgress {
    const WHAT: &'static str = "fingerprint";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let combined = row.hash("combined_bytes", "combined_state")?;
        let root = row.hash("root_bytes", "root_state")?;
        match (row.optional("fingerprint")?, combined, root) {
            (Some(digest), None, None) => Ok(Self::Done(digest)),
            (None, Some(combined), Some(root)) => Ok(Self::Begun { combined, root }),
            _ => Err(row.corrupt("it is neither started nor finished")),
        }
    }
}
