//! Receives a part: batches of it are hashed and written on blocking threads, each while the next one arrives. While
//! the client is waited for, no thread is held.

use super::{
    error::failed,
    layout::{FileLocation, Layout, ensure_folder, remove, sync_parent},
};
use crate::{
    batches::Batches,
    meter::BodyMeter,
    threads::{Pipeline, Share},
};
use bytes::Bytes;
use imgsrv_domain::{
    ids::UploadId,
    ports::{StageError, StageRequest, Staged},
    space::SpaceReservation,
    upload::{Attempt, Placement},
};
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};
use tokio::runtime::Handle;

/// Smallest declared size for which space is reserved on disk.
const RESERVE_BYTES: u64 = 256 << 10;
/// Dirty bytes after which they are flushed to disk, so that the final fsync is short.
const FLUSH_BYTES: u64 = 32 << 20;

/// Receives a part and makes it durable; on any failure nothing of it is left.
///
/// If this future is dropped, what was written is removed after the write that is in progress.
pub(super) async fn stage(layout: Arc<Layout>, share: Share, request: StageRequest) -> Result<Staged, StageError> {
    let StageRequest { session, name: _, attempt, declared, checksum, space, body } = request;
    let meter = BodyMeter::new(&attempt, declared, checksum);
    let opening = share.clone();
    let open = move || PartFile::open(&layout, session, &attempt, declared, space, opening);
    let part = (share.run(open).await?, meter);
    let mut writing = Pipeline::new(share.clone(), part);
    match receive(Batches::new(body), &mut writing).await {
        Ok(()) => {
            let (mut file, meter) = writing.take().await?;
            share.run(move || file.finish(&meter)).await
        }
        Err(error) => {
            // Absent if a write has failed, which has undone the part.
            if let Ok((mut file, _)) = writing.take().await {
                let undoing = move || {
                    file.undo();
                    Ok::<_, StageError>(())
                };
                share.run(undoing).await?;
            }
            Err(error)
        }
    }
}

/// Receives the body, and writes it one batch behind.
async fn receive(
    mut batches: Batches,
    writing: &mut Pipeline<(PartFile, BodyMeter), StageError>,
) -> Result<(), StageError> {
    loop {
        let batch = tokio::select! {
            biased;
            error = writing.failure() => return Err(error),
            batch = batches.next() => batch?,
        };
        if batch.is_empty() {
            return writing.settle().await;
        }
        writing.start(move |(file, meter)| file.write(batch, meter).inspect_err(|_| file.undo())).await?;
    }
}

/// The file that a part is written to, from `location.offset` on. Dropped before it is finished, it is undone.
struct PartFile {
    file: Arc<File>,
    path: PathBuf,
    location: FileLocation,
    space: Option<SpaceReservation>,
    share: Share,
    /// Bytes of the part that were flushed, or are being flushed.
    flushed: u64,
    flushing: Option<JoinHandle<io::Result<()>>>,
    has_ended: bool,
}

impl PartFile {
    fn open(
        layout: &Layout,
        session: UploadId,
        attempt: &Attempt,
        declared: Option<u64>,
        space: Option<SpaceReservation>,
        share: Share,
    ) -> Result<Self, StageError> {
        let (file, path, location) = match Self::continued(layout, session, attempt) {
            Some(continued) => continued,
            None => Self::create(layout, session, attempt).map_err(failed)?,
        };
        let file = Arc::new(file);
        let mut part = Self { file, path, location, space, share, flushed: 0, flushing: None, has_ended: false };
        if let Some(declared) = declared.filter(|declared| *declared >= RESERVE_BYTES) {
            match reserve(&part.file, part.location.offset, declared) {
                // It is used already.
                Ok(true) => part.space = None,
                Ok(false) => {}
                Err(error) => {
                    part.undo();
                    return Err(failed(error).into());
                }
            }
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

    /// Hashes and writes the next bytes.
    fn write(&mut self, batch: Vec<Bytes>, meter: &mut BodyMeter) -> Result<(), StageError> {
        for bytes in batch {
            let offset = self.location.offset + meter.received();
            meter.update(&bytes)?;
            self.file.write_all_at(&bytes, offset).map_err(failed)?;
            self.used(bytes.len() as u64);
        }
        if meter.received() - self.flushed >= FLUSH_BYTES && self.flush().map_err(failed)? {
            self.flushed = meter.received();
        }
        Ok(())
    }

    /// Makes the whole part durable.
    fn finish(&mut self, meter: &BodyMeter) -> Result<Staged, StageError> {
        let finished = meter.verify().and_then(|()| {
            self.join_flush().map_err(failed)?;
            self.file.sync_all().map_err(failed)?;
            meter.staged(self.location.encode())
        });
        match &finished {
            Ok(_) => self.has_ended = true,
            Err(_) => self.undo(),
        }
        finished
    }

    fn used(&self, bytes: u64) {
        if let Some(space) = &self.space {
            space.used(bytes);
        }
    }

    /// Starts a flush of dirty pages in the background, unless one is still in progress or too many are.
    fn flush(&mut self) -> io::Result<bool> {
        if self.flushing.as_ref().is_some_and(|flushing| !flushing.is_finished()) {
            return Ok(false);
        }
        self.join_flush()?;
        let Some(permit) = self.share.try_enter() else { return Ok(false) };
        let file = Arc::clone(&self.file);
        self.flushing = Some(std::thread::spawn(move || {
            let synced = file.sync_data();
            drop(permit);
            synced
        }));
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
        self.has_ended = true;
        let _ = self.join_flush();
        undo(&self.file, &self.path, &self.location);
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let (file, path, location) = (Arc::clone(&self.file), self.path.clone(), self.location.clone());
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || undo(&file, &path, &location))),
            Err(_) => undo(&file, &path, &location),
        }
    }
}

fn undo(file: &File, path: &Path, location: &FileLocation) {
    let undone = if location.offset == 0 { remove(path) } else { file.set_len(location.offset) };
    if let Err(error) = undone {
        tracing::warn!(%error, path = %path.display(), "failed part not removed");
    }
}

/// Reserves disk space, so that a full disk is noticed before the bytes arrive; whether the file system could do so.
fn reserve(file: &File, offset: u64, size: u64) -> io::Result<bool> {
    use rustix::fs::{FallocateFlags, fallocate};
    match fallocate(file, FallocateFlags::KEEP_SIZE, offset, size) {
        Err(error) if matches!(error, rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => Err(error.into()),
        reserved => Ok(reserved.is_ok()),
    }
}
