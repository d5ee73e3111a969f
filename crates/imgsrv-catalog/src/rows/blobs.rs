//! Rows of trusted blobs.

use crate::rows::decode::{Corrupt, claim};
use crate::rows::time::SqlTime;
use imgsrv_domain::ports::{BlobName, TrustedBlob};

/// A row of `blobs`.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct BlobRow {
    pub(crate) digest: String,
    pub(crate) size_bytes: i64,
    pub(crate) storage_name: String,
    pub(crate) created_at: SqlTime,
}

impl TryFrom<BlobRow> for TrustedBlob {
    type Error = Corrupt;

    fn try_from(row: BlobRow) -> Result<Self, Corrupt> {
        Ok(Self {
            claim: claim("blob", &row.digest, row.size_bytes)?,
            name: BlobName::restore(row.storage_name),
            created_at: row.created_at.into(),
        })
    }
}
