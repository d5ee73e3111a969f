//! Reads of provisioning rules and their grants.

use crate::{
    core::{Connection, Corrupt, Dialects, List, Listed, Row, SqlCatalog, SqlDatabase, timed, values},
    repos::{
        principals,
        rules::{GET, columns, select as rules, unsupported},
    },
};
use async_trait::async_trait;
use imgsrv_domain::{
    auth::{Principal, Role},
    names::RuleId,
    oidc::{IssuerUrl, ProvisioningRule},
    page::{Page, PageRequest},
    ports::{CatalogError, RuleQueries, Timed},
    time::Timestamp,
};
use uuid::Uuid;

const LIST: &str = rules!("WHERE id > $1 ORDER BY id LIMIT $2");
const OF_ISSUER: Dialects =
    timed!(concat!("SELECT ", columns!(), ", "), " FROM provisioning_rules WHERE issuer = $1 ORDER BY id");
/// Whether a rule exists or ever granted anything.
const IS_KNOWN: &str = "SELECT EXISTS (SELECT 1 FROM provisioning_rules WHERE id = $1)
    OR EXISTS (SELECT 1 FROM provisioning_grants WHERE rule_id = $1)";
const RECONCILABLE: &str = concat!(
    "SELECT ",
    principals::columns!(),
    " FROM principals p WHERE p.id > $2 AND p.id IN (SELECT g.principal_id FROM provisioning_grants g
    JOIN principal_roles r ON r.principal_id = g.principal_id AND r.role = g.role
    WHERE g.rule_id = $1 AND g.ended_at IS NULL AND NOT r.by_hand AND ",
    unsupported!("g.principal_id", "g.role"),
    ") ORDER BY p.id LIMIT $3"
);
const GRANTED_ROLES: &str =
    "SELECT DISTINCT role FROM provisioning_grants WHERE rule_id = $1 AND ended_at IS NULL ORDER BY role";
pub(crate) const STATEMENTS: &[&str] = &[LIST, OF_ISSUER.sqlite, IS_KNOWN, RECONCILABLE, GRANTED_ROLES];
pub(crate) const POSTGRES: &[&str] = &[OF_ISSUER.postgres];

#[async_trait]
impl<D: SqlDatabase> RuleQueries for SqlCatalog<D> {
    async fn get_rule(&self, id: &RuleId) -> Result<Option<ProvisioningRule>, CatalogError> {
        self.reader().await?.find(GET, values![id]).await
    }

    async fn list_rules(&self, page: &PageRequest) -> Result<Page<ProvisioningRule>, CatalogError> {
        let list = List::open("provisioning-rules", page, String::new())?;
        list.read(&mut self.reader().await?, LIST, |after, limit| values![after, limit]).await
    }

    async fn list_rules_of_issuer(
        &self,
        issuer: &IssuerUrl,
    ) -> Result<Option<Timed<Vec<ProvisioningRule>>>, CatalogError> {
        // A rule that cannot be decoded grants nothing.
        let found: Vec<(ProvisioningRule, Option<Timestamp>)> =
            self.reader().await?.list_decodable(OF_ISSUER, values![issuer]).await?;
        let Some((_, now)) = found.first() else { return Ok(None) };
        let now = self.database.clock(*now)?;
        Ok(Some(Timed { value: found.into_iter().map(|(rule, _)| rule).collect(), now }))
    }

    async fn list_granted_roles(&self, rule: &RuleId) -> Result<Vec<Role>, CatalogError> {
        self.reader().await?.list(GRANTED_ROLES, values![rule]).await
    }

    async fn list_reconcilable(
        &self,
        rule: &RuleId,
        page: &PageRequest,
    ) -> Result<Option<Page<Principal>>, CatalogError> {
        let list = List::open(format!("reconcilable:{rule}"), page, Uuid::nil())?;
        let mut reader = self.reader().await?;
        if !reader.get::<bool>(IS_KNOWN, values![rule]).await? {
            return Ok(None);
        }
        list.read(&mut reader, RECONCILABLE, |after, limit| values![rule, after, limit]).await.map(Some)
    }
}

impl Listed for ProvisioningRule {
    type Key = String;

    fn key(row: &Row<'_>) -> Result<String, Corrupt> {
        row.get("id")
    }
}
