//! Reads of trusted blobs.

use crate::{
    core::{Connection, SqlCatalog, SqlDatabase, values},
    repos::blobs,
};
use async_trait::async_trait;
use imgsrv_domain::{
    digest::Digest,
    ports::{BlobQueries, CatalogError, TrustedBlob, Visibility},
};

const PUBLISHED_BLOB: &str = "SELECT digest, size_bytes, storage_name, created_at FROM blobs
    WHERE digest = $1 AND state = 'trusted' AND (
        EXISTS (SELECT 1 FROM artifacts a JOIN versions v ON v.id = a.version_id
            WHERE a.primary_blob_digest = $1 AND v.state = 'published')
        OR EXISTS (SELECT 1 FROM attachments t JOIN versions v ON v.id = t.version_id
            WHERE t.blob_digest = $1 AND v.state = 'published'))";

pub(crate) const STATEMENTS: &[&str] = &[PUBLISHED_BLOB];

#[async_trait]
impl<D: SqlDatabase> BlobQueries for SqlCatalog<D> {
    async fn get_blob(&self, digest: &Digest, see: Visibility) -> Result<Option<TrustedBlob>, CatalogError> {
        let sql = match see {
            Visibility::Published => PUBLISHED_BLOB,
            Visibility::All => blobs::GET,
        };
        self.reader().await?.find(sql, values![digest]).await
    }
}
