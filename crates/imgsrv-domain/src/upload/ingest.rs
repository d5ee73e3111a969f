//! The ingest of a completed session: claimed under a lease, renewed, and brought to an end by whoever holds it.

use super::{INGEST_RETRY_LIMIT, UploadSession, UploadState};
use crate::{
    audit::{AuditAction, Event},
    digest::HashState,
    lease::{LeaseKey, LeaseLost, NotAcquirable, Running, WorkerId},
    time::Timestamp,
};
use std::time::Duration;

impl UploadSession {
    /// Gives the ingest to `owner` for `term`.
    #[must_use = "a transition counts once stored"]
    pub fn acquire_ingest(
        self,
        owner: &WorkerId,
        now: Timestamp,
        term: Duration,
    ) -> Result<(Self, LeaseKey), NotAcquirable> {
        let running = match &self.state {
            UploadState::Completed(queued) => queued.clone().acquire(owner, now, term)?,
            UploadState::Ingesting(running) => running.clone().reacquire(owner, now, term)?,
            UploadState::Created
            | UploadState::Uploading
            | UploadState::Ready
            | UploadState::Failed { .. }
            | UploadState::Aborted => return Err(NotAcquirable),
        };
        let key = running.key.clone();
        Ok((self.into_state(UploadState::Ingesting(running), now), key))
    }

    /// Holds the ingest for another `term`, noting how far the bytes were hashed.
    #[must_use = "a transition counts once stored"]
    pub fn renew_ingest(
        mut self,
        key: &LeaseKey,
        hashed: Option<HashState>,
        now: Timestamp,
        term: Duration,
    ) -> Result<Self, LeaseLost> {
        let running = self.held(key)?.renew(key, now, term)?;
        if hashed.is_some() {
            self.0.hashed = hashed;
        }
        self.0.state = UploadState::Ingesting(running);
        Ok(self)
    }

    /// The bytes are what was claimed, and a trusted blob holds them.
    #[must_use = "a transition counts once stored"]
    pub fn finish_ingest(self, key: &LeaseKey, now: Timestamp) -> Result<(Self, Event), LeaseLost> {
        self.held(key)?.check(key)?;
        let event = self.about_bytes(AuditAction::UploadReady);
        Ok((self.into_state(UploadState::Ready, now), event))
    }

    /// The bytes are not what was claimed, or are gone: the client must begin again.
    #[must_use = "a transition counts once stored"]
    pub fn reject(self, key: &LeaseKey, reason: String, now: Timestamp) -> Result<(Self, Event), LeaseLost> {
        self.held(key)?.check(key)?;
        Ok(self.failed(reason, now))
    }

    /// The store or the catalog failed: the ingest is tried again after `delay`, until
    /// [`INGEST_RETRY_LIMIT`] has run out since it first failed so.
    #[must_use = "a transition counts once stored"]
    pub fn postpone_ingest(
        self,
        key: &LeaseKey,
        delay: Duration,
        now: Timestamp,
    ) -> Result<(Self, Option<Event>), LeaseLost> {
        let (queued, failing) = self.held(key)?.postpone(key, delay, now)?;
        if failing >= INGEST_RETRY_LIMIT {
            let (session, event) = self.failed("the storage could not be reached for 24 hours".to_owned(), now);
            return Ok((session, Some(event)));
        }
        Ok((self.into_state(UploadState::Completed(queued), now), None))
    }

    /// The worker is stopping: another may go on at once.
    #[must_use = "a transition counts once stored"]
    pub fn release_ingest(self, key: &LeaseKey, now: Timestamp) -> Result<Self, LeaseLost> {
        let queued = self.held(key)?.release(key, now)?;
        Ok(self.into_state(UploadState::Completed(queued), now))
    }

    fn failed(self, reason: String, now: Timestamp) -> (Self, Event) {
        let event = Event::new(AuditAction::UploadFailed, self.id).with(&reason);
        (self.into_state(UploadState::Failed { reason }, now), event)
    }

    fn held(&self, key: &LeaseKey) -> Result<Running, LeaseLost> {
        match &self.state {
            UploadState::Ingesting(running) => running.check(key).map(|()| running.clone()),
            UploadState::Created
            | UploadState::Uploading
            | UploadState::Completed(_)
            | UploadState::Ready
            | UploadState::Failed { .. }
            | UploadState::Aborted => Err(LeaseLost),
        }
    }
}
