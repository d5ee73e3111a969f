//! Reading stored blobs: every block is compared with its checksum before anything of it is forwarded.

use crate::{
    bytes::{
        checksums::section_of,
        quarantine::{condemn, open_unverified, read_unverified, require_store},
    },
    context::Context,
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use imgsrv_domain::{
    blocks::{BLOCK_BYTES, BlockChecksums, RunningBlock},
    ports::{BlobError, BlobStream, CatalogError, TrustedBlob, View},
};
use imgsrv_inspect::Source;
use std::{ops::Range, sync::Arc};
use tokio::sync::Semaphore;

/// The most bytes that are read and verified together: whole blocks.
pub(crate) const SPAN: u64 = 256 << 10;
/// Bytes that are verified before a stream of no more than that is returned.
const VERIFIED_FIRST: u64 = 1 << 20;
/// How many ranges are verified at once before they are returned; each uses the memory of a span.
static VERIFYING: Semaphore = Semaphore::const_new(64);

/// Opens `range` of a blob. Bytes that are missing, or that are not those that were stored, are [`BlobError::Damaged`],
/// and then the blob is quarantined; the stream ends with this error before the first wrong byte. A range of up to
/// 1 MiB is verified whole before it is returned, another one up to the end of its first blocks.
///
/// What is verified before is read again later: a client that opens many downloads and receives none of them must not
/// fill the memory. Each item of the stream has at most the bytes of a span.
pub(crate) async fn open_blob(
    context: &Arc<Context>,
    blob: &TrustedBlob,
    range: Range<u64>,
) -> Result<BlobStream, BlobError> {
    // By itself: a request to a bucket for all of the blob would be aborted after it, with its connection.
    let first_span = range.start - range.start % BLOCK_BYTES + SPAN;
    let is_small = range.end - range.start <= VERIFIED_FIRST;
    let first = range.start..if is_small { range.end } else { range.end.min(first_span) };
    let mut reading = Reading::new(context, blob, first);
    {
        let _permit = VERIFYING.acquire().await.map_err(BlobError::unavailable)?;
        while reading.next_span().await?.is_some() {}
    }
    reading.rewind(range);
    let spans = stream::try_unfold(reading, |mut reading| async move {
        let bytes = reading.next_span().await?;
        Ok(bytes.map(|bytes| (bytes, reading)))
    });
    Ok(spans.boxed())
}

/// The bytes of `range`, verified, if its blocks fit one span, which they keep in memory; errors are those of [`open_blob`].
pub(crate) async fn read_blob(
    context: &Arc<Context>,
    blob: &TrustedBlob,
    range: Range<u64>,
) -> Result<Option<Bytes>, BlobError> {
    let mut reading = Reading::new(context, blob, range);
    if reading.rest.is_empty() || !reading.is_last_span() {
        return Ok(None);
    }
    let _permit = VERIFYING.acquire().await.map_err(BlobError::unavailable)?;
    reading.next_span().await
}

/// The blob that has replaced `blob`, if one has: names that were read earlier may be outdated.
pub(crate) async fn replacement(context: &Context, blob: &TrustedBlob) -> Result<Option<TrustedBlob>, CatalogError> {
    let current = context.catalog.get_blob(&blob.claim.digest, View::All).await?;
    Ok(current.filter(|current| current.name != blob.name))
}

/// A range of a blob that is being read, span by span.
struct Reading {
    context: Arc<Context>,
    blob: TrustedBlob,
    /// The bytes that are not forwarded yet.
    rest: Range<u64>,
    /// The stored bytes from the start of the next span on; absent before the first one and after an error.
    stored: Option<BlobStream>,
    /// What was read of them beyond the last span.
    beyond: Bytes,
    /// The section of checksums that was used last; it has none if the blob has none.
    section: Option<(u32, Option<Arc<BlockChecksums>>)>,
}

impl Reading {
    fn new(context: &Arc<Context>, blob: &TrustedBlob, rest: Range<u64>) -> Self {
        let (context, blob) = (Arc::clone(context), blob.clone());
        Self { context, blob, rest, stored: None, beyond: Bytes::new(), section: None }
    }

    /// Starts again, at the start of `range`.
    fn rewind(&mut self, range: Range<u64>) {
        (self.rest, self.stored, self.beyond) = (range, None, Bytes::new());
    }

    /// The blocks that have the bytes that are left.
    fn blocks(&self) -> Range<u64> {
        let end = self.rest.end.next_multiple_of(BLOCK_BYTES).min(self.blob.claim.size.get());
        self.rest.start - self.rest.start % BLOCK_BYTES..end
    }

    /// Whether the bytes that are left are those of one span.
    fn is_last_span(&self) -> bool {
        let blocks = self.blocks();
        blocks.end - blocks.start <= SPAN
    }

    /// The requested bytes of the next span, once all of its blocks are verified.
    async fn next_span(&mut self) -> Result<Option<Bytes>, BlobError> {
        if self.rest.is_empty() {
            return match self.blob.claim.size.get() {
                // An empty blob is stored nevertheless.
                0 if self.stored.is_none() => self.open(0..0).await.map(|stored| {
                    self.stored = Some(stored);
                    None
                }),
                _ => Ok(None),
            };
        }
        let blocks = self.blocks();
        let span = blocks.start..blocks.end.min(blocks.start + SPAN);
        let expected = self.checksums(&span).await.map_err(BlobError::unavailable)?;
        let read = if self.stored.is_none() && self.is_last_span() {
            Some(vec![self.read(span.clone()).await?])
        } else {
            self.read_on(&span, blocks).await?
        };
        let bytes = match read {
            Some(bytes) if are_right(&bytes, &expected) => bytes,
            Some(_) | None => {
                self.stored = None;
                vec![self.reread(span.clone()).await?]
            }
        };
        let wanted = self.rest.start - span.start..self.rest.end.min(span.end) - span.start;
        self.rest.start = span.end.min(self.rest.end);
        Ok(Some(joined(cut(bytes, wanted))))
    }

    /// Reads the next span from a stream of all blocks that are left; `None` if it cannot be read.
    async fn read_on(&mut self, span: &Range<u64>, blocks: Range<u64>) -> Result<Option<Vec<Bytes>>, BlobError> {
        let stored = match self.stored.take() {
            Some(stored) => stored,
            None => self.open(blocks).await?,
        };
        match read_exactly(stored, std::mem::take(&mut self.beyond), span.end - span.start).await {
            Ok((bytes, stored, beyond)) => {
                (self.stored, self.beyond) = (Some(stored), beyond);
                Ok(Some(bytes))
            }
            Err(BlobError::Damaged) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn open(&mut self, range: Range<u64>) -> Result<BlobStream, BlobError> {
        let opened = open_unverified(&self.context, &self.blob, range).await;
        self.condemned(opened).await
    }

    async fn read(&mut self, range: Range<u64>) -> Result<Bytes, BlobError> {
        let read = read_unverified(&self.context, &self.blob, range).await;
        self.condemned(read).await
    }

    /// What was read, or the error of a blob that was found damaged twice.
    async fn condemned<T>(&mut self, read: Result<T, BlobError>) -> Result<T, BlobError> {
        match read {
            Err(BlobError::Damaged) => Err(condemn(&self.context, &self.blob).await),
            read => read,
        }
    }

    /// The checksums of the blocks of a span, of which a blob without checksums has none.
    async fn checksums(&mut self, span: &Range<u64>) -> Result<Vec<Option<u32>>, CatalogError> {
        let mut checksums = Vec::new();
        for index in span.start / BLOCK_BYTES..span.end.div_ceil(BLOCK_BYTES) {
            let (section, position) = section_of(index);
            if self.section.as_ref().is_none_or(|(current, _)| *current != section) {
                let (context, name) = (&self.context, &self.blob.name);
                let read = context.checksums.section(&*context.catalog, name, section).await?;
                self.section = Some((section, read));
            }
            checksums.push(self.section.as_ref().and_then(|(_, checksums)| checksums.as_ref()?.get(position)));
        }
        Ok(checksums)
    }

    /// Reads a span again that was wrong or incomplete; if it still is, the blob is quarantined.
    async fn reread(&mut self, span: Range<u64>) -> Result<Bytes, BlobError> {
        let (context, blob) = (Arc::clone(&self.context), self.blob.clone());
        tracing::warn!(blob.digest = %blob.claim.digest, blob.name = %blob.name, span.start, "damaged blocks read again");
        require_store(&context).await?;
        self.section = None;
        context.checksums.forget_span(&blob.name, &span);
        let expected = self.checksums(&span).await.map_err(BlobError::unavailable)?;
        let bytes = self.read(span).await?;
        if are_right(std::slice::from_ref(&bytes), &expected) {
            return Ok(bytes);
        }
        require_store(&context).await?;
        Err(condemn(&context, &blob).await)
    }
}

/// Reads `length` bytes, the first of which are `beyond`; also returns the rest of the stream, and what was read of it.
async fn read_exactly(
    mut stored: BlobStream,
    beyond: Bytes,
    length: u64,
) -> Result<(Vec<Bytes>, BlobStream, Bytes), BlobError> {
    let (mut bytes, mut chunk, mut left) = (Vec::new(), beyond, usize::try_from(length).unwrap_or(usize::MAX));
    loop {
        let beyond = chunk.split_off(chunk.len().min(left));
        left -= chunk.len();
        if !chunk.is_empty() {
            bytes.push(chunk);
        }
        if left == 0 {
            return Ok((bytes, stored, beyond));
        }
        chunk = stored.try_next().await?.ok_or(BlobError::Damaged)?;
    }
}

/// Whether the blocks of a span have their checksums. One without a checksum is not verified.
fn are_right(bytes: &[Bytes], expected: &[Option<u32>]) -> bool {
    let (mut block, mut expected) = (RunningBlock::default(), expected.iter());
    let mut is_right = |block: RunningBlock| {
        let expected = expected.next().copied().flatten();
        expected.is_none_or(|expected| block.checksum() == expected)
    };
    let length = usize::try_from(BLOCK_BYTES).unwrap_or(usize::MAX);
    let mut left = length;
    for chunk in bytes {
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(left.min(rest.len()));
            block.update(now);
            (rest, left) = (later, left - now.len());
            if left == 0 {
                if !is_right(std::mem::take(&mut block)) {
                    return false;
                }
                left = length;
            }
        }
    }
    left == length || is_right(block)
}

/// The chunks as one, so that no part of a block waits in memory for the others to be sent.
fn joined(mut chunks: Vec<Bytes>) -> Bytes {
    if chunks.len() <= 1 { chunks.pop().unwrap_or_default() } else { chunks.concat().into() }
}

/// The bytes in `range`, relative to the first of `bytes`.
fn cut(bytes: Vec<Bytes>, range: Range<u64>) -> Vec<Bytes> {
    let position = |at| usize::try_from(at).unwrap_or(usize::MAX);
    let (mut skip, mut left) = (position(range.start), position(range.end - range.start));
    let cut = bytes.into_iter().map(|chunk| {
        let start = skip.min(chunk.len());
        let end = chunk.len().min(start.saturating_add(left));
        (skip, left) = (skip - start, left - (end - start));
        chunk.slice(start..end)
    });
    cut.filter(|chunk| !chunk.is_empty()).collect()
}

/// Random access to the bytes of a blob.
pub(crate) struct BlobReader<'a> {
    pub(crate) context: &'a Arc<Context>,
    pub(crate) blob: &'a TrustedBlob,
}

impl Source for BlobReader<'_> {
    type Error = BlobError;

    fn size(&self) -> u64 {
        self.blob.claim.size.get()
    }

    async fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, BlobError> {
        let mut read = Vec::with_capacity(length);
        if length > 0 {
            let range = offset..offset + length as u64;
            if let Some(bytes) = read_blob(self.context, self.blob, range.clone()).await? {
                return Ok(bytes.into());
            }
            let mut chunks = open_blob(self.context, self.blob, range).await?;
            while let Some(chunk) = chunks.try_next().await? {
                read.extend_from_slice(&chunk);
            }
        }
        if read.len() == length { Ok(read) } else { Err(BlobError::Damaged) }
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let span = tracing::Span::current();
        match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
            Ok(result) => result,
            // It panicked, or the runtime is shutting down and ends this task as well.
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => std::future::pending().await,
            },
        }
    }
}
