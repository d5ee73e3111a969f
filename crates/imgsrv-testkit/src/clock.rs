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

/// A clock that moves only when a test moves it. It starts on 2026-01-01.
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
        self.0.fetch_add(micros(by), Ordering::SeqCst);
    }

    /// Sets the clock back.
    pub fn set_back(&self, by: Duration) {
        self.0.fetch_sub(micros(by), Ordering::SeqCst);
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).expect("a sane duration")
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
