//! Reads of provisioning rules and their grants.

use crate::{
    core::{
        catalog::{SqlCatalog, SqlDatabase},
        connection::{Dialects, rows, scalar},
        list::List,
        value::values,
    },
    repos::{
        principals,
        rules::{GET, columns, select as rules, unsupported},
    },
    rows::{PrincipalRow, RuleRow, TimedRow},
};
use async_trait::async_trait;
use imgsrv_domain::{
    auth::Principal,
    names::RuleId,
    oidc::{IssuerUrl, ProvisioningRule},
    page::{Page, PageRequest},
    ports::{CatalogError, RuleQueries, Timed},
};
use uuid::Uuid;

const LIST: &str = rules!("WHERE id > $1 ORDER BY id LIMIT $2");
macro_rules! of_issuer {
    ($now:literal) => {
        concat!("SELECT ", columns!(), ", ", $now, " AS now FROM provisioning_rules WHERE issuer = $1 ORDER BY id")
    };
}
const OF_ISSUER: Dialects = Dialects { sqlite: of_issuer!("NULL"), postgres: of_issuer!("catalog_now()") };
/// Whether a rule exists or ever granted anything.
const IS_KNOWN: &str = "SELECT EXISTS (SELECT 1 FROM provisioning_rules WHERE id = $1)
    OR EXISTS (SELECT 1 FROM provisioning_grants WHERE rule_id = $1)";
const RECONCILABLE: &str = concat!(
    "SELECT ",
    principals::columns!(),
    " FROM provisioning_grants g JOIN principals p ON p.id = g.principal_id
    JOIN principal_roles r ON r.principal_id = g.principal_id AND r.role = g.role
    WHERE g.rule_id = $1 AND g.ended_at IS NULL AND NOT r.by_hand AND ",
    unsupported!("g.principal_id", "g.role"),
    " AND p.id > $2 ORDER BY p.id LIMIT $3"
);
pub(crate) const STATEMENTS: &[&str] = &[LIST, OF_ISSUER.sqlite, IS_KNOWN, RECONCILABLE];
pub(crate) const POSTGRES: &[&str] = &[OF_ISSUER.postgres];

#[async_trait]
impl<D: SqlDatabase> RuleQueries for SqlCatalog<D> {
    async fn get_rule(&self, id: &RuleId) -> Result<Option<ProvisioningRule>, CatalogError> {
        self.find::<RuleRow, _>(GET, values![id.as_str()]).await
    }

    async fn list_rules(&self, page: &PageRequest) -> Result<Page<ProvisioningRule>, CatalogError> {
        let list = List::open("provisioning-rules", page, String::new())?;
        let values = values![&list.after, list.fetch];
        let key = |rule: &ProvisioningRule| rule.id.to_string();
        list.read::<RuleRow, _, _>(&mut self.reader().await?, LIST, values, key).await
    }

    async fn list_rules_of_issuer(
        &self,
        issuer: &IssuerUrl,
    ) -> Result<Option<Timed<Vec<ProvisioningRule>>>, CatalogError> {
        let sql = OF_ISSUER.on::<D::Connection>();
        let found: Vec<TimedRow<RuleRow>> = rows(&mut self.reader().await?, sql, values![issuer.as_str()]).await?;
        let Some(now) = found.first().map(|first| first.now) else { return Ok(None) };
        let value = found.into_iter().map(|TimedRow { row, .. }| row.try_into()).collect::<Result<_, _>>()?;
        Ok(Some(Timed { value, now: self.database.clock(now)? }))
    }

    async fn list_reconcilable(
        &self,
        rule: &RuleId,
        page: &PageRequest,
    ) -> Result<Option<Page<Principal>>, CatalogError> {
        let list = List::open(format!("reconcilable:{rule}"), page, Uuid::nil())?;
        let mut reader = self.reader().await?;
        if !scalar::<bool, _>(&mut reader, IS_KNOWN, values![rule.as_str()]).await? {
            return Ok(None);
        }
        let values = values![rule.as_str(), list.after, list.fetch];
        let key = |principal: &Principal| principal.id.uuid();
        list.read::<PrincipalRow, _, _>(&mut reader, RECONCILABLE, values, key).await.map(Some)
    }
}
