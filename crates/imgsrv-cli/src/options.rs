//! The options of every command, and what they make: a client of the server that reports its retries.

use crate::{
    cleartext::CleartextOptions,
    credentials::Credentials,
    failure::Failure,
    report::{OutputOptions, Report},
};
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand, builder::Resettable};
use imgsrv_client::{Client, ClientBuilder, GitHubActions, RetryPolicy, TokenCommand};
use secrecy::{ExposeSecret, SecretString};
use std::{
    ffi::OsStr,
    fs, iter,
    path::{Path, PathBuf},
    time::Duration,
};

/// How the server is reached. An empty value counts as not given.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerOptions {
    /// URL of the server, such as `https://images.example.org` [default: the server of the last login]
    #[arg(long, env = "IMGSRV_URL", value_name = "URL")]
    server: Option<String>,
    /// Token to authenticate with. Prefer the variable: other users of this machine can see command lines
    /// [default: the token of the login at the server]
    #[arg(long, env = "IMGSRV_TOKEN", hide_env_values = true, value_name = "TOKEN", value_parser = secret)]
    token: Option<SecretString>,
    /// File that contains the token
    #[arg(long, env = "IMGSRV_TOKEN_FILE", value_name = "FILE", value_parser = path)]
    token_file: Option<PathBuf>,
    /// Shell command that prints a token; it is run again whenever the token expires or is refused
    #[arg(long, env = "IMGSRV_TOKEN_COMMAND", hide_env_values = true, value_name = "COMMAND")]
    token_command: Option<String>,
    /// In GitHub Actions, authenticate as the job, with tokens for this audience [default: the URL of the server]
    #[arg(long, value_name = "AUDIENCE", num_args = 0..=1, default_missing_value = "", require_equals = true)]
    oidc_github: Option<String>,
    /// Certificate authority (PEM) to trust in addition to those of the system [default: that of the login at the server]
    #[arg(long, env = "IMGSRV_CA_FILE", value_name = "FILE", value_parser = path)]
    ca_file: Option<PathBuf>,
    /// How long to retry while the server or the network is unavailable, such as 30s or 10m [default: 5s, and 5m for
    /// publish, upload and download]
    #[arg(long, env = "IMGSRV_RETRY_FOR", value_name = "DURATION", value_parser = retry_for)]
    retry_for: Option<RetryFor>,
    #[command(flatten)]
    pub(crate) cleartext: CleartextOptions,
    #[arg(long, env = GitHubActions::URL_VARIABLE, hide = true)]
    github_url: Option<String>,
    #[arg(long, env = GitHubActions::TOKEN_VARIABLE, hide = true, hide_env_values = true, value_parser = secret)]
    github_token: Option<SecretString>,
}

/// A given retry limit; absent if the value is empty.
#[derive(Debug, Clone, Copy)]
struct RetryFor(Option<Duration>);

/// The default of `--retry-for` for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryLimit {
    /// A person waits: a few seconds.
    Short,
    /// Gigabytes are at stake: minutes.
    Long,
}

impl RetryLimit {
    const fn duration(self) -> Duration {
        match self {
            Self::Short => Duration::from_secs(5),
            Self::Long => Duration::from_mins(5),
        }
    }
}

/// The options of every command.
#[derive(Debug, Args)]
pub(crate) struct CommonOptions {
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// Commands that are run at a server, each with the common options after its own.
#[derive(Debug)]
pub struct Remote<C> {
    pub(crate) command: C,
    pub(crate) common: CommonOptions,
}

/// Adds the common options to a command, or to those below if it only groups them.
fn with_common_options(command: Command) -> Command {
    let command = command.mut_subcommands(with_common_options);
    if command.is_subcommand_required_set() {
        return command;
    }
    // The description of the options would replace that of the command.
    let (about, long_about) = (command.get_about().cloned(), command.get_long_about().cloned());
    CommonOptions::augment_args(command).about(Resettable::from(about)).long_about(Resettable::from(long_about))
}

impl<C: Subcommand> Subcommand for Remote<C> {
    fn augment_subcommands(parent: Command) -> Command {
        C::augment_subcommands(parent).mut_subcommands(|command| {
            if C::has_subcommand(command.get_name()) { with_common_options(command) } else { command }
        })
    }

