//! Parts of an upload and the hash frontier: how far the bytes were hashed as they arrived.
//!
//! A part that directly follows the hashed prefix continues its hash. A part out of order is read again when the
//! upload is ingested. Replacing a part moves the frontier back to the part before it, and forward again if the
//! replacement continued the hash of exactly that part.

use crate::{
    digest::{ByteSize, HashState},
    ids::AttemptId,
    names::PartNumber,
};

/// Where a blob store put a part, in a form that only this store reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartLocation(pub String);

/// A part that was received in full and is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its number.
    pub number: PartNumber,
    /// The attempt that sent it; its etag.
    pub attempt: AttemptId,
    /// The position of that attempt among the attempts of the session, from 1.
    pub sequence: i64,
    /// Its size.
    pub size: ByteSize,
    /// Where its bytes are stored.
    pub location: PartLocation,
    /// The hash of all bytes up to the end of this part, if it continued a hash. Valid only up to the frontier.
    pub hash: Option<HashState>,
}

/// The last part of the hashed prefix, which is parts 1 to `number` without a gap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontier {
    /// The number of the last hashed part.
    pub number: PartNumber,
    /// The attempt that sent it.
    pub attempt: AttemptId,
    /// The hash of all bytes up to the end of this part.
    pub hash: HashState,
    /// Where its bytes are stored.
    pub location: PartLocation,
    /// Its size.
    pub size: ByteSize,
}

/// The hash that the bytes of an attempt continue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashBase {
    /// That of nothing: it sends the first part.
    Start,
    /// That of everything up to the end of the part before it, which this attempt sent.
    After(AttemptId, HashState),
    /// None: what comes before it is not recorded or not hashed.
    Unknown,
}

impl HashBase {
    /// The base of part `number`, where `before` is the part before it as recorded now.
    pub fn of(number: PartNumber, before: Option<&Part>, frontier: Option<&Frontier>) -> Self {
        let Some(previous) = number.previous() else { return Self::Start };
        let hashed = frontier.is_some_and(|frontier| previous <= frontier.number);
        match before.filter(|part| hashed && part.number == previous) {
            Some(Part { attempt, hash: Some(state), .. }) => Self::After(*attempt, state.clone()),
            Some(Part { hash: None, .. }) | None => Self::Unknown,
        }
    }

    /// Whether what was hashed from this base continues what is recorded `now`.
    fn is_current(&self, now: &Self) -> bool {
        match (self, now) {
            (Self::Start, Self::Start) => true,
            (Self::After(then, _), Self::After(now, _)) => then == now,
            (Self::Start | Self::After(..) | Self::Unknown, _) => false,
        }
    }
}

impl Frontier {
    /// The frontier once `part` is recorded, whose bytes were hashed from `base`; `before` is the part before it as
    /// recorded now.
    pub fn advance(frontier: Option<Self>, part: &Part, base: &HashBase, before: Option<&Part>) -> Option<Self> {
        let base_now = HashBase::of(part.number, before, frontier.as_ref());
        if let (true, Some(hash)) = (base.is_current(&base_now), &part.hash) {
            return Some(Self::at(part, hash.clone()));
        }
        match frontier {
            Some(frontier) if part.number <= frontier.number => {
                let before = before?;
                before.hash.clone().map(|hash| Self::at(before, hash))
            }
            unchanged => unchanged,
        }
    }

    fn at(part: &Part, hash: HashState) -> Self {
        Self { number: part.number, attempt: part.attempt, hash, location: part.location.clone(), size: part.size }
    }
}

/// A part as a client lists it to complete the upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedPart {
    /// Its number.
    pub number: PartNumber,
    /// The etag that was returned for it.
    pub attempt: AttemptId,
    /// Its size.
    pub size: ByteSize,
}

/// Checks that numbers ascend, that each part is recorded with that etag and size, and that the sizes add up to
/// `expected`. Only empty parts can be missing from such a list, since recorded parts never exceed that size.
pub(crate) fn check_list(listed: &[ListedPart], recorded: &[Part], expected: ByteSize) -> Result<(), String> {
    if let Some(pair) = listed.windows(2).find(|pair| pair[0].number >= pair[1].number) {
        return Err(format!("part numbers must ascend, but part {} follows part {}", pair[1].number, pair[0].number));
    }
    let mut total: u64 = 0;
    for part in listed {
        let Ok(at) = recorded.binary_search_by_key(&part.number, |recorded| recorded.number) else {
            return Err(format!("part {} was not received", part.number));
        };
        if recorded[at].attempt != part.attempt {
            return Err(format!(
                "part {} has a different etag, because it was replaced by a later upload",
                part.number
            ));
        }
        if recorded[at].size != part.size {
            return Err(format!("part {} has {} bytes, not {}", part.number, recorded[at].size, part.size));
        }
        total = total.saturating_add(part.size.get());
    }
    if total != expected.get() {
        return Err(format!("the parts have a total of {total} bytes, not the expected {expected}"));
    }
    Ok(())
}
