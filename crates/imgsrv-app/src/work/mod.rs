//! Background work: leases, the work trait, wake-ups and retries.

pub(crate) mod lease;
pub(crate) mod retry;
pub(crate) mod runtime;
pub(crate) mod wakeups;
