//! Collecting garbage on demand, and explaining why a blob is kept.

use crate::{
    auth::caller::{SystemOperator, SystemReader},
    context::Context,
    error::{Missing, Result},
    work::retry::retrying,
};
use imgsrv_domain::{
    digest::Digest,
    ports::{BlobStatus, CatalogError, Collectable},
    time::Timestamp,
    work::{WorkKind, WorkName},
};
use std::sync::Arc;

/// Blobs that a dry run counts at most.
const MAX_COUNTED: u32 = 2_000;
/// References to a blob that are listed at most.
const MAX_REFERENCES: u16 = 100;

/// The use cases of garbage collection.
#[derive(Clone)]
pub struct Garbage(pub(crate) Arc<Context>);

/// A blob, what refers to it, and when it may be collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The blob.
    pub status: BlobStatus,
    /// Whether more refers to it than is listed.
    pub has_more: bool,
    /// When it may be collected, which is not before running exports have ended or renewed their pins; absent while something
    /// refers to it.
    pub collectable_at: Option<Timestamp>,
}

impl Garbage {
    /// What a collection would free now. Writes nothing.
    #[tracing::instrument(name = "garbage.count", level = "debug", skip_all, err(level = "debug"))]
    pub async fn count(&self, _who: &SystemReader) -> Result<Collectable> {
        let now = self.0.catalog.catalog_time().await?;
        let before = now.minus(self.0.settings.collection.grace);
        Ok(self.0.catalog.count_collectable(before, MAX_COUNTED).await?)
    }

    /// Makes a collection due at once, on whichever node acquires it. Returns what it will free as far as that is known.
    #[tracing::instrument(name = "garbage.collect", level = "debug", skip_all, err(level = "debug"))]
    pub async fn collect(&self, who: &SystemOperator) -> Result<Collectable> {
        let collectable = self.count(&who.reader()).await?;
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            tx.enqueue_work(WorkName::recurring(WorkKind::Collect)).await?;
            tx.commit().await?;
            Ok::<_, CatalogError>(())
        })
        .await?;
        self.0.wakeups.wake(WorkKind::Collect);
        Ok(collectable)
    }

    /// The blob with that digest, what refers to it, and when it may be collected. Writes nothing.
    #[tracing::instrument(name = "garbage.explain", level = "debug", skip_all, fields(blob.digest = %digest), err(level = "debug"))]
    pub async fn explain(&self, _who: &SystemReader, digest: &Digest) -> Result<Explained> {
        let Some(mut status) = self.0.catalog.get_blob_status(digest, MAX_REFERENCES + 1).await? else {
            let deletion = self.0.catalog.get_blob_deletion(digest).await?;
            let why = |deletion| Missing::DeletedBlob(*digest, Box::new(deletion));
            return Err(deletion.map_or(Missing::Blob(*digest), why).into());
        };
        let has_more = status.references.len() > usize::from(MAX_REFERENCES);
        status.references.truncate(usize::from(MAX_REFERENCES));
        let unreferenced = status.unreferenced_since.filter(|_| status.references.is_empty());
        let pinned = self.0.catalog.pinned_until().await?;
        let after_grace = unreferenced.map(|since| since.plus(self.0.settings.collection.grace));
        let collectable_at = after_grace.map(|at| pinned.map_or(at, |pinned| at.max(pinned)));
        Ok(Explained { status, has_more, collectable_at })
    }
}
