//! Reads of links.

use crate::{
    core::{Connection, Corrupt, Dialects, Record, Row, SqlCatalog, SqlDatabase, timed, values},
    queries::principals,
    repos::principals::{columns, grants},
};
use async_trait::async_trait;
use imgsrv_domain::{
    auth::StoredToken,
    claims::RuleImages,
    ids::{PrincipalId, TokenId},
    link::{LinkKey, LinkedFile},
    ports::{Admittable, CatalogError, LinkQueries, LinkTarget, Timed},
};

const KEY: Dialects = timed!("SELECT id, secret, ", " FROM link_key");
/// The target of a link to the file that `rest` selects.
macro_rules! target {
    ($rest:literal) => {
        concat!(
            "SELECT i.name AS image_name, v.name AS version_name, a.id AS artifact_id,
            COALESCE(g.generation, 0) AS generation FROM artifacts a JOIN versions v ON v.id = a.version_id
            JOIN images i ON i.id = v.image_id LEFT JOIN link_generations g ON g.image_id = i.id ",
            $rest
        )
    };
}
const ARTIFACT: &str = target!("WHERE a.id = $1");
const ATTACHMENT: &str = target!("JOIN attachments t ON t.artifact_id = a.id WHERE t.id = $1");
const ADMITTABLE: &str = concat!(
    "SELECT ",
    columns!(),
    ", ",
    principals::by_hand!(),
    ", u.id AS rule_id, u.role AS rule_role, coalesce(u.images, '*') AS rule_images FROM principals p
    JOIN provisioning_grants g ON g.principal_id = p.id AND g.ended_at IS NULL
    JOIN provisioning_rules u ON u.id = g.rule_id AND u.role = g.role AND u.enabled WHERE p.id = $1"
);
pub(crate) const STATEMENTS: &[&str] = &[KEY.sqlite, ARTIFACT, ATTACHMENT, ADMITTABLE];
pub(crate) const POSTGRES: &[&str] = &[KEY.postgres];

#[async_trait]
impl<D: SqlDatabase> LinkQueries for SqlCatalog<D> {
    async fn get_link_key(&self) -> Result<Option<Timed<LinkKey>>, CatalogError> {
        let found = self.reader().await?.find(KEY, values![]).await?;
        found.map(|(value, now)| Ok(Timed { value, now: self.database.clock(now)? })).transpose()
    }

    async fn get_link_target(&self, file: LinkedFile) -> Result<Option<LinkTarget>, CatalogError> {
        let (statement, values) = match file {
            LinkedFile::Artifact(id) => (ARTIFACT, values![id]),
            LinkedFile::Attachment(id) => (ATTACHMENT, values![id]),
        };
        self.reader().await?.find(statement, values).await
    }

    async fn get_token_by_id(&self, id: TokenId) -> Result<Option<Timed<StoredToken>>, CatalogError> {
        let found = self.reader().await?.find(principals::TOKEN_BY_ID, values![id]).await?;
        found.map(|(value, now)| Ok(Timed { value, now: self.database.clock(now)? })).transpose()
    }

    async fn list_admittable(&self, id: PrincipalId) -> Result<Vec<Admittable>, CatalogError> {
        self.reader().await?.list_decodable(ADMITTABLE, values![id]).await
    }
}

impl Record for Admittable {
    const WHAT: &'static str = "grant";
    const ID: &'static str = "principal_id";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let images: RuleImages = row.get("rule_images")?;
        let (rule, role, by_hand) = (row.get("rule_id")?, row.get("rule_role")?, grants(row, "roles_by_hand")?);
        Ok(Self { principal: row.record()?, by_hand, rule, role, images })
    }
}

impl Record for LinkTarget {
    const WHAT: &'static str = "artifact";
    const ID: &'static str = "artifact_id";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            image: row.get("image_name")?,
            version: row.get("version_name")?,
            artifact: row.get("artifact_id")?,
            generation: row.get("generation")?,
        })
    }
}
