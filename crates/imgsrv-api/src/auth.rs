//! Principals, roles and API tokens.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A named set of actions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Role {
    /// Id.
    pub id: String,
    /// Display name.
    pub display_name: String,
    /// Purpose of the role.
    pub description: String,
    /// Actions that the role allows.
    pub actions: Vec<String>,
}

/// A role of a principal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RoleGrant {
    /// Id of the role.
    pub id: String,
    /// Patterns of the names of the images on which the principal has the role. Absent: every image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Vec<String>>,
}

/// Request to grant a role.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct GrantRole {
    /// Patterns of the names of the images on which the principal has the role, instead of those that it has it on: 1 to
    /// 64 patterns of letters, digits, `.`, `_`, `-` and `*`, which stands for any characters. `["*"]` is every image. If
    /// absent, a role that the principal has stays as it is, and another is granted on every image. Only for roles that
    /// are about content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::schemas::image_patterns))]
    pub images: Option<Vec<String>>,
}

/// Request to create a principal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreatePrincipal {
    /// `user` or `service`.
    #[cfg_attr(feature = "openapi", schema(pattern = "^(user|service)$"))]
    pub kind: String,
    /// Display name.
    #[cfg_attr(
        feature = "openapi",
        schema(
            max_length = 256,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"
        )
    )]
    pub display_name: String,
    /// Notes for operators, at most 32 entries. They do not affect access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::schemas::attributes))]
    pub attributes: Option<BTreeMap<String, String>>,
}

/// A user or service that can authenticate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Principal {
    /// Id.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub id: String,
    /// `user` or `service`.
    pub kind: String,
    /// Display name.
    pub display_name: String,
    /// Notes for operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attributes: Option<BTreeMap<String, String>>,
    /// Ids of its roles.
    pub role_ids: Vec<String>,
    /// Its roles, and on which images it has them.
    #[serde(default)]
    pub roles: Vec<RoleGrant>,
    /// Time at which it was deactivated; absent if it is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub deactivated_at: Option<String>,
}

/// Request to issue an API token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateApiToken {
    /// Display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(
            max_length = 256,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"
        )
    )]
    pub name: Option<String>,
    /// Time at which the token expires.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub expires_at: String,
    /// Roles to which the token is limited: it allows what both these roles and those of its principal allow. Default:
    /// every role of the principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(min_items = 1))]
    pub role_ids: Option<Vec<String>>,
    /// Patterns of the names of the images to which the token is limited. Default: every image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::schemas::image_patterns))]
    pub images: Option<Vec<String>>,
}

/// Request to change an API token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UpdateApiToken {
    /// Time at which the token expires, in the future.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub expires_at: String,
}

/// A new API token with its plaintext, which is returned only once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct IssuedApiToken {
    /// Id.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub id: String,
    /// Id of the principal that the token authenticates.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub principal_id: String,
    /// Display name.
    pub name: String,
    /// Time at which the token expires.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub expires_at: String,
    /// Roles to which the token is limited; absent if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_ids: Option<Vec<String>>,
    /// Patterns of the names of the images to which the token is limited; absent if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Vec<String>>,
    /// The token itself. It cannot be retrieved again.
    pub plaintext: String,
}

/// An API token, without its plaintext.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApiToken {
    /// Id.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub id: String,
    /// Id of the principal that the token authenticates.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub principal_id: String,
    /// Display name.
    pub name: String,
    /// Time at which the token expires.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub expires_at: String,
    /// Roles to which the token is limited; absent if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_ids: Option<Vec<String>>,
    /// Patterns of the names of the images to which the token is limited; absent if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<Vec<String>>,
    /// Time of the last use, with a precision of one minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub last_used_at: Option<String>,
    /// Time at which it was revoked; absent if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub revoked_at: Option<String>,
}
