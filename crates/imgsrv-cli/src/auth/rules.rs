//! `imgsrv auth rules`.

use super::principals::role_on;
use crate::{
    failure::{Failure, json_error},
    options::Session,
    report::Column,
};
use clap::Subcommand;
use futures::TryStreamExt;
use imgsrv_client::api::{ProvisioningRule, Reconciliation, SaveProvisioningRule};
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// List provisioning rules
    List,
    /// Show a provisioning rule
    Show {
        /// Id of the rule, such as github
        rule: String,
    },
    /// Create or replace a provisioning rule from a JSON file
    Set {
        /// Id of the rule, such as github
        rule: String,
        /// JSON file with `display_name`, `issuer_url`, `audience`, `forwarded_claims` and `condition`, and optionally
        /// `images` and `assign_role_ids`
        file: PathBuf,
    },
    /// Delete a provisioning rule; the roles that it granted stay until they are reconciled
    Delete {
        /// Id of the rule, such as github
        rule: String,
    },
    /// Show the roles that a rule granted and no longer grants, or revoke them
    Reconcile {
        /// Id of the rule, such as github
        rule: String,
        /// Revoke the roles
        #[arg(long)]
        apply: bool,
    },
}

pub(crate) async fn run(command: RulesCommand, Session { report, client }: &Session) -> Result<(), Failure> {
    match command {
        RulesCommand::List => {
            let all: Vec<ProvisioningRule> = client.provisioning_rules().try_collect().await?;
            let head = [
                Column::name("ID"),
                Column::text("ISSUER"),
                Column::cut("AUDIENCE"),
                Column::cut("CONDITION"),
                Column::text("GRANTS"),
                Column::name("STATE"),
            ];
            report.list("rules", head, all, |rule| {
                let state = if rule.enabled { "enabled" } else { "disabled" };
                let grants = role_on(&rule.assign_role_ids.join(", "), rule.images.as_deref());
                [rule.id, rule.issuer_url, rule.audience, rule.condition, grants, state.to_owned()]
            })
        }
        RulesCommand::Show { rule } => {
            let rule = client.provisioning_rule(&rule).await?;
            report.result(&serde_json::to_string_pretty(&rule).unwrap_or_default(), &rule)
        }
        RulesCommand::Set { rule, file } => {
            let text = std::fs::read(&file).map_err(Failure::unreadable(&file))?;
            let parsed = serde_json::from_slice(&text);
            let mut save: SaveProvisioningRule = parsed.map_err(|error| {
                Failure::usage(format!("{} is not a provisioning rule: {}", file.display(), json_error(&error)))
                    .with_advice("imgsrv auth rules set --help names its fields.")
            })?;
            save.id = Some(rule.clone());
            let saved = match client.update_provisioning_rule(&rule, &save).await {
                Err(error) if error.status() == Some(404) => client.create_provisioning_rule(&save).await,
                saved => saved,
            };
            let saved = saved.map_err(Failure::in_file(&file))?;
            report.result(&format!("saved the rule {}", saved.id), &saved)
        }
        RulesCommand::Delete { rule } => {
            client.delete_provisioning_rule(&rule).await?;
            report.step(&format!("imgsrv auth rules reconcile {rule} shows what it granted"));
            report.result(&format!("deleted the rule {rule}"), &json!({"id": rule, "deleted": true}))
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
        return format!("{} has nothing to revoke", found.rule_id);
    }
    let roles = found.unassign_role_ids.join(", ");
    let done = if found.applied { "revoked" } else { "--apply would revoke" };
    let whom = found.principals.iter().map(|principal| format!("\n  {} {}", principal.id, principal.display_name));
    let more = if found.next_cursor.is_some() { "\n  and more" } else { "" };
    format!("{done} {roles} of{}{more}", whom.collect::<String>())
}
