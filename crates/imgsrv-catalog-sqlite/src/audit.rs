//! The audit trail.

use crate::tx::{SqliteTx, run};
use async_trait::async_trait;
use imgsrv_catalog_sql::SqlTime;
use imgsrv_domain::{
    audit::{Actor, AuditEntry},
    ports::{AuditLog, CatalogError},
};
use sqlx::query;

const INSERT: &str = "INSERT INTO audit_log (at, actor_kind, actor, request_id, address, action, subject, detail)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
pub(crate) const STATEMENTS: &[&str] = &[INSERT];

#[async_trait]
impl AuditLog for SqliteTx {
    async fn append_audit(&mut self, entry: &AuditEntry) -> Result<(), CatalogError> {
        let (kind, actor, request_id, address) = match &entry.actor {
            Actor::Principal { id, request_id, address } => {
                ("principal", Some(id.to_string()), request_id.as_deref(), address.as_deref())
            }
            Actor::Worker(name) => ("worker", Some(name.clone()), None, None),
            Actor::Operator => ("operator", None, None, None),
        };
        let statement = query(INSERT)
            .bind(SqlTime::from(entry.at))
            .bind(kind)
            .bind(actor)
            .bind(request_id)
            .bind(address)
            .bind(entry.event.action.as_str())
            .bind(&entry.event.subject)
            .bind(&entry.event.detail);
        run!(self, execute, statement).map(drop)
    }
}
