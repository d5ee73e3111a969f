//! Verifying a stored blob as a whole: its bytes are hashed, and the result is recorded.

use crate::{
    audit,
    bytes::{
        hashing::hash_stream,
        quarantine::{open_unverified, quarantine, require_store},
    },
    context::Context,
    work::{retry::retrying, runtime::WorkError},
};
use futures::{StreamExt, TryStreamExt};
use imgsrv_domain::{
    audit::{AuditAction, Event},
    blocks::BlockChecksums,
    hash::RunningHash,
    ports::{BlobError, BlobStream, CatalogError, SECTION_BLOCKS, StoredBlob, TrustedBlob},
};
use std::{num::NonZeroU64, sync::Arc, time::Duration};
use tokio::time::Instant;

/// What a verification found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The bytes are right.
    Right,
    /// They are missing or wrong, and the blob is quarantined.
    Damaged,
}

/// Hashes the bytes of a blob, at most `rate` of them a second, and records what that finds: bytes that are right are
/// served, with block checksums; others are quarantined. Nothing is recorded of a blob that was replaced meanwhile.
pub(crate) async fn verify_blob(
    context: &Context,
    stored: &StoredBlob,
    rate: Option<NonZeroU64>,
) -> Result<Verdict, WorkError> {
    let blob = &stored.blob;
    let mut right = hash(context, blob, rate).await?;
    if right.is_none() && !stored.is_quarantined {
        require_store(context).await?;
        right = hash(context, blob, rate).await?;
    }
    if let Some(checksums) = right {
        record_right(context, blob, &checksums).await?;
        return Ok(Verdict::Right);
    }
    require_store(context).await?;
    if !stored.is_quarantined {
        quarantine(context, blob).await?;
    }
    retrying(|| async {
        let mut tx = context.catalog.begin().await?;
        tx.note_look(&blob.name).await?;
        tx.commit().await
    })
    .await?;
    Ok(Verdict::Damaged)
}

/// The block checksums of the bytes; `None` if they do not have the digest, or are missing.
pub(crate) async fn hash(
    context: &Context,
    blob: &TrustedBlob,
    rate: Option<NonZeroU64>,
) -> Result<Option<BlockChecksums>, BlobError> {
    let bytes = match open_unverified(context, blob, 0..blob.claim.size.get()).await {
        Err(BlobError::Damaged) => return Ok(None),
        opened => opened?,
    };
    let bytes = match rate {
        Some(rate) => paced(bytes, rate),
        None => bytes,
    };
    match hash_stream(bytes, RunningHash::default(), |hash: &mut RunningHash, chunk| hash.update(chunk)).await {
        Ok(hash) => {
            let checksums = hash.block_checksums();
            Ok((hash.finish() == blob.claim.digest).then_some(checksums))
        }
        Err(BlobError::Damaged) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The same bytes, at most `rate` of them a second.
fn paced(bytes: BlobStream, rate: NonZeroU64) -> BlobStream {
    let (started, mut passed) = (Instant::now(), 0_u64);
    let paced = bytes.and_then(move |chunk| {
        passed = passed.saturating_add(chunk.len() as u64);
        let due = started + Duration::from_micros(passed.saturating_mul(1_000_000) / rate);
        async move {
            tokio::time::sleep_until(due).await;
            Ok(chunk)
        }
    });
    paced.boxed()
}

/// Records that the bytes are right. Block checksums that are stored already and the same are not written again.
async fn record_right(context: &Context, blob: &TrustedBlob, checksums: &BlockChecksums) -> Result<(), CatalogError> {
    let (mut is_stored, mut sections) = (true, 0);
    for section in checksums.sections(SECTION_BLOCKS) {
        is_stored &= context.catalog.get_block_checksums(&blob.name, sections).await? == Some(section);
        sections += 1;
    }
    retrying(|| async {
        let mut tx = context.catalog.begin().await?;
        tx.record_verified(&blob.name, Some(checksums).filter(|_| !is_stored)).await?;
        if tx.restore_blob(&blob.claim.digest, &blob.name).await? {
            let event = Event::new(AuditAction::BlobRestored, blob.claim.digest).with(&blob.name);
            audit::record(&mut *tx, &context.worker_actor(), event).await?;
            context.revision.commit(tx).await?;
            tracing::info!(blob.digest = %blob.claim.digest, blob.name = %blob.name, "quarantined blob found right and restored");
            return Ok(());
        }
        tx.commit().await
    })
    .await?;
    context.checksums.forget(&blob.name, sections);
    Ok(())
}

/// Removes the bytes that another blob has replaced. On failure, the next collection does.
pub(crate) async fn remove_superseded(context: &Arc<Context>, blob: &TrustedBlob) -> Result<(), WorkError> {
    let is_stored = {
        let mut tx = context.catalog.begin().await?;
        tx.is_stored(&blob.name).await?
    };
    if !is_stored {
        context.blobs.remove(&blob.name).await?;
        retrying(|| async {
            let mut tx = context.catalog.begin().await?;
            tx.delete_orphaned_blob(&blob.name).await?;
            tx.commit().await
        })
        .await?;
    }
    Ok(())
}
