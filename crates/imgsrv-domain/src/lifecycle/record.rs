//! What is stored of a lifecycle: its steps with their words, and its hold.

use super::Replacement;
use crate::{
    text::LongText,
    time::{Day, Timestamp},
    transition::Revision,
};
use std::time::Duration;

/// Why a version is retired, and what to use instead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Words {
    /// The reason, for everybody.
    pub reason: Option<LongText>,
    /// What to use instead.
    pub replacement: Option<Replacement>,
}

/// One step away from `active`, with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// When it was taken.
    pub at: Timestamp,
    /// Its words, which can be edited.
    pub words: Words,
}

/// The deprecation of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deprecation {
    /// When, and why.
    pub notice: Notice,
    /// The day on which its support ends.
    pub end_of_life: Option<Day>,
}

/// The removal of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// When, and why.
    pub notice: Notice,
    /// The end of its drain: its files are served until then, and it can be restored until then.
    pub available_until: Timestamp,
    /// When it became a tombstone.
    pub tombstone_at: Option<Timestamp>,
}

/// Keeps a version from being revoked, removed and reclaimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The reason.
    pub reason: LongText,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// When it ends because it was released.
    pub lifts_at: Option<Timestamp>,
}

impl Hold {
    /// Whether it has not ended.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.end().is_none_or(|end| end > now)
    }

    /// When it ends, if that is known.
    pub fn end(&self) -> Option<Timestamp> {
        [self.until, self.lifts_at].into_iter().flatten().min()
    }
}

/// How long the files of a removed version are served. Clients cache indexes for an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain(Duration);

/// The drain is too short or too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be at least 2h, because clients cache indexes for an hour, and at most 100 years (876600h)")]
pub struct InvalidDrain;

impl Drain {
    /// The shortest drain.
    pub const MIN: Duration = Duration::from_hours(2);
    /// The longest drain, whose end can be shown as a date.
    pub const MAX: Duration = Duration::from_hours(36_525 * 24);

    /// Wraps a duration from [`Drain::MIN`] to [`Drain::MAX`].
    pub fn new(duration: Duration) -> Result<Self, InvalidDrain> {
        if (Self::MIN..=Self::MAX).contains(&duration) { Ok(Self(duration)) } else { Err(InvalidDrain) }
    }

    /// The end of a drain that begins at `now`.
    pub fn end(self, now: Timestamp) -> Timestamp {
        now.plus(self.0)
    }
}

/// What a catalog stores of a lifecycle. Each step is kept under the later ones, so that it is back when they are undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifecycleRecord {
    /// The deprecation.
    pub deprecation: Option<Deprecation>,
    /// The revocation.
    pub revocation: Option<Notice>,
    /// The removal.
    pub removal: Option<Removal>,
    /// The hold; it may have ended.
    pub hold: Option<Hold>,
    /// When anything here last changed.
    pub changed_at: Timestamp,
    /// Its revision.
    pub revision: Revision,
    /// Whether the replacement led, when this was read, to another version that is offered.
    pub has_successor: bool,
}
