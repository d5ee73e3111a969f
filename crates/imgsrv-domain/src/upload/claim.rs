//! What the bytes of an upload are claimed to be, and how they are sent.

use crate::{
    digest::{BlobClaim, ByteSize, Digest},
    ids::UploadId,
    names::string_enum,
    ports::BlobName,
};

string_enum! {
    /// How the bytes of an upload are sent.
    UploadKind: "multipart or append" {
        /// In parts that the client numbers, sends in any order and lists to complete the upload.
        Multipart = "multipart",
        /// In order, each request at the offset where the recorded bytes end; the last byte completes the upload.
        Append = "append",
    }
}

/// What a client claims its bytes to be.
///
/// `U` is what is known of an upload whose digest was not declared: its [`ByteSize`] while bytes are received, a whole
/// [`BlobClaim`] once the last byte has arrived and the digest is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim<U> {
    /// Digest and size were declared before the first byte.
    Declared(UploadKind, BlobClaim),
    /// The size alone was declared. Such an upload is an append upload: only bytes in order are hashed as they arrive.
    Undeclared(U),
}

impl<U> Claim<U> {
    /// How the bytes are sent.
    pub const fn kind(&self) -> UploadKind {
        match self {
            Self::Declared(kind, _) => *kind,
            Self::Undeclared(_) => UploadKind::Append,
        }
    }

    /// Whether the digest was declared before the first byte.
    pub const fn is_declared(&self) -> bool {
        match self {
            Self::Declared(..) => true,
            Self::Undeclared(_) => false,
        }
    }

    /// The name under which `session` stores its blob. It contains the digest only if that was declared: the name is
    /// needed for the first byte.
    pub fn blob_name(&self, session: UploadId) -> BlobName {
        match self {
            Self::Declared(_, blob) => BlobName::of(&blob.digest, session),
            Self::Undeclared(_) => BlobName::of_undeclared(session),
        }
    }
}

impl Claim<ByteSize> {
    /// The declared size.
    pub const fn size(&self) -> ByteSize {
        match self {
            Self::Declared(_, blob) => blob.size,
            Self::Undeclared(size) => *size,
        }
    }

    /// The digest, if it was declared.
    pub const fn digest(&self) -> Option<Digest> {
        match self {
            Self::Declared(_, blob) => Some(blob.digest),
            Self::Undeclared(_) => None,
        }
    }
}

impl Claim<BlobClaim> {
    /// What the client declared before the first byte.
    pub(super) const fn declared(&self) -> Claim<ByteSize> {
        match self {
            Self::Declared(kind, blob) => Claim::Declared(*kind, *blob),
            Self::Undeclared(blob) => Claim::Undeclared(blob.size),
        }
    }

    /// Digest and size.
    pub const fn blob(&self) -> BlobClaim {
        match self {
            Self::Declared(_, blob) | Self::Undeclared(blob) => *blob,
        }
    }
}
