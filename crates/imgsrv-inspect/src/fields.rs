//! Reading numbers and magic numbers from bytes.

use std::ops::Range;

/// Bytes with fields at fixed places. Beyond the end, fields are zero.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields(pub(crate) Vec<u8>);

impl Fields {
    /// The bytes of `range`, without those beyond the end.
    pub(crate) fn slice(&self, range: Range<usize>) -> &[u8] {
        let end = range.end.min(self.0.len());
        self.0.get(range.start.min(end)..end).unwrap_or_default()
    }

    pub(crate) fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        self.slice(at..at.saturating_add(N)).try_into().unwrap_or([0; N])
    }

    pub(crate) fn has(&self, at: usize, magic: &[u8]) -> bool {
        self.slice(at..at.saturating_add(magic.len())) == magic
    }

    pub(crate) fn be32(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.bytes(at))
    }

    pub(crate) fn be64(&self, at: usize) -> u64 {
        u64::from_be_bytes(self.bytes(at))
    }

    pub(crate) fn le16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }

    pub(crate) fn le32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }

    pub(crate) fn le64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes(at))
    }
}
