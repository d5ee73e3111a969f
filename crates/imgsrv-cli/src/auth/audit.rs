//! `imgsrv auth audit list`.

use super::principals;
use crate::{
    count::count,
    failure::Failure,
    options::Session,
    report::{Column, date},
};
use clap::{Args, Subcommand};
use futures::{StreamExt, TryStreamExt};
use imgsrv_client::{
    AuditFilter, Client,
    api::{AuditActor, AuditEntry, Principal},
};
use imgsrv_domain::audit::AuditAction;

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List the audit log, newest entries first
    List(AuditOptions),
}

#[derive(Debug, Args)]
pub struct AuditOptions {
    /// Action, such as role.granted
    #[arg(long, value_name = "ACTION", value_parser = action)]
    action: Option<String>,
    /// Actor: the name or id of a principal, or the name of a worker
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Subject, exactly as the list shows it
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Earliest time (RFC 3339), such as 2026-11-28T00:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Time before which the entries are (RFC 3339)
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Maximum number of entries
    #[arg(long, default_value_t = 100, value_name = "COUNT", value_parser = count::<usize>(1..))]
    limit: usize,
}

/// Checks the name of an action.
fn action(raw: &str) -> Result<String, String> {
    let known = || AuditAction::ALL.iter().map(|action| action.as_str()).collect::<Vec<_>>().join(", ");
    let parsed = raw.parse::<AuditAction>().map(|action| action.to_string());
    parsed.map_err(|_| format!("there is no such action; the actions are {}", known()))
}

/// The id of the principal with this name or id; what is not the name of a principal may be that of a worker.
async fn actor_id(client: &Client, actor: String) -> Result<String, Failure> {
    if principals::is_id(&actor) {
        return Ok(actor);
    }
    let all: Vec<Principal> = match client.principals().try_collect().await {
        // A caller who may only read the audit log.
        Err(error) if error.status() == Some(403) => return Ok(actor),
        all => all?,
    };
    Ok(principals::named(&all, &actor)?.map_or(actor, |principal| principal.id.clone()))
}

pub(crate) async fn run(
    AuditCommand::List(options): AuditCommand,
    Session { report, client }: &Session,
) -> Result<(), Failure> {
    let AuditOptions { action, actor, subject, since, until, limit } = options;
    let actor = match actor {
        Some(actor) => Some(actor_id(client, actor).await?),
        None => None,
    };
    let filter = AuditFilter { action, actor, subject, since, until, ..AuditFilter::default() };
    let entries: Vec<AuditEntry> = client.audit_log(&filter).take(limit).try_collect().await?;
    let head = [
        Column::time("TIME"),
        Column::cut("ACTOR"),
        Column::name("ACTION"),
        Column::id("SUBJECT"),
        Column::id("DETAIL"),
        Column::least("ACTOR ID"),
    ];
    report.list("entries", head, entries, |entry| {
        let AuditActor { kind, id, name } = entry.actor;
        let actor = name.or_else(|| id.clone()).unwrap_or(kind);
        // The id tells principals of the same name apart.
        let id = id.filter(|id| *id != actor).unwrap_or_default();
        [date(&entry.at), actor, entry.action, entry.subject, entry.detail.unwrap_or_default(), id]
    })
}
