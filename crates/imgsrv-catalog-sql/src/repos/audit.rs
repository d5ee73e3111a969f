//! The audit trail.

use crate::{Connection, SqlTx, value::values};
use async_trait::async_trait;
use imgsrv_domain::{
    audit::{Actor, AuditEntry},
    ports::{AuditLog, CatalogError},
};

const INSERT: &str = "INSERT INTO audit_log (at, actor_kind, actor, request_id, address, action, subject, detail)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
pub(crate) const STATEMENTS: &[&str] = &[INSERT];

#[async_trait]
impl<C: Connection> AuditLog for SqlTx<C> {
    async fn append_audit(&mut self, entry: &AuditEntry) -> Result<(), CatalogError> {
        let (kind, actor, request_id, address) = match &entry.actor {
            Actor::Principal { id, request_id, address } => {
                ("principal", Some(id.to_string()), request_id.as_deref(), address.as_deref())
            }
            Actor::Worker(name) => ("worker", Some(name.clone()), None, None),
            Actor::Operator => ("operator", None, None, None),
        };
        let values = values![
            entry.at,
            kind,
            actor,
            request_id,
            address,
            entry.event.action.as_str(),
            &entry.event.subject,
            entry.event.detail.as_deref(),
        ];
        self.execute(INSERT, values).await.map(drop)
    }
}
