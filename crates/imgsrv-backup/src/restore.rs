//! Restoring one blob into a blob store and its catalog.

use crate::{
    Site,
    error::{BackupError, at},
    folder::blob_path,
    manifest::Manifest,
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use imgsrv_app::crash_point;
use imgsrv_domain::{
    blocks::BlockChecksums,
    hash::RunningHash,
    ids::{AttemptId, UploadId},
    names::PartNumber,
    parts::HashBase,
    ports::{
        BackupBlob, BlobError, BodyError, BodyStream, IngestError, IngestRequest, Ingested, StageError, StageRequest,
        TrustedBlob,
    },
    upload::{Attempt, Placement},
};
use std::{fs::File, io::Read, path::Path};

/// Bytes that are read from the backup at once.
const CHUNK_BYTES: usize = 256 << 10;

/// The result of restoring a blob.
pub(crate) enum Restored {
    /// It was copied now; with its block checksums, if all were computed.
    Copied(Option<BlockChecksums>),
    /// It was in the store; with its block checksums, if it was hashed now.
    Present(Option<BlockChecksums>),
    /// Neither the backup nor the store has its bytes.
    Missing,
}

/// Restores a blob, unless it is recorded. It keeps its name, which `session` has given it.
pub(crate) async fn restore(
    site: &Site,
    backup: &Path,
    manifest: &Manifest,
    blob: &BackupBlob,
    session: UploadId,
) -> Result<Restored, BackupError> {
    {
        let mut tx = site.catalog.begin().await?;
        if tx.is_stored(&blob.name).await? {
            let is_trusted = tx.get_blob(&blob.claim.digest).await?.is_some();
            return Ok(if is_trusted { Restored::Present(None) } else { Restored::Missing });
        }
    }
    let restored = match find_in_store(site, blob).await? {
        Some(checksums) => Restored::Present(Some(checksums)),
        None if manifest.has_blobs && !manifest.lacks(&blob.claim.digest) => {
            copy(site, backup, blob, session).await?.map_or(Restored::Missing, Restored::Copied)
        }
        None => Restored::Missing,
    };
    crash_point("import.placed");
    let mut tx = site.catalog.begin().await?;
    let BackupBlob { claim, name, created_at } = blob.clone();
    tx.insert_blob(&TrustedBlob { claim, name, created_at }).await?;
    match &restored {
        // Without checksums, the scrub hashes it again soon.
        Restored::Copied(checksums) | Restored::Present(checksums) => {
            if let Some(checksums) = checksums {
                tx.record_verified(&blob.name, Some(checksums)).await?;
            }
        }
        Restored::Missing => {
            tx.quarantine_blob(&blob.claim.digest, &blob.name).await?;
        }
    }
    tx.commit().await?;
    crash_point("import.recorded");
    if matches!(restored, Restored::Copied(_)) {
        site.blobs.clear_staging(session, Some(&blob.name)).await?;
    }
    Ok(restored)
}

/// The block checksums of the bytes, if the store has them: an earlier run has placed them, or it is the store of the
/// exported server.
async fn find_in_store(site: &Site, blob: &BackupBlob) -> Result<Option<BlockChecksums>, BackupError> {
    let size = blob.claim.size;
    let read = async {
        let mut bytes = site.blobs.open(&blob.name, size, 0..size.get()).await?;
        let mut hash = RunningHash::default();
        while let Some(chunk) = bytes.try_next().await? {
            hash.update(&chunk);
        }
        let checksums = hash.block_checksums();
        Ok((hash.bytes() == size.get() && hash.finish() == blob.claim.digest).then_some(checksums))
    };
    match read.await {
        Err(BlobError::Damaged) => Ok(None),
        read => Ok(read?),
    }
}

/// Copies the bytes from the backup into the store, if the backup has them; returns their block checksums, if all were
/// computed. The store verifies the bytes as those of an upload.
async fn copy(
    site: &Site,
    backup: &Path,
    blob: &BackupBlob,
    session: UploadId,
) -> Result<Option<Option<BlockChecksums>>, BackupError> {
    let (path, size) = (blob_path(backup, &blob.claim.digest), blob.claim.size);
    let file = match File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file))) {
        Ok((length, file)) if length == size.get() => file,
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(&path)(error)),
    };
    // What an earlier run has left.
    site.blobs.clear_staging(session, Some(&blob.name)).await?;
    let attempt = Attempt {
        id: AttemptId::new(site.ids.next()),
        sequence: 1,
        number: PartNumber::FIRST,
        base: HashBase::Start,
        placement: Placement::Frontier(None),
        limit: size,
    };
    let (mut parts, mut hashed) = (Vec::new(), None);
    if size.get() > 0 {
        let request = StageRequest {
            session,
            name: blob.name.clone(),
            attempt: attempt.clone(),
            declared: Some(size.get()),
            checksum: None,
            space: None,
            body: body(file),
        };
        match site.blobs.stage(request).await {
            Ok(staged) => {
                hashed.clone_from(&staged.hash);
                parts.push(staged.into_part(&attempt));
            }
            Err(StageError::Blob(error)) => return Err(error.into()),
            Err(error) => return Err(BackupError::damaged(&path, error)),
        }
        crash_point("import.staged");
    }
    // An object of this name is wrong, or it would have been found. A store may take it for the blob by its size.
    site.blobs.remove(&blob.name).await?;
    let name = blob.name.clone();
    let mut request = IngestRequest { session, name, claim: blob.claim, parts, hashed };
    loop {
        match site.blobs.ingest(&request).await {
            Ok(Ingested::Hashed(state)) => request.hashed = Some(state),
            Ok(Ingested::Placed) => return Ok(Some(request.block_checksums())),
            Err(IngestError::Mismatch { actual }) => {
                tracing::error!(blob.digest = %blob.claim.digest, %actual, "blob damaged in the backup");
                site.blobs.clear_staging(session, Some(&blob.name)).await?;
                return Ok(None);
            }
            Err(IngestError::StagedGone) => return Err(BlobError::unavailable("staged bytes are missing").into()),
            Err(IngestError::Blob(error)) => return Err(error.into()),
        }
    }
}

fn body(file: File) -> BodyStream {
    let chunks = stream::try_unfold(file, |mut file| async move {
        let mut chunk = vec![0; CHUNK_BYTES];
        // An error becomes an incomplete body, which the size of the file contradicts.
        let read = file.read(&mut chunk).map_err(|_| BodyError::Cut)?;
        chunk.truncate(read);
        Ok((read > 0).then(|| (Bytes::from(chunk), file)))
    });
    chunks.boxed()
}
