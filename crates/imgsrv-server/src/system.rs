//! The clock, identifiers and randomness of this machine.

use imgsrv_domain::{
    ports::{Clock, Ids},
    time::Timestamp,
    work::WorkerId,
};
use std::time::SystemTime;
use uuid::Uuid;

/// The clock of the operating system.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// Version 7 UUIDs, ascending within this process.
pub(crate) struct UuidIds;

impl Ids for UuidIds {
    #[expect(clippy::disallowed_methods, reason = "this mints the ids")]
    fn next(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// A unique name of this run of the process: the node's name and 64 random bits.
pub(crate) fn worker_id(node: &str) -> Result<WorkerId, getrandom::Error> {
    Ok(WorkerId::new(format!("{node}-{:016x}", getrandom::u64()?)))
}
