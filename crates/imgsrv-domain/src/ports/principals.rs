//! Who may do what, as the catalog keeps it.

use super::CatalogError;
use crate::{
    auth::{ApiToken, Principal, Role},
    ids::{PrincipalId, TokenId},
    names::RuleId,
    oidc::{IssuerUrl, OidcIdentity, ProvisioningRule},
    time::Timestamp,
};
use async_trait::async_trait;

/// Principals, their identities, roles and tokens.
#[async_trait]
pub trait PrincipalRepo: Send {
    /// The principal with that id and its roles.
    async fn get_principal(&mut self, id: PrincipalId) -> Result<Option<Principal>, CatalogError>;
    /// The principal with that id, in order to change what it holds.
    async fn lock_principal(&mut self, id: PrincipalId) -> Result<Option<Principal>, CatalogError>;
    /// Stores a new principal with its roles, as if granted by hand; else
    /// [`Conflict::PrincipalId`](super::Conflict::PrincipalId).
    async fn insert_principal(&mut self, principal: &Principal) -> Result<(), CatalogError>;
    /// Bars a principal from a time on, or lets it in again; says whether that changed anything.
    async fn set_deactivated(
        &mut self,
        id: PrincipalId,
        deactivated_at: Option<Timestamp>,
    ) -> Result<bool, CatalogError>;
    /// Grants a role by hand; says whether it was not granted by hand before.
    async fn grant_role(&mut self, principal: PrincipalId, role: Role) -> Result<bool, CatalogError>;
    /// Takes a role away whoever granted it; says whether it was held. Rules that granted it do not do so again.
    async fn revoke_role(&mut self, principal: PrincipalId, role: Role) -> Result<bool, CatalogError>;
    /// Keeps every other transaction that calls this from going on until this one ends: for decisions about
    /// authentication that depend on more than the records that they change.
    async fn lock_authentication(&mut self) -> Result<(), CatalogError>;
    /// Whether anybody can manage authentication: an active principal with the role and a live token.
    async fn has_live_auth_manager(&mut self) -> Result<bool, CatalogError>;

    /// The principal that is `identity`.
    async fn get_identity(&mut self, identity: &OidcIdentity) -> Result<Option<PrincipalId>, CatalogError>;
    /// Makes `principal` be `identity`, else [`Conflict::Identity`](super::Conflict::Identity).
    async fn insert_identity(&mut self, principal: PrincipalId, identity: &OidcIdentity) -> Result<(), CatalogError>;

    /// The token with that id.
    async fn get_token(&mut self, id: TokenId) -> Result<Option<ApiToken>, CatalogError>;
    /// Stores a new token with the SHA-256 of its secret, else [`Conflict::TokenKey`](super::Conflict::TokenKey).
    async fn insert_token(&mut self, token: &ApiToken, secret_hash: &[u8; 32]) -> Result<(), CatalogError>;
    /// Revokes a token; one that is revoked already stays as it is.
    async fn revoke_token(&mut self, id: TokenId, at: Timestamp) -> Result<(), CatalogError>;
    /// Revokes every live token of a principal; says which.
    async fn revoke_tokens_of(&mut self, principal: PrincipalId, at: Timestamp) -> Result<Vec<TokenId>, CatalogError>;
    /// Notes when tokens were last used.
    async fn touch_tokens(&mut self, used: &[(TokenId, Timestamp)]) -> Result<(), CatalogError>;
}

/// Provisioning rules, and what they granted.
///
/// A rule grants a role to a principal once, at its first match. The grant is *live* until the role is taken away
/// or the rule is reconciled, also when the rule is disabled or deleted meanwhile. A role is held by hand, through
/// live grants, or both.
#[async_trait]
pub trait RuleRepo: Send {
    /// The rule with that id, in order to change it or to act upon it.
    async fn lock_rule(&mut self, id: &RuleId) -> Result<Option<ProvisioningRule>, CatalogError>;
    /// How many rules name an issuer.
    async fn count_rules_of(&mut self, issuer: &IssuerUrl) -> Result<u32, CatalogError>;
    /// Stores a new rule, else [`Conflict::RuleId`](super::Conflict::RuleId).
    async fn insert_rule(&mut self, rule: &ProvisioningRule) -> Result<(), CatalogError>;
    /// Stores `rule` if its revision is still held, else [`Conflict::StaleRevision`](super::Conflict::StaleRevision).
    async fn update_rule(&mut self, rule: &ProvisioningRule) -> Result<(), CatalogError>;
    /// Deletes a rule; what it granted stays until it is reconciled.
    async fn delete_rule(&mut self, id: &RuleId) -> Result<(), CatalogError>;
    /// Grants the role in a rule's name, unless that grant was ended; says whether that changed anything. A role that
    /// went while the rule was disabled, and the grant did not, comes back.
    async fn grant_by_rule(
        &mut self,
        rule: &RuleId,
        principal: PrincipalId,
        role: Role,
        at: Timestamp,
    ) -> Result<bool, CatalogError>;
    /// Ends a rule's live grant, and no other. Takes the role away, and says so, unless it is held by hand or through
    /// a live grant of another rule that is enabled.
    async fn reconcile_grant(
        &mut self,
        rule: &RuleId,
        principal: PrincipalId,
        role: Role,
        at: Timestamp,
    ) -> Result<bool, CatalogError>;
    /// Up to `limit` principals with a live grant of a rule, by id.
    async fn list_granted(&mut self, rule: &RuleId, limit: u16) -> Result<Vec<PrincipalId>, CatalogError>;
}
