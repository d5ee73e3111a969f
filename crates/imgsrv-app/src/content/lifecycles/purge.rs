//! Purging a version: it is removed without a drain, and content that nothing else refers to is deleted at once.
//!
//! One transaction makes the version a tombstone, blocks its digests, and deletes the records of their blobs, which leaves
//! orphans. Then the content of the orphans is deleted, before the response. A collection is queued in the transaction: it
//! completes what a crash or a failure of the store has interrupted.

use super::{
    LifecyclePrecondition, Lifecycles,
    moves::{AliasMoves, move_aliases},
    replacements::{WantedWords, resolve},
};
use crate::{
    audit,
    auth::caller::ContentAdmin,
    bytes::{blocks, orphans},
    error::{Result, UseCaseError},
    nodes::seen_by_all_nodes,
    work::{crash_point::crash_point, detach::detached, retry::retrying},
};
use imgsrv_domain::{
    audit::{AuditAction, Event},
    error_chain,
    lifecycle::{WantedReplacement, Words},
    names::{ImageName, VersionName},
    ports::{BlobReference, CatalogTx, OrphanedBlob, PurgedDigest},
    text::LongText,
    version::Version,
    work::{WorkKind, WorkName},
};

/// A purged version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purged {
    /// The version, a tombstone.
    pub version: Version,
    /// Whether each digest in its manifest was blocked or kept, by digest.
    pub digests: Vec<PurgedDigest>,
}

/// A request to purge a version.
#[derive(Debug, Clone)]
pub struct PurgeRequest {
    /// The reason.
    pub reason: LongText,
    /// What to use instead.
    pub replacement: Option<WantedReplacement>,
    /// Aliases to move or delete.
    pub aliases: AliasMoves,
}

impl Lifecycles {
    /// Purges a published version. Content that another version, a draft or a job refers to is kept. All other digests of
    /// the version are blocked; their content is deleted when this returns, unless the store fails: then a collection
    /// deletes it. A tombstone can be purged as well, as long as its content is in its grace period.
    ///
    /// Cancel-safe: when the caller is dropped, the content is still deleted.
    #[tracing::instrument(name = "lifecycle.purge", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %image, version.name = %name))]
    pub async fn purge(
        &self,
        who: &ContentAdmin,
        image: &ImageName,
        name: &VersionName,
        precondition: &LifecyclePrecondition,
        request: &PurgeRequest,
    ) -> Result<Purged> {
        let (lifecycles, who, image, name) = (self.clone(), who.clone(), image.clone(), name.clone());
        let (precondition, request) = (precondition.clone(), request.clone());
        detached(async move {
            let purge = || lifecycles.record_purge(&who, &image, &name, &precondition, &request);
            let (mut purged, orphans) = retrying(purge).await?;
            lifecycles.delete_purged(&orphans).await;
            seen_by_all_nodes(&lifecycles.0).await?;
            purged.digests.iter_mut().for_each(|digest| hide_foreign(digest, &who));
            Ok(purged)
        })
        .await
    }

    /// Records the purge; returns the orphans that it leaves.
    async fn record_purge(
        &self,
        who: &ContentAdmin,
        image: &ImageName,
        name: &VersionName,
        precondition: &LifecyclePrecondition,
        request: &PurgeRequest,
    ) -> Result<(Purged, Vec<OrphanedBlob>)> {
        let actor = who.on(&self.0, image).await?;
        let mut tx = self.0.catalog.begin().await?;
        // In the order of locks, which the item of the queue is the first of.
        tx.enqueue_work(WorkName::recurring(WorkKind::Collect)).await?;
        let version = self.lock(&mut *tx, image, name, precondition).await?;
        let now = tx.now();
        let refused = |refusal| UseCaseError::Lifecycle { version: version.path(), refusal };
        version.lifecycle.clone().purge(Words::default(), now).map_err(refused)?;
        let have_moved = move_aliases(&self.0, &mut *tx, actor, &version, &request.aliases).await?;
        let wanted = WantedWords { reason: Some(request.reason.clone()), replacement: request.replacement.clone() };
        let words = resolve(&mut *tx, who, &version, &wanted).await?;
        let steps = version.lifecycle.clone().purge(words, now).map_err(refused)?;
        let digests = tx.block_digests(&version, &request.reason).await?;
        let mut blocked = Vec::new();
        for purged in &digests {
            if let PurgedDigest::Blocked { digest, was_blocked: false } = purged {
                let event = Event::new(AuditAction::DigestBlocked, digest).with(&request.reason);
                audit::record(&mut *tx, actor, event).await?;
                blocked.push(*digest);
            }
        }
        if steps.is_empty() && blocked.is_empty() && !have_moved {
            return Ok((Purged { version: version.as_of(now), digests }, Vec::new()));
        }
        let event = Event::new(AuditAction::VersionPurged, version.path()).with(&request.reason);
        audit::record(&mut *tx, actor, event).await?;
        tx.bump_catalog_revision(version.image_id).await?;
        for step in steps {
            tx.update_lifecycle(&version.clone().with_lifecycle(step)).await?;
        }
        let orphans = purge_blobs(&mut *tx, &digests).await?;
        let stored = tx.lock_version_by_id(version.id).await?.unwrap_or(version);
        crash_point("purge.committing");
        self.0.revision.commit(tx).await?;
        crash_point("purge.committed");
        Ok((Purged { version: stored.as_of(now), digests }, orphans))
    }

    /// Deletes the content of orphans, and fails the uploads of their digests. What fails is left to the collection.
    async fn delete_purged(&self, orphans: &[OrphanedBlob]) {
        let deleted = orphans::delete(&self.0, orphans.to_vec()).await;
        crash_point("purge.deleted");
        let failed = blocks::fail_blocked_uploads(&self.0).await;
        if let Err(error) = deleted.and(failed.map_err(Into::into)) {
            let error = error_chain::text(&error);
            tracing::warn!(error, "purged content could not be deleted at once; garbage collection will delete it");
        }
        self.0.wakeups.wake(WorkKind::Collect);
    }
}

/// Deletes the records of the blobs of blocked digests. The version is a tombstone already, so nothing refers to them.
async fn purge_blobs(tx: &mut dyn CatalogTx, digests: &[PurgedDigest]) -> Result<Vec<OrphanedBlob>> {
    let mut orphans = Vec::new();
    for purged in digests {
        if let PurgedDigest::Blocked { digest, .. } = purged {
            orphans.extend(tx.purge_blob(digest).await?);
        }
    }
    Ok(orphans)
}

/// Leaves out versions of images that the caller may not retire.
fn hide_foreign(digest: &mut PurgedDigest, who: &ContentAdmin) {
    if let PurgedDigest::Kept { by, .. } = digest {
        by.retain(|reference| match reference {
            BlobReference::Version { image, .. } => who.covers(image),
            BlobReference::Upload(_) => true,
        });
    }
}
