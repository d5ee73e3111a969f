//! Principals, their credentials and provisioning rules in the catalog.

use super::{CatalogError, Timed};
use crate::{
    access::{Grants, ImageScope},
    auth::{ApiToken, Principal, Role, StoredToken, TokenKey},
    ids::{PrincipalId, TokenId},
    names::RuleId,
    oidc::{IssuerUrl, OidcIdentity, ProvisioningRule},
    page::{Page, PageRequest},
    time::Timestamp,
};
use async_trait::async_trait;

/// Principals, their identities and roles.
#[async_trait]
pub trait PrincipalRepo: Send {
    /// The principal with that id and its roles.
    async fn get_principal(&mut self, id: PrincipalId) -> Result<Option<Principal>, CatalogError>;
    /// The principal with that id and its roles, locked.
    async fn lock_principal(&mut self, id: PrincipalId) -> Result<Option<Principal>, CatalogError>;
    /// Stores a new principal with its roles, as if granted by hand; else
    /// [`Conflict::PrincipalId`](super::Conflict::PrincipalId).
    async fn insert_principal(&mut self, principal: &Principal) -> Result<(), CatalogError>;
    /// Deactivates a principal from a time on, or activates it again; returns whether that changed anything.
    async fn set_deactivated(
        &mut self,
        id: PrincipalId,
        deactivated_at: Option<Timestamp>,
    ) -> Result<bool, CatalogError>;
    /// Grants a role by hand on some images; returns whether that changed anything. Without `images`, the
    /// images of a role that it has stay as they are, and another role is granted on every image.
    async fn grant_role(
        &mut self,
        principal: PrincipalId,
        role: Role,
        images: Option<&ImageScope>,
    ) -> Result<bool, CatalogError>;
    /// Revokes a role, granted by hand or by rules; returns whether the principal had it. Rules that granted it do not
    /// grant it again.
    async fn revoke_role(&mut self, principal: PrincipalId, role: Role) -> Result<bool, CatalogError>;
    /// Makes every other transaction that calls this wait until this one ends: for decisions about authentication that
    /// depend on more than the records that they change.
    async fn lock_authentication(&mut self) -> Result<(), CatalogError>;
    /// Whether anybody can manage authentication: an active principal with the role and a live token.
    async fn has_live_auth_manager(&mut self) -> Result<bool, CatalogError>;
    /// The principal with that identity.
    async fn get_principal_id(&mut self, identity: &OidcIdentity) -> Result<Option<PrincipalId>, CatalogError>;
    /// Records when principals with an identity were last seen.
    async fn touch_principals(&mut self, seen: &[(PrincipalId, Timestamp)]) -> Result<(), CatalogError>;
    /// Gives a principal an identity, else [`Conflict::Identity`](super::Conflict::Identity).
    async fn insert_identity(&mut self, principal: PrincipalId, identity: &OidcIdentity) -> Result<(), CatalogError>;
}

/// API tokens.
#[async_trait]
pub trait TokenRepo: Send {
    /// The token with that id.
    async fn get_token(&mut self, id: TokenId) -> Result<Option<ApiToken>, CatalogError>;
    /// Stores a new token with the SHA-256 of its secret, else [`Conflict::TokenKey`](super::Conflict::TokenKey).
    async fn insert_token(&mut self, token: &ApiToken, secret_hash: &[u8; 32]) -> Result<(), CatalogError>;
    /// Changes when a token expires; returns whether it did. A revoked token does not change.
    async fn set_token_expiry(&mut self, id: TokenId, expires_at: Timestamp) -> Result<bool, CatalogError>;
    /// Revokes a token; a revoked token does not change.
    async fn revoke_token(&mut self, id: TokenId, at: Timestamp) -> Result<(), CatalogError>;
    /// Revokes every live token of a principal; returns which.
    async fn revoke_tokens_of(&mut self, principal: PrincipalId, at: Timestamp) -> Result<Vec<TokenId>, CatalogError>;
    /// Records when tokens were last used.
    async fn touch_tokens(&mut self, used: &[(TokenId, Timestamp)]) -> Result<(), CatalogError>;
}

