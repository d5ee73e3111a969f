//! Principals, roles, API tokens, provisioning rules and the audit log.

use super::pages::{Rows, with_query};
use crate::{client::Client, error::Error};
use imgsrv_api::{
    ApiToken, ApiTokenList, AuditEntry, AuditPage, CreateApiToken, CreatePrincipal, GrantRole, IssuedApiToken,
    Principal, PrincipalList, ProvisioningRule, ProvisioningRuleList, Reconciliation, Role, RoleList,
    SaveProvisioningRule, UpdateApiToken, Whoami,
};
use reqwest::Method;

/// Which entries of the audit log are listed; an absent field matches every entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    pub async fn whoami(&self) -> Result<Whoami, Error> {
        self.get(self.endpoint(["v1", "auth", "whoami"])).await
    }

    /// Every role.
    pub async fn roles(&self) -> Result<Vec<Role>, Error> {
        Ok(self.get::<RoleList>(self.endpoint(["v1", "auth", "roles"])).await?.roles)
    }

    /// Principals, oldest first.
    pub fn principals(&self) -> Rows<Principal> {
        let url = self.endpoint(["v1", "auth", "principals"]);
        self.rows(url, |page: PrincipalList| (page.principals, page.next_cursor))
    }

    /// A principal.
    pub async fn principal(&self, principal: &str) -> Result<Principal, Error> {
        self.get(self.endpoint(["v1", "auth", "principals", principal])).await
    }

    /// Creates a principal without roles.
    pub async fn create_principal(&self, principal: &CreatePrincipal) -> Result<Principal, Error> {
        self.create(self.endpoint(["v1", "auth", "principals"]), principal).await
    }

    /// Activates a principal again.
    pub async fn activate_principal(&self, principal: &str) -> Result<Principal, Error> {
        self.post(self.endpoint(["v1", "auth", "principals", principal, "activate"])).await
    }

    /// Deactivates a principal: every credential of it is refused.
    pub async fn deactivate_principal(&self, principal: &str) -> Result<Principal, Error> {
        self.post(self.endpoint(["v1", "auth", "principals", principal, "deactivate"])).await
    }

    /// Grants a role to a principal on the images whose names match one of the patterns, such as `debian-*`, instead of
    /// those on which it has the role; `*` is every image.
    pub async fn grant_role_on(&self, principal: &str, role: &str, images: &[String]) -> Result<(), Error> {
        let url = self.endpoint(["v1", "auth", "principals", principal, "roles", role]);
        self.execute_with(Method::PUT, url, &GrantRole { images: Some(images.to_vec()) }).await
    }

    /// Grants a role to a principal: on every image, unless the principal has the role already.
    pub async fn grant_role(&self, principal: &str, role: &str) -> Result<(), Error> {
        self.execute(Method::PUT, self.endpoint(["v1", "auth", "principals", principal, "roles", role])).await
    }

    /// Revokes a role of a principal.
    pub async fn revoke_role(&self, principal: &str, role: &str) -> Result<(), Error> {
        self.execute(Method::DELETE, self.endpoint(["v1", "auth", "principals", principal, "roles", role])).await
    }

    /// The API tokens of a principal, oldest first.
    pub fn api_tokens(&self, principal: &str) -> Rows<ApiToken> {
        let url = self.endpoint(["v1", "auth", "principals", principal, "api-tokens"]);
        self.rows(url, |page: ApiTokenList| (page.api_tokens, page.next_cursor))
    }

    /// Issues an API token. Only this response contains its plaintext.
    pub async fn create_api_token(&self, principal: &str, token: &CreateApiToken) -> Result<IssuedApiToken, Error> {
        self.create(self.endpoint(["v1", "auth", "principals", principal, "api-tokens"]), token).await
    }

    /// Changes when an API token expires (RFC 3339). A revoked token cannot be changed.
    pub async fn set_api_token_expiry(&self, token: &str, expires_at: &str) -> Result<ApiToken, Error> {
        let url = self.endpoint(["v1", "auth", "api-tokens", token]);
        self.change(Method::PATCH, url, &UpdateApiToken { expires_at: expires_at.to_owned() }).await
    }

    /// Revokes an API token with immediate effect.
    pub async fn revoke_api_token(&self, token: &str) -> Result<(), Error> {
        self.execute(Method::DELETE, self.endpoint(["v1", "auth", "api-tokens", token])).await
    }

    /// Provisioning rules, by id.
    pub fn provisioning_rules(&self) -> Rows<ProvisioningRule> {
        let url = self.endpoint(["v1", "auth", "oidc-provisioning-rules"]);
        self.rows(url, |page: ProvisioningRuleList| (page.rules, page.next_cursor))
    }

    /// A provisioning rule.
    pub async fn provisioning_rule(&self, rule: &str) -> Result<ProvisioningRule, Error> {
        self.get(self.endpoint(["v1", "auth", "oidc-provisioning-rules", rule])).await
    }

    /// Creates a provisioning rule.
    pub async fn create_provisioning_rule(&self, rule: &SaveProvisioningRule) -> Result<ProvisioningRule, Error> {
        self.create(self.endpoint(["v1", "auth", "oidc-provisioning-rules"]), rule).await
    }

    /// Changes a provisioning rule.
    pub async fn update_provisioning_rule(
        &self,
        id: &str,
        rule: &SaveProvisioningRule,
    ) -> Result<ProvisioningRule, Error> {
        self.change(Method::PUT, self.endpoint(["v1", "auth", "oidc-provisioning-rules", id]), rule).await
    }

    /// Deletes a provisioning rule. Roles that it granted stay until they are reconciled.
    pub async fn delete_provisioning_rule(&self, rule: &str) -> Result<(), Error> {
        self.execute(Method::DELETE, self.endpoint(["v1", "auth", "oidc-provisioning-rules", rule])).await
    }

    /// The roles that reconciling a rule would revoke, by principal: the first page, or the one after `cursor`.
    pub async fn preview_reconciliation(&self, rule: &str, cursor: Option<&str>) -> Result<Reconciliation, Error> {
        let url = self.endpoint(["v1", "auth", "oidc-provisioning-rules", rule, "reconciliation"]);
        self.get(with_query(url, [("cursor", cursor)])).await
    }

    /// Revokes roles that a rule granted and no longer grants.
    pub async fn apply_reconciliation(&self, rule: &str) -> Result<Reconciliation, Error> {
        self.post(self.endpoint(["v1", "auth", "oidc-provisioning-rules", rule, "reconciliation"])).await
    }

    /// The audit log, newest first.
    pub fn audit_log(&self, filter: &AuditFilter) -> Rows<AuditEntry> {
        let filters = [
            ("action", filter.action.as_deref()),
            ("actor", filter.actor.as_deref()),
            ("actor_kind", filter.actor_kind.as_deref()),
            ("subject", filter.subject.as_deref()),
            ("request_id", filter.request_id.as_deref()),
            ("since", filter.since.as_deref()),
            ("until", filter.until.as_deref()),
        ];
        let url = with_query(self.endpoint(["v1", "audit"]), filters);
        self.rows(url, |page: AuditPage| (page.entries, page.next_cursor))
    }
}
