//! The lock by which servers that cannot share a folder refuse to start on it.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
};

/// Held as long as a server uses the folder; the operating system frees it when the process ends.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

/// Why the folder was not locked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another process holds it.
    #[error("another imgsrv server is using {0}")]
    Held(String),
    /// The lock file cannot be used.
    #[error("cannot lock {path}: {source}")]
    Io {
        /// The lock file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

impl FolderLock {
    /// Locks `<dir>/lock` for one server alone, without waiting.
    pub(crate) fn exclusive(dir: &Path) -> Result<Self, LockError> {
        Self::acquire(dir, File::try_lock)
    }

    /// Locks `<dir>/lock` for servers that share the folder, without waiting.
    pub(crate) fn shared(dir: &Path) -> Result<Self, LockError> {
        Self::acquire(dir, File::try_lock_shared)
    }

    fn acquire(dir: &Path, lock: fn(&File) -> Result<(), TryLockError>) -> Result<Self, LockError> {
        let path = dir.join("lock");
        let io = |source| LockError::Io { path: path.display().to_string(), source };
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(io)?;
        match lock(&file) {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held(dir.display().to_string())),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }
}
