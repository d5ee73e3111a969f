//! The fingerprint of an Incus image: the SHA-256 of its metadata followed by its root.

use crate::{
    bytes::reader::{open_blob, quarantine},
    context::Context,
    publishing::error::StepError,
    work::{retry::retrying, runtime::WorkError},
};
use futures::TryStreamExt;
use imgsrv_domain::{
    digest::Digest,
    hash::RunningHash,
    ports::{BlobError, CatalogError, FingerprintProgress, Pair, TrustedBlob},
};

/// Bytes that are hashed between two saves of the progress.
const SAVE_EVERY: u64 = 1 << 30;

/// Computes the fingerprint once for each pair, resuming where an earlier attempt stopped. Every client sees it, so both
/// blobs are verified meanwhile; a blob that does not have its digest is quarantined.
pub(super) async fn fingerprint(
    context: &Context,
    metadata: &TrustedBlob,
    root: &TrustedBlob,
) -> Result<Digest, StepError> {
    let pair = Pair { metadata: metadata.claim.digest, root: root.claim.digest };
    let known = context.catalog.begin().await?.get_fingerprint(&pair).await?;
    let begun = match known {
        Some(FingerprintProgress::Done(digest)) => return Ok(digest),
        Some(FingerprintProgress::Begun { pair, root }) => RunningHash::resume(&pair).zip(RunningHash::resume(&root)),
        None => None,
    };
    if let Some((mut both, mut own)) = begun {
        hash_rest(context, &pair, root, &mut both, &mut own).await?;
        if own.finish() == root.claim.digest {
            return done(context, &pair, both).await;
        }
        // The earlier attempt may have hashed bytes that were damaged and have been replaced since.
        forget(context, &pair).await?;
    }
    let (mut both, mut own) = (RunningHash::new(), RunningHash::new());
    hash_some(context, metadata, &mut both, &mut own).await?;
    verify(context, metadata, own).await?;
    let mut own = RunningHash::new();
    hash_rest(context, &pair, root, &mut both, &mut own).await?;
    if let Err(error) = verify(context, root, own).await {
        forget(context, &pair).await?;
        return Err(error);
    }
    done(context, &pair, both).await
}

/// Verifies that the hashed bytes are those of `blob`; quarantines it if not.
pub(super) async fn verify(context: &Context, blob: &TrustedBlob, hash: RunningHash) -> Result<(), StepError> {
    if hash.finish() == blob.claim.digest {
        return Ok(());
    }
    quarantine(context, &blob.claim, &blob.name).await?;
    Err(StepError::reading(blob, BlobError::Damaged))
}

/// Hashes the rest of the root, saving the progress regularly.
async fn hash_rest(
    context: &Context,
    pair: &Pair,
    root: &TrustedBlob,
    both: &mut RunningHash,
    own: &mut RunningHash,
) -> Result<(), StepError> {
    while own.bytes() < root.claim.size.get() {
        hash_some(context, root, both, own).await?;
        if own.bytes() < root.claim.size.get() {
            save(context, pair, &FingerprintProgress::Begun { pair: both.save(), root: own.save() }).await?;
        }
    }
    Ok(())
}

/// Hashes a bounded part of a blob, starting where `own` has stopped.
async fn hash_some(
    context: &Context,
    blob: &TrustedBlob,
    both: &mut RunningHash,
    own: &mut RunningHash,
) -> Result<(), StepError> {
    let from = own.bytes();
    let to = blob.claim.size.get().min(from + SAVE_EVERY);
    let opened = open_blob(context, &blob.claim, &blob.name, from..to).await;
    let mut bytes = opened.map_err(|error| StepError::reading(blob, error))?;
    while let Some(chunk) = bytes.try_next().await.map_err(|error| StepError::reading(blob, error))? {
        both.update(&chunk);
        own.update(&chunk);
    }
    // A store that returns fewer bytes than requested must not cause an endless loop.
    if own.bytes() == to { Ok(()) } else { Err(StepError::reading(blob, BlobError::Damaged)) }
}

async fn done(context: &Context, pair: &Pair, both: RunningHash) -> Result<Digest, StepError> {
    let digest = both.finish();
    save(context, pair, &FingerprintProgress::Done(digest)).await?;
    Ok(digest)
}

async fn save(context: &Context, pair: &Pair, hash: &FingerprintProgress) -> Result<(), StepError> {
    let saved = retrying(|| async {
        let mut tx = context.catalog.begin().await?;
        tx.save_fingerprint(pair, hash).await?;
        tx.commit().await
    })
    .await;
    saved.map_err(|error: CatalogError| StepError::Transient(WorkError::from(error)))
}

async fn forget(context: &Context, pair: &Pair) -> Result<(), StepError> {
    let forgotten = retrying(|| async {
        let mut tx = context.catalog.begin().await?;
        tx.delete_fingerprint(pair).await?;
        tx.commit().await
    })
    .await;
    forgotten.map_err(|error: CatalogError| StepError::Transient(WorkError::from(error)))
}
