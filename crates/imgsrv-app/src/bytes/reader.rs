//! Reading stored blobs: every block is compared with its checksum before anything of it is forwarded.

use crate::{
    bytes::{
        checksums::section_of,
        quarantine::{condemn, open_unverified, require_store},
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

/// Bytes that are verified before a stream of no more than that is returned.
const VERIFIED_FIRST: u64 = 1 << 20;
/// The most bytes of a range within one block that are kept until they are sent.
const KEPT: u64 = 16 << 10;
/// How many ranges are verified at once before they are returned; each uses the memory of a block.
static VERIFYING: Semaphore = Semaphore::const_new(64);

/// Opens `range` of a blob. Bytes that are missing, or that are not those that were stored, are [`BlobError::Damaged`],
/// and then the blob is quarantined; the stream ends with this error before the first wrong byte. A range of up to
/// 1 MiB is verified whole before it is returned, another one up to the end of its first block.
///
/// What is verified before is read again later, unless it is little: a client that opens many downloads and receives none
/// of them must not fill the memory. Each item of the stream has the requested bytes of one block.
pub(crate) async fn open_blob(
    context: &Arc<Context>,
    blob: &TrustedBlob,
    range: Range<u64>,
) -> Result<BlobStream, BlobError> {
    let size = range.end - range.start;
    let mut reading = Reading::open(context, blob, range.clone()).await?;
    let mut first = None;
    {
        let _permit = VERIFYING.acquire().await.map_err(BlobError::unavailable)?;
        while let Some(bytes) = reading.next_block().await? {
            if size <= KEPT && bytes.len() as u64 == size {
                first = Some(bytes);
            }
            if size > VERIFIED_FIRST {
                break;
            }
        }
    }
    if let Some(first) = first {
        return Ok(stream::iter([Ok(first)]).boxed());
    }
    reading.rewind(range);
    let blocks = stream::try_unfold(reading, |mut reading| async move {
        let bytes = reading.next_block().await?;
        Ok(bytes.map(|bytes| (bytes, reading)))
    });
    Ok(blocks.boxed())
}

/// The blob that has replaced `blob`, if one has: names that were read earlier may be outdated.
pub(crate) async fn replacement(context: &Context, blob: &TrustedBlob) -> Result<Option<TrustedBlob>, CatalogError> {
    let current = context.catalog.get_blob(&blob.claim.digest, View::All).await?;
    Ok(current.filter(|current| current.name != blob.name))
}

/// A range of a blob that is being read, block by block.
struct Reading {
    context: Arc<Context>,
    blob: TrustedBlob,
    /// The bytes that are not forwarded yet.
    rest: Range<u64>,
    /// The stored bytes from the start of the next block on; absent after an error.
    stored: Option<BlobStream>,
    /// What was read of them beyond the last block.
    beyond: Bytes,
    /// The section of checksums that was used last; it has none if the blob has none.
    section: Option<(u32, Option<Arc<BlockChecksums>>)>,
}

impl Reading {
    async fn open(context: &Arc<Context>, blob: &TrustedBlob, rest: Range<u64>) -> Result<Self, BlobError> {
        let (context, blob) = (Arc::clone(context), blob.clone());
        let mut reading = Self { context, blob, rest, stored: None, beyond: Bytes::new(), section: None };
        reading.stored = Some(reading.open_stored().await?);
        Ok(reading)
    }

    /// Starts again, at the start of `range`.
    fn rewind(&mut self, range: Range<u64>) {
        (self.rest, self.stored, self.beyond) = (range, None, Bytes::new());
    }

    fn size(&self) -> u64 {
        self.blob.claim.size.get()
    }

    /// The range of the block that has the byte at `at`.
    fn block_at(&self, at: u64) -> Range<u64> {
        let start = at - at % BLOCK_BYTES;
        start..self.size().min(start + BLOCK_BYTES)
    }

    /// Opens the stored bytes of all blocks that are left.
    async fn open_stored(&mut self) -> Result<BlobStream, BlobError> {
        let range = if self.rest.is_empty() {
            self.rest.clone()
        } else {
            self.block_at(self.rest.start).start..self.block_at(self.rest.end - 1).end
        };
        self.open_range(range).await
    }

    async fn open_range(&mut self, range: Range<u64>) -> Result<BlobStream, BlobError> {
        match open_unverified(&self.context, &self.blob, range).await {
            Err(BlobError::Damaged) => Err(condemn(&self.context, &self.blob).await),
            opened => opened,
        }
    }

    /// The requested bytes of the next block, once all of it is verified.
    async fn next_block(&mut self) -> Result<Option<Bytes>, BlobError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let block = self.block_at(self.rest.start);
        let index = block.start / BLOCK_BYTES;
        let expected = self.checksum(index).await.map_err(BlobError::unavailable)?;
        let stored = match self.stored.take() {
            Some(stored) => stored,
            None => self.open_stored().await?,
        };
        let bytes = match read_exactly(stored, std::mem::take(&mut self.beyond), block.end - block.start).await {
            Ok((bytes, stored, beyond)) if is_right(&bytes, expected) => {
                (self.stored, self.beyond) = (Some(stored), beyond);
                bytes
            }
            Ok(_) | Err(BlobError::Damaged) => self.reread(index, block.clone()).await?,
            Err(error) => return Err(error),
        };
        let wanted = self.rest.start - block.start..self.rest.end.min(block.end) - block.start;
        self.rest.start = block.end.min(self.rest.end);
        Ok(Some(joined(cut(bytes, wanted))))
    }

    /// The checksum of block `index`, if the blob has checksums.
    async fn checksum(&mut self, index: u64) -> Result<Option<u32>, CatalogError> {
        let (section, position) = section_of(index);
        if self.section.as_ref().is_none_or(|(current, _)| *current != section) {
            let (context, name) = (&self.context, &self.blob.name);
            let read = context.checksums.section(&*context.catalog, name, section).await?;
            self.section = Some((section, read));
        }
        Ok(self.section.as_ref().and_then(|(_, checksums)| checksums.as_ref()?.get(position)))
    }

    /// Reads a block again that was wrong or incomplete; if it still is, the blob is quarantined.
    async fn reread(&mut self, index: u64, block: Range<u64>) -> Result<Vec<Bytes>, BlobError> {
        let (context, blob) = (Arc::clone(&self.context), self.blob.clone());
        tracing::warn!(blob.digest = %blob.claim.digest, blob.name = %blob.name, block.start, "damaged block read again");
        require_store(&context).await?;
        self.section = None;
        let expected = context.checksums.reread(&*context.catalog, &blob.name, index).await;
        let expected = expected.map_err(BlobError::unavailable)?;
        let stored = self.open_range(block.clone()).await?;
        match read_exactly(stored, Bytes::new(), block.end - block.start).await {
            Ok((bytes, ..)) if is_right(&bytes, expected) => Ok(bytes),
            Ok(_) | Err(BlobError::Damaged) => {
                require_store(&context).await?;
                Err(condemn(&context, &blob).await)
            }
            Err(error) => Err(error),
        }
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

/// Whether a block has its checksum. Without one it is not verified.
fn is_right(bytes: &[Bytes], expected: Option<u32>) -> bool {
    let Some(expected) = expected else { return true };
    let mut block = RunningBlock::default();
    for chunk in bytes {
        block.update(chunk);
    }
    block.checksum() == expected
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