/// Provisioning rules, and what they granted.
///
/// A rule grants a role to a principal once, at its first match. The grant is *live* until the role is revoked or the
/// rule is reconciled, also when the rule is disabled or deleted meanwhile. A principal has a role by hand, through live
/// grants, or both.
#[async_trait]
pub trait RuleRepo: Send {
    /// The rule with that id, locked.
    async fn lock_rule(&mut self, id: &RuleId) -> Result<Option<ProvisioningRule>, CatalogError>;
    /// The number of rules of an issuer.
    async fn count_rules_of_issuer(&mut self, issuer: &IssuerUrl) -> Result<u32, CatalogError>;
    /// Stores a new rule, else [`Conflict::RuleId`](super::Conflict::RuleId).
    async fn insert_rule(&mut self, rule: &ProvisioningRule) -> Result<(), CatalogError>;
    /// Stores `rule` if its revision is current, else [`Conflict::StaleRevision`](super::Conflict::StaleRevision).
    async fn update_rule(&mut self, rule: &ProvisioningRule) -> Result<(), CatalogError>;
    /// Deletes a rule; its grants stay live until they are reconciled.
    async fn delete_rule(&mut self, id: &RuleId) -> Result<(), CatalogError>;
    /// Grants the role by a rule, unless that grant was ended; returns whether that changed anything. A role that was
    /// lost while the rule was disabled is granted again if the grant is still live.
    async fn grant_by_rule(
        &mut self,
        rule: &RuleId,
        principal: PrincipalId,
        role: Role,
        at: Timestamp,
    ) -> Result<bool, CatalogError>;
    /// Ends a rule's live grant, and no other. Revokes the role, and returns that, unless the principal has it by hand
    /// or through a live grant of another rule that is enabled.
    async fn reconcile_grant(
        &mut self,
        rule: &RuleId,
        principal: PrincipalId,
        role: Role,
        at: Timestamp,
    ) -> Result<bool, CatalogError>;
    /// Up to `limit` live grants of a rule, by principal and role.
    async fn list_live_grants(&mut self, rule: &RuleId, limit: u16) -> Result<Vec<(PrincipalId, Role)>, CatalogError>;
    /// The rule with that id, if it is enabled and its grant of its role to the principal is live; not locked.
    async fn get_granting_rule(
        &mut self,
        rule: &RuleId,
        principal: PrincipalId,
    ) -> Result<Option<ProvisioningRule>, CatalogError>;
}

/// The principal of an identity, and a rule's grant to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The principal, with its current roles.
    pub principal: Principal,
    /// When it was last seen, to the day.
    pub seen_at: Timestamp,
    /// The roles that it has by hand.
    pub by_hand: Grants,
    /// The grant of the role by the rule; absent when the rule has not matched the principal before.
    pub grant: Option<Grant>,
}

/// The state of a rule's grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// It supports the role.
    Live,
    /// It was ended, and is not granted again.
    Ended,
}

/// Reads of principals and their credentials.
#[async_trait]
pub trait PrincipalQueries: Send + Sync {
    /// The token with that key, the hash of its secret and its principal; one statement.
    async fn get_token_by_key(&self, key: &TokenKey) -> Result<Option<Timed<StoredToken>>, CatalogError>;
    /// The principal with that id.
    async fn get_principal(&self, id: PrincipalId) -> Result<Option<Principal>, CatalogError>;
    /// Principals by id, which is the order of their creation.
    async fn list_principals(&self, page: &PageRequest) -> Result<Page<Principal>, CatalogError>;
    /// The tokens of a principal by id, which is the order of their creation.
    async fn list_tokens(&self, principal: PrincipalId, page: &PageRequest) -> Result<Page<ApiToken>, CatalogError>;
    /// The principal with that identity, and the grant of `role` by `rule` to it.
    async fn get_admission(
        &self,
        identity: &OidcIdentity,
        rule: &RuleId,
        role: Role,
    ) -> Result<Option<Admission>, CatalogError>;
}

/// Reads of provisioning rules.
#[async_trait]
pub trait RuleQueries: Send + Sync {
    /// The rule with that id.
    async fn get_rule(&self, id: &RuleId) -> Result<Option<ProvisioningRule>, CatalogError>;
    /// Provisioning rules by id.
    async fn list_rules(&self, page: &PageRequest) -> Result<Page<ProvisioningRule>, CatalogError>;
    /// Every rule of `issuer`, enabled or not, by id; one statement. `None` when there is none.
    async fn list_rules_of_issuer(
        &self,
        issuer: &IssuerUrl,
    ) -> Result<Option<Timed<Vec<ProvisioningRule>>>, CatalogError>;
    /// The roles of which a rule has live grants.
    async fn list_granted_roles(&self, rule: &RuleId) -> Result<Vec<Role>, CatalogError>;
    /// The principals of which [`RuleRepo::reconcile_grant`] would revoke a role for `rule`, by id. `None` when the rule does
    /// not exist and never granted anything.
    async fn list_reconcilable(
        &self,
        rule: &RuleId,
        page: &PageRequest,
    ) -> Result<Option<Page<Principal>>, CatalogError>;
}
