//! Problem details (RFC 9457), and the table of all problem codes.

use serde::{Deserialize, Serialize};

/// What went wrong, as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// A stable URN that names the kind of problem.
    #[cfg_attr(feature = "openapi", schema(example = "urn:imgsrv:problem:version-not-draft"))]
    pub r#type: String,
    /// The kind of problem in words; the same for every problem of the type.
    pub title: String,
    /// The HTTP status.
    #[cfg_attr(feature = "openapi", schema(minimum = 400, maximum = 599))]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// The field, with dots and indexes, such as `parts[3].etag`.
    pub field: String,
    /// Why it was refused.
    pub reason: String,
}

/// What stands where something new was to be put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExistingResource {
    /// Its id.
    pub id: String,
    /// Its URL, relative to the server.
    pub url: String,
}

macro_rules! codes {
    ($($code:ident = $name:literal, $status:literal, $title:literal;)*) => {
        /// A kind of problem. Its URN, status and title never change; further kinds may come.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ProblemCode {
            $(#[doc = $title] $code),*
        }

        impl ProblemCode {
            /// Every kind that this version knows.
            pub const ALL: &'static [Self] = &[$(Self::$code),*];

            /// The end of its URN, such as `version-not-draft`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$code => $name),* }
            }

            /// The HTTP status that it comes with.
            pub const fn status(self) -> u16 {
                match self { $(Self::$code => $status),* }
            }

            /// The kind of problem in words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$code => $title),* }
            }
        }
    };
}

codes! {
    InvalidRequest = "invalid-request", 400, "The request is not valid";
    InvalidJson = "invalid-json", 400, "The body is not the expected JSON";
    InvalidCursor = "invalid-cursor", 400, "The cursor does not belong to this list";
    BodyIncomplete = "body-incomplete", 400, "The body was cut off";
    DigestMismatch = "digest-mismatch", 400, "The body does not have the digest sent with it";
    PartListMismatch = "part-list-mismatch", 400, "The part list does not match what was received";
    HttpsRequired = "https-required", 400, "This port speaks HTTPS; only files are handed out in the clear";
    CredentialInClear = "credential-in-clear", 400, "A credential was sent in the clear; revoke it, and use HTTPS";
    Unauthenticated = "unauthenticated", 401, "A bearer token is needed";
    InvalidBearer = "invalid-bearer", 401, "The bearer token is not valid";
    Forbidden = "forbidden", 403, "The caller lacks the permission";
    TokenNotAdmitted = "token-not-admitted", 403, "The token is authentic, but not admitted";
    PrincipalDeactivated = "principal-deactivated", 403, "The principal is deactivated";
    NotFound = "not-found", 404, "There is nothing here";
    MethodNotAllowed = "method-not-allowed", 405, "The method is not allowed here";
    RequestTimeout = "request-timeout", 408, "The request came too slowly";
    NameTaken = "name-taken", 409, "The name is taken";
    UploadOffset = "upload-offset", 409, "The bytes do not go there";
    DigestSizeConflict = "digest-size-conflict", 409, "The digest is a trusted blob of another size";
    VersionNotDraft = "version-not-draft", 412, "The version is not a draft";
    VersionNotPublishable = "version-not-publishable", 412, "The version cannot be published as it stands";
    VersionNotPublished = "version-not-published", 412, "The version is not published";
    UploadState = "upload-state", 412, "The upload session is in the wrong state";
    UploadExpired = "upload-expired", 412, "The upload session has expired";
    PartSuperseded = "part-superseded", 412, "A newer attempt at this part was accepted";
    JobState = "publish-job-state", 412, "The publish job is in the wrong state";
    TusVersion = "tus-version", 412, "This version of tus is not spoken";
    LastAuthManager = "last-auth-manager", 412, "Nobody could manage authentication any more";
    ImageInUse = "image-in-use", 412, "The image has versions";
    PreconditionFailed = "precondition-failed", 412, "A precondition of the request does not hold";
    BodyTooLarge = "body-too-large", 413, "The body is too large";
    UploadTooLarge = "upload-too-large", 413, "The upload is too large";
    ManifestFull = "manifest-full", 413, "The manifest is full";
    TooManyRules = "too-many-rules", 413, "The issuer has too many provisioning rules";
    UnsupportedMediaType = "unsupported-media-type", 415, "The body has the wrong media type";
    ContentEncoding = "content-encoding", 415, "Parts are sent as they are, without a content encoding";
    RangeNotSatisfiable = "range-not-satisfiable", 416, "The range cannot be served";
    ChecksumMismatch = "checksum-mismatch", 460, "The body does not have the checksum sent with it";
    IdempotencyKeyReused = "idempotency-key-reused", 422, "The idempotency key was used for another request";
    TooManyFailures = "too-many-failures", 429, "Too many bearer tokens from this address failed";
    TooManyUploads = "too-many-uploads", 429, "Too many uploads are open";
    HeadersTooLarge = "headers-too-large", 431, "The request headers are too large";
    Internal = "internal", 500, "The server failed";
    BlobDamaged = "blob-damaged", 500, "The stored bytes are damaged and are not served";
    TransferEncoding = "transfer-encoding", 501, "The transfer coding is not supported";
    Unavailable = "unavailable", 503, "A service that this needs is down";
    StorageReadOnly = "storage-read-only", 503, "The storage is read-only";
    StorageFull = "storage-full", 507, "There is no room for more bytes";
}

/// What the URN of every kind begins with.
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
