//! The refusal that every state machine shares.

/// An action that the present state does not allow; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {action} {subject} that is {state}")]
pub struct IllegalTransition {
    /// The verb that was refused.
    pub action: &'static str,
    /// What it was tried on, with its article.
    pub subject: &'static str,
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
