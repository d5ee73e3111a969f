//! Verifying tokens of external issuers, and evaluating conditions on their claims.

use super::Source;
use crate::{
    oidc::{Claims, Condition, ForwardedClaims, IssuerUrl, OidcIdentity, VerifiedToken},
    time::Timestamp,
};
use async_trait::async_trait;

/// The issuer cannot be trusted: its keys would not be requested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidIssuer(pub String);

/// Why a token was not verified.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Its signature does not verify, or it is not valid now.
    #[error("the token is not authentic: {0}")]
    NotAuthentic(String),
    /// The keys of the issuer cannot be read: a transient error.
    #[error("the issuer cannot be read")]
    Unavailable(#[source] Source),
}

/// Verifies tokens with the keys that their issuers publish (OpenID Connect Discovery 1.0; RFC 7515, 7517, 7519).
#[async_trait]
pub trait TokenVerifier: Send + Sync {
    /// Checks that keys of `issuer` would be requested.
    fn check_issuer(&self, issuer: &IssuerUrl) -> Result<(), InvalidIssuer>;

    /// The issuer that `token` claims; `None` if it does not have the form of a token. Verifies nothing.
    fn claimed_issuer(&self, token: &str) -> Option<IssuerUrl>;

    /// Verifies that `issuer` signed `token` and that it is valid at `now`. Returns within 10 seconds.
    async fn verify(&self, token: &str, issuer: &IssuerUrl, now: Timestamp) -> Result<VerifiedToken, TokenError>;
}

/// Why a condition is invalid, or could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConditionError(pub String);

/// Evaluates conditions on claims. The cost of each evaluation is bounded.
#[async_trait]
pub trait ConditionEngine: Send + Sync {
    /// Checks that a condition may be stored: it parses, refers only to existing names, is small enough, and evaluates
    /// to a boolean for sample claims in which every forwarded one is a text.
    async fn check(&self, condition: &Condition, forwarded: &ForwardedClaims) -> Result<(), ConditionError>;

    /// Evaluates a condition for a token. A result that is not a boolean is an error.
    async fn holds(
        &self,
        condition: &Condition,
        identity: &OidcIdentity,
        claims: Claims,
    ) -> Result<bool, ConditionError>;
}
