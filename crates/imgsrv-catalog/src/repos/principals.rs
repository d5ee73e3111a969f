//! Principals, their identities and roles.

use crate::{
    core::{connection::Connection, tx::SqlTx, value::values},
    repos::rules,
    rows::{PrincipalRow, attributes_json},
};
use async_trait::async_trait;
use imgsrv_domain::{
    auth::{Principal, Role},
    ids::PrincipalId,
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

/// Principals that `rest` selects.
macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT ", $crate::repos::principals::columns!(), " FROM principals p ", $rest)
    };
}
pub(crate) use select;

pub(crate) const GET: &str = select!("WHERE p.id = $1");
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
const LOCK_AUTHENTICATION: &str = "SELECT id FROM catalog_identity FOR UPDATE";
const HAS_LIVE_AUTH_MANAGER: &str = "SELECT EXISTS (SELECT 1 FROM principal_roles r
    JOIN principals p ON p.id = r.principal_id JOIN api_tokens t ON t.principal_id = r.principal_id
    WHERE r.role = 'auth-manager' AND p.deactivated_at IS NULL AND t.revoked_at IS NULL AND t.expires_at > $1)";
const GET_PRINCIPAL_ID: &str = "SELECT principal_id FROM oidc_identities WHERE issuer = $1 AND subject = $2";
const INSERT_IDENTITY: &str =
    "INSERT INTO oidc_identities (issuer, subject, principal_id, created_at) VALUES ($1, $2, $3, $4)";
pub(crate) const STATEMENTS: &[&str] =
    &[GET, INSERT, DEACTIVATE, ACTIVATE, GRANT, REVOKE, HAS_LIVE_AUTH_MANAGER, GET_PRINCIPAL_ID, INSERT_IDENTITY];
pub(crate) const POSTGRES: &[&str] = &[LOCK, LOCK_AUTHENTICATION];

#[async_trait]
impl<C: Connection> PrincipalRepo for SqlTx<C> {
    async fn get_principal(&mut self, id: PrincipalId) -> Result<Option<Principal>, CatalogError> {
        self.find::<PrincipalRow, _>(GET, values![id.uuid()]).await
    }

    async fn lock_principal(&mut self, id: PrincipalId) -> Result<Option<Principal>, CatalogError> {
        // Its roles are other rows: a statement that waits for the lock would read them as they were before.
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
        let had_role = self.execute(REVOKE, values![principal.uuid(), role.as_str()]).await? > 0;
        self.execute(rules::END_GRANTS, values![principal.uuid(), role.as_str(), now]).await?;
        Ok(had_role)
    }

    async fn lock_authentication(&mut self) -> Result<(), CatalogError> {
        self.lock(LOCK_AUTHENTICATION, values![]).await
    }

    async fn has_live_auth_manager(&mut self) -> Result<bool, CatalogError> {
        self.scalar(HAS_LIVE_AUTH_MANAGER, values![self.time()]).await
    }

    async fn get_principal_id(&mut self, identity: &OidcIdentity) -> Result<Option<PrincipalId>, CatalogError> {
        let values = values![identity.issuer.as_str(), identity.subject.as_str()];
        let found: Option<(Uuid,)> = self.row(GET_PRINCIPAL_ID, values).await?;
        Ok(found.map(|(id,)| PrincipalId::new(id)))
    }

    async fn insert_identity(&mut self, principal: PrincipalId, identity: &OidcIdentity) -> Result<(), CatalogError> {
        let values = values![identity.issuer.as_str(), identity.subject.as_str(), principal.uuid(), self.time()];
        self.execute(INSERT_IDENTITY, values).await.map(drop)
    }
}
