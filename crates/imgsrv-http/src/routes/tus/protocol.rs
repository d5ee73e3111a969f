//! Headers and metadata of tus 1.0.0.

use crate::response::{
    problem::{Code, Problem, Result},
    wire,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use imgsrv_domain::{ids::UploadId, time::Timestamp};

/// The only supported version of the protocol.
pub(super) const VERSION: &str = "1.0.0";
pub(super) const EXTENSIONS: &str = "creation,creation-with-upload,termination,checksum,expiration";
pub(super) const ALGORITHMS: &str = "sha1,sha256";
/// The media type of request bodies.
pub(super) const MEDIA_TYPE: &str = "application/offset+octet-stream";
/// The metadata key whose value is the id of the intake.
const METADATA_KEY: &str = "upload_session_id";

pub(super) const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
pub(super) const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
pub(super) const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
pub(super) const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
pub(super) const TUS_CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
pub(super) const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
pub(super) const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
pub(super) const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
pub(super) const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
pub(super) const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

/// `Upload-Metadata` that names an intake.
pub(crate) fn metadata(intake: UploadId) -> String {
    format!("{METADATA_KEY} {}", STANDARD.encode(intake.to_string()))
}

/// The intake that `Upload-Metadata` names: comma-separated pairs of a key and a value in base64.
pub(super) fn intake_of(headers: &HeaderMap) -> Result<UploadId> {
    let invalid = |reason: &str| Problem::new(Code::InvalidRequest).field("Upload-Metadata", reason);
    let pairs = headers.get(UPLOAD_METADATA).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let value = pairs.split(',').map(str::trim).find_map(|pair| pair.strip_prefix(METADATA_KEY)?.strip_prefix(' '));
    let value = value.ok_or_else(|| invalid("must contain upload_session_id, as returned by POST /api/images"))?;
    let decoded = STANDARD.decode(value.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.and_then(|id| id.parse().ok()).ok_or_else(|| invalid("upload_session_id must be an id in base64"))
}

pub(super) fn check_version(headers: &HeaderMap) -> Result<()> {
    match headers.get(TUS_RESUMABLE) {
        Some(version) if version.as_bytes() == VERSION.as_bytes() => Ok(()),
        _ => Err(Problem::new(Code::TusVersion).detail("the header Tus-Resumable: 1.0.0 is required")),
    }
}

pub(super) fn is_offset_stream(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes() == MEDIA_TYPE.as_bytes())
}

/// A header that is a number of bytes.
pub(super) fn byte_count(headers: &HeaderMap, name: &HeaderName) -> Result<u64> {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    let digits = value.filter(|value| value.bytes().all(|b| b.is_ascii_digit()));
    let number = digits.and_then(|value| value.parse::<u64>().ok()).filter(|number| i64::try_from(*number).is_ok());
    number.ok_or_else(|| Problem::new(Code::InvalidRequest).field(name.as_str(), "must be a number of bytes"))
}

/// The headers that say where the next byte of an upload goes, and when the upload expires.
pub(super) fn progress(offset: u64, expires_at: Timestamp) -> HeaderMap {
    HeaderMap::from_iter([(UPLOAD_OFFSET, offset.into()), (UPLOAD_EXPIRES, expires(expires_at))])
}

/// A time as an HTTP date (RFC 9110, section 5.6.7).
pub(super) fn expires(at: Timestamp) -> HeaderValue {
    text(wire::http_date(at))
}

pub(super) fn text(value: String) -> HeaderValue {
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static(""))
}
