//! Who calls, and the one place that says what they may do.

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

/// What is known of a request beside its caller; it goes into the audit trail.
#[derive(Debug, Clone, Default)]
pub struct RequestContext {
    /// The request's id.
    pub request_id: Option<String>,
    /// The client's address.
    pub address: Option<String>,
}

/// By what somebody is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Means {
    /// A token of ours.
    ApiToken {
        /// Which.
        id: TokenId,
        /// What people call it.
        name: ShortText,
    },
    /// A token of another issuer.
    Oidc {
        /// Whom the issuer vouches for.
        identity: OidcIdentity,
        /// The rule that admits it.
        rule: RuleId,
    },
}

/// How somebody is known, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// By what.
    pub means: Means,
    /// From when on that is refused.
    pub expires_at: Timestamp,
}

/// The caller of a use case.
#[derive(Debug, Clone)]
pub struct Caller {
    known: Option<(Principal, Authentication)>,
    context: RequestContext,
}

/// The caller may not do this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nobody in particular asked for what needs a permission.
    #[error("this needs a bearer token")]
    Unauthenticated,
    /// The caller's roles do not allow it.
    #[error("this needs the permission {0}")]
    Forbidden(Action),
    /// The token is authentic, but no rule admits it.
    #[error(
        "the token is authentic, but no enabled provisioning rule admits it: its audience or its claims do not fit"
    )]
    NotAdmitted,
    /// The token is authentic and admitted, but its principal was deprived of the role.
    #[error("the token is admitted, but its principal does not hold the role {0} any more")]
    RoleMissing(Role),
    /// The principal is barred.
    #[error("the principal is deactivated")]
    Deactivated,
}

/// Proof that somebody may change content.
#[derive(Debug, Clone)]
pub struct Writer(Actor, PrincipalId);

/// Proof that somebody may manage authentication.
#[derive(Debug, Clone)]
pub struct Manager(Actor);

impl Caller {
    /// Nobody in particular.
    pub const fn anonymous(context: RequestContext) -> Self {
        Self { known: None, context }
    }

    /// An authenticated principal.
    pub const fn authenticated(principal: Principal, authentication: Authentication, context: RequestContext) -> Self {
        Self { known: Some((principal, authentication)), context }
    }

    /// Who it is, and how that is known.
    pub fn who(&self) -> Result<(&Principal, &Authentication), Denied> {
        let (principal, authentication) = self.known.as_ref().ok_or(Denied::Unauthenticated)?;
        Ok((principal, authentication))
    }

    /// How much of the catalog the caller sees.
    pub fn visibility(&self) -> Visibility {
        let writes = self.known.as_ref().is_some_and(|(principal, _)| principal.may(Action::ContentWrite));
        if writes { Visibility::All } else { Visibility::Published }
    }

    /// The caller as one who changes content.
    pub fn writer(&self) -> Result<Writer, Denied> {
        let (actor, id) = self.require(Action::ContentWrite)?;
        Ok(Writer(actor, id))
    }

    /// The caller as one who manages authentication.
    pub fn manager(&self) -> Result<Manager, Denied> {
        let (actor, _) = self.require(Action::AuthManage)?;
        Ok(Manager(actor))
    }

    fn require(&self, action: Action) -> Result<(Actor, PrincipalId), Denied> {
        let (principal, _) = self.who()?;
        if !principal.may(action) {
            return Err(Denied::Forbidden(action));
        }
        let RequestContext { request_id, address } = self.context.clone();
        Ok((Actor::Principal { id: principal.id, request_id, address }, principal.id))
    }
}

impl Writer {
    /// Who writes.
    pub(crate) const fn id(&self) -> PrincipalId {
        self.1
    }

    pub(crate) const fn actor(&self) -> &Actor {
        &self.0
    }
}

impl Manager {
    /// An operator who can reach the catalog itself, and needs no token.
    pub const fn operator() -> Self {
        Self(Actor::Operator)
    }

    pub(crate) const fn actor(&self) -> &Actor {
        &self.0
    }
}
