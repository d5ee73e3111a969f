//! Backups of a server in a folder: export while the server runs, verification, and import into an empty catalog.
//!
//! A backup consists of `manifest.json`, the records of the catalog in `catalog/*.jsonl.zst`, the list of blobs in
//! `blobs-*.jsonl.zst`, and their bytes in `blobs/sha256/ab/cd/<digest>`. It has one form for every catalog and every blob
//! store. The manifest names every other file with its digest and is replaced last, so that the folder always contains one
//! complete backup, however an export ends.

mod copy;
mod error;
mod export;
mod folder;
mod import;
mod lines;
mod manifest;
mod pin;
mod rate;
mod restore;
mod verify;

pub use error::BackupError;
pub use export::{ExportOptions, Exported, export};
pub use import::{ImportOptions, Imported, import, require_backup};
pub use verify::{Verified, verify};

use imgsrv_domain::ports::{BackupCatalog, BlobStore, Catalog, Ids};
use std::sync::Arc;

/// The server that is exported, or imported into.
#[derive(Clone)]
pub struct Site {
    /// Its catalog.
    pub catalog: Arc<dyn Catalog>,
    /// Backups of the same catalog.
    pub backups: Arc<dyn BackupCatalog>,
    /// Its blob store.
    pub blobs: Arc<dyn BlobStore>,
    /// Generates identifiers.
    pub ids: Arc<dyn Ids>,
}
