//! The caller: anonymous or authenticated by a bearer token or with Basic, and proofs of their permissions.

use crate::{
    middleware::credential_guard::in_clear,
    request::{self, Channel, Sender},
    response::problem::{Code, Problem},
    state::AppState,
};
use axum::{
    extract::FromRequestParts,
    http::{Extensions, Method, header, request::Parts},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use imgsrv_app::{
    AuditReader, AuthenticateError, Caller, ContentAdmin, Denied, Manager, SystemOperator, SystemReader, Writer,
};

/// An invalid bearer is refused even where none is needed.
impl FromRequestParts<AppState> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let context = request::context(&parts.extensions);
        let mut headers = parts.headers.get_all(header::AUTHORIZATION).iter();
        let Some(header) = headers.next() else { return Ok(Self::anonymous(context)) };
        let is_single = headers.next().is_none();
        let header = header.to_str().ok().filter(|_| is_single);
        let auth = state.services.auth();
        let authenticated = match header.and_then(credential) {
            Some(Credential::Bearer(bearer)) => auth.authenticate(bearer, context).await,
            Some(Credential::Basic(password)) => {
                accepts_basic(parts)?;
                auth.authenticate_api_token(&password, context).await
            }
            None => Err(AuthenticateError::Invalid),
        };
        accepted(authenticated, &parts.extensions, state)
    }
}

/// The caller of a request that its credential authenticates. A failure counts against the limit of the client.
pub(crate) fn accepted(
    authenticated: Result<Caller, AuthenticateError>,
    request: &Extensions,
    state: &AppState,
) -> Result<Caller, Problem> {
    if authenticated.as_ref().is_err_and(counts_as_failed) {
        state.failed_bearers.count(request)?;
    }
    let caller = authenticated?;
    Sender::remember(request, &caller);
    Ok(caller)
}

/// Whether an error counts against the limit: one that guessing tokens or overloading the server would cause.
const fn counts_as_failed(error: &AuthenticateError) -> bool {
    match error {
        AuthenticateError::Invalid
        | AuthenticateError::IssuerUnavailable { .. }
        | AuthenticateError::Denied(Denied::NotAdmitted) => true,
        AuthenticateError::Denied(_) | AuthenticateError::Catalog(_) => false,
    }
}

/// A credential in `Authorization`.
enum Credential<'h> {
    /// A bearer token (RFC 6750, section 2.1).
    Bearer(&'h str),
    /// The password of Basic (RFC 7617); the user name is ignored.
    Basic(String),
}

/// The credential in a header; the scheme is case-insensitive.
fn credential(header: &str) -> Option<Credential<'_>> {
    let (scheme, value) = header.split_once(' ')?;
    let value = value.trim_matches(' ');
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Credential::Bearer(value));
    }
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(value).ok())??;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':').map(|(_, password)| Credential::Basic(password.to_owned()))
}

/// Refuses Basic where it is not accepted. Browsers send such credentials with every request to a server, also those that
/// other sites cause, so they only read.
fn accepts_basic(request: &Parts) -> Result<(), Problem> {
    if !matches!(request.method, Method::GET | Method::HEAD) {
        let detail = "Basic credentials are accepted for GET and HEAD alone; send the token as a bearer";
        return Err(Problem::new(Code::InvalidBearer).detail(detail));
    }
    match Channel::of(&request.extensions) {
        Channel::Confidential => Ok(()),
        Channel::InClear | Channel::Unknown => Err(in_clear()),
    }
}

impl FromRequestParts<AppState> for Writer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        Ok(Caller::from_request_parts(parts, state).await?.writer()?)
    }
}

impl FromRequestParts<AppState> for ContentAdmin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        Ok(Caller::from_request_parts(parts, state).await?.content_admin()?)
    }
}

impl FromRequestParts<AppState> for Manager {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        Ok(Caller::from_request_parts(parts, state).await?.manager()?)
    }
}

impl FromRequestParts<AppState> for SystemOperator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        Ok(Caller::from_request_parts(parts, state).await?.system_operator()?)
    }
}

impl FromRequestParts<AppState> for SystemReader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        Ok(Caller::from_request_parts(parts, state).await?.system_reader()?)
    }
}

impl FromRequestParts<AppState> for AuditReader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        Ok(Caller::from_request_parts(parts, state).await?.audit_reader()?)
    }
}
