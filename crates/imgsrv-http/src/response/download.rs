//! Download responses: every route that serves a file or a blob behaves alike.

use crate::response::{
    conditional::{Selection, Validators},
    discouraged::announce,
    problem::{Code, Problem, Result},
};
use axum::{
    body::Body,
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use headers::{AcceptRanges, ContentLength, ContentRange, ETag, HeaderMapExt, LastModified};
use imgsrv_app::{Delivery, Download, GeneratedText};
use imgsrv_domain::{digest::BlobClaim, time::Timestamp};
use std::{
    convert::Infallible,
    ops::Range,
    time::{Duration, SystemTime},
};

const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

/// By what the URL of a download names its bytes, and so how long caches may reuse them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// A digest: the bytes never change.
    Digest,
    /// A version.
    Version,
    /// An alias, which may be moved to another version.
    Alias,
}

/// A GET or HEAD request for bytes.
pub(crate) struct DownloadRequest {
    method: Method,
    headers: HeaderMap,
}

impl<S: Send + Sync> FromRequestParts<S> for DownloadRequest {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self { method: parts.method.clone(), headers: parts.headers.clone() })
    }
}

impl DownloadRequest {
    /// The response with the stored bytes of `download`.
    pub(crate) async fn respond(
        &self,
        delivery: &Delivery,
        download: &Download,
        named_by: NamedBy,
    ) -> Result<Response> {
        let media_type = download.media_type.as_ref();
        let representation = Representation {
            claim: download.blob.claim,
            modified: system_time(download.modified_at),
            media_type: media_type.map_or("application/octet-stream", |media_type| media_type.as_str()),
            file_name: &download.file_name,
            is_public: download.public,
        };
        let (mut response, range) = representation.head(self, named_by)?;
        if let Some(range) = range {
            *response.body_mut() = Body::from_stream(delivery.open(download, range).await?);
        }
        if let Some(lifecycle) = &download.lifecycle {
            announce(response.headers_mut(), lifecycle);
        }
        Ok(response)
    }

    /// The response with a generated text, which is public.
    pub(crate) fn respond_with_text(&self, text: &GeneratedText, named_by: NamedBy) -> Result<Response> {
        let representation = Representation {
            claim: text.claim(),
            modified: system_time(text.modified_at),
            media_type: "text/plain; charset=utf-8",
            file_name: &text.file_name,
            is_public: true,
        };
        let (mut response, range) = representation.head(self, named_by)?;
        if let Some(range) = range {
            let position = |at| usize::try_from(at).unwrap_or(usize::MAX);
            let bytes = text.text.as_bytes().get(position(range.start)..position(range.end));
            *response.body_mut() = Body::from(bytes.unwrap_or_default().to_vec());
        }
        if let Some(lifecycle) = &text.lifecycle {
            announce(response.headers_mut(), lifecycle);
        }
        Ok(response)
    }

    /// Reports that a file is gone as 404 to Incus, which forgets its cached index only then.
    pub(crate) fn report(&self, problem: Problem) -> Problem {
        let agent = self.headers.get(header::USER_AGENT).map(HeaderValue::as_bytes);
        let is_incus = agent.is_some_and(|agent| agent.starts_with(b"Incus "));
        if is_incus && problem.is_gone() { problem.reported_as_not_found() } else { problem }
    }
}

pub(crate) fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(at.micros()).unwrap_or(0))
}

/// The metadata of the bytes that are served.
struct Representation<'a> {
    claim: BlobClaim,
    modified: SystemTime,
    media_type: &'a str,
    file_name: &'a str,
    is_public: bool,
}

impl Representation<'_> {
    /// The response without its body, and the range of bytes that the body consists of.
    fn head(&self, request: &DownloadRequest, named_by: NamedBy) -> Result<(Response, Option<Range<u64>>)> {
        let size = self.claim.size.get();
        let etag: ETag = format!("\"{}\"", self.claim.digest).parse().map_err(|_| Problem::new(Code::Internal))?;
        // An alias may be moved back to an older version, so the time is no validator there.
        let modified = (named_by != NamedBy::Alias).then_some(self.modified);
        let validators = Validators { etag: &etag, modified, size };
        let (status, range) = match validators.select(&request.method, &request.headers) {
            Selection::Unsatisfiable => return Err(Problem::range_not_satisfiable(size)),
            Selection::NotModified => (StatusCode::NOT_MODIFIED, 0..0),
            Selection::Whole => (StatusCode::OK, 0..size),
            Selection::Range(range) => (StatusCode::PARTIAL_CONTENT, range),
        };
        let mut response = status.into_response();
        let headers = response.headers_mut();
        headers.typed_insert(etag);
        if let Some(modified) = modified {
            headers.typed_insert(LastModified::from(modified));
        }
        headers.insert(header::CACHE_CONTROL, self.cache_control(named_by));
        headers.typed_insert(AcceptRanges::bytes());
        headers.insert(header::VARY, HeaderValue::from_static("Authorization"));
        if status == StatusCode::NOT_MODIFIED {
            return Ok((response, None));
        }
        if status == StatusCode::PARTIAL_CONTENT
            && let Ok(content_range) = ContentRange::bytes(range.clone(), size)
        {
            headers.typed_insert(content_range);
        }
        headers.typed_insert(ContentLength(range.end - range.start));
        let repr_digest = format!("sha-256=:{}:", STANDARD.encode(self.claim.digest.bytes()));
        for (name, value) in [
            (header::CONTENT_TYPE, self.media_type),
            (REPR_DIGEST, &repr_digest),
            (header::CONTENT_DISPOSITION, &format!("attachment; filename=\"{}\"", self.file_name)),
            (header::CONTENT_SECURITY_POLICY, "sandbox"),
        ] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
        Ok((response, (request.method == Method::GET).then_some(range)))
    }

    fn cache_control(&self, named_by: NamedBy) -> HeaderValue {
        HeaderValue::from_static(match (named_by, self.is_public) {
            (NamedBy::Digest, true) => "public, max-age=31536000, immutable",
            (NamedBy::Digest, false) => "private, max-age=31536000, immutable",
            (NamedBy::Version, true) => "public, max-age=300, must-revalidate",
            (NamedBy::Version, false) => "private, max-age=300, must-revalidate",
            (NamedBy::Alias, _) => "no-cache",
        })
    }
}
