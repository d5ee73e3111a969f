//! Uploads.

use serde::{Deserialize, Serialize};

/// What is going to be uploaded.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CreateUpload {
    /// The digest that the bytes must have.
    #[cfg_attr(feature = "openapi", schema(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub expected_digest: String,
    /// The size that they must have.
    #[serde(deserialize_with = "crate::integer::deserialize")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub expected_size_bytes: i64,
    /// What they are, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(
            max_length = 127,
            pattern = r##"^[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+([ \t]*;[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+=([!#$%&'*+.^_`|~0-9A-Za-z-]+|"([ !#-\[\]-~]|\\[ -~])*"))?)*$"##
        )
    )]
    pub media_type_hint: Option<String>,
    /// How they are called, for people.
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
    /// Its id.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub id: String,
    /// The digest that the bytes must have.
    pub expected_digest: String,
    /// The size that they must have.
    pub expected_size_bytes: i64,
    /// `created`, `uploading`, `completed`, `ingesting`, `ready`, `failed` or `aborted`.
    pub state: String,
    /// When it is aborted unless another part or the completion comes before.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub expires_at: String,
    /// What the bytes are, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type_hint: Option<String>,
    /// How they are called, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filename_hint: Option<String>,
    /// When it was opened.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub created_at: String,
    /// When it last changed.
    #[cfg_attr(feature = "openapi", schema(format = DateTime))]
    pub updated_at: String,
    /// Why it failed, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_reason: Option<String>,
}

/// A part that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AcceptedPart {
    /// Its session.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub upload_id: String,
    /// Its number.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 10000))]
    pub part_number: u16,
    /// Names the bytes that were accepted; the completion must repeat it.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub etag: String,
    /// How many bytes they are.
    pub size_bytes: i64,
}

/// A part that a session holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PartSummary {
    /// Its number.
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 10000))]
    pub part_number: u16,
    /// Names its bytes.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub etag: String,
    /// How many bytes they are.
    pub size_bytes: i64,
}

/// The parts that make up the upload, ascending.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CompleteUpload {
    /// Every part, by ascending number.
    #[cfg_attr(feature = "openapi", schema(max_items = 10000))]
    pub parts: Vec<ListedPart>,
}

/// A part of the upload, as it was accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ListedPart {
    /// Its number.
    #[serde(deserialize_with = "crate::integer::deserialize")]
    #[cfg_attr(feature = "openapi", schema(minimum = 1, maximum = 10000))]
    pub number: i64,
    /// The etag that was given for it.
    #[cfg_attr(feature = "openapi", schema(format = "uuid"))]
    pub etag: String,
    /// The size that was accepted.
    #[serde(deserialize_with = "crate::integer::deserialize")]
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub size_bytes: i64,
}
