//! A clock that tests move, and real identifiers.

use imgsrv_domain::{
    ports::{Clock, Ids},
    time::Timestamp,
};
use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};
use uuid::Uuid;

/// A clock that moves only when a test advances it. It starts on 2026-01-01.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl Default for ManualClock {
    fn default() -> Self {
        Self(AtomicI64::new(1_767_225_600_000_000))
    }
}

impl ManualClock {
    /// Advances the clock.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).expect("a sane duration");
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Version 7 UUIDs.
#[derive(Debug, Default)]
pub struct TestIds;

impl Ids for TestIds {
    #[expect(clippy::disallowed_methods, reason = "this mints the ids of tests")]
    fn next(&self) -> Uuid {
        Uuid::now_v7()
    }
}
