//! What the bytes of a session are claimed to be, and how they come.

use crate::digest::{BlobClaim, ByteSize, Digest};

/// What the bytes of a session are claimed to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The client told their digest.
    Declared(BlobClaim),
    /// It told their size alone. They come as a stream, so that the last of them tells their digest.
    Undeclared(ByteSize),
    /// Their digest was taken as they came.
    Computed(BlobClaim),
}

impl Claim {
    /// How many bytes there are.
    pub const fn size(&self) -> ByteSize {
        match self {
            Self::Declared(BlobClaim { size, .. })
            | Self::Computed(BlobClaim { size, .. })
            | Self::Undeclared(size) => *size,
        }
    }

    /// What they are, if that is known yet.
    pub const fn blob(&self) -> Option<BlobClaim> {
        match self {
            Self::Declared(claim) | Self::Computed(claim) => Some(*claim),
            Self::Undeclared(_) => None,
        }
    }

    /// Their digest, if it is known yet.
    pub const fn digest(&self) -> Option<Digest> {
        match self {
            Self::Declared(claim) | Self::Computed(claim) => Some(claim.digest),
            Self::Undeclared(_) => None,
        }
    }
}

/// How the bytes of a session come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadKind {
    /// In parts that the client numbers, in any order, and lists in the end.
    Multipart,
    /// In order, each behind what was recorded before; the last byte completes the session.
    Append,
}
