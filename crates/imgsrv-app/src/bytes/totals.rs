//! What the collections of this process have done, for metrics.

use imgsrv_domain::time::Timestamp;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Counts the collections of this process.
#[derive(Debug, Default)]
pub(crate) struct CollectionTotals {
    succeeded: AtomicU64,
    failed: AtomicU64,
    freed_blobs: AtomicU64,
    freed_bytes: AtomicU64,
    last_success: AtomicI64,
}

/// What the collections of this process have done since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CollectionCounts {
    /// Runs that ended.
    pub succeeded: u64,
    /// Runs that failed; what they left is done by the next run.
    pub failed: u64,
    /// Stored blobs whose bytes were deleted.
    pub freed_blobs: u64,
    /// The bytes in them.
    pub freed_bytes: u64,
    /// When the last run ended; absent when none has.
    pub last_success: Option<Timestamp>,
}

impl CollectionTotals {
    pub(crate) fn freed(&self, bytes: u64) {
        self.freed_blobs.fetch_add(1, Relaxed);
        self.freed_bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn succeeded(&self, now: Timestamp) {
        self.succeeded.fetch_add(1, Relaxed);
        self.last_success.store(now.micros(), Relaxed);
    }

    pub(crate) fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    pub(crate) fn counts(&self) -> CollectionCounts {
        let last_success = Some(self.last_success.load(Relaxed)).filter(|micros| *micros > 0);
        CollectionCounts {
            succeeded: self.succeeded.load(Relaxed),
            failed: self.failed.load(Relaxed),
            freed_blobs: self.freed_blobs.load(Relaxed),
            freed_bytes: self.freed_bytes.load(Relaxed),
            last_success: last_success.map(Timestamp::from_micros),
        }
    }
}
