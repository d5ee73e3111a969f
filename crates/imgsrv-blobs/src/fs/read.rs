//! Reads blobs: from the page cache without blocking, from disk on a blocking thread.

use super::{error::failed, layout::Layout};
use crate::{
    buffers::{Buffer, BufferPool},
    observe::{Observer, Operation},
    threads::Share,
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use imgsrv_domain::{
    digest::ByteSize,
    ports::{BlobError, BlobName, BlobStream},
};
use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, sync::Arc};
use tokio::task::coop;

/// Opens a blob that must have exactly `size` bytes.
pub(super) fn open(layout: &Layout, name: &BlobName, size: ByteSize) -> Result<File, BlobError> {
    let opened = File::open(layout.blob(name)).and_then(|file| Ok((file.metadata()?.len(), file)));
    match opened {
        Ok((length, file)) if length == size.get() => Ok(file),
        Ok(_) => Err(BlobError::Damaged),
        Err(error) if error.kind() == io::ErrorKind::NotFound && layout.is_mounted(name) => Err(BlobError::Damaged),
        Err(error) => Err(failed(error)),
    }
}

/// The bytes of `range`, one buffer at a time; the next one is read when the consumer polls for it.
pub(super) fn stream(
    file: File,
    range: Range<u64>,
    buffers: BufferPool,
    reading: Share,
    observer: Arc<dyn Observer>,
) -> BlobStream {
    stream::try_unfold((Arc::new(file), range), move |(file, range)| {
        let (buffers, reading, observer) = (buffers.clone(), reading.clone(), Arc::clone(&observer));
        async move {
            if range.is_empty() {
                return Ok(None);
            }
            let chunk = chunk(&file, &range, buffers.take_for(range.end - range.start), &reading).await?;
            observer.bytes(Operation::Get, chunk.len() as u64);
            let rest = range.start + chunk.len() as u64..range.end;
            Ok(Some((chunk, (file, rest))))
        }
    })
    .boxed()
}

async fn chunk(file: &Arc<File>, range: &Range<u64>, mut buffer: Buffer, reading: &Share) -> Result<Bytes, BlobError> {
    // Reading from the page cache never waits: without this, a large file would occupy a thread of the runtime.
    coop::consume_budget().await;
    let (start, wanted) = (range.start, range.end - range.start);
    if let Some(read @ 1..) = read_cached(file, buffer.space(wanted), start) {
        return Ok(buffer.freeze(read));
    }
    let file = Arc::clone(file);
    let read = move || {
        let space = buffer.space(wanted);
        let filled = space.len();
        file.read_exact_at(space, start).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => BlobError::Damaged,
            // The disk cannot read a sector.
            _ if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => BlobError::Damaged,
            _ => failed(error),
        })?;
        Ok(buffer.freeze(filled))
    };
    reading.run(read).await
}

/// Reads what is in the page cache, without waiting for the disk (`RWF_NOWAIT`, preadv2(2)).
#[cfg(target_os = "linux")]
fn read_cached(file: &File, space: &mut [u8], offset: u64) -> Option<usize> {
    use rustix::io::{ReadWriteFlags, preadv2};
    preadv2(file, &mut [io::IoSliceMut::new(space)], offset, ReadWriteFlags::NOWAIT).ok()
}

#[cfg(not(target_os = "linux"))]
fn read_cached(_file: &File, _space: &mut [u8], _offset: u64) -> Option<usize> {
    None
}
