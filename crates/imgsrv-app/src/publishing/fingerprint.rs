//! The fingerprint of an Incus image: the digest of its metadata and its root, one after the other.

use crate::publishing::steps::Trouble;
use crate::{
    context::Context,
    work::{retry::retrying, runtime::WorkError},
};
use futures::TryStreamExt;
use imgsrv_domain::{
    digest::Digest,
    hash::RunningHash,
    ports::{BlobError, CatalogError, FingerprintKey, FingerprintProgress, TrustedBlob},
};

/// Bytes that are hashed before it is saved how far that has come.
const SAVE_EVERY: u64 = 1 << 30;

/// Computed once a pair, and continued where an earlier attempt got to. It is told to every client, so the bytes must be
/// the right ones: both blobs are verified on the way, and one that is not what it should be is not served any more.
pub(super) async fn fingerprint(
    context: &Context,
    metadata: &TrustedBlob,
    root: &TrustedBlob,
) -> Result<Digest, Trouble> {
    let pair = FingerprintKey { metadata: metadata.claim.digest, root: root.claim.digest };
    let known = context.catalog.begin().await?.get_fingerprint(&pair).await?;
    let begun = match known {
        Some(FingerprintProgress::Done(digest)) => return Ok(digest),
        Some(FingerprintProgress::Begun { combined, root }) => {
            RunningHash::resume(&combined).zip(RunningHash::resume(&root))
        }
        None => None,
    };
    if let Some((mut both, mut own)) = begun {
        hash_rest(context, &pair, root, &mut both, &mut own).await?;
        if own.finish() == root.claim.digest {
            return done(context, &pair, both).await;
        }
        // The earlier attempt may have read what is mended by now.
        forget(context, &pair).await?;
    }
    let (mut both, mut own) = (RunningHash::new(), RunningHash::new());
    hash_some(context, metadata, &mut both, &mut own).await?;
    verify(context, metadata, own).await?;
    let mut own = RunningHash::new();
    hash_rest(context, &pair, root, &mut both, &mut own).await?;
    if let Err(trouble) = verify(context, root, own).await {
        forget(context, &pair).await?;
        return Err(trouble);
    }
    done(context, &pair, both).await
}

/// Whether the bytes that `hash` has seen are those of `blob`. If not, nobody is served them again.
pub(super) async fn verify(context: &Context, blob: &TrustedBlob, hash: RunningHash) -> Result<(), Trouble> {
    if hash.finish() == blob.claim.digest {
        return Ok(());
    }
    context.quarantine(&blob.claim, &blob.name).await?;
    Err(Trouble::reading(blob, BlobError::Damaged))
}

/// Hashes what is left of the root, and saves how far that has come now and then.
async fn hash_rest(
    context: &Context,
    pair: &FingerprintKey,
    root: &TrustedBlob,
    both: &mut RunningHash,
    own: &mut RunningHash,
) -> Result<(), Trouble> {
    while own.bytes() < root.claim.size.get() {
        hash_some(context, root, both, own).await?;
        if own.bytes() < root.claim.size.get() {
            save(context, pair, &FingerprintProgress::Begun { combined: both.save(), root: own.save() }).await?;
        }
    }
    Ok(())
}

/// Hashes a bounded part of a blob, from where `own` is.
async fn hash_some(
    context: &Context,
    blob: &TrustedBlob,
    both: &mut RunningHash,
    own: &mut RunningHash,
) -> Result<(), Trouble> {
    let from = own.bytes();
    let to = blob.claim.size.get().min(from + SAVE_EVERY);
    let opened = context.open_blob(&blob.claim, &blob.name, from..to).await;
    let mut bytes = opened.map_err(|error| Trouble::reading(blob, error))?;
    while let Some(chunk) = bytes.try_next().await.map_err(|error| Trouble::reading(blob, error))? {
        both.update(&chunk);
        own.update(&chunk);
    }
    // A store that gives less than it has must not be asked for ever.
    if own.bytes() == to { Ok(()) } else { Err(Trouble::reading(blob, BlobError::Damaged)) }
}

async fn done(context: &Context, pair: &FingerprintKey, both: RunningHash) -> Result<Digest, Trouble> {
    let digest = both.finish();
    save(context, pair, &FingerprintProgress::Done(digest)).await?;
    Ok(digest)
}

async fn save(context: &Context, pair: &FingerprintKey, hash: &FingerprintProgress) -> Result<(), Trouble> {
    let saved = retrying(|| async {
        let mut tx = context.catalog.begin().await?;
        tx.save_fingerprint(pair, hash).await?;
        tx.commit().await
    })
    .await;
    saved.map_err(|error: CatalogError| Trouble::Passing(WorkError::from(error)))
}

async fn forget(context: &Context, pair: &FingerprintKey) -> Result<(), Trouble> {
    let forgotten = retrying(|| async {
        let mut tx = context.catalog.begin().await?;
        tx.delete_fingerprint(pair).await?;
        tx.commit().await
    })
    .await;
    forgotten.map_err(|error: CatalogError| Trouble::Passing(WorkError::from(error)))
}
