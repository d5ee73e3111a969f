//! A pool of read buffers: serving a file needs neither an allocation nor fresh pages for each chunk.

use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};

/// Size of a buffer. Measured: 256 KiB is faster than 64 KiB and 1 MiB on cached files.
pub(crate) const BUFFER_BYTES: usize = 256 << 10;
/// Idle buffers in the pool; a buffer that is returned to a full pool is freed.
const MAX_IDLE: usize = 32;

/// Idle buffers, shared by all readers.
#[derive(Clone, Default)]
pub(crate) struct BufferPool {
    idle: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl BufferPool {
    /// A buffer of [`BUFFER_BYTES`] with unspecified content.
    pub(crate) fn take(&self) -> Buffer {
        let recycled = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer { bytes: recycled.unwrap_or_else(|| vec![0; BUFFER_BYTES]), pool: self.clone() }
    }

    /// A buffer for the next chunk of a stream that has `wanted` bytes left, with unspecified content. It has space for a whole
    /// block, because nothing of a block is sent before all of it is verified.
    pub(crate) fn take_for(&self, wanted: u64) -> Buffer {
        match usize::try_from(wanted) {
            Ok(wanted) if wanted < BUFFER_BYTES => Buffer { bytes: vec![0; wanted], pool: self.clone() },
            Ok(_) | Err(_) => self.take(),
        }
    }

    fn give(&self, bytes: Vec<u8>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.len() == BUFFER_BYTES && idle.len() < MAX_IDLE {
            idle.push(bytes);
        }
    }
}

/// A buffer that returns to its pool when the last reference to its bytes is dropped.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    pool: BufferPool,
}

impl Buffer {
    /// The first `wanted` bytes of the buffer, for the reader to fill.
    pub(crate) fn space(&mut self, wanted: u64) -> &mut [u8] {
        let wanted = usize::try_from(wanted).unwrap_or(BUFFER_BYTES).min(self.bytes.len());
        &mut self.bytes[..wanted]
    }

    /// The first `filled` bytes, without a copy.
    pub(crate) fn freeze(self, filled: usize) -> Bytes {
        Bytes::from_owner(self).slice(..filled)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.bytes));
    }
}
