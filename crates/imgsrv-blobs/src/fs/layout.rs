//! Where files lie, and making names durable.

use imgsrv_domain::{ids::UploadId, parts::Place, ports::BlobName};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// The folders of a store.
pub(crate) struct Layout {
    staging: PathBuf,
    cas: PathBuf,
}

impl Layout {
    pub(crate) fn create(root: &Path) -> io::Result<Self> {
        let layout = Self { staging: root.join("staging"), cas: root.join("cas") };
        fs::create_dir_all(root)?;
        ensure_folder(&layout.staging)?;
        ensure_folder(&layout.cas)?;
        Ok(layout)
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
pub(crate) struct FilePlace {
    pub(crate) file: String,
    pub(crate) offset: u64,
}

impl FilePlace {
    pub(crate) fn parse(place: &Place) -> Option<Self> {
        let (file, offset) = place.0.split_once('@')?;
        Some(Self { file: file.to_owned(), offset: offset.parse().ok()? })
    }

    pub(crate) fn place(&self) -> Place {
        Place(format!("{}@{}", self.file, self.offset))
    }
}

/// Makes a folder and its parents, and their names durable.
pub(crate) fn ensure_folder(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            ensure_folder(path.parent().ok_or(error)?)?;
            ensure_folder(path)
        }
        Err(error) => Err(error),
    }
}

/// Makes the name of `path` in its folder durable.
pub(crate) fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

/// Removes a file; one that is not there is removed already.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
