//! Leases: how one worker at a time holds a piece of work, and how the others take over when it dies.

use crate::time::Timestamp;
use std::{fmt, time::Duration};

/// Names one run of one worker process: the node's name and a random suffix, so that no two runs share it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WorkerId(String);

impl WorkerId {
    /// Wraps a name that no other run of any worker uses.
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

/// What a holder must show to renew, finish or give up its work. It fences off every other holder:
/// the attempt number grows with each claim of one piece of work and is never given twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseKey {
    /// Who claimed it.
    pub owner: WorkerId,
    /// The how manieth claim it is, from 1.
    pub attempt: u32,
}

/// Work that waits for a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Since when the work is wanted; retries do not move it.
    pub since: Timestamp,
    /// Since when the infrastructure has failed every attempt at it.
    pub failing_since: Option<Timestamp>,
    /// No claim before this time.
    pub not_before: Timestamp,
    /// How many claims there were.
    pub attempts: u32,
}

/// Work that a worker holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Since when the work is wanted.
    pub since: Timestamp,
    /// Since when the infrastructure has failed every attempt at it.
    pub failing_since: Option<Timestamp>,
    /// Who may finish it.
    pub key: LeaseKey,
    /// From when on anybody may claim it.
    pub expires_at: Timestamp,
}

/// The work is held by somebody else, or not yet due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the work is held by another worker or not yet due")]
pub struct NotAcquirable;

/// The lease is not this holder's any more: its result is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lease was lost to another worker")]
pub struct LeaseLost;

impl Queued {
    /// New work, due at once.
    pub const fn fresh(now: Timestamp) -> Self {
        Self { since: now, failing_since: None, not_before: now, attempts: 0 }
    }

    /// Gives the work to `owner` for `term`, if it is due.
    pub fn acquire(self, owner: &WorkerId, now: Timestamp, term: Duration) -> Result<Running, NotAcquirable> {
        if self.not_before > now {
            return Err(NotAcquirable);
        }
        Ok(Running::held(self.since, self.failing_since, owner, self.attempts, now, term))
    }
}

impl Running {
    fn held(
        since: Timestamp,
        failing_since: Option<Timestamp>,
        owner: &WorkerId,
        attempts: u32,
        now: Timestamp,
        term: Duration,
    ) -> Self {
        let key = LeaseKey { owner: owner.clone(), attempt: attempts.saturating_add(1) };
        Self { since, failing_since, key, expires_at: now.plus(term) }
    }

    /// Takes the work over from a holder whose lease ran out.
    pub fn reacquire(self, owner: &WorkerId, now: Timestamp, term: Duration) -> Result<Self, NotAcquirable> {
        if self.expires_at > now {
            return Err(NotAcquirable);
        }
        Ok(Self::held(self.since, self.failing_since, owner, self.key.attempt, now, term))
    }

    /// Whether `key` still holds the work. An expired lease that nobody took over does.
    pub fn check(&self, key: &LeaseKey) -> Result<(), LeaseLost> {
        if self.key == *key { Ok(()) } else { Err(LeaseLost) }
    }

    /// Holds the work for another `term`.
    pub fn renew(self, key: &LeaseKey, now: Timestamp, term: Duration) -> Result<Self, LeaseLost> {
        self.check(key)?;
        Ok(Self { expires_at: now.plus(term), ..self })
    }

    /// Puts the work back unfinished, to be claimed at once: its holder is stopping.
    pub fn release(self, key: &LeaseKey, now: Timestamp) -> Result<Queued, LeaseLost> {
        self.check(key)?;
        let Self { since, failing_since, key, .. } = self;
        Ok(Queued { since, failing_since, not_before: now, attempts: key.attempt })
    }

    /// Puts the work back after a failure of the infrastructure, to be claimed after `delay`. Says also for how
    /// long it has been failing.
    pub fn postpone(self, key: &LeaseKey, delay: Duration, now: Timestamp) -> Result<(Queued, Duration), LeaseLost> {
        self.check(key)?;
        let failing_since = self.failing_since.unwrap_or(now);
        let not_before = now.plus(delay);
        let queued =
            Queued { since: self.since, failing_since: Some(failing_since), not_before, attempts: self.key.attempt };
        Ok((queued, now.since(failing_since)))
    }
}
