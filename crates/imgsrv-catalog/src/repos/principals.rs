//! Principals, their identities, roles and tokens.

use crate::repos::rules;
use crate::{Connection, PrincipalRow, SqlTx, TokenRow, attributes_json, core::value::values};
use async_trait::async_trait;
use imgsrv_domain::{
    auth::{ApiToken, Principal, Role},
    ids::{PrincipalId, TokenId},
    oidc::OidcIdentity,
    ports::{CatalogError, PrincipalRepo},
    time::Timestamp,
};
use uuid::Uuid;

/// The columns of a principal, from `principals p`.
macro_rules! columns {
    () => {
        "p.id AS principal_id, p.kind, p.display_name, p.attributes, p.deactivated_at,
        p.created_at AS principal_created_at, p.updated_at, p.revision,
        (SELECT string_agg(role, ',') FROM principal_roles WHERE principal_id = p.id) AS roles"
    };
}
pub(crate) use columns;

/// Principals that `rest` picks.
macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT ", $crate::repos::principals::columns!(), " FROM principals p ", $rest)
    };
}
pub(crate) use select;

pub(crate) const FIND: &str = select!("WHERE p.id = $1");
const LOCK: &str = "SELECT id FROM principals WHERE id = $1 FOR NO KEY UPDATE";
const INSERT: &str = "INSERT INTO principals (id, kind, display_name, attributes, created_at, updated_at, revision)
    VALUES ($1, $2, $3, $4, $5, $6, 1)";
const DEACTIVATE: &str = "UPDATE principals SET deactivated_at = $2, updated_at = $3, revision = revision + 1
    WHERE id = $1 AND deactivated_at IS NULL";
const ACTIVATE: &str = "UPDATE principals SET deactivated_at = NULL, updated_at = $2, revision = revision + 1
    WHERE id = $1 AND deactivated_at IS NOT NULL";
const GRANT: &str = "INSERT INTO principal_roles (principal_id, role, by_hand) VALUES ($1, $2, true)
    ON CONFLICT (principal_id, role) DO UPDATE SET by_hand = true WHERE NOT principal_roles.by_hand";
const REVOKE: &str = "DELETE FROM principal_roles WHERE principal_id = $1 AND role = $2";
const HOLD_AUTHENTICATION: &str = "SELECT id FROM catalog_identity FOR UPDATE";
const HAS_LIVE_MANAGER: &str = "SELECT EXISTS (SELECT 1 FROM principal_roles r
    JOIN principals p ON p.id = r.principal_id JOIN api_tokens t ON t.principal_id = r.principal_id
    WHERE r.role = 'auth-manager' AND p.deactivated_at IS NULL AND t.revoked_at IS NULL AND t.expires_at > $1)";
const FIND_IDENTITY: &str = "SELECT principal_id FROM oidc_identities WHERE issuer = $1 AND subject = $2";
const INSERT_IDENTITY: &str =
    "INSERT INTO oidc_identities (issuer, subject, principal_id, created_at) VALUES ($1, $2, $3, $4)";
const FIND_TOKEN: &str = "SELECT id, principal_id, lookup_key, name, created_at, expires_at, last_used_at, revoked_at
    FROM api_tokens WHERE id = $1";
const INSERT_TOKEN: &str = "INSERT INTO api_tokens (id, principal_id, lookup_key, secret_hash, name, created_at,
    expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";
const REVOKE_TOKEN: &str = "UPDATE api_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL";
const LIVE_TOKENS: &str =
    "SELECT id FROM api_tokens WHERE principal_id = $1 AND revoked_at IS NULL AND expires_at > $2 ORDER BY id";
const TOUCH_TOKEN: &str = "UPDATE api_tokens SET last_used_at = $2
    WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
pub(crate) const STATEMENTS: &[&str] = &[
    FIND,
    INSERT,
    DEACTIVATE,
    ACTIVATE,
    GRANT,
    REVOKE,
    HAS_LIVE_MANAGER,
    FIND_IDENTITY,
    INSERT_IDENTITY,
    FIND_TOKEN,
    INSERT_TOKEN,
    REVOKE_TOKEN,
    LIVE_TOKENS,
    TOUCH_TOKEN,
];
pub(crate) const LOCKING: &[&str] = &[LOCK, HOLD_AUTHENTICATION];

#[async_trait]
impl<C: Connection> PrincipalRepo for SqlTx<C> {
    async fn get_principal(&mut self, id: PrincipalId) -> Result<Option<Principal>, CatalogError> {
        self.find::<PrincipalRow, _>(FIND, values![id.uuid()]).await
    }

    async fn lock_principal(&mut self, id: PrincipalId) -> Result<Option<Principal>, CatalogError> {
        // Its roles lie in other rows, which a statement that waits for the lock would read as they were before.
        self.lock(LOCK, values![id.uuid()]).await?;
        self.get_principal(id).await
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

    async fn set_deactivated(
        &mut self,
        id: PrincipalId,
        deactivated_at: Option<Timestamp>,
    ) -> Result<bool, CatalogError> {
        let now = self.time();
        let changed = match deactivated_at {
            Some(at) => self.execute(DEACTIVATE, values![id.uuid(), at, now]).await?,
            None => self.execute(ACTIVATE, values![id.uuid(), now]).await?,
        };
        Ok(changed > 0)
    }

    async fn grant_role(&mut self, principal: PrincipalId, role: Role) -> Result<bool, CatalogError> {
        Ok(self.execute(GRANT, values![principal.uuid(), role.as_str()]).await? > 0)
    }

    async fn revoke_role(&mut self, principal: PrincipalId, role: Role) -> Result<bool, CatalogError> {
        let now = self.time();
        let held = self.execute(REVOKE, values![principal.uuid(), role.as_str()]).await? > 0;
        self.execute(rules::END_ALL, values![principal.uuid(), role.as_str(), now]).await?;
        Ok(held)
    }

    async fn lock_authentication(&mut self) -> Result<(), CatalogError> {
        self.lock(HOLD_AUTHENTICATION, values![]).await
    }

    async fn has_live_auth_manager(&mut self) -> Result<bool, CatalogError> {
        self.scalar(HAS_LIVE_MANAGER, values![self.time()]).await
    }

    async fn get_identity(&mut self, identity: &OidcIdentity) -> Result<Option<PrincipalId>, CatalogError> {
        let values = values![identity.issuer.as_str(), identity.subject.as_str()];
        let found: Option<(Uuid,)> = self.row(FIND_IDENTITY, values).await?;
        Ok(found.map(|(id,)| PrincipalId::new(id)))
    }

    async fn insert_identity(&mut self, principal: PrincipalId, identity: &OidcIdentity) -> Result<(), CatalogError> {
        let values = values![identity.issuer.as_str(), identity.subject.as_str(), principal.uuid(), self.time()];
        self.execute(INSERT_IDENTITY, values).await.map(drop)
    }

    async fn get_token(&mut self, id: TokenId) -> Result<Option<ApiToken>, CatalogError> {
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

    async fn revoke_tokens_of(&mut self, principal: PrincipalId, at: Timestamp) -> Result<Vec<TokenId>, CatalogError> {
        let live: Vec<(Uuid,)> = self.rows(LIVE_TOKENS, values![principal.uuid(), at]).await?;
        for (id,) in &live {
            self.execute(REVOKE_TOKEN, values![*id, at]).await?;
        }
        Ok(live.into_iter().map(|(id,)| TokenId::new(id)).collect())
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
