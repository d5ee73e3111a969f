//! Uploads and downloads, which resume after an interruption.

mod download;
mod hashing;
mod part_plan;
mod parts;
mod progress;
mod source;
mod upload;

pub use download::Download;
pub use progress::{Progress, Stage};
pub use source::Source;
pub(crate) use upload::DEFAULT_PARALLEL;
pub use upload::Upload;

use imgsrv_domain::digest::{ByteSize, Digest};
use std::time::Duration;

/// A transfer fails if no byte moves for this long.
const STALL_TIMEOUT: Duration = Duration::from_mins(1);
/// Bytes that are read from a file at once.
const CHUNK: usize = 512 << 10;

/// A trusted blob of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub size: ByteSize,
    /// Whether the server had it before.
    pub already_stored: bool,
}
