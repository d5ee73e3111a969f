//! `imgsrv auth`: principals, roles, tokens, provisioning rules and the audit log.

use crate::{failure::Failure, options::Session};
use clap::{Args, Subcommand};
use futures::{StreamExt, TryStreamExt};
use imgsrv_client::{
    AuditFilter,
    api::{
        ApiToken, AuditEntry, CreateApiToken, CreatePrincipal, Principal, ProvisioningRule, Reconciliation,
        SaveProvisioningRule,
    },
};
use serde_json::json;
use std::{error::Error, path::PathBuf};

/// Managing authentication.
#[derive(Debug, Subcommand)]
pub enum AuthCommand {
    /// Who may authenticate
    #[command(subcommand)]
    Principals(PrincipalsCommand),
    /// What principals may do
    #[command(subcommand)]
    Roles(RolesCommand),
    /// API tokens
    #[command(subcommand)]
    Tokens(TokensCommand),
    /// Who may write with tokens of an OpenID issuer, such as GitHub's
    #[command(subcommand)]
    Rules(RulesCommand),
    /// What was changed, and by whom: newest first
    Audit(AuditOptions),
}

#[derive(Debug, Subcommand)]
pub enum PrincipalsCommand {
    /// List them
    List,
    /// Make one
    Create {
        /// What people call it
        name: String,
        /// `user` or `service`
        #[arg(long, default_value = "service", value_parser = ["user", "service"])]
        kind: String,
        /// Grant this role at once
        #[arg(long, value_name = "ROLE")]
        role: Vec<String>,
    },
    /// Bar one, with whatever credential it comes
    Deactivate {
        /// Its id
        principal: String,
    },
    /// Let one in again
    Activate {
        /// Its id
        principal: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum RolesCommand {
    /// List them
    List,
    /// Give one to a principal
    Grant {
        /// The principal's id
        principal: String,
        /// The role: `content-writer` or `auth-manager`
        role: String,
    },
    /// Take one from a principal
    Revoke {
        /// The principal's id
        principal: String,
        /// The role
        role: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum TokensCommand {
    /// List those of a principal
    List {
        /// The principal's id
        principal: String,
    },
    /// Issue one; it is printed this once
    Create {
        /// The principal's id
        principal: String,
        /// What people call it
        #[arg(long, value_name = "TEXT")]
        name: Option<String>,
        /// For how long it is good, such as `90d` or `8h`
        #[arg(long, default_value = "90d", value_name = "DURATION", value_parser = lifetime)]
        expires_in: jiff::Span,
    },
    /// Revoke some, at once
    Revoke {
        /// Their ids
        #[arg(required = true)]
        tokens: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// List them
    List,
    /// Show one
    Show {
        /// Its id
        rule: String,
    },
    /// Make or change one, as a JSON file says
    Save {
        /// Its id
        rule: String,
        /// The file: `display_name`, `issuer_url`, `audience`, `forwarded_claims`, `condition`
        file: PathBuf,
    },
    /// Delete one; what it granted stays until it is reconciled
    Delete {
        /// Its id
        rule: String,
    },
    /// Show what it granted and does not grant any more, or take that away
    Reconcile {
        /// Its id
        rule: String,
        /// Take it away
        #[arg(long)]
        apply: bool,
    },
}

#[derive(Debug, Args)]
pub struct AuditOptions {
    /// What was done, such as `role.granted`
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// By whom: a principal's id or a worker's name
    #[arg(long, value_name = "ID")]
    actor: Option<String>,
    /// On what, exactly as it is shown
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Not before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time (RFC 3339)
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// So many rows at most
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    limit: usize,
}

fn lifetime(raw: &str) -> Result<jiff::Span, String> {
    let span = raw.parse::<jiff::Span>().ok().filter(|span| span.is_positive());
    span.ok_or_else(|| "must be a time such as 8h, 90d or 1y".to_owned())
}

pub(crate) async fn run(command: AuthCommand, session: &Session) -> Result<(), Failure> {
    match command {
        AuthCommand::Principals(command) => principals(command, session).await,
        AuthCommand::Roles(command) => roles(command, session).await,
        AuthCommand::Tokens(command) => tokens(command, session).await,
        AuthCommand::Rules(command) => rules(command, session).await,
        AuthCommand::Audit(options) => audit(options, session).await,
    }
}

async fn principals(command: PrincipalsCommand, Session { report, client }: &Session) -> Result<(), Failure> {
    match command {
        PrincipalsCommand::List => {
            let all: Vec<Principal> = client.principals().try_collect().await?;
            report.rows(["ID", "KIND", "NAME", "ROLES", "STATE"], all, |principal| {
                let Principal { id, kind, display_name, role_ids, deactivated_at, .. } = principal;
                let state = deactivated_at.map(|at| format!("deactivated {at}")).unwrap_or_default();
                [id, kind, display_name, role_ids.join(", "), state]
            })
        }
        PrincipalsCommand::Create { name, kind, role } => {
            let roles = client.roles().await?;
            if let Some(unknown) = role.iter().find(|role| !roles.iter().any(|known| known.id == **role)) {
                let known = roles.iter().map(|role| role.id.as_str()).collect::<Vec<_>>().join(", ");
                return Err(Failure::usage(format!("there is no role {unknown}; there are {known}")));
            }
            let new = CreatePrincipal { kind, display_name: name, attributes: None };
            let mut created = client.create_principal(&new).await?;
            for role in role {
                client.grant_role(&created.id, &role).await?;
                created.role_ids.push(role);
            }
            report.result(&created.id, &created)
        }
        PrincipalsCommand::Deactivate { principal } => {
            let changed = client.deactivate_principal(&principal).await?;
            report.result(&format!("{} is barred", changed.display_name), &changed)
        }
        PrincipalsCommand::Activate { principal } => {
            let changed = client.activate_principal(&principal).await?;
            report.result(&format!("{} is let in again", changed.display_name), &changed)
        }
    }
}

async fn roles(command: RolesCommand, Session { report, client }: &Session) -> Result<(), Failure> {
    match command {
        RolesCommand::List => report.rows(["ID", "ALLOWS", "DESCRIPTION"], client.roles().await?, |role| {
            [role.id, role.actions.join(", "), role.description]
        }),
        RolesCommand::Grant { principal, role } => {
            client.grant_role(&principal, &role).await?;
            let json = json!({"principal": principal, "role": role, "granted": true});
            report.result(&format!("{principal} is {role}"), &json)
        }
        RolesCommand::Revoke { principal, role } => {
            client.revoke_role(&principal, &role).await?;
            let json = json!({"principal": principal, "role": role, "granted": false});
            report.result(&format!("{principal} is {role} no more"), &json)
        }
    }
}

async fn tokens(command: TokensCommand, Session { report, client }: &Session) -> Result<(), Failure> {
    match command {
        TokensCommand::List { principal } => {
            let all: Vec<ApiToken> = client.api_tokens(&principal).try_collect().await?;
            report.rows(["ID", "NAME", "EXPIRES", "LAST USED", "REVOKED"], all, |token| {
                let (used, revoked) = (token.last_used_at.unwrap_or_default(), token.revoked_at.unwrap_or_default());
                [token.id, token.name, token.expires_at, used, revoked]
            })
        }
        TokensCommand::Create { principal, name, expires_in } => {
            let expires_at =
                jiff::Zoned::now().checked_add(expires_in).and_then(|at| at.timestamp().round(jiff::Unit::Second));
            let expires_at = expires_at.map_err(|error| Failure::usage(format!("--expires-in: {error}")))?.to_string();
            let issued = client.create_api_token(&principal, &CreateApiToken { name, expires_at }).await?;
            report.note(&format!("good until {}; it is not shown again", issued.expires_at));
            report.result(&issued.plaintext, &issued)
        }
        TokensCommand::Revoke { tokens } => {
            for token in tokens {
                client.revoke_api_token(&token).await?;
                report.result(&format!("{token} is revoked"), &json!({"id": token, "revoked": true}))?;
            }
            Ok(())
        }
    }
}

async fn rules(command: RulesCommand, Session { report, client }: &Session) -> Result<(), Failure> {
    match command {
        RulesCommand::List => {
            let all: Vec<ProvisioningRule> = client.provisioning_rules().try_collect().await?;
            report.rows(["ID", "ISSUER", "AUDIENCE", "CONDITION", "STATE"], all, |rule| {
                let state = if rule.enabled { "enabled" } else { "disabled" };
                [rule.id, rule.issuer_url, rule.audience, rule.condition, state.to_owned()]
            })
        }
        RulesCommand::Show { rule } => {
            let rule = client.provisioning_rule(&rule).await?;
            report.result(&serde_json::to_string_pretty(&rule).unwrap_or_default(), &rule)
        }
        RulesCommand::Save { rule, file } => {
            let invalid = |error: &dyn Error| Failure::usage(format!("{}: {error}", file.display()));
            let text = std::fs::read(&file).map_err(|error| invalid(&error))?;
            let mut save: SaveProvisioningRule = serde_json::from_slice(&text).map_err(|error| invalid(&error))?;
            save.id = Some(rule.clone());
            let saved = match client.update_provisioning_rule(&rule, &save).await {
                Err(error) if error.status() == Some(404) => client.create_provisioning_rule(&save).await?,
                saved => saved?,
            };
            report.result(&format!("{} is saved", saved.id), &saved)
        }
        RulesCommand::Delete { rule } => {
            client.delete_provisioning_rule(&rule).await?;
            let text = format!("{rule} is gone; imgsrv auth rules reconcile {rule} shows what it had granted");
            report.result(&text, &json!({"id": rule, "deleted": true}))
        }
        RulesCommand::Reconcile { rule, apply } => {
            let found = if apply {
                client.apply_reconciliation(&rule).await?
            } else {
                client.preview_reconciliation(&rule, None).await?
            };
            report.result(&describe(&found), &found)
        }
    }
}

fn describe(found: &Reconciliation) -> String {
    if found.principals.is_empty() {
        return format!("{} has granted nothing that it does not grant any more", found.rule_id);
    }
    let what = found.unassign_role_ids.join(", ");
    let done = if found.applied { "was taken from" } else { "would be taken, with --apply, from" };
    let whom = found.principals.iter().map(|principal| format!("\n  {} {}", principal.id, principal.display_name));
    let more = if found.next_cursor.is_some() { "\n  and more" } else { "" };
    format!("{what} {done}{}{more}", whom.collect::<String>())
}

async fn audit(options: AuditOptions, Session { report, client }: &Session) -> Result<(), Failure> {
    let AuditOptions { action, actor, subject, since, until, limit } = options;
    let filter = AuditFilter { action, actor, subject, since, until, ..AuditFilter::default() };
    let entries: Vec<AuditEntry> = client.audit_log(&filter).take(limit).try_collect().await?;
    report.rows(["TIME", "ACTOR", "ACTION", "SUBJECT", "DETAIL"], entries, |entry| {
        let actor = entry.actor.id.unwrap_or(entry.actor.kind);
        [entry.at, actor, entry.action, entry.subject, entry.detail.unwrap_or_default()]
    })
}
