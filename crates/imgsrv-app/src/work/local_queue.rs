//! Queues of this process: new work is leased to it in the transaction that queues the work, and starts without being looked
//! for. That saves the transactions that acquire an item and start its subject.

use crate::context::Context;
use imgsrv_domain::{
    ports::{CatalogError, CatalogTx},
    work::{LeasedWork, WorkKind, WorkName},
};
use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The local queues, one for each kind of work.
#[derive(Debug, Default)]
pub(crate) struct LocalQueues([LocalQueue; WorkKind::ALL.len()]);

/// A bounded queue of leased items. It admits nothing until its workers run.
#[derive(Debug)]
pub(super) struct LocalQueue {
    is_open: AtomicBool,
    /// One for each item that may be queued or worked on.
    permits: Arc<Semaphore>,
    items: Mutex<Vec<(LeasedWork, Permit)>>,
    arrived: Notify,
}

/// Admits one item, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    kind: WorkKind,
    _permit: OwnedSemaphorePermit,
}

impl Default for LocalQueue {
    fn default() -> Self {
        let permits = Arc::new(Semaphore::new(0));
        Self { is_open: AtomicBool::new(false), permits, items: Mutex::default(), arrived: Notify::new() }
    }
}

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

impl LocalQueues {
    pub(super) fn of(&self, kind: WorkKind) -> &LocalQueue {
        &self.0[kind as usize]
    }
}

impl LocalQueue {
    /// Makes room for so many items, when workers begin to run.
    pub(super) fn add_room(&self, items: usize) {
        self.permits.add_permits(items);
    }

    /// Whether further items are admitted.
    pub(super) fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::SeqCst);
    }

    /// Admits nothing from now on, and completes when every item that was admitted has ended.
    pub(super) async fn close(&self, room: usize) {
        let all = u32::try_from(room).unwrap_or(u32::MAX);
        if let Ok(permits) = self.permits.acquire_many(all).await {
            permits.forget();
        }
    }

    fn admit(&self, kind: WorkKind) -> Option<Permit> {
        let is_open = self.is_open.load(Ordering::SeqCst);
        let permit = is_open.then(|| Arc::clone(&self.permits).try_acquire_owned())?.ok()?;
        Some(Permit { kind, _permit: permit })
    }

    fn push(&self, leased: LeasedWork, permit: Permit) {
        self.items.lock().unwrap_or_else(PoisonError::into_inner).push((leased, permit));
        self.arrived.notify_one();
    }

    /// Takes the items that have arrived.
    pub(super) fn take(&self) -> Vec<(LeasedWork, Permit)> {
        mem::take(&mut *self.items.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Completes when an item has arrived since the last call.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }
}
