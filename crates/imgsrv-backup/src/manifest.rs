//! The manifest of a backup: it names every other file.

use crate::error::{BackupError, at};
use imgsrv_domain::{
    digest::{BlobClaim, Digest},
    ports::BLOB_RECORDS,
};
use serde::{Deserialize, Serialize};
use std::{fs::File, io::Read, path::Path};
use uuid::Uuid;

/// The name of the manifest.
pub(crate) const NAME: &str = "manifest.json";
const FORMAT: &str = "imgsrv-backup";
const VERSION: u32 = 1;
/// The largest manifest that is read.
const MAX_BYTES: u64 = 256 << 20;

/// The manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format: String,
    format_version: u32,
    /// The version of the program that wrote it.
    pub(crate) written_by: String,
    /// The identity of the catalog.
    pub(crate) catalog: Uuid,
    /// Its revision.
    pub(crate) revision: i64,
    /// When the snapshot was taken, in RFC 3339.
    pub(crate) taken_at: String,
    /// The files with records.
    pub(crate) files: Vec<RecordFile>,
    /// Whether the bytes of the blobs are in the backup.
    pub(crate) has_blobs: bool,
    /// The number of blobs.
    pub(crate) blobs: u64,
    /// The bytes in them.
    pub(crate) blob_bytes: u64,
    /// The digests of blobs that were damaged or missing.
    pub(crate) unreadable: Vec<String>,
    /// The digests of blobs that were purged during the export.
    pub(crate) purged: Vec<String>,
}

/// A file with the records of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordFile {
    /// Their kind.
    pub(crate) kind: String,
    /// Its path in the backup.
    pub(crate) path: String,
    /// Its digest.
    pub(crate) digest: String,
    /// Its size.
    pub(crate) bytes: u64,
    /// The size of its content without compression.
    pub(crate) content_bytes: u64,
    /// The number of records.
    pub(crate) records: u64,
}

impl Manifest {
    /// A manifest of this version, without content.
    pub(crate) fn new(catalog: Uuid, revision: i64, taken_at: String) -> Self {
        Self {
            format: FORMAT.to_owned(),
            format_version: VERSION,
            written_by: env!("CARGO_PKG_VERSION").to_owned(),
            catalog,
            revision,
            taken_at,
            files: Vec::new(),
            has_blobs: true,
            blobs: 0,
            blob_bytes: 0,
            unreadable: Vec::new(),
            purged: Vec::new(),
        }
    }

    /// Reads the manifest of the backup in `folder`, with its digest.
    pub(crate) fn read(folder: &Path) -> Result<(Self, Digest), BackupError> {
        let path = folder.join(NAME);
        let file = File::open(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => BackupError::NoBackup(folder.display().to_string()),
            _ => at(&path)(error),
        })?;
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(at(&path))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(BackupError::damaged(&path, "it is too large"));
        }
        let damaged = |why: String| BackupError::damaged(&path, why);
        // First the version alone: a newer manifest may have other fields.
        let version: FormatVersion = serde_json::from_slice(&bytes).map_err(|why| damaged(why.to_string()))?;
        if version.format != FORMAT {
            return Err(damaged("it is not the manifest of a backup".to_owned()));
        }
        if version.format_version != VERSION {
            return Err(BackupError::Newer { found: version.format_version, known: VERSION });
        }
        let manifest: Self = serde_json::from_slice(&bytes).map_err(|why| damaged(why.to_string()))?;
        manifest.files.iter().try_for_each(RecordFile::check).map_err(damaged)?;
        Ok((manifest, BlobClaim::of(&bytes).digest))
    }

    /// The manifest as it is written.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Whether the backup does not have the bytes of a blob, though it has those of others.
    pub(crate) fn lacks(&self, digest: &Digest) -> bool {
        let digest = digest.to_string();
        self.unreadable.contains(&digest) || self.purged.contains(&digest)
    }

    /// The file with records of that kind.
    pub(crate) fn file(&self, kind: &str) -> Option<&RecordFile> {
        self.files.iter().find(|file| file.kind == kind)
    }
}

#[derive(Deserialize)]
struct FormatVersion {
    format: String,
    format_version: u32,
}

impl RecordFile {
    /// The path of a file with records of `kind`; `export` is different in every export, so that no export overwrites a
    /// file of an earlier one.
    pub(crate) fn path_of(kind: &str, revision: i64, export: &str) -> String {
        let folder = if kind == BLOB_RECORDS { "" } else { "catalog/" };
        format!("{folder}{kind}-r{revision}-{export}.jsonl.zst")
    }

    /// Refuses paths that an export does not write: they could lead out of the backup.
    fn check(&self) -> Result<(), String> {
        let is_plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let name = self.path.strip_prefix("catalog/").unwrap_or(&self.path);
        let stem = name.strip_suffix(".jsonl.zst").filter(|stem| stem.bytes().all(is_plain));
        if stem.is_some_and(|stem| stem.starts_with(&self.kind)) {
            Ok(())
        } else {
            Err(format!("the path {:?} is not allowed", self.path))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_out_of_the_backup_are_refused() {
        let file = |path: &str| RecordFile {
            kind: "images".to_owned(),
            path: path.to_owned(),
            digest: String::new(),
            bytes: 0,
            content_bytes: 0,
            records: 0,
        };
        assert_eq!(file(&RecordFile::path_of("images", 7, "0a1b")).check(), Ok(()));
        for path in ["/etc/passwd", "../images-1.jsonl.zst", "catalog/../images-1.jsonl.zst", "images", ""] {
            assert!(file(path).check().is_err(), "{path}");
        }
    }
}
