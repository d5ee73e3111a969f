//! Upload sessions: from a claim about bytes to a trusted blob.
//!
//! `created` → `uploading` → `completed` → `ingesting` → `ready`, with `failed` and `aborted` as the other ends.

mod append;
mod claim;
mod ingest;

pub use claim::{Claim, UploadKind};

use crate::{
    audit::{AuditAction, Event},
    digest::{BlobClaim, ByteSize, Digest, HashState},
    ids::{AttemptId, PrincipalId, UploadId},
    lease::{Queued, Running},
    names::PartNumber,
    parts::{Frontier, HashBase, ListedPart, Part, PartLocation, check_list},
    ports::BlobName,
    text::{MediaType, ShortText},
    time::Timestamp,
    transition::{IllegalTransition, Machine, Revision},
};
use std::{ops::Deref, time::Duration};

/// How long the ingest of a session is tried again before the session fails.
pub const INGEST_RETRY_LIMIT: Duration = Duration::from_hours(24);

/// How far a session has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadState {
    /// Nothing was received.
    Created,
    /// Parts are being received.
    Uploading,
    /// The part list is fixed; the bytes wait to be ingested.
    Completed(Queued),
    /// A worker is ingesting the bytes.
    Ingesting(Running),
    /// The digest names a trusted blob.
    Ready,
    /// The bytes were not what was claimed, or could not be ingested.
    Failed {
        /// Why, for the client.
        reason: String,
    },
    /// Given up by the client or expired.
    Aborted,
}

impl UploadState {
    /// Every state as clients see it.
    pub const NAMES: [&str; 7] = ["created", "uploading", "completed", "ingesting", "ready", "failed", "aborted"];

    /// The state as clients see it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Uploading => "uploading",
            Self::Completed(_) => "completed",
            Self::Ingesting(_) => "ingesting",
            Self::Ready => "ready",
            Self::Failed { .. } => "failed",
            Self::Aborted => "aborted",
        }
    }

    /// Whether nothing more happens to the session.
    pub const fn has_ended(&self) -> bool {
        match self {
            Self::Ready | Self::Failed { .. } | Self::Aborted => true,
            Self::Created | Self::Uploading | Self::Completed(_) | Self::Ingesting(_) => false,
        }
    }
}

/// The attempt that extends the file of the hashed prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrontierWriter {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Which part it sends.
    pub number: PartNumber,
}

/// What a catalog stores of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRecord {
    /// Its identity.
    pub id: UploadId,
    /// Who opened it.
    pub created_by: PrincipalId,
    /// What the bytes are claimed to be.
    pub claim: Claim,
    /// How they come.
    pub kind: UploadKind,
    /// What the client says they are.
    pub media_type_hint: Option<MediaType>,
    /// How the client calls them.
    pub filename_hint: Option<ShortText>,
    /// How far it has come.
    pub state: UploadState,
    /// When it is aborted unless completed before.
    pub expires_at: Timestamp,
    /// Bytes in its recorded parts.
    pub received: ByteSize,
    /// How many attempts to send a part were begun.
    pub attempts: i64,
    /// Who extends the hashed prefix now.
    pub frontier_writer: Option<FrontierWriter>,
    /// How far the parts were hashed as they arrived.
    pub frontier: Option<Frontier>,
    /// How far the fixed part list was hashed, once completed.
    pub hashed: Option<HashState>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Counts its changes.
    pub revision: Revision,
}

/// A session; its record can be read but changes only by the transitions below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadSession(UploadRecord);

impl Deref for UploadSession {
    type Target = UploadRecord;

    fn deref(&self) -> &UploadRecord {
        &self.0
    }
}

/// What a client wants to upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUpload {
    /// What the bytes are claimed to be.
    pub claim: BlobClaim,
    /// What the client says they are.
    pub media_type_hint: Option<MediaType>,
    /// How the client calls them.
    pub filename_hint: Option<ShortText>,
}

/// What a client wants to send as a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAppendUpload {
    /// How many bytes.
    pub size: ByteSize,
    /// Their digest, if the client tells it.
    pub digest: Option<Digest>,
    /// What the client says they are.
    pub media_type_hint: Option<MediaType>,
}

/// Where the bytes of an attempt go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// Directly behind this part, or at the very start.
    Frontier(Option<(PartLocation, ByteSize)>),
    /// Somewhere of their own.
    Standalone,
}

/// An attempt to send a part, as it was allowed to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its identity, and the part's etag once recorded.
    pub id: AttemptId,
    /// The how manieth attempt of the session it is.
    pub sequence: i64,
    /// The part it sends.
    pub number: PartNumber,
    /// From where its bytes are hashed.
    pub base: HashBase,
    /// Where its bytes go.
    pub placement: Placement,
    /// The most bytes it may send.
    pub limit: ByteSize,
}

