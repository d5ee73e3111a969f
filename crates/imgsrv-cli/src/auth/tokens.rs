//! `imgsrv auth tokens`.

use super::principals;
use crate::{
    failure::Failure,
    options::Session,
    report::{Column, date},
};
use clap::Subcommand;
use futures::TryStreamExt;
use imgsrv_client::api::{ApiToken, CreateApiToken};
use serde_json::json;

#[derive(Debug, Subcommand)]
pub enum TokensCommand {
    /// List the API tokens of a principal
    List {
        /// Name or id of the principal
        principal: String,
    },
    /// Create an API token for a principal; the token is printed once
    Create {
        /// Name or id of the principal
        principal: String,
        /// Name of the token, such as laptop
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// Lifetime, such as 8h, 90d or 1y
        #[arg(long, default_value = "90d", value_name = "DURATION", value_parser = lifetime)]
        expires_in: jiff::Span,
        /// Limit the token to reading
        #[arg(long, conflicts_with = "roles")]
        read_only: bool,
        /// Limit the token to what this role allows. Repeat the option for several
        #[arg(long = "role", value_name = "ROLE", value_parser = principals::role_name)]
        roles: Vec<String>,
        /// Limit the token to images whose name matches, such as 'debian-*'. Repeat the option for several
        #[arg(long = "image", value_name = "PATTERN")]
        images: Vec<String>,
    },
    /// Change when an API token expires
    ///
    /// A token that has expired is valid again; a revoked one stays revoked.
    Set {
        /// Id of the token
        #[arg(value_name = "TOKEN")]
        id: String,
        /// Lifetime from now on, such as 8h, 90d or 1y
        #[arg(long, alias = "expires", value_name = "DURATION", value_parser = lifetime)]
        expires_in: jiff::Span,
    },
    /// Revoke API tokens with immediate effect
    #[command(alias = "delete")]
    Revoke {
        /// Ids of the tokens
        #[arg(required = true, value_name = "TOKEN")]
        tokens: Vec<String>,
    },
}

/// Parses a lifetime.
pub(crate) fn lifetime(raw: &str) -> Result<jiff::Span, String> {
    let span = raw.parse::<jiff::Span>().ok().filter(|span| span.is_positive());
    span.ok_or_else(|| "must be a duration such as 8h, 90d or 1y".to_owned())
}

/// When a token that is issued now expires.
pub(crate) fn expiry(lifetime: &jiff::Span) -> Result<String, Failure> {
    let at = jiff::Zoned::now().checked_add(*lifetime).and_then(|at| at.timestamp().round(jiff::Unit::Second));
    Ok(at.map_err(|error| Failure::usage(format!("--expires-in is not valid: {error}")))?.to_string())
}

pub(crate) async fn run(command: TokensCommand, Session { report, client }: &Session) -> Result<(), Failure> {
    match command {
        TokensCommand::List { principal } => {
            let principal = principals::find(client, &principal).await?;
            let all: Vec<ApiToken> = client.api_tokens(&principal.id).try_collect().await?;
            let head = [
                Column::id("ID"),
                Column::text("NAME"),
                Column::day("EXPIRES"),
                Column::day("LAST USED"),
                Column::day("REVOKED"),
            ];
            report.list("api_tokens", head, all, |token| {
                let shown = |time: Option<String>| time.as_deref().map(date).unwrap_or_default();
                let expires = date(&token.expires_at);
                let limits = principals::limits(token.role_ids.as_deref(), token.images.as_deref());
                let name = token.name + &limits.map(|limits| format!(" ({limits})")).unwrap_or_default();
                [token.id, name, expires, shown(token.last_used_at), shown(token.revoked_at)]
            })
        }
        TokensCommand::Create { principal, name, expires_in, read_only, roles, images } => {
            let principal = principals::find(client, &principal).await?;
            let roles = if read_only { vec!["content-reader".to_owned()] } else { roles };
            let some = |values: Vec<String>| (!values.is_empty()).then_some(values);
            let expires_at = expiry(&expires_in)?;
            let new = CreateApiToken { name, expires_at, role_ids: some(roles), images: some(images) };
            let issued = client.create_api_token(&principal.id, &new).await?;
            let until = date(&issued.expires_at);
            report.step(&format!("token of {}, valid until {until}; it is not shown again", principal.display_name));
            // The token alone, for files and shell variables.
            report.result(&issued.plaintext, &issued)
        }
        TokensCommand::Set { id, expires_in } => {
            let changed = client.set_api_token_expiry(&id, &expiry(&expires_in)?).await?;
            let until = date(&changed.expires_at);
            report.result(&format!("the token {} ({}) is valid until {until}", changed.id, changed.name), &changed)
        }
        TokensCommand::Revoke { tokens } => {
            let mut revoked = Vec::new();
            let mut done = Ok(());
            for token in tokens {
                done = client.revoke_api_token(&token).await.map_err(Failure::from);
                if done.is_err() {
                    break;
                }
                report.part(&format!("revoked the token {token}"))?;
                revoked.push(token);
            }
            // Also what was revoked before one failed.
            if report.is_json() && (done.is_ok() || !revoked.is_empty()) {
                report.result("", &json!({"revoked": revoked}))?;
            }
            done
        }
    }
}
