//! Disk space that was promised to bytes which are still arriving.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

/// The space that is promised and not yet used, over all reservations.
#[derive(Debug, Clone, Default)]
pub struct SpaceLedger(Arc<AtomicI64>);

impl SpaceLedger {
    /// Bytes that are promised and not yet used.
    pub fn promised(&self) -> u64 {
        u64::try_from(self.0.load(Ordering::SeqCst)).unwrap_or(0)
    }

    /// Promises `bytes`.
    pub fn reserve(&self, bytes: u64) -> SpaceReservation {
        let reservation = SpaceReservation(Arc::new(Held { ledger: self.clone(), bytes: Mutex::new(0) }));
        reservation.extend(bytes);
        reservation
    }
}

/// Space that is promised to one body. What is left of it returns when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct SpaceReservation(Arc<Held>);

#[derive(Debug)]
struct Held {
    ledger: SpaceLedger,
    /// Negative once more was used than promised.
    bytes: Mutex<i64>,
}

impl SpaceReservation {
    /// Promises further bytes.
    pub fn extend(&self, bytes: u64) {
        self.0.add(signed(bytes));
    }

    /// Records that `bytes` of it now occupy disk space.
    pub fn used(&self, bytes: u64) {
        self.0.add(-signed(bytes));
    }
}

/// No disk has as much space.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl Held {
    fn add(&self, bytes: i64) {
        let mut held = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        *held = held.saturating_add(bytes);
        self.ledger.0.fetch_add(bytes, Ordering::SeqCst);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let held = *self.bytes.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.ledger.0.fetch_sub(held, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_or_dropped_is_no_longer_promised() {
        let ledger = SpaceLedger::default();
        let (one, other) = (ledger.reserve(10), ledger.reserve(5));
        assert_eq!(ledger.promised(), 15);
        let clone = one.clone();
        clone.used(4);
        one.extend(1);
        assert_eq!(ledger.promised(), 12);
        other.used(5);
        assert_eq!(ledger.promised(), 7);
        other.used(1);
        other.extend(1);
        assert_eq!(ledger.promised(), 7, "what was used before it was promised counts once");
        drop(one);
        assert_eq!(ledger.promised(), 7, "a clone is left");
        drop(clone);
        assert_eq!(ledger.promised(), 0);
    }
}
