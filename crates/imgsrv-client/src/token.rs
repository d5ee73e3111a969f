//! Where bearer tokens come from: given once, or fetched anew when they are needed.

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::{
    fmt,
    process::Stdio,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{io::AsyncReadExt, process::Command, sync::Mutex};

/// How long a token must still be good to be used; one that lives shorter is fetched anew before it is refused.
const MARGIN: Duration = Duration::from_secs(30);
/// How long a command or an issuer may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often a token is asked for, and how long after each failure.
const TRIES: u32 = 3;
const BETWEEN_TRIES: Duration = Duration::from_secs(1);
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
    /// Not in a job that may ask GitHub for tokens.
    #[error("this is not a GitHub Actions job with the permission `id-token: write`")]
    NotInGitHub,
    /// The issuer of tokens could not be reached or refused.
    #[error("GitHub gave no token")]
    GitHub(#[source] reqwest::Error),
    /// What came is no bearer token.
    #[error("what came is not a bearer token: it is empty, too long, or has blanks in it")]
    Malformed,
    /// It took too long.
    #[error("the token did not come within {} s", PATIENCE.as_secs())]
    TooSlow,
}

/// Where tokens come from that are used up: each is good for a while only.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// A fresh token.
    async fn fetch(&self) -> Result<SecretString, TokenError>;
}

/// The bearer tokens of a client.
#[derive(Clone)]
pub(crate) enum Tokens {
    /// None: only what is public can be read.
    None,
    /// Always the same.
    Fixed(SecretString),
    /// Fetched when the one at hand is used up.
    Fetched(Arc<dyn TokenSource>, Arc<Mutex<Option<SecretString>>>),
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Fixed(_) => "Fixed",
            Self::Fetched(..) => "Fetched",
        })
    }
}

impl Tokens {
    pub(crate) fn fetched(source: Arc<dyn TokenSource>) -> Self {
        Self::Fetched(source, Arc::default())
    }

    /// The token to use now, if there is any.
    pub(crate) async fn current(&self) -> Result<Option<SecretString>, TokenError> {
        match self {
            Self::None => Ok(None),
            Self::Fixed(token) => Ok(Some(token.clone())),
            Self::Fetched(source, kept) => {
                let mut kept = kept.lock().await;
                if let Some(token) = kept.as_ref().filter(|token| !is_used_up(token.expose_secret())) {
                    return Ok(Some(token.clone()));
                }
                Ok(Some(kept.insert(fetch(&**source).await?).clone()))
            }
        }
    }

    /// Forgets `refused`, unless another was fetched meanwhile; says whether there may be a better one.
    pub(crate) async fn refused(&self, refused: &SecretString) -> bool {
        match self {
            Self::None | Self::Fixed(_) => false,
            Self::Fetched(_, kept) => {
                let mut kept = kept.lock().await;
                if kept.as_ref().is_some_and(|token| token.expose_secret() == refused.expose_secret()) {
                    *kept = None;
                }
                true
            }
        }
    }
}

