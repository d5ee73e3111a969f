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
    ids::{ImageId, VersionId},
    intake::Intake,
    manifest::Unpublishable,
    ports::{CatalogError, CatalogTx},
    publish::{PublishJob, StepName},
    version::Version,
};
use std::sync::Arc;
use tokio::time::Instant;

/// The result of a step.
pub(super) enum Outcome {
    Validated(Validated),
    Indexed(Indexed),
    /// The version can be published.
    Ready,
    /// The step fails permanently.
    Failed(String),
}

/// A step that has ended.
pub(super) struct Ended {
    pub(super) step: StepName,
    pub(super) outcome: Outcome,
    pub(super) at: Instant,
}

impl Outcome {
    /// Whether it says that Simple Streams list nothing of the version.
    pub(super) fn lists_nothing(&self) -> bool {
        matches!(self, Self::Indexed(indexed) if indexed.is_empty())
    }
}

/// Computes the result of `step`, reading the version if no earlier step of this run has. Not all of those that have `ended`
/// are recorded.
pub(super) async fn run(
    context: &Arc<Context>,
    job: &PublishJob,
    step: StepName,
    publication: &mut Option<Publication>,
    ended: &[Ended],
) -> Result<Outcome, StepError> {
    let publication = match publication {
        Some(read) => read,
        unread => {
            let read = unread.insert(Publication::read(context, job).await?);
            for ended in ended {
                if let Outcome::Validated(validated) = &ended.outcome {
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

/// What was recorded of a step.
pub(super) enum Recorded {
    /// Its result.
    Done,
    /// The publication of a version of this image, which readers do not know of yet.
    Published(ImageId),
    /// Nothing: the step fails permanently for this reason.
    Failed(String),
}

/// Records the result of the current step of `job`. What the last step changes may be `locked` already.
pub(super) async fn record(
    context: &Arc<Context>,
    tx: &mut dyn CatalogTx,
    job: &PublishJob,
    outcome: &Outcome,
    locked: &mut Option<Locked>,
) -> Result<Recorded, CatalogError> {
    match outcome {
        Outcome::Failed(reason) => Ok(Recorded::Failed(reason.clone())),
        Outcome::Indexed(indexed) => index::record(tx, job.version_id, indexed).await.map(|()| Recorded::Done),
        Outcome::Validated(validated) => validate::record(tx, job.version_id, validated).await.map(|()| Recorded::Done),
        Outcome::Ready => {
            let locked = match locked.take() {
                Some(locked) => locked,
                None => lock(tx, job).await?,
            };
            finalize(context, tx, locked).await
        }
    }
}

/// What the publication of a version changes beside the version itself, locked.
pub(super) struct Locked {
    intake: Option<Intake>,
    version: Option<Version>,
}

/// Locks what the last step changes, in the order of locks: results of earlier steps lock the version as well.
pub(super) async fn lock(tx: &mut dyn CatalogTx, job: &PublishJob) -> Result<Locked, CatalogError> {
    let intake = tx.lock_intake_of_job(job.id).await?;
    tx.lock_image(&job.image).await?;
    let version = tx.lock_version_by_id(job.version_id).await?;
    Ok(Locked { intake, version })
}

/// Makes known to readers that a version of `image` is published: the last changes of the transaction, because every publication waits
/// for the catalog revision, from here to the commit.
pub(super) async fn announce(
    tx: &mut dyn CatalogTx,
    image: ImageId,
    version: VersionId,
    may_be_listed: bool,
) -> Result<(), CatalogError> {
    tx.bump_catalog_revision(image).await?;
    if may_be_listed {
        tx.publish_stream_rows(version).await?;
    }
    Ok(())
}

async fn finalize(
    context: &Arc<Context>,
    tx: &mut dyn CatalogTx,
    Locked { intake, version }: Locked,
) -> Result<Recorded, CatalogError> {
    let Some(version) = version else {
        return Ok(Recorded::Failed("the version no longer exists".to_owned()));
    };
    if let Some(why) = untrusted(tx, version.id).await? {
        return Ok(Recorded::Failed(why.to_string()));
    }
    let (version, event) = match version.publish(tx.now()) {
        Ok(published) => published,
        Err(illegal) => return Ok(Recorded::Failed(illegal.to_string())),
    };
    tx.update_version(&version).await?;
    audit::record(tx, &context.worker_actor(), event).await?;
    if let Some(intake) = intake {
        follow::version_published(context, tx, intake, &version).await?;
    }
    tx.mark_referenced(version.id).await?;
    Ok(Recorded::Published(version.image_id))
}

/// Why the manifest of `version` cannot be published because of its blobs.
async fn untrusted(tx: &mut dyn CatalogTx, version: VersionId) -> Result<Option<Unpublishable>, CatalogError> {
    let untrusted = tx.list_untrusted_digests(version).await?;
    Ok((!untrusted.is_empty()).then_some(Unpublishable::Untrusted(untrusted)))
}
