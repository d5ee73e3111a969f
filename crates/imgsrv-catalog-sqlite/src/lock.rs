//! The lock by which a second server on one data folder refuses to start.

use std::{
    fs::{File, TryLockError},
    io,
    path::Path,
};

/// Held as long as a server uses the folder; the operating system frees it when the process ends.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

/// Why the folder was not locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
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

impl DataDirLock {
    /// Locks `<dir>/lock` without waiting.
    pub fn acquire(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join("lock");
        let io = |source| LockError::Io { path: path.display().to_string(), source };
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held(dir.display().to_string())),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }
}
