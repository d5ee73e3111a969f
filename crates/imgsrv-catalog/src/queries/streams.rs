//! Reads of the catalog revision and of the stream index.

use crate::{
    core::{
        catalog::{SqlCatalog, SqlDatabase},
        connection::{Connection, list, rows, scalar},
        value::values,
    },
    rows::{StreamImageRow, StreamIndexRow, stream_images},
};
use async_trait::async_trait;
use imgsrv_domain::{
    ports::{CatalogError, StreamChanges, StreamQueries},
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
    Ok(Revision::new(scalar(connection, REVISION, values![]).await?))
}

#[async_trait]
impl<D: SqlDatabase> StreamQueries for SqlCatalog<D> {
    async fn catalog_revision(&self) -> Result<Revision, CatalogError> {
        revision(&mut self.reader().await?).await
    }

    async fn get_stream_changes(&self, since: Option<Revision>) -> Result<StreamChanges, CatalogError> {
        let (mut snapshot, _) = self.snapshot().await?;
        let revision = revision(&mut snapshot).await?;
        let after = since.map_or(0, Revision::get);
        let index = list::<StreamIndexRow, _, _>(&mut snapshot, ROWS, values![after]).await?;
        let images: Vec<StreamImageRow> = rows(&mut snapshot, IMAGES, values![after]).await?;
        Ok(StreamChanges { revision, rows: index, images: stream_images(images)? })
    }
}
