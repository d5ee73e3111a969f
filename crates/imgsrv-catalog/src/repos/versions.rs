//! Versions; their manifests are in [`super::manifests`].

use crate::{
    core::{Connection, Corrupt, Dialects, Record, Row, SqlTx, locking, values},
    repos::manifests,
};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::VersionId,
    lifecycle::Lifecycle,
    names::{ImageName, VersionName},
    ports::{BlobLedger, CatalogError, VersionRepo},
    transition::Revision,
    version::{Version, VersionRecord, VersionState},
};

/// The columns of a version and its lifecycle, from `versions v` and `version_lifecycles l`; with those of its image they
/// are all that is stored of it.
macro_rules! columns {
    () => {
        concat!(
            "v.id, v.name, v.state, v.published_at, v.created_at, v.updated_at, v.revision, ",
            $crate::rows::lifecycles::columns!()
        )
    };
}
pub(crate) use columns;

/// Versions that `rest` selects, with the names of their images.
macro_rules! select {
    ($($rest:expr),+ $(,)?) => {
        concat!(
            "SELECT ",
            $crate::repos::versions::columns!(),
            ", i.id AS image_id, i.name AS image_name FROM versions v JOIN images i ON i.id = v.image_id
            LEFT JOIN version_lifecycles l ON l.version_id = v.id ",
            $($rest),+
        )
    };
}
pub(crate) use select;

const LOCK: Dialects = locking!(select!("WHERE i.name = $1 AND v.name = $2"), " FOR NO KEY UPDATE OF v");
const LOCK_BY_ID: Dialects = locking!(select!("WHERE v.id = $1"), " FOR NO KEY UPDATE OF v");
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
        self.find(LOCK, values![image, name]).await
    }

    async fn lock_version_by_id(&mut self, id: VersionId) -> Result<Option<Version>, CatalogError> {
        self.find(LOCK_BY_ID, values![id]).await
    }

    async fn insert_version(&mut self, version: &Version) -> Result<(), CatalogError> {
        let VersionRecord { id, image_id, name, state, created_at, updated_at, .. } = &**version;
        let values = values![id, image_id, name, state.name(), state.published_at(), created_at, updated_at];
        self.execute(INSERT, values).await.map(drop)
    }

    async fn update_version(&mut self, version: &Version) -> Result<(), CatalogError> {
        let VersionRecord { id, revision, state, updated_at, .. } = &**version;
        self.execute_fenced(UPDATE, values![id, revision, state.name(), state.published_at(), updated_at]).await
    }

    async fn delete_version(&mut self, version: &Version) -> Result<(), CatalogError> {
        self.release_blobs(version.id).await?;
        for statement in manifests::DELETE_OF_VERSION {
            self.execute(statement, values![version.id]).await?;
        }
        self.execute_fenced(DELETE, values![version.id, version.revision]).await
    }
}

impl Record for Version {
    const WHAT: &'static str = "version";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let state = match (row.get::<String>("state")?.as_str(), row.optional("published_at")?) {
            ("draft", None) => VersionState::Draft,
            ("publishing", None) => VersionState::Publishing,
            ("published", Some(at)) => VersionState::Published { at },
            _ => return Err(row.corrupt("its state and publication time do not match")),
        };
        Ok(Self::restore(VersionRecord {
            id: row.get("id")?,
            image_id: row.get("image_id")?,
            image: row.get("image_name")?,
            name: row.get("name")?,
            state,
            lifecycle: match row.optional::<Revision>("lifecycle_revision")? {
                Some(_) => row.record()?,
                None => Lifecycle::active(row.get("created_at")?),
            },
            created_at: row.get("created_at")?,
            updated_at: row.get("updated_at")?,
            revision: row.get("revision")?,
        }))
    }
}
