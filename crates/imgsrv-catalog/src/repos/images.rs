//! Images.

use crate::{
    Connection, ImageRow, SqlTx,
    core::{connection::Lockable, value::values},
};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::ImageId,
    image::Image,
    names::ImageName,
    ports::{CatalogError, ImageRepo},
    text::{LongText, ShortText},
};

macro_rules! find {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, display_name, description, created_at, updated_at, revision FROM images WHERE name = $1",
            $rest
        )
    };
}
const FIND: &str = find!("");
const FIND_TO_CHANGE: Lockable = Lockable { plain: FIND, locking: find!(" FOR NO KEY UPDATE") };
const INSERT: &str = "INSERT INTO images (id, name, display_name, description, created_at, updated_at, revision)
    VALUES ($1, $2, $3, $4, $5, $6, 1)";
const UPDATE: &str = "UPDATE images SET display_name = $3, description = $4, updated_at = $5, revision = revision + 1
    WHERE id = $1 AND revision = $2";
const DELETE: &str = "DELETE FROM images WHERE id = $1";
const FORGET_CHANGES: &str = "DELETE FROM image_changes WHERE image_id = $1";
pub(crate) const STATEMENTS: &[&str] = &[FIND, INSERT, UPDATE, DELETE, FORGET_CHANGES];
pub(crate) const LOCKING: &[&str] = &[FIND_TO_CHANGE.locking];

#[async_trait]
impl<C: Connection> ImageRepo for SqlTx<C> {
    async fn get_image(&mut self, name: &ImageName) -> Result<Option<Image>, CatalogError> {
        self.find::<ImageRow, _>(FIND, values![name.as_str()]).await
    }

    async fn lock_image(&mut self, name: &ImageName) -> Result<Option<Image>, CatalogError> {
        self.get_locked::<ImageRow, _>(FIND_TO_CHANGE, values![name.as_str()]).await
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
        self.execute(FORGET_CHANGES, values![id.uuid()]).await.map(drop)
    }
}
