//! The verifier of tokens.

use crate::{
    cache::{IssuerKeys, Unreadable},
    fetch::Fetcher,
    jwt::Unverified,
    keys::Signed,
};
use async_trait::async_trait;
use imgsrv_domain::{
    oidc::{IssuerUrl, VerifiedToken},
    ports::{InvalidIssuer, TokenError, TokenVerifier},
    time::Timestamp,
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// How long a verification may wait for the issuer.
const PATIENCE: Duration = Duration::from_secs(9);
/// Issuers whose keys are kept. When there are more, all are asked again.
const MAX_ISSUERS: usize = 256;

/// Verifies tokens against the keys that their issuers publish.
///
/// Signatures are `RS256`, `RS384`, `RS512`, `PS256`, `ES256`, `ES384` or `EdDSA` with Ed25519. Keys are kept for at
/// most an hour and renewed after five minutes; a key that is not known is asked for at once, at most five times a
/// minute and issuer. Issuers are asked over HTTPS, without redirects and proxies, and never at addresses of this host
/// or of a cloud's metadata service.
pub struct OidcVerifier {
    fetcher: Arc<Fetcher>,
    issuers: Mutex<HashMap<IssuerUrl, Arc<IssuerKeys>>>,
}

impl OidcVerifier {
    /// A verifier; with `allow_loopback` also of issuers on the loopback interface, there even over plain HTTP.
    pub fn new(allow_loopback: bool) -> Self {
        Self { fetcher: Arc::new(Fetcher::new(allow_loopback)), issuers: Mutex::default() }
    }

    fn keys_of(&self, issuer: &IssuerUrl) -> Arc<IssuerKeys> {
        let mut issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        if issuers.len() >= MAX_ISSUERS && !issuers.contains_key(issuer) {
            issuers.clear();
        }
        Arc::clone(issuers.entry(issuer.clone()).or_insert_with(|| Arc::new(IssuerKeys::new(issuer.clone()))))
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

    async fn verify(&self, token: &str, issuer: &IssuerUrl, now: Timestamp) -> Result<VerifiedToken, TokenError> {
        let refused = |why: &str| TokenError::NotAuthentic(why.to_owned());
        let token = Unverified::parse(token).ok_or_else(|| refused("it is malformed"))?;
        let (algorithm, key_id) = (token.algorithm, token.key_id.clone());
        let (message, signature) = (token.message, token.signature);
        // What costs nothing comes first, so that no stale token makes the issuer be asked.
        let claimed = token.claimed(issuer, now).map_err(refused)?;
        let keys = self.keys_of(issuer);
        let verifying =
            keys.verify(&self.fetcher, |keys| keys.verify(algorithm, key_id.as_deref(), message, signature));
        let said: Result<Signed, Unreadable> = tokio::time::timeout(PATIENCE, verifying)
            .await
            .map_err(|_| TokenError::Unavailable("the issuer does not answer in time".into()))?;
        match said.map_err(|error| TokenError::Unavailable(Box::new(error)))? {
            Signed::Yes => Ok(claimed),
            Signed::No => Err(refused("its signature does not hold")),
            Signed::UnknownKey => Err(refused("no key of its issuer fits")),
        }
    }
}
