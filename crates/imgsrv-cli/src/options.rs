//! How the server is reached and how the outcome is told: what every command takes.

use crate::{
    failure::Failure,
    report::{Report, Style},
    settings::Settings,
};
use clap::Args;
use imgsrv_client::{Client, GitHubActions, RetryPolicy, TokenCommand};
use secrecy::{ExposeSecret, SecretString};
use std::{path::PathBuf, time::Duration};

/// How the server is reached.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerOptions {
    /// Its URL, such as `https://images.example.org` [default: that of the last login]
    #[arg(long, env = "IMGSRV_URL", value_name = "URL")]
    server: Option<String>,
    /// The token to authenticate with; better in the variable, as others on the machine see command lines
    /// [default: that of the login at the server]
    #[arg(long, env = "IMGSRV_TOKEN", hide_env_values = true, value_name = "TOKEN", value_parser = secret)]
    token: Option<SecretString>,
    /// A file with the token
    #[arg(long, env = "IMGSRV_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A shell command that prints a token; it is run again whenever the token expires or is refused
    #[arg(long, env = "IMGSRV_TOKEN_COMMAND", value_name = "COMMAND")]
    token_command: Option<String>,
    /// In GitHub Actions: authenticate as the job, with tokens for this audience [default: the server's URL]
    #[arg(long, value_name = "AUDIENCE", num_args = 0..=1, default_missing_value = "", require_equals = true)]
    oidc_github: Option<String>,
    /// Trust this certificate authority (PEM) as well
    #[arg(long, env = "IMGSRV_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// For how long a server or network that is away is tried again
    #[arg(long, env = "IMGSRV_RETRY_FOR", default_value = "5m", value_name = "DURATION", value_parser = duration)]
    retry_for: Duration,
    #[arg(long, env = GitHubActions::URL_VARIABLE, hide = true)]
    github_url: Option<String>,
    #[arg(long, env = GitHubActions::TOKEN_VARIABLE, hide = true, hide_env_values = true, value_parser = secret)]
    github_token: Option<SecretString>,
}

/// How the outcome is told.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputOptions {
    /// Print JSON: an object, or one a line
    #[arg(long)]
    json: bool,
    /// Tell nothing of progress
    #[arg(long, short)]
    quiet: bool,
}

#[expect(clippy::unnecessary_wraps, reason = "as clap wants it")]
fn secret(raw: &str) -> Result<SecretString, String> {
    Ok(raw.into())
}

/// Parses `500ms`, `5s`, `1m`, `24h`, and `0s`.
fn duration(raw: &str) -> Result<Duration, String> {
    let parsed = raw.parse::<jiff::SignedDuration>().ok().and_then(|parsed| Duration::try_from(parsed).ok());
    parsed.ok_or_else(|| "must be a duration such as 30s, 5m or 1h".to_owned())
}

impl OutputOptions {
    /// Where outcome and progress go.
    pub(crate) fn report(&self) -> Report {
        Report::new(if self.json { Style::Json } else { Style::Text }, self.quiet || self.json)
    }
}

impl ServerOptions {
    /// The server's URL: as given, else that of the last login.
    pub(crate) fn url(&self, settings: &Settings) -> Result<String, Failure> {
        let given = self.server.clone().filter(|url| !url.is_empty()).or_else(|| settings.server.clone());
        let url = given.ok_or_else(|| {
            Failure::usage("which server? Say --server URL, set IMGSRV_URL, or run imgsrv login once")
        })?;
        Ok(url.trim_end_matches('/').to_owned())
    }

    /// A client as wanted, which tells of its retries.
    pub(crate) fn client(&self, report: &Report) -> Result<Client, Failure> {
        let settings = Settings::load()?;
        let url = self.url(&settings)?;
        self.client_with(report, &url, self.token(&settings, &url)?)
    }

    /// The token: as given, else that of the login at the server, and of no other.
    fn token(&self, settings: &Settings, url: &str) -> Result<Option<SecretString>, Failure> {
        if let Some(token) = self.token.clone().filter(|token| !token.expose_secret().is_empty()) {
            return Ok(Some(token));
        }
        if let Some(path) = &self.token_file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("{} could not be read: {error}", path.display())))?;
            return Ok(Some(text.trim().into()));
        }
        Ok(settings.token(url))
    }

    pub(crate) fn client_with(
        &self,
        report: &Report,
        url: &str,
        token: Option<SecretString>,
    ) -> Result<Client, Failure> {
        let told = report.clone();
        let retry = RetryPolicy::for_up_to(self.retry_for).noticed_by(move |error, delay| told.retrying(error, delay));
        let user_agent = concat!("imgsrv/", env!("CARGO_PKG_VERSION"));
        let mut builder = Client::builder(url).retry(retry).user_agent(user_agent);
        if let Some(path) = &self.ca_file {
            let pem = std::fs::read(path)
                .map_err(|error| Failure::usage(format!("{} could not be read: {error}", path.display())))?;
            builder = builder.authority(pem);
        }
        builder = if let Some(audience) = &self.oidc_github {
            let audience = if audience.is_empty() { url } else { audience };
            let (Some(at), Some(by)) = (&self.github_url, &self.github_token) else {
                return Err(Failure::usage(
                    "--oidc-github works in GitHub Actions only, in a job with `permissions: id-token: write`",
                ));
            };
            builder.token_source(GitHubActions::new(at, by.clone(), audience))
        } else if let Some(command) = &self.token_command {
            builder.token_source(TokenCommand::new(command))
        } else if let Some(token) = token {
            builder.token(token)
        } else {
            builder
        };
        builder.build().map_err(|error| Failure::usage(error.to_string()))
    }
}
