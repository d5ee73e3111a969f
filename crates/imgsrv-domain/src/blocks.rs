//! Checksums of the blocks of a blob, so that any range of it can be verified without reading the rest.

use crc_fast::{CrcAlgorithm, Digest};

/// Size of a block. The last block of a blob may be smaller. A range that is served costs reading and hashing the blocks that
/// it touches: one of 64 KiB at any offset reads 80 KiB on average. Larger blocks would cost more; smaller ones would save
/// little, and need more memory for checksums.
pub const BLOCK_BYTES: u64 = BLOCK as u64;

const BLOCK: usize = 16 << 10;

/// CRC32C checksums of consecutive blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlockChecksums(Vec<u32>);

impl BlockChecksums {
    /// The checksums of the blocks of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let (ended, last) = bytes.as_chunks::<BLOCK>();
        let last = Some(last).filter(|last| !last.is_empty());
        Self(ended.iter().map(|block| crc32c(block)).chain(last.map(crc32c)).collect())
    }

    /// How many blocks `bytes` bytes have.
    pub const fn blocks_of(bytes: u64) -> u64 {
        bytes.div_ceil(BLOCK_BYTES)
    }

    /// The checksum of block `index`, counted from 0.
    pub fn get(&self, index: usize) -> Option<u32> {
        self.0.get(index).copied()
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the checksum of the next block.
    pub(crate) fn push(&mut self, checksum: u32) {
        self.0.push(checksum);
    }

    /// The first `length` of these checksums followed by those of `next`; `None` if there are fewer.
    pub(crate) fn joined(mut self, length: usize, next: &Self) -> Option<Self> {
        if self.0.len() < length {
            return None;
        }
        self.0.truncate(length);
        self.0.extend_from_slice(&next.0);
        Some(self)
    }

    /// Adds those of the blocks that follow.
    pub fn extend(&mut self, next: &Self) {
        self.0.extend_from_slice(&next.0);
    }

    /// The checksums in groups of `length`.
    pub fn sections(&self, length: usize) -> impl Iterator<Item = Self> {
        self.0.chunks(length).map(|section| Self(section.to_vec()))
    }

    /// Four bytes for each checksum, in little-endian order.
    pub fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|checksum| checksum.to_le_bytes()).collect()
    }

    /// The checksums that were encoded as `bytes`; `None` if that is not an encoding.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (checksums, rest) = bytes.as_chunks();
        rest.is_empty().then(|| Self(checksums.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()))
    }
}

/// The CRC32C of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut block = RunningBlock::default();
    block.update(bytes);
    block.checksum()
}

/// The checksum of a block that is not complete; it can be saved and resumed.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunningBlock(u32);

impl RunningBlock {
    /// Resumes a computation that has the checksum `checksum` so far.
    pub(crate) const fn resume(checksum: u32) -> Self {
        Self(checksum)
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        // The checksum is the complement of the state (RFC 3720, section 12.1).
        let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!self.0));
        digest.update(bytes);
        // The algorithm has 32 bits.
        self.0 = u32::try_from(digest.finalize()).unwrap_or(u32::MAX);
    }

    /// The checksum of all bytes so far.
    pub const fn checksum(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        let ascending: Vec<u8> = (0..32).collect();
        for (bytes, expected) in [(vec![0; 32], 0x8a91_36aa), (vec![0xff; 32], 0x62a8_ab43), (ascending, 0x46dd_794e)] {
            assert_eq!(crc32c(&bytes), expected);
            let mut first = RunningBlock::default();
            first.update(&bytes[..13]);
            let mut second = RunningBlock::resume(first.checksum());
            second.update(&bytes[13..]);
            assert_eq!(second.checksum(), expected, "resumed");
        }
    }

    #[test]
    fn encoded_checksums_are_decoded_again() {
        let sums = BlockChecksums(vec![1, u32::MAX, 7]);
        assert_eq!(BlockChecksums::decode(&sums.encode()), Some(sums.clone()));
        assert_eq!(BlockChecksums::decode(&sums.encode()[1..]), None);
        let sections: Vec<BlockChecksums> = sums.sections(2).collect();
        assert_eq!(sections, [BlockChecksums(vec![1, u32::MAX]), BlockChecksums(vec![7])]);
    }

    #[test]
    fn every_block_has_a_checksum() {
        for (bytes, blocks) in [(0, 0), (1, 1), (BLOCK_BYTES, 1), (BLOCK_BYTES + 1, 2), (3 * BLOCK_BYTES, 3)] {
            let content = vec![7; usize::try_from(bytes).expect("it fits")];
            assert_eq!(BlockChecksums::of(&content).len() as u64, blocks);
            assert_eq!(BlockChecksums::blocks_of(bytes), blocks);
        }
    }
}
