//! The audit log.

use crate::core::{Connection, SqlTx, values};
use async_trait::async_trait;
use imgsrv_domain::{
    audit::{AuditEntry, Event},
    ports::{AuditLog, CatalogError},
    time::Timestamp,
};

const INSERT: &str =
    "INSERT INTO audit_log (at, actor_kind, actor, actor_name, request_id, address, action, subject, detail)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const HAS: &str = "SELECT EXISTS (SELECT 1 FROM audit_log
    WHERE subject = $1 AND at >= $2 AND action = $3 AND actor_kind = $4 AND actor = $5)";
pub(crate) const STATEMENTS: &[&str] = &[INSERT, HAS];

#[async_trait]
impl<C: Connection> AuditLog for SqlTx<C> {
    async fn append_audit(&mut self, entry: &AuditEntry) -> Result<(), CatalogError> {
        let actor = &entry.actor;
        let (request_id, address) = (actor.request_id(), actor.address());
        let Event { action, subject, detail } = &entry.event;
        let (kind, id, name) = (actor.kind(), actor.id(), actor.name());
        let values = values![entry.at, kind, id, name, request_id, address, action, subject, detail];
        self.execute(INSERT, values).await?;
        self.note_audited(entry);
        Ok(())
    }

    async fn has_audited(&mut self, entry: &AuditEntry, since: Timestamp) -> Result<bool, CatalogError> {
        let (Event { action, subject, .. }, actor) = (&entry.event, &entry.actor);
        self.get(HAS, values![subject, since, action, actor.kind(), actor.id()]).await
    }
}
