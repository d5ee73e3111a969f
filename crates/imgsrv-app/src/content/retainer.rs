//! Applying the enabled retention policies regularly.

use crate::{
    content::retention::Retention,
    context::Context,
    error::{Missing, UseCaseError},
    work::{
        recurrence::repeat,
        runtime::{Handler, WorkError},
    },
};
use async_trait::async_trait;
use imgsrv_domain::{
    error_chain,
    names::ImageName,
    ports::CatalogError,
    work::{Lease, WorkKind},
};
use std::sync::Arc;

/// How many images one statement lists.
const IMAGES: u16 = 100;
/// How many versions of an image are changed each time.
const LIMIT: usize = 500;

/// The handler that applies retention policies. Its work recurs.
pub(crate) struct Retainer(pub(crate) Arc<Context>);

#[async_trait]
impl Handler for Retainer {
    fn kind(&self) -> WorkKind {
        WorkKind::Retention
    }

    async fn run(&self, lease: &Lease) -> Result<(), WorkError> {
        self.apply_all().await?;
        repeat(&*self.0.catalog, lease, self.0.settings.retention_interval).await?;
        Ok(())
    }
}

impl Retainer {
    /// Applies the policy of each image. One that fails must not delay the others. Returns the last failure.
    async fn apply_all(&self) -> Result<(), CatalogError> {
        let with_default = self.0.settings.default_retention.is_some_and(|policy| policy.enabled);
        let (mut after, mut failure) = (None, Ok(()));
        loop {
            let images = self.0.catalog.list_retained_images(with_default, after.as_ref(), IMAGES).await?;
            for image in &images {
                if let Err(error) = self.apply(image).await {
                    let cause = error_chain::text(&error);
                    tracing::warn!(image.name = %image, error = cause, "retention policy could not be applied");
                    if let UseCaseError::Catalog(error) = error {
                        failure = Err(error);
                    }
                }
            }
            let Some(last) = images.into_iter().next_back() else { return failure };
            after = Some(last);
        }
    }

    async fn apply(&self, image: &ImageName) -> Result<(), UseCaseError> {
        let retention = Retention(Arc::clone(&self.0));
        let plan = match retention.plan(image, None).await {
            Ok(plan) if plan.policy.enabled => plan,
            // The policy was changed or deleted meanwhile.
            Ok(_) | Err(UseCaseError::NotFound(Missing::Image(_) | Missing::Retention(_))) => return Ok(()),
            Err(error) => return Err(error),
        };
        match retention.carry_out(&self.0.worker_actor(), image, plan, LIMIT).await {
            Ok(applied) if applied.done.is_empty() => Ok(()),
            Ok(applied) => {
                tracing::info!(image.name = %image, versions = applied.done.len(), "retention policy applied");
                Ok(())
            }
            // The image was changed meanwhile; the next run sees that.
            Err(UseCaseError::RetentionChanged) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
