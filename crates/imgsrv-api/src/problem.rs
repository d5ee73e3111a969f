//! Problem details (RFC 9457), and the table of all problem codes.

use crate::Replacement;
use serde::{Deserialize, Serialize};

/// An error response, as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// Stable URN that identifies the kind of problem.
    #[cfg_attr(feature = "openapi", schema(example = "urn:imgsrv:problem:version-not-draft"))]
    pub r#type: String,
    /// Short description of the kind of problem; the same for every problem of a type.
    pub title: String,
    /// HTTP status code.
    #[cfg_attr(feature = "openapi", schema(minimum = 400, maximum = 599))]
    pub status: u16,
    /// Explanation of this occurrence of the problem.
    pub detail: String,
    /// Id of the request, as in `X-Request-Id` and the server's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Invalid fields, with the reason for each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Existing resource that conflicts with the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub existing: Option<ExistingResource>,
    /// Reason for which a version was revoked or removed, or a digest was blocked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What to use instead of a version that was revoked or removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement: Option<Replacement>,
}

/// An invalid field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// Path of the field, such as `parts[3].etag`.
    pub field: String,
    /// Why it is invalid.
    pub reason: String,
}

/// The existing resource that conflicts with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExistingResource {
    /// Id of the resource.
    pub id: String,
    /// URL of the resource: a path on the host of the server.
    pub url: String,
}

macro_rules! codes {
    ($($code:ident = $name:literal, $status:literal, $title:literal;)*) => {
        /// A kind of problem. Its URN, status and title never change; later versions can add kinds.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ProblemCode {
            $(#[doc = $title] $code),*
        }

        impl ProblemCode {
            /// Every kind that this version knows.
            pub const ALL: &'static [Self] = &[$(Self::$code),*];

            /// The last segment of its URN, such as `version-not-draft`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$code => $name),* }
            }

            /// Its HTTP status code.
            pub const fn status(self) -> u16 {
                match self { $(Self::$code => $status),* }
            }

            /// Its title: a short description of the kind of problem.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$code => $title),* }
            }
        }
    };
}

codes! {
    InvalidRequest = "invalid-request", 400, "The request is not valid";
    InvalidJson = "invalid-json", 400, "The request body is not valid JSON for this operation";
    InvalidCursor = "invalid-cursor", 400, "The cursor does not belong to this list";
    BodyIncomplete = "body-incomplete", 400, "The request body is incomplete";
    DigestMismatch = "digest-mismatch", 400, "The body does not match its Content-Digest";
    PartListMismatch = "part-list-mismatch", 400, "The part list does not match the received parts";
    HttpsRequired = "https-required", 400, "This port uses HTTPS; plain HTTP is accepted only for public files";
    CredentialInClear = "credential-in-clear", 400, "A credential was sent over plain HTTP; revoke it and use HTTPS";
    CredentialExposed = "credential-exposed", 400, "A credential was sent where others can read it; revoke it";
    Unauthenticated = "unauthenticated", 401, "A bearer token is required";
    InvalidBearer = "invalid-bearer", 401, "The bearer token is not valid";
    Forbidden = "forbidden", 403, "The caller does not have the required permission";
    TokenNotAdmitted = "token-not-admitted", 403, "The token is authentic but not accepted by any provisioning rule";
    PrincipalDeactivated = "principal-deactivated", 403, "The principal is deactivated";
    NotFound = "not-found", 404, "The resource does not exist";
    LinkInvalid = "link-invalid", 404, "The link is not valid";
    MethodNotAllowed = "method-not-allowed", 405, "The method is not allowed for this URL";
    RequestTimeout = "request-timeout", 408, "The request was received too slowly";
    NameTaken = "name-taken", 409, "The name is already in use";
    UploadOffset = "upload-offset", 409, "The upload offset does not match";
    DigestSizeConflict = "digest-size-conflict", 409, "The digest belongs to a blob of a different size";
    AliasesInUse = "aliases-in-use", 409, "Aliases point to the version";
    RevisionChanged = "revision-changed", 409, "What the request applies has changed";
    VersionHeld = "version-held", 409, "The version is held";
    VersionRevoked = "version-revoked", 410, "The version was revoked";
    VersionRemoved = "version-removed", 410, "The version was removed";
    VersionNotDraft = "version-not-draft", 412, "The version is not a draft";
    VersionNotPublishable = "version-not-publishable", 412, "The version cannot be published in its current state";
    VersionNotPublished = "version-not-published", 412, "The version is not published";
    VersionNotActive = "version-not-active", 412, "The version is not active";
    LifecycleState = "lifecycle-state", 412, "The lifecycle of the version does not allow this";
    ReplacementUnusable = "replacement-unusable", 412, "The replacement cannot be used";
    DigestBlocked = "digest-blocked", 412, "The digest is blocked";
    UploadState = "upload-state", 412, "The upload session is in the wrong state";
    UploadExpired = "upload-expired", 412, "The upload session has expired";
    PartSuperseded = "part-superseded", 412, "A newer attempt at this part was accepted";
    JobState = "publish-job-state", 412, "The publish job is in the wrong state";
    TusVersion = "tus-version", 412, "This version of the tus protocol is not supported";
    TokenRevoked = "token-revoked", 412, "The API token is revoked";
    LastAuthManager = "last-auth-manager", 412, "The last auth-manager cannot be removed";
    ImageInUse = "image-in-use", 412, "The image has versions";
    PreconditionFailed = "precondition-failed", 412, "A precondition of the request is not met";
    BodyTooLarge = "body-too-large", 413, "The request body is too large";
    UploadTooLarge = "upload-too-large", 413, "The upload is too large";
    ManifestFull = "manifest-full", 413, "The manifest is full";
    TooManyRules = "too-many-rules", 413, "The issuer has too many provisioning rules";
    UnsupportedMediaType = "unsupported-media-type", 415, "The media type of the request body is not supported";
    ContentEncoding = "content-encoding", 415, "Content encodings are not supported for uploads";
    RangeNotSatisfiable = "range-not-satisfiable", 416, "The range cannot be served";
    ChecksumMismatch = "checksum-mismatch", 460, "The body does not match its Upload-Checksum";
    IdempotencyKeyReused = "idempotency-key-reused", 422, "The idempotency key was used for a different request";
    TooManyFailures = "too-many-failures", 429, "Too many failed bearer tokens from this address";
    TooManyUploads = "too-many-uploads", 429, "Too many uploads are open";
    HeadersTooLarge = "headers-too-large", 431, "The request headers are too large";
    Internal = "internal", 500, "Internal server error";
    TransferEncoding = "transfer-encoding", 501, "The transfer coding is not supported";
    Unavailable = "unavailable", 503, "A required service is unavailable";
    BlobQuarantined = "blob-quarantined", 503, "The stored data is missing or damaged and is not served";
    StorageReadOnly = "storage-read-only", 503, "The storage is read-only";
    StorageFull = "storage-full", 507, "There is not enough storage space";
}

/// The prefix of every URN.
const URN: &str = "urn:imgsrv:problem:";

impl ProblemCode {
    /// Its URN, such as `urn:imgsrv:problem:version-not-draft`.
    pub fn urn(self) -> String {
        format!("{URN}{}", self.name())
    }

    /// The kind that `urn` names; `None` for one that this version does not know.
    pub fn from_urn(urn: &str) -> Option<Self> {
        let name = urn.strip_prefix(URN)?;
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }
}

impl Problem {
    /// Its kind, if this version knows it.
    pub fn code(&self) -> Option<ProblemCode> {
        ProblemCode::from_urn(&self.r#type)
    }
}
