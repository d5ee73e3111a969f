//! The lifecycle of a published version: whether it is offered, being phased out, or gone. It is a record of its own beside
//! the version, whose manifest never changes.

mod replacement;

pub use replacement::{InvalidReplacement, Replacement, WantedReplacement};

use crate::{
    audit::AuditAction,
    names::string_enum,
    text::LongText,
    time::{Day, Timestamp},
    transition::Revision,
};
use std::{ops::Deref, time::Duration};

string_enum! {
    /// The state of a published version in its lifecycle.
    LifecycleState: "one of active, deprecated, revoked, removed, tombstone" {
        /// It is offered.
        Active = "active",
        /// It is offered, but users should move on.
        Deprecated = "deprecated",
        /// It must not be used: its files are no longer served.
        Revoked = "revoked",
        /// It is no longer listed; its files are served until its drain ends.
        Removed = "removed",
        /// It is gone permanently; its name is never used again.
        Tombstone = "tombstone",
    }
}

string_enum! {
    /// The published versions that a list contains.
    LifecycleFilter: "active, deprecated, revoked, removed or all" {
        /// Active versions.
        Active = "active",
        /// Deprecated versions.
        Deprecated = "deprecated",
        /// Revoked versions.
        Revoked = "revoked",
        /// Removed versions, with tombstones.
        Removed = "removed",
        /// All versions.
        All = "all",
    }
}

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
}

/// Why a change of a lifecycle is refused; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleRefusal {
    /// The present state does not allow it.
    #[error("cannot {action} a version that is {state}")]
    Illegal {
        /// The refused action, as a verb.
        action: &'static str,
        /// The present state.
        state: LifecycleState,
    },
    /// The version is held.
    #[error("the version is held: {}", .0.reason)]
    Held(Hold),
    /// The new hold would end before the present one.
    #[error("the hold can only be lengthened; release it instead")]
    ShorterHold,
    /// The hold would have ended already.
    #[error("the hold would end in the past")]
    HoldInPast,
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

/// A lifecycle. Its record can be read and changes only through the transitions below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifecycle(LifecycleRecord);

