//! `imgsrv auth tokens`.

use super::principals;
use crate::{failure::Failure, options::Session, report::date};
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
            report.list("api_tokens", ["ID", "NAME", "EXPIRES", "LAST USED", "REVOKED"], all, |token| {
                let shown = |time: Option<String>| time.as_deref().map(date).unwrap_or_default();
                let expires = date(&token.expires_at);
                [token.id, token.name, expires, shown(token.last_used_at), shown(token.revoked_at)]
            })
        }
        TokensCommand::Create { principal, name, expires_in } => {
            let principal = principals::find(client, &principal).await?;
            let new = CreateApiToken { name, expires_at: expiry(&expires_in)? };
            let issued = client.create_api_token(&principal.id, &new).await?;
            let until = date(&issued.expires_at);
            report.step(&format!("token of {}, valid until {until}; it is not shown again", principal.display_name));
            // The token alone, for files and shell variables.
            report.result(&issued.plaintext, &issued)
        }
        TokensCommand::Revoke { tokens } => {
            for token in &tokens {
                client.revoke_api_token(token).await?;
                report.part(&format!("revoked the token {token}"))?;
            }
            if report.is_json() { report.result("", &json!({"revoked": tokens})) } else { Ok(()) }
        }
    }
}
