//! Splits a body into chunks that become parts of an S3 multipart upload.

use crate::meter::BodyMeter;
use bytes::Bytes;
use futures::StreamExt;
use imgsrv_domain::ports::{BodyStream, StageError};

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

/// A body that is being received.
pub(super) struct ChunkedBody {
    body: BodyStream,
    meter: BodyMeter,
    /// Frames that are received and not yet in a chunk.
    frames: Vec<Bytes>,
    buffered: u64,
    ended: bool,
}

impl ChunkedBody {
    pub(super) const fn new(body: BodyStream, meter: BodyMeter) -> Self {
        Self { body, meter, frames: Vec::new(), buffered: 0, ended: false }
    }

    /// The next chunk, of `size` bytes unless it is the last one. The last chunk is large enough for an S3 part unless
    /// it is the only one: [`MIN_PART`] further bytes are buffered before a chunk is returned.
    pub(super) async fn next(&mut self, size: u64) -> Result<Chunk, StageError> {
        while !self.ended && self.buffered < size + MIN_PART {
            self.receive().await?;
        }
        if self.ended {
            let size = std::mem::take(&mut self.buffered);
            return Ok(Chunk { frames: std::mem::take(&mut self.frames), size, is_last: true });
        }
        Ok(Chunk { frames: self.split(size), size, is_last: false })
    }

    async fn receive(&mut self) -> Result<(), StageError> {
        let Some(frame) = self.body.next().await else {
            self.ended = true;
            return self.meter.verify();
        };
        let frame = frame?;
        self.meter.update(&frame)?;
        self.buffered += frame.len() as u64;
        self.frames.push(frame);
        Ok(())
    }

    /// Removes the first `size` buffered bytes.
    fn split(&mut self, size: u64) -> Vec<Bytes> {
        let mut first = std::mem::take(&mut self.frames);
        let mut left = usize::try_from(size).unwrap_or(usize::MAX);
        let mut whole = 0;
        while let Some(frame) = first.get(whole).filter(|frame| frame.len() <= left) {
            left -= frame.len();
            whole += 1;
        }
        let mut rest = first.split_off(whole);
        if left > 0
            && let Some(frame) = rest.first_mut()
        {
            first.push(frame.split_to(left));
        }
        self.frames = rest;
        self.buffered -= size;
        first
    }

    pub(super) const fn meter(&self) -> &BodyMeter {
        &self.meter
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use imgsrv_domain::{
        digest::ByteSize,
        ids::AttemptId,
        parts::HashBase,
        upload::{Attempt, Placement},
    };
    use proptest::prelude::*;

    fn chunked(frames: Vec<Bytes>) -> ChunkedBody {
        let attempt = Attempt {
            id: AttemptId::new(uuid::Uuid::nil()),
            sequence: 1,
            number: 1_i64.try_into().expect("a part number"),
            base: HashBase::Start,
            placement: Placement::Frontier(None),
            limit: ByteSize::try_from(i64::MAX).expect("a size"),
        };
        ChunkedBody::new(stream::iter(frames.into_iter().map(Ok)).boxed(), BodyMeter::new(&attempt, None, None))
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
                    let chunk = body.next(PART).await.expect("a chunk");
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
            prop_assert!(chunks.iter().all(|chunk| chunk.size <= PART + MIN_PART + 3_000_000));
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
