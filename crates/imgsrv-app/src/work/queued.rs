//! Queueing new work, where workers of this process or of any process find it.

use crate::{context::Context, work::local_queue::Permit};
use imgsrv_domain::{
    ports::{CatalogError, CatalogTx},
    work::{LeasedWork, WorkKind, WorkName},
};

/// An item that a transaction has queued.
#[must_use = "the workers learn of it by `start`"]
pub(crate) enum Queued {
    /// It is leased to this process, whose workers begin or release it soon.
    Here(Permit, LeasedWork),
    /// Workers of any process acquire it.
    Anywhere(WorkKind),
}

impl Queued {
    /// Whether it is leased to this process, so that its subject can be stored as one that has started.
    pub(crate) const fn is_here(&self) -> bool {
        matches!(self, Self::Here(..))
    }

    /// Tells the workers of the item, after the commit. If that failed and nothing was committed, they find no item.
    pub(crate) fn start(self, context: &Context) {
        match self {
            Self::Here(permit, leased) => context.local_queues.of(permit.kind).push(leased, permit),
            Self::Anywhere(kind) => context.wakeups.wake(kind),
        }
    }
}

/// Queues new work, in the local queue if that admits it. If the process dies after the commit, other workers acquire the
/// item when its lease has expired.
pub(crate) async fn queue(context: &Context, tx: &mut dyn CatalogTx, work: WorkName) -> Result<Queued, CatalogError> {
    let settings = &context.settings;
    if let Some(permit) = context.local_queues.of(work.kind).admit(work.kind)
        && let Some(leased) = tx.enqueue_leased_work(work, &settings.worker, settings.lease_term).await?
    {
        return Ok(Queued::Here(permit, leased));
    }
    tx.enqueue_work(work).await?;
    Ok(Queued::Anywhere(work.kind))
}
