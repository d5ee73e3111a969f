//! Principals, roles and tokens.

use crate::tx::{SqliteTx, run};
use async_trait::async_trait;
use imgsrv_catalog_sql::{PrincipalRow, SqlTime, TokenRow, attributes_json};
use imgsrv_domain::{
    auth::{ApiToken, Principal, Role},
    ids::{PrincipalId, TokenId},
    ports::{CatalogError, PrincipalRepo},
    time::Timestamp,
};
use sqlx::{query, query_as, query_scalar};

pub(crate) const FIND: &str = "SELECT id AS principal_id, kind, display_name, attributes,
    created_at AS principal_created_at, updated_at, revision,
    (SELECT group_concat(role) FROM principal_roles WHERE principal_id = principals.id) AS roles
    FROM principals WHERE id = $1";
const INSERT: &str = "INSERT INTO principals (id, kind, display_name, attributes, created_at, updated_at, revision)
    VALUES ($1, $2, $3, $4, $5, $6, 1)";
const GRANT: &str = "INSERT INTO principal_roles (principal_id, role) VALUES ($1, $2) ON CONFLICT DO NOTHING";
const REVOKE: &str = "DELETE FROM principal_roles WHERE principal_id = $1 AND role = $2";
const HAS_LIVE_MANAGER: &str = "SELECT EXISTS (SELECT 1 FROM principal_roles r
    JOIN api_tokens t ON t.principal_id = r.principal_id
    WHERE r.role = 'auth-manager' AND t.revoked_at IS NULL AND t.expires_at > $1)";
const FIND_TOKEN: &str = "SELECT id, principal_id, lookup_key, name, created_at, expires_at, last_used_at, revoked_at
    FROM api_tokens WHERE id = $1";
const INSERT_TOKEN: &str = "INSERT INTO api_tokens (id, principal_id, lookup_key, secret_hash, name, created_at,
    expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";
const REVOKE_TOKEN: &str = "UPDATE api_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
const TOUCH_TOKEN: &str = "UPDATE api_tokens SET last_used_at = $2
    WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
pub(crate) const STATEMENTS: &[&str] =
    &[FIND, INSERT, GRANT, REVOKE, HAS_LIVE_MANAGER, FIND_TOKEN, INSERT_TOKEN, REVOKE_TOKEN, TOUCH_TOKEN];

#[async_trait]
impl PrincipalRepo for SqliteTx {
    async fn find_principal(&mut self, id: PrincipalId) -> Result<Option<Principal>, CatalogError> {
        run!(self, find, query_as::<_, PrincipalRow>(FIND).bind(id.uuid()))
    }

    async fn insert_principal(&mut self, principal: &Principal) -> Result<(), CatalogError> {
        let statement = query(INSERT)
            .bind(principal.id.uuid())
            .bind(principal.kind.as_str())
            .bind(principal.display_name.as_str())
            .bind(attributes_json(&principal.attributes))
            .bind(SqlTime::from(principal.created_at))
            .bind(SqlTime::from(principal.updated_at));
        run!(self, execute, statement)?;
        for role in &principal.roles {
            run!(self, execute, query(GRANT).bind(principal.id.uuid()).bind(role.as_str()))?;
        }
        Ok(())
    }

    async fn grant_role(&mut self, principal: PrincipalId, role: Role) -> Result<bool, CatalogError> {
        Ok(run!(self, execute, query(GRANT).bind(principal.uuid()).bind(role.as_str()))? > 0)
    }

    async fn revoke_role(&mut self, principal: PrincipalId, role: Role) -> Result<bool, CatalogError> {
        Ok(run!(self, execute, query(REVOKE).bind(principal.uuid()).bind(role.as_str()))? > 0)
    }

    async fn has_live_auth_manager(&mut self) -> Result<bool, CatalogError> {
        run!(self, scalar, query_scalar(HAS_LIVE_MANAGER).bind(SqlTime::from(self.time())))
    }

    async fn find_token(&mut self, id: TokenId) -> Result<Option<ApiToken>, CatalogError> {
        run!(self, find, query_as::<_, TokenRow>(FIND_TOKEN).bind(id.uuid()))
    }

    async fn insert_token(&mut self, token: &ApiToken, secret_hash: &[u8; 32]) -> Result<(), CatalogError> {
        let statement = query(INSERT_TOKEN)
            .bind(token.id.uuid())
            .bind(token.principal.uuid())
            .bind(token.key.as_str())
            .bind(secret_hash.as_slice())
            .bind(token.name.as_str())
            .bind(SqlTime::from(token.created_at))
            .bind(SqlTime::from(token.expires_at));
        run!(self, execute, statement).map(drop)
    }

    async fn revoke_token(&mut self, id: TokenId, at: Timestamp) -> Result<(), CatalogError> {
        run!(self, execute, query(REVOKE_TOKEN).bind(id.uuid()).bind(SqlTime::from(at))).map(drop)
    }

    async fn touch_tokens(&mut self, used: &[(TokenId, Timestamp)]) -> Result<(), CatalogError> {
        for (id, at) in used {
            run!(self, execute, query(TOUCH_TOKEN).bind(id.uuid()).bind(SqlTime::from(*at)))?;
        }
        Ok(())
    }
}