/// Why a session refuses something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UploadRefusal {
    /// The state does not allow it.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// The session passed its time.
    #[error("the upload session has expired")]
    Expired,
    /// The parts would exceed the claimed size.
    #[error("the parts would exceed the expected size of {expected} bytes")]
    TooLarge {
        /// The claimed size.
        expected: ByteSize,
    },
    /// A later attempt at the same part was recorded first, or, of a stream, has begun.
    #[error("a newer attempt at this part was accepted already")]
    Superseded,
    /// The bytes of a stream do not go where they were sent for.
    #[error("the next byte goes at offset {expected}")]
    Offset {
        /// Where the next byte goes.
        expected: ByteSize,
    },
    /// A stream came in more pieces than are kept.
    #[error("the upload came in too many pieces; begin again, with larger ones")]
    TooManyParts,
    /// The list does not say what was received.
    #[error("{0}")]
    PartList(String),
}

impl UploadSession {
    /// Opens a session that waits for bytes until `ttl` has passed without any.
    pub fn open(id: UploadId, by: PrincipalId, new: NewUpload, now: Timestamp, ttl: Duration) -> (Self, Event) {
        let hints = (new.media_type_hint, new.filename_hint);
        let claim = Claim::Declared(new.claim);
        Self::begin(id, by, claim, UploadKind::Multipart, hints, UploadState::Created, now, now.plus(ttl))
    }

