//! Images, and the catalog revision.

use crate::{
    core::{Connection, Corrupt, Dialects, Record, Row, SqlTx, locking, values},
    repos::{links, retention},
};
use async_trait::async_trait;
use imgsrv_domain::{
    claims::Binding,
    ids::ImageId,
    image::Image,
    names::ImageName,
    ports::{CatalogError, ImageRepo},
};

/// The columns of an image, from `images i`.
macro_rules! columns {
    () => {
        "i.id AS image_id, i.name AS image_name, i.display_name, i.description, i.visibility,
        i.created_at AS image_created_at, i.updated_at AS image_updated_at, i.revision AS image_revision"
    };
}
pub(crate) use columns;

/// Images that `rest` selects.
macro_rules! select {
    ($($rest:expr),+) => {
        concat!("SELECT ", $crate::repos::images::columns!(), " FROM images i ", $($rest),+)
    };
}
pub(crate) use select;

pub(crate) const GET: &str = select!("WHERE i.name = $1");
const LOCK: Dialects = locking!(select!("WHERE i.name = $1"), " FOR NO KEY UPDATE");
const INSERT: &str =
    "INSERT INTO images (id, name, display_name, description, visibility, created_at, updated_at, revision)
    VALUES ($1, $2, $3, $4, $5, $6, $7, 1)";
const UPDATE: &str = "UPDATE images SET display_name = $3, description = $4, visibility = $5, updated_at = $6,
    revision = revision + 1 WHERE id = $1 AND revision = $2";
const DELETE: &str = "DELETE FROM images WHERE id = $1";
const DELETE_CHANGE: &str = "DELETE FROM image_changes WHERE image_id = $1";
const BUMP: &str = "UPDATE catalog_revision SET revision = revision + 1";
// Always after the revision, so that two transactions never wait for each other.
const RECORD_CHANGE: &str = "INSERT INTO image_changes (image_id, catalog_revision)
    SELECT $1, revision FROM catalog_revision WHERE true
    ON CONFLICT (image_id) DO UPDATE SET catalog_revision = excluded.catalog_revision";
// Both at once, so that the lock of the revision lasts for fewer round trips.
const BUMP_AND_RECORD_CHANGE: &str =
    "WITH bumped AS (UPDATE catalog_revision SET revision = revision + 1 RETURNING revision)
    INSERT INTO image_changes (image_id, catalog_revision) SELECT $1, revision FROM bumped
    ON CONFLICT (image_id) DO UPDATE SET catalog_revision = excluded.catalog_revision";
const BIND: &str = "INSERT INTO image_bindings (image_id, rule_id, claims) VALUES ($1, $2, $3)";
/// The name of an image, and what it is bound to, from `images i`.
macro_rules! bindings {
    ($rest:literal) => {
        concat!(
            "SELECT i.name AS image_name, b.rule_id, b.claims FROM ",
            $rest,
            " LEFT JOIN image_bindings b ON b.image_id = i.id"
        )
    };
}
pub(crate) use bindings;
pub(crate) const GET_BINDING: &str = concat!(bindings!("images i"), " WHERE i.name = $1");
pub(crate) const STATEMENTS: &[&str] =
    &[BIND, GET_BINDING, GET, INSERT, UPDATE, DELETE, DELETE_CHANGE, BUMP, RECORD_CHANGE];
pub(crate) const POSTGRES: &[&str] = &[LOCK.postgres, BUMP_AND_RECORD_CHANGE];

#[async_trait]
impl<C: Connection> ImageRepo for SqlTx<C> {
    async fn get_image(&mut self, name: &ImageName) -> Result<Option<Image>, CatalogError> {
        self.find(GET, values![name]).await
    }

    async fn lock_image(&mut self, name: &ImageName) -> Result<Option<Image>, CatalogError> {
        self.find(LOCK, values![name]).await
    }

    async fn insert_image(&mut self, image: &Image) -> Result<(), CatalogError> {
        let Image { id, name, display_name, description, visibility, created_at, updated_at, .. } = image;
        let values = values![id, name, display_name, description, visibility, created_at, updated_at];
        self.execute(INSERT, values).await.map(drop)
    }

    async fn bind_image(&mut self, id: ImageId, to: &Binding) -> Result<(), CatalogError> {
        self.execute(BIND, values![id, to.rule, to.claims]).await.map(drop)
    }

    async fn get_binding(&mut self, image: &ImageName) -> Result<Option<Option<Binding>>, CatalogError> {
        let found: Option<Bound> = self.find(GET_BINDING, values![image]).await?;
        Ok(found.map(|bound| bound.to))
    }

    async fn update_image(&mut self, image: &Image) -> Result<(), CatalogError> {
        let Image { id, revision, display_name, description, visibility, updated_at, .. } = image;
        let values = values![id, revision, display_name, description, visibility, updated_at];
        self.execute_fenced(UPDATE, values).await
    }

    async fn delete_image(&mut self, id: ImageId) -> Result<(), CatalogError> {
        self.execute(DELETE, values![id]).await?;
        self.execute(retention::DELETE, values![id]).await?;
        self.execute(links::DELETE, values![id]).await?;
        self.execute(DELETE_CHANGE, values![id]).await.map(drop)
    }

    async fn bump_catalog_revision(&mut self, image: ImageId) -> Result<(), CatalogError> {
        if C::LOCKS_ROWS {
            return self.execute(BUMP_AND_RECORD_CHANGE, values![image]).await.map(drop);
        }
        self.execute(BUMP, values![]).await?;
        self.execute(RECORD_CHANGE, values![image]).await.map(drop)
    }
}

/// An image, and what it is bound to.
pub(crate) struct Bound {
    pub(crate) image: ImageName,
    pub(crate) to: Option<Binding>,
}

impl Record for Bound {
    const WHAT: &'static str = "binding";
    const ID: &'static str = "image_name";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let to = match (row.optional("rule_id")?, row.optional("claims")?) {
            (Some(rule), Some(claims)) => Some(Binding { rule, claims }),
            _ => None,
        };
        Ok(Self { image: row.get("image_name")?, to })
    }
}

impl Record for Image {
    const WHAT: &'static str = "image";
    const ID: &'static str = "image_id";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            id: row.get("image_id")?,
            name: row.get("image_name")?,
            display_name: row.optional("display_name")?,
            description: row.optional("description")?,
            visibility: row.get("visibility")?,
            created_at: row.get("image_created_at")?,
            updated_at: row.get("image_updated_at")?,
            revision: row.get("image_revision")?,
        })
    }
}
