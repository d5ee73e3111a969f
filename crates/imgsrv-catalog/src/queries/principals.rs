//! Reads of principals and their credentials.

use crate::{
    core::{Connection, Corrupt, Dialects, List, Listed, Record, Row, SqlCatalog, SqlDatabase, timed, values},
    repos::principals,
};
use async_trait::async_trait;
use imgsrv_domain::{
    auth::{ApiToken, Principal, Role, StoredToken, TokenKey},
    ids::PrincipalId,
    names::RuleId,
    oidc::OidcIdentity,
    page::{Page, PageRequest},
    ports::{Admission, CatalogError, Grant, PrincipalQueries, Timed},
    time::Timestamp,
};
use uuid::Uuid;

/// A token with its principal, which `column` selects.
macro_rules! stored_token {
    ($column:literal) => {
        timed!(
            concat!(
                "SELECT t.id, t.principal_id, t.lookup_key, t.name, t.roles AS token_roles, t.images, t.created_at,
                t.expires_at, t.last_used_at, t.revoked_at, t.secret_hash, ",
                principals::columns!(),
                ", "
            ),
            concat!(" FROM api_tokens t JOIN principals p ON p.id = t.principal_id WHERE ", $column, " = $1")
        )
    };
}
const STORED_TOKEN: Dialects = stored_token!("t.lookup_key");
pub(crate) const TOKEN_BY_ID: Dialects = stored_token!("t.id");
/// The roles that `principals p` has by hand.
macro_rules! by_hand {
    () => {
        "(SELECT string_agg(role || ' ' || coalesce(images, '*'), ',') FROM principal_roles
        WHERE principal_id = p.id AND by_hand) AS roles_by_hand"
    };
}
pub(crate) use by_hand;

const ADMISSION: &str = concat!(
    "SELECT ",
    principals::columns!(),
    ", i.seen_at, ",
    by_hand!(),
    ", g.granted_at, g.ended_at FROM oidc_identities i JOIN principals p ON p.id = i.principal_id
    LEFT JOIN provisioning_grants g ON g.principal_id = p.id AND g.rule_id = $3 AND g.role = $4
    WHERE i.issuer = $1 AND i.subject = $2"
);
const PRINCIPALS: &str = principals::select!("WHERE p.id > $1 ORDER BY p.id LIMIT $2");
const TOKENS: &str = "SELECT id, principal_id, lookup_key, name, roles AS token_roles, images, created_at, expires_at, last_used_at, revoked_at
    FROM api_tokens WHERE principal_id = $1 AND id > $2 ORDER BY id LIMIT $3";
pub(crate) const STATEMENTS: &[&str] = &[STORED_TOKEN.sqlite, TOKEN_BY_ID.sqlite, ADMISSION, PRINCIPALS, TOKENS];
pub(crate) const POSTGRES: &[&str] = &[STORED_TOKEN.postgres, TOKEN_BY_ID.postgres];

#[async_trait]
impl<D: SqlDatabase> PrincipalQueries for SqlCatalog<D> {
    async fn get_token_by_key(&self, key: &TokenKey) -> Result<Option<Timed<StoredToken>>, CatalogError> {
        let found = self.reader().await?.find(STORED_TOKEN, values![key]).await?;
        found.map(|(value, now)| Ok(Timed { value, now: self.database.clock(now)? })).transpose()
    }

    async fn get_principal(&self, id: PrincipalId) -> Result<Option<Principal>, CatalogError> {
        self.reader().await?.find(principals::GET, values![id]).await
    }

    async fn list_principals(&self, page: &PageRequest) -> Result<Page<Principal>, CatalogError> {
        let list = List::open("principals", page, Uuid::nil())?;
        list.read(&mut self.reader().await?, PRINCIPALS, |after, limit| values![after, limit]).await
    }

    async fn list_tokens(&self, principal: PrincipalId, page: &PageRequest) -> Result<Page<ApiToken>, CatalogError> {
        let list = List::open(format!("tokens:{principal}"), page, Uuid::nil())?;
        list.read(&mut self.reader().await?, TOKENS, |after, limit| values![principal, after, limit]).await
    }

    async fn get_admission(
        &self,
        identity: &OidcIdentity,
        rule: &RuleId,
        role: Role,
    ) -> Result<Option<Admission>, CatalogError> {
        self.reader().await?.find(ADMISSION, values![identity.issuer, identity.subject, rule, role]).await
    }
}

impl Listed for Principal {
    type Key = Uuid;

    fn key(row: &Row<'_>) -> Result<Uuid, Corrupt> {
        row.get("principal_id")
    }
}

impl Listed for ApiToken {
    type Key = Uuid;

    fn key(row: &Row<'_>) -> Result<Uuid, Corrupt> {
        row.get("id")
    }
}

impl Record for StoredToken {
    const WHAT: &'static str = "token";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self { token: row.record()?, secret_hash: row.get("secret_hash")?, principal: row.record()? })
    }
}

impl Record for Admission {
    const WHAT: &'static str = "grant";
    const ID: &'static str = "principal_id";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let (granted_at, ended_at): (Option<Timestamp>, Option<Timestamp>) =
            (row.optional("granted_at")?, row.optional("ended_at")?);
        let grant = granted_at.map(|_| if ended_at.is_some() { Grant::Ended } else { Grant::Live });
        let by_hand = principals::grants(row, "roles_by_hand")?;
        Ok(Self { principal: row.record()?, seen_at: row.get("seen_at")?, by_hand, grant })
    }
}
