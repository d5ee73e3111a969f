//! The lifecycle of a published version: whether it is offered, being phased out, or gone. It is a record of its own beside
//! the version, whose manifest never changes.

mod record;
mod replacement;
mod state;
mod transitions;

pub use record::{Deprecation, Drain, Hold, InvalidDrain, LifecycleRecord, Notice, Removal, Words};
pub use replacement::{InvalidReplacement, Replacement, WantedReplacement};
pub use state::{LifecycleFilter, LifecycleState};
pub use transitions::{Changed, LifecycleRefusal};

use crate::{
    text::LongText,
    time::{Day, Timestamp},
    transition::Revision,
};
use std::ops::Deref;

/// A lifecycle. Its record can be read and changes only through the transitions below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle(LifecycleRecord);

impl Deref for Lifecycle {
    type Target = LifecycleRecord;

    fn deref(&self) -> &LifecycleRecord {
        &self.0
    }
}

impl Lifecycle {
    /// The lifecycle of a version that was published, or created, at `at`.
    pub const fn active(at: Timestamp) -> Self {
        Self(LifecycleRecord {
            deprecation: None,
            revocation: None,
            removal: None,
            hold: None,
            changed_at: at,
            revision: Revision::FIRST,
            has_successor: false,
        })
    }

    /// A lifecycle as a catalog stored it.
    pub const fn restored(record: LifecycleRecord) -> Self {
        Self(record)
    }

    /// The state as it is stored: a drain that has ended does not count before a worker has recorded it.
    pub const fn stored_state(&self) -> LifecycleState {
        match (&self.0.removal, &self.0.revocation, &self.0.deprecation) {
            (Some(Removal { tombstone_at: Some(_), .. }), _, _) => LifecycleState::Tombstone,
            (Some(_), _, _) => LifecycleState::Removed,
            (None, Some(_), _) => LifecycleState::Revoked,
            (None, None, Some(_)) => LifecycleState::Deprecated,
            (None, None, None) => LifecycleState::Active,
        }
    }

    /// The state at `now`: after its drain, a removed version is a tombstone for everybody.
    pub fn state(&self, now: Timestamp) -> LifecycleState {
        match (&self.0.removal, self.stored_state()) {
            (Some(removal), LifecycleState::Removed) if removal.available_until <= now => LifecycleState::Tombstone,
            (_, state) => state,
        }
    }

    /// Whether the version was revoked and has not been restored since, also if it was removed later.
    pub const fn is_revoked(&self) -> bool {
        self.0.revocation.is_some()
    }

    /// The hold, if it is in force at `now`.
    pub fn hold_in_force(&self, now: Timestamp) -> Option<&Hold> {
        self.0.hold.as_ref().filter(|hold| hold.is_in_force(now))
    }

    /// The lifecycle as everybody sees it at `now`, if that differs from how it is stored: a drain or a hold has ended.
    #[must_use]
    pub fn as_of(&self, now: Timestamp) -> Option<Self> {
        let mut record = self.0.clone();
        if self.state(now) == LifecycleState::Tombstone
            && let Some(removal) = &mut record.removal
        {
            removal.tombstone_at.get_or_insert(removal.available_until);
        }
        record.hold = self.hold_in_force(now).cloned();
        (record != self.0).then_some(Self(record))
    }

    /// The notices, the last one first.
    fn notices(&self) -> impl Iterator<Item = &Notice> {
        let removal = self.0.removal.iter().map(|removal| &removal.notice);
        removal.chain(&self.0.revocation).chain(self.0.deprecation.iter().map(|deprecation| &deprecation.notice))
    }

    /// The reason that was given last.
    pub fn reason(&self) -> Option<&LongText> {
        self.notices().find_map(|notice| notice.words.reason.as_ref())
    }

    /// The replacement that was given last, whatever it leads to.
    pub fn replacement(&self) -> Option<&Replacement> {
        self.notices().find_map(|notice| notice.words.replacement.as_ref())
    }

    /// The replacement that was given last, if it led to another version that is offered.
    pub fn successor(&self) -> Option<&Replacement> {
        self.replacement().filter(|_| self.0.has_successor)
    }

    /// When the version was first discouraged.
    pub fn discouraged_at(&self) -> Option<Timestamp> {
        self.notices().last().map(|notice| notice.at)
    }

    /// The end of the version's availability, or of its support: that of its drain, else its end of life.
    pub fn sunset(&self) -> Option<Timestamp> {
        let drained = self.0.removal.as_ref().map(|removal| removal.available_until);
        drained.or_else(|| self.0.deprecation.as_ref()?.end_of_life.map(Day::start))
    }
}
