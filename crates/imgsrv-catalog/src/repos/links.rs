//! The key of links, and the generations of the links of images.

use crate::core::{Connection, Corrupt, Record, Row, SqlTx, values};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::ImageId,
    link::LinkKey,
    ports::{CatalogError, LinkRepo},
};

// An update that changes nothing returns the key that exists.
const ENSURE: &str = r#"INSERT INTO link_key ("only", id, secret, created_at) VALUES (1, 1, $1, $2)
    ON CONFLICT ("only") DO UPDATE SET id = link_key.id RETURNING id, secret"#;
const REPLACE: &str = r#"INSERT INTO link_key ("only", id, secret, created_at) VALUES (1, 1, $1, $2)
    ON CONFLICT ("only") DO UPDATE SET id = link_key.id + 1, secret = excluded.secret, created_at = excluded.created_at
    RETURNING id, secret"#;
const REVOKE: &str = "INSERT INTO link_generations (image_id, generation) VALUES ($1, 1)
    ON CONFLICT (image_id) DO UPDATE SET generation = link_generations.generation + 1";
pub(crate) const DELETE: &str = "DELETE FROM link_generations WHERE image_id = $1";
pub(crate) const STATEMENTS: &[&str] = &[ENSURE, REPLACE, REVOKE, DELETE];

#[async_trait]
impl<C: Connection> LinkRepo for SqlTx<C> {
    async fn ensure_link_key(&mut self, secret: &[u8; 32]) -> Result<LinkKey, CatalogError> {
        self.get(ENSURE, values![secret, self.time()]).await
    }

    async fn replace_link_key(&mut self, secret: &[u8; 32]) -> Result<LinkKey, CatalogError> {
        self.get(REPLACE, values![secret, self.time()]).await
    }

    async fn revoke_links(&mut self, image: ImageId) -> Result<(), CatalogError> {
        self.execute(REVOKE, values![image]).await.map(drop)
    }
}

impl Record for LinkKey {
    const WHAT: &'static str = "link key";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self { id: row.get("id")?, secret: row.get("secret")? })
    }
}
