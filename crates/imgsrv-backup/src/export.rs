//! Export: a backup of a server that may be running.
//!
//! The pin commits first, and waits for the batches of running collections: from then on no blob of the snapshot is
//! collected. Then the records of one snapshot are written, and the snapshot is closed. Then the blobs are copied. The
//! manifest is replaced last, if the pin has held until then.

use crate::{
    Site,
    copy::{Copied, copy},
    error::BackupError,
    folder::{Folder, remove},
    lines::{LineReader, LineWriter},
    manifest::{Manifest, NAME, RecordFile},
    pin::Pin,
    rate::Rate,
};
use futures::{TryStreamExt, stream};
use imgsrv_app::{arm_crash_points, crash_point};
use imgsrv_domain::{
    audit::{Actor, AuditAction, AuditEntry, Event},
    digest::Digest,
    error_chain,
    ports::{BLOB_RECORDS, BackupBlob, CatalogError, ImportError},
    time::Timestamp,
};
use std::{collections::HashSet, path::Path, pin::pin};

/// How many blobs are copied at once: the latency of a bucket and of writes to the disk delays small ones.
const COPIES: usize = 8;

/// What to export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportOptions {
    /// Whether to copy the bytes of blobs.
    pub with_blobs: bool,
    /// The most bytes of blobs that are read per second.
    pub rate: Option<u64>,
    /// Whether to delete what the new manifest does not name.
    pub prune: bool,
}

/// A finished export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The revision of the catalog.
    pub revision: i64,
    /// The number of records.
    pub records: u64,
    /// The number of blobs in the catalog.
    pub blobs: u64,
    /// The bytes in them.
    pub blob_bytes: u64,
    /// The number of blobs that were copied now.
    pub copied: u64,
    /// The bytes in them.
    pub copied_bytes: u64,
    /// The blobs that are damaged or missing. The backup does not have them.
    pub unreadable: Vec<Digest>,
    /// The blobs that were purged during the export. The backup does not have them.
    pub purged: Vec<Digest>,
    /// The number of files that were deleted.
    pub pruned: u64,
}

/// Exports `site` into the folder at `path`, which may have an earlier backup of it.
pub async fn export(site: &Site, path: &Path, options: &ExportOptions) -> Result<Exported, BackupError> {
    arm_crash_points();
    let folder = Folder::create(path)?;
    let id = site.ids.next();
    let pin = Pin::acquire(site.backups.clone(), id).await?;
    crash_point("export.pinned");
    // The end of a version 7 UUID is random.
    let id = id.simple().to_string();
    let mut export = Export { site, folder, options, id: id[20..].to_owned() };
    let exported = export.run(&pin).await;
    if let Err(error) = pin.release().await {
        tracing::warn!(error = error_chain::text(&error), "export lease not released; it expires within 2 minutes");
    }
    exported
}

struct Export<'a> {
    site: &'a Site,
    folder: Folder,
    options: &'a ExportOptions,
    /// Different in every export.
    id: String,
}

