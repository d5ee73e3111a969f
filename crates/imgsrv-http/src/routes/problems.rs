//! The problems that operations can respond with, for their description in OpenAPI.

use imgsrv_api::Problem;
use utoipa::IntoResponses;

/// The problems of every read.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "description only")]
pub(crate) enum ReadProblems {
    /// The path, the query or a header is invalid.
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(Problem),
    /// The bearer token is not valid.
    #[response(status = 401, content_type = "application/problem+json")]
    Bearer(Problem),
    /// The bearer token is authentic, but not accepted, or its principal is deactivated.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// The resource does not exist or is not visible to the caller.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The method is not allowed for this URL.
    #[response(status = 405, content_type = "application/problem+json")]
    Method(Problem),
    /// Too many failed bearer tokens from this address.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(Problem),
    /// The headers are too large.
    #[response(status = 431, content_type = "application/problem+json")]
    Headers(Problem),
    /// The body has a transfer coding other than `chunked`.
    #[response(status = 501, content_type = "application/problem+json")]
    TransferEncoding(Problem),
    /// A required service is unavailable.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// The problems of every operation that needs a permission.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "description only")]
pub(crate) enum GuardedProblems {
    /// The path, the query, a header or the body is invalid.
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(Problem),
    /// The bearer token is missing or invalid.
    #[response(status = 401, content_type = "application/problem+json")]
    Bearer(Problem),
    /// The caller does not have the required permission.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// The resource does not exist.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The method is not allowed for this URL.
    #[response(status = 405, content_type = "application/problem+json")]
    Method(Problem),
    /// Too many failed bearer tokens from this address, or too many uploads are open.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(Problem),
    /// The headers are too large.
    #[response(status = 431, content_type = "application/problem+json")]
    Headers(Problem),
    /// The body has a transfer coding other than `chunked`.
    #[response(status = 501, content_type = "application/problem+json")]
    TransferEncoding(Problem),
    /// A required service is unavailable.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
    /// The catalog or the blob store does not have enough space.
    #[response(status = 507, content_type = "application/problem+json")]
    Full(Problem),
}

/// The problems of every operation with a request body.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "description only")]
pub(crate) enum BodyProblems {
    /// The body was received too slowly.
    #[response(status = 408, content_type = "application/problem+json")]
    Slow(Problem),
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    Large(Problem),
    /// The media type of the body is not supported.
    #[response(status = 415, content_type = "application/problem+json")]
    MediaType(Problem),
}

/// The name or identity is already in use.
#[derive(IntoResponses)]
#[response(status = 409, content_type = "application/problem+json")]
#[expect(dead_code, reason = "description only")]
pub(crate) struct Taken(Problem);

/// The version was revoked or removed.
#[derive(IntoResponses)]
#[response(status = 410, content_type = "application/problem+json")]
#[expect(dead_code, reason = "description only")]
pub(crate) struct Gone(Problem);

/// The resource is in the wrong state for the operation, or a precondition is not met.
#[derive(IntoResponses)]
#[response(status = 412, content_type = "application/problem+json")]
#[expect(dead_code, reason = "description only")]
pub(crate) struct WrongState(Problem);

/// The document is not the one that `If-Match` requires.
#[derive(IntoResponses)]
#[response(status = 412, content_type = "application/problem+json")]
#[expect(dead_code, reason = "description only")]
pub(crate) struct Changed(Problem);

/// The responses of every download other than the complete content.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "description only")]
pub(crate) enum ByteProblems {
    /// The requested range, or several as `multipart/byteranges`.
    #[response(status = 206, content_type = "*/*")]
    Partial(serde_json::Value),
    /// The client's copy is up to date.
    #[response(status = 304)]
    NotModified,
    /// The content is not the one that `If-Match` or `If-Unmodified-Since` requires.
    #[response(status = 412, content_type = "application/problem+json")]
    Precondition(Problem),
    /// No requested range is within the content.
    #[response(status = 416, content_type = "application/problem+json")]
    Range(Problem),
}
