//! Waking the workers of this process when work was enqueued.

use tokio::sync::Notify;

/// Wakes workers of this process when work was enqueued, here or by another node. Correctness rests on the catalog; a
/// lost wake-up costs one polling interval.
#[derive(Debug, Default)]
pub struct Wakeups {
    /// An upload was completed.
    pub ingest: Notify,
    /// A publish job was queued.
    pub publish: Notify,
}
