//! The problems that operations can respond with, for their description in OpenAPI.

use imgsrv_api::Problem;
use utoipa::IntoResponses;

/// The problems of every read.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "description only")]
pub(crate) enum ReadProblems {
    /// The path, the query or a header is malformed.
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(Problem),
    /// The bearer token is not valid.
    #[response(status = 401, content_type = "application/problem+json")]
    Bearer(Problem),
    /// The bearer token is authentic, but its principal is not let in.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// It is not there, or not visible to this caller.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The method is not allowed here.
    #[response(status = 405, content_type = "application/problem+json")]
    Method(Problem),
    /// Too many bearer tokens from this address failed.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(Problem),
    /// The headers are too large.
    #[response(status = 431, content_type = "application/problem+json")]
    Headers(Problem),
    /// The body has a transfer coding other than `chunked`.
    #[response(status = 501, content_type = "application/problem+json")]
    TransferEncoding(Problem),
    /// A service that this needs is down.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// The problems of every operation that needs a permission.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "description only")]
pub(crate) enum GuardedProblems {
    /// The path, the query, a header or the body is malformed.
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(Problem),
    /// There is no valid bearer token.
    #[response(status = 401, content_type = "application/problem+json")]
    Bearer(Problem),
    /// The caller lacks the permission.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// It is not there.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// The method is not allowed here.
    #[response(status = 405, content_type = "application/problem+json")]
    Method(Problem),
    /// Too many bearer tokens from this address failed, or too many uploads are open.
    #[response(status = 429, content_type = "application/problem+json")]
    TooMany(Problem),
    /// The headers are too large.
    #[response(status = 431, content_type = "application/problem+json")]
    Headers(Problem),
    /// The body has a transfer coding other than `chunked`.
    #[response(status = 501, content_type = "application/problem+json")]
    TransferEncoding(Problem),
    /// A service that this needs is down.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
    /// The catalog or the blob store has no space for more.
    #[response(status = 507, content_type = "application/problem+json")]
    Full(Problem),
}

/// The problems of every operation with a request body.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "description only")]
pub(crate) enum BodyProblems {
    /// The body came too slowly.
    #[response(status = 408, content_type = "application/problem+json")]
    Slow(Problem),
    /// The body is too large.
    #[response(status = 413, content_type = "application/problem+json")]
    Large(Problem),
    /// The body has the wrong media type.
    #[response(status = 415, content_type = "application/problem+json")]
    MediaType(Problem),
}

/// A name or identity is taken.
#[derive(IntoResponses)]
#[response(status = 409, content_type = "application/problem+json")]
#[expect(dead_code, reason = "description only")]
pub(crate) struct Taken(Problem);

/// It is in the wrong state for this, or a precondition does not hold.
#[derive(IntoResponses)]
#[response(status = 412, content_type = "application/problem+json")]
#[expect(dead_code, reason = "description only")]
pub(crate) struct WrongState(Problem);

/// The responses of every download besides all of the bytes.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "description only")]
pub(crate) enum ByteProblems {
    /// A range of the bytes.
    #[response(status = 206, content_type = "*/*")]
    Partial(serde_json::Value),
    /// The client holds these bytes already.
    #[response(status = 304)]
    NotModified,
    /// The range cannot be served, or there are several.
    #[response(status = 416, content_type = "application/problem+json")]
    Range(Problem),
}
