//! Trusted blobs.

use crate::{BlobRow, Connection, SqlTx, UntrustedRow, core::value::values};
use async_trait::async_trait;
use imgsrv_domain::{
    digest::Digest,
    ids::VersionId,
    manifest::Untrusted,
    ports::{BlobLedger, BlobName, CatalogError, TrustedBlob},
};

pub(crate) const FIND: &str = "SELECT digest, size_bytes, storage_name, created_at FROM blobs
    WHERE digest = $1 AND state = 'trusted'";
const IS_STORED: &str = "SELECT EXISTS (SELECT 1 FROM blobs WHERE storage_name = $1)";
const HEAL: &str = "UPDATE blobs SET storage_name = $3, state = 'trusted', created_at = $4
    WHERE digest = $1 AND size_bytes = $2 AND state = 'quarantined'";
const INSERT: &str = "INSERT INTO blobs (digest, size_bytes, storage_name, state, created_at)
    VALUES ($1, $2, $3, 'trusted', $4)";
const QUARANTINE: &str = "UPDATE blobs SET state = 'quarantined'
    WHERE digest = $1 AND storage_name = $2 AND state = 'trusted'";
const LIST_UNTRUSTED: &str = "SELECT named.digest, named.size_bytes AS declared, blobs.size_bytes AS trusted FROM (
        SELECT primary_blob_digest AS digest, primary_blob_size_bytes AS size_bytes FROM artifacts WHERE version_id = $1
        UNION SELECT blob_digest, blob_size_bytes FROM attachments WHERE version_id = $1
    ) named LEFT JOIN blobs ON blobs.digest = named.digest AND blobs.state = 'trusted'
    WHERE blobs.digest IS NULL OR blobs.size_bytes <> named.size_bytes
    ORDER BY named.digest, named.size_bytes LIMIT 100";
pub(crate) const STATEMENTS: &[&str] = &[FIND, IS_STORED, HEAL, INSERT, QUARANTINE, LIST_UNTRUSTED];

#[async_trait]
impl<C: Connection> BlobLedger for SqlTx<C> {
    async fn get_blob(&mut self, digest: &Digest) -> Result<Option<TrustedBlob>, CatalogError> {
        self.find::<BlobRow, _>(FIND, values![digest.to_string()]).await
    }

    async fn is_stored(&mut self, name: &BlobName) -> Result<bool, CatalogError> {
        self.scalar(IS_STORED, values![name.as_str()]).await
    }

    async fn insert_blob(&mut self, blob: &TrustedBlob) -> Result<(), CatalogError> {
        let values =
            values![blob.claim.digest.to_string(), blob.claim.size.signed(), blob.name.as_str(), blob.created_at,];
        if self.execute(HEAL, values.clone()).await? == 0 {
            self.execute(INSERT, values).await?;
        }
        Ok(())
    }

    async fn quarantine_blob(&mut self, digest: &Digest, name: &BlobName) -> Result<bool, CatalogError> {
        Ok(self.execute(QUARANTINE, values![digest.to_string(), name.as_str()]).await? > 0)
    }

    async fn list_untrusted(&mut self, version: VersionId) -> Result<Vec<Untrusted>, CatalogError> {
        self.list::<UntrustedRow, _>(LIST_UNTRUSTED, values![version.uuid()]).await
    }
}
