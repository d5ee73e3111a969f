//! Token sources: a shell command, and the jobs of GitHub Actions.

use super::{MAX_TOKEN, TokenError, TokenSource};
use crate::body;
use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use std::process::Stdio;
use tokio::{io::AsyncReadExt, process::Command};

/// A shell command that prints a token to its standard output.
#[derive(Debug, Clone)]
pub struct TokenCommand(String);

impl TokenCommand {
    /// Runs `command` with `sh -c` for each token.
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

/// The tokens of a GitHub Actions job with `permissions: id-token: write` (GitHub, "OpenID Connect reference").
pub struct GitHubActions {
    url: String,
    request_token: SecretString,
    audience: String,
    http: reqwest::Client,
}

impl GitHubActions {
    /// The environment variable with the URL at which a job requests tokens.
    pub const URL_VARIABLE: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
    /// The environment variable with the token that authenticates this request.
    pub const TOKEN_VARIABLE: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

    /// Tokens for `audience`; URL and request token are the values of the two variables.
    pub fn new(url: impl Into<String>, request_token: SecretString, audience: impl Into<String>) -> Self {
        Self { url: url.into(), request_token, audience: audience.into(), http: reqwest::Client::new() }
    }
}

#[async_trait]
impl TokenSource for GitHubActions {
    async fn fetch(&self) -> Result<SecretString, TokenError> {
        #[derive(Deserialize)]
        struct Response {
            value: String,
        }
        let mut url: url::Url = self.url.parse().map_err(|_| TokenError::NotInGitHub)?;
        url.query_pairs_mut().append_pair("audience", &self.audience);
        let request = self.http.get(url).bearer_auth(self.request_token.expose_secret());
        // The URL is private to the job.
        let failed = |error: reqwest::Error| TokenError::GitHub(error.without_url());
        let response = request.send().await.and_then(reqwest::Response::error_for_status).map_err(failed)?;
        let body = body::read(response, 2 * MAX_TOKEN).await.map_err(failed)?;
        let response = body.and_then(|body| serde_json::from_slice::<Response>(&body).ok());
        Ok(response.ok_or(TokenError::Malformed)?.value.into())
    }
}
