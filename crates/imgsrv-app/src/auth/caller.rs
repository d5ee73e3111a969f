//! Callers, and the one place that decides what they may do.

use imgsrv_domain::{
    audit::Actor,
    auth::{Action, Principal, Role},
    ids::{PrincipalId, TokenId},
    names::RuleId,
    oidc::OidcIdentity,
    ports::Visibility,
    text::ShortText,
    time::Timestamp,
};

/// The request of a caller, for the audit log.
#[derive(Debug, Clone, Default)]
pub struct RequestContext {
    /// The request's id.
    pub request_id: Option<String>,
    /// The client's address.
    pub address: Option<String>,
}

impl RequestContext {
    /// The principal that sends the request, as the audit log names it.
    pub(crate) fn actor(&self, principal: &Principal) -> Actor {
        let Self { request_id, address } = self.clone();
        Actor::Principal { id: principal.id, name: Some(principal.display_name.clone()), request_id, address }
    }
}

/// The credential that authenticated a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// An API token of this server.
    ApiToken {
        /// Its id.
        id: TokenId,
        /// Its display name.
        name: ShortText,
    },
    /// A token of an OIDC issuer.
    Oidc {
        /// The identity that the issuer asserts.
        identity: OidcIdentity,
        /// The rule that admits it.
        rule: RuleId,
    },
}

/// How and until when a caller is authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// The credential.
    pub credential: Credential,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// The caller of a use case.
#[derive(Debug, Clone)]
pub struct Caller {
    authenticated: Option<(Principal, Authentication)>,
    context: RequestContext,
}

/// Why a caller is not allowed to do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The caller is anonymous.
    #[error("this operation requires a bearer token")]
    Unauthenticated,
    /// The caller's roles do not allow it.
    #[error("this operation requires the permission {0}, which the caller's roles do not grant")]
    Forbidden(Action),
    /// The token is authentic, but no rule admits it.
    #[error("the token is authentic, but its audience and claims match no enabled provisioning rule")]
    NotAdmitted,
    /// The token is authentic and admitted, but the role was revoked from its principal.
    #[error("the token matches a provisioning rule, but the role {role} of its principal {principal} was revoked")]
    RoleMissing {
        /// The role.
        role: Role,
        /// The principal that had it.
        principal: PrincipalId,
    },
    /// The principal is deactivated.
    #[error("principal {0} is deactivated; an auth-manager can activate it again")]
    Deactivated(PrincipalId),
}

/// Proof that a caller may change content.
#[derive(Debug, Clone)]
pub struct Writer(Actor, PrincipalId);

/// Proof that a caller may change the lifecycle of published versions.
#[derive(Debug, Clone)]
pub struct ContentAdmin(Actor);

/// Proof that a caller may manage authentication.
#[derive(Debug, Clone)]
pub struct Manager(Actor);

/// Proof that a caller may read the audit log.
#[derive(Debug, Clone)]
pub struct AuditReader(());

/// Proof that a caller may operate the server.
#[derive(Debug, Clone)]
pub struct SystemOperator(());

/// Proof that a caller may see the state of the server.
#[derive(Debug, Clone)]
pub struct SystemReader(());

impl Caller {
    /// A caller without credentials.
    pub const fn anonymous(context: RequestContext) -> Self {
        Self { authenticated: None, context }
    }

    /// An authenticated principal.
    pub const fn authenticated(principal: Principal, authentication: Authentication, context: RequestContext) -> Self {
        Self { authenticated: Some((principal, authentication)), context }
    }

    /// The principal and its authentication, unless the caller is anonymous.
    pub fn who(&self) -> Result<&(Principal, Authentication), Denied> {
        self.authenticated.as_ref().ok_or(Denied::Unauthenticated)
    }

    /// What the caller can see of the catalog.
    pub fn visibility(&self) -> Visibility {
        let writes = self.authenticated.as_ref().is_some_and(|(principal, _)| principal.may(Action::ContentWrite));
        if writes { Visibility::All } else { Visibility::Published }
    }

    /// Proof that the caller may change content.
    pub fn writer(&self) -> Result<Writer, Denied> {
        let (actor, id) = self.require(Action::ContentWrite)?;
        Ok(Writer(actor, id))
    }

    /// Whether the caller can see images that have no published version.
    pub fn sees_all_images(&self) -> bool {
        let may = |action| self.authenticated.as_ref().is_some_and(|(principal, _)| principal.may(action));
        may(Action::ContentWrite) || may(Action::ContentRetire)
    }

    /// Proof that the caller may change the lifecycle of published versions.
    pub fn content_admin(&self) -> Result<ContentAdmin, Denied> {
        let (actor, _) = self.require(Action::ContentRetire)?;
        Ok(ContentAdmin(actor))
    }

    /// Proof that the caller may manage authentication.
    pub fn manager(&self) -> Result<Manager, Denied> {
        let (actor, _) = self.require(Action::AuthManage)?;
        Ok(Manager(actor))
    }

    /// Proof that the caller may read the audit log.
    pub fn audit_reader(&self) -> Result<AuditReader, Denied> {
        self.require(Action::AuditRead).map(|_| AuditReader(()))
    }

    /// Proof that the caller may see the state of the server.
    pub fn system_reader(&self) -> Result<SystemReader, Denied> {
        self.require(Action::SystemRead).map(|_| SystemReader(()))
    }

    /// Proof that the caller may operate the server.
    pub fn system_operator(&self) -> Result<SystemOperator, Denied> {
        self.require(Action::SystemOperate).map(|_| SystemOperator(()))
    }

    fn require(&self, action: Action) -> Result<(Actor, PrincipalId), Denied> {
        let (principal, _) = self.who()?;
        if !principal.may(action) {
            return Err(Denied::Forbidden(action));
        }
        Ok((self.context.actor(principal), principal.id))
    }
}

impl Writer {
    /// The principal.
    pub(crate) const fn id(&self) -> PrincipalId {
        self.1
    }

    pub(crate) const fn actor(&self) -> &Actor {
        &self.0
    }
}

impl ContentAdmin {
    /// An operator with direct access to the catalog, who needs no token.
    pub const fn operator() -> Self {
        Self(Actor::Operator)
    }

    pub(crate) const fn actor(&self) -> &Actor {
        &self.0
    }
}

impl Manager {
    /// An operator with direct access to the catalog, who needs no token.
    pub const fn operator() -> Self {
        Self(Actor::Operator)
    }

    pub(crate) const fn actor(&self) -> &Actor {
        &self.0
    }
}
