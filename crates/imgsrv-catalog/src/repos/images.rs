//! Images, and the catalog revision.

use crate::{
    core::{
        connection::{Connection, Dialects},
        tx::SqlTx,
        value::values,
    },
    rows::ImageRow,
};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::ImageId,
    image::Image,
    names::ImageName,
    ports::{CatalogError, ImageRepo},
    text::{LongText, ShortText},
};

/// Images that `rest` selects.
macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, name, display_name, description, created_at, updated_at, revision FROM images ", $rest)
    };
}
pub(crate) use select;

const GET: &str = select!("WHERE name = $1");
const LOCK: Dialects = Dialects { sqlite: GET, postgres: select!("WHERE name = $1 FOR NO KEY UPDATE") };
const INSERT: &str = "INSERT INTO images (id, name, display_name, description, created_at, updated_at, revision)
    VALUES ($1, $2, $3, $4, $5, $6, 1)";
const UPDATE: &str = "UPDATE images SET display_name = $3, description = $4, updated_at = $5, revision = revision + 1
    WHERE id = $1 AND revision = $2";
const DELETE: &str = "DELETE FROM images WHERE id = $1";
const DELETE_CHANGE: &str = "DELETE FROM image_changes WHERE image_id = $1";
const BUMP: &str = "UPDATE catalog_revision SET revision = revision + 1";
// Always after the revision, so that two transactions never wait for each other.
const RECORD_CHANGE: &str = "INSERT INTO image_changes (image_id, catalog_revision)
    SELECT $1, revision FROM catalog_revision WHERE true
    ON CONFLICT (image_id) DO UPDATE SET catalog_revision = excluded.catalog_revision";
pub(crate) const STATEMENTS: &[&str] = &[GET, INSERT, UPDATE, DELETE, DELETE_CHANGE, BUMP, RECORD_CHANGE];
pub(crate) const POSTGRES: &[&str] = &[LOCK.postgres];

#[async_trait]
impl<C: Connection> ImageRepo for SqlTx<C> {
    async fn get_image(&mut self, name: &ImageName) -> Result<Option<Image>, CatalogError> {
        self.find::<ImageRow, _>(GET, values![name.as_str()]).await
    }

    async fn lock_image(&mut self, name: &ImageName) -> Result<Option<Image>, CatalogError> {
        self.find_locked::<ImageRow, _>(LOCK, values![name.as_str()]).await
    }

    async fn insert_image(&mut self, image: &Image) -> Result<(), CatalogError> {
        let values = values![
            image.id.uuid(),
            image.name.as_str(),
            image.display_name.as_ref().map(ShortText::as_str),
            image.description.as_ref().map(LongText::as_str),
            image.created_at,
            image.updated_at,
        ];
        self.execute(INSERT, values).await.map(drop)
    }

    async fn update_image(&mut self, image: &Image) -> Result<(), CatalogError> {
        let values = values![
            image.id.uuid(),
            image.revision.get(),
            image.display_name.as_ref().map(ShortText::as_str),
            image.description.as_ref().map(LongText::as_str),
            image.updated_at,
        ];
        self.execute_fenced(UPDATE, values).await
    }

    async fn delete_image(&mut self, id: ImageId) -> Result<(), CatalogError> {
        self.execute(DELETE, values![id.uuid()]).await?;
        self.execute(DELETE_CHANGE, values![id.uuid()]).await.map(drop)
    }

    async fn bump_catalog_revision(&mut self, image: ImageId) -> Result<(), CatalogError> {
        self.execute(BUMP, values![]).await?;
        self.execute(RECORD_CHANGE, values![image.uuid()]).await.map(drop)
    }
}
