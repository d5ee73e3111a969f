//! The fingerprint of an Incus image: the SHA-256 of its metadata followed by its root.

use crate::{
    bytes::{hashing::hash_stream, quarantine::quarantine, reader::open_blob},
    context::Context,
    publishing::error::{Result, StepError},
    work::retry::retrying,
};
use imgsrv_domain::{
    digest::Digest,
    hash::RunningHash,
    ports::{BlobError, CatalogError, FingerprintKey, FingerprintProgress, TrustedBlob},
};
use std::sync::Arc;

/// Bytes that are hashed between two saves of the progress.
const SAVE_EVERY: u64 = 1 << 30;

/// The hash of metadata and root together, and that of the blob that is being read.
struct Hashes {
    both: RunningHash,
    own: RunningHash,
}

/// Computes the fingerprint once for each pair, resuming where an earlier attempt stopped. Every client sees it, so both
/// blobs are verified meanwhile; a blob that does not have its digest is quarantined.
pub(super) async fn fingerprint(context: &Arc<Context>, metadata: &TrustedBlob, root: &TrustedBlob) -> Result<Digest> {
    let pair = FingerprintKey { metadata: metadata.claim.digest, root: root.claim.digest };
    let known = context.catalog.begin().await?.get_fingerprint(&pair).await?;
    let begun = match known {
        Some(FingerprintProgress::Done(digest)) => return Ok(digest),
        Some(FingerprintProgress::Begun { combined, root }) => {
            RunningHash::resume(&combined).zip(RunningHash::resume(&root))
        }
        None => None,
    };
    if let Some((both, own)) = begun {
        let hashes = hash_rest(context, &pair, root, Hashes { both, own }).await?;
        if hashes.own.finish() == root.claim.digest {
            return done(context, &pair, hashes.both).await;
        }
        // The earlier attempt may have hashed bytes that were damaged and have been replaced since.
        save(context, &pair, None).await?;
    }
    let hashes = Hashes { both: RunningHash::default(), own: RunningHash::default() };
    let hashes = hash_some(context, metadata, hashes).await?;
    verify(context, metadata, hashes.own.finish()).await?;
    let hashes = Hashes { own: RunningHash::default(), ..hashes };
    let hashes = hash_rest(context, &pair, root, hashes).await?;
    if let Err(error) = verify(context, root, hashes.own.finish()).await {
        save(context, &pair, None).await?;
        return Err(error);
    }
    done(context, &pair, hashes.both).await
}

/// Verifies that the hashed bytes are those of `blob`; quarantines it if not.
pub(super) async fn verify(context: &Arc<Context>, blob: &TrustedBlob, actual: Digest) -> Result<()> {
    if actual == blob.claim.digest {
        return Ok(());
    }
    quarantine(context, blob).await?;
    Err(StepError::reading(blob, BlobError::Damaged))
}

/// Hashes the rest of the root, saving the progress regularly.
async fn hash_rest(
    context: &Arc<Context>,
    pair: &FingerprintKey,
    root: &TrustedBlob,
    mut hashes: Hashes,
) -> Result<Hashes> {
    while hashes.own.bytes() < root.claim.size.get() {
        hashes = hash_some(context, root, hashes).await?;
        if hashes.own.bytes() < root.claim.size.get() {
            let begun = FingerprintProgress::Begun { combined: hashes.both.save(), root: hashes.own.save() };
            save(context, pair, Some(&begun)).await?;
        }
    }
    Ok(hashes)
}

/// Hashes a bounded part of a blob, starting where its own hash has stopped.
async fn hash_some(context: &Arc<Context>, blob: &TrustedBlob, hashes: Hashes) -> Result<Hashes> {
    let failed = |error| StepError::reading(blob, error);
    let from = hashes.own.bytes();
    let to = blob.claim.size.get().min(from + SAVE_EVERY);
    let bytes = open_blob(context, blob, from..to).await.map_err(failed)?;
    let update = |hashes: &mut Hashes, chunk: &[u8]| {
        hashes.both.update(chunk);
        hashes.own.update(chunk);
    };
    let hashes = hash_stream(bytes, hashes, update).await.map_err(failed)?;
    // A store that returns fewer bytes than requested must not cause an endless loop.
    if hashes.own.bytes() == to { Ok(hashes) } else { Err(failed(BlobError::Damaged)) }
}

async fn done(context: &Arc<Context>, pair: &FingerprintKey, both: RunningHash) -> Result<Digest> {
    let digest = both.finish();
    save(context, pair, Some(&FingerprintProgress::Done(digest))).await?;
    Ok(digest)
}

/// Saves the progress; without any, the computation starts again.
async fn save(context: &Arc<Context>, pair: &FingerprintKey, progress: Option<&FingerprintProgress>) -> Result<()> {
    let saved: Result<(), CatalogError> = retrying(|| async {
        let mut tx = context.catalog.begin().await?;
        match progress {
            Some(progress) => tx.save_fingerprint(pair, progress).await?,
            None => tx.delete_fingerprint(pair).await?,
        }
        tx.commit().await
    })
    .await;
    Ok(saved?)
}
