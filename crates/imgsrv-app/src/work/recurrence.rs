//! Work that recurs.

use crate::work::retry::retrying;
use imgsrv_domain::{
    ports::{Catalog, CatalogError},
    work::Lease,
};
use std::time::Duration;

/// Ends an attempt at work that recurs: it is due again after `interval`, or done without one. Returns whether the lease was
/// still valid.
pub(crate) async fn repeat(
    catalog: &dyn Catalog,
    lease: &Lease,
    interval: impl Into<Option<Duration>>,
) -> Result<bool, CatalogError> {
    let interval = interval.into();
    retrying(|| async {
        let mut tx = catalog.begin().await?;
        let was_valid = match interval {
            Some(interval) => tx.repeat_work(lease, interval).await?,
            None => tx.finish_work(lease).await?,
        };
        tx.commit().await?;
        Ok(was_valid)
    })
    .await
}
