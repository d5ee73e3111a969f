//! Reads for the collection of garbage.

use crate::{
    core::{Connection, Corrupt, Record, Row, SqlCatalog, SqlDatabase, values},
    queries::verification::verified_at,
    repos::collection::{due, is_unreferenced},
};
use async_trait::async_trait;
use imgsrv_domain::{
    digest::Digest,
    ids::UploadId,
    ports::{BlobReference, BlobStatus, CatalogError, Collectable, CollectionQueries},
    time::Timestamp,
};

const COUNT: &str = concat!(
    "SELECT CAST(count(CASE WHEN is_free THEN 1 END) AS BIGINT) AS blobs,
    CAST(coalesce(sum(CASE WHEN is_free THEN size_bytes END), 0) AS BIGINT) AS bytes, count(*) AS examined
    FROM (SELECT size_bytes, ",
    is_unreferenced!("due.digest"),
    " AS is_free FROM (",
    due!("digest, size_bytes"),
    ") AS due) AS examined"
);
const STATUS: &str =
    "SELECT digest, size_bytes, state, created_at, verified_at, unreferenced_since FROM blobs WHERE digest = $1";

/// The references `$from` to the blob `$1`, at most `$2`.
macro_rules! referring {
    ($($from:tt)+) => {
        concat!(
            "SELECT r.kind, r.id, i.name AS image, v.name AS version, v.state AS version_state, l.state AS lifecycle,
            l.available_until FROM (",
            $($from)+,
            " LIMIT $2) AS r
            LEFT JOIN versions v ON v.id = r.version_id LEFT JOIN images i ON i.id = v.image_id
            LEFT JOIN version_lifecycles l ON l.version_id = r.version_id ORDER BY i.name, v.name, r.id"
        )
    };
}
pub(crate) use referring;

/// What refers to the blob `$1`, at most `$2` of those for which `$which` holds.
macro_rules! references {
    ($which:literal) => {
        $crate::queries::collection::referring!(concat!(
            "SELECT kind, id, version_id FROM blob_references WHERE digest = $1 AND ",
            $which
        ))
    };
}
pub(crate) use references;

const REFERENCES: &str = references!("true");
const TOMBSTONES: &str = referring!(
    "SELECT named.kind, named.id, named.version_id FROM (
            SELECT 'artifact' AS kind, id, version_id FROM artifacts WHERE primary_blob_digest = $1
            UNION ALL SELECT 'attachment', id, version_id FROM attachments WHERE blob_digest = $1) AS named
        JOIN version_lifecycles t ON t.version_id = named.version_id WHERE t.tombstone_at IS NOT NULL"
);
const PINNED_UNTIL: &str = "SELECT max(expires_at) AS pinned_until FROM export_pins";
pub(crate) const STATEMENTS: &[&str] = &[COUNT, STATUS, REFERENCES, TOMBSTONES, PINNED_UNTIL];

#[async_trait]
impl<D: SqlDatabase> CollectionQueries for SqlCatalog<D> {
    async fn count_collectable(&self, before: Timestamp, limit: u32) -> Result<Collectable, CatalogError> {
        let Counted { blobs, bytes, examined } = self.reader().await?.get(COUNT, values![before, limit]).await?;
        Ok(Collectable { blobs, bytes, is_complete: examined < u64::from(limit) })
    }

    async fn pinned_until(&self) -> Result<Option<Timestamp>, CatalogError> {
        let PinnedUntil(until) = self.reader().await?.get(PINNED_UNTIL, values![]).await?;
        Ok(until)
    }

    async fn get_blob_status(&self, digest: &Digest, limit: u16) -> Result<Option<BlobStatus>, CatalogError> {
        let (mut snapshot, _) = self.database.snapshot().await?;
        let Some(status) = snapshot.find::<BlobStatus>(STATUS, values![digest]).await? else { return Ok(None) };
        let references: Vec<BlobReference> = snapshot.list_decodable(REFERENCES, values![digest, limit]).await?;
        let tombstones: Vec<BlobReference> = snapshot.list_decodable(TOMBSTONES, values![digest, limit]).await?;
        Ok(Some(BlobStatus { references, tombstones, ..status }))
    }
}

struct Counted {
    blobs: u64,
    bytes: u64,
    examined: u64,
}

impl Record for Counted {
    const WHAT: &'static str = "count";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self { blobs: row.get("blobs")?, bytes: row.get("bytes")?, examined: row.get("examined")? })
    }
}

impl Record for BlobStatus {
    const WHAT: &'static str = "blob";
    const ID: &'static str = "digest";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            claim: row.claim("digest", "size_bytes")?,
            is_quarantined: row.get::<String>("state")? == "quarantined",
            created_at: row.get("created_at")?,
            verified_at: verified_at(row)?,
            unreferenced_since: row.optional("unreferenced_since")?,
            references: Vec::new(),
            tombstones: Vec::new(),
        })
    }
}

impl Record for BlobReference {
    const WHAT: &'static str = "reference";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let kind: String = row.get("kind")?;
        if kind == "upload" {
            return Ok(Self::Upload(row.get::<UploadId>("id")?));
        }
        Ok(Self::Version {
            image: row.get("image")?,
            version: row.get("version")?,
            state: row.get("version_state")?,
            lifecycle: row.optional("lifecycle")?,
            available_until: row.optional("available_until")?,
            is_attachment: kind == "attachment",
        })
    }
}

/// When the last pin expires, if there is one.
struct PinnedUntil(Option<Timestamp>);

impl Record for PinnedUntil {
    const WHAT: &'static str = "export pin";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        row.optional("pinned_until").map(Self)
    }
}