async fn fetch(source: &dyn TokenSource) -> Result<SecretString, TokenError> {
    let mut tries = 0;
    loop {
        let fetched = tokio::time::timeout(PATIENCE, source.fetch()).await.map_err(|_| TokenError::TooSlow);
        tries += 1;
        match fetched.flatten() {
            Ok(token) => return checked(token.expose_secret()),
            // Whoever gives tokens may be away for a moment.
            Err(TokenError::GitHub(_) | TokenError::CommandFailed(_)) if tries < TRIES => {
                tokio::time::sleep(BETWEEN_TRIES).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// The token without the white space around it (RFC 6750, section 2.1: no other is in one).
pub(crate) fn checked(raw: &str) -> Result<SecretString, TokenError> {
    let token = raw.trim();
    let fits = !token.is_empty() && token.len() <= MAX_TOKEN && token.bytes().all(|b| b.is_ascii_graphic());
    if fits { Ok(token.into()) } else { Err(TokenError::Malformed) }
}

/// Whether a JSON web token says that it expires soon. Any other token says nothing, and is used until it is refused.
fn is_used_up(token: &str) -> bool {
    #[derive(Deserialize)]
    struct Claims {
        exp: u64,
    }
    let claims = || {
        let payload = token.split('.').nth(1)?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        serde_json::from_slice::<Claims>(&payload).ok()
    };
    #[expect(clippy::disallowed_methods, reason = "a client has no clock but this machine's")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    claims().is_some_and(|Claims { exp }| Duration::from_secs(exp) < now + MARGIN)
}

/// A shell command that prints a token to its standard output.
#[derive(Debug, Clone)]
pub struct TokenCommand(String);

impl TokenCommand {
    /// Tokens as `command` prints them; it is run by `sh -c`.
    pub fn new(command: impl Into<String>) -> Self {
        Self(command.into())
    }
}

#[async_trait]
impl TokenSource for TokenCommand {
    async fn fetch(&self) -> Result<SecretString, TokenError> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(&self.0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.kill_on_drop(true).spawn().map_err(TokenError::Command)?;
        let mut printed = Vec::new();
        if let Some(output) = child.stdout.take() {
            let mut output = output.take(MAX_TOKEN as u64 + 1);
            output.read_to_end(&mut printed).await.map_err(TokenError::Command)?;
        }
        if printed.len() > MAX_TOKEN {
            return Err(TokenError::Malformed);
        }
        let status = child.wait().await.map_err(TokenError::Command)?;
        if !status.success() {
            return Err(TokenError::CommandFailed(format!("failed: {status}")));
        }
        let text = String::from_utf8_lossy(&printed);
        if text.trim().is_empty() {
            return Err(TokenError::CommandFailed("printed nothing".to_owned()));
        }
        Ok(text.into_owned().into())
    }
}

/// The tokens that GitHub gives to jobs with `permissions: id-token: write` (GitHub, "OpenID Connect reference").
pub struct GitHubActions {
    url: String,
    request_token: SecretString,
    audience: String,
    http: reqwest::Client,
}

impl GitHubActions {
    /// Where GitHub tells a job to ask for tokens.
    pub const URL_VARIABLE: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
    /// Where GitHub puts what a job must ask with.
    pub const TOKEN_VARIABLE: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

    /// Tokens for `audience`, from the URL and with the token that the variables of those names hold.
    pub fn new(url: impl Into<String>, request_token: SecretString, audience: impl Into<String>) -> Self {
        Self { url: url.into(), request_token, audience: audience.into(), http: reqwest::Client::new() }
    }
}

#[async_trait]
impl TokenSource for GitHubActions {
    async fn fetch(&self) -> Result<SecretString, TokenError> {
        #[derive(Deserialize)]
        struct Answer {
            value: String,
        }
        let mut url: url::Url = self.url.parse().map_err(|_| TokenError::NotInGitHub)?;
        url.query_pairs_mut().append_pair("audience", &self.audience);
        let request = self.http.get(url).bearer_auth(self.request_token.expose_secret());
        let answer = request.send().await.and_then(reqwest::Response::error_for_status);
        // The URL is of no use to anybody, but it is the job's own.
        let answer = answer.map_err(|error| TokenError::GitHub(error.without_url()))?;
        let body = bounded(answer, 2 * MAX_TOKEN).await.map_err(|error| TokenError::GitHub(error.without_url()))?;
        let answer = body.and_then(|body| serde_json::from_slice::<Answer>(&body).ok());
        Ok(answer.ok_or(TokenError::Malformed)?.value.into())
    }
}

/// A body, unless it is larger than it may be.
pub(crate) async fn bounded(mut response: reqwest::Response, most: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(exp: u64) -> String {
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{exp}}}")))
    }

    #[test]
    fn only_a_token_that_says_so_is_used_up() {
        assert!(is_used_up(&jwt(1_000_000_000)));
        assert!(!is_used_up(&jwt(32_503_680_000)));
        assert!(!is_used_up("imgsrv_at_abcdefghijk1_secret"));
        assert!(!is_used_up("a.b.c"));
    }

    #[tokio::test]
    async fn a_command_prints_tokens_and_a_refused_one_is_fetched_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let count = folder.path().join("count");
        let command = format!("echo x >> {0}; echo token-$(wc -l < {0})", count.display());
        let tokens = Tokens::fetched(Arc::new(TokenCommand::new(command)));
        let current = || async { tokens.current().await.expect("a token").expect("one").expose_secret().to_owned() };
        assert_eq!(current().await, "token-1");
        assert_eq!(current().await, "token-1", "kept while it is good");
        assert!(tokens.refused(&"another".into()).await);
        assert_eq!(current().await, "token-1", "another one was refused");
        assert!(tokens.refused(&"token-1".into()).await);
        assert_eq!(current().await, "token-2");
    }

    #[tokio::test]
    async fn what_is_no_token_is_not_sent() {
        for command in ["exit 3", "true", "echo two words", "printf 'a\\nb'"] {
            let tokens = Tokens::fetched(Arc::new(TokenCommand::new(command)));
            assert!(tokens.current().await.is_err(), "{command}");
        }
    }
}
