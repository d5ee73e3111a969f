//! `imgsrv init`: from the bootstrap token of a new server to a login of a person who can publish.

use crate::{
    auth::tokens,
    credentials::Credentials,
    failure::Failure,
    incus_remote,
    login::{ask, describe},
    options::{CommonOptions, RetryLimit, token_in},
    report::{Report, date, indent},
};
use clap::Args;
use futures::TryStreamExt;
use imgsrv_client::{
    Client,
    api::{CreateApiToken, CreatePrincipal, Principal, ProblemCode, Whoami},
};
use imgsrv_domain::auth::Role;
use secrecy::SecretString;
use serde_json::json;
use std::path::PathBuf;

/// Where a server listens by default.
const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";

#[derive(Debug, Args)]
pub struct InitOptions {
    /// Name of the first user
    #[arg(long, env = "USER", default_value = "admin", hide_env = true, value_name = "NAME")]
    name: String,
    /// Lifetime of the user's token, such as 90d or 1y
    #[arg(long, default_value = "90d", value_name = "DURATION", value_parser = tokens::lifetime)]
    expires_in: jiff::Span,
    /// Grant the role content-writer only: the user can publish, but neither retire versions nor manage users
    #[arg(long)]
    publisher_only: bool,
    #[arg(long, env = "IMGSRV_BOOTSTRAP_TOKEN", hide = true, hide_env_values = true, value_name = "TOKEN")]
    bootstrap_token: Option<String>,
    /// File with the bootstrap token [default: the variable `IMGSRV_BOOTSTRAP_TOKEN`, else standard input]
    #[arg(long, value_name = "FILE")]
    bootstrap_token_file: Option<PathBuf>,
}

pub(crate) async fn init(init: &InitOptions, options: &CommonOptions) -> Result<(), Failure> {
    let report = Report::new(&options.output);
    // A damaged file is replaced.
    let mut credentials = Credentials::load().unwrap_or_default();
    let url = options.server.url_or(&credentials, Some(DEFAULT_SERVER)).unwrap_or_default();
    options.server.cleartext.check(&url)?;
    let with = |token: SecretString| -> Result<Client, Failure> {
        Ok(options.server.builder(&report, &url, RetryLimit::Short)?.token(token).build()?)
    };
    let mut login = None;
    if let Some(token) = credentials.token(&url) {
        let client = with(token)?;
        login = authenticated(&client).await?.map(|who| (client, who));
    }
    let manager = match login {
        // Such as that of a bootstrap token: it can create users, but cannot publish.
        Some((client, who)) if may(&who, MANAGE) && !may(&who, PUBLISH) => client,
        Some((_, who)) => {
            let text = format!(
                "You are logged in to {url} already; nothing was changed.\n  {}\n\
                 To log in as another user, run imgsrv logout first.",
                indent(&describe(&who))
            );
            report.prose(&text, &json!({"server": url, "created": false, "principal": who.principal}))?;
            let next = Next { publish: may(&who, PUBLISH), manage: may(&who, MANAGE) };
            return report.hints(&next.steps(&url, &trust(options, &url, &report).await?));
        }
        None => with(init.bootstrap_token(&url)?)?,
    };
    let who = manager.whoami().await.map_err(|error| explain(error, &url))?;
    if !may(&who, MANAGE) {
        return Err(Failure::refused(format!(
            "the token of {} may not manage authentication",
            who.principal.display_name
        ))
        .with_advice("Use the bootstrap token, which the server prints at its first start."));
    }
    let (principal, created) = init.user(&manager).await?;
    let expires_at = tokens::expiry(&init.expires_in)?;
    let name = format!("imgsrv init on {}", rustix::system::uname().nodename().to_string_lossy());
    let issued = manager
        .create_api_token(&principal.id, &CreateApiToken { name: Some(name), expires_at, role_ids: None, images: None })
        .await?;
    credentials.log_in(&url, &issued.plaintext.clone().into(), options.server.given_authority()?);
    let path = credentials.save()?;
    let text = format!(
        "{} the user {}, with these roles:\n  {}\nLogged in to {url} until {}.\nThe login is stored in {}.",
        if created { "Created" } else { "Found" },
        principal.display_name,
        principal.role_ids.join(", "),
        date(&issued.expires_at),
        path.display()
    );
    let result = json!({
        "server": url, "created": created, "principal": principal, "token_expires_at": issued.expires_at,
        "stored_in": path.display().to_string(),
    });
    report.prose(&text, &result)?;
    let next = Next { publish: true, manage: !init.publisher_only };
    report.hints(&next.steps(&url, &trust(options, &url, &report).await?))
}

