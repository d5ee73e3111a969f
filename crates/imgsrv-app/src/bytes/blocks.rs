//! Blocked digests: content that was purged, and that cannot be uploaded or published again until it is unblocked.

use crate::{
    audit,
    auth::caller::{ContentAdmin, Writer},
    bytes::clearing::{announce_end, upload_ended},
    context::Context,
    error::{Missing, Result, UseCaseError},
    work::retry::retrying,
};
use imgsrv_domain::{
    audit::{AuditAction, Event},
    digest::Digest,
    ids::UploadId,
    page::{Page, PageRequest},
    ports::{BlockedDigest, CatalogError, CatalogTx},
    version::Version,
};
use std::sync::Arc;
use uuid::Uuid;

const BATCH: u16 = 50;

/// The use cases of blocked digests, and of the versions that have a digest.
#[derive(Clone)]
pub struct Blocks(pub(crate) Arc<Context>);

impl Blocks {
    /// Blocked digests by digest, for a content administrator of every image.
    #[tracing::instrument(name = "block.list", level = "debug", skip_all, err(level = "debug"))]
    pub async fn list(&self, who: &ContentAdmin, page: &PageRequest) -> Result<Page<BlockedDigest>> {
        who.everywhere()?;
        Ok(self.0.catalog.list_blocked_digests(page).await?)
    }

    /// Unblocks a digest, so that its content can be uploaded and published again; only a content administrator of every image
    /// may.
    #[tracing::instrument(name = "block.delete", level = "debug", skip_all, fields(blob.digest = %digest), err(level = "debug"))]
    pub async fn unblock(&self, who: &ContentAdmin, digest: &Digest) -> Result<()> {
        let actor = who.everywhere()?;
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            if !tx.unblock_digest(digest).await? {
                return Err(Missing::BlockedDigest(*digest).into());
            }
            Ok(audit::commit(tx, actor, Event::new(AuditAction::DigestUnblocked, digest)).await?)
        })
        .await
    }

    /// Published versions that have the digest in their manifest, as they are now, of the images whose versions the caller
    /// may retire. A page may have fewer than requested.
    #[tracing::instrument(name = "block.holders", level = "debug", skip_all, fields(blob.digest = %digest), err(level = "debug"))]
    pub async fn versions_of(&self, who: &ContentAdmin, digest: &Digest, page: &PageRequest) -> Result<Page<Version>> {
        let now = self.0.clock.now();
        let found = self.0.catalog.list_versions_of_blob(digest, page).await?;
        let retirable = found.items.into_iter().filter(|version| who.covers(&version.image));
        Ok(Page { items: retirable.map(|version| version.as_of(now)).collect(), next: found.next })
    }
}

/// Refuses a digest that is blocked. Only a digest without a blob can be.
pub(crate) async fn require_unblocked(tx: &mut dyn CatalogTx, who: &Writer, digest: &Digest) -> Result<()> {
    match tx.get_blocked_digest(digest).await? {
        Some(block) => Err(refused(tx, who, block).await?),
        None => Ok(()),
    }
}

/// Why a digest is refused. Which version it was purged with is only for those who may read its image.
pub(crate) async fn refused(tx: &mut dyn CatalogTx, who: &Writer, block: BlockedDigest) -> Result<UseCaseError> {
    let image = tx.get_image(&block.image).await?;
    let is_known = image.is_some_and(|image| who.may_read(&image));
    Ok(if is_known { UseCaseError::Blocked(Box::new(block)) } else { UseCaseError::BlockedElsewhere(block.digest) })
}

/// Why an upload fails whose digest is blocked.
pub(crate) fn failure_reason(block: &BlockedDigest) -> String {
    format!("digest-blocked: {}", block.in_public())
}

/// Fails the uploads that receive bytes of blocked digests. One that waits for its ingest fails there.
pub(crate) async fn fail_blocked_uploads(context: &Context) -> Result<(), CatalogError> {
    let mut after = UploadId::new(Uuid::nil());
    loop {
        let blocked = {
            let mut tx = context.catalog.begin().await?;
            tx.list_blocked_uploads(after, BATCH).await?
        };
        let Some((last, _)) = blocked.last() else { return Ok(()) };
        after = *last;
        for (id, block) in &blocked {
            if retrying(|| fail(context, *id, block)).await? {
                announce_end(context, *id);
            }
        }
    }
}

/// Fails an upload, unless it has ended or was completed meanwhile; returns whether it did.
async fn fail(context: &Context, id: UploadId, block: &BlockedDigest) -> Result<bool, CatalogError> {
    let mut tx = context.catalog.begin().await?;
    let Some(session) = tx.lock_upload(id).await? else { return Ok(false) };
    let Ok((session, event)) = session.block(failure_reason(block), tx.now()) else { return Ok(false) };
    tx.update_upload(&session).await?;
    upload_ended(context, &mut *tx, &session).await?;
    audit::record(&mut *tx, &context.worker_actor(), event).await?;
    tx.commit().await?;
    Ok(true)
}
