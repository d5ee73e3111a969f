//! Who may do what: principals, roles, tokens, provisioning rules and the audit trail.

use crate::{client::Client, error::Error, pages::Rows};
use imgsrv_api as api;
use reqwest::Method;
use url::Url;

/// What rows of the audit trail must be; everything that is absent may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditFilter {
    /// What was done, such as `role.granted`.
    pub action: Option<String>,
    /// By whom: a principal's id or a worker's name.
    pub actor: Option<String>,
    /// By what kind of actor: `principal`, `worker` or `operator`.
    pub actor_kind: Option<String>,
    /// On what, exactly as it is shown.
    pub subject: Option<String>,
    /// In which request.
    pub request_id: Option<String>,
    /// Not before this time (RFC 3339).
    pub since: Option<String>,
    /// Before this time (RFC 3339).
    pub until: Option<String>,
}

/// Managing authentication; all but [`Client::whoami`] needs `auth.manage`.
impl Client {
    /// Who the token authenticates, and what it may do.
    pub async fn whoami(&self) -> Result<api::Whoami, Error> {
        self.get(self.at(["v1", "auth", "whoami"])).await
    }

    /// Every role.
    pub async fn roles(&self) -> Result<Vec<api::Role>, Error> {
        Ok(self.get::<api::RoleList>(self.at(["v1", "auth", "roles"])).await?.roles)
    }

    /// Principals, in the order of their making.
    pub fn principals(&self) -> Rows<api::Principal> {
        self.rows::<api::PrincipalList>(self.at(["v1", "auth", "principals"]))
    }

    /// A principal.
    pub async fn principal(&self, principal: &str) -> Result<api::Principal, Error> {
        self.get(self.at(["v1", "auth", "principals", principal])).await
    }

    /// Makes a principal, without any role.
    pub async fn create_principal(&self, principal: &api::CreatePrincipal) -> Result<api::Principal, Error> {
        self.create(self.at(["v1", "auth", "principals"]), principal).await
    }

    /// Lets a principal in again.
    pub async fn activate_principal(&self, principal: &str) -> Result<api::Principal, Error> {
        let url = self.at(["v1", "auth", "principals", principal, "activate"]);
        self.repeatable(Method::POST, url, None::<&()>).await
    }

    /// Bars a principal, with whatever credential it comes.
    pub async fn deactivate_principal(&self, principal: &str) -> Result<api::Principal, Error> {
        let url = self.at(["v1", "auth", "principals", principal, "deactivate"]);
        self.repeatable(Method::POST, url, None::<&()>).await
    }

    /// Gives a principal a role.
    pub async fn grant_role(&self, principal: &str, role: &str) -> Result<(), Error> {
        self.quiet(Method::PUT, self.at(["v1", "auth", "principals", principal, "roles", role])).await
    }

    /// Takes a role from a principal.
    pub async fn revoke_role(&self, principal: &str, role: &str) -> Result<(), Error> {
        self.quiet(Method::DELETE, self.at(["v1", "auth", "principals", principal, "roles", role])).await
    }

    /// The API tokens of a principal, in the order of their making.
    pub fn api_tokens(&self, principal: &str) -> Rows<api::ApiToken> {
        self.rows::<api::ApiTokenList>(self.at(["v1", "auth", "principals", principal, "api-tokens"]))
    }

    /// Issues an API token. Its text is in this answer, and never again.
    pub async fn create_api_token(
        &self,
        principal: &str,
        token: &api::CreateApiToken,
    ) -> Result<api::IssuedApiToken, Error> {
        self.create(self.at(["v1", "auth", "principals", principal, "api-tokens"]), token).await
    }

    /// Revokes an API token, at once.
    pub async fn revoke_api_token(&self, token: &str) -> Result<(), Error> {
        self.quiet(Method::DELETE, self.at(["v1", "auth", "api-tokens", token])).await
    }

    fn rule_url(&self, rule: &str) -> Url {
        self.at(["v1", "auth", "oidc-provisioning-rules", rule])
    }

    /// Provisioning rules, by id.
    pub fn provisioning_rules(&self) -> Rows<api::ProvisioningRule> {
        self.rows::<api::ProvisioningRuleList>(self.at(["v1", "auth", "oidc-provisioning-rules"]))
    }

    /// A provisioning rule.
    pub async fn provisioning_rule(&self, rule: &str) -> Result<api::ProvisioningRule, Error> {
        self.get(self.rule_url(rule)).await
    }

    /// Makes a provisioning rule.
    pub async fn create_provisioning_rule(
        &self,
        rule: &api::SaveProvisioningRule,
    ) -> Result<api::ProvisioningRule, Error> {
        self.create(self.at(["v1", "auth", "oidc-provisioning-rules"]), rule).await
    }

    /// Changes a provisioning rule.
    pub async fn update_provisioning_rule(
        &self,
        id: &str,
        rule: &api::SaveProvisioningRule,
    ) -> Result<api::ProvisioningRule, Error> {
        self.repeatable(Method::PUT, self.rule_url(id), Some(rule)).await
    }

    /// Deletes a provisioning rule. What it granted stays until it is reconciled.
    pub async fn delete_provisioning_rule(&self, rule: &str) -> Result<(), Error> {
        self.quiet(Method::DELETE, self.rule_url(rule)).await
    }

    /// What reconciling a rule would take away, and from whom: the first page of them, or the one after `cursor`.
    pub async fn preview_reconciliation(&self, rule: &str, cursor: Option<&str>) -> Result<api::Reconciliation, Error> {
        let mut url = self.at(["v1", "auth", "oidc-provisioning-rules", rule, "reconciliation"]);
        if let Some(cursor) = cursor {
            url.query_pairs_mut().append_pair("cursor", cursor);
        }
        self.get(url).await
    }

    /// Takes away what a rule granted and does not grant any more.
    pub async fn apply_reconciliation(&self, rule: &str) -> Result<api::Reconciliation, Error> {
        let url = self.at(["v1", "auth", "oidc-provisioning-rules", rule, "reconciliation"]);
        self.repeatable(Method::POST, url, None::<&()>).await
    }

    /// The audit trail, newest first.
    pub fn audit_trail(&self, filter: &AuditFilter) -> Rows<api::AuditEntry> {
        let mut url = self.at(["v1", "audit"]);
        let wanted = [
            ("action", &filter.action),
            ("actor", &filter.actor),
            ("actor_kind", &filter.actor_kind),
            ("subject", &filter.subject),
            ("request_id", &filter.request_id),
            ("since", &filter.since),
            ("until", &filter.until),
        ];
        let given = wanted.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value)));
        for (name, value) in given {
            url.query_pairs_mut().append_pair(name, value);
        }
        self.rows::<api::AuditPage>(url)
    }
}
