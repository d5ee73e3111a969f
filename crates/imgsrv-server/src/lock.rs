//! A lock on a folder, so that a server refuses to start on one that another server uses exclusively.
//!
//! A server locks the folder itself and the file `lock` in it. Neither lock needs write access (flock(2)), and the
//! folder can be locked where the file does not exist and cannot be created, because the disk is full or read-only. So
//! of two servers on one machine only one gets past the folder, even once the disk accepts writes. The file is for
//! file systems that do not lock folders, such as NFS: there, a server without the file does not start.

use imgsrv_blobs::unwritable;
use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// A locked folder. The operating system releases the lock when the process ends.
#[derive(Debug)]
pub(crate) struct FolderLock {
    dir: PathBuf,
    is_shared: bool,
    /// Absent where folders cannot be locked.
    folder: Option<File>,
    /// Absent until the file can be created.
    file: Option<File>,
}

/// Why the folder was not locked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another process has locked it.
    #[error("another imgsrv server is using {0}; stop it, or choose another folder with --data-dir")]
    Locked(String),
    /// The folder or the lock file cannot be used.
    #[error("cannot lock {path}: {source}")]
    Io {
        /// The folder or the lock file.
        path: String,
        /// The cause.
        source: io::Error,
    },
}

impl FolderLock {
    /// Locks `dir` without waiting: exclusively, or shared with other servers.
    pub(crate) fn acquire(dir: &Path, is_shared: bool) -> Result<Self, LockError> {
        let mut lock = Self { dir: dir.to_owned(), is_shared, folder: None, file: None };
        let folder = File::open(dir).map_err(|source| io_error(dir, source))?;
        match lock.lock(&folder, dir) {
            Ok(()) => lock.folder = Some(folder),
            Err(locked @ LockError::Locked(_)) => return Err(locked),
            Err(LockError::Io { .. }) => {}
        }
        match lock.complete() {
            Err(LockError::Io { source, .. }) if unwritable(&source).is_some() => lock.lock_existing()?,
            completed => completed?,
        }
        Ok(lock)
    }

    /// Creates and locks the lock file, if it is not locked yet.
    pub(crate) fn complete(&mut self) -> Result<(), LockError> {
        if self.file.is_some() {
            return Ok(());
        }
        let path = self.path();
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let file = file.map_err(|source| io_error(&path, source))?;
        self.lock(&file, &path)?;
        self.file = Some(file);
        Ok(())
    }

    /// Locks the lock file if it exists, which is necessary where the folder could not be locked.
    fn lock_existing(&mut self) -> Result<(), LockError> {
        let path = self.path();
        match File::open(&path) {
            Ok(file) => {
                self.lock(&file, &path)?;
                self.file = Some(file);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.folder.is_some() => Ok(()),
            Err(error) => Err(io_error(&path, error)),
        }
    }

    fn lock(&self, file: &File, path: &Path) -> Result<(), LockError> {
        let locked = if self.is_shared { file.try_lock_shared() } else { file.try_lock() };
        locked.map_err(|error| match error {
            TryLockError::WouldBlock => LockError::Locked(self.dir.display().to_string()),
            TryLockError::Error(source) => io_error(path, source),
        })
    }

    fn path(&self) -> PathBuf {
        self.dir.join("lock")
    }
}

fn io_error(path: &Path, source: io::Error) -> LockError {
    LockError::Io { path: path.display().to_string(), source }
}
