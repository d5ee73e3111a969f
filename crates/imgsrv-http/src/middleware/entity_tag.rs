//! Entity tags and conditional requests of JSON documents and pages.

use crate::response::{
    browsers::Rendered,
    conditional::{Preconditions, preconditions},
    problem::Problem,
};
use axum::{
    body::{Body, Bytes, HttpBody},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use headers::{ETag, HeaderMapExt};
use http_body_util::{BodyExt, Collected};
use imgsrv_domain::digest::Digest;
use sha2::{Digest as _, Sha256};

/// Larger documents get no entity tag, for which they would have to be buffered.
const MAX_TAGGED_BYTES: u64 = 8 << 20;
/// Larger documents are hashed outside of the runtime.
const MAX_INLINE_BYTES: usize = 1 << 20;

/// How caches store a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caching {
    /// As its handler decides.
    Unspecified,
    /// After revalidation, for each credential.
    ByCredential,
    /// After revalidation, for each credential and media type.
    Negotiated,
}

impl Caching {
    /// The request headers that the response depends on.
    pub(crate) const fn vary(self) -> Option<&'static str> {
        match self {
            Self::Unspecified => None,
            Self::ByCredential => Some("Authorization"),
            Self::Negotiated => Some("Accept, Authorization"),
        }
    }
}

/// Whether `response` is a page, or a JSON document, whose handler did not decide on its caching.
pub(crate) fn applies(response: &Response) -> bool {
    let headers = response.headers();
    let media_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let is_rendered = response.extensions().get::<Rendered>().is_some();
    (is_rendered || media_type.starts_with(b"application/json")) && !headers.contains_key(header::CACHE_CONTROL)
}

/// Adds an entity tag to a document that has none, and evaluates the preconditions of the request. A document for a caller
/// with a credential may show what is private: shared caches must not store it.
pub(crate) async fn tag(
    mut response: Response,
    conditions: &HeaderMap,
    caching: Caching,
    is_anonymous: bool,
) -> Response {
    if let Some(vary) = caching.vary() {
        let control = if is_anonymous { "no-cache" } else { "private, no-cache" };
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(control));
        response.headers_mut().insert(header::VARY, HeaderValue::from_static(vary));
    }
    if response.body().size_hint().exact().is_none_or(|size| size > MAX_TAGGED_BYTES) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = body.collect().await.map_or_else(|_| Bytes::new(), Collected::to_bytes);
    let etag = match parts.headers.typed_get::<ETag>() {
        None if bytes.len() > MAX_INLINE_BYTES => {
            let hashed = bytes.clone();
            tokio::task::spawn_blocking(move || etag_of(&hashed)).await.ok().flatten()
        }
        None => etag_of(&bytes),
        given => given,
    };
    let Some(etag) = etag else { return Response::from_parts(parts, Body::from(bytes)) };
    match preconditions(&etag, None, conditions) {
        Preconditions::Failed => Problem::content_has_changed().into_response(),
        Preconditions::NotModified => {
            parts.headers.typed_insert(etag);
            parts.status = StatusCode::NOT_MODIFIED;
            parts.headers.remove(header::CONTENT_TYPE);
            parts.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(parts, Body::empty())
        }
        Preconditions::Met => {
            parts.headers.typed_insert(etag);
            Response::from_parts(parts, Body::from(bytes))
        }
    }
}

/// The entity tag of a document.
pub(crate) fn etag_of(bytes: &[u8]) -> Option<ETag> {
    let digest = Digest::new(Sha256::digest(bytes).into()).hex();
    format!("\"{}\"", &digest[..32]).parse().ok()
}
