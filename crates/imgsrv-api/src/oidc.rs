//! Provisioning rules, the identity of a bearer, and the audit log.

use crate::Principal;
use serde::{Deserialize, Serialize};

/// A provisioning rule to be saved.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct SaveProvisioningRule {
    /// Its id, when it is made; one is made up when absent. In an update it may repeat the path's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(pattern = "^[a-z0-9][a-z0-9._-]{0,63}$"))]
    pub id: Option<String>,
    /// What people call it.
    #[cfg_attr(
        feature = "openapi",
        schema(
            max_length = 256,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"
        )
    )]
    pub display_name: String,
    /// Whose tokens it admits: exactly their `iss`.
    #[cfg_attr(
        feature = "openapi",
        schema(
            min_length = 1,
            max_length = 256,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"
        )
    )]
    pub issuer_url: String,
    /// For whom they must be meant: one of their `aud`, whatever the condition says.
    #[cfg_attr(
        feature = "openapi",
        schema(
            min_length = 1,
            max_length = 256,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"
        )
    )]
    pub audience: String,
    /// The claims that the condition sees, at most 64.
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::schemas::forwarded_claims))]
    pub forwarded_claims: Vec<String>,
    /// What must hold of them, in CEL.
    #[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 4096))]
    pub condition: String,
    /// Always `["content-writer"]`; may be sent back unchanged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::schemas::assigned_roles))]
    pub assign_role_ids: Option<Vec<String>>,
    /// Whether it admits anybody; `true` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// A rule by which holders of an issuer's tokens may write content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProvisioningRule {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub display_name: String,
    /// Whose tokens it admits.
    pub issuer_url: String,
    /// For whom they must be meant.
    pub audience: String,
    /// The claims that the condition sees.
    pub forwarded_claims: Vec<String>,
    /// What must hold of them.
    pub condition: String,
    /// What it grants: `["content-writer"]`.
    pub assign_role_ids: Vec<String>,
    /// Whether it admits anybody.
    pub enabled: bool,
}

/// What reconciling a rule takes away, or took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Reconciliation {
    /// The rule.
    pub rule_id: String,
    /// The roles that are taken; empty when there is nobody to take them from.
    pub unassign_role_ids: Vec<String>,
    /// From whom: a page of them in a preview, the first thousand once applied.
    pub principals: Vec<Principal>,
    /// Whether it was done.
    pub applied: bool,
    /// From how many it was taken, once applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal_count: Option<u64>,
    /// Where the next page starts, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// How a bearer is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Authentication {
    /// `api_token` or `oidc`.
    pub method: String,
    /// The API token, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub api_token_id: Option<String>,
    /// The API token's name, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_token_name: Option<String>,
    /// Who vouches for the bearer, if an issuer does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// For whom the issuer vouches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The provisioning rule that admits it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<String>,
    /// From when on the bearer is refused.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub expires_at: String,
}

/// Who a bearer is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Whoami {
    /// The principal, with its roles.
    pub principal: Principal,
    /// What its roles allow.
    pub actions: Vec<String>,
    /// How it is known.
    pub authentication: Authentication,
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditActor {
    /// `principal`, `worker` or `operator` (somebody with direct access to the catalog).
    pub kind: String,
    /// The principal's id or the worker's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// What was done, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditEntry {
    /// Its number.
    pub id: i64,
    /// When.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub at: String,
    /// By whom.
    pub actor: AuditActor,
    /// In which request, if in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// From where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What was done, such as `role.granted`.
    pub action: String,
    /// On what: an id, or a path such as `debian/12.5.0`.
    pub subject: String,
    /// What else there is to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}
