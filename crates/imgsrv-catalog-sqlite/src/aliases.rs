//! Aliases and the catalog revision.

use crate::tx::{SqliteTx, run};
use async_trait::async_trait;
use imgsrv_catalog_sql::{AliasRow, SqlTime};
use imgsrv_domain::{
    ids::{AliasId, ImageId},
    image::Alias,
    names::AliasName,
    ports::{AliasRepo, CatalogError},
};
use sqlx::{query, query_as};

const FIND: &str = "SELECT a.id, a.image_id, a.name, a.version_id, v.name AS version_name, a.created_at, a.updated_at,
    a.revision FROM aliases a JOIN versions v ON v.id = a.version_id WHERE a.image_id = $1 AND a.name = $2";
const INSERT: &str = "INSERT INTO aliases (id, image_id, name, version_id, created_at, updated_at, revision)
    VALUES ($1, $2, $3, $4, $5, $6, 1)";
const UPDATE: &str = "UPDATE aliases SET version_id = $3, updated_at = $4, revision = revision + 1
    WHERE id = $1 AND revision = $2";
const DELETE: &str = "DELETE FROM aliases WHERE id = $1";
const BUMP: &str = "UPDATE catalog_revision SET revision = revision + 1";
pub(crate) const STATEMENTS: &[&str] = &[FIND, INSERT, UPDATE, DELETE, BUMP];

#[async_trait]
impl AliasRepo for SqliteTx {
    async fn find_alias(&mut self, image: ImageId, name: &AliasName) -> Result<Option<Alias>, CatalogError> {
        run!(self, find, query_as::<_, AliasRow>(FIND).bind(image.uuid()).bind(name.as_str()))
    }

    async fn insert_alias(&mut self, alias: &Alias) -> Result<(), CatalogError> {
        let statement = query(INSERT)
            .bind(alias.id.uuid())
            .bind(alias.image_id.uuid())
            .bind(alias.name.as_str())
            .bind(alias.version_id.uuid())
            .bind(SqlTime::from(alias.created_at))
            .bind(SqlTime::from(alias.updated_at));
        run!(self, execute, statement).map(drop)
    }

    async fn update_alias(&mut self, alias: &Alias) -> Result<(), CatalogError> {
        let statement = query(UPDATE)
            .bind(alias.id.uuid())
            .bind(alias.revision.get())
            .bind(alias.version_id.uuid())
            .bind(SqlTime::from(alias.updated_at));
        run!(self, execute_held, statement)
    }

    async fn delete_alias(&mut self, id: AliasId) -> Result<(), CatalogError> {
        run!(self, execute, query(DELETE).bind(id.uuid())).map(drop)
    }

    async fn bump_catalog_revision(&mut self) -> Result<(), CatalogError> {
        run!(self, execute, query(BUMP)).map(drop)
    }
}
