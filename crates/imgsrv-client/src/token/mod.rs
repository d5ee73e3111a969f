//! Bearer tokens: a fixed one, or ones that a source gives when they are needed.

mod sources;

pub use sources::{GitHubActions, TokenCommand};

use async_trait::async_trait;
use backon::{ConstantBuilder, Retryable};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::Mutex;

/// How long a token must still be valid to be used, so that it does not expire in flight.
const MIN_VALIDITY: Duration = Duration::from_secs(30);
/// How long a source may take.
const FETCH_TIMEOUT: Duration = Duration::from_mins(1);
const FETCH_RETRIES: ConstantBuilder = ConstantBuilder::new().with_delay(Duration::from_secs(1)).with_max_times(2);
/// The longest token that is accepted.
const MAX_TOKEN: usize = 32 << 10;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The command could not be run.
    #[error("the token command could not be run")]
    Command(#[source] std::io::Error),
    /// The command failed, or printed nothing.
    #[error("the token command {0}")]
    CommandFailed(String),
    /// This is not a job that may request tokens of GitHub.
    #[error("this is not a GitHub Actions job with the permission `id-token: write`")]
    NotInGitHub,
    /// GitHub's token issuer could not be reached or refused.
    #[error("GitHub did not issue a token")]
    GitHub(#[source] reqwest::Error),
    /// The source did not return a bearer token.
    #[error("the output is not a bearer token: it is empty, too long, or contains blanks")]
    Malformed,
    /// The source took too long.
    #[error("no token was received within {} s", FETCH_TIMEOUT.as_secs())]
    TooSlow,
}

/// A source of tokens that expire.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// A fresh token.
    async fn fetch(&self) -> Result<SecretString, TokenError>;
}

/// The bearer tokens of a client.
#[derive(Clone, Default)]
pub(crate) struct Tokens {
    /// Where new ones are from; without it there is only the first, or none: then the client is anonymous.
    source: Option<Arc<dyn TokenSource>>,
    current: Arc<Mutex<Option<SecretString>>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    /// Always the same token.
    pub(crate) fn fixed(token: &SecretString) -> Result<Self, TokenError> {
        let token = parse_bearer(token.expose_secret())?;
        Ok(Self { source: None, current: Arc::new(Mutex::new(Some(token))) })
    }

    /// The token of a source, fetched again once it expires.
    pub(crate) fn fetched(source: Arc<dyn TokenSource>) -> Self {
        Self { source: Some(source), ..Self::default() }
    }

    /// The token to use now; `None` if the client is anonymous.
    pub(crate) async fn current(&self) -> Result<Option<SecretString>, TokenError> {
        let mut current = self.current.lock().await;
        if let Some(source) = &self.source
            && current.as_ref().is_none_or(|token| expires_soon(token.expose_secret()))
        {
            *current = Some(fetch(&**source).await?);
        }
        Ok(current.clone())
    }

    /// Discards a token that the server refused; whether there may be a valid one.
    pub(crate) async fn discard(&self, refused: &SecretString) -> bool {
        if self.source.is_some() {
            // Another call may have fetched a new one already.
            self.current.lock().await.take_if(|token| token.expose_secret() == refused.expose_secret());
        }
        self.source.is_some()
    }
}

async fn fetch(source: &dyn TokenSource) -> Result<SecretString, TokenError> {
    let attempt = || async {
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, source.fetch()).await;
        parse_bearer(fetched.map_err(|_| TokenError::TooSlow)??.expose_secret())
    };
    // The issuer may be away for a moment.
    let is_transient = |error: &TokenError| matches!(error, TokenError::GitHub(_) | TokenError::CommandFailed(_));
    attempt.retry(FETCH_RETRIES).sleep(tokio::time::sleep).when(is_transient).await
}

/// The token without the white space around it; inside a token there is none (RFC 6750, section 2.1).
fn parse_bearer(raw: &str) -> Result<SecretString, TokenError> {
    let token = raw.trim();
    let is_valid = !token.is_empty() && token.len() <= MAX_TOKEN && token.bytes().all(|b| b.is_ascii_graphic());
    if is_valid { Ok(token.into()) } else { Err(TokenError::Malformed) }
}

/// Whether a JSON web token expires soon. Other tokens do not say, and are used until they are refused.
fn expires_soon(token: &str) -> bool {
    #[derive(Deserialize)]
    struct Claims {
        exp: u64,
    }
    let payload = token.split('.').nth(1).and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
    let claims = payload.and_then(|payload| serde_json::from_slice::<Claims>(&payload).ok());
    #[expect(clippy::disallowed_methods, reason = "a client has no clock but this machine's")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    claims.is_some_and(|Claims { exp }| Duration::from_secs(exp) < now + MIN_VALIDITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(exp: u64) -> String {
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{exp}}}")))
    }

    #[test]
    fn only_an_expired_json_web_token_expires_soon() {
        assert!(expires_soon(&jwt(1_000_000_000)));
        assert!(!expires_soon(&jwt(32_503_680_000)));
        assert!(!expires_soon("imgsrv_at_abcdefghijk1_secret"));
        assert!(!expires_soon("a.b.c"));
    }

    #[tokio::test]
    async fn a_fetched_token_is_cached_until_it_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let count = folder.path().join("count");
        let command = format!("echo x >> {0}; echo token-$(wc -l < {0})", count.display());
        let tokens = Tokens::fetched(Arc::new(TokenCommand::new(command)));
        let current = || async { tokens.current().await.expect("a token").expect("one").expose_secret().to_owned() };
        assert_eq!(current().await, "token-1");
        assert_eq!(current().await, "token-1", "cached while it is valid");
        assert!(tokens.discard(&"another".into()).await);
        assert_eq!(current().await, "token-1", "another one was refused");
        assert!(tokens.discard(&"token-1".into()).await);
        assert_eq!(current().await, "token-2");
    }

    #[tokio::test]
    async fn malformed_tokens_are_not_sent() {
        for command in ["exit 3", "true", "echo two words", "printf 'a\\nb'"] {
            let tokens = Tokens::fetched(Arc::new(TokenCommand::new(command)));
            assert!(tokens.current().await.is_err(), "{command}");
        }
    }
}
