//! Lifecycles of published versions.

use crate::{BlobReference, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version that users of a retired version should use instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Replacement {
    /// Name of the version or alias; `IMAGE:NAME` if it is one of another image.
    pub name: String,
    /// URL of its manifest, relative to the server.
    pub url: String,
}

/// A hold: the version is not revoked, removed or reclaimed while it is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Hold {
    /// Reason.
    pub reason: String,
    /// Time at which it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub until: Option<String>,
    /// Time at which it ends because it was released.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub lifts_at: Option<String>,
}

/// The lifecycle of a published version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Lifecycle {
    /// `active`, `deprecated`, `revoked`, `removed`, or `tombstone` once the files of a removed version are gone.
    pub state: String,
    /// Reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What to use instead; absent if it is not available itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replacement: Option<Replacement>,
    /// Day on which support ends (`YYYY-MM-DD`).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = Date))]
    pub end_of_life: Option<String>,
    /// Time of the last change.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub changed_at: String,
    /// Time at which it was revoked, also if it was removed afterwards: its files are not served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub revoked_at: Option<String>,
    /// Time until which the files of a removed version are served, unless it was revoked before, and until which it can be
    /// restored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub available_until: Option<String>,
    /// The hold, while it is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
}

/// Request to deprecate a version.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DeprecateVersion {
    /// Reason, for everybody who can read the version.
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::schemas::reason))]
    pub reason: String,
    /// What to use instead: a version or alias of the image, or `IMAGE:NAME` for one of another image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::schemas::replacement))]
    pub replacement: Option<String>,
    /// Day on which support ends (`YYYY-MM-DD`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = Date))]
    pub end_of_life: Option<String>,
}

/// Request to revoke a version.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RevokeVersion {
    /// Reason, for everybody who can read the version.
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::schemas::reason))]
    pub reason: String,
    /// What to use instead: a version or alias of the image, or `IMAGE:NAME` for one of another image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::schemas::replacement))]
    pub replacement: Option<String>,
    /// Aliases to move to another version in the same transaction; `null` deletes an alias.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::schemas::alias_moves))]
    pub aliases: BTreeMap<String, Option<String>>,
}

/// Request to remove a version.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RemoveVersion {
    /// Reason, for everybody who can read the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::schemas::optional_reason))]
    pub reason: Option<String>,
    /// What to use instead: a version or alias of the image, or `IMAGE:NAME` for one of another image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::schemas::replacement))]
    pub replacement: Option<String>,
    /// Aliases to move to another version in the same transaction; `null` deletes an alias.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::schemas::alias_moves))]
    pub aliases: BTreeMap<String, Option<String>>,
    /// How long the files are still served, such as `48h`; at least `2h`. The default is a setting of the server, `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(pattern = "^([2-9]|[1-9][0-9]{1,3})h$"))]
    pub drain: Option<String>,
    /// Purge the version: it is not served any more and cannot be restored, content that nothing else refers to is deleted
    /// at once, and the digests of that content are blocked. Needs a reason, and excludes `drain`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub purge: bool,
}

/// A removed version; after a purge, with the digests of the content that was deleted and kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RemovedVersion {
    /// The version.
    #[serde(flatten)]
    pub version: Version,
    /// Digests whose content was deleted, and that are blocked; only after a purge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purged: Option<Vec<String>>,
    /// Whether these digests are blocked in every image, and not only in this one; only if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_everywhere: Option<bool>,
    /// Digests whose content is kept, because another published or publishing version refers to it; only after a purge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Vec<KeptDigest>>,
}

/// A digest whose content a purge has kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeptDigest {
    /// Digest.
    pub digest: String,
    /// What refers to it, at most 100 entries.
    pub by: Vec<BlobReference>,
}

/// A version that has a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VersionOfImage {
    /// Image.
    pub image_name: String,
    /// Version.
    #[serde(flatten)]
    pub version: Version,
}

/// Request to undo the last step of a lifecycle.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RestoreVersion {
    /// Reason, for the audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::schemas::audit_reason))]
    pub reason: Option<String>,
}

/// Request to hold a version.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct HoldVersion {
    /// Reason, for everybody who can read the version.
    #[cfg_attr(feature = "openapi", schema(schema_with = crate::schemas::reason))]
    pub reason: String,
    /// Time at which the hold ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub until: Option<String>,
}
