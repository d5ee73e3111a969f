//! Background work: leases, the work trait, local queues, wake-ups, retries, tasks that outlive their caller, and the catalog revision.

pub(crate) mod crash_point;
pub(crate) mod detach;
pub(crate) mod dispatcher;
pub(crate) mod endings;
pub(crate) mod local_queue;
pub(crate) mod queued;
pub(crate) mod recurrence;
pub(crate) mod retry;
pub(crate) mod revision;
pub(crate) mod runtime;
pub(crate) mod wakeups;
pub(crate) mod worker;
