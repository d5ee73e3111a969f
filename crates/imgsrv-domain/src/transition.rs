//! What all state machines share: refused transitions and revisions.

use std::fmt;

/// A kind of record with states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// An upload session.
    UploadSession,
    /// A version of an image.
    Version,
    /// The lifecycle of a published version.
    Lifecycle,
    /// A publish job.
    PublishJob,
    /// An intake.
    Intake,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UploadSession => "an upload session",
            Self::Version | Self::Lifecycle => "a version",
            Self::PublishJob => "a publish job",
            Self::Intake => "an intake",
        })
    }
}

/// The present state does not allow an action; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {action} {subject} that is {state}")]
pub struct IllegalTransition {
    /// The refused action, as a verb.
    pub action: &'static str,
    /// The kind of record.
    pub subject: Machine,
    /// The present state, as clients see it.
    pub state: &'static str,
}

/// Counts the changes of a record, so that a catalog can refuse a change that is based on an older revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(i64);

impl Revision {
    /// The revision of a new record.
    pub const FIRST: Self = Self(1);

    /// Wraps a stored revision.
    pub const fn new(raw: i64) -> Self {
        Self(raw)
    }

    /// The stored number.
    pub const fn get(self) -> i64 {
        self.0
    }
}
