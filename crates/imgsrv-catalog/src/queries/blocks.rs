//! Reads of blocked digests and of the versions that have a digest.

use crate::{
    core::{Corrupt, List, Listed, Record, Row, SqlCatalog, SqlDatabase, values},
    repos::{blocks::select, versions::select as versions},
};
use async_trait::async_trait;
use imgsrv_domain::{
    digest::Digest,
    page::{Page, PageRequest},
    ports::{BlockQueries, BlockedDigest, CatalogError},
    version::Version,
};
use uuid::Uuid;

const BLOCKED: &str = select!("WHERE b.digest > $1 ORDER BY b.digest LIMIT $2");
const VERSIONS: &str = versions!(
    "WHERE v.id IN (SELECT version_id FROM artifacts WHERE primary_blob_digest = $1
        UNION SELECT version_id FROM attachments WHERE blob_digest = $1)
    AND v.state = 'published' AND l.tombstone_at IS NULL AND v.id > $2 ORDER BY v.id LIMIT $3"
);
pub(crate) const STATEMENTS: &[&str] = &[BLOCKED, VERSIONS];

#[async_trait]
impl<D: SqlDatabase> BlockQueries for SqlCatalog<D> {
    async fn list_blocked_digests(&self, page: &PageRequest) -> Result<Page<BlockedDigest>, CatalogError> {
        let list = List::open("blocked-digests", page, String::new())?;
        let values = |after: &String, limit: i64| values![*after.as_str(), limit];
        list.read(&mut self.reader().await?, BLOCKED, values).await
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
        row.get("digest")
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
