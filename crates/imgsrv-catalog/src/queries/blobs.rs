//! Reads of trusted blobs.

use crate::{
    core::{Connection, Dialects, SqlCatalog, SqlDatabase, values},
    repos::{blobs, versions::select as versions},
};
use async_trait::async_trait;
use imgsrv_domain::{
    digest::Digest,
    ports::{BlobQueries, CatalogError, TrustedBlob, Visibility},
    version::Version,
};

/// Whether a version serves the digest `$1`: one that is neither revoked nor drained.
macro_rules! is_served {
    ($now:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM (SELECT version_id FROM artifacts WHERE primary_blob_digest = $1
                    UNION ALL SELECT version_id FROM attachments WHERE blob_digest = $1) named
                JOIN version_lifecycles l ON l.version_id = named.version_id WHERE l.revoked_at IS NULL
                AND l.tombstone_at IS NULL AND (l.available_until IS NULL OR l.available_until > ",
            $now,
            "))"
        )
    };
}
pub(crate) use is_served;

macro_rules! served {
    ($now:literal) => {
        concat!(
            "SELECT digest, size_bytes, storage_name, created_at FROM blobs WHERE digest = $1 AND state = 'trusted' AND ",
            is_served!($now)
        )
    };
}
const SERVED: Dialects = Dialects { sqlite: served!("$2"), postgres: served!("catalog_now()") };

macro_rules! revoked {
    ($now:literal) => {
        versions!(
            "WHERE v.id = (SELECT l.version_id FROM (SELECT version_id FROM artifacts WHERE primary_blob_digest = $1
                    UNION ALL SELECT version_id FROM attachments WHERE blob_digest = $1) named
                JOIN version_lifecycles l ON l.version_id = named.version_id WHERE l.revoked_at IS NOT NULL
                AND l.tombstone_at IS NULL AND (l.available_until IS NULL OR l.available_until > ",
            $now,
            ") ORDER BY l.revoked_at DESC, l.version_id LIMIT 1)"
        )
    };
}
const REVOKED: Dialects = Dialects { sqlite: revoked!("$2"), postgres: revoked!("catalog_now()") };

pub(crate) const SQLITE: &[&str] = &[SERVED.sqlite, REVOKED.sqlite];
pub(crate) const POSTGRES: &[&str] = &[SERVED.postgres, REVOKED.postgres];

#[async_trait]
impl<D: SqlDatabase> BlobQueries for SqlCatalog<D> {
    async fn get_blob(&self, digest: &Digest, see: Visibility) -> Result<Option<TrustedBlob>, CatalogError> {
        match see {
            Visibility::Published => self.reader().await?.find(SERVED, self.with_time(values![digest])?).await,
            Visibility::All => self.reader().await?.find(blobs::GET, values![digest]).await,
        }
    }

    async fn get_revoked_version_of(&self, digest: &Digest) -> Result<Option<Version>, CatalogError> {
        self.reader().await?.find(REVOKED, self.with_time(values![digest])?).await
    }
}
