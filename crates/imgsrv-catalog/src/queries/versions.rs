//! Reads of versions and their manifests.

use crate::{
    core::{Connection, Corrupt, List, Listed, Record, Row, SqlCatalog, SqlDatabase, values},
    queries::images::image_id,
    repos::{
        images, manifests,
        versions::{self, select as versions},
    },
    rows::reach::required,
};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::VersionId,
    lifecycle::{LifecycleFilter, LifecycleState},
    manifest::Manifest,
    names::{ImageName, RefName, VersionName},
    page::{Page, PageRequest},
    ports::{CatalogError, ManifestEntries, ResolvedRef, ResolvedVersion, TrustedBlob, VersionQueries, View},
    time::Timestamp,
    version::{Version, VersionFilter},
};
use std::collections::BTreeSet;
use uuid::Uuid;

const VERSIONS: &str =
    versions!("WHERE v.image_id = $1 AND (v.listed_at, v.id) < ($2, $3) ORDER BY v.listed_at DESC, v.id DESC LIMIT $4");
const VERSIONS_BY_STATE: &str = versions!(
    "WHERE v.image_id = $1 AND (v.listed_at, v.id) < ($2, $3) AND v.state = $5
    ORDER BY v.listed_at DESC, v.id DESC LIMIT $4"
);
const OFFERED_VERSIONS: &str = versions!(
    "WHERE v.image_id = $1 AND (v.listed_at, v.id) < ($2, $3)
    AND (l.state IS NULL OR l.state = $5 OR l.state = $6)
    ORDER BY v.listed_at DESC, v.id DESC LIMIT $4"
);
/// Published versions in one of two states of their lifecycle; each is a section of an index.
const VERSIONS_BY_LIFECYCLE: &str = versions!(
    "JOIN (SELECT version_id FROM (SELECT version_id FROM version_lifecycles
            WHERE image_id = $1 AND state = $5 AND (published_at, version_id) < ($2, $3)
            ORDER BY published_at DESC, version_id DESC LIMIT $4) one
        UNION ALL SELECT version_id FROM (SELECT version_id FROM version_lifecycles
            WHERE image_id = $1 AND state = $6 AND (published_at, version_id) < ($2, $3)
            ORDER BY published_at DESC, version_id DESC LIMIT $4) other) listed ON listed.version_id = v.id
    ORDER BY v.published_at DESC, v.id DESC LIMIT $4"
);

macro_rules! resolve {
    ($on:literal, $where:literal) => {
        resolve!("", $on, $where)
    };
    ($more:literal, $on:literal, $where:literal) => {
        concat!(
            "SELECT ",
            versions::columns!(),
            ", ",
            images::columns!(),
            ", (SELECT revision FROM catalog_revision) AS catalog_revision",
            $more,
            " FROM images i JOIN versions v ON ",
            $on,
            " LEFT JOIN version_lifecycles l ON l.version_id = v.id WHERE ",
            $where
        )
    };
}
const VERSION: &str = resolve!("v.image_id = i.id", "i.name = $1 AND v.name = $2");
const PUBLISHED_VERSION: &str = resolve!(
    "v.image_id = i.id",
    "i.name = $1 AND v.name = $2 AND v.state = 'published' AND ($3 = '' OR i.visibility = $3)"
);
// A name is that of a version or of an alias, never both.
const REF: &str = resolve!(
    ", (SELECT updated_at FROM aliases WHERE image_id = i.id AND name = $2) AS moved_at",
    "v.id = coalesce((SELECT id FROM versions WHERE image_id = i.id AND name = $2),
        (SELECT version_id FROM aliases WHERE image_id = i.id AND name = $2))",
    "i.name = $1 AND v.state = 'published' AND ($3 = '' OR i.visibility = $3)"
);
const BLOBS: &str = "SELECT digest, size_bytes, storage_name, created_at FROM blobs WHERE state = 'trusted'
    AND digest IN (SELECT primary_blob_digest FROM artifacts WHERE version_id = $1
        UNION SELECT blob_digest FROM attachments WHERE version_id = $1)
    ORDER BY digest";
pub(crate) const STATEMENTS: &[&str] =
    &[VERSIONS, VERSIONS_BY_STATE, OFFERED_VERSIONS, VERSIONS_BY_LIFECYCLE, VERSION, PUBLISHED_VERSION, REF, BLOBS];

/// The states of a lifecycle that a list selects, at most two; `None` for all of them.
pub(crate) fn selected(filter: Option<LifecycleFilter>) -> Option<[&'static str; 2]> {
    // No version is in this state.
    const NONE: &str = "";
    Some(match filter {
        None => [LifecycleState::Active.as_str(), LifecycleState::Deprecated.as_str()],
        Some(LifecycleFilter::Active) => [LifecycleState::Active.as_str(), NONE],
        Some(LifecycleFilter::Deprecated) => [LifecycleState::Deprecated.as_str(), NONE],
        Some(LifecycleFilter::Revoked) => [LifecycleState::Revoked.as_str(), NONE],
        Some(LifecycleFilter::Removed) => [LifecycleState::Removed.as_str(), LifecycleState::Tombstone.as_str()],
        Some(LifecycleFilter::All) => return None,
    })
}

