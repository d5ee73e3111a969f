//! Provisioning rules, and what they granted.

use crate::core::{Connection, Corrupt, Dialects, Record, Row, SqlTx, Value, limited_rule, locking, values};
use async_trait::async_trait;
use imgsrv_domain::{
    auth::Role,
    claims::RuleImages,
    ids::PrincipalId,
    names::RuleId,
    oidc::{IssuerUrl, ProvisioningRule, RuleTerms},
    ports::{CatalogError, RuleRepo},
    time::Timestamp,
};

/// The columns of a rule.
macro_rules! columns {
    () => {
        "id, display_name, issuer, audience, forwarded_claims, condition, role, images, enabled, created_at, updated_at,
        revision"
    };
}
pub(crate) use columns;

/// Rules that `rest` selects.
macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT ", $crate::repos::rules::columns!(), " FROM provisioning_rules ", $rest)
    };
}
pub(crate) use select;

/// True when `principal` has `role` through no live grant of an enabled rule other than `$1`.
macro_rules! unsupported {
    ($principal:literal, $role:literal) => {
        concat!(
            "NOT EXISTS (SELECT 1 FROM provisioning_grants o JOIN provisioning_rules u ON u.id = o.rule_id
            WHERE o.principal_id = ",
            $principal,
            " AND o.role = ",
            $role,
            " AND o.ended_at IS NULL AND o.rule_id <> $1 AND u.enabled)"
        )
    };
}
pub(crate) use unsupported;

pub(crate) const GET: &str = select!("WHERE id = $1");
const LOCK: Dialects = locking!(select!("WHERE id = $1"), " FOR UPDATE");
const COUNT_OF_ISSUER: &str = "SELECT count(*) FROM provisioning_rules WHERE issuer = $1";
const INSERT: &str = "INSERT INTO provisioning_rules (id, updated_at, display_name, issuer, audience,
    forwarded_claims, condition, role, images, enabled, created_at, revision)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1)";
const UPDATE: &str = "UPDATE provisioning_rules SET updated_at = $2, display_name = $3, issuer = $4, audience = $5,
    forwarded_claims = $6, condition = $7, role = $8, images = $9, enabled = $10, revision = revision + 1
    WHERE id = $1 AND revision = $11";
const LIMIT_ROLES: &str = "UPDATE principal_roles SET images = '' WHERE NOT by_hand AND images IS NULL
    AND principal_id IN (SELECT g.principal_id FROM provisioning_grants g
        WHERE g.rule_id = $1 AND g.role = principal_roles.role AND g.ended_at IS NULL)";
const DELETE: &str = "DELETE FROM provisioning_rules WHERE id = $1";
const INSERT_GRANT: &str = "INSERT INTO provisioning_grants (rule_id, principal_id, role, granted_at)
    VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
const GRANT_ROLE: &str = "INSERT INTO principal_roles (principal_id, role, by_hand, images)
    SELECT g.principal_id, g.role, false, CASE WHEN r.images IS NOT NULL THEN '' END
    FROM provisioning_grants g LEFT JOIN provisioning_rules r ON r.id = g.rule_id
    WHERE g.rule_id = $1 AND g.principal_id = $2 AND g.role = $3 AND g.ended_at IS NULL ON CONFLICT DO NOTHING";
const REVOKE_ROLE: &str = concat!(
    "DELETE FROM principal_roles WHERE principal_id = $2 AND role = $3 AND NOT by_hand
        AND EXISTS (SELECT 1 FROM provisioning_grants WHERE rule_id = $1 AND principal_id = $2 AND role = $3
            AND ended_at IS NULL) AND ",
    unsupported!("$2", "$3")
);
const END_GRANT: &str = "UPDATE provisioning_grants SET ended_at = $4
    WHERE rule_id = $1 AND principal_id = $2 AND role = $3 AND ended_at IS NULL";
pub(crate) const END_GRANTS: &str = "UPDATE provisioning_grants SET ended_at = $3
    WHERE principal_id = $1 AND role = $2 AND ended_at IS NULL";
const LIST_LIVE: &str = "SELECT principal_id, role FROM provisioning_grants WHERE rule_id = $1 AND ended_at IS NULL
    ORDER BY principal_id, role LIMIT $2";
