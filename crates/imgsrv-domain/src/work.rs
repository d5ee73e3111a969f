//! Background work: the items of one queue, each leased by one worker at a time.
//!
//! The queue knows who works on what, and until when. What the work means, and what its failure does, is up to the
//! state machine of its subject.

use crate::{
    ids::{JobId, UploadId},
    names::string_enum,
    time::Timestamp,
};
use std::{fmt, time::Duration};
use uuid::Uuid;

string_enum! {
    /// A kind of background work.
    WorkKind: "a kind of work" {
        /// Makes the bytes of a completed upload a trusted blob.
        Ingest = "ingest",
        /// Runs the steps of a publish job.
        Publish = "publish",
        /// Removes what an ended upload has staged.
        Clear = "clear",
        /// Expires uploads, and removes staged bytes that no upload accounts for. It recurs.
        Sweep = "sweep",
        /// Deletes blobs that nothing refers to, and records that are no longer retained. It recurs.
        Collect = "gc",
        /// Makes removed versions tombstones once their drain has ended. It recurs.
        Tombstone = "tombstone",
        /// Applies the enabled retention policies. It recurs.
        Retention = "retention",
        /// Verifies stored blobs, those first whose bytes were verified least recently. It recurs.
        Scrub = "scrub",
    }
}

impl WorkKind {
    /// How long transient errors may keep an item from succeeding, counted from the first of them, before its subject
    /// fails; absent for work that is retried without a limit.
    pub const fn retry_limit(self) -> Option<Duration> {
        match self {
            Self::Ingest => Some(Duration::from_hours(24)),
            Self::Publish => Some(Duration::from_mins(15)),
            Self::Clear | Self::Sweep | Self::Collect | Self::Tombstone | Self::Retention | Self::Scrub => None,
        }
    }

    /// Whether the failure of the subject is final, so that nobody can ask for the item again.
    pub const fn ends_with_failure(self) -> bool {
        match self {
            Self::Ingest => true,
            Self::Publish
            | Self::Clear
            | Self::Sweep
            | Self::Collect
            | Self::Tombstone
            | Self::Retention
            | Self::Scrub => false,
        }
    }

    /// Whether the work recurs: its item is repeated, never done.
    pub const fn recurs(self) -> bool {
        match self {
            Self::Ingest | Self::Publish | Self::Clear => false,
            Self::Sweep | Self::Collect | Self::Tombstone | Self::Retention | Self::Scrub => true,
        }
    }
}

/// The name of an item: its kind and what it is about. The queue has at most one item of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WorkName {
    /// The kind.
    pub kind: WorkKind,
    /// The id of the upload or job; nil for work that recurs.
    pub subject: Uuid,
}

impl WorkName {
    /// The ingest of a completed upload.
    pub const fn ingest(upload: UploadId) -> Self {
        Self { kind: WorkKind::Ingest, subject: upload.uuid() }
    }

    /// The clearing of an ended upload.
    pub const fn clear(upload: UploadId) -> Self {
        Self { kind: WorkKind::Clear, subject: upload.uuid() }
    }

    /// A publish job.
    pub const fn publish(job: JobId) -> Self {
        Self { kind: WorkKind::Publish, subject: job.uuid() }
    }

    /// Work that recurs.
    pub const fn recurring(kind: WorkKind) -> Self {
        Self { kind, subject: Uuid::nil() }
    }
}

impl fmt::Display for WorkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.subject.is_nil() { self.kind.fmt(f) } else { write!(f, "{} {}", self.kind, self.subject) }
    }
}

/// The id of one run of a worker process: the name of the node and a random suffix, so that no two runs share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkerId(String);

impl WorkerId {
    /// Wraps a name, which must be unique among all runs of all workers.
    pub fn new(unique: String) -> Self {
        Self(unique)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The fencing token of a lease, needed to renew it or to end the work. A later lease of the same item has a greater
/// attempt number, and a later item of the same name another number, so an earlier token is void.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The name of the item.
    pub work: WorkName,
    /// The number of the item, which no other one ever has.
    pub item: i64,
    /// The worker that has it.
    pub owner: WorkerId,
    /// The number of the lease among those of the same item, from 1.
    pub attempt: u32,
}

impl Lease {
    /// Whether this is the first lease of the item.
    pub const fn is_first(&self) -> bool {
        self.attempt == 1
    }
}

/// An item that was just leased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeasedWork {
    /// The lease.
    pub lease: Lease,
    /// How many attempts in a row have failed before this one; progress of the work sets it to zero.
    pub failures: u32,
    /// How many of these attempts, at the end, ended without a word: the worker panicked, or its process died.
    pub silent: u32,
    /// When the first of the failures was recorded.
    pub failing_since: Option<Timestamp>,
}

impl LeasedWork {
    /// How long the attempts have been failing, at `now`, the time of another failure.
    pub fn failing_for(&self, now: Timestamp) -> Duration {
        now.since(self.failing_since.unwrap_or(now))
    }
}
