//! The caller: anonymous or authenticated by a bearer token, and proofs of their permissions.

use crate::{
    request::{self, Sender},
    response::problem::Problem,
    state::AppState,
};
use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
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
        let bearer = header.to_str().ok().filter(|_| is_single).and_then(bearer);
        let authenticated = match bearer {
            Some(bearer) => state.services.auth().authenticate(bearer, context).await,
            None => Err(AuthenticateError::Invalid),
        };
        if authenticated.as_ref().is_err_and(counts_as_failed) {
            state.failed_bearers.count(&parts.extensions)?;
        }
        let caller = authenticated?;
        Sender::remember(&parts.extensions, &caller);
        Ok(caller)
    }
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

/// The token of `Bearer <token>` (RFC 6750, section 2.1); the scheme is case-insensitive.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
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
