//! Retention policies of images.

use serde::{Deserialize, Serialize};

/// The rules by which versions are kept; at least one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct KeepRules {
    /// Number of newest versions to keep.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::integer::optional")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 4_294_967_295_i64))]
    pub newest: Option<i64>,
    /// Number of days (UTC) of each of which the newest version is kept.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::integer::optional")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 4_294_967_295_i64))]
    pub daily: Option<i64>,
    /// Number of weeks (ISO 8601, UTC) of each of which the newest version is kept.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::integer::optional")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 4_294_967_295_i64))]
    pub weekly: Option<i64>,
    /// Number of months (UTC) of each of which the newest version is kept.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::integer::optional")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 4_294_967_295_i64))]
    pub monthly: Option<i64>,
    /// Keep versions that were published less than this ago, such as `30d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(pattern = "^[0-9]+[smhdw]$"))]
    pub younger_than: Option<String>,
    /// Keep versions that were fetched less than this ago, such as `90d`, to the day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(pattern = "^[0-9]+[smhdw]$"))]
    pub fetched_within: Option<String>,
}

/// A retention policy: which versions of an image are kept, and what happens to the others. Versions that an alias points
/// to, that are held, or that are the replacement of another version are always kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RetentionPolicy {
    /// Rules; a version that any of them keeps is kept.
    pub keep: KeepRules,
    /// Number of newest versions that are kept whatever the rules say; the default is 1.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::integer::optional")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 4_294_967_295_i64))]
    pub min_keep: Option<i64>,
    /// `deprecate` sets the default of `deprecate_after` to `0s`, and `remove` that of `remove_after`. Responses do not have
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(pattern = "^(deprecate|remove)$"))]
    pub action: Option<String>,
    /// How long after its publication a version that is not kept is deprecated, such as `30d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(pattern = "^[0-9]+[smhdw]$"))]
    pub deprecate_after: Option<String>,
    /// How long after its publication a version that is not kept is removed, such as `90d`. Longer than `deprecate_after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(pattern = "^[0-9]+[smhdw]$"))]
    pub remove_after: Option<String>,
    /// Whether the server applies the policy regularly. It can be previewed and applied on demand anyway.
    pub enabled: bool,
}

/// What a policy decides for a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RetentionDecision {
    /// Name of the version.
    pub version: String,
    /// `keep`, `deprecate` or `remove`.
    pub action: String,
    /// Reasons, such as `newest 3` or `alias latest`; at least one.
    pub because: Vec<String>,
}

/// What a policy decides for every active and deprecated version of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RetentionPreview {
    /// Identifies the decisions and the state of the image, to apply them.
    pub revision: String,
    /// Decisions, the newest version first.
    pub decisions: Vec<RetentionDecision>,
}

/// Request to apply the policy of an image.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ApplyRetention {
    /// Revision of a preview of the policy of the image.
    pub revision: String,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RetentionApplied {
    /// Versions that were deprecated or removed, the oldest first.
    pub done: Vec<RetentionDecision>,
    /// Number of decisions that were not carried out because the image changed meanwhile.
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub remaining: i64,
}
