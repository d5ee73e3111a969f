//! Aliases.

use crate::core::{Connection, Corrupt, Record, Row, SqlTx, values};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::{AliasId, ImageId},
    image::Alias,
    names::AliasName,
    ports::{AliasRepo, CatalogError},
    time::Timestamp,
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT a.id, a.image_id, a.name, a.version_id, v.name AS version_name, a.created_at, a.updated_at, a.revision
            FROM aliases a JOIN versions v ON v.id = a.version_id ",
            $rest
        )
    };
}
pub(crate) use select;

// Read after the alias is locked: its version may have changed while this transaction waited for the lock.
const GET: &str = select!("WHERE a.image_id = $1 AND a.name = $2");
const LOCK: &str = "SELECT id FROM aliases WHERE image_id = $1 AND name = $2 FOR NO KEY UPDATE";
const INSERT: &str = "INSERT INTO aliases (id, image_id, name, version_id, created_at, updated_at, revision)
    VALUES ($1, $2, $3, $4, $5, $6, 1)";
const UPDATE: &str = "UPDATE aliases SET version_id = $3, updated_at = $4, revision = revision + 1
    WHERE id = $1 AND revision = $2";
const LAST_MOVE: &str = "SELECT moved_at FROM deleted_aliases WHERE image_id = $1 AND name = $2";
const DELETE: &str = "DELETE FROM aliases WHERE id = $1";
pub(crate) const STATEMENTS: &[&str] = &[GET, INSERT, UPDATE, LAST_MOVE, DELETE];
pub(crate) const POSTGRES: &[&str] = &[LOCK];

#[async_trait]
impl<C: Connection> AliasRepo for SqlTx<C> {
    async fn lock_alias(&mut self, image: ImageId, name: &AliasName) -> Result<Option<Alias>, CatalogError> {
        self.lock(LOCK, values![image, name]).await?;
        self.find(GET, values![image, name]).await
    }

    async fn insert_alias(&mut self, alias: &Alias) -> Result<(), CatalogError> {
        let Alias { id, image_id, name, version_id, created_at, updated_at, .. } = alias;
        self.execute(INSERT, values![id, image_id, name, version_id, created_at, updated_at]).await.map(drop)
    }

    async fn update_alias(&mut self, alias: &Alias) -> Result<(), CatalogError> {
        self.execute_fenced(UPDATE, values![alias.id, alias.revision, alias.version_id, alias.updated_at]).await
    }

    async fn get_last_move(&mut self, image: ImageId, name: &AliasName) -> Result<Option<Timestamp>, CatalogError> {
        self.find(LAST_MOVE, values![image, name]).await
    }

    async fn delete_alias(&mut self, id: AliasId) -> Result<(), CatalogError> {
        self.execute(DELETE, values![id]).await.map(drop)
    }
}

impl Record for Alias {
    const WHAT: &'static str = "alias";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            id: row.get("id")?,
            image_id: row.get("image_id")?,
            name: row.get("name")?,
            version_id: row.get("version_id")?,
            version: row.get("version_name")?,
            created_at: row.get("created_at")?,
            updated_at: row.get("updated_at")?,
            revision: row.get("revision")?,
        })
    }
}
