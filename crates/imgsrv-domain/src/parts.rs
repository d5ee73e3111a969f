//! Parts of an upload and the hash frontier: how far the bytes were hashed as they arrived.
//!
//! A part that directly follows the hashed prefix continues its hash; one out of order waits and is
//! read when the upload is ingested. Replacing a part takes the frontier back to the part before it,
//! and forward again when the replacement was hashed from exactly there.

use crate::{
    digest::{ByteSize, HashState},
    ids::AttemptId,
    names::PartNumber,
};

/// Where a blob store put a part, in words that only that store understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartLocation(pub String);

/// A part that was received in full and made durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its number.
    pub number: PartNumber,
    /// The attempt that sent it; its etag.
    pub attempt: AttemptId,
    /// The how manieth attempt of its session it was.
    pub sequence: i64,
    /// Its size.
    pub size: ByteSize,
    /// Where its bytes lie.
    pub place: PartLocation,
    /// The hash of everything up to its end, if it continued a hash. Meaningful only up to the frontier.
    pub hash: Option<HashState>,
}

/// The last part of the hashed prefix: parts 1 to `number`, without a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontier {
    /// The last hashed part.
    pub number: PartNumber,
    /// The attempt that sent it.
    pub attempt: AttemptId,
    /// The hash up to its end.
    pub hash: HashState,
    /// Where it lies.
    pub place: PartLocation,
    /// Its size.
    pub size: ByteSize,
}

/// From where an attempt hashes what it receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashBase {
    /// From nothing: it is the first part.
    Start,
    /// From the end of the part before it, sent by this attempt.
    After(AttemptId, HashState),
    /// Not at all: what comes before it is not known.
    Unknown,
}

impl HashBase {
    /// The base for part `number`, given the part before it as recorded now.
    pub fn of(number: PartNumber, before: Option<&Part>, frontier: Option<&Frontier>) -> Self {
        let Some(previous) = number.previous() else { return Self::Start };
        let hashed = frontier.is_some_and(|frontier| previous <= frontier.number);
        match before.filter(|part| hashed && part.number == previous) {
            Some(Part { attempt, hash: Some(state), .. }) => Self::After(*attempt, state.clone()),
            Some(Part { hash: None, .. }) | None => Self::Unknown,
        }
    }

    /// Whether what was hashed from this base still follows what is recorded now.
    fn still_holds(&self, now: &Self) -> bool {
        match (self, now) {
            (Self::Start, Self::Start) => true,
            (Self::After(then, _), Self::After(now, _)) => then == now,
            (Self::Start | Self::After(..) | Self::Unknown, _) => false,
        }
    }
}

impl Frontier {
    /// The frontier once `part` is recorded, its bytes hashed from `base`; `before` is the part before
    /// it as recorded now.
    pub fn advance(frontier: Option<Self>, part: &Part, base: &HashBase, before: Option<&Part>) -> Option<Self> {
        let base_now = HashBase::of(part.number, before, frontier.as_ref());
        if let (true, Some(hash)) = (base.still_holds(&base_now), &part.hash) {
            return Some(Self::at(part, hash.clone()));
        }
        match frontier {
            Some(frontier) if part.number <= frontier.number => {
                let before = before?;
                before.hash.clone().map(|hash| Self::at(before, hash))
            }
            untouched => untouched,
        }
    }

    fn at(part: &Part, hash: HashState) -> Self {
        Self { number: part.number, attempt: part.attempt, hash, place: part.place.clone(), size: part.size }
    }
}

/// A part as a client lists it to complete the upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedPart {
    /// Its number.
    pub number: PartNumber,
    /// The etag that was given for it.
    pub attempt: AttemptId,
    /// The size that was accepted.
    pub size: ByteSize,
}

/// Ascending numbers, each recorded with that etag and size, in all the claimed size. Recorded parts may be left
/// out only if they are empty, since no others fit.
pub(crate) fn check_list(listed: &[ListedPart], recorded: &[Part], expected: ByteSize) -> Result<(), String> {
    if let Some(pair) = listed.windows(2).find(|pair| pair[0].number >= pair[1].number) {
        return Err(format!("part {} does not come after part {}", pair[1].number, pair[0].number));
    }
    let mut total: u64 = 0;
    for part in listed {
        let Ok(at) = recorded.binary_search_by_key(&part.number, |recorded| recorded.number) else {
            return Err(format!("part {} was not received", part.number));
        };
        if recorded[at].attempt != part.attempt {
            return Err(format!("part {} has another etag: it was sent again", part.number));
        }
        if recorded[at].size != part.size {
            return Err(format!("part {} has {} bytes, not {}", part.number, recorded[at].size, part.size));
        }
        total = total.saturating_add(part.size.get());
    }
    if total != expected.get() {
        return Err(format!("the parts have {total} bytes in all, not the expected {expected}"));
    }
    Ok(())
}
