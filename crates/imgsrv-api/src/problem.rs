//! Problem details (RFC 9457).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What went wrong, as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A stable URN that names the kind of problem.
    #[schema(example = "urn:imgsrv:problem:version-not-draft")]
    pub r#type: String,
    /// The kind of problem in words; the same for every problem of the type.
    pub title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What went wrong this time.
    pub detail: String,
    /// The id of the request, as in `X-Request-Id` and the server's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Which fields are wrong, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// What stands in the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub existing: Option<ExistingResource>,
}

/// A field that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// The field, with dots and indexes, such as `parts[3].etag`.
    pub field: String,
    /// Why it was refused.
    pub reason: String,
}

/// What stands where something new was to be put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExistingResource {
    /// Its id.
    pub id: String,
    /// Its URL, relative to the server.
    pub url: String,
}
