//! Verifying a backup: every file is hashed.

use crate::{
    error::BackupError,
    folder::{blob_path, lock_shared},
    lines::{self, LineReader, digest_of},
    manifest::{Manifest, RecordFile},
};
use imgsrv_domain::{digest::Digest, ports::BLOB_RECORDS};
use serde::Deserialize;
use std::path::Path;

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verified {
    /// The revision of the catalog.
    pub revision: i64,
    /// When the snapshot was taken, in RFC 3339.
    pub taken_at: String,
    /// The number of records.
    pub records: u64,
    /// The number of blobs with the right bytes.
    pub blobs: u64,
    /// The bytes in them.
    pub blob_bytes: u64,
    /// Whether the backup has the bytes of blobs.
    pub has_blobs: bool,
    /// What is missing or damaged, one line each.
    pub problems: Vec<String>,
}

/// What verification needs of the record of a blob.
#[derive(Deserialize)]
struct Blob {
    digest: String,
    size_bytes: u64,
}

/// Hashes everything in the backup at `path`.
pub fn verify(path: &Path) -> Result<Verified, BackupError> {
    let _lock = lock_shared(path)?;
    let (manifest, _) = Manifest::read(path)?;
    let mut found = Verified {
        revision: manifest.revision,
        taken_at: manifest.taken_at.clone(),
        has_blobs: manifest.has_blobs,
        ..Verified::default()
    };
    for file in &manifest.files {
        match check_records(path, file) {
            Ok(()) => found.records += file.records,
            Err(error) => found.problems.push(error.to_string()),
        }
    }
    let lost = [("damaged or missing when it was exported", &manifest.unreadable), ("purged", &manifest.purged)];
    for (why, digests) in lost {
        found.problems.extend(digests.iter().map(|digest| format!("blob {digest}: {why}")));
    }
    match manifest.file(BLOB_RECORDS) {
        Some(list) if manifest.has_blobs => check_blobs(path, &manifest, list, &mut found),
        Some(_) => {}
        None => found.problems.push("the manifest names no list of blobs".to_owned()),
    }
    // A purge is intended.
    found.problems.retain(|problem| !problem.ends_with(": purged"));
    Ok(found)
}

fn check_records(path: &Path, file: &RecordFile) -> Result<(), BackupError> {
    lines::check(path, file)?;
    let mut lines = LineReader::open(path, file)?;
    while lines.next()?.is_some() {}
    Ok(())
}

fn check_blobs(path: &Path, manifest: &Manifest, list: &RecordFile, found: &mut Verified) {
    let checked = (|| {
        let mut lines = LineReader::open(path, list)?;
        while let Some(line) = lines.next()? {
            let parsed = serde_json::from_str::<Blob>(line).map_err(|why| why.to_string());
            let parsed = parsed.and_then(|blob| {
                let digest: Digest = blob.digest.parse().map_err(|why| format!("{why}"))?;
                Ok((digest, blob.size_bytes))
            });
            let (digest, size) = parsed.map_err(|why| lines.damaged(why))?;
            if manifest.lacks(&digest) {
                continue;
            }
            let file = blob_path(path, &digest);
            match digest_of(&file) {
                Ok((actual, bytes)) if actual == digest && bytes == size => {
                    found.blobs += 1;
                    found.blob_bytes += bytes;
                }
                Ok((actual, bytes)) => {
                    let file = file.display();
                    found.problems.push(format!("blob {digest}: {file} has {bytes} bytes and the digest {actual}"));
                }
                Err(error) => found.problems.push(format!("blob {digest}: {error}")),
            }
        }
        Ok::<_, BackupError>(())
    })();
    if let Err(error) = checked {
        found.problems.push(error.to_string());
    }
}
