//! Writing the audit log.

use imgsrv_domain::{
    audit::{Actor, AuditEntry, Event},
    ports::{CatalogError, CatalogTx},
};

/// Records `event` in the transaction that makes the change.
pub(crate) async fn record(tx: &mut dyn CatalogTx, actor: &Actor, event: Event) -> Result<(), CatalogError> {
    let entry = AuditEntry { at: tx.now(), actor: actor.clone(), event };
    tx.append_audit(&entry).await
}
