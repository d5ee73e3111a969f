//! Work that is done under leases, and wake-ups for it.

/// The kinds of work that are done under leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeasedWork {
    /// Ingesting completed uploads.
    Ingest,
    /// Running publish jobs.
    Publish,
}

/// A kind of work that was enqueued, for the workers that wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// A completed upload waits to be ingested.
    Ingest,
    /// A publish job waits to be run.
    Publish,
    /// Work of any kind may have been enqueued: notifications were interrupted for a while.
    Anything,
}
