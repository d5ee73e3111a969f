//! Links: URLs with which anybody can download one file.

use serde::{Deserialize, Serialize};

/// Request to make a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateLink {
    /// How long the link is valid, such as `12h` or `7d`, which is the maximum. It ends with the API token that makes it, if
    /// that expires sooner.
    #[cfg_attr(
        feature = "openapi",
        schema(pattern = "^([1-9][0-9]{0,4}s|[1-9][0-9]{0,3}m|([1-9]|[1-9][0-9]|1[0-5][0-9]|16[0-8])h|[1-7]d|1w)$")
    )]
    pub ttl: String,
    /// Attachment of the artifact that the link is for. Default: the artifact itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub attachment_id: Option<String>,
}

/// A link. Anybody who has its URL can download the file until it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Link {
    /// URL of the file.
    pub url: String,
    /// Time at which the link ends.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub expires_at: String,
}
