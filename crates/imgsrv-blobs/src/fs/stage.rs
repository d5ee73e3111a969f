//! Receives a part: a blocking thread hashes and writes it as it arrives through a bounded channel.

use super::{
    error::{blocking, failed},
    layout::{FileLocation, Layout, ensure_folder, remove, sync_parent},
};
use crate::meter::BodyMeter;
use bytes::Bytes;
use futures::StreamExt;
use imgsrv_domain::{
    ids::UploadId,
    ports::{BodyError, BodyStream, StageError, StageRequest, Staged},
    upload::{Attempt, Placement},
};
use std::{fs::File, io, os::unix::fs::FileExt, path::PathBuf, sync::Arc, thread::JoinHandle};
use tokio::sync::mpsc::{self, error::SendError};

/// Bytes sent to the writer at once; one wake-up for each frame would cost more.
const BATCH_BYTES: usize = 256 << 10;
/// Capacity of the channel to the writer, in batches; bounds the memory of an upload.
const BATCHES: usize = 4;
/// Dirty bytes after which they are flushed to disk, so that the final fsync is short.
const FLUSH_BYTES: u64 = 32 << 20;

/// Frames of the body; an empty batch marks its end.
type Batch = Result<Vec<Bytes>, BodyError>;

/// Receives a part and makes it durable; on any failure nothing of it is left.
///
/// If this future is dropped, the channel closes early and the writer removes what it wrote.
pub(super) async fn stage(layout: Arc<Layout>, request: StageRequest) -> Result<Staged, StageError> {
    let StageRequest { session, name: _, attempt, declared, checksum, body } = request;
    let (sender, batches) = mpsc::channel(BATCHES);
    let writing = blocking(move || {
        let mut file = PartFile::open(&layout, session, &attempt, declared)?;
        let staged = file.write(batches, BodyMeter::new(&attempt, declared, checksum));
        if staged.is_err() {
            file.undo();
        }
        staged
    });
    // If the writer stopped, its result says why.
    let _ = send(body, sender).await;
    writing.await
}

/// Sends the body to the writer in batches, until the body ends or the writer stops.
async fn send(mut body: BodyStream, batches: mpsc::Sender<Batch>) -> Result<(), SendError<Batch>> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while let Some(frame) = body.next().await {
        match frame {
            Ok(frame) => {
                bytes += frame.len();
                batch.push(frame);
            }
            Err(error) => return batches.send(Err(error)).await,
        }
        if bytes >= BATCH_BYTES {
            bytes = 0;
            batches.send(Ok(std::mem::take(&mut batch))).await?;
        }
    }
    batches.send(Ok(batch)).await?;
    batches.send(Ok(Vec::new())).await
}

/// The file that a part is written to, from `location.offset` on.
struct PartFile {
    file: Arc<File>,
    path: PathBuf,
    location: FileLocation,
    flushing: Option<JoinHandle<io::Result<()>>>,
}

impl PartFile {
    fn open(layout: &Layout, session: UploadId, attempt: &Attempt, declared: Option<u64>) -> Result<Self, StageError> {
        let (file, path, location) = match Self::continued(layout, session, attempt) {
            Some(continued) => continued,
            None => Self::create(layout, session, attempt).map_err(failed)?,
        };
        let mut part = Self { file: Arc::new(file), path, location, flushing: None };
        if let Some(declared) = declared.filter(|declared| *declared >= BATCH_BYTES as u64)
            && let Err(error) = reserve(&part.file, part.location.offset, declared)
        {
            part.undo();
            return Err(failed(error).into());
        }
        Ok(part)
    }

    /// The file of the part before, if it ends there.
    fn continued(layout: &Layout, session: UploadId, attempt: &Attempt) -> Option<(File, PathBuf, FileLocation)> {
        let Placement::Frontier(Some((location, size))) = &attempt.placement else { return None };
        let mut location = FileLocation::parse(location)?;
        location.offset += size.get();
        let path = layout.staged(session, &location.file);
        let file = File::options().write(true).open(&path).ok()?;
        // Bytes after the contiguous prefix are those of a crashed attempt: write a new file then.
        let is_clean = file.metadata().ok()?.len() == location.offset;
        is_clean.then_some((file, path, location))
    }

    fn create(layout: &Layout, session: UploadId, attempt: &Attempt) -> io::Result<(File, PathBuf, FileLocation)> {
        let location = FileLocation { file: attempt.id.to_string(), offset: 0 };
        let path = layout.staged(session, &location.file);
        ensure_folder(&layout.session(session))?;
        let file = File::create_new(&path)?;
        sync_parent(&path)?;
        Ok((file, path, location))
    }

    /// Writes the body and makes it durable.
    fn write(&mut self, mut batches: mpsc::Receiver<Batch>, mut meter: BodyMeter) -> Result<Staged, StageError> {
        let mut flushed = 0;
        loop {
            let batch = batches.blocking_recv().unwrap_or(Err(BodyError::Cut))?;
            if batch.is_empty() {
                break;
            }
            for bytes in batch {
                let offset = self.location.offset + meter.received();
                meter.update(&bytes)?;
                self.file.write_all_at(&bytes, offset).map_err(failed)?;
            }
            if meter.received() - flushed >= FLUSH_BYTES && self.flush().map_err(failed)? {
                flushed = meter.received();
            }
        }
        meter.verify()?;
        self.join_flush().map_err(failed)?;
        self.file.sync_all().map_err(failed)?;
        meter.staged(self.location.encode())
    }

    /// Starts a flush of dirty pages in the background, unless one is still in progress.
    fn flush(&mut self) -> io::Result<bool> {
        if self.flushing.as_ref().is_some_and(|flushing| !flushing.is_finished()) {
            return Ok(false);
        }
        self.join_flush()?;
        let file = Arc::clone(&self.file);
        self.flushing = Some(std::thread::spawn(move || file.sync_data()));
        Ok(true)
    }

    /// Waits for the last flush. The kernel reports a write error only once, so it must be taken from there.
    fn join_flush(&mut self) -> io::Result<()> {
        let joined = self.flushing.take().map(JoinHandle::join);
        joined.unwrap_or(Ok(Ok(()))).unwrap_or_else(|_| Err(io::Error::other("the flushing thread panicked")))
    }

    /// Removes what was written. If that fails too, the next attempt notices the wrong length, and the end of the
    /// session removes the folder.
    fn undo(&mut self) {
        let _ = self.join_flush();
        let undone =
            if self.location.offset == 0 { remove(&self.path) } else { self.file.set_len(self.location.offset) };
        if let Err(error) = undone {
            tracing::warn!(%error, path = %self.path.display(), "failed part not removed");
        }
    }
}

/// Reserves disk space, so that a full disk is noticed before the bytes arrive. Does nothing on file systems without
/// `fallocate`.
fn reserve(file: &File, offset: u64, size: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    match fallocate(file, FallocateFlags::KEEP_SIZE, offset, size) {
        Err(error) if matches!(error, rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => Err(error.into()),
        _ => Ok(()),
    }
}
