//! Principals, roles and tokens.

use crate::{Connection, PrincipalRow, SqlTx, TokenRow, attributes_json, value::values};
use async_trait::async_trait;
use imgsrv_domain::{
    auth::{ApiToken, Principal, Role},
    ids::{PrincipalId, TokenId},
    ports::{CatalogError, PrincipalRepo},
    time::Timestamp,
};

pub(crate) const FIND: &str = "SELECT id AS principal_id, kind, display_name, attributes,
    created_at AS principal_created_at, updated_at, revision,
    (SELECT string_agg(role, ',') FROM principal_roles WHERE principal_id = principals.id) AS roles
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
impl<C: Connection> PrincipalRepo for SqlTx<C> {
    async fn find_principal(&mut self, id: PrincipalId) -> Result<Option<Principal>, CatalogError> {
        self.find::<PrincipalRow, _>(FIND, values![id.uuid()]).await
    }

    async fn insert_principal(&mut self, principal: &Principal) -> Result<(), CatalogError> {
        let values = values![
            principal.id.uuid(),
            principal.kind.as_str(),
            principal.display_name.as_str(),
            attributes_json(&principal.attributes),
            principal.created_at,
            principal.updated_at,
        ];
        self.execute(INSERT, values).await?;
        for role in &principal.roles {
            self.execute(GRANT, values![principal.id.uuid(), role.as_str()]).await?;
        }
        Ok(())
    }

    async fn grant_role(&mut self, principal: PrincipalId, role: Role) -> Result<bool, CatalogError> {
        Ok(self.execute(GRANT, values![principal.uuid(), role.as_str()]).await? > 0)
    }

    async fn revoke_role(&mut self, principal: PrincipalId, role: Role) -> Result<bool, CatalogError> {
        Ok(self.execute(REVOKE, values![principal.uuid(), role.as_str()]).await? > 0)
    }

    async fn has_live_auth_manager(&mut self) -> Result<bool, CatalogError> {
        self.scalar(HAS_LIVE_MANAGER, values![self.time()]).await
    }

    async fn find_token(&mut self, id: TokenId) -> Result<Option<ApiToken>, CatalogError> {
        self.find::<TokenRow, _>(FIND_TOKEN, values![id.uuid()]).await
    }

    async fn insert_token(&mut self, token: &ApiToken, secret_hash: &[u8; 32]) -> Result<(), CatalogError> {
        let values = values![
            token.id.uuid(),
            token.principal.uuid(),
            token.key.as_str(),
            secret_hash.as_slice(),
            token.name.as_str(),
            token.created_at,
            token.expires_at,
        ];
        self.execute(INSERT_TOKEN, values).await.map(drop)
    }

    async fn revoke_token(&mut self, id: TokenId, at: Timestamp) -> Result<(), CatalogError> {
        self.execute(REVOKE_TOKEN, values![id.uuid(), at]).await.map(drop)
    }

    async fn touch_tokens(&mut self, used: &[(TokenId, Timestamp)]) -> Result<(), CatalogError> {
        // In one order everywhere, so that two nodes do not wait for one another.
        let mut used = used.to_vec();
        used.sort_unstable_by_key(|(id, _)| *id);
        for (id, at) in used {
            self.execute(TOUCH_TOKEN, values![id.uuid(), at]).await?;
        }
        Ok(())
    }
}
