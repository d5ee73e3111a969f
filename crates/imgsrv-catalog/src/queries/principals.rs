//! Reads of principals and their credentials.

use crate::{
    core::{
        catalog::{SqlCatalog, SqlDatabase},
        connection::{Dialects, row},
        list::List,
        value::values,
    },
    repos::principals,
    rows::{AdmissionRow, PrincipalRow, StoredTokenRow, TimedRow, TokenRow},
};
use async_trait::async_trait;
use imgsrv_domain::{
    auth::{ApiToken, Principal, StoredToken, TokenKey},
    ids::PrincipalId,
    names::RuleId,
    oidc::{OidcIdentity, ProvisioningRule},
    page::{Page, PageRequest},
    ports::{Admission, CatalogError, PrincipalQueries, Timed},
};
use uuid::Uuid;

macro_rules! stored_token {
    ($now:literal) => {
        concat!(
            "SELECT t.id, t.principal_id, t.lookup_key, t.name, t.created_at, t.expires_at, t.last_used_at, t.revoked_at,
            t.secret_hash, ",
            $now,
            " AS now, ",
            principals::columns!(),
            " FROM api_tokens t JOIN principals p ON p.id = t.principal_id WHERE t.lookup_key = $1"
        )
    };
}
const STORED_TOKEN: Dialects = Dialects { sqlite: stored_token!("NULL"), postgres: stored_token!("catalog_now()") };
const ADMISSION: &str = concat!(
    "SELECT ",
    principals::columns!(),
    ", g.granted_at, g.ended_at FROM oidc_identities i JOIN principals p ON p.id = i.principal_id
    LEFT JOIN provisioning_grants g ON g.principal_id = p.id AND g.rule_id = $3 AND g.role = $4
    WHERE i.issuer = $1 AND i.subject = $2"
);
const PRINCIPALS: &str = principals::select!("WHERE p.id > $1 ORDER BY p.id LIMIT $2");
const TOKENS: &str = "SELECT id, principal_id, lookup_key, name, created_at, expires_at, last_used_at, revoked_at
    FROM api_tokens WHERE principal_id = $1 AND id > $2 ORDER BY id LIMIT $3";
pub(crate) const STATEMENTS: &[&str] = &[STORED_TOKEN.sqlite, ADMISSION, PRINCIPALS, TOKENS];
pub(crate) const POSTGRES: &[&str] = &[STORED_TOKEN.postgres];

#[async_trait]
impl<D: SqlDatabase> PrincipalQueries for SqlCatalog<D> {
    async fn get_token_by_key(&self, key: &TokenKey) -> Result<Option<Timed<StoredToken>>, CatalogError> {
        let sql = STORED_TOKEN.on::<D::Connection>();
        let found = row::<TimedRow<StoredTokenRow>, _>(&mut self.reader().await?, sql, values![key.as_str()]).await?;
        let Some(TimedRow { row, now }) = found else { return Ok(None) };
        Ok(Some(Timed { value: row.try_into()?, now: self.database.clock(now)? }))
    }

    async fn get_principal(&self, id: PrincipalId) -> Result<Option<Principal>, CatalogError> {
        self.find::<PrincipalRow, _>(principals::GET, values![id.uuid()]).await
    }

    async fn list_principals(&self, page: &PageRequest) -> Result<Page<Principal>, CatalogError> {
        let list = List::open("principals", page, Uuid::nil())?;
        let values = values![list.after, list.fetch];
        let key = |principal: &Principal| principal.id.uuid();
        list.read::<PrincipalRow, _, _>(&mut self.reader().await?, PRINCIPALS, values, key).await
    }

    async fn list_tokens(&self, principal: PrincipalId, page: &PageRequest) -> Result<Page<ApiToken>, CatalogError> {
        let list = List::open(format!("tokens:{principal}"), page, Uuid::nil())?;
        let values = values![principal.uuid(), list.after, list.fetch];
        let key = |token: &ApiToken| token.id.uuid();
        list.read::<TokenRow, _, _>(&mut self.reader().await?, TOKENS, values, key).await
    }

    async fn get_admission(&self, identity: &OidcIdentity, rule: &RuleId) -> Result<Option<Admission>, CatalogError> {
        let role = ProvisioningRule::ROLE.as_str();
        let values = values![identity.issuer.as_str(), identity.subject.as_str(), rule.as_str(), role];
        self.find::<AdmissionRow, _>(ADMISSION, values).await
    }
}
