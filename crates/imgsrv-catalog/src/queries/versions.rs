//! Reads of versions and their manifests.

use crate::{
    core::{Connection, Corrupt, List, Listed, Record, Row, SqlCatalog, SqlDatabase, values},
    queries::images::image_id,
    repos::{
        images, manifests,
        versions::{self, select as versions},
    },
};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::VersionId,
    manifest::Manifest,
    names::{ImageName, RefName, VersionName},
    page::{Page, PageRequest},
    ports::{CatalogError, ManifestEntries, ResolvedRef, ResolvedVersion, TrustedBlob, VersionQueries, Visibility},
    time::Timestamp,
    version::{Version, VersionFilter},
};
use uuid::Uuid;

const VERSIONS: &str =
    versions!("WHERE v.image_id = $1 AND (v.listed_at, v.id) < ($2, $3) ORDER BY v.listed_at DESC, v.id DESC LIMIT $4");
const VERSIONS_BY_STATE: &str = versions!(
    "WHERE v.image_id = $1 AND (v.listed_at, v.id) < ($2, $3) AND v.state = $5
    ORDER BY v.listed_at DESC, v.id DESC LIMIT $4"
);

macro_rules! resolve {
    ($rest:literal) => {
        resolve!("", $rest)
    };
    ($more:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            versions::columns!(),
            ", ",
            images::columns!(),
            ", (SELECT revision FROM catalog_revision) AS catalog_revision",
            $more,
            " FROM images i JOIN versions v ON ",
            $rest
        )
    };
}
const VERSION: &str = resolve!("v.image_id = i.id WHERE i.name = $1 AND v.name = $2");
const PUBLISHED_VERSION: &str =
    resolve!("v.image_id = i.id WHERE i.name = $1 AND v.name = $2 AND v.state = 'published'");
// A name is that of a version or of an alias, never both.
const REF: &str = resolve!(
    ", (SELECT updated_at FROM aliases WHERE image_id = i.id AND name = $2) AS moved_at",
    "v.id = coalesce((SELECT id FROM versions WHERE image_id = i.id AND name = $2),
        (SELECT version_id FROM aliases WHERE image_id = i.id AND name = $2))
    WHERE i.name = $1 AND v.state = 'published'"
);
const BLOBS: &str = "SELECT digest, size_bytes, storage_name, created_at FROM blobs WHERE state = 'trusted'
    AND digest IN (SELECT primary_blob_digest FROM artifacts WHERE version_id = $1
        UNION SELECT blob_digest FROM attachments WHERE version_id = $1)
    ORDER BY digest";
pub(crate) const STATEMENTS: &[&str] = &[VERSIONS, VERSIONS_BY_STATE, VERSION, PUBLISHED_VERSION, REF, BLOBS];

async fn resolve<C: Connection>(
    connection: &mut C,
    image: &ImageName,
    name: &VersionName,
    see: Visibility,
) -> Result<Option<ResolvedVersion>, CatalogError> {
    let sql = match see {
        Visibility::Published => PUBLISHED_VERSION,
        Visibility::All => VERSION,
    };
    connection.find(sql, values![image, name]).await
}

async fn resolve_manifest<C: Connection>(
    connection: &mut C,
    image: &ImageName,
    name: &VersionName,
    see: Visibility,
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
        see: Visibility,
        filter: VersionFilter,
        page: &PageRequest,
    ) -> Result<Option<Page<Version>>, CatalogError> {
        let state = match (see, filter) {
            (Visibility::Published, _) => Some(VersionFilter::Published.as_str()),
            (Visibility::All, VersionFilter::All) => None,
            (Visibility::All, filter) => Some(filter.as_str()),
        };
        let list_name = format!("versions:{name}:{}", state.unwrap_or("all"));
        let list = List::open(list_name, page, (i64::MAX, Uuid::max()))?;
        let mut reader = self.reader().await?;
        // The list is read after the image, so that it is one of an image that existed.
        let Some(image) = image_id(&mut reader, name, see).await? else { return Ok(None) };
        let sql = if state.is_some() { VERSIONS_BY_STATE } else { VERSIONS };
        let values = |(before, id): &(i64, Uuid), limit: i64| {
            let mut values = values![image, Timestamp::from_micros(*before), id, limit];
            values.extend(state.iter().flat_map(|state| values![**state]));
            values
        };
        list.read(&mut reader, sql, values).await.map(Some)
    }

    async fn resolve_version(
        &self,
        image: &ImageName,
        name: &VersionName,
        see: Visibility,
    ) -> Result<Option<ResolvedVersion>, CatalogError> {
        resolve(&mut self.reader().await?, image, name, see).await
    }

    async fn resolve_manifest(
        &self,
        image: &ImageName,
        name: &VersionName,
    ) -> Result<Option<(ResolvedVersion, ManifestEntries)>, CatalogError> {
        resolve_manifest(&mut self.database.snapshot().await?.0, image, name, Visibility::All).await
    }

    async fn resolve_ref(&self, image: &ImageName, name: &RefName) -> Result<Option<ResolvedRef>, CatalogError> {
        self.reader().await?.find(REF, values![image, name]).await
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
        see: Visibility,
    ) -> Result<Option<Manifest>, CatalogError> {
        let found = match see {
            // A published version does not change between two statements.
            Visibility::Published => resolve_manifest(&mut self.reader().await?, image, name, see).await?,
            Visibility::All => self.resolve_manifest(image, name).await?,
        };
        Ok(found.map(|(ResolvedVersion { image, version, .. }, ManifestEntries { entries, warnings })| Manifest {
            image,
            version,
            entries,
            warnings,
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
