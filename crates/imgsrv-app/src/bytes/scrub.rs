//! The scrub: stored blobs are verified regularly, those first whose bytes were verified least recently. When each was
//! verified is all that a scrub remembers, so that it continues after a restart, and on any node.

use crate::{
    bytes::verify::verify_blob,
    context::Context,
    work::{
        retry::retrying,
        runtime::{Handler, WorkError},
    },
};
use async_trait::async_trait;
use imgsrv_domain::{
    ports::CatalogError,
    work::{Lease, WorkKind},
};
use std::{sync::Arc, time::Duration};

/// Interval at which the bytes of a quarantined blob are looked at.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_hours(1);
/// Interval at which blobs that are due are looked for.
const INTERVAL: Duration = Duration::from_mins(5);

/// The handler that verifies blobs. Its work recurs.
pub(crate) struct Scrub(pub(crate) Arc<Context>);

#[async_trait]
impl Handler for Scrub {
    fn kind(&self) -> WorkKind {
        WorkKind::Scrub
    }

    async fn run(&self, lease: &Lease) -> Result<(), WorkError> {
        let settings = &self.0.settings.scrub;
        loop {
            let now = self.0.catalog.catalog_time().await?;
            // A blob is due after half of the cycle: what is due may take the other half.
            let verified_before = settings.rate.map(|_| now.minus(settings.cycle / 2));
            let due = self.0.catalog.get_blob_to_verify(now.minus(LOOK_INTERVAL), verified_before).await?;
            let Some(due) = due else { break };
            verify_blob(&self.0, &due, settings.rate).await?;
            if !retrying(|| self.advance(lease)).await? {
                tracing::warn!("lease lost: scrub continues elsewhere");
                return Ok(());
            }
        }
        retrying(|| async {
            let mut tx = self.0.catalog.begin().await?;
            tx.repeat_work(lease, INTERVAL).await?;
            tx.commit().await
        })
        .await?;
        Ok(())
    }
}

impl Scrub {
    /// Extends the lease; returns whether it was still valid.
    async fn advance(&self, lease: &Lease) -> Result<bool, CatalogError> {
        let mut tx = self.0.catalog.begin().await?;
        let is_leased = tx.advance_work(lease, self.0.settings.lease_term).await?;
        tx.commit().await?;
        Ok(is_leased)
    }
}