async fn resolve<C: Connection>(
    connection: &mut C,
    image: &ImageName,
    name: &VersionName,
    see: View,
) -> Result<Option<ResolvedVersion>, CatalogError> {
    match see {
        View::Public | View::Published => {
            connection.find(PUBLISHED_VERSION, values![image, name, *required(see)]).await
        }
        View::All => connection.find(VERSION, values![image, name]).await,
    }
}

async fn resolve_manifest<C: Connection>(
    connection: &mut C,
    image: &ImageName,
    name: &VersionName,
    see: View,
) -> Result<Option<(ResolvedVersion, ManifestEntries)>, CatalogError> {
    let Some(found) = resolve(connection, image, name, see).await? else { return Ok(None) };
    let entries = manifests::entries(connection, found.version.id).await?;
    Ok(Some((found, entries)))
}

#[async_trait]
impl<D: SqlDatabase> VersionQueries for SqlCatalog<D> {
    async fn list_versions(
        &self,
        name: &ImageName,
        see: View,
        filter: VersionFilter,
        lifecycle: Option<LifecycleFilter>,
        page: &PageRequest,
    ) -> Result<Option<Page<Version>>, CatalogError> {
        let filter = if see == View::All { filter } else { VersionFilter::Published };
        let states = selected(lifecycle);
        let (sql, own) = match (filter, states) {
            (VersionFilter::All, None) => (VERSIONS, values![]),
            (VersionFilter::All, Some([one, other])) => (OFFERED_VERSIONS, values![*one, *other]),
            (VersionFilter::Published, Some([one, other])) => (VERSIONS_BY_LIFECYCLE, values![*one, *other]),
            (VersionFilter::Published | VersionFilter::Draft | VersionFilter::Publishing, _) => {
                (VERSIONS_BY_STATE, values![*filter.as_str()])
            }
        };
        let list_name = format!("versions:{name}:{filter}:{}", lifecycle.map_or("offered", LifecycleFilter::as_str));
        let list = List::open(list_name, page, (i64::MAX, Uuid::max()))?;
        let mut reader = self.reader().await?;
        // The list is read after the image, so that it is one of an image that existed.
        let Some(image) = image_id(&mut reader, name, see).await? else { return Ok(None) };
        let values = |(before, id): &(i64, Uuid), limit: i64| {
            [values![image, Timestamp::from_micros(*before), id, limit], own.clone()].concat()
        };
        list.read(&mut reader, sql, values).await.map(Some)
    }

    async fn resolve_version(
        &self,
        image: &ImageName,
        name: &VersionName,
        see: View,
    ) -> Result<Option<ResolvedVersion>, CatalogError> {
        resolve(&mut self.reader().await?, image, name, see).await
    }

    async fn resolve_manifest(
        &self,
        image: &ImageName,
        name: &VersionName,
    ) -> Result<Option<(ResolvedVersion, ManifestEntries)>, CatalogError> {
        resolve_manifest(&mut self.database.snapshot().await?.0, image, name, View::All).await
    }

    async fn resolve_ref(
        &self,
        image: &ImageName,
        name: &RefName,
        see: View,
    ) -> Result<Option<ResolvedRef>, CatalogError> {
        self.reader().await?.find(REF, values![image, name, *required(see)]).await
    }

    async fn get_manifest_entries(&self, version: VersionId) -> Result<ManifestEntries, CatalogError> {
        manifests::entries(&mut self.reader().await?, version).await
    }

    async fn get_manifest_blobs(&self, version: VersionId) -> Result<Vec<TrustedBlob>, CatalogError> {
        self.reader().await?.list(BLOBS, values![version]).await
    }

    async fn get_manifest(
        &self,
        image: &ImageName,
        name: &VersionName,
        see: View,
    ) -> Result<Option<Manifest>, CatalogError> {
        let found = match see {
            // A published version does not change between two statements.
            View::Public | View::Published => resolve_manifest(&mut self.reader().await?, image, name, see).await?,
            View::All => self.resolve_manifest(image, name).await?,
        };
        Ok(found.map(|(ResolvedVersion { image, version, .. }, ManifestEntries { entries, warnings })| Manifest {
            image,
            version,
            entries,
            warnings,
            quarantined: BTreeSet::new(),
        }))
    }
}

impl Listed for Version {
    type Key = (i64, Uuid);

    fn key(row: &Row<'_>) -> Result<(i64, Uuid), Corrupt> {
        let listed_at: Timestamp = match row.optional("published_at")? {
            Some(published_at) => published_at,
            None => row.get("created_at")?,
        };
        Ok((listed_at.micros(), row.get("id")?))
    }
}

impl Record for ResolvedRef {
    const WHAT: &'static str = ResolvedVersion::WHAT;

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self { version: row.record()?, moved_at: row.optional("moved_at")? })
    }
}

impl Record for ResolvedVersion {
    const WHAT: &'static str = "version";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self { revision: row.get("catalog_revision")?, image: row.record()?, version: row.record()? })
    }
}
