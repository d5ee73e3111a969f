//! Handing work to the workers of this process in the transaction that queues it: nobody has to look for it, to lease it
//! and to record that it has started, which is half of the transactions of small work.

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

/// A slot of the workers of one kind, taken until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    kind: WorkKind,
    _permit: OwnedSemaphorePermit,
}

/// The slots of the workers of each kind, and what was handed to them.
#[derive(Debug, Default)]
pub(crate) struct Handover([Desk; WorkKind::ALL.len()]);

/// The slots and the incoming work of one kind. It has no slots until its workers run.
#[derive(Debug)]
pub(super) struct Desk {
    is_open: AtomicBool,
    slots: Arc<Semaphore>,
    handed: Mutex<Vec<(LeasedWork, Slot)>>,
    arrived: Notify,
}

impl Default for Desk {
    fn default() -> Self {
        let slots = Arc::new(Semaphore::new(0));
        Self { is_open: AtomicBool::new(false), slots, handed: Mutex::default(), arrived: Notify::new() }
    }
}

/// An item that a transaction queues; it is worked on once that is committed.
#[must_use = "the workers learn of it by `start`"]
pub(crate) enum Queued {
    /// It is leased to this process: its subject can be stored as one that has started.
    Here(Slot, LeasedWork),
    /// Workers look for it.
    Anywhere(WorkKind),
}

impl Queued {
    /// Whether a worker of this process starts it as soon as the transaction is committed.
    pub(crate) const fn is_here(&self) -> bool {
        matches!(self, Self::Here(..))
    }

    /// Starts the work, after the commit.
    pub(crate) fn start(self, context: &Context) {
        match self {
            Self::Here(slot, leased) => context.handover.hand(slot, leased),
            Self::Anywhere(kind) => context.wakeups.wake(kind),
        }
    }
}

/// Queues new work, under a lease of this process if one of its workers is free. Without a commit, nothing has happened.
/// If the process dies after it, others work on the item when the lease has expired.
pub(crate) async fn queue(context: &Context, tx: &mut dyn CatalogTx, work: WorkName) -> Result<Queued, CatalogError> {
    let settings = &context.settings;
    if let Some(slot) = context.handover.of(work.kind).slot(work.kind)
        && let Some(leased) = tx.enqueue_leased_work(work, &settings.worker, settings.lease_term).await?
    {
        return Ok(Queued::Here(slot, leased));
    }
    tx.enqueue_work(work).await?;
    Ok(Queued::Anywhere(work.kind))
}

impl Handover {
    fn hand(&self, slot: Slot, leased: LeasedWork) {
        let desk = self.of(slot.kind);
        desk.handed.lock().unwrap_or_else(PoisonError::into_inner).push((leased, slot));
        desk.arrived.notify_one();
    }

    pub(super) fn of(&self, kind: WorkKind) -> &Desk {
        &self.0[kind as usize]
    }
}

impl Desk {
    /// Adds slots when workers begin to run.
    pub(super) fn open(&self, slots: usize) {
        self.slots.add_permits(slots);
        self.is_open.store(true, Ordering::SeqCst);
    }

    /// Gives no more slots away.
    pub(super) fn close(&self) {
        self.is_open.store(false, Ordering::SeqCst);
    }

    /// A free slot.
    pub(super) fn slot(&self, kind: WorkKind) -> Option<Slot> {
        let permit = self.is_open.load(Ordering::SeqCst).then(|| Arc::clone(&self.slots).try_acquire_owned());
        Some(Slot { kind, _permit: permit?.ok()? })
    }

    /// Completes when so many slots are free.
    pub(super) async fn free(&self, slots: usize) {
        // It is never closed.
        drop(self.slots.acquire_many(u32::try_from(slots).unwrap_or(u32::MAX)).await);
    }

    /// What was handed over since the last call.
    pub(super) fn handed(&self) -> Vec<(LeasedWork, Slot)> {
        mem::take(&mut *self.handed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Completes when something was handed over.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }
}
