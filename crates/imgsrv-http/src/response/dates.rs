//! Times as HTTP has them.

use imgsrv_domain::time::Timestamp;
use std::time::{Duration, SystemTime};

/// The time for a header; the Unix epoch for an earlier one.
pub(crate) fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(at.micros()).unwrap_or(0))
}