    fn augment_subcommands_for_update(parent: Command) -> Command {
        Self::augment_subcommands(parent)
    }

    fn has_subcommand(name: &str) -> bool {
        C::has_subcommand(name)
    }
}

impl<C: FromArgMatches> FromArgMatches for Remote<C> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let levels = iter::successors(Some(matches), |matches| matches.subcommand().map(|(_, below)| below));
        let common = CommonOptions::from_arg_matches(levels.last().unwrap_or(matches))?;
        Ok(Self { command: C::from_arg_matches(matches)?, common })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// A client, and where the results of its calls go.
pub(crate) struct Session {
    pub(crate) report: Report,
    pub(crate) client: Client,
}

#[expect(clippy::unnecessary_wraps, reason = "clap requires this signature")]
fn secret(raw: &str) -> Result<SecretString, String> {
    Ok(raw.trim().into())
}

#[expect(clippy::unnecessary_wraps, reason = "clap requires this signature")]
fn path(raw: &str) -> Result<PathBuf, String> {
    Ok(raw.into())
}

/// Parses `500ms`, `5s`, `1m`, `24h`, and `0s`.
fn retry_for(raw: &str) -> Result<RetryFor, String> {
    if raw.is_empty() {
        return Ok(RetryFor(None));
    }
    let parsed = raw.parse::<jiff::SignedDuration>().ok().and_then(|parsed| Duration::try_from(parsed).ok());
    parsed.map(|parsed| RetryFor(Some(parsed))).ok_or_else(|| "must be a duration such as 30s, 5m or 1h".to_owned())
}

/// A value, unless it is empty.
fn given<T: AsRef<OsStr>>(value: Option<&T>) -> Option<&T> {
    value.filter(|value| !value.as_ref().is_empty())
}

impl CommonOptions {
    pub(crate) fn start(&self, retry_limit: RetryLimit) -> Result<Session, Failure> {
        let report = Report::new(&self.output);
        Ok(Session { client: self.server.client(&report, retry_limit)?, report })
    }

    /// The server that the command uses, as far as the options and the last login say.
    pub(crate) fn server(&self) -> Option<String> {
        self.server.url_with(&Credentials::load().unwrap_or_default()).ok()
    }
}

impl ServerOptions {
    /// The given URL of the server, else that of the last login.
    pub(crate) fn url_with(&self, credentials: &Credentials) -> Result<String, Failure> {
        let url = self.url_or(credentials, None).ok_or_else(|| {
            let others = credentials.servers();
            if others.is_empty() {
                return Failure::usage("no server is given, and there is no login")
                    .with_advice("Add --server URL, set IMGSRV_URL, or run imgsrv login --server URL.");
            }
            Failure::usage("no server is given, and you are logged out of the last one")
                .with_advice(format!("Add --server URL or set IMGSRV_URL. There are logins at {others}."))
        })?;
        Ok(url)
    }

    /// The same, or else `default`.
    pub(crate) fn url_or(&self, credentials: &Credentials, default: Option<&str>) -> Option<String> {
        let url = given(self.server.as_ref()).or(credentials.server.as_ref()).map(String::as_str).or(default);
        url.map(|url| url.trim_end_matches('/').to_owned())
    }

    /// What a credential is given with, other than a login.
    pub(crate) fn credential(&self) -> Option<&'static str> {
        let token = self.token.as_ref().is_some_and(|token| !token.expose_secret().is_empty());
        if token {
            return Some("IMGSRV_TOKEN");
        }
        let file = given(self.token_file.as_ref()).map(|_| "IMGSRV_TOKEN_FILE");
        file.or_else(|| given(self.token_command.as_ref()).map(|_| "IMGSRV_TOKEN_COMMAND"))
    }

