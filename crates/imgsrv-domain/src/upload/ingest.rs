//! The ingest of a completed session: acquired under a lease, renewed, and finished by the worker that has the lease.

use super::{Claim, UploadSession, UploadState};
use crate::{
    audit::{AuditAction, Event},
    digest::{BlobClaim, HashState},
    lease::{LeaseKey, LeaseLost, NotAcquirable, Running, WorkerId},
    time::Timestamp,
};
use std::time::Duration;

/// How long transient errors may keep an ingest from succeeding, counted from the first of them, before the session
/// fails.
pub const INGEST_RETRY_LIMIT: Duration = Duration::from_hours(24);

/// Bytes that are recorded in full and not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingIngest {
    /// What the bytes must be.
    pub claim: Claim<BlobClaim>,
    /// How far they are hashed, on arrival or by an earlier attempt to ingest them.
    pub hashed: Option<HashState>,
}

impl UploadSession {
    /// Leases the ingest to `owner` for `term`, if it is due or its lease has expired.
    #[must_use = "a transition counts once stored"]
    pub fn acquire_ingest(
        self,
        owner: &WorkerId,
        now: Timestamp,
        term: Duration,
    ) -> Result<(Self, PendingIngest, LeaseKey), NotAcquirable> {
        let (ingest, work) = match &self.state {
            UploadState::Completed { ingest, work } => (ingest.clone(), work.clone().acquire(owner, now, term)?),
            UploadState::Ingesting { ingest, work } => (ingest.clone(), work.clone().reacquire(owner, now, term)?),
            UploadState::Receiving(_)
            | UploadState::Ready(_)
            | UploadState::Failed { .. }
            | UploadState::Aborted { .. } => return Err(NotAcquirable),
        };
        let key = work.key.clone();
        let session = self.into_state(UploadState::Ingesting { ingest: ingest.clone(), work }, now);
        Ok((session, ingest, key))
    }

    /// Extends the lease to `term` from `now`, and notes how far the bytes were hashed.
    #[must_use = "a transition counts once stored"]
    pub fn renew_ingest(
        self,
        key: &LeaseKey,
        hashed: Option<HashState>,
        now: Timestamp,
        term: Duration,
    ) -> Result<Self, LeaseLost> {
        let (ingest, work) = self.leased(key)?;
        let work = work.renew(key, now, term)?;
        let ingest = PendingIngest { hashed: hashed.or(ingest.hashed), ..ingest };
        Ok(self.with_state(UploadState::Ingesting { ingest, work }))
    }

    /// Ends the ingest of bytes that are what was claimed and that a trusted blob has.
    #[must_use = "a transition counts once stored"]
    pub fn finish_ingest(self, key: &LeaseKey, now: Timestamp) -> Result<(Self, Event), LeaseLost> {
        let (ingest, _) = self.leased(key)?;
        let session = self.into_state(UploadState::Ready(ingest.claim), now);
        let event = session.event(AuditAction::UploadReady);
        Ok((session, event))
    }

    /// Fails the session: the bytes are not what was claimed, or are gone, and the client must begin again.
    #[must_use = "a transition counts once stored"]
    pub fn reject(self, key: &LeaseKey, reason: String, now: Timestamp) -> Result<(Self, Event), LeaseLost> {
        let (ingest, _) = self.leased(key)?;
        Ok(self.failed(ingest.claim, reason, now))
    }

    /// Postpones the ingest by `delay` after a transient error. Fails the session instead, which is the event, once
    /// every attempt has failed so for [`INGEST_RETRY_LIMIT`].
    #[must_use = "a transition counts once stored"]
    pub fn postpone_ingest(
        self,
        key: &LeaseKey,
        delay: Duration,
        now: Timestamp,
    ) -> Result<(Self, Option<Event>), LeaseLost> {
        let (ingest, work) = self.leased(key)?;
        let (work, failing) = work.postpone(key, delay, now)?;
        if failing >= INGEST_RETRY_LIMIT {
            let reason = "the storage could not be reached for 24 hours".to_owned();
            let (session, event) = self.failed(ingest.claim, reason, now);
            return Ok((session, Some(event)));
        }
        Ok((self.into_state(UploadState::Completed { ingest, work }, now), None))
    }

    /// Releases the lease of a worker that is stopping; another one may acquire the ingest at once.
    #[must_use = "a transition counts once stored"]
    pub fn release_ingest(self, key: &LeaseKey, now: Timestamp) -> Result<Self, LeaseLost> {
        let (ingest, work) = self.leased(key)?;
        let work = work.release(key, now)?;
        Ok(self.into_state(UploadState::Completed { ingest, work }, now))
    }

    fn failed(self, claim: Claim<BlobClaim>, reason: String, now: Timestamp) -> (Self, Event) {
        let event = Event::new(AuditAction::UploadFailed, self.id).with(&reason);
        (self.into_state(UploadState::Failed { claim, reason }, now), event)
    }

    /// What is ingested under the lease of `key`.
    fn leased(&self, key: &LeaseKey) -> Result<(PendingIngest, Running), LeaseLost> {
        match &self.state {
            UploadState::Ingesting { ingest, work } => work.check(key).map(|()| (ingest.clone(), work.clone())),
            UploadState::Receiving(_)
            | UploadState::Completed { .. }
            | UploadState::Ready(_)
            | UploadState::Failed { .. }
            | UploadState::Aborted { .. } => Err(LeaseLost),
        }
    }
}
