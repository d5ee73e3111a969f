//! Waking the workers of this process when work was enqueued.

use tokio::sync::Notify;

/// Wakes workers of this process when work was enqueued, by this node or another one. A lost wake-up only delays the work
/// by one polling interval: the queue is in the catalog.
#[derive(Debug, Default)]
pub(crate) struct Wakeups {
    /// An upload was completed.
    pub(crate) ingest: Notify,
    /// A publish job was queued.
    pub(crate) publish: Notify,
}
