//! Paths of the folder store, and durable names.

use imgsrv_domain::{ids::UploadId, parts::PartLocation, ports::BlobName};
use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A file that distinguishes the store's folder from an empty mount point.
const MARKER: &str = "imgsrv-blobs";
/// A file that names the store's owner.
const OWNER: &str = "imgsrv-owner";

/// The folders of a store.
pub(super) struct Layout {
    marker: PathBuf,
    owner: PathBuf,
    staging: PathBuf,
    pub(super) cas: PathBuf,
    /// Folders whose names are durable.
    durable: Mutex<HashSet<PathBuf>>,
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            marker: root.join(MARKER),
            owner: root.join(OWNER),
            staging: root.join("staging"),
            cas: root.join("cas"),
            durable: Mutex::default(),
        }
    }

    /// Creates what is missing. The marker comes last: where it exists, the folders do.
    pub(super) fn create(&self, root: &Path) -> io::Result<()> {
        fs::create_dir_all(root)?;
        sync_parent(root)?;
        ensure_folder(&self.staging)?;
        ensure_folder(&self.cas)?;
        if !self.is_present() {
            // Only in a new store: without them, the blobs of an existing one are not mounted.
            for folder in BlobName::FOLDERS {
                ensure_folder(&self.cas.join(folder))?;
            }
        }
        File::options().create(true).append(true).open(&self.marker)?;
        sync_parent(&self.marker)
    }

    /// Whether the store's folder is mounted. If not, a missing file proves nothing.
    pub(super) fn is_present(&self) -> bool {
        self.marker.exists()
    }

    /// Whether the folder of a blob's kind is mounted as well. If not, a missing blob proves nothing.
    pub(super) fn is_mounted(&self, name: &BlobName) -> bool {
        self.is_present() && self.cas.join(name.folder()).is_dir()
    }

    /// The recorded owner.
    pub(super) fn owner(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(&self.owner) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    /// Records the owner, unless one is recorded. A hard link makes the record atomic: of several nodes that start at
    /// the same time, one wins.
    pub(super) fn set_owner(&self, owner: &str) -> io::Result<()> {
        let random = getrandom::u64().map_err(io::Error::other)?;
        let temporary = self.owner.with_extension(format!("{random:016x}"));
        let mut file = File::create_new(&temporary)?;
        io::Write::write_all(&mut file, owner.as_bytes())?;
        file.sync_all()?;
        let linked = fs::hard_link(&temporary, &self.owner);
        fs::remove_file(&temporary)?;
        accept(io::ErrorKind::AlreadyExists, linked)?;
        sync_parent(&self.owner)
    }

    fn durable(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates the folder of a blob and its ancestors. Returns those whose names are not known to be durable, which they are
    /// after [`Layout::sync_blob`]: each is synced once per process.
    pub(super) fn ensure_blob_folder<'a>(&self, folder: &'a Path) -> io::Result<Vec<&'a Path>> {
        let mut folders: Vec<&Path> = folder.ancestors().take_while(|above| *above != self.cas).collect();
        folders.reverse();
        folders.retain(|folder| !self.durable().contains(*folder));
        for folder in &folders {
            accept(io::ErrorKind::AlreadyExists, fs::create_dir(folder))?;
        }
        Ok(folders)
    }

    /// Makes the names of a blob and of the folders above it durable. All of them exist, so that a file system with a journal
    /// writes them at once.
    pub(super) fn sync_blob(&self, blob: &Path, folders: &[&Path]) -> io::Result<()> {
        sync_parent(blob)?;
        folders.iter().try_for_each(|folder| sync_parent(folder))?;
        self.durable().extend(folders.iter().map(|folder| folder.to_path_buf()));
        Ok(())
    }

    pub(super) fn session(&self, session: UploadId) -> PathBuf {
        self.staging.join(session.to_string())
    }

    pub(super) fn staged(&self, session: UploadId, file: &str) -> PathBuf {
        self.session(session).join(file)
    }

    pub(super) fn blob(&self, name: &BlobName) -> PathBuf {
        self.cas.join(name.as_str())
    }
}

/// Where a part begins in a staged file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileLocation {
    pub(super) file: String,
    pub(super) offset: u64,
}

impl FileLocation {
    pub(super) fn parse(location: &PartLocation) -> Option<Self> {
        let (file, offset) = location.0.split_once('@')?;
        Some(Self { file: file.to_owned(), offset: offset.parse().ok()? })
    }

    pub(super) fn encode(&self) -> PartLocation {
        PartLocation(format!("{}@{}", self.file, self.offset))
    }
}

/// Creates a folder with a durable name. Syncs an existing folder too: another process may have created it and not yet
/// synced it.
pub(super) fn ensure_folder(path: &Path) -> io::Result<()> {
    accept(io::ErrorKind::AlreadyExists, fs::create_dir(path))?;
    sync_parent(path)
}

/// Makes the name of `path` in its folder durable.
pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// Removes a file, if it exists.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    accept(io::ErrorKind::NotFound, fs::remove_file(path))
}

/// A result in which an error of `kind` is a success.
pub(super) fn accept(kind: io::ErrorKind, done: io::Result<()>) -> io::Result<()> {
    done.or_else(|error| if error.kind() == kind { Ok(()) } else { Err(error) })
}
