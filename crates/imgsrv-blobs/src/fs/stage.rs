//! Receiving a part: hashed and written by one blocking thread behind a bounded channel, as it arrives.

use super::{
    failed,
    layout::{FileLocation, Layout, ensure_folder, remove, sync_parent},
    unavailable,
};
use bytes::Bytes;
use futures::StreamExt;
use imgsrv_domain::{
    digest::{ByteSize, Digest},
    hash::RunningHash,
    ids::UploadId,
    ports::{BodyError, BodyStream, StageError, StageRequest, Staged},
    upload::{Attempt, Placement},
};
use std::{fs::File, io, os::unix::fs::FileExt, path::PathBuf, sync::Arc, thread::JoinHandle};
use tokio::sync::mpsc;

/// Bytes handed over at once; fewer wake-ups than frame by frame.
const BATCH_BYTES: usize = 256 << 10;
/// Batches on their way to the disk; bounds what an upload holds in memory.
const BATCHES: usize = 4;
/// Dirty bytes after which the disk is put to work, so that the last fsync is short.
const FLUSH_BYTES: u64 = 32 << 20;

type Batch = Result<Vec<Bytes>, BodyError>;

/// Receives a part and makes it durable; on any failure nothing of it is left.
pub(crate) async fn receive(layout: Arc<Layout>, request: StageRequest) -> Result<Staged, StageError> {
    let StageRequest { session, name: _, attempt, declared, checksum, body } = request;
    let (batches, received) = mpsc::channel(BATCHES);
    let writing = tokio::task::spawn_blocking(move || {
        let mut part = PartFile::open(&layout, session, &attempt, declared)?;
        let done = part.fill(received, &attempt, checksum).and_then(|size| match declared {
            Some(declared) if declared != size => Err(BodyError::Cut.into()),
            _ => part.finish(size),
        });
        if done.is_err() {
            part.undo();
        }
        done
    });
    pump(body, batches).await;
    writing.await.map_err(|panic| StageError::Blob(unavailable(panic)))?
}

/// Takes frames from the body and hands them over in batches, until the body or the receiver ends.
async fn pump(mut body: BodyStream, batches: mpsc::Sender<Batch>) {
    let mut batch = Vec::new();
    let mut bytes = 0;
    loop {
        let frame = body.next().await;
        match frame {
            Some(Ok(frame)) => {
                bytes += frame.len();
                batch.push(frame);
                if bytes < BATCH_BYTES {
                    continue;
                }
                bytes = 0;
                if batches.send(Ok(std::mem::take(&mut batch))).await.is_err() {
                    return;
                }
            }
            Some(Err(error)) => {
                let _ = batches.send(Err(error)).await;
                return;
            }
            None => {
                // The empty batch marks the end: a channel that closes without it was cut off.
                let _ = batches.send(Ok(batch)).await;
                let _ = batches.send(Ok(Vec::new())).await;
                return;
            }
        }
    }
}

/// The file that a part is written to, from `place.offset` on.
struct PartFile {
    file: Arc<File>,
    path: PathBuf,
    place: FileLocation,
    hash: Option<RunningHash>,
    flushing: Option<JoinHandle<io::Result<()>>>,
}

impl PartFile {
    fn open(layout: &Layout, session: UploadId, attempt: &Attempt, declared: Option<u64>) -> Result<Self, StageError> {
        let hash = RunningHash::of(&attempt.base);
        let behind = match &attempt.placement {
            Placement::Frontier(Some((place, size))) => {
                FileLocation::parse(place).map(|place| FileLocation { offset: place.offset + size.get(), ..place })
            }
            Placement::Frontier(None) | Placement::Standalone => None,
        };
        let appended = behind.and_then(|place| {
            let path = layout.staged(session, &place.file);
            let file = File::options().write(true).open(&path).ok()?;
            // Anything behind the accepted prefix is a crashed attempt's: start a file of our own then.
            let clean = file.metadata().ok()?.len() == place.offset;
            clean.then_some((file, path, place))
        });
        let (file, path, place) = match appended {
            Some(appended) => appended,
            None => Self::create(layout, session, attempt).map_err(failed)?,
        };
        let mut part = Self { file: Arc::new(file), path, place, hash, flushing: None };
        let reserved = match declared {
            Some(declared @ BATCH_SIZE_U64..) => reserve(&part.file, part.place.offset, declared),
            Some(_) | None => Ok(()),
        };
        if let Err(error) = reserved {
            part.undo();
            return Err(failed(error).into());
        }
        Ok(part)
    }

