//! Background work: leases, the work trait, wake-ups, handing work over, retries, tasks that outlive their caller, and the catalog revision.

pub(crate) mod crash_point;
pub(crate) mod detach;
pub(crate) mod dispatcher;
pub(crate) mod endings;
pub(crate) mod handover;
pub(crate) mod recurrence;
pub(crate) mod retry;
pub(crate) mod revision;
pub(crate) mod runtime;
pub(crate) mod wakeups;
pub(crate) mod worker;
