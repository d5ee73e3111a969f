//! Reads of what is known of stored bytes.

use crate::{
    core::{Connection, Corrupt, Dialects, List, Listed, Record, Row, SqlCatalog, SqlDatabase, values},
    repos::blobs::NEVER,
    rows::reach::{is_readable, readable_values},
};
use async_trait::async_trait;
use imgsrv_domain::{
    access::{Reach, Sender},
    blocks::BlockChecksums,
    digest::Digest,
    page::{Page, PageRequest},
    ports::{BlobName, CatalogError, QuarantinedBlob, StoredBlob, VerificationQueries, VerificationTotals},
    time::Timestamp,
};

const CHECKSUMS: &str = "SELECT checksums FROM block_checksums WHERE storage_name = $1 AND section = $2";
const GET: &str =
    "SELECT digest, size_bytes, storage_name, state, created_at, verified_at FROM blobs WHERE digest = $1";
const IS_QUARANTINED: &str = "SELECT EXISTS (SELECT 1 FROM blobs WHERE digest = $1 AND state = 'quarantined')";
macro_rules! is_readable_and_quarantined {
    ($dialect:ident, $now:literal) => {
        concat!(
            "SELECT EXISTS (SELECT 1 FROM blobs WHERE digest = $1 AND state = 'quarantined' AND ",
            is_readable!($dialect, $now),
            ")"
        )
    };
}
const IS_READABLE_AND_QUARANTINED: Dialects = Dialects {
    sqlite: is_readable_and_quarantined!(sqlite, "$6"),
    postgres: is_readable_and_quarantined!(postgres, "catalog_now()"),
};
const LIST_QUARANTINED: &str = "SELECT digest, size_bytes, created_at, verified_at, looked_at FROM blobs
    WHERE state = 'quarantined' AND digest > $1 ORDER BY digest LIMIT $2";
const QUARANTINED_DIGESTS: &str = "SELECT digest FROM blobs WHERE state = 'quarantined'";
const LIST: &str = "SELECT digest, size_bytes, storage_name, state, created_at, verified_at FROM blobs
    WHERE digest > $1 ORDER BY digest LIMIT $2";
const LEAST_RECENTLY_LOOKED_AT: &str = "SELECT digest, size_bytes, storage_name, state, created_at, verified_at
    FROM blobs WHERE state = 'quarantined' AND (looked_at IS NULL OR looked_at < $1)
    ORDER BY looked_at, digest LIMIT 1";
const LEAST_RECENTLY_VERIFIED: &str = "SELECT digest, size_bytes, storage_name, state, created_at, verified_at
    FROM blobs WHERE state = 'trusted' AND verified_at <= $1 ORDER BY verified_at, digest LIMIT 1";
const TOTALS: &str = "SELECT count(*) AS quarantined,
    CAST(coalesce(sum(size_bytes), 0) AS BIGINT) AS quarantined_bytes,
    (SELECT CASE WHEN verified_at > $1 THEN verified_at ELSE created_at END FROM blobs
        WHERE state = 'trusted' ORDER BY verified_at, digest LIMIT 1) AS oldest_verified_at,
    (SELECT CAST(coalesce(sum(size_bytes), 0) AS BIGINT) FROM blobs
        WHERE state = 'trusted' AND verified_at >= $2 AND verified_at > created_at) AS verified_bytes
    FROM blobs WHERE state = 'quarantined'";
pub(crate) const STATEMENTS: &[&str] = &[
    CHECKSUMS,
    GET,
    IS_QUARANTINED,
    LIST_QUARANTINED,
    QUARANTINED_DIGESTS,
    LIST,
    LEAST_RECENTLY_LOOKED_AT,
    LEAST_RECENTLY_VERIFIED,
    TOTALS,
];
pub(crate) const SQLITE: &[&str] = &[IS_READABLE_AND_QUARANTINED.sqlite];
pub(crate) const POSTGRES: &[&str] = &[IS_READABLE_AND_QUARANTINED.postgres];

