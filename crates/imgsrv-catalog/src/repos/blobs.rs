//! Trusted blobs.

use crate::{
    core::{Connection, Corrupt, Dialects, Record, Row, SqlTx, locking, values},
    rows::reach::{is_readable, readable_values},
};
use async_trait::async_trait;
use imgsrv_domain::{
    access::{Reach, Sender},
    digest::Digest,
    ids::VersionId,
    ports::{BlobLedger, BlobName, CatalogError, TrustedBlob},
    time::Timestamp,
};

/// The `verified_at` of a blob that never was.
pub(crate) const NEVER: Timestamp = Timestamp::from_micros(0);

pub(crate) const GET: &str = "SELECT digest, size_bytes, storage_name, created_at FROM blobs
    WHERE digest = $1 AND state = 'trusted'";
const IS_STORED: &str = "SELECT EXISTS (SELECT 1 FROM blobs WHERE storage_name = $1)";
const REPLACE: &str = "UPDATE blobs SET storage_name = $3, state = 'trusted', created_at = $4,
    verified_at = $5, looked_at = NULL,
    unreferenced_since = CASE WHEN unreferenced_since IS NOT NULL THEN CAST($4 AS timestamptz) END
    WHERE digest = $1 AND size_bytes = $2 AND state = 'quarantined'";
// Unreferenced also when something refers to it: that could be deleted concurrently.
const INSERT: &str = "INSERT INTO blobs (digest, size_bytes, storage_name, state, created_at, unreferenced_since,
    verified_at) VALUES ($1, $2, $3, 'trusted', $4, $4, $5)";
const QUARANTINE: &str = "UPDATE blobs SET state = 'quarantined', looked_at = NULL
    WHERE digest = $1 AND storage_name = $2 AND state = 'trusted'";
const LOCK: Dialects = locking!(
    "SELECT digest, size_bytes, storage_name, created_at FROM blobs WHERE digest = $1 AND state = 'trusted'",
    " FOR KEY SHARE"
);
const TOUCH: &str = "UPDATE blobs SET unreferenced_since = $2 WHERE digest = $1 AND unreferenced_since IS NOT NULL";

/// Changes the blobs with the digests that `$digests` selects, locked in their order.
macro_rules! change_in_order {
    ($change:literal, $digests:literal) => {
        $crate::core::Dialects {
            sqlite: concat!("UPDATE blobs SET unreferenced_since = ", $change, " WHERE digest IN (", $digests, ")"),
            postgres: concat!(
                "UPDATE blobs SET unreferenced_since = ",
                $change,
                " WHERE digest IN (SELECT digest FROM blobs WHERE digest IN (",
                $digests,
                ") ORDER BY digest FOR NO KEY UPDATE)"
            ),
        }
    };
}
pub(crate) use change_in_order;

/// Starts the grace period of the blobs with the digests that `$digests` selects at `$2`. The triggers of the deletions
/// that follow correct it for those that something else refers to.
macro_rules! release {
    ($digests:literal) => {
        $crate::repos::blobs::change_in_order!("$2", $digests)
    };
}
pub(crate) use release;

const RELEASE_OF_VERSION: Dialects = release!(
    "SELECT primary_blob_digest FROM artifacts WHERE version_id = $1
    UNION SELECT blob_digest FROM attachments WHERE version_id = $1"
);
const MARK_REFERENCED: Dialects = change_in_order!(
    "NULL",
    "SELECT digest FROM blobs WHERE unreferenced_since IS NOT NULL AND digest IN (
        SELECT primary_blob_digest FROM artifacts WHERE version_id = $1
        UNION SELECT blob_digest FROM attachments WHERE version_id = $1)"
);
const IS_READABLE: Dialects = Dialects {
    sqlite: concat!("SELECT ", is_readable!(sqlite, "$6")),
    postgres: concat!("SELECT ", is_readable!(postgres, "$6")),
};
const RECORD_SENDER: &str = "INSERT INTO blob_senders (digest, principal_id, image_scope, sent_at)
    VALUES ($1, $2, $3, $4) ON CONFLICT (digest, principal_id, image_scope) DO NOTHING";
pub(crate) const STATEMENTS: &[&str] = &[
    GET,
    IS_STORED,
    REPLACE,
    INSERT,
    QUARANTINE,
    LOCK.sqlite,
    TOUCH,
    RELEASE_OF_VERSION.sqlite,
    MARK_REFERENCED.sqlite,
    RECORD_SENDER,
];
pub(crate) const SQLITE: &[&str] = &[IS_READABLE.sqlite];
pub(crate) const POSTGRES: &[&str] =
    &[LOCK.postgres, RELEASE_OF_VERSION.postgres, MARK_REFERENCED.postgres, IS_READABLE.postgres];

#[async_trait]
impl<C: Connection> BlobLedger for SqlTx<C> {
    async fn get_blob(&mut self, digest: &Digest) -> Result<Option<TrustedBlob>, CatalogError> {
        self.find(GET, values![digest]).await
    }

    async fn reuse_blob(&mut self, digest: &Digest) -> Result<Option<TrustedBlob>, CatalogError> {
        let found = self.find(LOCK, values![digest]).await?;
        if found.is_some() {
            self.execute(TOUCH, values![digest, self.time()]).await?;
        }
        Ok(found)
    }

    async fn mark_referenced(&mut self, version: VersionId) -> Result<(), CatalogError> {
        self.execute_on(MARK_REFERENCED, values![version]).await.map(drop)
    }

    async fn release_blobs(&mut self, version: VersionId) -> Result<(), CatalogError> {
        self.execute_on(RELEASE_OF_VERSION, values![version, self.time()]).await.map(drop)
    }

    async fn is_readable(&mut self, digest: &Digest, reach: &Reach, sender: &Sender) -> Result<bool, CatalogError> {
        let values = [readable_values(digest, reach, Some(sender)), values![self.time()]].concat();
        self.get(IS_READABLE, values).await
    }

    async fn record_sender(&mut self, sender: &Sender, digest: &Digest) -> Result<(), CatalogError> {
        self.execute(RECORD_SENDER, values![digest, sender.principal, sender.images, self.time()]).await.map(drop)
    }

    async fn is_stored(&mut self, name: &BlobName) -> Result<bool, CatalogError> {
        self.get(IS_STORED, values![name]).await
    }

    async fn insert_blob(&mut self, blob: &TrustedBlob) -> Result<(), CatalogError> {
        let values = values![blob.claim.digest, blob.claim.size, blob.name, blob.created_at, NEVER];
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
