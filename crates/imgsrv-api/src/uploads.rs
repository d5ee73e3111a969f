//! Uploads.

use serde::{Deserialize, Serialize};

/// Request to create an upload session.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateUpload {
    /// Digest that the uploaded content must have.
    #[cfg_attr(feature = "openapi", schema(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub expected_digest: String,
    /// Size in bytes that the uploaded content must have.
    #[serde(deserialize_with = "crate::integer::deserialize")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub expected_size_bytes: i64,
    /// Media type of the content, for information only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(
            max_length = 127,
            pattern = r##"^[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+([ \t]*;[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+=([!#$%&'*+.^_`|~0-9A-Za-z-]+|"([ !#-\[\]-~]|\\[ -~])*"))?)*$"##
        )
    )]
    pub media_type_hint: Option<String>,
    /// Name of the file, for information only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(
            max_length = 256,
            pattern = r"^[^\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$"
        )
    )]
    pub filename_hint: Option<String>,
}

/// An upload session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UploadSession {
    /// Id.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub id: String,
    /// Id of the principal that created it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub principal_id: String,
    /// Digest that the uploaded content must have.
    pub expected_digest: String,
    /// Size in bytes that the uploaded content must have.
    pub expected_size_bytes: i64,
    /// `created`, `uploading`, `completed`, `ingesting`, `ready`, `failed` or `aborted`.
    pub state: String,
    /// Time at which the session expires; every accepted part postpones it.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub expires_at: String,
    /// Media type of the content, for information only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type_hint: Option<String>,
    /// Name of the file, for information only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename_hint: Option<String>,
    /// Time of creation.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub created_at: String,
    /// Time of the last change.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub updated_at: String,
    /// Reason of the failure; absent if it did not fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
}

/// A part that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AcceptedPart {
    /// Id of the upload session.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub upload_id: String,
    /// Part number.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 10000))]
    pub part_number: u16,
    /// Identifies the accepted content; send it when you complete the upload.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub etag: String,
    /// Size in bytes.
    pub size_bytes: i64,
}

/// A part of an upload session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PartSummary {
    /// Part number.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 10000))]
    pub part_number: u16,
    /// Identifies the content of the part.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub etag: String,
    /// Size in bytes.
    pub size_bytes: i64,
}

/// Request to complete an upload.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CompleteUpload {
    /// All parts, in ascending order of their numbers.
    #[cfg_attr(feature = "openapi", schema(max_items = 10000))]
    pub parts: Vec<ListedPart>,
}

/// A part in the request that completes an upload.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ListedPart {
    /// Part number.
    #[serde(deserialize_with = "crate::integer::deserialize")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 10000))]
    pub number: i64,
    /// Entity tag that the server returned for the part.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub etag: String,
    /// Size in bytes that the server accepted.
    #[serde(deserialize_with = "crate::integer::deserialize")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub size_bytes: i64,
}
