//! Why a caller is not allowed to do something.

use imgsrv_domain::{
    auth::{Action, Role},
    ids::PrincipalId,
    names::ImageName,
};

/// Why a caller is not allowed to do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The caller is anonymous.
    #[error("this operation requires a bearer token")]
    Unauthenticated,
    /// The caller's roles do not allow it.
    #[error("this operation requires the permission {0}, which the caller's roles do not grant")]
    Forbidden(Action),
    /// The caller's roles, or its token, allow it on other images only.
    #[error(
        "this operation requires the permission {action} on image {image}, which the caller has only on other images"
    )]
    OutOfScope {
        /// The action.
        action: Action,
        /// The image.
        image: ImageName,
    },
    /// The caller's roles, or its token, allow it on some images only.
    #[error("this operation requires the permission {0} on every image")]
    NotEverywhere(Action),
    /// The token may do more than read, so it must not be in a URL.
    #[error(
        "a token in the URL of a remote must be limited to content-reader, or belong to a principal with that role alone: \
         clients store the URL and show it; revoke this token"
    )]
    NotReadOnly,
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