    /// The token that is given as an option, or in a file.
    pub(crate) fn given_token(&self) -> Result<Option<SecretString>, Failure> {
        if let Some(token) = self.token.clone().filter(|token| !token.expose_secret().is_empty()) {
            return Ok(Some(token));
        }
        given(self.token_file.as_ref()).map(|path| token_in(path)).transpose()
    }

    /// The file of the certificate authority that is given as an option.
    pub(crate) fn ca_file(&self) -> Option<&Path> {
        given(self.ca_file.as_ref()).map(PathBuf::as_path)
    }

    /// The certificate authority that is given as an option.
    pub(crate) fn given_authority(&self) -> Result<Option<String>, Failure> {
        let Some(path) = self.ca_file() else { return Ok(None) };
        let text = fs::read(path).map_err(Failure::unreadable(path))?;
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }

    /// The certificate authority (PEM) to trust for a server: the given one, else that of its login.
    pub(crate) fn authority_of(&self, url: &str) -> Result<Option<String>, Failure> {
        match self.given_authority()? {
            Some(authority) => Ok(Some(authority)),
            None if url.starts_with("https:") => Ok(Credentials::load()?.authority(url).map(str::to_owned)),
            None => Ok(None),
        }
    }

    /// A client that reports its retries. Stored logins are read only if something is not given.
    fn client(&self, report: &Report, retry_limit: RetryLimit) -> Result<Client, Failure> {
        let is_given = given(self.server.as_ref()).is_some();
        let url = self.url_with(&if is_given { Credentials::default() } else { Credentials::load()? })?;
        Ok(self.authenticated(self.builder(report, &url, retry_limit)?, &url)?.build()?)
    }

    /// Sets the given credential, the most explicit first; else the login at this very server.
    fn authenticated(&self, builder: ClientBuilder, url: &str) -> Result<ClientBuilder, Failure> {
        if let Some(audience) = &self.oidc_github {
            let (Some(github_url), Some(github_token)) = (&self.github_url, &self.github_token) else {
                return Err(Failure::usage("--oidc-github works only in a job of GitHub Actions")
                    .with_advice("Give the job `permissions: id-token: write`."));
            };
            self.allow_token(url)?;
            let audience = given(Some(audience)).map_or(url, String::as_str);
            return Ok(builder.token_source(GitHubActions::new(github_url, github_token.clone(), audience)));
        }
        if let Some(token) = self.given_token()? {
            self.allow_token(url)?;
            return Ok(builder.token(token));
        }
        if let Some(command) = given(self.token_command.as_ref()) {
            self.allow_token(url)?;
            return Ok(builder.token_source(TokenCommand::new(command)));
        }
        let stored = Credentials::load()?.token(url);
        Ok(if let Some(token) = stored { builder.token(token) } else { builder })
    }

    /// Refuses to send a given token over plain HTTP to another host. A login at the server was consent already.
    fn allow_token(&self, url: &str) -> Result<(), Failure> {
        let checked = self.cleartext.check(url);
        let is_logged_in = || Credentials::load().is_ok_and(|credentials| credentials.token(url).is_some());
        if checked.is_err() && is_logged_in() { Ok(()) } else { checked }
    }

    /// Builds a client that reports its retries, and is anonymous so far.
    pub(crate) fn builder(
        &self,
        report: &Report,
        url: &str,
        retry_limit: RetryLimit,
    ) -> Result<ClientBuilder, Failure> {
        let report = report.clone();
        let limit = self.retry_for.and_then(|given| given.0).unwrap_or(retry_limit.duration());
        let retry = RetryPolicy::for_up_to(limit).on_retry(move |error, delay| report.retrying(error, delay));
        let user_agent = concat!("imgsrv/", env!("CARGO_PKG_VERSION"));
        let builder = Client::builder(url).retry(retry).user_agent(user_agent);
        Ok(if let Some(authority) = self.authority_of(url)? { builder.authority(authority) } else { builder })
    }
}

/// The token in a file.
pub(crate) fn token_in(path: &Path) -> Result<SecretString, Failure> {
    let text = fs::read(path).map_err(Failure::unreadable(path))?;
    Ok(String::from_utf8_lossy(&text).trim().into())
}
