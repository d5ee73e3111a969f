//! A SHA-256 computation that can be saved and resumed on any node, and that computes block checksums in the same pass.

use crate::{
    blocks::{BLOCK_BYTES, BlockChecksums, RunningBlock},
    digest::{Digest, HashState},
    parts::HashBase,
};
use sha2::{
    Digest as _, Sha256,
    digest::{array::Array, common::hazmat::SerializableState},
};

/// A SHA-256 computation and the number of bytes hashed so far; by default of no bytes.
#[derive(Clone, Default)]
pub struct RunningHash {
    hasher: Sha256,
    bytes: u64,
    /// The block that has not ended.
    block: RunningBlock,
    /// The checksums of the blocks that have ended.
    blocks: BlockChecksums,
}

/// Length of the serialised SHA-256 computation; the checksum of the block that has not ended follows it.
const SHA_LENGTH: usize = HashState::LENGTH - size_of::<u32>();

impl RunningHash {
    /// Resumes a saved computation; `None` if the saved state is invalid.
    pub fn resume(saved: &HashState) -> Option<Self> {
        let (state, block) = saved.state.split_at(SHA_LENGTH);
        let (state, block) = (Array::try_from(state).ok()?, u32::from_le_bytes(block.try_into().ok()?));
        let (hasher, block) = (Sha256::deserialize(&state).ok()?, RunningBlock::resume(block));
        Some(Self { hasher, bytes: saved.bytes, block, blocks: saved.blocks.clone() })
    }

    /// The computation that an attempt continues; `None` if the hash before its first byte is unknown.
    pub fn of(base: &HashBase) -> Option<Self> {
        match base {
            HashBase::Start => Some(Self::default()),
            // The checksums before are recorded with the parts before.
            HashBase::After(_, state) => {
                Self::resume(state).map(|hash| Self { blocks: BlockChecksums::default(), ..hash })
            }
            HashBase::Unknown => None,
        }
    }

    /// Hashes `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        let mut rest = bytes;
        while !rest.is_empty() {
            let wanted = usize::try_from(BLOCK_BYTES - self.bytes % BLOCK_BYTES).unwrap_or(usize::MAX);
            let (now, later) = rest.split_at(wanted.min(rest.len()));
            self.block.update(now);
            self.bytes += now.len() as u64;
            if now.len() == wanted {
                self.blocks.push(std::mem::take(&mut self.block).checksum());
            }
            rest = later;
        }
    }

    /// Number of bytes hashed so far.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Saves the computation, for [`RunningHash::resume`].
    pub fn save(&self) -> HashState {
        let mut state = [0; HashState::LENGTH];
        let (sha, block) = state.split_at_mut(SHA_LENGTH);
        sha.copy_from_slice(&self.hasher.serialize());
        block.copy_from_slice(&self.block.checksum().to_le_bytes());
        HashState { bytes: self.bytes, state, blocks: self.blocks.clone() }
    }

    /// The checksums of all blocks, the last of which may be incomplete; of a computation that began with the first byte.
    pub fn block_checksums(&self) -> BlockChecksums {
        let mut blocks = self.blocks.clone();
        if !self.bytes.is_multiple_of(BLOCK_BYTES) {
            blocks.push(self.block.checksum());
        }
        blocks
    }

    /// The checksums of all blocks of the content whose first bytes are `parts`, with the checksums of the blocks that
    /// ended in each, as far as this computation does not have them; `None` if some are missing.
    pub fn block_checksums_after<'a>(&self, parts: impl Iterator<Item = &'a BlockChecksums>) -> Option<BlockChecksums> {
        let own = self.block_checksums();
        let all = usize::try_from(BlockChecksums::blocks_of(self.bytes)).ok()?;
        let mut before = BlockChecksums::default();
        parts.for_each(|part| before.extend(part));
        before.joined(all.checked_sub(own.len())?, &own)
    }

    /// The digest of all bytes.
    pub fn finish(self) -> Digest {
        Digest::new(self.hasher.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::AttemptId;

    #[test]
    fn blocks_that_span_parts_have_the_checksums_of_the_whole() {
        let data: Vec<u8> =
            (0..2_000_003_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
        let block = usize::try_from(BLOCK_BYTES).expect("it fits");
        for size in [block - 1, block, block + 1, 100_000, 3 * block + 7, data.len()] {
            let (mut base, mut states) = (HashBase::Start, Vec::new());
            for part in data.chunks(size) {
                let mut hash = RunningHash::of(&base).expect("a hash");
                hash.update(part);
                base = HashBase::After(AttemptId::new(uuid::Uuid::nil()), hash.save());
                states.push(hash.save());
            }
            let last = RunningHash::resume(states.last().expect("a part")).expect("a saved hash");
            let before = || states[..states.len() - 1].iter().map(|state| &state.blocks);
            assert_eq!(last.block_checksums_after(before()), Some(BlockChecksums::of(&data)));
            let is_needed = before().next().is_some_and(|first| !first.is_empty());
            let missing = last.block_checksums_after(before().skip(1));
            assert_eq!(missing.is_none(), is_needed, "parts of {size} bytes");
        }
    }

    #[test]
    fn saved_hash_resumes_at_its_position() {
        let data: Vec<u8> = (0..10_019_u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
        for cut in [0, 1, 63, 64, 65, 5000, data.len()] {
            let mut first = RunningHash::default();
            first.update(&data[..cut]);
            let mut second = RunningHash::resume(&first.save()).expect("a saved hash");
            second.update(&data[cut..]);
            assert_eq!(second.bytes(), data.len() as u64);
            assert_eq!(second.block_checksums(), BlockChecksums::of(&data));
            assert_eq!(second.finish().bytes().as_slice(), Sha256::digest(&data).as_slice());
        }
    }
}
