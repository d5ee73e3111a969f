//! The refusal that every state machine shares.

use std::fmt;

/// What has states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// An upload session.
    UploadSession,
    /// A version of an image.
    Version,
    /// A publish job.
    PublishJob,
    /// An intake.
    Intake,
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UploadSession => "an upload session",
            Self::Version => "a version",
            Self::PublishJob => "a publish job",
            Self::Intake => "an intake",
        })
    }
}

/// An action that the present state does not allow; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {action} {subject} that is {state}")]
pub struct IllegalTransition {
    /// The verb that was refused.
    pub action: &'static str,
    /// What it was tried on.
    pub subject: Machine,
    /// The state that refused it, as clients see it.
    pub state: &'static str,
}

/// Counts the changes of one record, so that a change based on an older one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(i64);

impl Revision {
    /// The revision of a record that was just made.
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
