//! Upload sessions: from a claim about bytes to a trusted blob.
//!
//! `created` → `uploading` → `completed` → `ingesting` → `ready`, with `failed` and `aborted` as the other final states.

mod append;
mod claim;
mod idempotency;
mod ingest;
mod multipart;
mod receiving;

pub use append::NewAppendUpload;
pub use claim::{Claim, UploadKind};
pub use idempotency::{IdempotencyKey, InvalidIdempotencyKey};
pub use ingest::PendingIngest;
pub use multipart::NewUpload;
pub use receiving::{Attempt, FrontierWriter, Placement, Receiving, Recorded};

use crate::{
    access::Sender,
    audit::{AuditAction, Event},
    digest::{BlobClaim, ByteSize, Digest},
    ids::UploadId,
    names::PartNumber,
    ports::BlobName,
    text::{MediaType, ShortText},
    time::Timestamp,
    transition::{IllegalTransition, Machine, Revision},
};
use std::{ops::Deref, time::Duration};

/// The state of a session, with the data that exists in that state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadState {
    /// Bytes are received: `created` until the first part is recorded, `uploading` afterwards.
    Receiving(Receiving),
    /// Every byte is recorded; the ingest waits for a worker.
    Completed(PendingIngest),
    /// A worker ingests the bytes.
    Ingesting(PendingIngest),
    /// The digest names a trusted blob.
    Ready(Claim<BlobClaim>),
    /// The bytes are not what was claimed, or could not be ingested.
    Failed {
        /// What was claimed.
        claim: Claim<BlobClaim>,
        /// Why, for the client.
        reason: String,
    },
    /// Aborted by the client, or expired.
    Aborted {
        /// What was claimed.
        claim: Claim<ByteSize>,
        /// Bytes in the parts that were recorded.
        received: ByteSize,
    },
}

impl UploadState {
    /// Every state as clients see it.
    pub const NAMES: [&str; 7] = ["created", "uploading", "completed", "ingesting", "ready", "failed", "aborted"];

    /// The state as clients see it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Receiving(Receiving { recorded: None, .. }) => "created",
            Self::Receiving(Receiving { recorded: Some(_), .. }) => "uploading",
            Self::Completed(_) => "completed",
            Self::Ingesting(_) => "ingesting",
            Self::Ready(_) => "ready",
            Self::Failed { .. } => "failed",
            Self::Aborted { .. } => "aborted",
        }
    }

    /// Whether parts are accepted and none was recorded yet.
    pub const fn is_created(&self) -> bool {
        matches!(self, Self::Receiving(Receiving { recorded: None, .. }))
    }

    /// Whether the state is final.
    pub const fn has_ended(&self) -> bool {
        match self {
            Self::Ready(_) | Self::Failed { .. } | Self::Aborted { .. } => true,
            Self::Receiving(_) | Self::Completed(_) | Self::Ingesting(_) => false,
        }
    }
}

/// What a catalog stores of a session: what exists in every state, and the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRecord {
    /// Its id.
    pub id: UploadId,
    /// Who opened it, and sends its bytes.
    pub created_by: Sender,
    /// The media type that the client declared, as a hint.
    pub media_type_hint: Option<MediaType>,
    /// The file name that the client declared, as a hint.
    pub filename_hint: Option<ShortText>,
    /// The state and its data.
    pub state: UploadState,
    /// When the session is aborted unless a part or the completion comes first. It stays as it was once the session
    /// no longer receives bytes.
    pub expires_at: Timestamp,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When its state or its parts last changed.
    pub updated_at: Timestamp,
    /// Its revision.
    pub revision: Revision,
}

/// An upload session. Its record can be read and changes only through the transitions below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadSession(UploadRecord);

impl Deref for UploadSession {
    type Target = UploadRecord;

    fn deref(&self) -> &UploadRecord {
        &self.0
    }
}

/// Why a session refuses an action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UploadRefusal {
    /// The state does not allow it.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// The session has expired.
    #[error("upload session {0} has expired; start a new upload")]
    Expired(UploadId),
    /// The parts would exceed the claimed size.
    #[error("the parts would exceed the size of {expected} bytes that was declared for the upload")]
    TooLarge {
        /// The claimed size.
        expected: ByteSize,
    },
    /// A later attempt at the same part was recorded first or, in an append upload, has begun.
    #[error("a newer attempt to upload part {0} was already accepted")]
    Superseded(PartNumber),
    /// Appended bytes do not start at the offset of the session.
    #[error("the offset of the upload is {expected}; continue there")]
    Offset {
        /// The offset of the next byte.
        expected: ByteSize,
    },
    /// An append upload was sent in more pieces than there are part numbers.
    #[error("the upload has {max} parts, which is the maximum; start a new upload with larger requests", max = PartNumber::MAX)]
    TooManyParts,
    /// The part list does not match the recorded parts.
    #[error("{0}")]
    PartList(String),
}

impl UploadSession {
    /// A session as a catalog stored it.
    pub const fn restore(record: UploadRecord) -> Self {
        Self(record)
    }

    fn open_in(
        state: UploadState,
        id: UploadId,
        by: Sender,
        (media_type_hint, filename_hint): (Option<MediaType>, Option<ShortText>),
        now: Timestamp,
        ttl: Duration,
    ) -> (Self, Event) {
        let session = Self(UploadRecord {
            id,
            created_by: by,
            media_type_hint,
            filename_hint,
            state,
            expires_at: now.plus(ttl),
            created_at: now,
            updated_at: now,
            revision: Revision::FIRST,
        });
        let event = session.event(AuditAction::UploadCreated);
        (session, event)
    }

