//! `imgsrv auth audit list`.

use crate::{
    failure::Failure,
    options::Session,
    report::{Column, date},
};
use clap::{Args, Subcommand};
use futures::{StreamExt, TryStreamExt};
use imgsrv_client::{
    AuditFilter,
    api::{AuditActor, AuditEntry},
};

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List the audit log, newest entries first
    List(AuditOptions),
}

#[derive(Debug, Args)]
pub struct AuditOptions {
    /// Action, such as role.granted
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Actor: the id of a principal, or the name of a worker
    #[arg(long, value_name = "ID")]
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
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    limit: usize,
}

pub(crate) async fn run(
    AuditCommand::List(options): AuditCommand,
    Session { report, client }: &Session,
) -> Result<(), Failure> {
    let AuditOptions { action, actor, subject, since, until, limit } = options;
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
