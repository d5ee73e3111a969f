//! Reads of the catalog revision and of the stream index.

use crate::core::{Connection, Corrupt, Listed, Record, Row, SqlCatalog, SqlDatabase, read_all, values};
use async_trait::async_trait;
use imgsrv_domain::{
    image::{Alias, Image},
    inspection::IncusLayout,
    lifecycle::{Lifecycle, LifecycleState},
    names::{AliasName, VersionName},
    ports::{
        CatalogError, StreamChanges, StreamImage, StreamLifecycle, StreamListing, StreamMetadata, StreamQueries,
        StreamRow,
    },
    transition::Revision,
};
use uuid::Uuid;

const REVISION: &str = "SELECT revision FROM catalog_revision";
// By revision, so that the changes since one are a section of an index.
const ROWS: &str = "SELECT r.catalog_revision, r.artifact_id, v.image_id, v.name AS version_name, v.published_at, a.operating_system, a.architecture,
    a.variant, a.format, a.primary_blob_digest, a.primary_blob_size_bytes, r.attachment_id, t.name AS attachment_name, t.blob_digest,
    t.blob_size_bytes, r.unified_kind, r.fingerprint, r.properties, r.expires_at FROM incus_rows r JOIN artifacts a ON a.id = r.artifact_id
    LEFT JOIN attachments t ON t.id = r.attachment_id JOIN versions v ON v.id = r.version_id
    WHERE (r.catalog_revision, r.artifact_id) > ($1, $2) ORDER BY r.catalog_revision, r.artifact_id LIMIT $3";
const IMAGES: &str = "SELECT c.catalog_revision, c.image_id AS id, i.name, i.display_name, i.visibility,
    COALESCE(g.generation, 0) AS link_generation, a.id AS alias_id,
    a.name AS alias, v.name AS version_name FROM (SELECT catalog_revision, image_id FROM image_changes
        WHERE (catalog_revision, image_id) > ($1, $2) ORDER BY catalog_revision, image_id LIMIT $3) c
    LEFT JOIN images i ON i.id = c.image_id LEFT JOIN link_generations g ON g.image_id = i.id LEFT JOIN aliases a ON a.image_id = i.id
    LEFT JOIN versions v ON v.id = a.version_id ORDER BY c.catalog_revision, c.image_id, a.name";
const LIFECYCLES: &str = "SELECT l.catalog_revision, l.version_id AS id, l.image_id, v.name AS version_name, l.state,
    l.end_of_life FROM version_lifecycles l JOIN versions v ON v.id = l.version_id
    WHERE (l.catalog_revision, l.version_id) > ($1, $2) ORDER BY l.catalog_revision, l.version_id LIMIT $3";
pub(crate) const STATEMENTS: &[&str] = &[REVISION, ROWS, IMAGES, LIFECYCLES];

/// The revision of the catalog.
pub(crate) async fn revision<C: Connection>(connection: &mut C) -> Result<Revision, CatalogError> {
    connection.get(REVISION, values![]).await
}

#[async_trait]
impl<D: SqlDatabase> StreamQueries for SqlCatalog<D> {
    async fn catalog_revision(&self) -> Result<Revision, CatalogError> {
        revision(&mut self.reader().await?).await
    }

    async fn get_stream_changes(&self, since: Option<Revision>) -> Result<StreamChanges, CatalogError> {
        let (mut snapshot, _) = self.database.snapshot().await?;
        let revision = revision(&mut snapshot).await?;
        let start = since.map_or((0, Uuid::nil()), |since| (since.get(), Uuid::max()));
        let values = |(revision, id): &(i64, Uuid), limit: i64| values![revision, id, limit];
        let rows = read_all(&mut snapshot, ROWS, start, values).await?;
        let lifecycles = read_all(&mut snapshot, LIFECYCLES, start, values).await?;
        let mut images: Vec<StreamImage> = Vec::new();
        for ImageRow { image, alias } in read_all(&mut snapshot, IMAGES, start, values).await? {
            let Some(image) = image else { continue };
            if images.last().is_none_or(|last| last.id != image.id) {
                images.push(image);
            }
            match (images.last_mut(), alias) {
                (Some(image), Some(Ok(StreamAlias(name, version)))) => image.aliases.push((name, version)),
                (_, Some(Err(corrupt))) => snapshot.undecodable().leave_out(&corrupt),
                (_, None) | (None, _) => {}
            }
        }
        Ok(StreamChanges { revision, rows, lifecycles, images })
    }
}

