//! Import: a backup into an empty catalog and blob store.
//!
//! The bytes of each blob are durable before its record. All other records are imported in one transaction, which also
//! ends the import. An interrupted import therefore continues when it is run again, and a catalog is either complete or
//! not usable.

use crate::{
    Site,
    error::{BackupError, at},
    folder::lock_shared,
    lines::{self, LineReader},
    manifest::{Manifest, RecordFile},
    restore::{Restored, restore},
};
use imgsrv_app::{arm_crash_points, crash_point};
use imgsrv_domain::{
    digest::Digest,
    ports::{BLOB_RECORDS, CatalogError, ImportError, ImportStart, StoreOwner},
    transition::Revision,
};
use std::{fs, path::Path};
use uuid::Uuid;

/// How to import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportOptions {
    /// Whether the blob store may be the one that the exported server used.
    pub existing_store: bool,
}

/// A finished import.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Imported {
    /// The revision of the catalog.
    pub revision: i64,
    /// Whether an earlier run had finished the import already.
    pub was_done: bool,
    /// The number of blobs in the catalog.
    pub blobs: u64,
    /// The number of blobs that were copied now.
    pub copied: u64,
    /// The bytes in them.
    pub copied_bytes: u64,
    /// The blobs whose bytes neither the backup nor the store has. They are quarantined until they are uploaded again.
    pub missing: Vec<Digest>,
    /// The blobs that were purged during the export. They are quarantined as well.
    pub purged: Vec<Digest>,
}

/// Fails unless there is a backup at `path`. Its files are not verified.
pub fn require_backup(path: &Path) -> Result<(), BackupError> {
    fs::read_dir(path).map_err(at(path))?;
    Manifest::read(path).map(drop)
}

/// Imports the backup at `path` into `site`, which no server uses meanwhile.
pub async fn import(site: &Site, path: &Path, options: ImportOptions) -> Result<Imported, BackupError> {
    arm_crash_points();
    require_backup(path)?;
    let _lock = lock_shared(path)?;
    let (manifest, backup) = Manifest::read(path)?;
    // Before anything is written.
    let kinds = site.backups.record_kinds();
    kinds.iter().try_for_each(|kind| file(path, &manifest, kind).map(drop))?;
    if let Some(unknown) = manifest.files.iter().find(|file| !kinds.contains(&file.kind.as_str())) {
        return Err(BackupError::damaged(path, format!("it has records of the unknown kind {:?}", unknown.kind)));
    }
    manifest.files.iter().try_for_each(|file| lines::check(path, file))?;
    let mut imported = Imported { revision: manifest.revision, ..Imported::default() };
    let start = site.backups.start_import(&backup, manifest.catalog, site.ids.next()).await?;
    let store = match start {
        ImportStart::Open { store } => store,
        ImportStart::Done => return Ok(Imported { was_done: true, ..imported }),
        ImportStart::NotEmpty => return Err(BackupError::NotEmpty),
        ImportStart::Other => return Err(BackupError::OtherImport),
    };
    crash_point("import.started");
    bind(site, manifest.catalog, store, options).await?;
    crash_point("import.bound");
    blobs(site, path, &manifest, &mut imported).await?;
    crash_point("import.blobs");
    records(site, path, &manifest).await?;
    crash_point("import.finished");
    Ok(imported)
}

/// Claims the store, which must be new or claimed by this import, and binds the catalog to it.
async fn bind(site: &Site, catalog: Uuid, store: Uuid, options: ImportOptions) -> Result<(), BackupError> {
    let own = StoreOwner { catalog, store };
    let mut owners = site.blobs.owners().await?;
    if owners.is_empty() {
        site.blobs.claim(own).await?;
        crash_point("import.claimed");
        owners = site.blobs.owners().await?;
    }
    let store = match owners.as_slice() {
        [owner] if *owner == own => store,
        owners if owners.iter().any(|owner| owner.catalog != catalog) => return Err(BackupError::ForeignStore),
        [owner, ..] if options.existing_store => owner.store,
        _ => return Err(BackupError::UsedStore),
    };
    let mut tx = site.catalog.begin().await?;
    let bound = tx.bind_store(store).await?;
    tx.commit().await?;
    if bound == store { Ok(()) } else { Err(BackupError::UsedStore) }
}

fn file<'a>(path: &Path, manifest: &'a Manifest, kind: &str) -> Result<&'a RecordFile, BackupError> {
    manifest.file(kind).ok_or_else(|| BackupError::damaged(path, format!("the manifest names no file of {kind}")))
}

/// Makes the bytes of every blob durable, and records it.
async fn blobs(site: &Site, path: &Path, manifest: &Manifest, imported: &mut Imported) -> Result<(), BackupError> {
    let mut lines = LineReader::open(path, file(path, manifest, BLOB_RECORDS)?)?;
    while let Some(line) = lines.next()? {
        let blob = match site.backups.blob_of(line) {
            Ok(blob) => blob,
            Err(why) => return Err(invalid(&lines, why)),
        };
        let Some(session) = blob.name.session_of(&blob.claim.digest) else {
            return Err(lines.damaged(format!("the name {:?} of a blob is not allowed", blob.name.as_str())));
        };
        let restored = restore(site, path, manifest, &blob, session).await?;
        imported.blobs += 1;
        match restored {
            Restored::Copied(_) => {
                imported.copied += 1;
                imported.copied_bytes += blob.claim.size.get();
            }
            Restored::Present(_) => {}
            Restored::Missing if manifest.purged.contains(&blob.claim.digest.to_string()) => {
                imported.purged.push(blob.claim.digest);
            }
            Restored::Missing => {
                tracing::error!(blob.digest = %blob.claim.digest, "blob missing, quarantined");
                imported.missing.push(blob.claim.digest);
            }
        }
        crash_point("import.blob");
    }
    Ok(())
}

/// Imports all other records, and ends the import.
async fn records(site: &Site, path: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let mut records = site.backups.begin_records().await?;
    for pass in site.backups.import_passes() {
        let mut lines = LineReader::open(path, file(path, manifest, pass.kind)?)?;
        while let Some(line) = lines.next()? {
            if let Err(why) = records.import(*pass, line).await {
                return Err(invalid(&lines, why));
            }
            crash_point("import.record");
        }
    }
    records.finish(Revision::new(manifest.revision)).await?;
    Ok(())
}

/// A conflict means that records contradict each other.
fn invalid(lines: &LineReader, why: ImportError) -> BackupError {
    match why {
        ImportError::Invalid(why) => lines.damaged(why),
        ImportError::Catalog(error @ CatalogError::Conflict(_)) => lines.damaged(error),
        ImportError::Catalog(error) => error.into(),
    }
}
