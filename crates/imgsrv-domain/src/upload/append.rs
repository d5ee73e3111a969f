//! Sessions whose bytes come as a stream: at an offset, behind what was recorded before.
//!
//! The newest attempt wins: once it has begun, what an older one has received is not recorded any more. So an
//! offset that a client was told never goes back, and a request that stalls keeps no other from going on.

use super::{Attempt, Claim, NewAppendUpload, Queued, UploadKind, UploadRefusal, UploadSession, UploadState};
use crate::{
    audit::{AuditAction, Event},
    digest::{BlobClaim, ByteSize},
    hash::RunningHash,
    ids::{AttemptId, PrincipalId, UploadId},
    names::PartNumber,
    parts::{ListedPart, Part, check_list},
    time::Timestamp,
};
use std::time::Duration;

impl UploadSession {
    /// Opens a session for a stream, which waits for bytes until `ttl` has passed without any.
    pub fn open_append(
        id: UploadId,
        by: PrincipalId,
        new: NewAppendUpload,
        now: Timestamp,
        ttl: Duration,
    ) -> (Self, Event) {
        let claim = match new.digest {
            Some(digest) => Claim::Declared(BlobClaim { digest, size: new.size }),
            None => Claim::Undeclared(new.size),
        };
        let hints = (new.media_type_hint, None);
        Self::begin(id, by, claim, UploadKind::Append, hints, UploadState::Created, now, now.plus(ttl))
    }

    /// Where the next bytes go: behind everything that was recorded.
    pub fn offset(&self) -> ByteSize {
        match self.state {
            UploadState::Created | UploadState::Uploading | UploadState::Aborted | UploadState::Failed { .. } => {
                self.received
            }
            UploadState::Completed(_) | UploadState::Ingesting(_) | UploadState::Ready => self.claim.size(),
        }
    }

    /// Lets an attempt begin that sends what comes at `offset`. `last` is the part that was recorded last.
    #[must_use = "a transition counts once stored"]
    pub fn begin_append(
        self,
        id: AttemptId,
        offset: u64,
        last: Option<&Part>,
        now: Timestamp,
    ) -> Result<(Self, Attempt), UploadRefusal> {
        if self.received.get() != offset {
            return Err(UploadRefusal::Offset { expected: self.received });
        }
        let number = match last {
            Some(last) => last.number.next().ok_or(UploadRefusal::TooManyParts)?,
            None => PartNumber::FIRST,
        };
        self.begin_attempt(id, number, None, None, last, now)
    }

    /// Records what an attempt received and made durable, unless a newer one has begun.
    #[must_use = "a transition counts once stored"]
    pub fn record_append(
        self,
        attempt: &Attempt,
        part: &Part,
        last: Option<&Part>,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<Self, UploadRefusal> {
        if self.attempts != attempt.sequence {
            return Err(UploadRefusal::Superseded);
        }
        self.record_part(attempt, part, None, last, now, ttl)
    }

    /// Completes a stream whose last byte was recorded. `recorded` is every recorded part, ascending.
    #[must_use = "a transition counts once stored"]
    pub fn complete_append(mut self, recorded: &[Part], now: Timestamp) -> Result<(Self, Event), UploadRefusal> {
        self.check_receiving("complete", now)?;
        let listed: Vec<ListedPart> = recorded
            .iter()
            .map(|part| ListedPart { number: part.number, attempt: part.attempt, size: part.size })
            .collect();
        check_list(&listed, recorded, self.claim.size()).map_err(UploadRefusal::PartList)?;
        self.0.hashed = self.0.frontier.as_ref().map(|frontier| frontier.hash.clone());
        let digest = match self.claim {
            Claim::Declared(claim) | Claim::Computed(claim) => claim.digest,
            Claim::Undeclared(size) => {
                let hash = match &self.hashed {
                    Some(saved) => RunningHash::resume(saved),
                    None => Some(RunningHash::new()),
                };
                let whole = hash.filter(|hash| hash.bytes() == size.get());
                let whole =
                    whole.ok_or_else(|| UploadRefusal::PartList("the bytes were not hashed whole".to_owned()))?;
                let digest = whole.finish();
                self.0.claim = Claim::Computed(BlobClaim { digest, size });
                digest
            }
        };
        let event = Event::new(AuditAction::UploadCompleted, self.id).with(digest);
        Ok((self.into_state(UploadState::Completed(Queued::fresh(now)), now), event))
    }
}
