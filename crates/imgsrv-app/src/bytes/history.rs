//! Deleting records that are no longer retained, in batches of bounded size.

use crate::{
    audit,
    context::Context,
    work::{crash_point::crash_point, retry::retrying},
};
use imgsrv_domain::{
    audit::{AuditAction, Event},
    ids::VersionId,
    ports::{CatalogError, CatalogTx},
    time::Timestamp,
    version::VersionState,
};
use std::time::Duration;

/// Records of one transaction.
const BATCH: u16 = 100;

/// A kind of history.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Uploads,
    Jobs,
    Fingerprints,
    Audit,
    Principals,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Uploads => "uploads",
            Self::Jobs => "publish_jobs",
            Self::Fingerprints => "fingerprints",
            Self::Audit => "audit_log",
            Self::Principals => "principals",
        }
    }
}

/// Deletes everything that is no longer retained.
pub(crate) async fn delete(context: &Context) -> Result<(), CatalogError> {
    let settings = &context.settings.collection;
    // Drafts first: their jobs go once they are gone, and principals once their uploads are.
    if let Some(retention) = settings.drafts {
        delete_drafts(context, context.catalog.catalog_time().await?.minus(retention)).await?;
    }
    let kinds = [
        (Kind::Uploads, settings.history),
        (Kind::Jobs, settings.history),
        (Kind::Fingerprints, settings.history),
        (Kind::Audit, settings.audit),
        (Kind::Principals, settings.principals),
    ];
    for (kind, retention) in kinds {
        let Some(retention) = retention else { continue };
        while retrying(|| batch(context, kind, retention)).await? >= u64::from(BATCH) {
            crash_point("gc.history");
        }
    }
    Ok(())
}

/// Deletes a batch; returns how many records it had.
async fn batch(context: &Context, kind: Kind, retention: Duration) -> Result<u64, CatalogError> {
    let mut tx = context.catalog.begin().await?;
    let (before, actor) = (tx.now().minus(retention), context.worker_actor());
    let deleted = match kind {
        Kind::Uploads => tx.delete_ended_uploads(before, BATCH).await?,
        Kind::Jobs => tx.delete_abandoned_jobs(before, BATCH).await?,
        Kind::Fingerprints => tx.delete_fingerprints(before, BATCH).await?,
        Kind::Audit => tx.delete_audit(before, BATCH).await?,
        Kind::Principals => {
            let deleted = tx.delete_unseen_principals(before, BATCH).await?;
            for principal in &deleted {
                let event = Event::new(AuditAction::PrincipalDeleted, principal).with("not seen for long");
                audit::record(&mut *tx, &actor, event).await?;
            }
            deleted.len() as u64
        }
    };
    if deleted > 0 && !matches!(kind, Kind::Principals) {
        let event = Event::new(AuditAction::HistoryDeleted, kind.name()).with(format!("{deleted} records"));
        audit::record(&mut *tx, &actor, event).await?;
    }
    tx.commit().await?;
    Ok(deleted)
}

/// Deletes drafts that last changed before `before`, each in a transaction of its own.
async fn delete_drafts(context: &Context, before: Timestamp) -> Result<(), CatalogError> {
    loop {
        let drafts = {
            let mut tx = context.catalog.begin().await?;
            tx.list_old_drafts(before, BATCH).await?
        };
        let mut deleted = 0;
        for id in &drafts {
            deleted += u64::from(retrying(|| delete_draft(context, *id, before)).await?);
        }
        // Those that have changed meanwhile are no longer listed.
        if drafts.len() < usize::from(BATCH) || deleted == 0 {
            return Ok(());
        }
    }
}

/// Deletes a draft, unless it has changed since `before`; returns whether it did.
async fn delete_draft(context: &Context, id: VersionId, before: Timestamp) -> Result<bool, CatalogError> {
    let mut tx: Box<dyn CatalogTx> = context.catalog.begin().await?;
    let Some(version) = tx.lock_version_by_id(id).await? else { return Ok(false) };
    if version.state != VersionState::Draft || version.updated_at >= before {
        return Ok(false);
    }
    let Ok(event) = version.delete() else { return Ok(false) };
    tx.delete_version(&version).await?;
    audit::commit(tx, &context.worker_actor(), event.with("not changed for long")).await?;
    Ok(true)
}
