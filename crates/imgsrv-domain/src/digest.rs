//! Content addresses: SHA-256 digests, sizes and the state of a running hash.

use crate::blocks::BlockChecksums;
use sha2::{Digest as _, Sha256};
use std::{fmt, str::FromStr};

/// A SHA-256 digest, written `sha256:` and 64 lowercase hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// The text is not a digest in its one accepted spelling.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be `sha256:` and 64 lowercase hexadecimal digits")]
pub struct InvalidDigest;

impl Digest {
    /// Wraps the 32 bytes of a SHA-256 digest.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 lowercase hexadecimal digits, without the prefix.
    pub fn hex(&self) -> String {
        self.to_string().split_off("sha256:".len())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 64];
        for (digits, byte) in hex.as_chunks_mut().0.iter_mut().zip(self.0) {
            *digits = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
        f.write_str("sha256:")?;
        f.write_str(str::from_utf8(&hex).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(raw: &str) -> Result<Self, InvalidDigest> {
        let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        let hex = raw.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex.bytes().all(is_digit));
        let hex = hex.ok_or(InvalidDigest)?;
        let mut bytes = [0; 32];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).map_err(|_| InvalidDigest)?;
        }
        Ok(Self(bytes))
    }
}

/// A number of bytes, from 0 to `i64::MAX` so that every catalog can store it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(i64);

/// The number is not a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a number of bytes from 0 to 9223372036854775807")]
pub struct InvalidSize;

impl ByteSize {
    /// No bytes.
    pub const ZERO: Self = Self(0);

    /// The size as an unsigned number.
    pub const fn get(self) -> u64 {
        self.0.unsigned_abs()
    }

    /// The size as catalogs store it.
    pub const fn signed(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for ByteSize {
    type Error = InvalidSize;

    fn try_from(raw: i64) -> Result<Self, InvalidSize> {
        if raw < 0 { Err(InvalidSize) } else { Ok(Self(raw)) }
    }
}

impl TryFrom<u64> for ByteSize {
    type Error = InvalidSize;

    fn try_from(raw: u64) -> Result<Self, InvalidSize> {
        i64::try_from(raw).map(Self).map_err(|_| InvalidSize)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Digest and size of bytes. As sent by a client it is a claim, until the bytes are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobClaim {
    /// The digest.
    pub digest: Digest,
    /// The size.
    pub size: ByteSize,
}

impl BlobClaim {
    /// The digest and size of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        // A slice has at most `isize::MAX` bytes.
        let size = ByteSize(i64::try_from(bytes.len()).unwrap_or(i64::MAX));
        Self { digest: Digest(Sha256::digest(bytes).into()), size }
    }
}

/// A saved SHA-256 computation over the first `bytes` bytes of some content.
///
/// The state is the 104-byte serialisation of the `sha2` crate, which has the chaining value, the block count and the
/// unfinished block, and the CRC32C of the blob's unfinished block. Only [`RunningHash`](crate::hash::RunningHash)
/// interprets it.
#[derive(Clone, PartialEq, Eq)]
pub struct HashState {
    /// How many bytes were hashed.
    pub bytes: u64,
    /// The serialised computation.
    pub state: [u8; Self::LENGTH],
    /// The checksums of the last blocks that have ended: those since the computation was resumed from the part before.
    pub blocks: BlockChecksums,
}

impl HashState {
    /// The length of a serialised computation in bytes.
    pub const LENGTH: usize = 108;
}

impl fmt::Debug for HashState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HashState({} bytes hashed)", self.bytes)
    }
}
