//! Request bodies: strict JSON, and the bytes of a part.

use crate::{
    middleware::throughput::{ThroughputLimit, TooSlow},
    response::problem::{Code, Problem},
};
use axum::{
    body::{Body, Bytes, HttpBody},
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

/// The same, or no body at all, or `null`.
pub(crate) struct OptionalJsonBody<T>(pub(crate) Option<T>);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        parse(&collect(request).await?).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for OptionalJsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        if request.body().is_end_stream() {
            return Ok(Self(None));
        }
        let bytes = collect(request).await?;
        if bytes.trim_ascii() == b"null" { Ok(Self(None)) } else { parse(&bytes).map(|body| Self(Some(body))) }
    }
}

/// The bytes of a body that is declared as JSON.
async fn collect(request: Request) -> Result<Bytes, Problem> {
    if !is_json(request.headers()) {
        return Err(Problem::new(Code::UnsupportedMediaType).detail("the Content-Type must be application/json"));
    }
    let too_large = || Problem::new(Code::BodyTooLarge).detail("a JSON body can have at most 1 MiB");
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
    match collected {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) if is_too_slow(&*error) => Err(Problem::new(Code::RequestTimeout)),
        Err(_) => Err(Problem::new(Code::BodyIncomplete)),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    // Derived types also deserialize from an array of their fields; the contract allows objects only.
    if bytes.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(Problem::new(Code::InvalidJson).detail("the body must be a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let field = error.path().to_string();
        let reason = error.into_inner();
        if field == "." {
            Problem::new(Code::InvalidJson).detail(reason)
        } else {
            Problem::new(Code::InvalidJson).field(field, reason)
        }
    })?;
    deserializer.end().map_err(|_| Problem::new(Code::InvalidJson).detail("the body has more than one JSON value"))?;
    Ok(value)
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
    let checksum = content_digest(headers)?;
    let frames = body
        .into_data_stream()
        .map(|frame| frame.map_err(|error| if is_too_slow(&error) { BodyError::TooSlow } else { BodyError::Cut }));
    Ok(PartBody { declared: content_length(headers), checksum, bytes: frames.boxed(), slot: None })
}

/// The SHA-256 in `Content-Digest` (RFC 9530), a dictionary of byte sequences such as `sha-256=:<base64>:`. Digests of
/// other algorithms are not verified, but a header that is malformed is refused: its digests would go unnoticed.
fn content_digest(headers: &HeaderMap) -> Result<Option<Digest>, Problem> {
    let invalid = |reason| Problem::new(Code::InvalidRequest).field("Content-Digest", reason);
    let malformed = || invalid("must be sha-256=:<base64>:, and other digests after a comma");
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte);
    let mut found = None;
    for line in headers.get_all("content-digest") {
        let line = line.to_str().map_err(|_| malformed())?;
        for member in line.split(',').map(str::trim).filter(|member| !member.is_empty()) {
            let (algorithm, value) = member.split_once('=').ok_or_else(malformed)?;
            if algorithm.is_empty() || !algorithm.bytes().all(is_key) {
                return Err(malformed());
            }
            let value = value.split(';').next().unwrap_or_default().trim_end();
            let encoded = value.strip_prefix(':').and_then(|value| value.strip_suffix(':')).ok_or_else(malformed)?;
            let bytes = STANDARD.decode(encoded).map_err(|_| malformed())?;
            if algorithm.eq_ignore_ascii_case("sha-256") {
                let digest = Digest::new(bytes.try_into().map_err(|_| malformed())?);
                if found.replace(digest).is_some_and(|other| other != digest) {
                    return Err(invalid("must not contain two different sha-256 digests"));
                }
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn digest_of(lines: &[&[u8]]) -> Result<Option<Digest>, Problem> {
        let value =
            |line: &&[u8]| ("content-digest".parse().expect("a name"), HeaderValue::from_bytes(line).expect("a value"));
        content_digest(&lines.iter().map(value).collect())
    }

    #[test]
    fn a_content_digest_is_verified_or_refused() {
        let (zeros, ones) = (STANDARD.encode([0; 32]), STANDARD.encode([1; 32]));
        let (zeros, ones) = (format!("sha-256=:{zeros}:"), format!("sha-256=:{ones}:"));
        let other = format!("sha-512=:{}:", STANDARD.encode([0; 64]));
        let expected = Some(Digest::new([0; 32]));
        for lines in [
            vec![zeros.clone()],
            vec![format!(" {other} ,\t{zeros} ")],
            vec![format!("{zeros};q=1, {other}")],
            vec![other.clone(), zeros.clone()],
            vec![format!("{zeros}, {zeros}")],
            vec![zeros.replace("sha", "SHA")],
        ] {
            let found = digest_of(&lines.iter().map(String::as_bytes).collect::<Vec<_>>());
            assert_eq!(found.ok(), Some(expected), "{lines:?}");
        }
        for lines in [vec![], vec![String::new()], vec![other]] {
            let found = digest_of(&lines.iter().map(String::as_bytes).collect::<Vec<_>>());
            assert_eq!(found.ok(), Some(None), "{lines:?}");
        }
        for line in [
            zeros.replace('=', " ="),
            zeros.replacen('=', "= ", 1),
            zeros.replace("=:", "=: "),
            zeros.replace(':', ""),
            "sha-256".to_owned(),
            "sha-256=".to_owned(),
            "sha-256=:AA==:".to_owned(),
            format!("{zeros} {ones}"),
            format!("{zeros}, {ones}"),
        ] {
            assert!(digest_of(&[line.as_bytes()]).is_err(), "{line}");
        }
        assert!(digest_of(&[zeros.as_bytes(), ones.as_bytes()]).is_err());
        assert!(digest_of(&["sha-256=:é:".as_bytes()]).is_err());
    }
}
