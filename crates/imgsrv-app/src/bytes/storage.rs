//! The state of the storage, and verifying blobs on demand.

use crate::{
    auth::caller::{SystemOperator, SystemReader},
    bytes::{
        garbage::Garbage,
        totals::CollectionCounts,
        verify::{Verdict, verify_blob},
    },
    context::Context,
    error::{Missing, Result, UseCaseError},
    work::detach::detached,
};
use imgsrv_domain::{
    digest::Digest,
    page::{Page, PageRequest},
    ports::{Collectable, QuarantinedBlob, Statistics, VerificationTotals},
};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// How long a request waits for the end of a verification.
const WAIT: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_hours(24);

/// The use cases of the operators of the storage.
#[derive(Clone)]
pub struct Storage(pub(crate) Arc<Context>);

/// The state of the storage.
#[derive(Debug, Clone)]
pub struct StorageStatus {
    /// The numbers of the catalog.
    pub statistics: Statistics,
    /// Those of verification; what was verified in the last day.
    pub verification: VerificationTotals,
    /// Whether the last verification of some blob is older than the settings allow.
    pub is_behind: bool,
    /// The declared bytes of uploads that have not ended.
    pub staged_bytes: u64,
    /// What the next collection deletes.
    pub reclaimable: Collectable,
    /// The free space of the blob store, if it is known.
    pub free_bytes: Option<u64>,
    /// The collections of this process.
    pub collections: CollectionCounts,
}

impl Storage {
    /// The state of the storage.
    #[tracing::instrument(name = "storage.status", level = "debug", skip_all, err(level = "debug"))]
    pub async fn status(&self, who: &SystemReader) -> Result<StorageStatus> {
        let context = &self.0;
        let statistics = context.catalog.statistics().await?;
        let verification = context.catalog.verification_totals(statistics.now.minus(DAY)).await?;
        let overdue = statistics.now.minus(context.settings.scrub.cycle);
        let staged_bytes = {
            let mut tx = context.catalog.begin().await?;
            tx.sum_staged_bytes().await?
        };
        Ok(StorageStatus {
            is_behind: verification.oldest_verified_at.is_some_and(|oldest| oldest < overdue),
            reclaimable: Garbage(Arc::clone(context)).count(who).await?,
            free_bytes: context.blobs.free_bytes().await?,
            collections: context.collected.counts(),
            statistics,
            verification,
            staged_bytes,
        })
    }

    /// Quarantined blobs, ordered by digest.
    #[tracing::instrument(name = "storage.quarantined", level = "debug", skip_all, err(level = "debug"))]
    pub async fn quarantined(&self, _who: &SystemReader, page: &PageRequest) -> Result<Page<QuarantinedBlob>> {
        Ok(self.0.catalog.list_quarantined(page).await?)
    }

    /// Verifies a blob now. Returns whether its bytes are right; nothing if that takes longer than a request should, and
    /// then the verification continues.
    #[tracing::instrument(name = "storage.verify", level = "debug", skip_all, fields(blob.digest = %digest), err(level = "debug"))]
    pub async fn verify(&self, _who: &SystemOperator, digest: &Digest) -> Result<Option<bool>> {
        let stored = self.0.catalog.get_stored_blob(digest).await?.ok_or(Missing::Blob(*digest))?;
        let context = Arc::clone(&self.0);
        let verifying = detached(async move {
            let _turn = context.verifying.lock().await;
            Ok::<_, UseCaseError>(verify_blob(&context, &stored, None).await?)
        });
        match timeout(WAIT, verifying).await {
            Ok(verdict) => Ok(Some(verdict? == Verdict::Right)),
            Err(_elapsed) => Ok(None),
        }
    }
}
