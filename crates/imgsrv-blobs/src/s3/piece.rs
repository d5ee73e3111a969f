//! Cutting a body into pieces, hashing it on the way.

use bytes::Bytes;
use futures::StreamExt;
use imgsrv_domain::{
    digest::Digest,
    hash::RunningHash,
    ports::{BodyError, BodyStream, StageError},
    upload::Attempt,
};

/// The least bytes of a piece that others follow (S3, "Amazon S3 multipart upload limits").
pub(super) const MIN_PIECE: u64 = 5 << 20;
/// The most pieces of an object (the same).
pub(super) const MAX_PIECES: u32 = 10_000;
/// How big pieces are made, unless an object would have too many of them.
pub(super) const PIECE: u64 = 8 << 20;

/// How big pieces must be for `bytes` to fit into `pieces` of them, with some to spare for uneven parts.
pub(super) fn piece_size(bytes: u64, pieces: u32) -> u64 {
    let spare = u64::from(pieces) * 9 / 10;
    let least = bytes.div_ceil(spare.max(1));
    PIECE.max(least.next_multiple_of(1 << 20))
}

/// A piece of a body.
#[derive(Clone)]
pub(super) struct Piece {
    /// The bytes, in frames as they came.
    pub(super) frames: Vec<Bytes>,
    /// How many bytes.
    pub(super) size: u64,
    /// Whether the body ends with it.
    pub(super) last: bool,
}

/// A body on its way in.
pub(super) struct Incoming {
    body: BodyStream,
    declared: Option<u64>,
    limit: u64,
    hash: Option<RunningHash>,
    own: Option<(Digest, RunningHash)>,
    received: u64,
    /// Received and not yet handed out.
    waiting: Vec<Bytes>,
    waiting_size: u64,
    ended: bool,
}

impl Incoming {
    pub(super) fn new(body: BodyStream, attempt: &Attempt, declared: Option<u64>, checksum: Option<Digest>) -> Self {
        Self {
            body,
            declared,
            limit: attempt.limit.get(),
            hash: RunningHash::of(&attempt.base),
            own: checksum.map(|expected| (expected, RunningHash::new())),
            received: 0,
            waiting: Vec::new(),
            waiting_size: 0,
            ended: false,
        }
    }

    /// The next piece of about `target` bytes. The last one is at least as big as a piece must be, unless it is the
    /// only one: so much is held back until more is there.
    pub(super) async fn piece(&mut self, target: u64) -> Result<Piece, StageError> {
        while !self.ended && self.waiting_size < target + MIN_PIECE {
            self.receive().await?;
        }
        if self.ended {
            let size = std::mem::take(&mut self.waiting_size);
            return Ok(Piece { frames: std::mem::take(&mut self.waiting), size, last: true });
        }
        Ok(Piece { frames: self.cut(target), size: target, last: false })
    }

    async fn receive(&mut self) -> Result<(), StageError> {
        let Some(frame) = self.body.next().await else {
            self.ended = true;
            if self.declared.is_some_and(|declared| declared != self.received) {
                return Err(BodyError::Cut.into());
            }
            if let Some((expected, hash)) = self.own.take() {
                let actual = hash.finish();
                if actual != expected {
                    return Err(StageError::Checksum { actual });
                }
            }
            return Ok(());
        };
        let frame = frame?;
        self.received += frame.len() as u64;
        if self.received > self.limit {
            return Err(StageError::TooLarge);
        }
        for hash in self.hash.iter_mut().chain(self.own.as_mut().map(|(_, hash)| hash)) {
            hash.update(&frame);
        }
        self.waiting_size += frame.len() as u64;
        self.waiting.push(frame);
        Ok(())
    }

    /// The first `size` waiting bytes.
    fn cut(&mut self, size: u64) -> Vec<Bytes> {
        let mut rest = std::mem::take(&mut self.waiting);
        let mut left = usize::try_from(size).unwrap_or(usize::MAX);
        let mut taken = 0;
        while let Some(frame) = rest.get_mut(taken) {
            if frame.len() > left {
                break;
            }
            left -= frame.len();
            taken += 1;
        }
        let mut split = rest.split_off(taken);
        if left > 0
            && let Some(frame) = split.first_mut()
        {
            rest.push(frame.split_to(left));
        }
        self.waiting = split;
        self.waiting_size -= size;
        rest
    }

    /// How many bytes the whole body had.
    pub(super) const fn received(&self) -> u64 {
        self.received
    }

    /// The hash of everything up to the body's end, if it was known up to its start.
    pub(super) fn hash(&self) -> Option<&RunningHash> {
        self.hash.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use imgsrv_domain::{digest::ByteSize, ids::AttemptId, parts::HashBase, upload::Placement};
    use proptest::prelude::*;

    fn incoming(frames: Vec<Bytes>) -> Incoming {
        let attempt = Attempt {
            id: AttemptId::new(uuid::Uuid::nil()),
            sequence: 1,
            number: 1_i64.try_into().expect("a part number"),
            base: HashBase::Start,
            placement: Placement::Frontier(None),
            limit: ByteSize::try_from(i64::MAX).expect("a size"),
        };
        Incoming::new(stream::iter(frames.into_iter().map(Ok)).boxed(), &attempt, None, None)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn pieces_make_up_the_body_and_none_is_too_small(sizes in prop::collection::vec(0_usize..3_000_000, 0..12)) {
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
            let pieces = runtime.block_on(async {
                let mut incoming = incoming(frames);
                let mut pieces = Vec::new();
                loop {
                    let piece = incoming.piece(PIECE).await.expect("a piece");
                    let last = piece.last;
                    prop_assert_eq!(piece.size, piece.frames.iter().map(|frame| frame.len() as u64).sum::<u64>());
                    pieces.push(piece);
                    if last {
                        return Ok(pieces);
                    }
                }
            })?;
            if pieces.len() > 1 {
                prop_assert!(pieces.iter().all(|piece| piece.size >= MIN_PIECE));
            }
            prop_assert!(pieces.iter().all(|piece| piece.size <= PIECE + MIN_PIECE + 3_000_000));
            let joined: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.frames).collect::<Vec<_>>().concat();
            prop_assert!(joined == whole);
        }
    }

    #[test]
    fn pieces_grow_only_when_there_would_be_too_many() {
        assert_eq!(piece_size(0, MAX_PIECES), PIECE);
        assert_eq!(piece_size(64 << 30, MAX_PIECES), PIECE);
        let five_tib = 5 << 40;
        let size = piece_size(five_tib, MAX_PIECES);
        assert!(size <= 5 << 30 && five_tib.div_ceil(size) <= u64::from(MAX_PIECES));
    }
}
