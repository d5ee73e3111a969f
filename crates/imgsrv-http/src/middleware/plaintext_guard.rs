//! Requests in the clear at a port that speaks TLS.
//!
//! Incus asks for every file so before it does over TLS, at the same port, and sends the credentials of its URL along.
//! Files are verified by their digests, so they are handed out; anything else is refused before it is read, and a
//! credential is never taken.

use crate::{
    middleware::client_address::{ClientAddress, limited_by},
    redact::API_TOKEN,
    request::{RequestId, Transport},
    response::problem::{Code, Problem},
    state::AppState,
};
use axum::http::{HeaderValue, Method, header, request::Parts};
use base64::{Engine, engine::general_purpose::STANDARD};
use imgsrv_app::RequestContext;
use imgsrv_domain::files::CHECKSUMS;
use std::net::{IpAddr, Ipv4Addr};

/// Refuses a request that has come in the clear and must not.
pub(crate) async fn check(state: &AppState, request: &Parts) -> Result<(), Problem> {
    if request.extensions.get::<Transport>() != Some(&Transport::PlainBesideTls) {
        return Ok(());
    }
    if let Some(sent) = request.headers.get(header::AUTHORIZATION) {
        let address = request.extensions.get::<ClientAddress>().map(|client| client.0);
        let now = state.services.adapters().clock.now();
        // Looking a token up has its price, as a bearer that fails has.
        let counted = limited_by(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        if let Some(wait) = state.failures.failed(counted, now) {
            return Err(Problem::new(Code::TooManyFailures).retry_after(wait));
        }
        let request_id = request.extensions.get::<RequestId>().map(|id| id.0.clone());
        let context = RequestContext { request_id, address: address.map(|address| address.to_string()) };
        if let Some(token) = token(sent) {
            // It is refused all the same when that fails.
            if let Err(error) = state.services.auth().note_exposed(&token, &context).await {
                tracing::warn!(%error, "a token that was sent in the clear could not be noted");
            }
        }
        return Err(Problem::new(Code::CredentialInClear));
    }
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    if reads && is_item(request.uri.path()) { Ok(()) } else { Err(Problem::new(Code::HttpsRequired)) }
}

/// Whether streams may name that path, in the way they do: a file that is verified by its digest, not checksums that it
/// is verified by. No name of a file has anything to be percent-encoded.
fn is_item(path: &str) -> bool {
    let Some(rest) = path.strip_prefix("/images/").filter(|rest| !rest.contains('%')) else { return false };
    let parts: Vec<&str> = rest.split('/').collect();
    matches!(parts.as_slice(), [_, _, file] if !file.is_empty() && *file != CHECKSUMS && !file.ends_with(".sha256"))
}

/// What may be an API token: a bearer, or a part of Basic credentials (RFC 7617), or whatever else looks like one.
fn token(header: &HeaderValue) -> Option<String> {
    let header = header.to_str().ok()?;
    let basic = header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
    let decoded = basic.and_then(|(_, encoded)| STANDARD.decode(encoded.trim()).ok());
    let text = decoded.map_or_else(|| header.to_owned(), |decoded| String::from_utf8_lossy(&decoded).into_owned());
    let mut words = text.split([' ', ':']);
    words.find(|word| word.starts_with(API_TOKEN)).map(str::to_owned)
}
