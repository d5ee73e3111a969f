//! Which requests a server refuses at present or soon, for `/readyz` and metrics.

use imgsrv_domain::ports::Unwritable;
use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Why a server refuses writes at present, though it serves reads, and whether it will stop soon.
#[derive(Debug, Default)]
pub struct Degradation {
    reasons: Mutex<BTreeSet<Unwritable>>,
    is_stopping: AtomicBool,
}

impl Degradation {
    /// Makes `/readyz` respond that the server stops, so that load balancers send requests elsewhere.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    /// Replaces the reasons; none if the server accepts writes.
    pub fn set(&self, reasons: BTreeSet<Unwritable>) {
        *self.reasons.lock().unwrap_or_else(PoisonError::into_inner) = reasons;
    }

    /// The reasons.
    pub fn reasons(&self) -> BTreeSet<Unwritable> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