#[async_trait]
impl<D: SqlDatabase> VerificationQueries for SqlCatalog<D> {
    async fn get_block_checksums(&self, name: &BlobName, section: u32) -> Result<Option<BlockChecksums>, CatalogError> {
        self.reader().await?.find(CHECKSUMS, values![name, section]).await
    }

    async fn get_stored_blob(&self, digest: &Digest) -> Result<Option<StoredBlob>, CatalogError> {
        self.reader().await?.find(GET, values![digest]).await
    }

    async fn is_quarantined(
        &self,
        digest: &Digest,
        reach: &Reach,
        sender: Option<&Sender>,
    ) -> Result<bool, CatalogError> {
        let mut reader = self.reader().await?;
        if *reach == Reach::ALL {
            return reader.get(IS_QUARANTINED, values![digest]).await;
        }
        let values = self.with_time(readable_values(digest, reach, sender))?;
        reader.get(IS_READABLE_AND_QUARANTINED, values).await
    }

    async fn list_quarantined(&self, page: &PageRequest) -> Result<Page<QuarantinedBlob>, CatalogError> {
        let list = List::open("quarantined", page, String::new())?;
        let values = |after: &String, limit: i64| values![after, limit];
        list.read(&mut self.reader().await?, LIST_QUARANTINED, values).await
    }

    async fn quarantined_digests(&self) -> Result<Vec<Digest>, CatalogError> {
        self.reader().await?.list_decodable(QUARANTINED_DIGESTS, values![]).await
    }

    async fn list_stored_blobs(&self, after: Option<&Digest>, limit: u16) -> Result<Vec<StoredBlob>, CatalogError> {
        let after = after.map(Digest::to_string).unwrap_or_default();
        self.reader().await?.list(LIST, values![after, limit]).await
    }

    async fn get_blob_to_verify(
        &self,
        looked_before: Timestamp,
        verified_before: Option<Timestamp>,
    ) -> Result<Option<StoredBlob>, CatalogError> {
        let mut reader = self.reader().await?;
        let quarantined = reader.find(LEAST_RECENTLY_LOOKED_AT, values![looked_before]).await?;
        match (quarantined, verified_before) {
            (None, Some(before)) => reader.find(LEAST_RECENTLY_VERIFIED, values![before]).await,
            (quarantined, _) => Ok(quarantined),
        }
    }

    async fn verification_totals(&self, since: Timestamp) -> Result<VerificationTotals, CatalogError> {
        self.reader().await?.get(TOTALS, values![NEVER, since]).await
    }
}

pub(crate) fn verified_at(row: &Row<'_>) -> Result<Option<Timestamp>, Corrupt> {
    Ok(Some(row.get("verified_at")?).filter(|at| *at > NEVER))
}

impl Record for StoredBlob {
    const WHAT: &'static str = "blob";
    const ID: &'static str = "digest";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let is_quarantined = row.get::<String>("state")? == "quarantined";
        Ok(Self { blob: row.record()?, is_quarantined, verified_at: verified_at(row)? })
    }
}

impl Listed for QuarantinedBlob {
    type Key = String;

    fn key(row: &Row<'_>) -> Result<String, Corrupt> {
        row.get("digest")
    }
}

impl Record for QuarantinedBlob {
    const WHAT: &'static str = "blob";
    const ID: &'static str = "digest";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            claim: row.claim("digest", "size_bytes")?,
            created_at: row.get("created_at")?,
            verified_at: verified_at(row)?,
            looked_at: row.optional("looked_at")?,
        })
    }
}

impl Record for VerificationTotals {
    const WHAT: &'static str = "count";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            quarantined: row.get("quarantined")?,
            quarantined_bytes: row.get("quarantined_bytes")?,
            oldest_verified_at: row.optional("oldest_verified_at")?,
            verified_bytes: row.get("verified_bytes")?,
        })
    }
}
