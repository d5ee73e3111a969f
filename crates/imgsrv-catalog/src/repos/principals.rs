//! Principals, their identities and roles.

use crate::{
    core::{Connection, Corrupt, Record, Row, SqlTx, Stored, limited, values},
    repos::rules,
};
use async_trait::async_trait;
use imgsrv_domain::{
    access::{Grants, ImageScope},
    auth::{Principal, Role},
    ids::PrincipalId,
    oidc::OidcIdentity,
    ports::{CatalogError, PrincipalRepo},
    time::Timestamp,
};

/// The columns of a principal, from `principals p`.
macro_rules! columns {
    () => {
        "p.id AS principal_id, p.kind, p.display_name, p.attributes, p.deactivated_at,
        p.created_at AS principal_created_at, p.updated_at, p.revision,
        (SELECT string_agg(role || ' ' || coalesce(images, '*'), ',') FROM principal_roles WHERE principal_id = p.id) AS roles"
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
const GRANT: &str = "INSERT INTO principal_roles (principal_id, role, by_hand, images) VALUES ($1, $2, true, $3)
    ON CONFLICT (principal_id, role) DO UPDATE SET by_hand = true, images = excluded.images
    WHERE NOT principal_roles.by_hand OR principal_roles.images IS DISTINCT FROM excluded.images";
const GRANT_FIRST: &str = "INSERT INTO principal_roles (principal_id, role, by_hand) VALUES ($1, $2, true)
    ON CONFLICT (principal_id, role) DO UPDATE SET by_hand = true WHERE NOT principal_roles.by_hand";
const REVOKE: &str = "DELETE FROM principal_roles WHERE principal_id = $1 AND role = $2";
const LOCK_AUTHENTICATION: &str = "SELECT id FROM catalog_identity FOR UPDATE";
const HAS_LIVE_AUTH_MANAGER: &str = "SELECT EXISTS (SELECT 1 FROM principal_roles r
    JOIN principals p ON p.id = r.principal_id JOIN api_tokens t ON t.principal_id = r.principal_id
    WHERE r.role = 'auth-manager' AND p.deactivated_at IS NULL AND t.revoked_at IS NULL AND t.expires_at > $1)";
const GET_PRINCIPAL_ID: &str = "SELECT principal_id FROM oidc_identities WHERE issuer = $1 AND subject = $2";
const INSERT_IDENTITY: &str =
    "INSERT INTO oidc_identities (issuer, subject, principal_id, created_at, seen_at) VALUES ($1, $2, $3, $4, $4)";
const TOUCH: &str =
    "UPDATE oidc_identities SET seen_at = $2 WHERE principal_id = $1 AND (seen_at < $2 OR seen_at > $3)";
pub(crate) const STATEMENTS: &[&str] = &[
    TOUCH,
    GET,
    INSERT,
    DEACTIVATE,
    ACTIVATE,
    GRANT,
    GRANT_FIRST,
    REVOKE,
    HAS_LIVE_AUTH_MANAGER,
    GET_PRINCIPAL_ID,
    INSERT_IDENTITY,
];
pub(crate) const POSTGRES: &[&str] = &[LOCK, LOCK_AUTHENTICATION];

#[async_trait]
impl<C: Connection> PrincipalRepo for SqlTx<C> {
    async fn get_principal(&mut self, id: PrincipalId) -> Result<Option<Principal>, CatalogError> {
        self.find(GET, values![id]).await
    }

    async fn lock_principal(&mut self, id: PrincipalId) -> Result<Option<Principal>, CatalogError> {
        // Its roles are other rows: a statement that waits for the lock would read them as they were before.
        self.lock(LOCK, values![id]).await?;
        self.get_principal(id).await
    }

    async fn insert_principal(&mut self, principal: &Principal) -> Result<(), CatalogError> {
        let Principal { id, kind, display_name, attributes, created_at, updated_at, .. } = principal;
        self.execute(INSERT, values![id, kind, display_name, attributes, created_at, updated_at]).await?;
        for (role, images) in principal.grants.iter() {
            self.execute(GRANT, values![id, role, limited(images)]).await?;
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
            Some(at) => self.execute(DEACTIVATE, values![id, at, now]).await?,
            None => self.execute(ACTIVATE, values![id, now]).await?,
        };
        Ok(changed > 0)
    }

    async fn grant_role(
        &mut self,
        principal: PrincipalId,
        role: Role,
        images: Option<&ImageScope>,
    ) -> Result<bool, CatalogError> {
        let changed = match images {
            Some(images) => self.execute(GRANT, values![principal, role, limited(images)]).await?,
            None => self.execute(GRANT_FIRST, values![principal, role]).await?,
        };
        Ok(changed > 0)
    }

    async fn revoke_role(&mut self, principal: PrincipalId, role: Role) -> Result<bool, CatalogError> {
        let now = self.time();
        let had_role = self.execute(REVOKE, values![principal, role]).await? > 0;
        self.execute(rules::END_GRANTS, values![principal, role, now]).await?;
        Ok(had_role)
    }

    async fn lock_authentication(&mut self) -> Result<(), CatalogError> {
        self.lock(LOCK_AUTHENTICATION, values![]).await
    }

    async fn has_live_auth_manager(&mut self) -> Result<bool, CatalogError> {
        self.get(HAS_LIVE_AUTH_MANAGER, values![self.time()]).await
    }

    async fn get_principal_id(&mut self, identity: &OidcIdentity) -> Result<Option<PrincipalId>, CatalogError> {
        self.find(GET_PRINCIPAL_ID, values![identity.issuer, identity.subject]).await
    }

    async fn touch_principals(&mut self, seen: &[(PrincipalId, Timestamp)]) -> Result<(), CatalogError> {
        // In the same order everywhere, so that two nodes do not wait for each other.
        let mut seen = seen.to_vec();
        seen.sort_unstable_by_key(|(id, _)| *id);
        for (id, at) in seen {
            self.execute(TOUCH, values![id, at, self.time()]).await?;
        }
        Ok(())
    }

    async fn insert_identity(&mut self, principal: PrincipalId, identity: &OidcIdentity) -> Result<(), CatalogError> {
        let values = values![identity.issuer, identity.subject, principal, self.time()];
        self.execute(INSERT_IDENTITY, values).await.map(drop)
    }
}

/// The roles in a column.
pub(crate) fn grants(row: &Row<'_>, column: &'static str) -> Result<Grants, Corrupt> {
    let mut grants = Grants::default();
    let roles: Option<String> = row.optional(column)?;
    for grant in roles.iter().flat_map(|roles| roles.split(',')) {
        let (role, images) = grant.split_once(' ').unwrap_or((grant, ""));
        let images = ImageScope::decode(images.to_owned()).map_err(|why| row.corrupt(why))?;
        grants.add(role.parse().map_err(|why| row.corrupt(why))?, images);
    }
    Ok(grants)
}

impl Record for Principal {
    const WHAT: &'static str = "principal";
    const ID: &'static str = "principal_id";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            id: row.get("principal_id")?,
            kind: row.get("kind")?,
            display_name: row.get("display_name")?,
            attributes: row.get("attributes")?,
            grants: grants(row, "roles")?,
            deactivated_at: row.optional("deactivated_at")?,
            created_at: row.get("principal_created_at")?,
            updated_at: row.get("updated_at")?,
            revision: row.get("revision")?,
        })
    }
}
