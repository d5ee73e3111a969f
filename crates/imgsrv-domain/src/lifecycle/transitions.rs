//! The transitions of lifecycles, and why they are refused.

use super::{Deprecation, Drain, Hold, Lifecycle, LifecycleRecord, LifecycleState, Notice, Removal, Words};
use crate::{
    audit::AuditAction,
    text::LongText,
    time::{Day, Timestamp},
    transition::Revision,
};
use std::time::Duration;

/// Why a change of a lifecycle is refused; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleRefusal {
    /// The present state does not allow it.
    #[error("cannot {action} a version that is {}", .state.in_words())]
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

/// The lifecycle after an action, and the action for the audit log; absent if nothing has changed.
pub type Changed = (Lifecycle, Option<AuditAction>);

impl Lifecycle {
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

    /// Removes the version: its files are served for `drain`, or for `default`. Of a version that drains already, the words
    /// are replaced if there are any, and its drain only becomes longer: a repeated `drain` counts from the removal, so that
    /// the same request changes nothing. A tombstone stays as it is.
    #[must_use = "a transition counts once stored"]
    pub fn remove(
        self,
        words: Words,
        drain: Option<Drain>,
        default: Drain,
        now: Timestamp,
    ) -> Result<Changed, LifecycleRefusal> {
        let removal = match (self.state(now), &self.0.removal) {
            (LifecycleState::Active | LifecycleState::Deprecated | LifecycleState::Revoked, _) => {
                self.require_unheld(now)?;
                let notice = Notice { at: now, words };
                Removal { notice, available_until: drain.unwrap_or(default).end(now), tombstone_at: None }
            }
            (LifecycleState::Removed, Some(draining)) => {
                let Notice { at, words: present } = draining.notice.clone();
                let words = if words == Words::default() { present } else { words };
                let wanted = drain.map_or(draining.available_until, |drain| drain.end(at));
                let available_until = wanted.max(draining.available_until);
                Removal { notice: Notice { at, words }, available_until, ..draining.clone() }
            }
            (LifecycleState::Removed | LifecycleState::Tombstone, _) => return Ok((self, None)),
        };
        Ok(self.changed(now, AuditAction::VersionRemoved, |record| record.removal = Some(removal)))
    }

    /// Removes the version without a drain: it is a tombstone at once, and cannot be restored. Returns the lifecycles to
    /// store one after the other, because only a removed version becomes a tombstone; none for a tombstone.
    #[must_use = "a transition counts once stored"]
    pub fn purge(self, words: Words, now: Timestamp) -> Result<Vec<Self>, LifecycleRefusal> {
        if self.stored_state() == LifecycleState::Tombstone {
            return Ok(Vec::new());
        }
        self.require_unheld(now)?;
        let mut record = LifecycleRecord { changed_at: now, ..self.0 };
        let mut steps = Vec::new();
        let removal = match &record.removal {
            Some(Removal { notice, available_until, .. }) => {
                let notice = Notice { at: notice.at, words };
                Removal { notice, available_until: (*available_until).min(now), tombstone_at: Some(now) }
            }
            None => {
                let removal = Removal { notice: Notice { at: now, words }, available_until: now, tombstone_at: None };
                steps.push(Self(LifecycleRecord { removal: Some(removal.clone()), ..record.clone() }));
                record.revision = Revision::new(record.revision.get() + 1);
                Removal { tombstone_at: Some(now), ..removal }
            }
        };
        steps.push(Self(LifecycleRecord { removal: Some(removal), ..record }));
        Ok(steps)
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
        // A released hold ends after its cooldown, whatever end it was given before.
        let is_shorter = |hold: &Hold| until.is_some_and(|until| hold.end().is_none_or(|present| until < present));
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
