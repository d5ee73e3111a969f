//! The folder of a backup: durable files, and which of them a manifest names.

use crate::{
    error::{BackupError, at},
    manifest::{self, Manifest},
};
use imgsrv_app::crash_point;
use imgsrv_domain::digest::Digest;
use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// The file that an export locks. It also marks the folder of a backup that is not complete yet.
const LOCK: &str = "imgsrv-backup.lock";
/// What the name of a file ends in until it is complete.
const PARTIAL: &str = ".partial";

/// A folder that an export writes to. No other process writes to it meanwhile.
pub(crate) struct Folder {
    path: PathBuf,
    /// Folders with new names, which are not durable yet.
    unsynced: Mutex<BTreeSet<PathBuf>>,
    _lock: File,
}

impl Folder {
    /// The folder at `path`: that of an earlier backup, or an empty or new one. Only its owner can read it.
    pub(crate) fn create(path: &Path) -> Result<Self, BackupError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))?;
        let mut names = fs::read_dir(path).map_err(at(path))?;
        let is_backup = [LOCK, manifest::NAME].iter().any(|name| path.join(name).exists());
        if !is_backup && names.next().is_some() {
            return Err(BackupError::OtherFolder(path.display().to_string()));
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(at(path))?;
        let lock = path.join(LOCK);
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock);
        let file = file.map_err(at(&lock))?;
        file.try_lock().map_err(busy(path))?;
        Ok(Self { path: path.to_owned(), unsynced: Mutex::new(BTreeSet::from([path.to_owned()])), _lock: file })
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a blob.
    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        blob_path(&self.path, digest)
    }

    /// Gives a file its name, once its content is durable. The name is durable after [`Folder::sync`].
    pub(crate) fn place(&self, file: NewFile) -> Result<(), BackupError> {
        file.sync()?;
        let NewFile { partial, path, .. } = file;
        fs::rename(&partial, &path).map_err(at(&path))?;
        // The folders above may be new as well.
        let mut unsynced = self.unsynced.lock().unwrap_or_else(PoisonError::into_inner);
        unsynced
            .extend(path.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.path)).map(Path::to_owned));
        Ok(())
    }

    /// Makes the names of all new files durable.
    pub(crate) fn sync(&mut self) -> Result<(), BackupError> {
        for folder in std::mem::take(self.unsynced.get_mut().unwrap_or_else(PoisonError::into_inner)) {
            File::open(&folder).and_then(|folder| folder.sync_all()).map_err(at(&folder))?;
        }
        Ok(())
    }

    /// Replaces the manifest: from now on, the folder contains this backup.
    pub(crate) fn commit(&mut self, manifest: &Manifest) -> Result<(), BackupError> {
        self.sync()?;
        let path = self.path.join(manifest::NAME);
        let mut file = NewFile::create(&path)?;
        file.write_all(&manifest.to_bytes()).map_err(at(&path))?;
        crash_point("export.manifest");
        self.place(file)?;
        self.sync()
    }

    /// Deletes everything that `manifest` does not name; `blobs` are the digests that it does.
    pub(crate) fn prune(&self, manifest: &Manifest, blobs: &HashSet<Digest>) -> Result<u64, BackupError> {
        let mut keep: HashSet<PathBuf> = blobs.iter().map(|digest| self.blob(digest)).collect();
        keep.extend(manifest.files.iter().map(|file| self.path.join(&file.path)));
        keep.extend([LOCK, manifest::NAME].map(|name| self.path.join(name)));
        let mut pruned = 0;
        delete_others(&self.path, &keep, &mut pruned)?;
        Ok(pruned)
    }
}

/// Keeps exports from changing the backup at `path`, until the lock is dropped. There is none for a copy without the file.
pub(crate) fn lock_shared(path: &Path) -> Result<Option<File>, BackupError> {
    let Ok(file) = File::open(path.join(LOCK)) else { return Ok(None) };
    file.try_lock_shared().map_err(busy(path))?;
    Ok(Some(file))
}

fn busy(path: &Path) -> impl FnOnce(TryLockError) -> BackupError {
    move |error| match error {
        TryLockError::WouldBlock => BackupError::Busy(path.display().to_string()),
        TryLockError::Error(error) => at(path)(error),
    }
}

/// The path of a blob in the backup at `folder`.
pub(crate) fn blob_path(folder: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    folder.join("blobs/sha256").join(&hex[..2]).join(&hex[2..4]).join(hex)
}

fn delete_others(folder: &Path, keep: &HashSet<PathBuf>, pruned: &mut u64) -> Result<(), BackupError> {
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let entry = entry.map_err(at(folder))?;
        let path = entry.path();
        if entry.file_type().map_err(at(&path))?.is_dir() {
            delete_others(&path, keep, pruned)?;
            // It fails if the folder is not empty.
            let _ = fs::remove_dir(&path);
        } else if !keep.contains(&path) {
            remove(&path)?;
            *pruned += 1;
        }
    }
    Ok(())
}

/// Deletes a file, if it exists.
pub(crate) fn remove(path: &Path) -> Result<(), BackupError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// A file under a temporary name, which a later export overwrites.
pub(crate) struct NewFile {
    file: File,
    partial: PathBuf,
    path: PathBuf,
}

impl NewFile {
    /// The file that is to have the name `path`.
    pub(crate) fn create(path: &Path) -> Result<Self, BackupError> {
        let folder = path.parent().unwrap_or(path);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))?;
        let mut partial = path.as_os_str().to_owned();
        partial.push(PARTIAL);
        let partial = PathBuf::from(partial);
        let file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&partial);
        Ok(Self { file: file.map_err(at(&partial))?, partial, path: path.to_owned() })
    }

    /// Makes its content durable.
    pub(crate) fn sync(&self) -> Result<(), BackupError> {
        self.file.sync_all().map_err(at(&self.partial))
    }

    /// Deletes it.
    pub(crate) fn discard(self) -> Result<(), BackupError> {
        remove(&self.partial)
    }
}

impl Write for NewFile {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.file.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
