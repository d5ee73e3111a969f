//! API tokens.

use crate::core::{Connection, Corrupt, Record, Row, SqlTx, limited, values};
use async_trait::async_trait;
use imgsrv_domain::{
    access::{ImageScope, Narrowing},
    auth::ApiToken,
    ids::{PrincipalId, TokenId},
    ports::{CatalogError, TokenRepo},
    time::Timestamp,
};

const GET: &str = "SELECT id, principal_id, lookup_key, name, roles AS token_roles, images, created_at, expires_at, last_used_at, revoked_at
    FROM api_tokens WHERE id = $1";
const INSERT: &str = "INSERT INTO api_tokens (id, principal_id, lookup_key, secret_hash, name, roles,
    images, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const SET_EXPIRY: &str = "UPDATE api_tokens SET expires_at = $2 WHERE id = $1 AND revoked_at IS NULL";
const REVOKE: &str = "UPDATE api_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
const REVOKE_LIVE: &str = "UPDATE api_tokens SET revoked_at = $2
    WHERE principal_id = $1 AND revoked_at IS NULL AND expires_at > $2 RETURNING id";
const TOUCH: &str = "UPDATE api_tokens SET last_used_at = $2
    WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2 OR last_used_at > $3)";
pub(crate) const STATEMENTS: &[&str] = &[GET, INSERT, SET_EXPIRY, REVOKE, REVOKE_LIVE, TOUCH];

#[async_trait]
impl<C: Connection> TokenRepo for SqlTx<C> {
    async fn get_token(&mut self, id: TokenId) -> Result<Option<ApiToken>, CatalogError> {
        self.find(GET, values![id]).await
    }

    async fn insert_token(&mut self, token: &ApiToken, secret_hash: &[u8; 32]) -> Result<(), CatalogError> {
        let ApiToken { id, principal, key, name, narrowing, created_at, expires_at, .. } = token;
        let (roles, images) = (&narrowing.roles, limited(&narrowing.images));
        let values = values![id, principal, key, secret_hash, name, roles, images, created_at, expires_at];
        self.execute(INSERT, values).await.map(drop)
    }

    async fn set_token_expiry(&mut self, id: TokenId, expires_at: Timestamp) -> Result<bool, CatalogError> {
        Ok(self.execute(SET_EXPIRY, values![id, expires_at]).await? > 0)
    }

    async fn revoke_token(&mut self, id: TokenId, at: Timestamp) -> Result<(), CatalogError> {
        self.execute(REVOKE, values![id, at]).await.map(drop)
    }

    async fn revoke_tokens_of(&mut self, principal: PrincipalId, at: Timestamp) -> Result<Vec<TokenId>, CatalogError> {
        let mut revoked: Vec<TokenId> = self.list(REVOKE_LIVE, values![principal, at]).await?;
        revoked.sort_unstable();
        Ok(revoked)
    }

    async fn touch_tokens(&mut self, used: &[(TokenId, Timestamp)]) -> Result<(), CatalogError> {
        // In the same order everywhere, so that two nodes do not wait for each other.
        let mut used = used.to_vec();
        used.sort_unstable_by_key(|(id, _)| *id);
        for (id, at) in used {
            self.execute(TOUCH, values![id, at, self.time()]).await?;
        }
        Ok(())
    }
}

impl Record for ApiToken {
    const WHAT: &'static str = "token";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            id: row.get("id")?,
            principal: row.get("principal_id")?,
            key: row.get("lookup_key")?,
            name: row.get("name")?,
            narrowing: Narrowing {
                roles: row.optional("token_roles")?,
                images: row.optional("images")?.unwrap_or(ImageScope::Every),
            },
            created_at: row.get("created_at")?,
            expires_at: row.get("expires_at")?,
            last_used_at: row.optional("last_used_at")?,
            revoked_at: row.optional("revoked_at")?,
        })
    }
}
