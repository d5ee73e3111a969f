//! Versions; their manifests are in [`super::manifests`].

use crate::{
    core::{
        connection::{Connection, Dialects},
        tx::SqlTx,
        value::values,
    },
    repos::manifests,
    rows::VersionRow,
};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::VersionId,
    names::{ImageName, VersionName},
    ports::{CatalogError, VersionRepo},
    version::Version,
};

/// Versions that `rest` selects, with the names of their images.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT v.id, v.image_id, i.name AS image_name, v.name, v.state, v.published_at, v.created_at, v.updated_at,
            v.revision FROM versions v JOIN images i ON i.id = v.image_id ",
            $rest
        )
    };
}
pub(crate) use select;

const LOCK: Dialects = Dialects {
    sqlite: select!("WHERE i.name = $1 AND v.name = $2"),
    postgres: select!("WHERE i.name = $1 AND v.name = $2 FOR NO KEY UPDATE OF v"),
};
const LOCK_BY_ID: Dialects =
    Dialects { sqlite: select!("WHERE v.id = $1"), postgres: select!("WHERE v.id = $1 FOR NO KEY UPDATE OF v") };
const INSERT: &str = "INSERT INTO versions (id, image_id, name, state, published_at, created_at, updated_at, revision)
    VALUES ($1, $2, $3, $4, $5, $6, $7, 1)";
const UPDATE: &str = "UPDATE versions SET state = $3, published_at = $4, updated_at = $5, revision = revision + 1
    WHERE id = $1 AND revision = $2";
const DELETE: &str = "DELETE FROM versions WHERE id = $1 AND revision = $2";
pub(crate) const STATEMENTS: &[&str] = &[LOCK.sqlite, LOCK_BY_ID.sqlite, INSERT, UPDATE, DELETE];
pub(crate) const POSTGRES: &[&str] = &[LOCK.postgres, LOCK_BY_ID.postgres];

#[async_trait]
impl<C: Connection> VersionRepo for SqlTx<C> {
    async fn lock_version(&mut self, image: &ImageName, name: &VersionName) -> Result<Option<Version>, CatalogError> {
        self.find_locked::<VersionRow, _>(LOCK, values![image.as_str(), name.as_str()]).await
    }

    async fn lock_version_by_id(&mut self, id: VersionId) -> Result<Option<Version>, CatalogError> {
        self.find_locked::<VersionRow, _>(LOCK_BY_ID, values![id.uuid()]).await
    }

    async fn insert_version(&mut self, version: &Version) -> Result<(), CatalogError> {
        let values = values![
            version.id.uuid(),
            version.image_id.uuid(),
            version.name.as_str(),
            version.state.name(),
            version.state.published_at(),
            version.created_at,
            version.updated_at,
        ];
        self.execute(INSERT, values).await.map(drop)
    }

    async fn update_version(&mut self, version: &Version) -> Result<(), CatalogError> {
        let values = values![
            version.id.uuid(),
            version.revision.get(),
            version.state.name(),
            version.state.published_at(),
            version.updated_at,
        ];
        self.execute_fenced(UPDATE, values).await
    }

    async fn delete_version(&mut self, version: &Version) -> Result<(), CatalogError> {
        for statement in manifests::DELETE_OF_VERSION {
            self.execute(statement, values![version.id.uuid()]).await?;
        }
        self.execute_fenced(DELETE, values![version.id.uuid(), version.revision.get()]).await
    }
}
