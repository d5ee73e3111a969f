//! Multipart uploads: numbered parts in any order, and a part list that completes them.

use super::{
    Attempt, Claim, Placement, Receiving, UploadKind, UploadRecord, UploadRefusal, UploadSession, UploadState,
    receiving::check_newest_recorded,
};
use crate::{
    access::Sender,
    audit::Event,
    digest::BlobClaim,
    ids::{AttemptId, UploadId},
    names::PartNumber,
    parts::{ListedPart, Part, check_list},
    text::{MediaType, ShortText},
    time::Timestamp,
};
use std::time::Duration;

/// A multipart upload to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUpload {
    /// What the bytes are claimed to be.
    pub claim: BlobClaim,
    /// The media type that the client declares, as a hint.
    pub media_type_hint: Option<MediaType>,
    /// The file name that the client declares, as a hint.
    pub filename_hint: Option<ShortText>,
}

impl UploadSession {
    /// Opens a session that expires when no part was recorded for `ttl`.
    pub fn open(id: UploadId, by: Sender, new: NewUpload, now: Timestamp, ttl: Duration) -> (Self, Event) {
        let claim = Claim::Declared(UploadKind::Multipart, new.claim);
        let state = UploadState::Receiving(Receiving::new(claim));
        Self::open_in(state, id, by, (new.media_type_hint, new.filename_hint), now, ttl)
    }

    /// Opens a session for a digest that is a trusted blob of that size already: there is nothing to send.
    pub fn already_ready(id: UploadId, by: Sender, new: NewUpload, now: Timestamp) -> (Self, Event) {
        let state = UploadState::Ready(Claim::Declared(UploadKind::Multipart, new.claim));
        Self::open_in(state, id, by, (new.media_type_hint, new.filename_hint), now, Duration::ZERO)
    }

    /// Whether it was opened by the request for `new`.
    pub fn was_opened_for(&self, new: &NewUpload) -> bool {
        let NewUpload { claim, media_type_hint, filename_hint } = new;
        self.declared() == Claim::Declared(UploadKind::Multipart, *claim)
            && self.media_type_hint == *media_type_hint
            && self.filename_hint == *filename_hint
    }

    /// Whether there was nothing to send when it was opened.
    pub fn was_ready_at_once(&self) -> bool {
        self.expires_at == self.created_at
    }

    /// Admits an attempt to send part `number`. `declared` is its declared size, `current` the part recorded under
    /// that number, `before` the part recorded under the number before it.
    #[must_use = "a transition counts once stored"]
    pub fn begin_attempt(
        self,
        id: AttemptId,
        number: PartNumber,
        declared: Option<u64>,
        current: Option<&Part>,
        before: Option<&Part>,
        now: Timestamp,
    ) -> Result<(Self, Attempt), UploadRefusal> {
        let receiving = self.accepting("send a part to", now)?;
        let (receiving, attempt) = receiving.begin(id, number, declared, current, before)?;
        Ok((self.with_state(UploadState::Receiving(receiving)), attempt))
    }

    /// Records `part`, which `attempt` received and which is durable. The session expires `ttl` later.
    #[must_use = "a transition counts once stored"]
    pub fn record_part(
        self,
        attempt: &Attempt,
        part: &Part,
        current: Option<&Part>,
        before: Option<&Part>,
        now: Timestamp,
        ttl: Duration,
    ) -> Result<Self, UploadRefusal> {
        let receiving = self.accepting("send a part to", now)?.record(attempt, part, current, before)?;
        let state = UploadState::Receiving(receiving);
        Ok(Self(UploadRecord { state, expires_at: now.plus(ttl), updated_at: now, ..self.0 }))
    }

    /// Fails if no part of `attempt` can be recorded any more: the session has ended, or a newer attempt took over.
    /// `current` is the part that is recorded under its number; if that is its own, nothing is refused.
    pub fn check_attempt(
        &self,
        attempt: &Attempt,
        current: Option<&Part>,
        now: Timestamp,
    ) -> Result<(), UploadRefusal> {
        if current.is_some_and(|current| current.attempt == attempt.id) {
            return Ok(());
        }
        if self.declared().kind() == UploadKind::Append {
            self.check_newest(attempt)?;
        }
        self.accepting("send a part to", now)?;
        check_newest_recorded(attempt, current)
    }

    /// Notes that an attempt ended without a part; returns whether the session changed.
    ///
    /// Only an attempt that was placed at the frontier frees it. A standalone attempt that superseded a stalled
    /// frontier writer stays recorded as the writer: the stalled one may still have the file open.
    #[must_use = "a transition counts once stored"]
    pub fn end_attempt(self, attempt: &Attempt) -> (Self, bool) {
        match (self.receiving(), &attempt.placement) {
            (Some(receiving), Placement::Frontier(_)) if receiving.is_writer(attempt.id) => {
                let receiving = receiving.clone().without_writer(attempt.id);
                (self.with_state(UploadState::Receiving(receiving)), true)
            }
            (Some(_) | None, Placement::Frontier(_) | Placement::Standalone) => (self, false),
        }
    }

    /// Fixes the part list, so that the bytes can be ingested. `recorded` is every recorded part, ascending.
    #[must_use = "a transition counts once stored"]
    pub fn complete(
        self,
        listed: &[ListedPart],
        recorded: &[Part],
        now: Timestamp,
    ) -> Result<(Self, Event), UploadRefusal> {
        self.accepting("complete", now)?;
        check_list(listed, recorded, self.size()).map_err(UploadRefusal::PartList)?;
        self.completed(now)
    }
}
