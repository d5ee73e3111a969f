//! The catalog's file: its identity, and a lock against other processes while connections do not notice their writes.

use super::error::{is_io_error, map};
use imgsrv_domain::ports::CatalogError;
use rustix::fs::{Mode, OFlags};
use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Bytes that are written to find out whether SQLite can write: more than its log or its index grows by at once.
const PROBE_BYTES: usize = 64 << 10;

/// The file of an open catalog.
#[derive(Debug)]
pub(crate) struct CatalogFile {
    path: PathBuf,
    /// Its identity. No other file has it while this one is open.
    id: FileId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|file| Self { device: file.dev(), inode: file.ino() })
    }
}

impl CatalogFile {
    /// The file at `path`, which connections have open.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        FileId::of(path).map(|id| Self { path: path.to_owned(), id })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Fails with [`CatalogError::Replaced`] if another file, or none, is at its path. What is written to the file is lost
    /// then, although SQLite reports success.
    ///
    /// One system call, without access to the disk.
    pub(super) fn check(&self) -> Result<(), CatalogError> {
        self.find().map_err(|error| CatalogError::Replaced(Box::new(error)))
    }

    /// The same, with what was found instead.
    pub(super) fn find(&self) -> io::Result<()> {
        let shown = self.path.display();
        match FileId::of(&self.path) {
            Ok(found) if found == self.id => Ok(()),
            Ok(_) => Err(io::Error::other(format!("{shown} was replaced while the server had it open"))),
            Err(error) => Err(io::Error::new(error.kind(), format!("{shown} was removed: {error}"))),
        }
    }

    /// The error of a write that failed with `error`. A quota or the maximum size of a file may be the cause: SQLite
    /// reports them as I/O errors, not as a full disk.
    pub(super) async fn write_error(self: &Arc<Self>, error: sqlx::Error) -> CatalogError {
        if !is_io_error(&error) {
            return map(error);
        }
        let file = Arc::clone(self);
        match tokio::task::spawn_blocking(move || file.probe()).await {
            Ok(Err(probed)) if is_full(&probed) => CatalogError::Full(Box::new(error)),
            Ok(_) | Err(_) => map(error),
        }
    }

    /// Writes bytes to a file that has no name, where SQLite would append them to its own.
    fn probe(&self) -> io::Result<()> {
        let size = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
        let end = size(&self.path).max(size(&beside(&self.path, "-wal")));
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(folder, flags, Mode::RUSR | Mode::WUSR)?);
        file.write_all_at(&vec![1; PROBE_BYTES], end)?;
        file.sync_all()
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// The file of SQLite beside the catalog whose name ends with `suffix`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
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
    let is_empty = |suffix: &str| match fs::metadata(beside(path, suffix)) {
        Ok(file) => Ok(file.len() == 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    };
    Ok((is_empty("-wal")? && is_empty("-journal")?).then_some(file))
}
