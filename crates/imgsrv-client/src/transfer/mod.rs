//! Moving bytes: what is sent, how far it has come, and what comes back.

mod download;
mod meter;
mod source;
mod upload;

pub use download::Download;
pub use source::Source;
pub use upload::{Blob, Upload};

use std::sync::Arc;

/// What a transfer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// The digest of what is to be sent is taken.
    Hashing,
    /// Bytes are sent.
    Sending,
    /// The server makes sure that the bytes are what they must be.
    Verifying,
    /// Bytes are received.
    Receiving,
}

/// How far a transfer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What it is doing.
    pub stage: Stage,
    /// Bytes that are done. May go back when some are to be done again.
    pub done: u64,
    /// Bytes to be done in all.
    pub total: u64,
}

/// Told of progress; called often, so it should be quick.
pub(crate) type Observer = Arc<dyn Fn(Progress) + Send + Sync>;

/// `sha256:` and the digest in hexadecimal.
pub(crate) fn digest_text(digest: impl AsRef<[u8]>) -> String {
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}
