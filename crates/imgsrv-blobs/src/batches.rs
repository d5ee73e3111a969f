//! Batches of the frames of a body: moving each frame to another thread separately would cost more than processing it.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use imgsrv_domain::ports::{BodyError, BodyStream};

/// Bytes of a batch, but for its last frame. Two batches of a body are in memory: one is received while the other is
/// hashed and written.
pub(crate) const BATCH_BYTES: usize = 512 << 10;
/// Bytes of the first batch of a body that begins small, but for its last frame.
pub(crate) const FIRST_BYTES: usize = 256 << 10;
/// Frames below this are copied: each may be a small slice of a large buffer of its connection, which it keeps alive.
const SMALL_FRAME: usize = 16 << 10;
/// Small frames are joined to frames of this size.
const JOINED_FRAME: usize = 64 << 10;

/// A body that is received in batches.
pub(crate) struct Batches {
    body: BodyStream,
    frames: Vec<Bytes>,
    /// Small frames after them.
    small: BytesMut,
    bytes: usize,
    /// Bytes of the next batch.
    limit: usize,
    has_ended: bool,
}

impl Batches {
    pub(crate) fn new(body: BodyStream) -> Self {
        Self { body, frames: Vec::new(), small: BytesMut::new(), bytes: 0, limit: BATCH_BYTES, has_ended: false }
    }

    /// Whether the end of the body is received.
    pub(crate) const fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// The same with a first batch of [`FIRST_BYTES`].
    pub(crate) fn beginning_small(body: BodyStream) -> Self {
        Self { limit: FIRST_BYTES, ..Self::new(body) }
    }

    /// The next batch; empty at the end of the body. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Vec<Bytes>, BodyError> {
        while !self.has_ended && self.bytes < self.limit {
            match self.body.next().await {
                Some(frame) => self.push(frame?),
                None => self.has_ended = true,
            }
        }
        self.join();
        (self.bytes, self.limit) = (0, BATCH_BYTES);
        Ok(std::mem::take(&mut self.frames))
    }

    fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        if frame.len() < SMALL_FRAME {
            self.small.extend_from_slice(&frame);
            if self.small.len() >= JOINED_FRAME {
                self.join();
            }
        } else {
            self.join();
            self.frames.push(frame);
        }
    }

    fn join(&mut self) {
        if !self.small.is_empty() {
            self.frames.push(std::mem::take(&mut self.small).freeze());
        }
    }
}

/// Number of bytes in `frames`.
pub(crate) fn length(frames: &[Bytes]) -> u64 {
    frames.iter().map(|frame| frame.len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn batches_join_to_the_body_and_only_the_last_is_small(
            sizes in prop::collection::vec(prop_oneof![0..200_usize, 0..300_000_usize], 0..40)
        ) {
            let frames: Vec<Bytes> =
                sizes.iter().zip(0_u8..).map(|(size, byte)| Bytes::from(vec![byte; *size])).collect();
            let whole = frames.concat();
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let received = runtime.block_on(async {
                let mut batches = Batches::new(stream::iter(frames.into_iter().map(Ok)).boxed());
                let mut received: Vec<Vec<Bytes>> = Vec::new();
                loop {
                    let batch = batches.next().await.expect("a batch");
                    if batch.is_empty() {
                        return received;
                    }
                    received.push(batch);
                }
            });
            for batch in received.iter().rev().skip(1) {
                prop_assert!(length(batch) >= BATCH_BYTES as u64);
            }
            prop_assert!(received.concat().concat() == whole);
        }
    }
}
