//! Which writes a server refuses at present, for `/readyz` and metrics.

use imgsrv_domain::ports::Unwritable;
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// Why a server refuses writes at present, though it serves reads. Empty when it accepts writes.
#[derive(Debug, Default)]
pub struct Degradation(Mutex<BTreeSet<Unwritable>>);

impl Degradation {
    /// Replaces the reasons.
    pub fn set(&self, reasons: BTreeSet<Unwritable>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reasons;
    }

    /// The reasons.
    pub fn reasons(&self) -> BTreeSet<Unwritable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
