//! The guard for plaintext HTTP on a TLS port.
//!
//! Incus requests every file in plaintext before it does over TLS, on the same port, and sends the credentials of its
//! URL along. Files are verified by their digests, so they are served, and so is the certificate that clients need before
//! they can use TLS, which they verify by its fingerprint. Any other request is refused before its body is read, and a
//! credential is never accepted.

use crate::{
    middleware::failed_bearers::FailedBearers,
    request::{self, Transport},
    response::problem::{Code, Problem},
};
use axum::http::{HeaderValue, Method, header, request::Parts};
use base64::{Engine, engine::general_purpose::STANDARD};
use imgsrv_app::Authenticator;
use imgsrv_domain::{auth::TokenKey, error_chain, files::CHECKSUMS};

/// Refuses a request on plaintext that needs TLS, and records an API token that it exposed.
pub(crate) async fn check(request: &Parts, auth: &Authenticator, failed: &FailedBearers) -> Result<(), Problem> {
    if request.extensions.get::<Transport>() != Some(&Transport::PlaintextOnTlsPort) {
        return Ok(());
    }
    if let Some(credential) = request.headers.get(header::AUTHORIZATION) {
        // Looking up a token costs as much as a failed bearer does.
        failed.count(&request.extensions)?;
        if let Some(token) = api_token(credential) {
            // The request is refused even when this fails.
            if let Err(error) = auth.note_exposed(&token, &request::context(&request.extensions)).await {
                tracing::warn!(error = error_chain::text(&error), "exposed token could not be recorded");
            }
        }
        return Err(Problem::new(Code::CredentialInClear));
    }
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    let path = request.uri.path();
    let is_verified = path == "/ca.pem" || is_verified_file(path);
    if reads && is_verified { Ok(()) } else { Err(Problem::new(Code::HttpsRequired)) }
}

/// Whether the path is that of a file as a stream index names it: one that clients verify by its digest, and not the
/// checksums that they verify it by. Of the characters of file names, clients encode only `^` and perhaps `~`; anything else
/// that is encoded could be the name of checksums.
fn is_verified_file(path: &str) -> bool {
    let path = ["%5E", "%5e", "%7E", "%7e"].iter().fold(path.to_owned(), |path, encoded| path.replace(encoded, "~"));
    let Some(rest) = path.strip_prefix("/images/").filter(|rest| !rest.contains('%')) else { return false };
    let segments: Vec<&str> = rest.split('/').collect();
    matches!(segments.as_slice(), [_, _, file] if !file.is_empty() && *file != CHECKSUMS && !file.ends_with(".sha256"))
}

/// The API token in a credential of any scheme: a bearer, or the user or the password of Basic (RFC 7617).
fn api_token(credential: &HeaderValue) -> Option<String> {
    let credential = credential.to_str().ok()?;
    let basic = credential.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
    let decoded = basic.and_then(|(_, encoded)| STANDARD.decode(encoded.trim()).ok());
    let text = decoded.map_or_else(|| credential.to_owned(), |decoded| String::from_utf8_lossy(&decoded).into_owned());
    let mut words = text.split([' ', ':']);
    words.find(|word| word.starts_with(TokenKey::PREFIX)).map(str::to_owned)
}
