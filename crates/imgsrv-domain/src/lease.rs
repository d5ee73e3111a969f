//! Leases: one worker at a time runs a piece of work, and another one acquires it after the lease has expired.

use crate::time::Timestamp;
use std::{fmt, time::Duration};

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

/// The fencing token of a lease, needed to renew, release or finish the work. A later lease of the same work has a
/// greater attempt number, so an earlier key is void.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseKey {
    /// The worker that has the lease.
    pub owner: WorkerId,
    /// The number of the lease among those of the same work, from 1.
    pub attempt: u32,
}

/// Work that waits to be leased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// When the work was enqueued; retries do not change it.
    pub since: Timestamp,
    /// When the work first ended with a transient error; absent before that.
    pub failing_since: Option<Timestamp>,
    /// The earliest time at which it may be acquired.
    pub not_before: Timestamp,
    /// How many leases there were.
    pub attempts: u32,
}

/// Work under a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// When the work was enqueued.
    pub since: Timestamp,
    /// When the work first ended with a transient error; absent before that.
    pub failing_since: Option<Timestamp>,
    /// The fencing token of the lease.
    pub key: LeaseKey,
    /// When the lease expires; from then on any worker may acquire it.
    pub expires_at: Timestamp,
}

/// Another worker has the lease, or the work is not due yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the work is leased by another worker or not due yet")]
pub struct NotAcquirable;

/// The lease has expired and another worker has acquired it: the result of this one is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lease was lost to another worker")]
pub struct LeaseLost;

impl Queued {
    /// New work, due at once.
    pub const fn fresh(now: Timestamp) -> Self {
        Self { since: now, failing_since: None, not_before: now, attempts: 0 }
    }

    /// Leases the work to `owner` for `term`, if it is due.
    pub fn acquire(self, owner: &WorkerId, now: Timestamp, term: Duration) -> Result<Running, NotAcquirable> {
        if self.not_before > now {
            return Err(NotAcquirable);
        }
        let key = LeaseKey { owner: owner.clone(), attempt: self.attempts.saturating_add(1) };
        Ok(Running { since: self.since, failing_since: self.failing_since, key, expires_at: now.plus(term) })
    }
}

impl Running {
    /// The work without its lease, due at `not_before`.
    fn queued(self, not_before: Timestamp) -> Queued {
        Queued { since: self.since, failing_since: self.failing_since, not_before, attempts: self.key.attempt }
    }

    /// Leases the work to `owner` for `term`, if the present lease has expired.
    pub fn reacquire(self, owner: &WorkerId, now: Timestamp, term: Duration) -> Result<Self, NotAcquirable> {
        let expires_at = self.expires_at;
        self.queued(expires_at).acquire(owner, now, term)
    }

    /// Checks that `key` is that of the present lease. An expired lease is valid until another worker acquires it.
    pub fn check(&self, key: &LeaseKey) -> Result<(), LeaseLost> {
        if self.key == *key { Ok(()) } else { Err(LeaseLost) }
    }

    /// Extends the lease to `term` from `now`.
    pub fn renew(self, key: &LeaseKey, now: Timestamp, term: Duration) -> Result<Self, LeaseLost> {
        self.check(key)?;
        Ok(Self { expires_at: now.plus(term), ..self })
    }

    /// Releases the lease of a worker that is stopping; the work is due at once.
    pub fn release(self, key: &LeaseKey, now: Timestamp) -> Result<Queued, LeaseLost> {
        self.check(key)?;
        Ok(self.queued(now))
    }

    /// Releases the lease after a transient error; the work is due after `delay`. Returns also how long ago the first
    /// such error was.
    pub fn postpone(self, key: &LeaseKey, delay: Duration, now: Timestamp) -> Result<(Queued, Duration), LeaseLost> {
        self.check(key)?;
        let failing_since = self.failing_since.unwrap_or(now);
        let queued = Queued { failing_since: Some(failing_since), ..self.queued(now.plus(delay)) };
        Ok((queued, now.since(failing_since)))
    }
}
