//! Splits a body into chunks that become parts of an S3 multipart upload.

use super::admission::Admitted;
use crate::{
    batches::{BATCH_BYTES, Batches, length},
    meter::BodyMeter,
    threads::{Pipeline, Share},
};
use bytes::Bytes;
use imgsrv_domain::ports::{BodyStream, StageError};
use std::collections::VecDeque;

/// Minimum size of an S3 part that is not the last one (S3, "Amazon S3 multipart upload limits").
pub(super) const MIN_PART: u64 = 5 << 20;
/// Maximum number of S3 parts of an object (the same).
pub(super) const MAX_PARTS: u32 = 10_000;
/// Usual size of an S3 part; parts are larger if an object would have too many of them.
pub(super) const PART: u64 = 8 << 20;
const _: () = assert!(PART >= MIN_PART);

/// Size of S3 parts so that `bytes` fit into `parts` of them, with a reserve for uneven parts.
pub(super) fn part_size(bytes: u64, parts: u32) -> u64 {
    let usable = u64::from(parts) * 9 / 10;
    let minimum = bytes.div_ceil(usable.max(1));
    PART.max(minimum.next_multiple_of(1 << 20))
}

/// Bytes of a body that become one S3 part.
#[derive(Clone)]
pub(super) struct Chunk {
    /// The bytes, in frames as they arrived.
    pub(super) frames: Vec<Bytes>,
    /// Their number.
    pub(super) size: u64,
    /// Whether the body ends after them.
    pub(super) is_last: bool,
}

/// Memory that a part may hold while it is received in chunks of `size`.
pub(super) const fn memory(size: u64) -> u64 {
    size + MIN_PART + 2 * BATCH_BYTES as u64
}

/// A body that is being received, and hashed on other threads.
pub(super) struct ChunkedBody {
    batches: Batches,
    admitted: Admitted,
    meter: Pipeline<BodyMeter, StageError>,
    /// Size of the chunks.
    size: u64,
    /// Frames that are received and not yet in a chunk.
    frames: VecDeque<Bytes>,
    buffered: u64,
    ended: bool,
}

impl ChunkedBody {
    pub(super) fn new(body: BodyStream, meter: BodyMeter, size: u64, hashing: Share, admitted: Admitted) -> Self {
        let (batches, meter) = (Batches::beginning_small(body), Pipeline::new(hashing, meter));
        Self { batches, admitted, meter, size, frames: VecDeque::new(), buffered: 0, ended: false }
    }

    /// The meter of what was received.
    pub(super) async fn meter(&mut self) -> Result<&mut BodyMeter, StageError> {
        self.meter.state().await
    }

    /// The next chunk, of the usual size unless it is the last one. The last chunk is large enough for an S3 part
    /// unless it is the only one: [`MIN_PART`] further bytes are buffered before a chunk is returned.
    pub(super) async fn next(&mut self) -> Result<Chunk, StageError> {
        while !self.ended && self.buffered < self.size + MIN_PART {
            self.receive().await?;
        }
        let ended = self.ended;
        let meter = self.meter().await?;
        if ended {
            meter.verify()?;
        }
        let size = if self.ended { self.buffered } else { self.size };
        Ok(Chunk { frames: self.split(size), size, is_last: self.ended })
    }

    async fn receive(&mut self) -> Result<(), StageError> {
        if self.buffered > 0 && !self.batches.has_ended() {
            self.admitted.grow().await?;
        }
        let batch = self.batches.next().await?;
        self.ended = batch.is_empty();
        self.buffered += length(&batch);
        self.frames.extend(batch.iter().cloned());
        self.meter.start(move |meter| batch.iter().try_for_each(|bytes| meter.update(bytes))).await
    }

    /// Removes the first `size` buffered bytes.
    fn split(&mut self, size: u64) -> Vec<Bytes> {
        self.buffered -= size;
        let mut first = Vec::new();
        let mut left = usize::try_from(size).unwrap_or(usize::MAX);
        while left > 0
            && let Some(mut frame) = self.frames.pop_front()
        {
            if frame.len() > left {
                self.frames.push_front(frame.split_off(left));
            }
            left -= frame.len();
            first.push(frame);
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::attempt;
    use futures::{StreamExt, stream};
    use imgsrv_domain::parts::HashBase;
    use proptest::prelude::*;

    fn chunked(frames: Vec<Bytes>) -> ChunkedBody {
        ChunkedBody::new(
            stream::iter(frames.into_iter().map(Ok)).boxed(),
            BodyMeter::new(&attempt(HashBase::Start, 1 << 30), None, None),
            PART,
            Share::new(1),
            Admitted::whole(),
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn chunks_join_to_the_body_and_none_is_too_small(sizes in prop::collection::vec(0_usize..3_000_000, 0..12)) {
            let mut byte = 0_u8;
            let frames: Vec<Bytes> = sizes
                .iter()
                .map(|size| {
                    byte = byte.wrapping_add(1);
                    Bytes::from(vec![byte; *size])
                })
                .collect();
            let whole: Vec<u8> = frames.concat();
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let chunks = runtime.block_on(async {
                let mut body = chunked(frames);
                let mut chunks = Vec::new();
                loop {
                    let chunk = body.next().await.expect("a chunk");
                    let is_last = chunk.is_last;
                    prop_assert_eq!(chunk.size, chunk.frames.iter().map(|frame| frame.len() as u64).sum::<u64>());
                    chunks.push(chunk);
                    if is_last {
                        return Ok(chunks);
                    }
                }
            })?;
            if chunks.len() > 1 {
                prop_assert!(chunks.iter().all(|chunk| chunk.size >= MIN_PART));
            }
            prop_assert!(chunks.iter().all(|chunk| chunk.size <= memory(PART) + 3_000_000));
            let joined: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.frames).collect::<Vec<_>>().concat();
            prop_assert!(joined == whole);
        }
    }

    #[test]
    fn parts_grow_only_when_there_would_be_too_many() {
        assert_eq!(part_size(0, MAX_PARTS), PART);
        assert_eq!(part_size(64 << 30, MAX_PARTS), PART);
        let five_tib = 5 << 40;
        let size = part_size(five_tib, MAX_PARTS);
        assert!(size <= 5 << 30 && five_tib.div_ceil(size) <= u64::from(MAX_PARTS));
    }
}
