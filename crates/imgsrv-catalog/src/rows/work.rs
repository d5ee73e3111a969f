//! The columns of waiting and running work.

use crate::core::{Corrupt, Record, Row};
use imgsrv_domain::{
    lease::{LeaseKey, Queued, Running, WorkerId},
    time::Timestamp,
};

/// The columns of waiting and running work; all empty when there is no work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WorkColumns {
    /// Since when the work is wanted.
    pub(crate) wanted_since: Option<Timestamp>,
    /// Since when every attempt has failed with a transient error.
    pub(crate) failing_since: Option<Timestamp>,
    /// When it may be acquired: when it is due, or its lease expires.
    pub(crate) due_at: Option<Timestamp>,
    /// How often it was acquired.
    pub(crate) attempts: Option<u32>,
    /// The owner of its lease.
    pub(crate) owner: Option<WorkerId>,
}

impl Record for WorkColumns {
    const WHAT: &'static str = "work";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self {
            wanted_since: row.optional("wanted_since")?,
            failing_since: row.optional("failing_since")?,
            due_at: row.optional("due_at")?,
            attempts: row.optional("lease_attempts")?,
            owner: row.optional("lease_owner")?,
        })
    }
}

impl From<&Queued> for WorkColumns {
    fn from(queued: &Queued) -> Self {
        Self {
            wanted_since: Some(queued.since),
            failing_since: queued.failing_since,
            due_at: Some(queued.not_before),
            attempts: Some(queued.attempts),
            owner: None,
        }
    }
}

impl From<&Running> for WorkColumns {
    fn from(running: &Running) -> Self {
        Self {
            wanted_since: Some(running.since),
            failing_since: running.failing_since,
            due_at: Some(running.expires_at),
            attempts: Some(running.key.attempt),
            owner: Some(running.key.owner.clone()),
        }
    }
}

impl WorkColumns {
    pub(crate) fn queued(self) -> Result<Queued, Corrupt> {
        match (self.wanted_since, self.due_at, self.attempts, self.owner) {
            (Some(since), Some(not_before), Some(attempts), None) => {
                Ok(Queued { since, failing_since: self.failing_since, not_before, attempts })
            }
            _ => Err(Corrupt::new(Self::WHAT, "waiting work needs its times and no owner")),
        }
    }

    pub(crate) fn running(self) -> Result<Running, Corrupt> {
        let key = self.owner.zip(self.attempts).map(|(owner, attempt)| LeaseKey { owner, attempt });
        match (self.wanted_since, self.due_at, key) {
            (Some(since), Some(expires_at), Some(key)) => {
                Ok(Running { since, failing_since: self.failing_since, key, expires_at })
            }
            _ => Err(Corrupt::new(Self::WHAT, "running work needs its times and an owner")),
        }
    }
}
