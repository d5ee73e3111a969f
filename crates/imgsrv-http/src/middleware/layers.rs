//! What every request passes through: its id, its log line, its problems, and the headers of every answer.

use crate::{
    middleware::{
        client_address::{ClientAddress, client},
        draining::KeptBody,
        observation::{UnderWay, Watched},
        plaintext_guard,
        throughput::{Pace, PacedAnswer, PacedBody},
    },
    redact::redacted,
    request::{PeerAddress, RequestId, Transport},
    response::{
        conditional::any_tag,
        problem::{Code, Problem},
    },
    state::AppState,
};
use axum::{
    Router,
    body::{Body, Bytes, HttpBody},
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use http_body_util::BodyExt;
use imgsrv_domain::digest::Digest;
use sha2::{Digest as _, Sha256};
use std::{any::Any, time::Instant};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The most header fields of a request.
const MAX_HEADERS: usize = 100;
/// JSON answers up to this size get an entity tag.
const MAX_TAGGED_BYTES: u64 = 8 << 20;

/// Wraps the routes in the layers, outermost last.
pub(crate) fn wrap(routes: Router, state: &AppState) -> Router {
    routes
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(state.clone(), finish))
        .layer(middleware::from_fn_with_state(state.clone(), identify))
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = text.unwrap_or("unknown"), "a handler panicked");
    Problem::new(Code::Internal).into_response()
}

/// Gives the request its id, and logs it when it is answered.
async fn identify(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let transport = request.extensions().get::<Transport>().copied().unwrap_or(Transport::Plain);
    let mut under_way = UnderWay::begin(&state.observer, request.method(), route, transport);
    let sent = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| is_sane(id));
    let id = sent.map_or_else(|| state.services.adapters().ids.next().to_string(), str::to_owned);
    request.extensions_mut().insert(RequestId(id.clone()));
    let settings = &state.settings;
    let peer = request.extensions().get::<PeerAddress>().copied();
    let address = peer.map(|peer| client(peer.0, request.headers(), &settings.trusted_proxies));
    if let Some(address) = address {
        request.extensions_mut().insert(ClientAddress(address));
    }
    let pace = Pace { silence: settings.body_timeout, least: settings.min_body_rate };
    let taking = Pace { silence: settings.body_timeout, least: settings.min_send_rate };
    request.extensions_mut().insert(pace);
    let expects = request.headers().contains_key(header::EXPECT);
    let (parts, body) = request.into_parts();
    let (kept, rest) = KeptBody::new(Body::new(PacedBody::new(body, pace)));
    let request = Request::from_parts(parts, Body::new(kept));
    let method = request.method().clone();
    let path = redacted(request.uri().path()).into_owned();
    let span = tracing::info_span!("request", request.id = id);
    let mut response = next.run(request).instrument(span).await;
    let refused = response.status().is_client_error() || response.status().is_server_error();
    let is_astray = transport == Transport::PlainBesideTls;
    if refused && is_astray {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if refused && !expects && !is_astray {
        rest.drain().await;
    }
    if let Ok(value) = HeaderValue::try_from(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let status = response.status().as_u16();
    tracing::info!(
        request.id = id,
        http.method = %method,
        http.path = ?path,
        http.status = status,
        client.address = address.map(tracing::field::display),
        duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "request"
    );
    under_way.answered(response.status());
    response.map(|body| Body::new(PacedAnswer::new(Body::new(Watched::new(body, under_way)), taking)))
}

fn is_sane(id: &str) -> bool {
    let is_secret = redacted(id) != id;
    !is_secret
        && (1..=128).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-/+=".contains(&b))
}

/// Refuses oversized headers, renders problems, and sets the headers that every answer of a kind has.
async fn finish(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone());
    let anonymous = !request.headers().contains_key(header::AUTHORIZATION);
    let read = request.method() == Method::GET || request.method() == Method::HEAD;
    let is_head = request.method() == Method::HEAD;
    let conditions: HeaderMap = request
        .headers()
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .map(|value| (header::IF_NONE_MATCH, value.clone()))
        .collect();
    let documents = request.extensions().get::<MatchedPath>().is_none_or(|path| {
        let path = path.as_str();
        path.starts_with("/v1/") || path.starts_with("/images/")
    });
    let mut response = if too_large(request.headers(), state.settings.max_header_bytes) {
        Problem::new(Code::HeadersTooLarge).into_response()
    } else {
        let (parts, body) = request.into_parts();
        match plaintext_guard::check(&state, &parts).await {
            Ok(()) => next.run(Request::from_parts(parts, body)).await,
            Err(problem) => problem.into_response(),
        }
    };
    if response.status().is_client_error() || response.status().is_server_error() {
        response = render(response, id.as_deref(), is_head);
    } else if read && is_json(response.headers()) && !response.headers().contains_key(header::CACHE_CONTROL) {
        response = tag(response, &conditions, documents).await;
    }
    let headers = response.headers_mut();
    if read && anonymous {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("Content-Disposition, Content-Range, ETag, Link, Repr-Digest, X-Request-Id"),
        );
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn too_large(headers: &HeaderMap, max_bytes: usize) -> bool {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    headers.len() > MAX_HEADERS || bytes > max_bytes
}

/// Every error becomes a problem document; headers such as `Allow` stay.
fn render(response: Response, id: Option<&str>, is_head: bool) -> Response {
    let problem = response.extensions().get::<Problem>().cloned();
    let problem = problem.unwrap_or_else(|| Problem::of_status(response.status()));
    let body = serde_json::to_vec(&problem.body(id)).unwrap_or_default();
    let (mut parts, _) = response.into_parts();
    parts.status = problem.status();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    parts.headers.insert(header::CONTENT_LENGTH, body.len().into());
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Response::from_parts(parts, if is_head { Body::empty() } else { Body::from(body) })
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/json"))
}

/// Gives a JSON document its entity tag, unless it has one, and answers 304 to a client that holds it.
async fn tag(mut response: Response, conditions: &HeaderMap, is_catalog: bool) -> Response {
    if is_catalog {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Authorization"));
    }
    if response.body().size_hint().exact().is_none_or(|size| size > MAX_TAGGED_BYTES) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let bytes = body.collect().await.map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
    if !parts.headers.contains_key(header::ETAG) {
        let digest = Digest::new(Sha256::digest(&bytes).into()).hex();
        if let Ok(etag) = HeaderValue::try_from(format!("\"{}\"", &digest[..32])) {
            parts.headers.insert(header::ETAG, etag);
        }
    }
    let etag = parts.headers.get(header::ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default();
    if any_tag(conditions, header::IF_NONE_MATCH, |tag| tag == etag) {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}
