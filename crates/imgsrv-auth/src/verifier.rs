//! Verification of tokens against the keys of their issuers.

use crate::{cache::IssuerKeys, fetch::Fetcher, jwt::Unverified, keys::Verification};
use async_trait::async_trait;
use imgsrv_domain::{
    oidc::{IssuerUrl, VerifiedToken},
    ports::{InvalidIssuer, TokenError, TokenVerifier},
    time::Timestamp,
};
use moka::{policy::EvictionPolicy, sync::Cache};
use std::{sync::Arc, time::Duration};

/// Longest wait of a verification for the issuer.
const ISSUER_TIMEOUT: Duration = Duration::from_secs(9);
/// Most issuers whose keys are cached.
const MAX_ISSUERS: u64 = 256;

/// Verifies tokens against the keys that their issuers publish.
///
/// Signatures are `RS256`, `RS384`, `RS512`, `PS256`, `ES256`, `ES384` or `EdDSA` with Ed25519. Keys are cached for at
/// most an hour and refreshed after five minutes; an unknown key makes them be fetched at once, at most five times a
/// minute and issuer. Issuers are reached over HTTPS, without redirects and proxies, and never at addresses of this host
/// or of a cloud's metadata service.
pub struct OidcVerifier {
    fetcher: Fetcher,
    issuers: Cache<IssuerUrl, Arc<IssuerKeys>>,
}

impl OidcVerifier {
    /// A verifier; `allow_loopback` admits issuers on the loopback interface, there over plain HTTP as well.
    pub fn new(allow_loopback: bool) -> Self {
        // Least recently used: a new issuer is always cached, so that its fetches are limited.
        let issuers = Cache::builder().max_capacity(MAX_ISSUERS).eviction_policy(EvictionPolicy::lru()).build();
        Self { fetcher: Fetcher::new(allow_loopback), issuers }
    }
}

#[async_trait]
impl TokenVerifier for OidcVerifier {
    fn check_issuer(&self, issuer: &IssuerUrl) -> Result<(), InvalidIssuer> {
        self.fetcher.discovery_url(issuer).map(drop).map_err(|why| InvalidIssuer(why.to_string()))
    }

    fn claimed_issuer(&self, token: &str) -> Option<IssuerUrl> {
        Unverified::parse(token)?.issuer()
    }

    #[tracing::instrument(name = "oidc.verify", level = "debug", skip_all, fields(issuer.url = %issuer), err(level = "debug"))]
    async fn verify(&self, token: &str, issuer: &IssuerUrl, now: Timestamp) -> Result<VerifiedToken, TokenError> {
        let refused = |why: &str| TokenError::NotAuthentic(why.to_owned());
        let token = Unverified::parse(token).ok_or_else(|| refused("it is malformed"))?;
        let (algorithm, key_id) = (token.algorithm, token.key_id.clone());
        let (message, signature) = (token.message, token.signature);
        // Local checks come first, so that an expired token causes no request to the issuer.
        let validated = token.validated(issuer, now).map_err(refused)?;
        let new = || Arc::new(IssuerKeys::new(issuer.clone(), self.fetcher));
        let keys = self.issuers.get_with_by_ref(issuer, new);
        let verifying = keys.verify(|keys| keys.verify(algorithm, key_id.as_deref(), message, signature));
        let verification = tokio::time::timeout(ISSUER_TIMEOUT, verifying)
            .await
            .map_err(|_| TokenError::Unavailable("the issuer did not respond in time".into()))?;
        match verification.map_err(|error| TokenError::Unavailable(Box::new(error)))? {
            Verification::Valid => Ok(validated),
            Verification::Invalid => Err(refused("its signature is invalid")),
            Verification::UnknownKey => Err(refused("none of the issuer's keys matches")),
        }
    }
}
