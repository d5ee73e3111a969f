//! Reads of the catalog revision and of the stream index.

use crate::core::{Connection, Corrupt, Record, Row, SqlCatalog, SqlDatabase, values};
use async_trait::async_trait;
use imgsrv_domain::{
    ports::{CatalogError, StreamChanges, StreamImage, StreamQueries, StreamRow},
    transition::Revision,
};

const REVISION: &str = "SELECT revision FROM catalog_revision";
const ROWS: &str = "SELECT v.image_id, v.name AS version_name, v.published_at, a.operating_system, a.architecture,
    a.variant, a.format, a.primary_blob_digest, a.primary_blob_size_bytes, t.name AS attachment_name, t.blob_digest,
    t.blob_size_bytes, r.fingerprint FROM incus_rows r JOIN artifacts a ON a.id = r.artifact_id
    JOIN attachments t ON t.id = r.attachment_id JOIN versions v ON v.id = r.version_id
    WHERE r.catalog_revision > $1";
const IMAGES: &str = "SELECT i.id, i.name, i.display_name, a.name AS alias, v.name AS version_name FROM image_changes c
    JOIN images i ON i.id = c.image_id LEFT JOIN aliases a ON a.image_id = i.id LEFT JOIN versions v ON v.id = a.version_id
    WHERE c.catalog_revision > $1 ORDER BY i.id";
pub(crate) const STATEMENTS: &[&str] = &[REVISION, ROWS, IMAGES];

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
        let after = since.map_or(0, Revision::get);
        let rows = snapshot.list(ROWS, values![after]).await?;
        let mut images: Vec<StreamImage> = snapshot.list(IMAGES, values![after]).await?;
        images.dedup_by(|next, image| {
            let is_same = next.id == image.id;
            if is_same {
                image.aliases.append(&mut next.aliases);
            }
            is_same
        });
        Ok(StreamChanges { revision, rows, images })
    }
}

impl Record for StreamRow {
    const WHAT: &'static str = "stream index row";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            image: row.get("image_id")?,
            version: row.get("version_name")?,
            published_at: row.get("published_at")?,
            operating_system: row.get("operating_system")?,
            architecture: row.get("architecture")?,
            variant: row.get("variant")?,
            format: row.get("format")?,
            root: row.claim("primary_blob_digest", "primary_blob_size_bytes")?,
            metadata_name: row.get("attachment_name")?,
            metadata: row.claim("blob_digest", "blob_size_bytes")?,
            fingerprint: row.get("fingerprint")?,
        })
    }
}

/// An image that changed, with one of its aliases if it has any.
impl Record for StreamImage {
    const WHAT: &'static str = "image";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            display_name: row.optional("display_name")?,
            aliases: row.optional("alias")?.zip(row.optional("version_name")?).into_iter().collect(),
        })
    }
}