const GET_GRANTING: &str = select!(
    "r WHERE id = $1 AND enabled AND EXISTS (SELECT 1 FROM provisioning_grants g
        WHERE g.rule_id = r.id AND g.principal_id = $2 AND g.role = r.role AND g.ended_at IS NULL)"
);
pub(crate) const STATEMENTS: &[&str] = &[
    GET,
    COUNT_OF_ISSUER,
    INSERT,
    UPDATE,
    LIMIT_ROLES,
    DELETE,
    INSERT_GRANT,
    GRANT_ROLE,
    REVOKE_ROLE,
    END_GRANT,
    END_GRANTS,
    LIST_LIVE,
    GET_GRANTING,
];
pub(crate) const POSTGRES: &[&str] = &[LOCK.postgres];

/// The values that `INSERT` and `UPDATE` both store, followed by `own`.
fn rule_values(rule: &ProvisioningRule, own: Vec<Value>) -> Vec<Value> {
    let RuleTerms { display_name, issuer, audience, forwarded_claims, condition, role, images, enabled } = &rule.terms;
    let images = limited_rule(images);
    let terms = values![display_name, issuer, audience, forwarded_claims, condition, role, images, enabled];
    [values![rule.id, rule.updated_at], terms, own].concat()
}

#[async_trait]
impl<C: Connection> RuleRepo for SqlTx<C> {
    async fn lock_rule(&mut self, id: &RuleId) -> Result<Option<ProvisioningRule>, CatalogError> {
        self.find(LOCK, values![id]).await
    }

    async fn count_rules_of_issuer(&mut self, issuer: &IssuerUrl) -> Result<u32, CatalogError> {
        self.get(COUNT_OF_ISSUER, values![issuer]).await
    }

    async fn insert_rule(&mut self, rule: &ProvisioningRule) -> Result<(), CatalogError> {
        self.execute(INSERT, rule_values(rule, values![rule.created_at])).await.map(drop)
    }

    async fn update_rule(&mut self, rule: &ProvisioningRule) -> Result<(), CatalogError> {
        self.execute_fenced(UPDATE, rule_values(rule, values![rule.revision])).await?;
        if rule.terms.images != RuleImages::Every {
            self.execute(LIMIT_ROLES, values![rule.id]).await?;
        }
        Ok(())
    }

    async fn delete_rule(&mut self, id: &RuleId) -> Result<(), CatalogError> {
        self.execute(DELETE, values![id]).await.map(drop)
    }

    async fn grant_by_rule(
        &mut self,
        rule: &RuleId,
        principal: PrincipalId,
        role: Role,
        at: Timestamp,
    ) -> Result<bool, CatalogError> {
        let is_first = self.execute(INSERT_GRANT, values![rule, principal, role, at]).await? > 0;
        let is_new = self.execute(GRANT_ROLE, values![rule, principal, role]).await? > 0;
        Ok(is_first || is_new)
    }

    async fn reconcile_grant(
        &mut self,
        rule: &RuleId,
        principal: PrincipalId,
        role: Role,
        at: Timestamp,
    ) -> Result<bool, CatalogError> {
        let is_revoked = self.execute(REVOKE_ROLE, values![rule, principal, role]).await? > 0;
        self.execute(END_GRANT, values![rule, principal, role, at]).await?;
        Ok(is_revoked)
    }

    async fn list_live_grants(&mut self, rule: &RuleId, limit: u16) -> Result<Vec<(PrincipalId, Role)>, CatalogError> {
        let grants: Vec<LiveGrant> = self.list(LIST_LIVE, values![rule, limit]).await?;
        Ok(grants.into_iter().map(|LiveGrant(principal, role)| (principal, role)).collect())
    }

    async fn get_granting_rule(
        &mut self,
        rule: &RuleId,
        principal: PrincipalId,
    ) -> Result<Option<ProvisioningRule>, CatalogError> {
        self.find(GET_GRANTING, values![rule, principal]).await
    }
}

struct LiveGrant(PrincipalId, Role);

impl Record for LiveGrant {
    const WHAT: &'static str = "grant";
    const ID: &'static str = "principal_id";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self(row.get("principal_id")?, row.get("role")?))
    }
}

impl Record for ProvisioningRule {
    const WHAT: &'static str = "provisioning rule";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            id: row.get("id")?,
            terms: RuleTerms {
                display_name: row.get("display_name")?,
                issuer: row.get("issuer")?,
                audience: row.get("audience")?,
                forwarded_claims: row.get("forwarded_claims")?,
                condition: row.get("condition")?,
                role: row.get("role")?,
                images: row.optional("images")?.unwrap_or(RuleImages::Every),
                enabled: row.get("enabled")?,
            },
            created_at: row.get("created_at")?,
            updated_at: row.get("updated_at")?,
            revision: row.get("revision")?,
        })
    }
}
