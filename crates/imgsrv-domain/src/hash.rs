//! A SHA-256 computation that can be saved and resumed on any node.

use crate::{
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
}

impl RunningHash {
    /// Resumes a saved computation; `None` if the saved state is invalid.
    pub fn resume(saved: &HashState) -> Option<Self> {
        let state = Array::try_from(saved.state.as_slice()).ok()?;
        Some(Self { hasher: Sha256::deserialize(&state).ok()?, bytes: saved.bytes })
    }

    /// The computation that an attempt continues; `None` if the hash before its first byte is unknown.
    pub fn of(base: &HashBase) -> Option<Self> {
        match base {
            HashBase::Start => Some(Self::default()),
            HashBase::After(_, state) => Self::resume(state),
            HashBase::Unknown => None,
        }
    }

    /// Hashes `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// Number of bytes hashed so far.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Saves the computation, for [`RunningHash::resume`].
    pub fn save(&self) -> HashState {
        let mut state = [0; HashState::LENGTH];
        state.copy_from_slice(&self.hasher.serialize());
        HashState { bytes: self.bytes, state }
    }

    /// The digest of all bytes.
    pub fn finish(self) -> Digest {
        Digest::new(self.hasher.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saved_hash_resumes_at_its_position() {
        let data: Vec<u8> = (0..10_019_u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
        for cut in [0, 1, 63, 64, 65, 5000, data.len()] {
            let mut first = RunningHash::default();
            first.update(&data[..cut]);
            let mut second = RunningHash::resume(&first.save()).expect("a saved hash");
            second.update(&data[cut..]);
            assert_eq!(second.bytes(), data.len() as u64);
            assert_eq!(second.finish().bytes().as_slice(), Sha256::digest(&data).as_slice());
        }
    }
}
