//! Request bodies: strict JSON, and the bytes of a part.

use crate::{
    middleware::throughput::{ThroughputLimit, TooSlow},
    response::problem::{Code, Problem},
};
use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::StreamExt;
use headers::{ContentLength, HeaderMapExt};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use imgsrv_app::PartBody;
use imgsrv_domain::{digest::Digest, error_chain, ports::BodyError};
use serde::de::DeserializeOwned;
use std::{error::Error, time::Duration};

/// The most bytes a JSON body may have.
const MAX_JSON_BYTES: usize = 1 << 20;

/// One JSON value of a known shape: at most 1 MiB, nothing after it, no unknown fields.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::new(Code::UnsupportedMediaType).detail("send application/json"));
        }
        let too_large = || Problem::new(Code::BodyTooLarge).detail("a JSON body may have at most 1 MiB");
        if content_length(request.headers()).is_some_and(|size| size > MAX_JSON_BYTES as u64) {
            return Err(too_large());
        }
        // A body of that size has to be complete within the time over which the throughput is averaged.
        let limit = request.extensions().get::<ThroughputLimit>();
        let deadline = limit.map_or(Duration::from_mins(1), |limit| limit.idle_timeout);
        let collecting = Limited::new(request.into_body(), MAX_JSON_BYTES).collect();
        let Ok(collected) = tokio::time::timeout(deadline, collecting).await else {
            return Err(Problem::new(Code::RequestTimeout));
        };
        let bytes = match collected {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(too_large()),
            Err(error) if is_too_slow(&*error) => return Err(Problem::new(Code::RequestTimeout)),
            Err(_) => return Err(Problem::new(Code::BodyIncomplete)),
        };
        // Derived types also deserialize from an array of their fields; the contract allows objects only.
        if bytes.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
            return Err(Problem::new(Code::InvalidJson).detail("the body must be a JSON object"));
        }
        let mut deserializer = serde_json::Deserializer::from_slice(&bytes);
        let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let field = error.path().to_string();
            let reason = error.into_inner();
            if field == "." {
                Problem::new(Code::InvalidJson).detail(reason)
            } else {
                Problem::new(Code::InvalidJson).field(field, reason)
            }
        })?;
        deserializer
            .end()
            .map_err(|_| Problem::new(Code::InvalidJson).detail("the body has more than one JSON value"))?;
        Ok(Self(value))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.typed_get::<ContentLength>().map(|length| length.0)
}

fn is_too_slow(error: &(dyn Error + 'static)) -> bool {
    error_chain::chain(error).any(<dyn Error>::is::<TooSlow>)
}

/// The body of a part, with its size and digest as declared by the headers.
pub(crate) fn part_body(headers: &HeaderMap, body: Body) -> Result<PartBody, Problem> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    if encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Problem::new(Code::ContentEncoding));
    }
    let digests = headers.get_all("content-digest").iter().map(|value| value.to_str().unwrap_or_default());
    let checksum = content_digest(&digests.collect::<Vec<_>>().join(","))?;
    let frames = body
        .into_data_stream()
        .map(|frame| frame.map_err(|error| if is_too_slow(&error) { BodyError::TooSlow } else { BodyError::Cut }));
    Ok(PartBody { declared: content_length(headers), checksum, bytes: frames.boxed(), slot: None })
}

/// The SHA-256 in a `Content-Digest` (RFC 9530): `sha-256=:<base64>:`, possibly next to other algorithms.
fn content_digest(header: &str) -> Result<Option<Digest>, Problem> {
    let invalid = || Problem::new(Code::InvalidRequest).field("Content-Digest", "must be sha-256=:<base64>:");
    for member in header.split(',').map(str::trim).filter(|member| !member.is_empty()) {
        let (algorithm, value) = member.split_once('=').ok_or_else(invalid)?;
        if algorithm.eq_ignore_ascii_case("sha-256") {
            let encoded = value.strip_prefix(':').and_then(|value| value.strip_suffix(':')).ok_or_else(invalid)?;
            let bytes = STANDARD.decode(encoded).map_err(|_| invalid())?;
            return Ok(Some(Digest::new(bytes.try_into().map_err(|_| invalid())?)));
        }
    }
    Ok(None)
}
