//! Reads of versions and their manifests, one statement each.

use crate::{
    BlobRow, Connection, EntryRow, ResolvedRow, SqlCatalog, SqlDatabase,
    core::{
        connection::{find, list, rows},
        value::values,
    },
    rows::manifest_entries,
};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::VersionId,
    names::{ImageName, RefName, VersionName},
    ports::{CatalogError, ManifestEntries, ManifestQueries, ResolvedVersion, TrustedBlob, Visibility},
};

macro_rules! resolve {
    ($rest:literal) => {
        concat!(
            "SELECT v.id, v.image_id, i.name AS image_name, v.name, v.state, v.published_at, v.created_at,
            v.updated_at, v.revision, i.display_name, i.description, i.created_at AS image_created_at,
            i.updated_at AS image_updated_at, i.revision AS image_revision,
            (SELECT revision FROM catalog_revision) AS catalog_revision FROM images i JOIN versions v ON ",
            $rest
        )
    };
}
const VERSION: &str = resolve!("v.image_id = i.id WHERE i.name = $1 AND v.name = $2");
const PUBLISHED_VERSION: &str =
    resolve!("v.image_id = i.id WHERE i.name = $1 AND v.name = $2 AND v.state = 'published'");
// A name is that of a version or of an alias, never both.
const REF: &str = resolve!(
    "v.id = coalesce((SELECT id FROM versions WHERE image_id = i.id AND name = $2),
        (SELECT version_id FROM aliases WHERE image_id = i.id AND name = $2))
    WHERE i.name = $1 AND v.state = 'published'"
);
// The kinds sort in the order in which they are wanted.
const ENTRIES: &str = "SELECT 'artifact' AS kind, a.id AS artifact_id, a.operating_system, a.architecture, a.variant,
        a.format, a.primary_blob_digest AS digest, a.primary_blob_size_bytes AS size_bytes,
        a.primary_media_type AS media_type, a.created_at, n.artifact_id AS inspected, n.detected_format,
        n.virtual_size_bytes, n.cluster_size_bytes, n.compression, CAST(NULL AS uuid) AS attachment_id, NULL AS name,
        NULL AS step, NULL AS reason, CAST(NULL AS bigint) AS sequence
    FROM artifacts a LEFT JOIN inspections n ON n.artifact_id = a.id WHERE a.version_id = $1
    UNION ALL SELECT 'attachment', artifact_id, NULL, NULL, NULL, NULL, blob_digest, blob_size_bytes, media_type,
        created_at, NULL, NULL, NULL, NULL, NULL, id, name, NULL, NULL, NULL FROM attachments WHERE version_id = $1
    UNION ALL SELECT 'warning', artifact_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, step, reason, sequence FROM publish_warnings WHERE version_id = $1
    ORDER BY kind, operating_system, architecture, variant, format, name, step, sequence";
const BLOBS: &str = "SELECT digest, size_bytes, storage_name, created_at FROM blobs WHERE state = 'trusted'
    AND digest IN (SELECT primary_blob_digest FROM artifacts WHERE version_id = $1
        UNION SELECT blob_digest FROM attachments WHERE version_id = $1)
    ORDER BY digest";
pub(crate) const STATEMENTS: &[&str] = &[VERSION, PUBLISHED_VERSION, REF, ENTRIES, BLOBS];

/// The version of that name and its image, if visible.
pub(crate) async fn resolve<C: Connection>(
    connection: &mut C,
    image: &ImageName,
    name: &VersionName,
    see: Visibility,
) -> Result<Option<ResolvedVersion>, CatalogError> {
    let sql = match see {
        Visibility::Published => PUBLISHED_VERSION,
        Visibility::All => VERSION,
    };
    find::<ResolvedRow, _, _>(connection, sql, values![image.as_str(), name.as_str()]).await
}

/// The entries and warnings of a version.
pub(crate) async fn entries<C: Connection>(
    connection: &mut C,
    version: VersionId,
) -> Result<ManifestEntries, CatalogError> {
    let found: Vec<EntryRow> = rows(connection, ENTRIES, values![version.uuid()]).await?;
    Ok(manifest_entries(version, found)?)
}

#[async_trait]
impl<D: SqlDatabase> ManifestQueries for SqlCatalog<D> {
    async fn resolve_version(
        &self,
        image: &ImageName,
        name: &VersionName,
        see: Visibility,
    ) -> Result<Option<ResolvedVersion>, CatalogError> {
        resolve(&mut self.database.reader().await?, image, name, see).await
    }

    async fn resolve_ref(&self, image: &ImageName, name: &RefName) -> Result<Option<ResolvedVersion>, CatalogError> {
        let values = values![image.as_str(), name.as_str()];
        find::<ResolvedRow, _, _>(&mut self.database.reader().await?, REF, values).await
    }

    async fn get_manifest_entries(&self, version: VersionId) -> Result<ManifestEntries, CatalogError> {
        entries(&mut self.database.reader().await?, version).await
    }

    async fn get_manifest_blobs(&self, version: VersionId) -> Result<Vec<TrustedBlob>, CatalogError> {
        list::<BlobRow, _, _>(&mut self.database.reader().await?, BLOBS, values![version.uuid()]).await
    }
}
