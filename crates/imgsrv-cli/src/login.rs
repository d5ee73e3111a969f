//! `imgsrv login`, `logout` and `whoami`.

use crate::{
    auth::principals,
    credentials::Credentials,
    failure::Failure,
    options::{CommonOptions, RetryLimit, Session},
    report::{Report, date},
};
use clap::Args;
use imgsrv_client::api::{Permission, Whoami};
use secrecy::SecretString;
use serde_json::json;
use std::io::{self, IsTerminal, Read};

#[derive(Debug, Args)]
pub struct LoginOptions {
    /// Use the token of the login at this URL: that of the same server, such as before it used HTTPS
    #[arg(long, value_name = "URL")]
    token_of: Option<String>,
}

impl LoginOptions {
    /// The token that is given, or stored for another URL, or typed.
    fn token(&self, url: &str, credentials: &Credentials, options: &CommonOptions) -> Result<SecretString, Failure> {
        if let Some(other) = &self.token_of {
            return credentials.token(other.trim_end_matches('/')).ok_or_else(|| {
                Failure::usage(format!("there is no login at {other}")).with_advice(match credentials.servers() {
                    none if none.is_empty() => "There are no logins.".to_owned(),
                    servers => format!("There are logins at {servers}."),
                })
            });
        }
        if let Some(token) = options.server.given_token()? {
            return Ok(token);
        }
        if let Some(last) = credentials.server.as_deref().filter(|last| *last != url && io::stdin().is_terminal()) {
            Report::new(&options.output)
                .step(&format!("If this is the server of {last}, --token-of {last} uses its token."));
        }
        ask(&format!("Token for {url}: "))
    }
}

const REFUSED: &str =
    "The token is incomplete, expired or revoked. A manager creates a new one: imgsrv auth tokens create NAME";

/// Asks for a token, authenticates with it, and stores it.
pub(crate) async fn login(login: &LoginOptions, options: &CommonOptions) -> Result<(), Failure> {
    let report = Report::new(&options.output);
    // A damaged file is replaced.
    let mut credentials = Credentials::load().unwrap_or_default();
    let url = options.server.url_with(&credentials)?;
    options.server.cleartext.check(&url)?;
    let token = login.token(&url, &credentials, options)?;
    let client = options.server.builder(&report, &url, RetryLimit::Short)?.token(token.clone()).build()?;
    let who = client.whoami().await.map_err(|error| {
        let is_refused = error.status() == Some(401);
        let failure = Failure::from(error);
        if is_refused { failure.with_advice(REFUSED) } else { failure }
    })?;
    credentials.log_in(&url, &token, options.server.given_authority()?);
    let path = credentials.save()?;
    let text = format!("Logged in to {url}.\n{}\nThe login is stored in {}.", describe(&who), path.display());
    report.prose(&text, &json!({"server": url, "whoami": who, "stored_in": path.display().to_string()}))
}

/// Reads a token from standard input, without echo if it is a terminal.
pub(crate) fn ask(prompt: &str) -> Result<SecretString, Failure> {
    let unreadable = |error: io::Error| Failure::usage(format!("cannot read a token: {error}"));
    let text = if io::stdin().is_terminal() {
        rpassword::prompt_password(prompt).map_err(unreadable)?
    } else {
        let mut text = String::new();
        io::stdin().take(64 << 10).read_to_string(&mut text).map_err(unreadable)?;
        text
    };
    match text.trim() {
        "" => Err(Failure::usage("no token was given on standard input")
            .with_advice("Type it, or pipe it: imgsrv login < token-file")),
        token => Ok(token.into()),
    }
}

/// Removes the login at the server.
pub(crate) fn logout(options: &CommonOptions) -> Result<(), Failure> {
    let report = Report::new(&options.output);
    // A damaged file is replaced.
    let mut credentials = Credentials::load().unwrap_or_default();
    let url = options.server.url_with(&credentials)?;
    let existed = credentials.log_out(&url);
    credentials.save()?;
    let mut text = if existed {
        format!(
            "Logged out of {url}: the token was deleted from this machine. It stays valid until it expires, or until a manager \
             revokes it with imgsrv auth tokens revoke."
        )
    } else {
        format!("There was no login at {url}.")
    };
    if let Some(variable) = options.server.credential() {
        text += &format!("\n{variable} is still set, and commands use it.");
    }
    report.prose(&text, &json!({"server": url, "was_logged_in": existed}))
}

pub(crate) async fn whoami(Session { report, client }: &Session) -> Result<(), Failure> {
    let who = client.whoami().await?;
    report.prose(&format!("{}\nserver: {}", describe(&who), client.url()), &who)
}

/// A principal, what it may do, and its credential.
pub(crate) fn describe(who: &Whoami) -> String {
    let Whoami { principal, authentication, .. } = who;
    let actions = permissions(who);
    let by = match (&authentication.api_token_name, &authentication.issuer) {
        (Some(name), _) => format!("API token \"{name}\""),
        (None, Some(issuer)) => format!("{issuer} as {}", authentication.subject.as_deref().unwrap_or("?")),
        (None, None) => authentication.method.clone(),
    };
    let roles = if principal.roles.is_empty() { "none".to_owned() } else { principals::roles(principal) };
    let limits = principals::limits(authentication.role_ids.as_deref(), authentication.images.as_deref());
    let limits = limits.map(|limits| format!(", limited to {limits}")).unwrap_or_default();
    format!(
        "{} ({} {})\nroles: {roles}\nmay: {actions}\nby: {by}{limits}, expires {}",
        principal.display_name,
        principal.kind,
        principal.id,
        date(&authentication.expires_at)
    )
}

/// What a credential allows, and on which images; actions that it allows on the same images together.
fn permissions(who: &Whoami) -> String {
    if who.permissions.is_empty() {
        // A server that is older says nothing of images.
        return if who.actions.is_empty() { "nothing beyond public access".to_owned() } else { who.actions.join(", ") };
    }
    let mut groups: Vec<(&Permission, Vec<&str>)> = Vec::new();
    for one in &who.permissions {
        let same = |(first, _): &&mut (&Permission, Vec<&str>)| {
            (&first.images, &first.within_images) == (&one.images, &one.within_images)
        };
        match groups.iter_mut().find(same) {
            Some((_, actions)) => actions.push(&one.action),
            None => groups.push((one, vec![&one.action])),
        }
    }
    let shown = groups.iter().map(|(Permission { images, within_images, .. }, actions)| {
        let shown = principals::role_on(&actions.join(", "), images.as_deref());
        let only = within_images.as_ref().map(|within| format!(", of these only on {}", within.join(" ")));
        shown + &only.unwrap_or_default()
    });
    shown.collect::<Vec<_>>().join("; ")
}
