//! Verifying tokens of other issuers, and asking conditions about them.

use super::Source;
use crate::{
    oidc::{Claims, Condition, ForwardedClaims, IssuerUrl, OidcIdentity, VerifiedToken},
    time::Timestamp,
};
use async_trait::async_trait;

/// The issuer is not one that can be trusted, whatever it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidIssuer(pub String);

/// Why a token does not count.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Its issuer did not sign it, or it is not valid now.
    #[error("the token is not authentic: {0}")]
    NotAuthentic(String),
    /// The issuer's keys cannot be read, so nobody can say.
    #[error("the issuer cannot be read")]
    Unavailable(#[source] Source),
}

/// Verifies tokens against the keys that their issuers publish (OpenID Connect Discovery 1.0; RFC 7515, 7517, 7519).
#[async_trait]
pub trait TokenVerifier: Send + Sync {
    /// Whether keys of `issuer` would be asked for at all.
    fn check_issuer(&self, issuer: &IssuerUrl) -> Result<(), InvalidIssuer>;

    /// The issuer that a text names, if it has the form of a token that may be authentic. Nothing is verified.
    fn claimed_issuer(&self, token: &str) -> Option<IssuerUrl>;

    /// Verifies a token that `issuer` is to have signed and that is to be valid at `now`. The answer comes
    /// within 10 seconds.
    async fn verify(&self, token: &str, issuer: &IssuerUrl, now: Timestamp) -> Result<VerifiedToken, TokenError>;
}

/// Why a condition does not count, or does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConditionError(pub String);

/// Asks conditions about claims. The cost of each question is bounded.
#[async_trait]
pub trait ConditionEngine: Send + Sync {
    /// Whether a condition may be saved: it parses, names only what exists, is small enough, and is true or false
    /// for sample claims, of which every forwarded one is a text.
    async fn check(&self, condition: &Condition, forwarded: &ForwardedClaims) -> Result<(), ConditionError>;

    /// Whether a condition is true of a token. Anything but true or false is an error.
    async fn holds(
        &self,
        condition: &Condition,
        identity: &OidcIdentity,
        claims: Claims,
    ) -> Result<bool, ConditionError>;
}
