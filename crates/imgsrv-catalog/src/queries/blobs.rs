//! Reads of trusted blobs.

use crate::{
    core::{Connection, Dialects, SqlCatalog, SqlDatabase, Value, values},
    queries::reach::{self, readable, required},
    repos::{blobs, versions::select as versions},
};
use async_trait::async_trait;
use imgsrv_domain::{
    access::{Reach, View},
    digest::Digest,
    ids::PrincipalId,
    ports::{BlobQueries, CatalogError, TrustedBlob},
    version::Version,
};

/// Whether a version serves the digest `$1`, one that is neither revoked nor drained, of `images i` with `$shown`.
macro_rules! is_served {
    ($now:literal, $shown:expr) => {
        concat!(
            "EXISTS (SELECT 1 FROM (SELECT version_id FROM artifacts WHERE primary_blob_digest = $1
                    UNION ALL SELECT version_id FROM attachments WHERE blob_digest = $1) named
                JOIN version_lifecycles l ON l.version_id = named.version_id JOIN images i ON i.id = l.image_id
                WHERE l.revoked_at IS NULL AND l.tombstone_at IS NULL
                AND (l.available_until IS NULL OR l.available_until > ",
            $now,
            ") AND ",
            $shown,
            ")"
        )
    };
}
pub(crate) use is_served;

/// Whether a reach shows an image that serves the digest `$1`, or the principal `$2` has sent it. The scopes of readers
/// are `$3` and `$4`.
macro_rules! is_readable {
    ($dialect:ident, $now:literal) => {
        concat!(
            "(EXISTS (SELECT 1 FROM blob_senders WHERE digest = $1 AND principal_id = $2) OR ",
            $crate::queries::blobs::is_served!($now, $crate::queries::reach::readable!($dialect, "$3", "$4")),
            ")"
        )
    };
}
pub(crate) use is_readable;

/// The values of [`is_readable`].
pub(crate) fn readable_values(digest: &Digest, reach: &Reach, sender: Option<PrincipalId>) -> Vec<Value> {
    [values![digest, sender], reach::patterns(&reach.read)].concat()
}

macro_rules! trusted {
    ($which:expr) => {
        concat!(
            "SELECT digest, size_bytes, storage_name, created_at FROM blobs WHERE digest = $1 AND state = 'trusted' AND ",
            $which
        )
    };
}
const SERVED: Dialects = Dialects {
    sqlite: trusted!(is_served!("$3", "($2 = '' OR i.visibility = $2)")),
    postgres: trusted!(is_served!("catalog_now()", "($2 = '' OR i.visibility = $2)")),
};
const READABLE: Dialects = Dialects {
    sqlite: trusted!(is_readable!(sqlite, "$5")),
    postgres: trusted!(is_readable!(postgres, "catalog_now()")),
};

macro_rules! revoked {
    ($dialect:ident, $now:literal) => {
        versions!(
            "WHERE v.id = (SELECT l.version_id FROM (SELECT version_id FROM artifacts WHERE primary_blob_digest = $1
                    UNION ALL SELECT version_id FROM attachments WHERE blob_digest = $1) named
                JOIN version_lifecycles l ON l.version_id = named.version_id JOIN images i ON i.id = l.image_id
                WHERE l.revoked_at IS NOT NULL AND l.tombstone_at IS NULL
                AND (l.available_until IS NULL OR l.available_until > ",
            $now,
            ") AND ",
            readable!($dialect, "$2", "$3"),
            " ORDER BY l.revoked_at DESC, l.version_id LIMIT 1)"
        )
    };
}
const REVOKED: Dialects = Dialects { sqlite: revoked!(sqlite, "$4"), postgres: revoked!(postgres, "catalog_now()") };

pub(crate) const SQLITE: &[&str] = &[SERVED.sqlite, READABLE.sqlite, REVOKED.sqlite];
pub(crate) const POSTGRES: &[&str] = &[SERVED.postgres, READABLE.postgres, REVOKED.postgres];

#[async_trait]
impl<D: SqlDatabase> BlobQueries for SqlCatalog<D> {
    async fn get_blob(&self, digest: &Digest, see: View) -> Result<Option<TrustedBlob>, CatalogError> {
        match see {
            View::Public | View::Published => {
                self.reader().await?.find(SERVED, self.with_time(values![digest, *required(see)])?).await
            }
            View::All => self.reader().await?.find(blobs::GET, values![digest]).await,
        }
    }

    async fn get_readable_blob(
        &self,
        digest: &Digest,
        reach: &Reach,
        sender: Option<PrincipalId>,
    ) -> Result<Option<TrustedBlob>, CatalogError> {
        let values = self.with_time(readable_values(digest, reach, sender))?;
        self.reader().await?.find(READABLE, values).await
    }

    async fn get_revoked_version_of(&self, digest: &Digest, reach: &Reach) -> Result<Option<Version>, CatalogError> {
        let values = [values![digest], reach::patterns(&reach.read)].concat();
        self.reader().await?.find(REVOKED, self.with_time(values)?).await
    }
}
