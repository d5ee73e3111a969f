//! The layers around all routes: what happens to every request before its handler, and to every response after it.

use crate::{
    extract::{Visitor, wants_page},
    middleware::{
        budgeted::{admit, budgeted},
        canonical_path::routed_by_canonical_path,
        challenge,
        channel::channel,
        client_address::client_address,
        credential_guard::CredentialGuard,
        draining,
        entity_tag::{self, Caching},
        host,
        observation::{Access, Observation, observed},
        request_id, slashes,
        throughput::{ThroughputLimit, throttled_request, throttled_response},
    },
    redact::{is_secret_path, redacted_path},
    request::{Channel, ClientAddress, PeerAddress, RequestId, Sender, Transport},
    response::{
        browsers::{NEGOTIATED, NO_INDEX, ROBOTS_TAG},
        dates::system_time,
        problem::{Code, Problem},
    },
    send_budget::Share,
    state::AppState,
};
use axum::{
    Router,
    body::HttpBody,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use headers::{Date, HeaderMapExt, LastModified};
use imgsrv_domain::time::Timestamp;
use std::{
    any::Any,
    collections::BTreeSet,
    sync::Arc,
    time::{Instant, SystemTime},
};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{Instrument, field};

/// The most header fields of a request: fewer than the HTTP parser accepts, so that the response is a problem document.
const MAX_HEADERS: usize = 64;

/// Wraps the routes, whose first segments are `roots`, in the layers, outermost last.
pub(crate) fn wrap(routes: Router, roots: BTreeSet<String>, state: &AppState) -> Router {
    let routes = routes
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(state.clone(), check_and_render))
        .layer(middleware::from_fn_with_state(state.clone(), identify_and_limit));
    // Folding comes first, so that the public path is recognised after repeated slashes as well.
    routed_by_canonical_path(routes, roots, state).layer(middleware::map_request(slashes::fold))
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = text.unwrap_or("unknown"), "request handler panicked");
    Problem::new(Code::Internal).into_response()
}

/// The outer layer: identifies, traces, observes and logs the request, and limits the throughput of both bodies.
async fn identify_and_limit(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let settings = &state.settings;
    let started = Instant::now();
    let method = request.method().clone();
    let is_logged = tracing::enabled!(target: "imgsrv::request", tracing::Level::DEBUG);
    let path = is_logged.then(|| redacted_path(request.uri().path()).into_owned());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let transport = request.extensions().get::<Transport>().copied().unwrap_or(Transport::Plaintext);
    let id = request_id::assign(&mut request, &*state.services.adapters().ids);
    let peer = request.extensions().get::<PeerAddress>();
    let peer = peer.map(|peer| peer.0);
    let client = peer.map(|peer| client_address(peer, request.headers(), &settings.trusted_proxies));
    let channel = channel(transport, peer, request.headers(), &settings.trusted_proxies);
    request.extensions_mut().insert(channel);
    if let Some(client) = client {
        request.extensions_mut().insert(ClientAddress(client));
    }
    let sender = Sender::default();
    request.extensions_mut().insert(sender.clone());
    let access = Access { request_id: id.clone(), client, sender };
    let mut observation = Observation::begin(Arc::clone(&state.observer), &method, route.clone(), transport, access);
    // So that errors name their request at every level.
    let span = tracing::error_span!(
        "request",
        request.id = id,
        http.method = %method,
        http.route = route.as_ref().map(MatchedPath::as_str),
    );

    let receiving = ThroughputLimit { idle_timeout: settings.body_timeout, min_rate: settings.min_body_rate };
    let sending = ThroughputLimit { idle_timeout: settings.body_timeout, min_rate: settings.min_send_rate };
    request.extensions_mut().insert(receiving);
    // Most requests have no body, which needs neither a timer nor draining.
    let has_body = !request.body().is_end_stream();
    let request = if has_body { request.map(|body| throttled_request(body, receiving)) } else { request };
    let (mut request, unread) = draining::recoverable(request, transport);
    let share = state.send_budget.share(client);
    request.extensions_mut().insert(share.clone());
    let mut response = next.run(request).instrument(span.clone()).await;
    unread.drain_if_refused(&mut response).await;

    date(response.headers_mut(), state.services.adapters().clock.now());
    request_id::echo(&mut response, &id);
    observation.responded(response.status());
    // Changes and problems have lines of their own, with the request's id.
    tracing::debug!(
        target: "imgsrv::request",
        {
            request.id = id,
            http.method = %method,
            http.path = path.map(field::debug),
            http.status = response.status().as_u16(),
            client.address = client.map(field::display),
            duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
        },
        "request completed"
    );
    let response = budgeted(response, share);
    response.map(|body| throttled_response(observed(body, span, observation), sending))
}

/// Sets `Date`, which hyper would not set back with the clock. A file that was published before the clock was set back is
/// not shown as modified after the response (RFC 9110, section 8.8.2.1).
fn date(headers: &mut HeaderMap, now: Timestamp) {
    let now = system_time(now);
    headers.typed_insert(Date::from(now));
    if headers.typed_get::<LastModified>().is_some_and(|modified| SystemTime::from(modified) > now) {
        headers.typed_insert(LastModified::from(now));
    }
}

