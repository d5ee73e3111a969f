//! The ingest of a completed session, which one worker at a time runs under a lease of the queue.

use super::{Claim, UploadSession, UploadState};
use crate::{
    audit::{AuditAction, Event},
    digest::{BlobClaim, HashState},
    time::Timestamp,
    transition::IllegalTransition,
};

/// Bytes that are recorded in full and not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingIngest {
    /// What the bytes must be.
    pub claim: Claim<BlobClaim>,
    /// How far they are hashed, on arrival or by an earlier attempt to ingest them.
    pub hashed: Option<HashState>,
}

impl UploadSession {
    /// Starts an attempt to ingest the bytes; an earlier one has ended without a word if the session is ingesting.
    #[must_use = "a transition counts once stored"]
    pub fn start_ingest(self, now: Timestamp) -> Result<(Self, PendingIngest), IllegalTransition> {
        let ingest = self.pending("ingest")?;
        let session = self.into_state(UploadState::Ingesting(ingest.clone()), now);
        Ok((session, ingest))
    }

    /// Notes how far the bytes were hashed.
    #[must_use = "a transition counts once stored"]
    pub fn save_hash(self, hashed: HashState) -> Result<Self, IllegalTransition> {
        let PendingIngest { claim, .. } = self.ingesting("hash")?;
        Ok(self.with_state(UploadState::Ingesting(PendingIngest { claim, hashed: Some(hashed) })))
    }

    /// Ends the ingest of bytes that are what was claimed and that a trusted blob has.
    #[must_use = "a transition counts once stored"]
    pub fn finish_ingest(self, now: Timestamp) -> Result<(Self, Event), IllegalTransition> {
        let PendingIngest { claim, .. } = self.ingesting("finish")?;
        let session = self.into_state(UploadState::Ready(claim), now);
        let event = session.event(AuditAction::UploadReady);
        Ok((session, event))
    }

    /// Fails the session: the bytes are not what was claimed, are gone, or could not be ingested, and the client must
    /// begin again.
    #[must_use = "a transition counts once stored"]
    pub fn reject(self, reason: String, now: Timestamp) -> Result<(Self, Event), IllegalTransition> {
        let PendingIngest { claim, .. } = self.pending("fail")?;
        let event = Event::new(AuditAction::UploadFailed, self.id).with(&reason);
        Ok((self.into_state(UploadState::Failed { claim, reason }, now), event))
    }

    /// Makes the ingest wait again, after an attempt that has ended early.
    #[must_use = "a transition counts once stored"]
    pub fn requeue_ingest(self, now: Timestamp) -> Result<Self, IllegalTransition> {
        let ingest = self.ingesting("requeue")?;
        Ok(self.into_state(UploadState::Completed(ingest), now))
    }

    fn ingesting(&self, action: &'static str) -> Result<PendingIngest, IllegalTransition> {
        if matches!(self.state, UploadState::Ingesting(_)) { self.pending(action) } else { Err(self.illegal(action)) }
    }

    fn pending(&self, action: &'static str) -> Result<PendingIngest, IllegalTransition> {
        match &self.state {
            UploadState::Completed(ingest) | UploadState::Ingesting(ingest) => Ok(ingest.clone()),
            UploadState::Receiving(_)
            | UploadState::Ready(_)
            | UploadState::Failed { .. }
            | UploadState::Aborted { .. } => Err(self.illegal(action)),
        }
    }
}
