//! Watching that a transfer moves.

use crate::error::Error;
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// How long nothing may move.
const STALL: Duration = Duration::from_mins(1);
/// How long the answer may take once everything is sent: the other side makes it durable.
const ANSWER: Duration = Duration::from_mins(5);

/// Counts what has moved, and when something last did.
pub(super) struct Meter {
    total: u64,
    moved: AtomicU64,
    last: Mutex<Instant>,
}

impl Meter {
    pub(super) fn new(total: u64) -> Self {
        Self { total, moved: AtomicU64::new(0), last: Mutex::new(Instant::now()) }
    }

    /// Begins at the first byte again.
    pub(super) fn restart(&self) {
        self.moved.store(0, Ordering::Relaxed);
        self.add(0);
    }

    /// Counts `bytes` more.
    pub(super) fn add(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// How many bytes have moved.
    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// What `work` comes to, unless nothing moves any more: a network that is gone does not say so.
    pub(super) async fn watch<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let stalled = async {
            loop {
                let patience = if self.moved() < self.total { STALL } else { ANSWER };
                let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
                if last.elapsed() >= patience {
                    return patience;
                }
                tokio::time::sleep_until(last + patience).await;
            }
        };
        tokio::select! {
            done = work => done,
            patience = stalled => Err(Error::Stalled(patience)),
        }
    }
}