/// The lifecycle after an action, and the action for the audit log; absent if nothing has changed.
pub type Changed = (Lifecycle, Option<AuditAction>);

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

    /// Deprecates the version, or replaces the words of its deprecation.
    #[must_use = "a transition counts once stored"]
    pub fn deprecate(
        self,
        words: Words,
        end_of_life: Option<Day>,
        now: Timestamp,
    ) -> Result<Changed, LifecycleRefusal> {
        match self.state(now) {
            LifecycleState::Active | LifecycleState::Deprecated => {}
            state @ (LifecycleState::Revoked | LifecycleState::Removed | LifecycleState::Tombstone) => {
                return Err(LifecycleRefusal::Illegal { action: "deprecate", state });
            }
        }
        let at = self.0.deprecation.as_ref().map_or(now, |deprecation| deprecation.notice.at);
        let deprecation = Some(Deprecation { notice: Notice { at, words }, end_of_life });
        Ok(self.changed(now, AuditAction::VersionDeprecated, |record| record.deprecation = deprecation))
    }

    /// Revokes the version, or replaces the words of its revocation.
    #[must_use = "a transition counts once stored"]
    pub fn revoke(self, words: Words, now: Timestamp) -> Result<Changed, LifecycleRefusal> {
        match self.state(now) {
            LifecycleState::Active | LifecycleState::Deprecated => self.require_unheld(now)?,
            LifecycleState::Revoked => {}
            state @ (LifecycleState::Removed | LifecycleState::Tombstone) => {
                return Err(LifecycleRefusal::Illegal { action: "revoke", state });
            }
        }
        let at = self.0.revocation.as_ref().map_or(now, |notice| notice.at);
        let revocation = Some(Notice { at, words });
        Ok(self.changed(now, AuditAction::VersionRevoked, |record| record.revocation = revocation))
    }

    /// Removes the version: its files are served for `drain`. Of a version that drains already, the words are replaced if
    /// there are any, and the end of the drain stays; a tombstone stays as it is.
    #[must_use = "a transition counts once stored"]
    pub fn remove(self, words: Words, drain: Drain, now: Timestamp) -> Result<Changed, LifecycleRefusal> {
        let removal = match (self.state(now), &self.0.removal) {
            (LifecycleState::Active | LifecycleState::Deprecated | LifecycleState::Revoked, _) => {
                self.require_unheld(now)?;
                let notice = Notice { at: now, words };
                Removal { notice, available_until: now.plus(drain.0), tombstone_at: None }
            }
            (LifecycleState::Removed, Some(draining)) if words != Words::default() => {
                Removal { notice: Notice { words, ..draining.notice.clone() }, ..draining.clone() }
            }
            (LifecycleState::Removed | LifecycleState::Tombstone, _) => return Ok((self, None)),
        };
        Ok(self.changed(now, AuditAction::VersionRemoved, |record| record.removal = Some(removal)))
    }

    /// Undoes the last step: a removal while it drains, a revocation, or a deprecation.
    #[must_use = "a transition counts once stored"]
    pub fn restore(self, now: Timestamp) -> Result<Changed, LifecycleRefusal> {
        let state = self.state(now);
        if state == LifecycleState::Tombstone {
            return Err(LifecycleRefusal::Illegal { action: "restore", state });
        }
        Ok(self.changed(now, AuditAction::VersionRestored, |record| match state {
            LifecycleState::Removed => record.removal = None,
            LifecycleState::Revoked => record.revocation = None,
            LifecycleState::Deprecated => record.deprecation = None,
            LifecycleState::Active | LifecycleState::Tombstone => {}
        }))
    }

    /// Holds the version. A hold that is in force can only be lengthened, which also undoes its release; it can be even if
    /// the drain of a removed version has ended meanwhile.
    #[must_use = "a transition counts once stored"]
    pub fn hold(self, reason: LongText, until: Option<Timestamp>, now: Timestamp) -> Result<Changed, LifecycleRefusal> {
        let state = self.state(now);
        let can_be_lengthened = self.hold_in_force(now).is_some() && self.stored_state() != LifecycleState::Tombstone;
        if state == LifecycleState::Tombstone && !can_be_lengthened {
            return Err(LifecycleRefusal::Illegal { action: "hold", state });
        }
        if until.is_some_and(|until| until <= now) {
            return Err(LifecycleRefusal::HoldInPast);
        }
        let is_shorter = |hold: &Hold| until.is_some_and(|until| hold.until.is_none_or(|present| until < present));
        if self.hold_in_force(now).is_some_and(is_shorter) {
            return Err(LifecycleRefusal::ShorterHold);
        }
        let hold = Some(Hold { reason, until, lifts_at: None });
        Ok(self.changed(now, AuditAction::VersionHeld, |record| record.hold = hold))
    }

    /// Releases the hold: it ends after `cooldown`. A hold that is released already ends when it was to end.
    #[must_use = "a transition counts once stored"]
    pub fn release(self, cooldown: Duration, now: Timestamp) -> Changed {
        let Some(hold) = self.hold_in_force(now).cloned() else { return (self, None) };
        let lifts_at = hold.lifts_at.unwrap_or_else(|| now.plus(cooldown));
        let hold = Some(Hold { lifts_at: Some(lifts_at), ..hold });
        self.changed(now, AuditAction::VersionReleased, |record| record.hold = hold)
    }

    /// Ends the hold at once.
    #[must_use = "a transition counts once stored"]
    pub fn release_now(self, now: Timestamp) -> Changed {
        if self.hold_in_force(now).is_none() {
            return (self, None);
        }
        self.changed(now, AuditAction::VersionReleased, |record| record.hold = None)
    }

    /// Ends the drain of a removed version once it is over: it becomes a tombstone. `None` while that is not possible.
    #[must_use = "a transition counts once stored"]
    pub fn entomb(self, now: Timestamp) -> Option<Changed> {
        let is_due = self.stored_state() == LifecycleState::Removed && self.state(now) == LifecycleState::Tombstone;
        if !is_due || self.hold_in_force(now).is_some() {
            return None;
        }
        Some(self.changed(now, AuditAction::VersionTombstoned, |record| {
            if let Some(removal) = &mut record.removal {
                removal.tombstone_at = Some(now);
            }
        }))
    }

    fn require_unheld(&self, now: Timestamp) -> Result<(), LifecycleRefusal> {
        self.hold_in_force(now).map_or(Ok(()), |hold| Err(LifecycleRefusal::Held(hold.clone())))
    }

    /// Applies `change`; the time of the change stays if it changes nothing.
    fn changed(self, now: Timestamp, action: AuditAction, change: impl FnOnce(&mut LifecycleRecord)) -> Changed {
        let mut record = self.0.clone();
        change(&mut record);
        if record == self.0 {
            return (self, None);
        }
        record.changed_at = now;
        (Self(record), Some(action))
    }
}
