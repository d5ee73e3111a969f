//! The caller: anonymous or authenticated by a bearer token, and proofs of what they may do.

use crate::{
    middleware::client_address::{ClientAddress, limited_by},
    request::RequestId,
    response::problem::{Code, Problem},
    state::AppState,
};
use axum::{
    extract::FromRequestParts,
    http::{header, request::Parts},
};
use imgsrv_app::{AuthenticateError, Caller, Denied, Manager, RequestContext, Writer};
use std::net::{IpAddr, Ipv4Addr};

/// Anybody; but a bearer that is not valid is refused even where none is needed.
pub(crate) struct MaybeCaller(pub(crate) Caller);

/// Somebody who may change content.
pub(crate) struct WriterOnly(pub(crate) Writer);

/// Somebody who may manage authentication.
pub(crate) struct ManagerOnly(pub(crate) Manager);

impl FromRequestParts<AppState> for MaybeCaller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let address = parts.extensions.get::<ClientAddress>().map(|client| client.0);
        let context = RequestContext {
            request_id: parts.extensions.get::<RequestId>().map(|id| id.0.clone()),
            address: address.map(|address| address.to_string()),
        };
        let mut headers = parts.headers.get_all(header::AUTHORIZATION).iter();
        let Some(header) = headers.next() else { return Ok(Self(Caller::anonymous(context))) };
        let single = headers.next().is_none();
        let bearer = header.to_str().ok().filter(|_| single).and_then(bearer);
        let failed = match bearer {
            Some(bearer) => match state.services.auth().authenticate(bearer, context).await {
                Ok(caller) => return Ok(Self(caller)),
                Err(error) => error,
            },
            None => AuthenticateError::Invalid,
        };
        if !counts(&failed) {
            return Err(failed.into());
        }
        let address = limited_by(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        let now = state.services.adapters().clock.now();
        match state.failures.failed(address, now) {
            Some(wait) => Err(Problem::new(Code::TooManyFailures).retry_after(wait)),
            None => Err(failed.into()),
        }
    }
}

/// Whether a failure is one that whoever guesses, or keeps the server busy, would cause.
const fn counts(failed: &AuthenticateError) -> bool {
    match failed {
        AuthenticateError::Invalid
        | AuthenticateError::IssuerUnavailable(_)
        | AuthenticateError::Denied(Denied::NotAdmitted) => true,
        AuthenticateError::Denied(_) | AuthenticateError::Catalog(_) => false,
    }
}

/// The token of `Bearer <token>` (RFC 6750, section 2.1); the scheme's case does not matter.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}

impl FromRequestParts<AppState> for WriterOnly {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let MaybeCaller(caller) = MaybeCaller::from_request_parts(parts, state).await?;
        Ok(Self(caller.writer()?))
    }
}

impl FromRequestParts<AppState> for ManagerOnly {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let MaybeCaller(caller) = MaybeCaller::from_request_parts(parts, state).await?;
        Ok(Self(caller.manager()?))
    }
}