impl Export<'_> {
    async fn run(&mut self, pin: &Pin) -> Result<Exported, BackupError> {
        self.audit().await?;
        let mut manifest = self.records().await?;
        crash_point("export.records");
        let list = manifest.file(BLOB_RECORDS).cloned();
        let list = list.ok_or_else(|| BackupError::damaged(self.folder.path(), "there is no list of blobs"))?;
        let mut exported = Exported {
            revision: manifest.revision,
            records: manifest.files.iter().map(|file| file.records).sum(),
            blobs: list.records,
            blob_bytes: 0,
            copied: 0,
            copied_bytes: 0,
            unreadable: Vec::new(),
            purged: Vec::new(),
            pruned: 0,
        };
        self.blobs(&list, pin, &mut exported).await?;
        exported.purged = self.purged(&list).await?;
        for digest in &exported.purged {
            remove(&self.folder.blob(digest))?;
        }
        exported.unreadable.retain(|digest| !exported.purged.contains(digest));
        let texts = |digests: &[Digest]| digests.iter().map(Digest::to_string).collect();
        (manifest.unreadable, manifest.purged) = (texts(&exported.unreadable), texts(&exported.purged));
        (manifest.blobs, manifest.blob_bytes) = (exported.blobs, exported.blob_bytes);
        manifest.has_blobs = self.options.with_blobs;
        pin.confirm().await?;
        self.folder.commit(&manifest)?;
        crash_point("export.committed");
        if self.options.prune {
            exported.pruned = self.folder.prune(&manifest, &self.named(&manifest, &list)?)?;
        }
        Ok(exported)
    }

    /// Records that the secrets of the catalog are read.
    async fn audit(&self) -> Result<(), BackupError> {
        let mut tx = self.site.catalog.begin().await?;
        let event = Event::new(AuditAction::CatalogExported, "catalog");
        let entry = AuditEntry { at: tx.now(), actor: Actor::Operator, event };
        tx.append_audit(&entry).await?;
        Ok(tx.commit().await?)
    }

    /// Writes the records of one snapshot.
    async fn records(&mut self) -> Result<Manifest, BackupError> {
        let mut snapshot = self.site.backups.begin_snapshot().await?;
        let path = self.folder.path();
        if path.join(NAME).exists() && Manifest::read(path)?.0.catalog != snapshot.catalog() {
            return Err(BackupError::OtherCatalog(path.display().to_string()));
        }
        let revision = snapshot.revision().get();
        let mut manifest = Manifest::new(snapshot.catalog(), revision, text(snapshot.taken_at()));
        for kind in self.site.backups.record_kinds() {
            let name = RecordFile::path_of(kind, revision, &self.id);
            let mut file = LineWriter::create(&self.folder, kind, name)?;
            loop {
                let lines = snapshot.read(kind).await?;
                if lines.is_empty() {
                    break;
                }
                lines.iter().try_for_each(|line| file.write(line))?;
            }
            manifest.files.push(file.finish(&mut self.folder)?);
            crash_point("export.file");
        }
        Ok(manifest)
    }

    /// Copies the blobs of the list, several at once.
    async fn blobs(&self, list: &RecordFile, pin: &Pin, exported: &mut Exported) -> Result<(), BackupError> {
        let (site, folder, rate) = (self.site, &self.folder, &Rate::new(self.options.rate));
        let mut lines = LineReader::open(folder.path(), list)?;
        let blobs = std::iter::from_fn(|| match lines.next() {
            Ok(line) => line.map(|line| site.backups.blob_of(line).map_err(own)),
            Err(error) => Some(Err(error)),
        });
        let with_blobs = self.options.with_blobs;
        let copies = stream::iter(blobs).map_ok(|blob| async move {
            pin.check()?;
            let copied = if with_blobs { copy(site, folder, &blob, rate).await? } else { Copied::Present };
            Ok((blob.claim, copied))
        });
        let mut copies = pin!(copies.try_buffer_unordered(COPIES));
        while let Some((claim, copied)) = copies.try_next().await? {
            exported.blob_bytes += claim.size.get();
            match copied {
                Copied::New => {
                    exported.copied += 1;
                    exported.copied_bytes += claim.size.get();
                }
                Copied::Present => {}
                Copied::Unreadable => {
                    tracing::error!(blob.digest = %claim.digest, "blob damaged or missing, not in the backup");
                    exported.unreadable.push(claim.digest);
                }
            }
        }
        exported.unreadable.sort_unstable_by_key(|digest| *digest.bytes());
        Ok(())
    }

    /// The blobs of the list that the catalog no longer has: nothing but a purge deletes blobs while the pin holds.
    async fn purged(&self, list: &RecordFile) -> Result<Vec<Digest>, BackupError> {
        let mut snapshot = self.site.backups.begin_snapshot().await?;
        let mut lines = LineReader::open(self.folder.path(), list)?;
        let (mut present, mut purged) = (Vec::<BackupBlob>::new().into_iter().peekable(), Vec::new());
        while let Some(line) = lines.next()? {
            let listed = self.site.backups.blob_of(line).map_err(own)?.claim.digest;
            // Both are in the order of their digests.
            loop {
                if present.peek().is_none() {
                    let next = snapshot.read(BLOB_RECORDS).await?;
                    let next = next.iter().map(|line| self.site.backups.blob_of(line).map_err(own));
                    present = next.collect::<Result<Vec<_>, _>>()?.into_iter().peekable();
                }
                match present.peek() {
                    Some(blob) if blob.claim.digest.bytes() < listed.bytes() => drop(present.next()),
                    Some(blob) if blob.claim.digest == listed => break,
                    _ => {
                        purged.push(listed);
                        break;
                    }
                }
            }
        }
        Ok(purged)
    }

    /// The blobs whose bytes the backup has.
    fn named(&self, manifest: &Manifest, list: &RecordFile) -> Result<HashSet<Digest>, BackupError> {
        let mut named = HashSet::new();
        let mut lines = LineReader::open(self.folder.path(), list)?;
        while let Some(line) = lines.next()? {
            named.insert(self.site.backups.blob_of(line).map_err(own)?.claim.digest);
        }
        named.retain(|_| manifest.has_blobs);
        Ok(named)
    }
}

/// The error of a line that this program has written itself.
fn own(error: ImportError) -> BackupError {
    match error {
        ImportError::Catalog(error) => error.into(),
        ImportError::Invalid(why) => CatalogError::backend(why).into(),
    }
}

/// A time in RFC 3339.
fn text(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.micros()).map(|time| time.to_string()).unwrap_or_default()
}
