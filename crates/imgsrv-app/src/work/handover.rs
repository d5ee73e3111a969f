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

/// A seat at the workers of one kind, taken until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    kind: WorkKind,
    _permit: OwnedSemaphorePermit,
}

/// The seats at the workers of each kind, and what was handed to them.
#[derive(Debug, Default)]
pub(crate) struct Handover([Desk; WorkKind::ALL.len()]);

/// The seats and the incoming work of one kind. It has no seats until its workers run.
#[derive(Debug)]
pub(super) struct Desk {
    is_open: AtomicBool,
    seats: Arc<Semaphore>,
    handed: Mutex<Vec<(LeasedWork, Seat)>>,
    arrived: Notify,
}

impl Default for Desk {
    fn default() -> Self {
        let seats = Arc::new(Semaphore::new(0));
        Self { is_open: AtomicBool::new(false), seats, handed: Mutex::default(), arrived: Notify::new() }
    }
}

/// An item that a transaction queues; it is worked on once that is committed.
#[must_use = "the workers learn of it by `start`"]
pub(crate) enum Queued {
    /// It is leased to this process: its subject can be stored as one that has started.
    Here(Seat, LeasedWork),
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
            Self::Here(seat, leased) => context.handover.hand(seat, leased),
            Self::Anywhere(kind) => context.wakeups.wake(kind),
        }
    }
}

/// Queues new work, under a lease of this process if its workers have a free seat. Without a commit, nothing has happened.
/// If the process dies after it, others work on the item when the lease has expired.
pub(crate) async fn queue(context: &Context, tx: &mut dyn CatalogTx, work: WorkName) -> Result<Queued, CatalogError> {
    let settings = &context.settings;
    if let Some(seat) = context.handover.of(work.kind).seat(work.kind)
        && let Some(leased) = tx.enqueue_leased_work(work, &settings.worker, settings.lease_term).await?
    {
        return Ok(Queued::Here(seat, leased));
    }
    tx.enqueue_work(work).await?;
    Ok(Queued::Anywhere(work.kind))
}

impl Handover {
    fn hand(&self, seat: Seat, leased: LeasedWork) {
        let desk = self.of(seat.kind);
        desk.handed.lock().unwrap_or_else(PoisonError::into_inner).push((leased, seat));
        desk.arrived.notify_one();
    }

    pub(super) fn of(&self, kind: WorkKind) -> &Desk {
        &self.0[kind as usize]
    }
}

impl Desk {
    /// Adds seats when workers begin to run.
    pub(super) fn open(&self, seats: usize) {
        self.seats.add_permits(seats);
        self.is_open.store(true, Ordering::SeqCst);
    }

    /// Gives no more seats away, and completes when so many are free.
    pub(super) async fn close(&self, seats: usize) {
        self.is_open.store(false, Ordering::SeqCst);
        // It is never closed.
        drop(self.seats.acquire_many(u32::try_from(seats).unwrap_or(u32::MAX)).await);
    }

    fn seat(&self, kind: WorkKind) -> Option<Seat> {
        let permit = self.is_open.load(Ordering::SeqCst).then(|| Arc::clone(&self.seats).try_acquire_owned());
        Some(Seat { kind, _permit: permit?.ok()? })
    }

    /// What was handed over since the last call.
    pub(super) fn handed(&self) -> Vec<(LeasedWork, Seat)> {
        mem::take(&mut *self.handed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Completes when something was handed over.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }
}
