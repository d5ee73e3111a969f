//! `imgsrv auth audit`.

use crate::{failure::Failure, options::Session, report::date};
use clap::Args;
use futures::{StreamExt, TryStreamExt};
use imgsrv_client::{
    AuditFilter, Client, Error,
    api::{AuditEntry, Principal},
};
use std::collections::HashMap;

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

pub(crate) async fn run(options: AuditOptions, Session { report, client }: &Session) -> Result<(), Failure> {
    let AuditOptions { action, actor, subject, since, until, limit } = options;
    let filter = AuditFilter { action, actor, subject, since, until, ..AuditFilter::default() };
    let entries: Vec<AuditEntry> = client.audit_log(&filter).take(limit).try_collect().await?;
    let names = if report.is_json() { HashMap::new() } else { names(client).await? };
    report.list("entries", ["TIME", "ACTOR", "ACTION", "SUBJECT", "DETAIL"], entries, |entry| {
        let actor = entry.actor.id.unwrap_or(entry.actor.kind);
        let actor = names.get(&actor).cloned().unwrap_or(actor);
        [date(&entry.at), actor, entry.action, entry.subject, entry.detail.unwrap_or_default()]
    })
}

/// The names of principals, by id.
async fn names(client: &Client) -> Result<HashMap<String, String>, Error> {
    client.principals().map_ok(|Principal { id, display_name, .. }| (id, display_name)).try_collect().await
}
