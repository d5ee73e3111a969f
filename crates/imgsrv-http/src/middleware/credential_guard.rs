//! The guard for credentials that others can read, and for plaintext HTTP on a TLS port.
//!
//! Incus requests every file in plaintext before it does over TLS, on the same port, and sends the credentials of its
//! URL along. Files are verified by their digests, so they are served, and so is the certificate that clients need before
//! they can use TLS, which they verify by its fingerprint. Any other request is refused before its body is read, and a
//! credential is never accepted. A token in the path of a private Incus remote is not sent along, but needs TLS as well.

use crate::{
    middleware::failed_bearers::FailedBearers,
    public_url::{PublicUrl, Urls},
    request::{self, Channel, Transport},
    response::problem::{Code, Problem},
};
use axum::http::{HeaderValue, Method, header, request::Parts};
use base64::{Engine, engine::general_purpose::STANDARD};
use imgsrv_app::{Authenticator, Exposure};
use imgsrv_domain::{auth::TokenKey, error_chain, files::CHECKSUMS};

/// Notes exposed tokens of a request.
pub(crate) struct CredentialGuard<'a> {
    pub(crate) request: &'a Parts,
    pub(crate) auth: &'a Authenticator,
    pub(crate) failed: &'a FailedBearers,
    pub(crate) urls: &'a Urls,
}

impl CredentialGuard<'_> {
    /// Refuses a request on plaintext that needs TLS, and one with a credential where others can read it. Records an API
    /// token that it exposed.
    pub(crate) async fn check(&self) -> Result<(), Problem> {
        let (extensions, path) = (&self.request.extensions, self.request.uri.path());
        let (channel, credential) = (Channel::of(extensions), self.request.headers.get(header::AUTHORIZATION));
        if let Some(rest) = path.strip_prefix("/t/")
            && channel != Channel::Confidential
        {
            let token = rest.split('/').next().unwrap_or_default();
            let exposed = (channel == Channel::InClear).then_some(token);
            return Err(self.expose(exposed, Exposure::InClear, in_clear()).await);
        }
        let is_remote = ["/streams/", "/t/"].iter().any(|root| path.starts_with(root));
        if let Some(credential) = credential.filter(|credential| is_remote && is_basic(credential)) {
            let problem = Problem::new(Code::CredentialExposed).detail(
                "Basic credentials are not accepted for remotes, because Incus sends them in plaintext for every file; \
                 revoke the token, and add private images as the remote that `imgsrv incus-remote` prints",
            );
            return Err(self.expose(api_token(credential).as_deref(), Exposure::StreamsBasic, problem).await);
        }
        if extensions.get::<Transport>() == Some(&Transport::PlaintextOnTlsPort) {
            return self.check_plaintext(path, credential).await;
        }
        let has_tls = self.urls.0.as_ref().is_some_and(PublicUrl::is_https);
        if path.starts_with("/f/") && channel == Channel::InClear && has_tls {
            return Err(Problem::new(Code::HttpsRequired).detail("links need HTTPS"));
        }
        Ok(())
    }

    async fn check_plaintext(&self, path: &str, credential: Option<&HeaderValue>) -> Result<(), Problem> {
        if let Some(credential) = credential {
            let problem = Problem::new(Code::CredentialInClear);
            return Err(self.expose(api_token(credential).as_deref(), Exposure::InClear, problem).await);
        }
        let reads = matches!(self.request.method, Method::GET | Method::HEAD);
        let is_verified = path == "/ca.pem" || is_verified_file(path);
        if reads && is_verified { Ok(()) } else { Err(Problem::new(Code::HttpsRequired)) }
    }

    /// Records an exposed token; returns the problem of its request.
    async fn expose(&self, token: Option<&str>, exposure: Exposure, problem: Problem) -> Problem {
        // Looking up a token costs as much as a failed bearer does.
        if let Err(too_many) = self.failed.count(&self.request.extensions) {
            return too_many;
        }
        if let Some(token) = token {
            note(self.auth, token, exposure, self.request).await;
        }
        problem
    }
}

/// Records an exposed token. The request is refused even when this fails.
pub(crate) async fn note(auth: &Authenticator, token: &str, exposure: Exposure, request: &Parts) {
    if let Err(error) = auth.note_exposed(token, exposure, &request::context(&request.extensions)).await {
        tracing::warn!(error = error_chain::text(&error), "exposed token could not be recorded");
    }
}

/// The problem of a credential that came in plaintext, or perhaps did.
pub(crate) fn in_clear() -> Problem {
    Problem::new(Code::CredentialInClear).detail(
        "this credential is accepted over HTTPS alone; if a reverse proxy uses HTTPS, it must be one of --trusted-proxies \
         and set X-Forwarded-Proto",
    )
}

fn is_basic(credential: &HeaderValue) -> bool {
    let scheme = credential.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"basic")
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
