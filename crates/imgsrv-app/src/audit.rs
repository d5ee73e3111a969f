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

/// Commits the change with `event`, if it has one.
pub(crate) async fn commit(
    mut tx: Box<dyn CatalogTx>,
    actor: &Actor,
    event: impl Into<Option<Event>>,
) -> Result<(), CatalogError> {
    if let Some(event) = event.into() {
        record(&mut *tx, actor, event).await?;
    }
    tx.commit().await
}
