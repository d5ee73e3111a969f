//! Copying blobs into a backup.

use crate::{
    Site,
    error::{BackupError, at},
    folder::{Folder, NewFile},
    rate::Rate,
};
use futures::TryStreamExt;
use imgsrv_app::crash_point;
use imgsrv_domain::{
    hash::RunningHash,
    ports::{BackupBlob, BlobError, BlobName},
};
use std::{fs, io::Write, time::Duration};
use tokio::task::spawn_blocking;

/// How often a blob is read from a store that fails.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_secs(2);

/// The result of copying a blob.
pub(crate) enum Copied {
    /// It was copied now.
    New,
    /// An earlier export has copied it.
    Present,
    /// It is damaged or missing.
    Unreadable,
}

/// Copies a blob into the backup, unless it is there.
pub(crate) async fn copy(site: &Site, folder: &Folder, blob: &BackupBlob, rate: &Rate) -> Result<Copied, BackupError> {
    let path = folder.blob(&blob.claim.digest);
    if fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() == blob.claim.size.get()) {
        return Ok(Copied::Present);
    }
    let (mut name, mut failures) = (blob.name.clone(), 0);
    loop {
        match read(site, folder, blob, &name, rate).await {
            Ok(()) => {
                crash_point("export.blob");
                return Ok(Copied::New);
            }
            Err(BackupError::Blobs(BlobError::Damaged)) => {
                // A store that is not there must not make every blob seem damaged.
                site.blobs.check().await?;
                match current_name(site, blob).await? {
                    // It was damaged, and replaced since the snapshot.
                    Some(current) if current != name => name = current,
                    _ => return Ok(Copied::Unreadable),
                }
            }
            Err(BackupError::Blobs(error)) if failures + 1 < ATTEMPTS => {
                failures += 1;
                tracing::warn!(blob.digest = %blob.claim.digest, %error, "blob not read, trying again");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn current_name(site: &Site, blob: &BackupBlob) -> Result<Option<BlobName>, BackupError> {
    let mut tx = site.catalog.begin().await?;
    Ok(tx.get_blob(&blob.claim.digest).await?.map(|blob| blob.name))
}

/// Copies the object `name`, which must be the blob.
async fn read(
    site: &Site,
    folder: &Folder,
    blob: &BackupBlob,
    name: &BlobName,
    rate: &Rate,
) -> Result<(), BackupError> {
    let path = folder.blob(&blob.claim.digest);
    let size = blob.claim.size;
    let mut bytes = site.blobs.open(name, size, 0..size.get()).await?;
    let (mut file, mut hash) = (NewFile::create(&path)?, RunningHash::default());
    let copied = async {
        while let Some(chunk) = bytes.try_next().await? {
            rate.spend(chunk.len()).await;
            hash.update(&chunk);
            file.write_all(&chunk).map_err(at(&path))?;
            crash_point("export.chunk");
        }
        Ok(hash.bytes() == size.get() && hash.finish() == blob.claim.digest)
    };
    match copied.await {
        Ok(true) => {
            // Other blobs are copied while the disk writes.
            let synced = spawn_blocking(move || file.sync().map(|()| file)).await;
            folder.place(synced.map_err(|error| at(&path)(error.into()))??)
        }
        Ok(false) => file.discard().and(Err(BlobError::Damaged.into())),
        Err(error) => file.discard().and(Err(error)),
    }
}
