//! Requests in the clear at a port that speaks TLS.
//!
//! Incus asks for every file so before it does over TLS, at the same port, and sends the credentials of its URL along.
//! Files are verified by their digests, so they are handed out; anything else is refused before it is read, and a
//! credential is never taken.

use crate::{
    client::ClientAddress,
    extract::bearer,
    layers::{RequestId, Transport},
    problem::{Code, Problem},
    state::AppState,
};
use axum::http::{HeaderValue, Method, header, request::Parts};
use base64::{Engine, engine::general_purpose::STANDARD};
use imgsrv_app::RequestContext;

/// Refuses a request that has come in the clear and must not.
pub(crate) async fn check(state: &AppState, request: &Parts) -> Result<(), Problem> {
    if request.extensions.get::<Transport>() != Some(&Transport::PlainBesideTls) {
        return Ok(());
    }
    if request.headers.contains_key(header::AUTHORIZATION) {
        let address = request.extensions.get::<ClientAddress>().map(|client| client.0.to_string());
        let request_id = request.extensions.get::<RequestId>().map(|id| id.0.clone());
        let context = RequestContext { request_id, address };
        for token in request.headers.get_all(header::AUTHORIZATION).iter().filter_map(token) {
            // It is refused all the same when that fails.
            if let Err(error) = state.services.auth().note_exposed(&token, &context).await {
                tracing::warn!(%error, "a token that was sent in the clear could not be noted");
            }
        }
        return Err(Problem::new(Code::CredentialInClear));
    }
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    let is_file = request.uri.path().strip_prefix("/images/").is_some_and(|rest| rest.matches('/').count() == 2);
    if reads && is_file { Ok(()) } else { Err(Problem::new(Code::HttpsRequired)) }
}

/// What may be an API token: a bearer, or the password of Basic credentials (RFC 7617).
fn token(header: &HeaderValue) -> Option<String> {
    let header = header.to_str().ok()?;
    if let Some(token) = bearer(header) {
        return Some(token.to_owned());
    }
    let (scheme, encoded) = header.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let credentials = String::from_utf8(decoded).ok()?;
    credentials.split_once(':').map(|(_, password)| password.to_owned())
}
