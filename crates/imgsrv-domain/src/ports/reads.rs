//! What reads of the catalog have in common.

use crate::time::Timestamp;

/// What was read, and the time on the catalog's clock when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timed<T> {
    /// What was read.
    pub value: T,
    /// When.
    pub now: Timestamp,
}