impl Listed for StreamRow {
    type Key = (i64, Uuid);

    fn key(row: &Row<'_>) -> Result<(i64, Uuid), Corrupt> {
        Ok((row.get("catalog_revision")?, row.get("artifact_id")?))
    }
}

impl Record for StreamRow {
    const WHAT: &'static str = "stream index row";
    const ID: &'static str = "artifact_id";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            artifact: row.get("artifact_id")?,
            image: row.get("image_id")?,
            version: row.get("version_name")?,
            published_at: row.get("published_at")?,
            operating_system: row.get("operating_system")?,
            architecture: row.get("architecture")?,
            variant: row.get("variant")?,
            format: row.get("format")?,
            root: row.claim("primary_blob_digest", "primary_blob_size_bytes")?,
            layout: match row.optional("unified_kind")? {
                Some(kind) => IncusLayout::Unified(kind),
                None => IncusLayout::Split(StreamMetadata {
                    id: row.get("attachment_id")?,
                    name: row.get("attachment_name")?,
                    claim: row.claim("blob_digest", "blob_size_bytes")?,
                }),
            },
            fingerprint: row.get("fingerprint")?,
            // Rows that were recorded without them have none.
            properties: row.optional("properties")?.unwrap_or_default(),
            expires_at: row.optional("expires_at")?,
        })
    }
}

impl Listed for StreamLifecycle {
    type Key = (i64, Uuid);

    fn key(row: &Row<'_>) -> Result<(i64, Uuid), Corrupt> {
        Ok((row.get("catalog_revision")?, row.get("id")?))
    }
}

impl Record for StreamLifecycle {
    const WHAT: &'static str = Lifecycle::WHAT;

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let listing = match row.get("state")? {
            LifecycleState::Active => StreamListing::Active,
            LifecycleState::Deprecated => StreamListing::Deprecated(row.optional("end_of_life")?),
            LifecycleState::Revoked | LifecycleState::Removed | LifecycleState::Tombstone => StreamListing::Withdrawn,
        };
        Ok(Self { image: row.get("image_id")?, version: row.get("version_name")?, listing })
    }
}

/// An image that changed, with one of its aliases if it has any.
struct ImageRow {
    /// The image, without aliases; absent if it was deleted.
    image: Option<StreamImage>,
    alias: Option<Result<StreamAlias, Corrupt>>,
}

impl Record for ImageRow {
    const WHAT: &'static str = Image::WHAT;

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let Some(name) = row.optional("name")? else { return Ok(Self { image: None, alias: None }) };
        let image = StreamImage {
            id: row.get("id")?,
            name,
            display_name: row.optional("display_name")?,
            visibility: row.get("visibility")?,
            link_generation: row.get("link_generation")?,
            aliases: Vec::new(),
        };
        let alias = match row.optional::<Uuid>("alias_id") {
            Ok(None) => None,
            Ok(Some(_)) | Err(_) => Some(row.record()),
        };
        Ok(Self { image: Some(image), alias })
    }
}

impl Listed for ImageRow {
    type Key = (i64, Uuid);

    fn key(row: &Row<'_>) -> Result<(i64, Uuid), Corrupt> {
        Ok((row.get("catalog_revision")?, row.get("id")?))
    }
}

/// An alias and its version.
struct StreamAlias(AliasName, VersionName);

impl Record for StreamAlias {
    const WHAT: &'static str = Alias::WHAT;
    const ID: &'static str = "alias_id";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self(row.get("alias")?, row.get("version_name")?))
    }
}
