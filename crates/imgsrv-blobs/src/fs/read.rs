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
use std::{fs::File, io, ops::Range, os::unix::fs::FileExt, path::Path, sync::Arc};
use tokio::task::coop;

/// Opens a blob that must have exactly `size` bytes. It may wait for the disk.
pub(super) fn open(layout: &Layout, name: &BlobName, size: ByteSize) -> Result<File, BlobError> {
    let opened = File::open(layout.blob(name)).and_then(|file| Ok((file.metadata()?.len(), file)));
    match opened {
        Ok((length, file)) if length == size.get() => Ok(file),
        Ok(_) => Err(BlobError::Damaged),
        Err(error) if error.kind() == io::ErrorKind::NotFound && layout.is_mounted(name) => Err(BlobError::Damaged),
        Err(error) => Err(failed(error)),
    }
}

/// Opens a blob of `size` bytes if that needs no wait for the disk: its path and its metadata are in memory.
pub(super) fn open_cached(layout: &Layout, name: &BlobName, size: ByteSize) -> Option<File> {
    let file = cached_file(&layout.blob(name))?;
    (file.metadata().ok()?.len() == size.get()).then_some(file)
}

/// Opens a file without waiting (`RESOLVE_CACHED`, openat2(2)).
#[cfg(target_os = "linux")]
fn cached_file(path: &Path) -> Option<File> {
    use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
    let opened = openat2(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::CACHED);
    opened.ok().map(File::from)
}

#[cfg(not(target_os = "linux"))]
fn cached_file(_path: &Path) -> Option<File> {
    None
}

/// All bytes of `range`, which fit a buffer: without a thread if they and the path are in memory.
pub(super) async fn read(
    layout: &Arc<Layout>,
    name: &BlobName,
    size: ByteSize,
    range: Range<u64>,
    mut buffer: Buffer,
    reading: &Share,
) -> Result<Bytes, BlobError> {
    coop::consume_budget().await;
    let (start, wanted) = (range.start, range.end - range.start);
    let file = open_cached(layout, name, size);
    let read = file.as_ref().and_then(|file| read_cached(file, buffer.space(wanted), start)).unwrap_or(0);
    if read as u64 == wanted {
        return Ok(buffer.freeze(read));
    }
    let (layout, name) = (Arc::clone(layout), name.clone());
    let fill = move || {
        let file = file.map_or_else(|| open(&layout, &name, size), Ok)?;
        fill(&file, buffer, read, start, wanted)
    };
    reading.run(fill).await
}

/// The buffer with `wanted` bytes from `start` on, of which it has the first `read`.
fn fill(file: &File, mut buffer: Buffer, read: usize, start: u64, wanted: u64) -> Result<Bytes, BlobError> {
    let space = buffer.space(wanted);
    let filled = space.len();
    file.read_exact_at(&mut space[read..], start + read as u64).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => BlobError::Damaged,
        // The disk cannot read a sector.
        _ if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => BlobError::Damaged,
        _ => failed(error),
    })?;
    Ok(buffer.freeze(filled))
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
    let space = buffer.space(wanted);
    let length = space.len();
    let read = read_cached(file, space, start).unwrap_or(0);
    if read == length {
        return Ok(buffer.freeze(read));
    }
    // The rest of the buffer as well: chunks of one size are those that are verified at once.
    let file = Arc::clone(file);
    reading.run(move || fill(&file, buffer, read, start, wanted)).await
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
