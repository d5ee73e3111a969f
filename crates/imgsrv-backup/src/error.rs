//! Why a backup cannot be written or read.

use imgsrv_domain::ports::{BlobError, CatalogError};
use std::{io, path::Path};

/// Why a backup cannot be exported, verified or imported.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file or folder of the backup cannot be used.
    #[error("cannot use {path}: {source}")]
    File {
        /// The file or folder.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The folder has other files.
    #[error("{0} is not empty and contains no backup; choose an empty folder or that of an earlier backup")]
    OtherFolder(String),
    /// The folder has the backup of another catalog.
    #[error("{0} contains a backup of another catalog; choose another folder")]
    OtherCatalog(String),
    /// Another process uses the folder.
    #[error("another process is using the backup {0}")]
    Busy(String),
    /// The folder has no complete backup.
    #[error("{0} contains no complete backup: it has no manifest.json")]
    NoBackup(String),
    /// A newer program has written the backup.
    #[error("the backup has format version {found}, but this version of imgsrv reads version {known}")]
    Newer {
        /// The format version of the backup.
        found: u32,
        /// The format version that is known.
        known: u32,
    },
    /// A file is not what its name or the manifest says.
    #[error("the backup is damaged: {path}: {why}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// Collections may have deleted blobs meanwhile.
    #[error(
        "the export took too long to extend its lease on the blobs, which may have been deleted meanwhile; run it again"
    )]
    PinLost,
    /// The catalog is in use.
    #[error(
        "the catalog is not empty; import into a new data folder, or into a new database with a new bucket or storage \
         folder"
    )]
    NotEmpty,
    /// The import of another backup was interrupted.
    #[error("the import of another backup into this catalog was interrupted; start again with an empty catalog")]
    OtherImport,
    /// The blob store belongs to another catalog.
    #[error("the blob store contains the blobs of another catalog; use an empty bucket or folder")]
    ForeignStore,
    /// The blob store is the one that the exported server used.
    #[error(
        "the blob store is the one of the server that was exported; use an empty bucket or folder, or --existing-store \
         if that server will never run again"
    )]
    UsedStore,
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The blob store failed.
    #[error("cannot use the blob store")]
    Blobs(#[from] BlobError),
}

impl BackupError {
    pub(crate) fn damaged(path: &Path, why: impl ToString) -> Self {
        Self::Damaged { path: path.display().to_string(), why: why.to_string() }
    }
}

/// Names the file of an error.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    move |source| BackupError::File { path: path.display().to_string(), source }
}
