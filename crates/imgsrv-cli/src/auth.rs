//! `imgsrv auth`: principals, roles, tokens, provisioning rules and the audit log.

use crate::{failure::Failure, options::CommonOptions};
use clap::{Args, Subcommand};
use futures::{StreamExt, TryStreamExt};
use imgsrv_client::{
    AuditFilter,
    api::{CreateApiToken, CreatePrincipal, Principal, ProvisioningRule, Reconciliation, SaveProvisioningRule},
};
use serde_json::json;
use std::path::PathBuf;

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
    List {
        #[command(flatten)]
        common: CommonOptions,
    },
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
        #[command(flatten)]
        common: CommonOptions,
    },
    /// Bar one, with whatever credential it comes
    Deactivate {
        /// Its id
        principal: String,
        #[command(flatten)]
        common: CommonOptions,
    },
    /// Let one in again
    Activate {
        /// Its id
        principal: String,
        #[command(flatten)]
        common: CommonOptions,
    },
}

#[derive(Debug, Subcommand)]
pub enum RolesCommand {
    /// List them
    List {
        #[command(flatten)]
        common: CommonOptions,
    },
    /// Give one to a principal
    Grant {
        /// The principal's id
        principal: String,
        /// The role: `content-writer` or `auth-manager`
        role: String,
        #[command(flatten)]
        common: CommonOptions,
    },
    /// Take one from a principal
    Revoke {
        /// The principal's id
        principal: String,
        /// The role
        role: String,
        #[command(flatten)]
        common: CommonOptions,
    },
}

#[derive(Debug, Subcommand)]
pub enum TokensCommand {
    /// List those of a principal
    List {
        /// The principal's id
        principal: String,
        #[command(flatten)]
        common: CommonOptions,
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
        #[command(flatten)]
        common: CommonOptions,
    },
    /// Revoke some, at once
    Revoke {
        /// Their ids
        #[arg(required = true)]
        tokens: Vec<String>,
        #[command(flatten)]
        common: CommonOptions,
    },
}

#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// List them
    List {
        #[command(flatten)]
        common: CommonOptions,
    },
    /// Show one
    Show {
        /// Its id
        rule: String,
        #[command(flatten)]
        common: CommonOptions,
    },
    /// Make or change one, as a JSON file says
    Save {
        /// Its id
        rule: String,
        /// The file: `display_name`, `issuer_url`, `audience`, `forwarded_claims`, `condition`
        file: PathBuf,
        #[command(flatten)]
        common: CommonOptions,
    },
    /// Delete one; what it granted stays until it is reconciled
    Delete {
        /// Its id
        rule: String,
        #[command(flatten)]
        common: CommonOptions,
    },
    /// Show what it granted and does not grant any more, or take that away
    Reconcile {
        /// Its id
        rule: String,
        /// Take it away
        #[arg(long)]
        apply: bool,
        #[command(flatten)]
        common: CommonOptions,
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
    #[command(flatten)]
    common: CommonOptions,
}

fn lifetime(raw: &str) -> Result<jiff::Span, String> {
    let span = raw.parse::<jiff::Span>().ok().filter(|span| span.is_positive());
    span.ok_or_else(|| "must be a time such as 8h, 90d or 1y".to_owned())
}

pub(crate) async fn run(command: AuthCommand) -> Result<(), Failure> {
    match command {
        AuthCommand::Principals(command) => principals(command).await,
        AuthCommand::Roles(command) => roles(command).await,
        AuthCommand::Tokens(command) => tokens(command).await,
        AuthCommand::Rules(command) => rules(command).await,
        AuthCommand::Audit(options) => audit(options).await,
    }
}

