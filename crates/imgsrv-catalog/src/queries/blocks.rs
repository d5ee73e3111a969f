//! Reads of blocked digests and of the versions that have a digest.

use crate::{
    core::{Connection, Corrupt, List, Listed, Record, Row, SqlCatalog, SqlDatabase, values},
    repos::{blocks::select, manifests::LAST_COLLECTED, versions::select as versions},
};
use async_trait::async_trait;
use imgsrv_domain::{
    digest::Digest,
    page::{Page, PageRequest},
    ports::{BlobDeletion, BlockQueries, BlockedDigest, CatalogError},
    version::Version,
};
use uuid::Uuid;

const BLOCKED: &str =
    select!("WHERE b.digest >= $1 AND (b.digest > $1 OR b.image_name > $2) ORDER BY b.digest, b.image_name LIMIT $3");
const BLOCK_OF: &str = select!("WHERE b.digest = $1 ORDER BY b.everywhere DESC, b.image_name LIMIT 1");
const VERSIONS: &str = versions!(
    "WHERE v.id IN (SELECT version_id FROM artifacts WHERE primary_blob_digest = $1
        UNION SELECT version_id FROM attachments WHERE blob_digest = $1)
    AND v.state = 'published' AND l.tombstone_at IS NULL AND v.id > $2 ORDER BY v.id LIMIT $3"
);
pub(crate) const STATEMENTS: &[&str] = &[BLOCKED, BLOCK_OF, VERSIONS];

#[async_trait]
impl<D: SqlDatabase> BlockQueries for SqlCatalog<D> {
    async fn list_blocked_digests(&self, page: &PageRequest) -> Result<Page<BlockedDigest>, CatalogError> {
        let list = List::open("blocked-digests", page, String::new())?;
        let values = |after: &String, limit: i64| {
            let (digest, image) = after.split_once(' ').unwrap_or_default();
            values![*digest, *image, limit]
        };
        list.read(&mut self.reader().await?, BLOCKED, values).await
    }

    async fn get_blob_deletion(&self, digest: &Digest) -> Result<Option<BlobDeletion>, CatalogError> {
        let mut reader = self.reader().await?;
        if let Some(block) = reader.find(BLOCK_OF, values![digest]).await? {
            return Ok(Some(BlobDeletion::Purged(block)));
        }
        Ok(reader.find(LAST_COLLECTED, values![digest]).await?.map(BlobDeletion::Collected))
    }

    async fn list_versions_of_blob(&self, digest: &Digest, page: &PageRequest) -> Result<Page<Version>, CatalogError> {
        let list = List::open(format!("versions-of:{digest}"), page, Uuid::nil())?;
        let values = |after: &Uuid, limit: i64| values![digest, after, limit];
        let page: Page<Holder> = list.read(&mut self.reader().await?, VERSIONS, values).await?;
        Ok(Page { items: page.items.into_iter().map(|Holder(version)| version).collect(), next: page.next })
    }
}

impl Listed for BlockedDigest {
    type Key = String;

    fn key(row: &Row<'_>) -> Result<String, Corrupt> {
        Ok(format!("{} {}", row.get::<String>("digest")?, row.get::<String>("image_name")?))
    }
}

/// A version that has a digest.
struct Holder(Version);

impl Record for Holder {
    const WHAT: &'static str = Version::WHAT;
    const ID: &'static str = Version::ID;

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        row.record().map(Self)
    }
}

impl Listed for Holder {
    type Key = Uuid;

    fn key(row: &Row<'_>) -> Result<Uuid, Corrupt> {
        row.get("id")
    }
}