    fn create(layout: &Layout, session: UploadId, attempt: &Attempt) -> io::Result<(File, PathBuf, FileLocation)> {
        let place = FileLocation { file: attempt.id.to_string(), offset: 0 };
        let path = layout.staged(session, &place.file);
        ensure_folder(&layout.session(session))?;
        let file = File::create_new(&path)?;
        sync_parent(&path)?;
        Ok((file, path, place))
    }

    /// Writes what is received, and says how many bytes it was.
    fn fill(
        &mut self,
        mut received: mpsc::Receiver<Batch>,
        attempt: &Attempt,
        checksum: Option<Digest>,
    ) -> Result<u64, StageError> {
        let mut own = checksum.map(|expected| (expected, RunningHash::new()));
        let (mut size, mut flushed) = (0_u64, 0_u64);
        loop {
            let batch = received.blocking_recv().unwrap_or(Err(BodyError::Cut))?;
            if batch.is_empty() {
                break;
            }
            for bytes in batch {
                let at = self.place.offset + size;
                size += bytes.len() as u64;
                if size > attempt.limit.get() {
                    return Err(StageError::TooLarge);
                }
                self.file.write_all_at(&bytes, at).map_err(failed)?;
                for hash in self.hash.iter_mut().chain(own.as_mut().map(|(_, hash)| hash)) {
                    hash.update(&bytes);
                }
            }
            if size - flushed >= FLUSH_BYTES && self.flush().map_err(failed)? {
                flushed = size;
            }
        }
        if let Some((expected, hash)) = own {
            let actual = hash.finish();
            if actual != expected {
                return Err(StageError::Checksum { actual });
            }
        }
        Ok(size)
    }

    /// Starts writing dirty pages to the disk beside the receiving, unless that still goes on.
    fn flush(&mut self) -> io::Result<bool> {
        if self.flushing.as_ref().is_some_and(|flushing| !flushing.is_finished()) {
            return Ok(false);
        }
        self.join_flush()?;
        let file = Arc::clone(&self.file);
        self.flushing = Some(std::thread::spawn(move || file.sync_data()));
        Ok(true)
    }

    /// Takes the result of the last flush: an error that it met is reported once only, to it.
    fn join_flush(&mut self) -> io::Result<()> {
        let joined = self.flushing.take().map(JoinHandle::join);
        joined.unwrap_or(Ok(Ok(()))).unwrap_or_else(|_| Err(io::Error::other("the flushing thread panicked")))
    }

    fn finish(&mut self, size: u64) -> Result<Staged, StageError> {
        self.join_flush().map_err(failed)?;
        self.file.sync_all().map_err(failed)?;
        Ok(Staged {
            location: self.place.place(),
            size: ByteSize::try_from(size).map_err(|_| StageError::TooLarge)?,
            hash: self.hash.as_ref().map(RunningHash::save),
        })
    }

    /// Takes back what was written. Should that fail too, the next attempt sees the wrong length, and the
    /// session's end clears the folder.
    fn undo(&mut self) {
        let _ = self.join_flush();
        let undone = if self.place.offset == 0 { remove(&self.path) } else { self.file.set_len(self.place.offset) };
        if let Err(error) = undone {
            tracing::warn!(%error, path = %self.path.display(), "a failed part could not be removed");
        }
    }
}

const BATCH_SIZE_U64: u64 = BATCH_BYTES as u64;

/// Reserves room, so that a full disk is noticed before the bytes come. File systems without it are left alone.
fn reserve(file: &File, offset: u64, size: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    match fallocate(file, FallocateFlags::KEEP_SIZE, offset, size) {
        Err(error) if matches!(error, rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => Err(error.into()),
        _ => Ok(()),
    }
}