    /// What the client declared before the first byte.
    pub fn declared(&self) -> Claim<ByteSize> {
        self.known().0
    }

    /// The claimed size.
    pub fn size(&self) -> ByteSize {
        self.declared().size()
    }

    /// The digest, if it was declared or is computed by now.
    pub fn digest(&self) -> Option<Digest> {
        self.known().1
    }

    /// The name that its blob gets, or has; the same in every state.
    pub fn blob_name(&self) -> BlobName {
        self.declared().blob_name(self.id)
    }

    /// Where the next byte of an append upload goes: after every recorded one.
    pub fn offset(&self) -> ByteSize {
        match &self.state {
            UploadState::Receiving(receiving) => receiving.received(),
            UploadState::Aborted { received, .. } => *received,
            UploadState::Completed(_)
            | UploadState::Ingesting(_)
            | UploadState::Ready(_)
            | UploadState::Failed { .. } => self.size(),
        }
    }

    /// The data of the receiving state, also if the session has expired.
    pub fn receiving(&self) -> Option<&Receiving> {
        match &self.state {
            UploadState::Receiving(receiving) => Some(receiving),
            UploadState::Completed(_)
            | UploadState::Ingesting(_)
            | UploadState::Ready(_)
            | UploadState::Failed { .. }
            | UploadState::Aborted { .. } => None,
        }
    }

    /// The session, whose bytes `sender` continues to send; those that were sent before are its own or within its reach.
    #[must_use = "a change counts once stored"]
    pub fn sent_by(self, sender: Sender) -> Self {
        Self(UploadRecord { created_by: sender, ..self.0 })
    }

    /// Aborts the session for the client. An aborted one stays as it is, without an event.
    #[must_use = "a transition counts once stored"]
    pub fn abort(self, now: Timestamp) -> Result<(Self, Option<Event>), IllegalTransition> {
        match &self.state {
            UploadState::Receiving(receiving) => {
                let aborted = receiving.aborted();
                let event = Event::new(AuditAction::UploadAborted, self.id);
                Ok((self.into_state(aborted, now), Some(event)))
            }
            UploadState::Aborted { .. } => Ok((self, None)),
            UploadState::Completed(_)
            | UploadState::Ingesting(_)
            | UploadState::Ready(_)
            | UploadState::Failed { .. } => Err(self.illegal("abort")),
        }
    }

    /// Aborts the session if it has expired at `now`.
    #[must_use = "a transition counts once stored"]
    pub fn expire(self, now: Timestamp) -> Result<(Self, Event), IllegalTransition> {
        let receiving = self.receiving().filter(|_| self.expires_at <= now);
        let aborted = receiving.ok_or_else(|| self.illegal("expire"))?.aborted();
        let event = Event::new(AuditAction::UploadExpired, self.id);
        Ok((self.into_state(aborted, now), event))
    }

    /// Fails a session that receives bytes, because its declared digest was blocked.
    #[must_use = "a transition counts once stored"]
    pub fn block(self, reason: String, now: Timestamp) -> Result<(Self, Event), IllegalTransition> {
        let claim = match self.receiving().map(|receiving| receiving.claim) {
            Some(Claim::Declared(kind, blob)) => Claim::Declared(kind, blob),
            Some(Claim::Undeclared(_)) | None => return Err(self.illegal("block")),
        };
        let event = Event::new(AuditAction::UploadFailed, self.id).with(&reason);
        Ok((self.into_state(UploadState::Failed { claim, reason }, now), event))
    }

    /// What the client declared, and the digest as far as it is known.
    fn known(&self) -> (Claim<ByteSize>, Option<Digest>) {
        match &self.state {
            UploadState::Receiving(Receiving { claim, .. }) | UploadState::Aborted { claim, .. } => {
                (*claim, claim.digest())
            }
            UploadState::Completed(PendingIngest { claim, .. })
            | UploadState::Ingesting(PendingIngest { claim, .. })
            | UploadState::Ready(claim)
            | UploadState::Failed { claim, .. } => (claim.declared(), Some(claim.blob().digest)),
        }
    }

    /// The data of a session that accepts parts at `now`.
    fn accepting(&self, action: &'static str, now: Timestamp) -> Result<Receiving, UploadRefusal> {
        let receiving = self.receiving().ok_or_else(|| self.illegal(action))?;
        if self.expires_at <= now {
            return Err(UploadRefusal::Expired(self.id));
        }
        Ok(receiving.clone())
    }

    /// Ends receiving: the bytes wait to be ingested.
    fn completed(self, now: Timestamp) -> Result<(Self, Event), UploadRefusal> {
        let completed = self.accepting("complete", now)?.complete()?;
        let session = self.into_state(completed, now);
        let event = session.event(AuditAction::UploadCompleted);
        Ok((session, event))
    }

    /// An event about the session, with the digest in it if that is known.
    fn event(&self, action: AuditAction) -> Event {
        let event = Event::new(action, self.id);
        match self.digest() {
            Some(digest) => event.with(digest),
            None => event,
        }
    }

    fn into_state(self, state: UploadState, now: Timestamp) -> Self {
        Self(UploadRecord { state, updated_at: now, ..self.0 })
    }

    /// The same session with other data in its state, which clients do not see as a change.
    fn with_state(self, state: UploadState) -> Self {
        Self(UploadRecord { state, ..self.0 })
    }

    fn illegal(&self, action: &'static str) -> IllegalTransition {
        IllegalTransition {
            action,
            subject: Machine::UploadSession,
            name: self.id.to_string(),
            state: self.state.name(),
        }
    }
}
