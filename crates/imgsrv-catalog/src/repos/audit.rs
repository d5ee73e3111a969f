//! The audit trail.

use crate::{Connection, SqlTx, core::value::values};
use async_trait::async_trait;
use imgsrv_domain::{
    audit::AuditEntry,
    ports::{AuditLog, CatalogError},
};

const INSERT: &str = "INSERT INTO audit_log (at, actor_kind, actor, request_id, address, action, subject, detail)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

/// Rows by one column with an index, newest first, after the one where an earlier page ended.
macro_rules! list {
    ($by:literal) => {
        concat!(
            "SELECT id, at, actor_kind, actor, request_id, address, action, subject, detail FROM audit_log
            WHERE ",
            $by,
            " at >= $1 AND (at, id) < ($2, $3)
            AND (CAST($5 AS TEXT) IS NULL OR action = $5) AND (CAST($6 AS TEXT) IS NULL OR actor = $6)
            AND (CAST($7 AS TEXT) IS NULL OR subject = $7) AND (CAST($8 AS TEXT) IS NULL OR request_id = $8)
            AND (CAST($9 AS TEXT) IS NULL OR actor_kind = $9) ORDER BY at DESC, id DESC LIMIT $4"
        )
    };
}
pub(crate) const LIST: &str = list!("");
pub(crate) const LIST_BY_ACTION: &str = list!("action = $5 AND");
pub(crate) const LIST_BY_ACTOR: &str = list!("actor = $6 AND");
pub(crate) const LIST_BY_SUBJECT: &str = list!("subject = $7 AND");
pub(crate) const LIST_BY_REQUEST: &str = list!("request_id = $8 AND");
pub(crate) const STATEMENTS: &[&str] = &[INSERT, LIST, LIST_BY_ACTION, LIST_BY_ACTOR, LIST_BY_SUBJECT, LIST_BY_REQUEST];

/// The log line of a row that is durable.
pub(crate) fn log(entry: &AuditEntry) {
    let actor = &entry.actor;
    tracing::info!(
        target: "imgsrv::audit",
        action = %entry.event.action,
        subject = entry.event.subject,
        detail = entry.event.detail,
        actor.kind = %actor.kind(),
        actor.id = actor.id(),
        request.id = actor.request_id(),
        client.address = actor.address(),
        "audit"
    );
}

#[async_trait]
impl<C: Connection> AuditLog for SqlTx<C> {
    async fn append_audit(&mut self, entry: &AuditEntry) -> Result<(), CatalogError> {
        let actor = &entry.actor;
        let values = values![
            entry.at,
            actor.kind().as_str(),
            actor.id(),
            actor.request_id(),
            actor.address(),
            entry.event.action.as_str(),
            &entry.event.subject,
            entry.event.detail.as_deref(),
        ];
        self.execute(INSERT, values).await?;
        self.note_audited(entry);
        Ok(())
    }
}
