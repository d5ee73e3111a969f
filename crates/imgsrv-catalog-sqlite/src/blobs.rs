//! Trusted blobs.

use crate::tx::{SqliteTx, run};
use async_trait::async_trait;
use imgsrv_catalog_sql::{BlobRow, SqlTime, UntrustedRow};
use imgsrv_domain::{
    digest::Digest,
    ids::VersionId,
    manifest::Untrusted,
    ports::{BlobLedger, BlobName, CatalogError, TrustedBlob},
};
use sqlx::{query, query_as};

pub(crate) const FIND: &str = "SELECT digest, size_bytes, storage_name, created_at FROM blobs
    WHERE digest = $1 AND state = 'trusted'";
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
pub(crate) const STATEMENTS: &[&str] = &[FIND, HEAL, INSERT, QUARANTINE, LIST_UNTRUSTED];

#[async_trait]
impl BlobLedger for SqliteTx {
    async fn find_blob(&mut self, digest: &Digest) -> Result<Option<TrustedBlob>, CatalogError> {
        run!(self, find, query_as::<_, BlobRow>(FIND).bind(digest.to_string()))
    }

    async fn insert_blob(&mut self, blob: &TrustedBlob) -> Result<(), CatalogError> {
        let bind = |sql| {
            query(sql)
                .bind(blob.claim.digest.to_string())
                .bind(blob.claim.size.signed())
                .bind(blob.name.as_str())
                .bind(SqlTime::from(blob.created_at))
        };
        if run!(self, execute, bind(HEAL))? == 0 {
            run!(self, execute, bind(INSERT))?;
        }
        Ok(())
    }

    async fn quarantine_blob(&mut self, digest: &Digest, name: &BlobName) -> Result<bool, CatalogError> {
        let changed = run!(self, execute, query(QUARANTINE).bind(digest.to_string()).bind(name.as_str()))?;
        Ok(changed > 0)
    }

    async fn list_untrusted(&mut self, version: VersionId) -> Result<Vec<Untrusted>, CatalogError> {
        run!(self, list, query_as::<_, UntrustedRow>(LIST_UNTRUSTED).bind(version.uuid()))
    }
}
