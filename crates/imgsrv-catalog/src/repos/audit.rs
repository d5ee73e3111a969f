//! The audit log.

use crate::core::{Connection, SqlTx, values};
use async_trait::async_trait;
use imgsrv_domain::{
    audit::{AuditEntry, Event},
    ports::{AuditLog, CatalogError},
};

const INSERT: &str = "INSERT INTO audit_log (at, actor_kind, actor, request_id, address, action, subject, detail)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
pub(crate) const STATEMENTS: &[&str] = &[INSERT];

#[async_trait]
impl<C: Connection> AuditLog for SqlTx<C> {
    async fn append_audit(&mut self, entry: &AuditEntry) -> Result<(), CatalogError> {
        let actor = &entry.actor;
        let (request_id, address) = (actor.request_id(), actor.address());
        let Event { action, subject, detail } = &entry.event;
        let values = values![entry.at, actor.kind(), actor.id(), request_id, address, action, subject, detail];
        self.execute(INSERT, values).await?;
        self.note_audited(entry);
        Ok(())
    }
}
