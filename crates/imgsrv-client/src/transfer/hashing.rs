//! Hashing what arrives on another thread, while more of it arrives.

use crate::error::Error;
use bytes::Bytes;
use imgsrv_domain::hash::RunningHash;
use tokio::{
    sync::mpsc::{Sender, channel},
    task::JoinHandle,
};

/// Chunks that wait to be hashed, at most.
const WAITING: usize = 16;

/// A hash that grows on another thread.
pub(super) struct Hashing {
    chunks: Sender<Bytes>,
    hash: JoinHandle<RunningHash>,
    bytes: u64,
}

impl Hashing {
    /// Continues `hash`.
    pub(super) fn resume(mut hash: RunningHash) -> Self {
        let (bytes, (chunks, mut waiting)) = (hash.bytes(), channel::<Bytes>(WAITING));
        let hash = tokio::task::spawn_blocking(move || {
            while let Some(chunk) = waiting.blocking_recv() {
                hash.update(&chunk);
            }
            hash
        });
        Self { chunks, hash, bytes }
    }

    /// Hashes `chunk` after what is hashed already.
    pub(super) async fn update(&mut self, chunk: Bytes) -> Result<(), Error> {
        self.bytes += chunk.len() as u64;
        self.chunks.send(chunk).await.map_err(Error::internal)
    }

    /// Number of bytes so far.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The hash of all of them.
    pub(super) async fn end(self) -> Result<RunningHash, Error> {
        drop(self.chunks);
        self.hash.await.map_err(Error::internal)
    }
}