async fn principals(command: PrincipalsCommand) -> Result<(), Failure> {
    match command {
        PrincipalsCommand::List { common } => {
            let (report, client) = common.start()?;
            let all: Vec<Principal> = client.principals().try_collect().await?;
            report.rows(["ID", "KIND", "NAME", "ROLES", "STATE"], &all, |principal| {
                let state = principal.deactivated_at.as_ref().map(|at| format!("deactivated {at}")).unwrap_or_default();
                let Principal { id, kind, display_name, role_ids, .. } = principal;
                [id.clone(), kind.clone(), display_name.clone(), role_ids.join(", "), state]
            })
        }
        PrincipalsCommand::Create { name, kind, role, common } => {
            let (report, client) = common.start()?;
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
        PrincipalsCommand::Deactivate { principal, common } => {
            let (report, client) = common.start()?;
            let changed = client.deactivate_principal(&principal).await?;
            report.result(&format!("{} is barred", changed.display_name), &changed)
        }
        PrincipalsCommand::Activate { principal, common } => {
            let (report, client) = common.start()?;
            let changed = client.activate_principal(&principal).await?;
            report.result(&format!("{} is let in again", changed.display_name), &changed)
        }
    }
}

async fn roles(command: RolesCommand) -> Result<(), Failure> {
    match command {
        RolesCommand::List { common } => {
            let (report, client) = common.start()?;
            report.rows(["ID", "ALLOWS", "DESCRIPTION"], &client.roles().await?, |role| {
                [role.id.clone(), role.actions.join(", "), role.description.clone()]
            })
        }
        RolesCommand::Grant { principal, role, common } => {
            let (report, client) = common.start()?;
            client.grant_role(&principal, &role).await?;
            let json = json!({"principal": principal, "role": role, "granted": true});
            report.result(&format!("{principal} is {role}"), &json)
        }
        RolesCommand::Revoke { principal, role, common } => {
            let (report, client) = common.start()?;
            client.revoke_role(&principal, &role).await?;
            let json = json!({"principal": principal, "role": role, "granted": false});
            report.result(&format!("{principal} is {role} no more"), &json)
        }
    }
}

async fn tokens(command: TokensCommand) -> Result<(), Failure> {
    match command {
        TokensCommand::List { principal, common } => {
            let (report, client) = common.start()?;
            let all: Vec<_> = client.api_tokens(&principal).try_collect().await?;
            report.rows(["ID", "NAME", "EXPIRES", "LAST USED", "REVOKED"], &all, |token| {
                let time = |time: &Option<String>| time.clone().unwrap_or_default();
                let (used, revoked) = (time(&token.last_used_at), time(&token.revoked_at));
                [token.id.clone(), token.name.clone(), token.expires_at.clone(), used, revoked]
            })
        }
        TokensCommand::Create { principal, name, expires_in, common } => {
            let (report, client) = common.start()?;
            let expires_at =
                jiff::Zoned::now().checked_add(expires_in).and_then(|at| at.timestamp().round(jiff::Unit::Second));
            let expires_at = expires_at.map_err(|error| Failure::usage(format!("--expires-in: {error}")))?.to_string();
            let issued = client.create_api_token(&principal, &CreateApiToken { name, expires_at }).await?;
            report.note(&format!("good until {}; it is not shown again", issued.expires_at));
            report.result(&issued.plaintext, &issued)
        }
        TokensCommand::Revoke { tokens, common } => {
            let (report, client) = common.start()?;
            for token in tokens {
                client.revoke_api_token(&token).await?;
                report.result(&format!("{token} is revoked"), &json!({"id": token, "revoked": true}))?;
            }
            Ok(())
        }
    }
}

async fn rules(command: RulesCommand) -> Result<(), Failure> {
    match command {
        RulesCommand::List { common } => {
            let (report, client) = common.start()?;
            let all: Vec<ProvisioningRule> = client.provisioning_rules().try_collect().await?;
            report.rows(["ID", "ISSUER", "AUDIENCE", "CONDITION", "STATE"], &all, |rule| {
                let state = if rule.enabled { "enabled" } else { "disabled" };
                let ProvisioningRule { id, issuer_url, audience, condition, .. } = rule.clone();
                [id, issuer_url, audience, condition, state.to_owned()]
            })
        }
        RulesCommand::Show { rule, common } => {
            let (report, client) = common.start()?;
            let rule = client.provisioning_rule(&rule).await?;
            let text = serde_json::to_string_pretty(&rule).unwrap_or_default();
            report.result(&text, &rule)
        }
        RulesCommand::Save { rule, file, common } => {
            let invalid = |why: String| Failure::usage(format!("{}: {why}", file.display()));
            let text = std::fs::read(&file).map_err(|error| invalid(error.to_string()))?;
            let mut save: SaveProvisioningRule =
                serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
            save.id = Some(rule.clone());
            let (report, client) = common.start()?;
            let saved = match client.update_provisioning_rule(&rule, &save).await {
                Err(error) if error.status() == Some(404) => client.create_provisioning_rule(&save).await?,
                saved => saved?,
            };
            report.result(&format!("{} is saved", saved.id), &saved)
        }
        RulesCommand::Delete { rule, common } => {
            let (report, client) = common.start()?;
            client.delete_provisioning_rule(&rule).await?;
            let text = format!("{rule} is gone; imgsrv auth rules reconcile {rule} shows what it had granted");
            report.result(&text, &json!({"id": rule, "deleted": true}))
        }
        RulesCommand::Reconcile { rule, apply, common } => {
            let (report, client) = common.start()?;
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

async fn audit(options: AuditOptions) -> Result<(), Failure> {
    let (report, client) = options.common.start()?;
    let mut filter = AuditFilter::default();
    filter.action = options.action;
    filter.actor = options.actor;
    filter.subject = options.subject;
    filter.since = options.since;
    filter.until = options.until;
    let entries: Vec<_> = client.audit_log(&filter).take(options.limit).try_collect().await?;
    report.rows(["TIME", "ACTOR", "ACTION", "SUBJECT", "DETAIL"], &entries, |entry| {
        let actor = entry.actor.id.clone().unwrap_or_else(|| entry.actor.kind.clone());
        let detail = entry.detail.clone().unwrap_or_default();
        [entry.at.clone(), actor, entry.action.clone(), entry.subject.clone(), detail]
    })
}
