//! The columns of waiting and running work.

use crate::rows::decode::{Corrupt, convert};
use crate::rows::time::SqlTime;
use imgsrv_domain::lease::{LeaseKey, Queued, Running, WorkerId};

/// The columns of waiting and running work; all empty when there is no work.
#[derive(Debug, Clone, Default, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct WorkColumns {
    /// Since when the work is wanted.
    pub(crate) wanted_since: Option<SqlTime>,
    /// Since when every attempt has failed with a transient error.
    pub(crate) failing_since: Option<SqlTime>,
    /// When it may be acquired: when it is due, or its lease expires.
    pub(crate) due_at: Option<SqlTime>,
    /// How often it was acquired.
    #[sqlx(rename = "lease_attempts")]
    pub(crate) attempts: Option<i64>,
    /// The owner of its lease.
    #[sqlx(rename = "lease_owner")]
    pub(crate) owner: Option<String>,
}

impl From<&Queued> for WorkColumns {
    fn from(queued: &Queued) -> Self {
        Self {
            wanted_since: Some(queued.since.into()),
            failing_since: queued.failing_since.map(Into::into),
            due_at: Some(queued.not_before.into()),
            attempts: Some(queued.attempts.into()),
            owner: None,
        }
    }
}

impl From<&Running> for WorkColumns {
    fn from(running: &Running) -> Self {
        Self {
            wanted_since: Some(running.since.into()),
            failing_since: running.failing_since.map(Into::into),
            due_at: Some(running.expires_at.into()),
            attempts: Some(running.key.attempt.into()),
            owner: Some(running.key.owner.as_str().to_owned()),
        }
    }
}

impl WorkColumns {
    pub(super) fn queued(self) -> Result<Queued, Corrupt> {
        let failing_since = self.failing_since.map(Into::into);
        match (self.wanted_since, self.due_at, self.attempts, self.owner) {
            (Some(since), Some(due), Some(attempts), None) => Ok(Queued {
                since: since.into(),
                failing_since,
                not_before: due.into(),
                attempts: convert("work", attempts)?,
            }),
            _ => Err(Corrupt::new("work", "waiting work needs its times and no owner")),
        }
    }

    pub(super) fn running(self) -> Result<Running, Corrupt> {
        let failing_since = self.failing_since.map(Into::into);
        match (self.wanted_since, self.due_at, self.attempts, self.owner) {
            (Some(since), Some(due), Some(attempts), Some(owner)) => {
                let key = LeaseKey { owner: WorkerId::new(owner), attempt: convert("work", attempts)? };
                Ok(Running { since: since.into(), failing_since, key, expires_at: due.into() })
            }
            _ => Err(Corrupt::new("work", "running work needs its times and an owner")),
        }
    }
}
