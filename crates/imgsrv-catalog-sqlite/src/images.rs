//! Images.

use crate::tx::{SqliteTx, run};
use async_trait::async_trait;
use imgsrv_catalog_sql::{ImageRow, SqlTime};
use imgsrv_domain::{
    ids::ImageId,
    image::Image,
    names::ImageName,
    ports::{CatalogError, ImageRepo},
};
use sqlx::{query, query_as};

const FIND: &str = "SELECT id, name, display_name, description, created_at, updated_at, revision
    FROM images WHERE name = $1";
const INSERT: &str = "INSERT INTO images (id, name, display_name, description, created_at, updated_at, revision)
    VALUES ($1, $2, $3, $4, $5, $6, 1)";
const UPDATE: &str = "UPDATE images SET display_name = $3, description = $4, updated_at = $5, revision = revision + 1
    WHERE id = $1 AND revision = $2";
const DELETE: &str = "DELETE FROM images WHERE id = $1";
pub(crate) const STATEMENTS: &[&str] = &[FIND, INSERT, UPDATE, DELETE];

#[async_trait]
impl ImageRepo for SqliteTx {
    async fn find_image(&mut self, name: &ImageName) -> Result<Option<Image>, CatalogError> {
        run!(self, find, query_as::<_, ImageRow>(FIND).bind(name.as_str()))
    }

    async fn insert_image(&mut self, image: &Image) -> Result<(), CatalogError> {
        let statement = query(INSERT)
            .bind(image.id.uuid())
            .bind(image.name.as_str())
            .bind(image.display_name.as_ref().map(imgsrv_domain::text::ShortText::as_str))
            .bind(image.description.as_ref().map(imgsrv_domain::text::LongText::as_str))
            .bind(SqlTime::from(image.created_at))
            .bind(SqlTime::from(image.updated_at));
        run!(self, execute, statement).map(drop)
    }

    async fn update_image(&mut self, image: &Image) -> Result<(), CatalogError> {
        let statement = query(UPDATE)
            .bind(image.id.uuid())
            .bind(image.revision.get())
            .bind(image.display_name.as_ref().map(imgsrv_domain::text::ShortText::as_str))
            .bind(image.description.as_ref().map(imgsrv_domain::text::LongText::as_str))
            .bind(SqlTime::from(image.updated_at));
        run!(self, execute_held, statement)
    }

    async fn delete_image(&mut self, id: ImageId) -> Result<(), CatalogError> {
        run!(self, execute, query(DELETE).bind(id.uuid())).map(drop)
    }
}
