//! What reads of the catalog have in common.

use crate::time::Timestamp;

/// How much of the catalog a caller sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Published versions and their images. Nothing else can be inferred.
    Published,
    /// Everything.
    All,
}

/// What was read, and the time on the catalog's clock when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timed<T> {
    /// What was read.
    pub value: T,
    /// When.
    pub now: Timestamp,
}
