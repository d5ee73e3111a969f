//! The catalog's file: its identity, and a lock against other processes while connections do not notice their writes.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// The identity of a file. No other file has it while this one is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|file| Self { device: file.dev(), inode: file.ino() })
    }

    /// Fails if another file, or none, is at `path`.
    pub(super) fn check(self, path: &Path) -> io::Result<()> {
        let shown = path.display();
        match Self::of(path) {
            Ok(found) if found == self => Ok(()),
            Ok(_) => Err(io::Error::other(format!("{shown} was replaced while the server had it open"))),
            Err(error) => Err(io::Error::new(error.kind(), format!("{shown} was removed: {error}"))),
        }
    }
}

/// Keeps a server from opening the catalog in a way in which it would not notice writes. Released when dropped.
#[derive(Debug, Default)]
pub struct CommandLock(#[expect(dead_code, reason = "released when dropped")] Option<File>);

/// Locks the catalog at `path`, if it exists, for a command that may run at the same time as a server. Fails with
/// [`io::ErrorKind::WouldBlock`] while the server has it open for reads alone.
///
/// Take it before the catalog is opened, and drop it after the catalog is closed: closing any descriptor of the file
/// releases the locks that SQLite holds on it in this process.
pub fn lock_for_command(path: &Path) -> io::Result<CommandLock> {
    match File::open(path) {
        Ok(file) => match file.try_lock_shared() {
            Ok(()) => Ok(CommandLock(Some(file))),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(CommandLock(None)),
        Err(error) => Err(error),
    }
}

/// Locks the catalog at `path` against commands, if the file alone is the whole catalog: its log is empty, so that it
/// can be read without one.
///
/// Only a process without other connections to the catalog may do this: see [`lock_for_command`].
pub(super) fn lock_unchanging(path: &Path) -> io::Result<Option<File>> {
    let file = File::open(path)?;
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => io::Error::other("a command has it open"),
        TryLockError::Error(error) => error,
    })?;
    let is_empty = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match fs::metadata(PathBuf::from(name)) {
            Ok(file) => Ok(file.len() == 0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error),
        }
    };
    Ok((is_empty("-wal")? && is_empty("-journal")?).then_some(file))
}