/// What makes Incus on any machine trust the server.
async fn trust(options: &CommonOptions, url: &str, report: &Report) -> Result<String, Failure> {
    if url.starts_with("https:") {
        incus_remote::trust(&options.server, url, "incus", "imgsrv", report).await
    } else {
        Ok(String::new())
    }
}

/// The permissions that decide what comes next.
const PUBLISH: &str = "content.write";
const MANAGE: &str = "auth.manage";

fn may(who: &Whoami, action: &str) -> bool {
    who.actions.iter().any(|granted| granted == action)
}

impl InitOptions {
    fn bootstrap_token(&self, url: &str) -> Result<SecretString, Failure> {
        if let Some(path) = &self.bootstrap_token_file {
            return token_in(path);
        }
        match self.bootstrap_token.as_deref().map(str::trim).filter(|token| !token.is_empty()) {
            Some(token) => Ok(token.into()),
            None => ask(&format!("Bootstrap token, which {url} printed at its first start: ")).map_err(|error| {
                error.with_advice(
                    "The server prints it at its first start, and imgsrv admin bootstrap prints a new one.",
                )
            }),
        }
    }

    /// The user with this name and the roles, and whether it was created.
    async fn user(&self, manager: &Client) -> Result<(Principal, bool), Failure> {
        let principals: Vec<Principal> = manager.principals().try_collect().await?;
        let is_wanted =
            |one: &Principal| one.kind == "user" && one.display_name == self.name && one.deactivated_at.is_none();
        let existing = principals.into_iter().find(is_wanted);
        let created = existing.is_none();
        let mut principal = match existing {
            Some(existing) => existing,
            None => {
                let new =
                    CreatePrincipal { kind: "user".to_owned(), display_name: self.name.clone(), attributes: None };
                manager.create_principal(&new).await?
            }
        };
        // A manager of authentication can grant itself every role anyway, so a smaller set would protect nothing.
        for role in if self.publisher_only { &[Role::ContentWriter] } else { Role::ALL } {
            if !principal.role_ids.iter().any(|id| id == role.as_str()) {
                manager.grant_role(&principal.id, role.as_str()).await?;
                principal.role_ids.push(role.to_string());
            }
        }
        Ok((principal, created))
    }
}

/// Who a stored token authenticates; `None` if the server refuses it.
async fn authenticated(client: &Client) -> Result<Option<Whoami>, Failure> {
    match client.whoami().await {
        Err(error) if matches!(error.status(), Some(401 | 403)) => Ok(None),
        who => Ok(Some(who?)),
    }
}

fn explain(error: imgsrv_client::Error, url: &str) -> Failure {
    let is_refused = error.status() == Some(401);
    let is_exposed = error.code() == Some(ProblemCode::CredentialInClear);
    let failure = Failure::from(error);
    if is_exposed {
        // Nobody but the holder of this token can manage tokens over the API yet.
        return failure.with_advice(
            "Use https:// in the URL, and another token: on the server's machine, imgsrv admin bootstrap prints a new one, \
             and imgsrv admin tokens revoke revokes this one.",
        );
    }
    if !is_refused {
        return failure;
    }
    failure
        .with_message(format!("{url} does not accept this bootstrap token"))
        .with_advice("It is valid for 24 hours. imgsrv admin bootstrap, on the server's machine, prints a new one.")
}

/// What the user may do next.
struct Next {
    publish: bool,
    manage: bool,
}

impl Next {
    /// What to type next. The command for Incus begins with `trust`.
    fn steps(&self, url: &str, trust: &str) -> String {
        let mut lines = Vec::new();
        if self.publish {
            lines.push("imgsrv publish debian 12.5.0 debian-12-amd64.qcow2 --alias latest --incus".to_owned());
        }
        lines.push("imgsrv download debian".to_owned());
        lines.push(if url.starts_with("https:") {
            format!("{trust}incus remote add imgsrv {url} --protocol simplestreams")
        } else {
            "Incus needs HTTPS: start the server with --tls-self-signed or --tls-cert.".to_owned()
        });
        if self.manage {
            lines.push("imgsrv auth principals create ci --role content-writer".to_owned());
        }
        format!("\nNext:\n  {}", lines.join("\n  "))
    }
}
