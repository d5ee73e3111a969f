//! The steps of publishing. Each first computes its result outside of any transaction, then records the result together
//! with the end of the step.

use crate::{
    audit,
    context::Context,
    intakes::follow,
    publishing::{
        error::StepError,
        index::{self, Indexed},
        publication::Publication,
        validate::{self, Validated},
    },
};
use imgsrv_domain::{
    ids::VersionId,
    manifest::Unpublishable,
    ports::{CatalogError, CatalogTx},
    publish::{PublishJob, StepName},
};
use std::sync::Arc;

/// The result of a step.
pub(super) enum Outcome {
    Validated(Validated),
    Indexed(Indexed),
    /// The version can be published.
    Ready,
    /// The step fails permanently.
    Failed(String),
}

/// Computes the result of `step`, reading the version if no earlier step of this run has. Not all of those that have `ended`
/// are recorded.
pub(super) async fn run(
    context: &Arc<Context>,
    job: &PublishJob,
    step: StepName,
    publication: &mut Option<Publication>,
    ended: &[(StepName, Outcome)],
) -> Result<Outcome, StepError> {
    let publication = match publication {
        Some(read) => read,
        unread => {
            let read = unread.insert(Publication::read(context, job).await?);
            for (_, outcome) in ended {
                if let Outcome::Validated(validated) = outcome {
                    read.inspected(&validated.inspections);
                }
            }
            read
        }
    };
    match step {
        StepName::ValidateCatalog => validate::run(context, publication).await.map(Outcome::Validated),
        StepName::IncusIndex => index::run(context, publication).await.map(Outcome::Indexed),
        StepName::FinalizePublish => Ok(Outcome::Ready),
    }
}

/// Records the result of the current step of `job`; `Err` of the inner result fails the step permanently.
pub(super) async fn record(
    context: &Arc<Context>,
    tx: &mut dyn CatalogTx,
    job: &PublishJob,
    outcome: &Outcome,
) -> Result<Result<(), String>, CatalogError> {
    match outcome {
        Outcome::Failed(reason) => Ok(Err(reason.clone())),
        Outcome::Indexed(indexed) => index::record(tx, job, indexed).await.map(Ok),
        Outcome::Validated(validated) => validate::record(tx, job, validated).await.map(Ok),
        Outcome::Ready => finalize(context, tx, job).await,
    }
}

async fn finalize(
    context: &Arc<Context>,
    tx: &mut dyn CatalogTx,
    job: &PublishJob,
) -> Result<Result<(), String>, CatalogError> {
    if let Some(why) = untrusted(tx, job.version_id).await? {
        return Ok(Err(why.to_string()));
    }
    // In the order of locks, with the catalog revision last.
    let intake = tx.lock_intake_of_job(job.id).await?;
    tx.lock_image(&job.image).await?;
    let Some(version) = tx.lock_version_by_id(job.version_id).await? else {
        return Ok(Err("the version no longer exists".to_owned()));
    };
    let (version, event) = match version.publish(tx.now()) {
        Ok(published) => published,
        Err(illegal) => return Ok(Err(illegal.to_string())),
    };
    tx.update_version(&version).await?;
    audit::record(tx, &context.worker_actor(), event).await?;
    if let Some(intake) = intake {
        follow::version_published(context, tx, intake, &version).await?;
    }
    tx.mark_referenced(version.id).await?;
    tx.bump_catalog_revision(version.image_id).await?;
    tx.publish_stream_rows(version.id).await?;
    Ok(Ok(()))
}

/// Why the manifest of `version` cannot be published because of its blobs.
async fn untrusted(tx: &mut dyn CatalogTx, version: VersionId) -> Result<Option<Unpublishable>, CatalogError> {
    let untrusted = tx.list_untrusted_digests(version).await?;
    Ok((!untrusted.is_empty()).then_some(Unpublishable::Untrusted(untrusted)))
}
