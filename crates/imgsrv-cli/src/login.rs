//! `imgsrv login`, `logout` and `whoami`.

use crate::{
    failure::Failure,
    options::{Bearer, OutputOptions, ServerOptions},
    settings::Settings,
};
use clap::Args;
use imgsrv_client::api::Whoami;
use secrecy::SecretString;
use serde_json::json;
use std::io::{self, IsTerminal, Read};

#[derive(Debug, Args)]
pub struct LoginOptions {
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
}

/// Asks for a token, finds out whose it is, and remembers it.
pub(crate) async fn login(options: LoginOptions) -> Result<(), Failure> {
    let report = options.output.report();
    let mut settings = Settings::load_to_change();
    let url = options.server.url_with(&settings)?;
    let token = match options.server.given_token()? {
        Some(token) => token,
        None => ask(&url)?,
    };
    let client = options.server.client_with(&report, &url, Bearer::Fixed(token.clone()))?;
    let who = client.whoami().await?;
    settings.log_in(&url, &token);
    let path = settings.save()?;
    let text = format!("{}\nkept in {}", told(&who), path.display());
    report.outcome(&text, &json!({"server": url, "whoami": who, "kept_in": path.display().to_string()}))
}

/// From standard input: typed unseen, or piped in.
fn ask(url: &str) -> Result<SecretString, Failure> {
    let unreadable = |error: io::Error| Failure::usage(format!("no token could be read: {error}"));
    let text = if io::stdin().is_terminal() {
        rpassword::prompt_password(format!("Token for {url}: ")).map_err(unreadable)?
    } else {
        let mut text = String::new();
        io::stdin().take(64 << 10).read_to_string(&mut text).map_err(unreadable)?;
        text
    };
    match text.trim() {
        "" => Err(Failure::usage("no token was given; type it, or pipe it in: imgsrv login < token-file")),
        token => Ok(token.into()),
    }
}

/// Forgets the token of the server.
pub(crate) fn logout(options: &LoginOptions) -> Result<(), Failure> {
    let report = options.output.report();
    let mut settings = Settings::load_to_change();
    let url = options.server.url_with(&settings)?;
    let was_there = settings.log_out(&url);
    settings.save()?;
    let text =
        if was_there { format!("the token of {url} is forgotten") } else { format!("no token of {url} was kept") };
    let advice = "; to revoke it, see imgsrv auth tokens revoke";
    report.outcome(
        &format!("{text}{}", if was_there { advice } else { "" }),
        &json!({"server": url, "was_there": was_there}),
    )
}

pub(crate) async fn whoami(options: LoginOptions) -> Result<(), Failure> {
    let report = options.output.report();
    let client = options.server.client(&report)?;
    let who = client.whoami().await?;
    report.outcome(&format!("{}\nserver: {}", told(&who), client.url()), &who)
}

fn told(who: &Whoami) -> String {
    let Whoami { principal, actions, authentication } = who;
    let actions = if actions.is_empty() { "nothing but what everybody may".to_owned() } else { actions.join(", ") };
    let by = match (&authentication.api_token_name, &authentication.issuer) {
        (Some(name), _) => format!("the API token \"{name}\""),
        (None, Some(issuer)) => format!("{issuer}, as {}", authentication.subject.as_deref().unwrap_or("?")),
        (None, None) => authentication.method.clone(),
    };
    format!(
        "{} ({} {})\nmay: {actions}\nby: {by}, until {}",
        principal.display_name, principal.kind, principal.id, authentication.expires_at
    )
}
