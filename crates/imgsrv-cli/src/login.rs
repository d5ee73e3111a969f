//! `imgsrv login`, `logout` and `whoami`.

use crate::{
    credentials::Credentials,
    failure::Failure,
    options::{CommonOptions, Session},
    report::Report,
};
use imgsrv_client::api::Whoami;
use secrecy::SecretString;
use serde_json::json;
use std::io::{self, IsTerminal, Read};

/// Asks for a token, authenticates with it, and stores it.
pub(crate) async fn login(options: &CommonOptions) -> Result<(), Failure> {
    let report = Report::new(&options.output);
    // A damaged file is replaced.
    let mut credentials = Credentials::load().unwrap_or_default();
    let url = options.server.url_with(&credentials)?;
    let token = options.server.given_token()?.map_or_else(|| ask(&url), Ok)?;
    let who = options.server.builder(&report, &url)?.token(token.clone()).build()?.whoami().await?;
    credentials.log_in(&url, &token);
    let path = credentials.save()?;
    let text = format!("{}\nkept in {}", describe(&who), path.display());
    report.result(&text, &json!({"server": url, "whoami": who, "kept_in": path.display().to_string()}))
}

/// Reads a token from standard input, without echo if it is a terminal.
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

/// Removes the token of the server.
pub(crate) fn logout(options: &CommonOptions) -> Result<(), Failure> {
    let report = Report::new(&options.output);
    // A damaged file is replaced.
    let mut credentials = Credentials::load().unwrap_or_default();
    let url = options.server.url_with(&credentials)?;
    let existed = credentials.log_out(&url);
    credentials.save()?;
    let text = if existed {
        format!("the token of {url} is forgotten; to revoke it, see imgsrv auth tokens revoke")
    } else {
        format!("no token of {url} was kept")
    };
    report.result(&text, &json!({"server": url, "was_there": existed}))
}

pub(crate) async fn whoami(Session { report, client }: &Session) -> Result<(), Failure> {
    let who = client.whoami().await?;
    report.result(&format!("{}\nserver: {}", describe(&who), client.url()), &who)
}

fn describe(who: &Whoami) -> String {
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
