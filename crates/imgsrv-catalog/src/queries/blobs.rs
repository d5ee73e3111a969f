//! Reads of trusted blobs.

use crate::{
    core::{Connection, Dialects, SqlCatalog, SqlDatabase, values},
    repos::{blobs, versions::select as versions},
    rows::reach::{self, readable, readable_values, required, sent, serving},
};
use async_trait::async_trait;
use imgsrv_domain::{
    access::{Reach, Sender, View},
    digest::Digest,
    ports::{BlobQueries, CatalogError, TrustedBlob},
    version::Version,
};

/// The trusted blob with the digest `$1`, since when the reader could have known it: when the first version that it may
/// read was published, else `$otherwise`. Others may have stored the same bytes long before, which tells nothing.
macro_rules! shown {
    ($now:literal, $shown:expr, $otherwise:expr) => {
        concat!(
            "SELECT b.digest, b.size_bytes, b.storage_name, known.since AS created_at FROM blobs b
            CROSS JOIN (SELECT coalesce((SELECT l.published_at ",
            serving!("$1", $now, $shown),
            " ORDER BY l.version_id LIMIT 1), ",
            $otherwise,
            ") AS since) known WHERE b.digest = $1 AND b.state = 'trusted' AND known.since IS NOT NULL"
        )
    };
}
const SERVED: Dialects = Dialects {
    sqlite: shown!("$3", "($2 = '' OR i.visibility = $2)", "NULL"),
    postgres: shown!("catalog_now()", "($2 = '' OR i.visibility = $2)", "NULL"),
};
macro_rules! readable_blob {
    ($dialect:ident, $now:literal) => {
        shown!($now, readable!($dialect, "$4", "$5"), concat!("(SELECT min(sent_at) ", sent!($dialect), ")"))
    };
}
const READABLE: Dialects =
    Dialects { sqlite: readable_blob!(sqlite, "$6"), postgres: readable_blob!(postgres, "catalog_now()") };

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
        sender: Option<&Sender>,
    ) -> Result<Option<TrustedBlob>, CatalogError> {
        let values = self.with_time(readable_values(digest, reach, sender))?;
        self.reader().await?.find(READABLE, values).await
    }

    async fn get_revoked_version_of(&self, digest: &Digest, reach: &Reach) -> Result<Option<Version>, CatalogError> {
        let values = [values![digest], reach::patterns(&reach.read)].concat();
        self.reader().await?.find(REVOKED, self.with_time(values)?).await
    }
}
