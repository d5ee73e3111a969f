//! Blocked digests: content that was purged, and that cannot be uploaded or published again until it is unblocked.

use crate::{
    audit,
    auth::caller::{ContentAdmin, Writer},
    bytes::clearing::{announce_end, upload_failed},
    context::Context,
    error::{Missing, Result, UseCaseError, blocked_upload},
    work::retry::retrying,
};
use imgsrv_domain::{
    audit::{AuditAction, Event},
    digest::Digest,
    ids::UploadId,
    names::ImageName,
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

/// Refuses a digest that is blocked everywhere or, if an image is given, in that image.
pub(crate) async fn require_unblocked(
    tx: &mut dyn CatalogTx,
    who: &Writer,
    digest: &Digest,
    image: Option<&ImageName>,
) -> Result<()> {
    match tx.get_blocked_digest(digest, image).await? {
        Some(block) => Err(refusal(who, block)),
        None => Ok(()),
    }
}

/// The refusal of a blocked digest. Only who may change the image of the purged version learns which one that was, and why
/// it was purged.
pub(crate) fn refusal(who: &Writer, block: BlockedDigest) -> UseCaseError {
    let digest = block.digest;
    UseCaseError::Blocked { digest, block: who.covers(&block.image).then(|| Box::new(block)) }
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
        for (id, digest) in &blocked {
            if retrying(|| fail(context, *id, digest)).await? {
                announce_end(context, *id);
            }
        }
    }
}

/// Fails an upload, unless it has ended or was completed meanwhile; returns whether it did.
async fn fail(context: &Context, id: UploadId, digest: &Digest) -> Result<bool, CatalogError> {
    let mut tx = context.catalog.begin().await?;
    let Some(session) = tx.lock_upload(id).await? else { return Ok(false) };
    let Ok((session, event)) = session.block(blocked_upload(digest), tx.now()) else { return Ok(false) };
    tx.update_upload(&session).await?;
    upload_failed(&mut *tx, &session).await?;
    audit::record(&mut *tx, &context.worker_actor(), event).await?;
    tx.commit().await?;
    Ok(true)
}