/// The inner layer: refuses oversized headers, plaintext where TLS is needed and requests that name no host, renders
/// problems, and adds entity tags and the headers that every response has.
async fn check_and_render(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let share = parts.extensions.get::<Share>().cloned();
    let id = parts.extensions.get::<RequestId>().map(|id| id.0.clone());
    let is_anonymous = !parts.headers.contains_key(header::AUTHORIZATION);
    let is_head = parts.method == Method::HEAD;
    let is_read = is_head || parts.method == Method::GET;
    let is_conditional =
        is_read && [header::IF_MATCH, header::IF_NONE_MATCH].iter().any(|name| parts.headers.contains_key(name));
    let conditions = if is_conditional { parts.headers.clone() } else { HeaderMap::new() };
    let route = parts.extensions.get::<MatchedPath>().cloned();
    let caching = caching(route.as_ref().map(MatchedPath::as_str));
    // A client must not be asked to send a password where others can read it.
    let is_confidential = Channel::of(&parts.extensions) == Channel::Confidential;
    let challenges = is_read && is_confidential && state.settings.auth_challenge && challenge::applies(route.as_ref());
    let is_secret = is_secret_path(parts.uri.path());
    let shows_pages = wants_page(&parts) && may_be_page(parts.uri.path());
    let visitor = shows_pages.then(|| Visitor::of(&parts, &state));

    let mut response = if exceeds_header_limits(&parts.headers, state.settings.max_header_bytes) {
        Problem::new(Code::HeadersTooLarge).into_response()
    } else if !has_known_transfer_encoding(&parts.headers) {
        Problem::new(Code::TransferEncoding).detail("the only supported transfer coding is chunked").into_response()
    } else {
        // The guard comes first: it records exposed tokens.
        let (auth, failed) = (state.services.auth(), &*state.failed_bearers);
        let guard = CredentialGuard { request: &parts, auth: &auth, failed, urls: &state.urls };
        match guard.check().await.and_then(|()| host::check(&parts)) {
            Ok(()) => next.run(Request::from_parts(parts, body)).await,
            Err(problem) => problem.into_response(),
        }
    };

    if challenges {
        response = challenge::challenged(response, is_anonymous);
    }
    let is_failed = |response: &Response| response.status().is_client_error() || response.status().is_server_error();
    if !is_failed(&response) && is_read && entity_tag::applies(&response) {
        response = entity_tag::tag(response, &conditions, caching, is_anonymous).await;
    }
    if let Some(share) = share.filter(|_| is_read && !is_failed(&response)) {
        response = admit(response, &share);
    }
    if is_failed(&response) {
        let viewer = visitor.as_ref().map(|visitor| visitor.viewer(state.services.adapters().clock.now()));
        response = Problem::render(response, id.as_deref(), is_head, &state.urls, viewer);
    }
    let headers = response.headers_mut();
    if let Some(vary) = caching.vary().filter(|_| is_read) {
        // Also on problems: for others the same URL may have content.
        headers.entry(header::VARY).or_insert(HeaderValue::from_static(vary));
    }
    state.urls.locate(headers);
    if is_read && is_anonymous {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(
                "Content-Disposition, Content-Range, Deprecation, ETag, Link, Repr-Digest, Sunset, X-Request-Id",
            ),
        );
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_secret {
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(ROBOTS_TAG, NO_INDEX);
    }
    response
}

/// How caches store the documents of a route.
fn caching(route: Option<&str>) -> Caching {
    let Some(route) = route else { return Caching::ByCredential };
    let is_catalog = ["/v1/", "/images/", "/cas/"].iter().any(|root| route.starts_with(root));
    if NEGOTIATED.contains(&route) {
        Caching::Negotiated
    } else if is_catalog || matches!(route, "/feed.atom" | "/status") {
        Caching::ByCredential
    } else {
        Caching::Unspecified
    }
}

/// Whether a problem at that path is shown as a page: everywhere but below the URLs that are for programs alone.
fn may_be_page(path: &str) -> bool {
    !["/v1/", "/api/", "/streams/", "/cas/", "/openapi/", "/t/"].iter().any(|root| path.starts_with(root))
}

/// Whether the body is transferred as it is, or in chunks alone: the server decodes no other transfer coding, and would
/// take the encoded bytes for the body (RFC 9112, section 6.1).
fn has_known_transfer_encoding(headers: &HeaderMap) -> bool {
    let codings =
        headers.get_all(header::TRANSFER_ENCODING).iter().flat_map(|line| line.as_bytes().split(|b| *b == b','));
    let mut codings = codings.map(<[u8]>::trim_ascii).filter(|coding| !coding.is_empty());
    codings.all(|coding| coding.eq_ignore_ascii_case(b"chunked"))
}

fn exceeds_header_limits(headers: &HeaderMap, max_bytes: usize) -> bool {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    headers.len() > MAX_HEADERS || bytes > max_bytes
}
