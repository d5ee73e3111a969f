//! Principals, roles, API tokens, provisioning rules and the audit log.

use super::Rows;
use crate::{client::Client, error::Error};
use imgsrv_api as api;
use reqwest::Method;
use url::Url;

/// Which entries of the audit log are listed; an absent field matches every entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditFilter {
    /// The action, such as `role.granted`.
    pub action: Option<String>,
    /// The actor: a principal's id or a worker's name.
    pub actor: Option<String>,
    /// The kind of actor: `principal`, `worker` or `operator`.
    pub actor_kind: Option<String>,
    /// The subject, exactly as entries show it.
    pub subject: Option<String>,
    /// The id of the request.
    pub request_id: Option<String>,
    /// Entries at or after this time (RFC 3339).
    pub since: Option<String>,
    /// Entries before this time (RFC 3339).
    pub until: Option<String>,
}

/// Authentication. All but [`Client::whoami`] needs `auth.manage`.
impl Client {
    /// The principal that the token authenticates, and what it may do.
    pub async fn whoami(&self) -> Result<api::Whoami, Error> {
        self.get(self.endpoint(["v1", "auth", "whoami"])).await
    }

    /// Every role.
    pub async fn roles(&self) -> Result<Vec<api::Role>, Error> {
        Ok(self.get::<api::RoleList>(self.endpoint(["v1", "auth", "roles"])).await?.roles)
    }

    /// Principals, oldest first.
    pub fn principals(&self) -> Rows<api::Principal> {
        self.rows::<api::PrincipalList>(self.endpoint(["v1", "auth", "principals"]))
    }

    /// A principal.
    pub async fn principal(&self, principal: &str) -> Result<api::Principal, Error> {
        self.get(self.endpoint(["v1", "auth", "principals", principal])).await
    }

    /// Creates a principal without roles.
    pub async fn create_principal(&self, principal: &api::CreatePrincipal) -> Result<api::Principal, Error> {
        self.create(self.endpoint(["v1", "auth", "principals"]), principal).await
    }

    /// Activates a principal again.
    pub async fn activate_principal(&self, principal: &str) -> Result<api::Principal, Error> {
        self.post(self.endpoint(["v1", "auth", "principals", principal, "activate"])).await
    }

    /// Deactivates a principal: every credential of it is refused.
    pub async fn deactivate_principal(&self, principal: &str) -> Result<api::Principal, Error> {
        self.post(self.endpoint(["v1", "auth", "principals", principal, "deactivate"])).await
    }

    /// Grants a role to a principal.
    pub async fn grant_role(&self, principal: &str, role: &str) -> Result<(), Error> {
        self.execute(Method::PUT, self.endpoint(["v1", "auth", "principals", principal, "roles", role])).await
    }

    /// Revokes a role of a principal.
    pub async fn revoke_role(&self, principal: &str, role: &str) -> Result<(), Error> {
        self.execute(Method::DELETE, self.endpoint(["v1", "auth", "principals", principal, "roles", role])).await
    }

    /// The API tokens of a principal, oldest first.
    pub fn api_tokens(&self, principal: &str) -> Rows<api::ApiToken> {
        self.rows::<api::ApiTokenList>(self.endpoint(["v1", "auth", "principals", principal, "api-tokens"]))
    }

    /// Issues an API token. Only this response contains its plaintext.
    pub async fn create_api_token(
        &self,
        principal: &str,
        token: &api::CreateApiToken,
    ) -> Result<api::IssuedApiToken, Error> {
        self.create(self.endpoint(["v1", "auth", "principals", principal, "api-tokens"]), token).await
    }

    /// Revokes an API token with immediate effect.
    pub async fn revoke_api_token(&self, token: &str) -> Result<(), Error> {
        self.execute(Method::DELETE, self.endpoint(["v1", "auth", "api-tokens", token])).await
    }

    fn rule_url(&self, rule: &str) -> Url {
        self.endpoint(["v1", "auth", "oidc-provisioning-rules", rule])
    }

    /// Provisioning rules, by id.
    pub fn provisioning_rules(&self) -> Rows<api::ProvisioningRule> {
        self.rows::<api::ProvisioningRuleList>(self.endpoint(["v1", "auth", "oidc-provisioning-rules"]))
    }

    /// A provisioning rule.
    pub async fn provisioning_rule(&self, rule: &str) -> Result<api::ProvisioningRule, Error> {
        self.get(self.rule_url(rule)).await
    }

    /// Creates a provisioning rule.
    pub async fn create_provisioning_rule(
        &self,
        rule: &api::SaveProvisioningRule,
    ) -> Result<api::ProvisioningRule, Error> {
        self.create(self.endpoint(["v1", "auth", "oidc-provisioning-rules"]), rule).await
    }

    /// Changes a provisioning rule.
    pub async fn update_provisioning_rule(
        &self,
        id: &str,
        rule: &api::SaveProvisioningRule,
    ) -> Result<api::ProvisioningRule, Error> {
        self.change(Method::PUT, self.rule_url(id), rule).await
    }

    /// Deletes a provisioning rule. Roles that it granted stay until they are reconciled.
    pub async fn delete_provisioning_rule(&self, rule: &str) -> Result<(), Error> {
        self.execute(Method::DELETE, self.rule_url(rule)).await
    }

    /// The roles that reconciling a rule would revoke, by principal: the first page, or the one after `cursor`.
    pub async fn preview_reconciliation(&self, rule: &str, cursor: Option<&str>) -> Result<api::Reconciliation, Error> {
        let mut url = self.endpoint(["v1", "auth", "oidc-provisioning-rules", rule, "reconciliation"]);
        if let Some(cursor) = cursor {
            url.query_pairs_mut().append_pair("cursor", cursor);
        }
        self.get(url).await
    }

    /// Revokes roles that a rule granted and no longer grants.
    pub async fn apply_reconciliation(&self, rule: &str) -> Result<api::Reconciliation, Error> {
        self.post(self.endpoint(["v1", "auth", "oidc-provisioning-rules", rule, "reconciliation"])).await
    }

    /// The audit log, newest first.
    pub fn audit_log(&self, filter: &AuditFilter) -> Rows<api::AuditEntry> {
        let mut url = self.endpoint(["v1", "audit"]);
        let filters = [
            ("action", &filter.action),
            ("actor", &filter.actor),
            ("actor_kind", &filter.actor_kind),
            ("subject", &filter.subject),
            ("request_id", &filter.request_id),
            ("since", &filter.since),
            ("until", &filter.until),
        ];
        for (name, value) in filters {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        self.rows::<api::AuditPage>(url)
    }
}
