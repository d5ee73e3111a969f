//! Append uploads: every request continues at the offset where the recorded bytes end.
//!
//! The newest attempt wins: once it has begun, what an older one received is not recorded. So an offset that was
//! reported to a client never decreases, and a stalled request does not block its successor.

use super::{Attempt, Claim, Receiving, UploadKind, UploadRefusal, UploadSession, UploadState};
use crate::{
    access::Sender,
    audit::Event,
    digest::{BlobClaim, ByteSize, Digest},
    ids::{AttemptId, UploadId},
    names::PartNumber,
    parts::Part,
    text::MediaType,
    time::Timestamp,
};
use std::time::Duration;

/// An append upload to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAppendUpload {
    /// How many bytes will be sent.
    pub size: ByteSize,
    /// Their digest, if the client declares it.
    pub digest: Option<Digest>,
    /// The media type that the client declares, as a hint.
    pub media_type_hint: Option<MediaType>,
}

impl NewAppendUpload {
    fn claim(&self) -> Claim<ByteSize> {
        match self.digest {
            Some(digest) => Claim::Declared(UploadKind::Append, BlobClaim { digest, size: self.size }),
            None => Claim::Undeclared(self.size),
        }
    }
}

impl UploadSession {
    /// Opens a session that expires when no bytes were recorded for `ttl`.
    pub fn open_append(id: UploadId, by: Sender, new: NewAppendUpload, now: Timestamp, ttl: Duration) -> (Self, Event) {
        let state = UploadState::Receiving(Receiving::new(new.claim()));
        Self::open_in(state, id, by, (new.media_type_hint, None), now, ttl)
    }

    /// Whether it was opened by the request for `new`.
    pub fn was_opened_to_append(&self, new: &NewAppendUpload) -> bool {
        self.declared() == new.claim() && self.media_type_hint == new.media_type_hint
    }

    /// Admits an attempt to send the bytes from `offset` on. `last` is the part that was recorded last.
    #[must_use = "a transition counts once stored"]
    pub fn begin_append(
        self,
        id: AttemptId,
        offset: u64,
        last: Option<&Part>,
        now: Timestamp,
    ) -> Result<(Self, Attempt), UploadRefusal> {
        if self.offset().get() != offset {
            return Err(UploadRefusal::Offset { expected: self.offset() });
        }
        let number = match last {
            Some(last) => last.number.next().ok_or(UploadRefusal::TooManyParts)?,
            None => PartNumber::FIRST,
        };
        self.begin_attempt(id, number, None, None, last, now)
    }

    /// Records `part`, which `attempt` received and which is durable, unless a newer attempt has begun. The last byte
    /// completes the upload, which is the event; before it, the session expires `ttl` later.
    #[must_use = "a transition counts once stored"]
    pub fn record_append(
        self,
        attempt: &Attempt,
        part: &Part,
        last: Option<&Part>,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<(Self, Option<Event>), UploadRefusal> {
        self.check_newest(attempt)?;
        let session = self.record_part(attempt, part, None, last, now, ttl)?;
        if session.offset() == session.size() {
            let (session, event) = session.completed(now)?;
            return Ok((session, Some(event)));
        }
        Ok((session, None))
    }

    /// Fails if a newer attempt of an append upload has begun, or has recorded the last byte.
    pub(super) fn check_newest(&self, attempt: &Attempt) -> Result<(), UploadRefusal> {
        match &self.state {
            UploadState::Receiving(receiving) if receiving.attempts == attempt.sequence => Ok(()),
            UploadState::Aborted { .. } => Ok(()),
            UploadState::Receiving(_)
            | UploadState::Completed(_)
            | UploadState::Ingesting(_)
            | UploadState::Ready(_)
            | UploadState::Failed { .. } => Err(UploadRefusal::Superseded(attempt.number)),
        }
    }

    /// Completes an append upload of no bytes, for which no part is ever recorded.
    #[must_use = "a transition counts once stored"]
    pub fn complete_empty(self, now: Timestamp) -> Result<(Self, Event), UploadRefusal> {
        self.complete(&[], &[], now)
    }
}
