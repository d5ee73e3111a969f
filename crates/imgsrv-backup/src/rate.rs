//! Limiting the throughput of an export.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::time::Instant;

/// A limit of bytes per second, over the whole export.
pub(crate) struct Rate {
    bytes_per_second: Option<u64>,
    started: Instant,
    bytes: AtomicU64,
}

impl Rate {
    /// At most so many bytes per second.
    pub(crate) fn new(bytes_per_second: Option<u64>) -> Self {
        Self {
            bytes_per_second: bytes_per_second.filter(|rate| *rate > 0),
            started: Instant::now(),
            bytes: AtomicU64::new(0),
        }
    }

    /// Counts bytes, and waits until so many are permitted.
    pub(crate) async fn spend(&self, bytes: usize) {
        let Some(rate) = self.bytes_per_second else { return };
        let bytes = self.bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        let micros = u128::from(bytes) * 1_000_000 / u128::from(rate);
        tokio::time::sleep_until(self.started + Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))).await;
    }
}