    /// A session for a digest that is a trusted blob of that size already: there is nothing to send.
    pub fn already_ready(id: UploadId, by: PrincipalId, new: NewUpload, now: Timestamp) -> (Self, Event) {
        let hints = (new.media_type_hint, new.filename_hint);
        Self::begin(id, by, Claim::Declared(new.claim), UploadKind::Multipart, hints, UploadState::Ready, now, now)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a record")]
    fn begin(
        id: UploadId,
        by: PrincipalId,
        claim: Claim,
        kind: UploadKind,
        (media_type_hint, filename_hint): (Option<MediaType>, Option<ShortText>),
        state: UploadState,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> (Self, Event) {
        let event = Event::new(AuditAction::UploadCreated, id);
        let event = match claim.digest() {
            Some(digest) => event.with(digest),
            None => event,
        };
        let session = Self(UploadRecord {
            id,
            created_by: by,
            claim,
            kind,
            media_type_hint,
            filename_hint,
            state,
            expires_at,
            received: ByteSize::ZERO,
            attempts: 0,
            frontier_writer: None,
            frontier: None,
            hashed: None,
            created_at: now,
            updated_at: now,
            revision: Revision::FIRST,
        });
        (session, event)
    }

    /// A session as a catalog stored it.
    pub const fn restore(record: UploadRecord) -> Self {
        Self(record)
    }

    /// Lets an attempt to send part `number` begin. `declared` is its announced size, `current` the part
    /// recorded under that number, `before` the part recorded under the number before it.
    #[must_use = "a transition counts once stored"]
    pub fn begin_attempt(
        mut self,
        id: AttemptId,
        number: PartNumber,
        declared: Option<u64>,
        current: Option<&Part>,
        before: Option<&Part>,
        now: Timestamp,
    ) -> Result<(Self, Attempt), UploadRefusal> {
        self.check_receiving("send a part to", now)?;
        let limit = self.room_for(current)?;
        if declared.is_some_and(|size| size > limit.get()) {
            return Err(self.too_large());
        }
        let record = &mut self.0;
        let next = record.frontier.as_ref().map_or(1, |frontier| frontier.number.get() + 1);
        let placement = match (&record.frontier_writer, &record.frontier) {
            (None, frontier) if number.get() == next => {
                Placement::Frontier(frontier.as_ref().map(|frontier| (frontier.place.clone(), frontier.size)))
            }
            _ => Placement::Standalone,
        };
        let may_append = record.frontier_writer.as_ref().is_none_or(|frontier_writer| frontier_writer.number == number);
        if number.get() == next && may_append {
            record.frontier_writer = Some(FrontierWriter { attempt: id, number });
        }
        record.attempts += 1;
        let base = HashBase::of(number, before, record.frontier.as_ref());
        let attempt = Attempt { id, sequence: record.attempts, number, base, placement, limit };
        Ok((self, attempt))
    }

    /// Records what an attempt received and made durable.
    #[must_use = "a transition counts once stored"]
    pub fn record_part(
        mut self,
        attempt: &Attempt,
        part: &Part,
        current: Option<&Part>,
        before: Option<&Part>,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<Self, UploadRefusal> {
        self.check_receiving("send a part to", now)?;
        if current.is_some_and(|current| current.sequence > attempt.sequence) {
            return Err(UploadRefusal::Superseded);
        }
        let room = self.room_for(current)?;
        let left = room.get().checked_sub(part.size.get()).ok_or_else(|| self.too_large())?;
        self = self.release_frontier_writer(attempt.id);
        let record = &mut self.0;
        record.received = ByteSize::try_from(record.claim.size().get() - left).unwrap_or(record.claim.size());
        record.frontier = Frontier::advance(record.frontier.take(), part, &attempt.base, before);
        record.state = UploadState::Uploading;
        record.expires_at = now.plus(ttl);
        record.updated_at = now;
        Ok(self)
    }

    /// Notes that an attempt has ended without a part; says whether that changed anything.
    ///
    /// Only an attempt that was placed behind the hashed prefix frees that place. One that superseded a stalled
    /// frontier writer was placed apart and stays recorded in its stead: the stalled one may still hold the file open.
    #[must_use = "a transition counts once stored"]
    pub fn end_attempt(self, attempt: &Attempt) -> (Self, bool) {
        let held = self.frontier_writer.as_ref().is_some_and(|frontier_writer| frontier_writer.attempt == attempt.id);
        match attempt.placement {
            Placement::Frontier(_) if held => (self.release_frontier_writer(attempt.id), true),
            Placement::Frontier(_) | Placement::Standalone => (self, false),
        }
    }

    fn release_frontier_writer(mut self, attempt: AttemptId) -> Self {
        self.0.frontier_writer = self.0.frontier_writer.filter(|frontier_writer| frontier_writer.attempt != attempt);
        self
    }

    /// Fixes the part list, so that the bytes can be ingested. `recorded` is every recorded part, ascending.
    #[must_use = "a transition counts once stored"]
    pub fn complete(
        mut self,
        listed: &[ListedPart],
        recorded: &[Part],
        now: Timestamp,
    ) -> Result<(Self, Event), UploadRefusal> {
        self.check_receiving("complete", now)?;
        check_list(listed, recorded, self.claim.size()).map_err(UploadRefusal::PartList)?;
        self.0.hashed = self.0.frontier.as_ref().map(|frontier| frontier.hash.clone());
        let event = self.about_bytes(AuditAction::UploadCompleted);
        Ok((self.into_state(UploadState::Completed(Queued::fresh(now)), now), event))
    }

    /// Gives the session up for the client. An aborted one stays so, without an event.
    #[must_use = "a transition counts once stored"]
    pub fn abort(self, now: Timestamp) -> Result<(Self, Option<Event>), IllegalTransition> {
        match self.state {
            UploadState::Created | UploadState::Uploading => {
                let event = Event::new(AuditAction::UploadAborted, self.id);
                Ok((self.into_state(UploadState::Aborted, now), Some(event)))
            }
            UploadState::Aborted => Ok((self, None)),
            UploadState::Completed(_) | UploadState::Ingesting(_) | UploadState::Ready | UploadState::Failed { .. } => {
                Err(self.illegal("abort"))
            }
        }
    }

    /// Gives the session up once its time has passed.
    #[must_use = "a transition counts once stored"]
    pub fn expire(self, now: Timestamp) -> Result<(Self, Event), IllegalTransition> {
        match self.state {
            UploadState::Created | UploadState::Uploading if self.expires_at <= now => {
                let event = Event::new(AuditAction::UploadExpired, self.id);
                Ok((self.into_state(UploadState::Aborted, now), event))
            }
            UploadState::Created
            | UploadState::Uploading
            | UploadState::Completed(_)
            | UploadState::Ingesting(_)
            | UploadState::Ready
            | UploadState::Failed { .. }
            | UploadState::Aborted => Err(self.illegal("expire")),
        }
    }

    /// The name that its blob gets: that of the digest where it was told before the first byte.
    pub fn blob_name(&self) -> BlobName {
        match self.claim {
            Claim::Declared(claim) => BlobName::of(&claim.digest, self.id),
            Claim::Undeclared(_) | Claim::Computed(_) => BlobName::of_undeclared(self.id),
        }
    }

    fn about_bytes(&self, action: AuditAction) -> Event {
        let event = Event::new(action, self.id);
        match self.claim.digest() {
            Some(digest) => event.with(digest),
            None => event,
        }
    }

    fn check_receiving(&self, action: &'static str, now: Timestamp) -> Result<(), UploadRefusal> {
        match self.state {
            UploadState::Created | UploadState::Uploading if self.expires_at <= now => Err(UploadRefusal::Expired),
            UploadState::Created | UploadState::Uploading => Ok(()),
            UploadState::Completed(_)
            | UploadState::Ingesting(_)
            | UploadState::Ready
            | UploadState::Failed { .. }
            | UploadState::Aborted => Err(self.illegal(action).into()),
        }
    }

    /// How many bytes may stand where `current` stands now.
    fn room_for(&self, current: Option<&Part>) -> Result<ByteSize, UploadRefusal> {
        let others = self.received.get().saturating_sub(current.map_or(0, |part| part.size.get()));
        let room = self.claim.size().get().checked_sub(others).ok_or_else(|| self.too_large())?;
        ByteSize::try_from(room).map_err(|_| self.too_large())
    }

    fn too_large(&self) -> UploadRefusal {
        UploadRefusal::TooLarge { expected: self.claim.size() }
    }

    fn into_state(mut self, state: UploadState, now: Timestamp) -> Self {
        self.0.state = state;
        self.0.updated_at = now;
        self
    }

    fn illegal(&self, action: &'static str) -> IllegalTransition {
        IllegalTransition { action, subject: Machine::UploadSession, state: self.state.name() }
    }
}
