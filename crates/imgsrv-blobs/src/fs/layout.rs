//! Where files lie, and making names durable.

use imgsrv_domain::{ids::UploadId, parts::PartLocation, ports::BlobName};
use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// A file that tells a store's folder from the mount point it may be missing on.
const MARKER: &str = "imgsrv-blobs";
/// A file that tells whose blobs these are.
const OWNER: &str = "imgsrv-owner";

/// The folders of a store.
pub(crate) struct Layout {
    marker: PathBuf,
    owner: PathBuf,
    staging: PathBuf,
    cas: PathBuf,
    /// Folders whose names are known to be durable.
    durable: Mutex<HashSet<PathBuf>>,
}

impl Layout {
    pub(crate) fn create(root: &Path) -> io::Result<Self> {
        let layout = Self {
            marker: root.join(MARKER),
            owner: root.join(OWNER),
            staging: root.join("staging"),
            cas: root.join("cas"),
            durable: Mutex::default(),
        };
        fs::create_dir_all(root)?;
        sync_parent(root)?;
        ensure_folder(&layout.staging)?;
        ensure_folder(&layout.cas)?;
        File::options().create(true).append(true).open(&layout.marker)?;
        sync_parent(&layout.marker)?;
        Ok(layout)
    }

    /// Whether the store's folder is there at all. When it is not, a missing file proves nothing.
    pub(crate) fn is_present(&self) -> bool {
        self.marker.exists()
    }

    /// What was written about whose blobs these are.
    pub(crate) fn owner(&self) -> io::Result<Option<String>> {
        match fs::read_to_string(&self.owner) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }

    /// Writes whose blobs these are, unless that is written. Linked into its place, so that it is there whole and once,
    /// whoever else starts at the same time.
    pub(crate) fn set_owner(&self, owner: &str) -> io::Result<()> {
        let random = getrandom::u64().map_err(io::Error::other)?;
        let written = self.owner.with_extension(format!("{random:016x}"));
        let mut file = File::create_new(&written)?;
        io::Write::write_all(&mut file, owner.as_bytes())?;
        file.sync_all()?;
        let linked = fs::hard_link(&written, &self.owner);
        fs::remove_file(&written)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => sync_parent(&self.owner),
        }
    }

    /// Makes the folder of a blob and all above it, with durable names. Each is synced once a process.
    pub(crate) fn ensure_blob_folder(&self, folder: &Path) -> io::Result<()> {
        let folders: Vec<&Path> = folder.ancestors().take_while(|above| *above != self.cas).collect();
        for folder in folders.into_iter().rev() {
            if !self.durable.lock().unwrap_or_else(PoisonError::into_inner).contains(folder) {
                ensure_folder(folder)?;
                self.durable.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned());
            }
        }
        Ok(())
    }

    pub(crate) fn cas(&self) -> &Path {
        &self.cas
    }

    pub(crate) fn session(&self, session: UploadId) -> PathBuf {
        self.staging.join(session.to_string())
    }

    pub(crate) fn staged(&self, session: UploadId, file: &str) -> PathBuf {
        self.session(session).join(file)
    }

    pub(crate) fn blob(&self, name: &BlobName) -> PathBuf {
        self.cas.join(name.as_str())
    }
}

/// Part of a staged file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileLocation {
    pub(crate) file: String,
    pub(crate) offset: u64,
}

impl FileLocation {
    pub(crate) fn parse(place: &PartLocation) -> Option<Self> {
        let (file, offset) = place.0.split_once('@')?;
        Some(Self { file: file.to_owned(), offset: offset.parse().ok()? })
    }

    pub(crate) fn place(&self) -> PartLocation {
        PartLocation(format!("{}@{}", self.file, self.offset))
    }
}

/// Makes a folder and its name durable. One that exists may have been made a moment ago by somebody who has not
/// synced it yet.
pub(crate) fn ensure_folder(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_parent(path),
    }
}

/// Makes the name of `path` in its folder durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// Removes a file; one that is not there is removed already.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
