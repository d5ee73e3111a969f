//! The caller: anonymous or authenticated by a bearer token, and proofs of their permissions.

use crate::{middleware::failed_bearers::FailedBearers, request, response::problem::Problem};
use axum::{
    extract::{FromRef, FromRequestParts},
    http::{header, request::Parts},
};
use imgsrv_app::{AuthenticateError, Authenticator, Caller, Denied, Manager, Writer};
use std::sync::Arc;

/// Any caller. An invalid bearer is refused even where none is needed.
pub(crate) struct MaybeCaller(pub(crate) Caller);

/// A caller who may change content.
pub(crate) struct WriterOnly(pub(crate) Writer);

/// A caller who may manage authentication.
pub(crate) struct ManagerOnly(pub(crate) Manager);

impl<S> FromRequestParts<S> for MaybeCaller
where
    S: Send + Sync,
    Arc<Authenticator>: FromRef<S>,
    Arc<FailedBearers>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let context = request::context(&parts.extensions);
        let mut headers = parts.headers.get_all(header::AUTHORIZATION).iter();
        let Some(header) = headers.next() else { return Ok(Self(Caller::anonymous(context))) };
        let is_single = headers.next().is_none();
        let bearer = header.to_str().ok().filter(|_| is_single).and_then(bearer);
        let error = match bearer {
            Some(bearer) => match Arc::<Authenticator>::from_ref(state).authenticate(bearer, context).await {
                Ok(caller) => return Ok(Self(caller)),
                Err(error) => error,
            },
            None => AuthenticateError::Invalid,
        };
        if counts_as_failed(&error) {
            Arc::<FailedBearers>::from_ref(state).count(&parts.extensions)?;
        }
        Err(error.into())
    }
}

/// Whether an error counts against the limit: one that guessing tokens or overloading the server would cause.
const fn counts_as_failed(error: &AuthenticateError) -> bool {
    match error {
        AuthenticateError::Invalid
        | AuthenticateError::IssuerUnavailable(_)
        | AuthenticateError::Denied(Denied::NotAdmitted) => true,
        AuthenticateError::Denied(_) | AuthenticateError::Catalog(_) => false,
    }
}

/// The token of `Bearer <token>` (RFC 6750, section 2.1); the scheme is case-insensitive.
fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}

impl<S: Send + Sync> FromRequestParts<S> for WriterOnly
where
    MaybeCaller: FromRequestParts<S, Rejection = Problem>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let MaybeCaller(caller) = MaybeCaller::from_request_parts(parts, state).await?;
        Ok(Self(caller.writer()?))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ManagerOnly
where
    MaybeCaller: FromRequestParts<S, Rejection = Problem>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let MaybeCaller(caller) = MaybeCaller::from_request_parts(parts, state).await?;
        Ok(Self(caller.manager()?))
    }
}
