//! Sessions that accept parts: attempts to send them, and what the recorded ones add up to.

use super::{Claim, PendingIngest, UploadRefusal, UploadState};
use crate::{
    digest::{BlobClaim, ByteSize, Digest, HashState},
    hash::RunningHash,
    ids::AttemptId,
    names::PartNumber,
    parts::{Frontier, HashBase, Part, PartLocation},
};

/// The data of a session that accepts parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiving {
    /// What the bytes are claimed to be.
    pub claim: Claim<ByteSize>,
    /// How many attempts to send a part have begun.
    pub attempts: i64,
    /// The attempt that may extend the file of the hashed prefix.
    pub frontier_writer: Option<FrontierWriter>,
    /// What the recorded parts add up to; absent before the first one.
    pub recorded: Option<Recorded>,
}

/// The attempt that may extend the file of the hashed prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrontierWriter {
    /// The attempt.
    pub attempt: AttemptId,
    /// The part it sends.
    pub number: PartNumber,
}

/// What the recorded parts of a session add up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Bytes in all of them.
    pub received: ByteSize,
    /// How far they were hashed as they arrived.
    pub frontier: Option<Frontier>,
}

/// Where a store should put the bytes of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// Directly after this part, whose size is given, or at the start of the hashed prefix.
    Frontier(Option<(PartLocation, ByteSize)>),
    /// Separate from every other part.
    Standalone,
}

/// An attempt to send a part, with what was decided when it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its id, which is the etag of the part once that is recorded.
    pub id: AttemptId,
    /// Its position among the attempts of the session, from 1.
    pub sequence: i64,
    /// The number of the part.
    pub number: PartNumber,
    /// The hash that its bytes continue.
    pub base: HashBase,
    /// Where its bytes go.
    pub placement: Placement,
    /// The most bytes that it may send.
    pub limit: ByteSize,
}

impl Receiving {
    pub(super) const fn new(claim: Claim<ByteSize>) -> Self {
        Self { claim, attempts: 0, frontier_writer: None, recorded: None }
    }

    /// Bytes in the recorded parts.
    pub fn received(&self) -> ByteSize {
        self.recorded.as_ref().map_or(ByteSize::ZERO, |recorded| recorded.received)
    }

    /// How far the recorded parts were hashed as they arrived.
    pub fn frontier(&self) -> Option<&Frontier> {
        self.recorded.as_ref()?.frontier.as_ref()
    }

    /// Admits an attempt to send part `number`.
    pub(super) fn begin(
        mut self,
        id: AttemptId,
        number: PartNumber,
        declared: Option<u64>,
        current: Option<&Part>,
        before: Option<&Part>,
    ) -> Result<(Self, Attempt), UploadRefusal> {
        let limit = self.limit(current)?;
        if declared.is_some_and(|size| size > limit.get()) {
            return Err(self.too_large());
        }
        let frontier = self.frontier();
        let is_next = number.get() == frontier.map_or(1, |frontier| frontier.number.get() + 1);
        let base = HashBase::of(number, before, frontier);
        let placement = if is_next && self.frontier_writer.is_none() {
            Placement::Frontier(frontier.map(|frontier| (frontier.location.clone(), frontier.size)))
        } else {
            Placement::Standalone
        };
        if is_next && self.frontier_writer.as_ref().is_none_or(|writer| writer.number == number) {
            self.frontier_writer = Some(FrontierWriter { attempt: id, number });
        }
        self.attempts += 1;
        let attempt = Attempt { id, sequence: self.attempts, number, base, placement, limit };
        Ok((self, attempt))
    }

    /// Records `part`, which `attempt` received and which is durable.
    pub(super) fn record(
        self,
        attempt: &Attempt,
        part: &Part,
        current: Option<&Part>,
        before: Option<&Part>,
    ) -> Result<Self, UploadRefusal> {
        check_newest_recorded(attempt, current)?;
        let left = self.limit(current)?.get().checked_sub(part.size.get()).ok_or_else(|| self.too_large())?;
        let size = self.claim.size();
        let received = ByteSize::try_from(size.get() - left).unwrap_or(size);
        let frontier = Frontier::advance(self.frontier().cloned(), part, &attempt.base, before);
        Ok(Self { recorded: Some(Recorded { received, frontier }), ..self.without_writer(attempt.id) })
    }

    /// Ends receiving: the bytes wait to be ingested. A digest that was not declared is that of the hashed bytes.
    pub(super) fn complete(self) -> Result<UploadState, UploadRefusal> {
        let hashed = self.frontier().map(|frontier| frontier.hash.clone());
        let claim = match self.claim {
            Claim::Declared(kind, blob) => Claim::Declared(kind, blob),
            Claim::Undeclared(size) => Claim::Undeclared(BlobClaim { digest: digest(hashed.as_ref(), size)?, size }),
        };
        Ok(UploadState::Completed(PendingIngest { claim, hashed }))
    }

    pub(super) fn aborted(&self) -> UploadState {
        UploadState::Aborted { claim: self.claim, received: self.received() }
    }

    pub(super) fn is_writer(&self, attempt: AttemptId) -> bool {
        self.frontier_writer.as_ref().is_some_and(|writer| writer.attempt == attempt)
    }

    pub(super) fn without_writer(self, attempt: AttemptId) -> Self {
        if self.is_writer(attempt) { Self { frontier_writer: None, ..self } } else { self }
    }

    /// How many bytes a part may have that replaces `current`, or is added.
    fn limit(&self, current: Option<&Part>) -> Result<ByteSize, UploadRefusal> {
        let others = self.received().get().saturating_sub(current.map_or(0, |part| part.size.get()));
        let limit = self.claim.size().get().checked_sub(others).ok_or_else(|| self.too_large())?;
        ByteSize::try_from(limit).map_err(|_| self.too_large())
    }

    fn too_large(&self) -> UploadRefusal {
        UploadRefusal::TooLarge { expected: self.claim.size() }
    }
}

/// Fails if `current`, the part that is recorded under the number of `attempt`, is of a newer attempt.
pub(super) fn check_newest_recorded(attempt: &Attempt, current: Option<&Part>) -> Result<(), UploadRefusal> {
    if current.is_some_and(|current| current.sequence > attempt.sequence) {
        return Err(UploadRefusal::Superseded);
    }
    Ok(())
}

/// The digest of `size` bytes, all of which are hashed.
fn digest(hashed: Option<&HashState>, size: ByteSize) -> Result<Digest, UploadRefusal> {
    let hash = match hashed {
        Some(saved) => RunningHash::resume(saved),
        None => Some(RunningHash::default()),
    };
    let whole = hash.filter(|hash| hash.bytes() == size.get()).map(RunningHash::finish);
    whole.ok_or_else(|| UploadRefusal::PartList("the bytes were not hashed whole".to_owned()))
}
