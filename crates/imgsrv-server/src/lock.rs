//! A lock on a folder, so that a server refuses to start on one that another server uses exclusively.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
};

/// A locked folder. The operating system releases the lock when the process ends.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

/// Why the folder was not locked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another process has locked it.
    #[error("another imgsrv server is using {0}")]
    Locked(String),
    /// The lock file cannot be used.
    #[error("cannot lock {path}: {source}")]
    Io {
        /// The lock file.
        path: String,
        /// The cause.
        source: io::Error,
    },
}

impl FolderLock {
    /// Locks `<dir>/lock` without waiting: exclusively, or shared with other servers.
    pub(crate) fn acquire(dir: &Path, is_shared: bool) -> Result<Self, LockError> {
        let path = dir.join("lock");
        let io = |source| LockError::Io { path: path.display().to_string(), source };
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(io)?;
        match if is_shared { file.try_lock_shared() } else { file.try_lock() } {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Locked(dir.display().to_string())),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }
}
