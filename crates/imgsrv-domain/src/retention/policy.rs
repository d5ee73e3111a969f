//! Retention policies.

use std::{num::NonZeroU32, time::Duration};

/// The rules by which versions are kept. Rules that are absent keep nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeepRules {
    /// The newest versions.
    pub newest: Option<NonZeroU32>,
    /// The newest version of each of so many days (UTC).
    pub daily: Option<NonZeroU32>,
    /// The newest version of each of so many ISO weeks (UTC).
    pub weekly: Option<NonZeroU32>,
    /// The newest version of each of so many months (UTC).
    pub monthly: Option<NonZeroU32>,
    /// Versions published less than this ago.
    pub younger_than: Option<Duration>,
    /// Versions fetched less than this ago, to the day.
    pub fetched_within: Option<Duration>,
}

/// What a policy does with versions that nothing keeps: after how long since their publication they are deprecated and
/// removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disposal {
    deprecate_after: Option<Duration>,
    remove_after: Option<Duration>,
}

impl Disposal {
    /// A disposal that does at least one of both, and removes only after it deprecates.
    pub fn new(deprecate_after: Option<Duration>, remove_after: Option<Duration>) -> Result<Self, InvalidPolicy> {
        match (deprecate_after, remove_after) {
            (None, None) => Err(InvalidPolicy::NoAction),
            (Some(deprecate), Some(remove)) if deprecate >= remove => Err(InvalidPolicy::RemovedBeforeDeprecated),
            _ => Ok(Self { deprecate_after, remove_after }),
        }
    }

    /// How long after their publication versions are deprecated.
    pub const fn deprecate_after(&self) -> Option<Duration> {
        self.deprecate_after
    }

    /// How long after their publication versions are removed.
    pub const fn remove_after(&self) -> Option<Duration> {
        self.remove_after
    }
}

/// Why a policy is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// It has no rule that keeps versions.
    #[error("keep must have at least one rule: newest, younger_than, daily, weekly, monthly or fetched_within")]
    NoRule,
    /// It neither deprecates nor removes.
    #[error("a policy needs an action, deprecate_after or remove_after")]
    NoAction,
    /// It removes a version no later than it deprecates it.
    #[error("remove_after must be longer than deprecate_after")]
    RemovedBeforeDeprecated,
}

/// Which versions of an image are kept, and what happens to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionPolicy {
    keep: KeepRules,
    /// How many of the newest versions are kept whatever the rules say.
    pub min_keep: NonZeroU32,
    /// What happens to versions that nothing keeps.
    pub disposal: Disposal,
    /// Whether it is applied regularly. It can be previewed and applied on demand anyway.
    pub enabled: bool,
}

impl RetentionPolicy {
    /// A policy with at least one rule.
    pub fn new(
        keep: KeepRules,
        min_keep: NonZeroU32,
        disposal: Disposal,
        enabled: bool,
    ) -> Result<Self, InvalidPolicy> {
        if keep == KeepRules::default() {
            return Err(InvalidPolicy::NoRule);
        }
        Ok(Self { keep, min_keep, disposal, enabled })
    }

    /// The rules by which versions are kept.
    pub const fn keep(&self) -> &KeepRules {
        &self.keep
    }
}
