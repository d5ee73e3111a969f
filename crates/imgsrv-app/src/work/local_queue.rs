//! Queues of this process: new work is leased to it in the transaction that queues the work, and starts without being looked
//! for. That saves the transactions that acquire an item and start its subject.

use imgsrv_domain::work::{LeasedWork, WorkKind};
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
    pub(super) kind: WorkKind,
    _permit: OwnedSemaphorePermit,
}

impl Default for LocalQueue {
    fn default() -> Self {
        let permits = Arc::new(Semaphore::new(0));
        Self { is_open: AtomicBool::new(false), permits, items: Mutex::default(), arrived: Notify::new() }
    }
}

impl LocalQueues {
    pub(super) fn of(&self, kind: WorkKind) -> &LocalQueue {
        &self.0[kind as usize]
    }
}

impl LocalQueue {
    /// Lets the queue have so many more items, when workers begin to run.
    pub(super) fn extend(&self, items: usize) {
        self.permits.add_permits(items);
    }

    /// Whether further items are admitted.
    pub(super) fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::SeqCst);
    }

    /// Admits nothing from now on, and completes when every item that was admitted has ended.
    pub(super) async fn close(&self, capacity: usize) {
        let all = u32::try_from(capacity).unwrap_or(u32::MAX);
        if let Ok(permits) = self.permits.acquire_many(all).await {
            permits.forget();
        }
    }

    /// Admits an item, if the queue is open and not full.
    pub(super) fn admit(&self, kind: WorkKind) -> Option<Permit> {
        let is_open = self.is_open.load(Ordering::SeqCst);
        let permit = is_open.then(|| Arc::clone(&self.permits).try_acquire_owned())?.ok()?;
        Some(Permit { kind, _permit: permit })
    }

    /// Adds a leased item.
    pub(super) fn push(&self, leased: LeasedWork, permit: Permit) {
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
