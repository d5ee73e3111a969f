//! Why a disk image is refused.

use crate::format::{Compressor, Contents, DetectedFormat};
use std::fmt;

/// Why a disk image is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Opening it opens another file, or it is incomplete without one.
    #[error("it has {role}{}", named(name.as_deref()))]
    OtherFile {
        /// What the other file is to the image, such as `a backing file`.
        role: &'static str,
        /// The name of the other file, in quotes, escaped and at most 200 characters long; absent if there is
        /// none.
        name: Option<String>,
    },
    /// It is encrypted.
    #[error("it is encrypted")]
    Encrypted,
    /// It is marked as corrupt.
    #[error("it is marked as corrupt")]
    Corrupt,
    /// Its log holds changes that were not applied, which may name other files.
    #[error("its log has not been replayed")]
    UnreplayedLog,
    /// It is of a version that its readers do not know.
    #[error("it is of version {0}, which is not supported")]
    Version(u32),
    /// It needs a feature that its readers do not know.
    #[error("it needs an unknown incompatible feature (bit {0})")]
    UnknownFeature(u32),
    /// The file ends within its header.
    #[error("its header is cut off")]
    CutOff,
    /// What a compressed file contains is cut off or not valid, or compressed in a way that is not known.
    #[error("what it contains cannot be decompressed, since it is cut off or not valid")]
    NotDecompressed,
    /// The last bytes of a compressed file are not those of its end.
    #[error("its end is missing, since it is cut off or something else follows it")]
    EndMissing,
    /// Decompressing it needs more memory than the limit.
    #[error("decompressing it needs too much memory; compress it with `xz -9`, `zstd --long=27` or less")]
    NeedsMemory,
    /// A compressed file contains too little at its beginning to tell what it is.
    #[error("what it contains begins too late, after empty streams or frames; compress it again")]
    NoContent,
    /// In a compressed file, what says whether there is another file is not near the beginning.
    #[error("its {0} is too far from its beginning to be inspected; decompress it")]
    OutOfReach(&'static str),
    /// A field is invalid.
    #[error("its {0} is not valid")]
    Invalid(&'static str),
    /// A file of an appliance is refused.
    #[error("its file {name} is refused: {refusal}")]
    Member {
        /// The name of the file, in quotes, escaped and at most 200 characters long.
        name: String,
        /// Why it is refused.
        refusal: Box<Refusal>,
    },
    /// A table or what it refers to lies outside the file, is not aligned, or is larger than the limit.
    #[error("its {0} is out of bounds")]
    OutOfBounds(&'static str),
}

/// Maximum number of characters of another file's name in a reason, before they are escaped.
const MAX_NAME: usize = 200;

fn named(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!(", {name}"))
}

impl Problem {
    /// Another file with a name of any bytes.
    pub(crate) fn other_file(role: &'static str, name: &[u8]) -> Self {
        Self::OtherFile { role, name: (!name.is_empty()).then(|| quoted(name)) }
    }

    /// A refused file of an appliance, with a name of any bytes.
    pub(crate) fn member(name: &[u8], refusal: Refusal) -> Self {
        Self::Member { name: quoted(name), refusal: Box::new(refusal) }
    }
}

/// A name of any bytes in quotes, escaped and shortened.
fn quoted(name: &[u8]) -> String {
    // Four bytes are the longest character.
    let shown = String::from_utf8_lossy(name.get(..4 * MAX_NAME).unwrap_or(name)).into_owned();
    let short: String = shown.chars().take(MAX_NAME).collect();
    let more = if short.len() < shown.len() || name.len() > 4 * MAX_NAME { "..." } else { "" };
    format!("\"{}{more}\"", short.escape_debug())
}

/// A file that is refused, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The format of the file.
    pub format: DetectedFormat,
    /// Why it is refused.
    pub problem: Problem,
}

impl Refusal {
    /// That of a file that is not compressed.
    pub(crate) const fn of(contents: Contents, problem: Problem) -> Self {
        Self { format: DetectedFormat { contents: Some(contents), compressor: None, again: None }, problem }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.format.contents.is_some() { "image" } else { "file" };
        write!(f, "{} {kind}: {}", self.format, self.problem)
    }
}

/// Why a file was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError<E> {
    /// It is a disk image that must not be published.
    #[error("{0}")]
    Refused(Refusal),
    /// It could not be read.
    #[error("it could not be read")]
    Source(E),
}

impl<E> InspectError<E> {
    /// The same about a file that contains what was inspected.
    pub(crate) fn in_compressed(mut self, by: Option<Compressor>) -> Self {
        if let Self::Refused(refusal) = &mut self {
            refusal.format.compressor = by;
        }
        self
    }
}

/// Why a reader of one format ended early.
pub(crate) enum Stop<E> {
    Problem(Problem),
    /// The bytes come after those that are known.
    NotKnown,
    Source(E),
}

impl<E> From<Problem> for Stop<E> {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}
