//! The options of every command: how the server is reached, and how the result is printed.

use crate::{
    credentials::Credentials,
    failure::Failure,
    report::{Report, Style},
};
use clap::Args;
use imgsrv_client::{Client, GitHubActions, RetryPolicy, TokenCommand};
use secrecy::{ExposeSecret, SecretString};
use std::{path::PathBuf, time::Duration};

/// How the server is reached. An empty value counts as not given.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerOptions {
    /// Its URL, such as `https://images.example.org` [default: that of the last login]
    #[arg(long, env = "IMGSRV_URL", value_name = "URL")]
    server: Option<String>,
    /// The token to authenticate with; better in the variable, as others on the machine see command lines
    /// [default: that of the login at the server]
    #[arg(long, env = "IMGSRV_TOKEN", hide_env_values = true, value_name = "TOKEN", value_parser = secret)]
    token: Option<SecretString>,
    /// A file with the token
    #[arg(long, env = "IMGSRV_TOKEN_FILE", value_name = "FILE", value_parser = path)]
    token_file: Option<PathBuf>,
    /// A shell command that prints a token; it is run again whenever the token expires or is refused
    #[arg(long, env = "IMGSRV_TOKEN_COMMAND", hide_env_values = true, value_name = "COMMAND")]
    token_command: Option<String>,
    /// In GitHub Actions: authenticate as the job, with tokens for this audience [default: the server's URL]
    #[arg(long, value_name = "AUDIENCE", num_args = 0..=1, default_missing_value = "", require_equals = true)]
    oidc_github: Option<String>,
    /// Trust this certificate authority (PEM) as well
    #[arg(long, env = "IMGSRV_CA_FILE", value_name = "FILE", value_parser = path)]
    ca_file: Option<PathBuf>,
    /// For how long a server or network that is away is tried again
    #[arg(long, env = "IMGSRV_RETRY_FOR", default_value = "5m", value_name = "DURATION", value_parser = duration)]
    retry_for: Duration,
    #[arg(long, env = GitHubActions::URL_VARIABLE, hide = true)]
    github_url: Option<String>,
    #[arg(long, env = GitHubActions::TOKEN_VARIABLE, hide = true, hide_env_values = true, value_parser = secret)]
    github_token: Option<SecretString>,
}

/// How the result is printed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputOptions {
    /// Print JSON: an object, or one a line
    #[arg(long)]
    json: bool,
    /// Tell nothing of progress
    #[arg(long, short)]
    quiet: bool,
}

/// The options of every command.
#[derive(Debug, Args)]
pub struct CommonOptions {
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// How a client authenticates.
pub(crate) enum Bearer {
    /// It is anonymous.
    None,
    /// With this token.
    Fixed(SecretString),
    /// With the token that a command prints.
    Command(String),
    /// As a GitHub Actions job, with tokens for this audience.
    GitHub(String),
}

#[expect(clippy::unnecessary_wraps, reason = "as clap wants it")]
fn secret(raw: &str) -> Result<SecretString, String> {
    Ok(raw.trim().into())
}

#[expect(clippy::unnecessary_wraps, reason = "as clap wants it")]
fn path(raw: &str) -> Result<PathBuf, String> {
    Ok(raw.into())
}

/// Parses `500ms`, `5s`, `1m`, `24h`, and `0s`.
fn duration(raw: &str) -> Result<Duration, String> {
    let raw = if raw.is_empty() { "5m" } else { raw };
    let parsed = raw.parse::<jiff::SignedDuration>().ok().and_then(|parsed| Duration::try_from(parsed).ok());
    parsed.ok_or_else(|| "must be a duration such as 30s, 5m or 1h".to_owned())
}

impl CommonOptions {
    pub(crate) fn start(&self) -> Result<(Report, Client), Failure> {
        let report = self.output.report();
        let client = self.server.client(&report)?;
        Ok((report, client))
    }
}

impl OutputOptions {
    pub(crate) fn report(&self) -> Report {
        Report::new(if self.json { Style::Json } else { Style::Text }, self.quiet || self.json)
    }
}

fn read(path: &PathBuf) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::usage(format!("{} could not be read: {error}", path.display())))
}

impl ServerOptions {
    /// The given URL of the server, else that of the last login.
    pub(crate) fn url_with(&self, credentials: &Credentials) -> Result<String, Failure> {
        let given = self.server_url().or_else(|| credentials.server.clone());
        let url = given.ok_or_else(|| {
            Failure::usage("which server? Say --server URL, set IMGSRV_URL, or run imgsrv login once")
        })?;
        Ok(url.trim_end_matches('/').to_owned())
    }

    fn server_url(&self) -> Option<String> {
        self.server.clone().filter(|url| !url.is_empty())
    }

    /// The token that is given as an option, or in a file.
    pub(crate) fn given_token(&self) -> Result<Option<SecretString>, Failure> {
        if let Some(token) = self.token.clone().filter(|token| !token.expose_secret().is_empty()) {
            return Ok(Some(token));
        }
        match self.token_file.as_ref().filter(|path| !path.as_os_str().is_empty()) {
            Some(path) => Ok(Some(String::from_utf8_lossy(&read(path)?).trim().into())),
            None => Ok(None),
        }
    }

    /// A client that reports its retries. Stored credentials are read only if URL or token are not given.
    fn client(&self, report: &Report) -> Result<Client, Failure> {
        let credentials = if self.server_url().is_none() { Credentials::load()? } else { Credentials::default() };
        let url = self.url_with(&credentials)?;
        let bearer = self.bearer(&url)?;
        self.client_with(report, &url, bearer)
    }

    /// The given credential, the most explicit first; else the login at this very server.
    fn bearer(&self, url: &str) -> Result<Bearer, Failure> {
        if let Some(audience) = &self.oidc_github {
            return Ok(Bearer::GitHub(if audience.is_empty() { url.to_owned() } else { audience.clone() }));
        }
        if let Some(token) = self.given_token()? {
            return Ok(Bearer::Fixed(token));
        }
        if let Some(command) = self.token_command.clone().filter(|command| !command.is_empty()) {
            return Ok(Bearer::Command(command));
        }
        Ok(Credentials::load()?.token(url).map_or(Bearer::None, Bearer::Fixed))
    }

    pub(crate) fn client_with(&self, report: &Report, url: &str, bearer: Bearer) -> Result<Client, Failure> {
        let report = report.clone();
        let retry = RetryPolicy::for_up_to(self.retry_for).on_retry(move |error, delay| report.retrying(error, delay));
        let user_agent = concat!("imgsrv/", env!("CARGO_PKG_VERSION"));
        let mut builder = Client::builder(url).retry(retry).user_agent(user_agent);
        if let Some(path) = self.ca_file.as_ref().filter(|path| !path.as_os_str().is_empty()) {
            builder = builder.authority(read(path)?);
        }
        builder = match bearer {
            Bearer::None => builder,
            Bearer::Fixed(token) => builder.token(token),
            Bearer::Command(command) => builder.token_source(TokenCommand::new(command)),
            Bearer::GitHub(audience) => {
                let (Some(url), Some(token)) = (&self.github_url, &self.github_token) else {
                    return Err(Failure::usage(
                        "--oidc-github works in GitHub Actions only, in a job with `permissions: id-token: write`",
                    ));
                };
                builder.token_source(GitHubActions::new(url, token.clone(), audience))
            }
        };
        builder.build().map_err(|error| Failure::usage(error.to_string()))
    }
}
