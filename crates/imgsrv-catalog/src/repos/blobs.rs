//! Trusted blobs.

use crate::core::{Connection, Corrupt, Record, Row, SqlTx, values};
use async_trait::async_trait;
use imgsrv_domain::{
    digest::Digest,
    ports::{BlobLedger, BlobName, CatalogError, TrustedBlob},
};

pub(crate) const GET: &str = "SELECT digest, size_bytes, storage_name, created_at FROM blobs
    WHERE digest = $1 AND state = 'trusted'";
const IS_STORED: &str = "SELECT EXISTS (SELECT 1 FROM blobs WHERE storage_name = $1)";
const REPLACE: &str = "UPDATE blobs SET storage_name = $3, state = 'trusted', created_at = $4
    WHERE digest = $1 AND size_bytes = $2 AND state = 'quarantined'";
const INSERT: &str = "INSERT INTO blobs (digest, size_bytes, storage_name, state, created_at)
    VALUES ($1, $2, $3, 'trusted', $4)";
const QUARANTINE: &str = "UPDATE blobs SET state = 'quarantined'
    WHERE digest = $1 AND storage_name = $2 AND state = 'trusted'";
pub(crate) const STATEMENTS: &[&str] = &[GET, IS_STORED, REPLACE, INSERT, QUARANTINE];

#[async_trait]
impl<C: Connection> BlobLedger for SqlTx<C> {
    async fn get_blob(&mut self, digest: &Digest) -> Result<Option<TrustedBlob>, CatalogError> {
        self.find(GET, values![digest]).await
    }

    async fn is_stored(&mut self, name: &BlobName) -> Result<bool, CatalogError> {
        self.get(IS_STORED, values![name]).await
    }

    async fn insert_blob(&mut self, blob: &TrustedBlob) -> Result<(), CatalogError> {
        let values = values![blob.claim.digest, blob.claim.size, blob.name, blob.created_at];
        if self.execute(REPLACE, values.clone()).await? == 0 {
            self.execute(INSERT, values).await?;
        }
        Ok(())
    }

    async fn quarantine_blob(&mut self, digest: &Digest, name: &BlobName) -> Result<bool, CatalogError> {
        Ok(self.execute(QUARANTINE, values![digest, name]).await? > 0)
    }
}

impl Record for TrustedBlob {
    const WHAT: &'static str = "blob";
    const ID: &'static str = "digest";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            claim: row.claim("digest", "size_bytes")?,
            name: row.get("storage_name")?,
            created_at: row.get("created_at")?,
        })
    }
}
