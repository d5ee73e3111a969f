//! The steps of publishing. Each first finds out what it must of bytes, then records that together with its own end.

use crate::publishing::{
    index::{self, Indexed},
    validate::{self, Validated},
};
use crate::{audit, context::Context, work::runtime::WorkError};
use imgsrv_domain::{
    audit::Actor,
    ids::VersionId,
    manifest::{Manifest, Unpublishable},
    ports::{BlobError, CatalogError, CatalogTx, TrustedBlob, Visibility},
    publish::{PublishJob, StepName},
};

/// What a step found out.
pub(super) enum Outcome {
    Validated(Validated),
    Indexed(Indexed),
    /// There was nothing to find out.
    Ready,
    /// The step fails for good.
    Failed(String),
}

/// Why a step could not find out what it must.
pub(super) enum Trouble {
    /// Trying again would not help.
    Final(String),
    /// The infrastructure failed.
    Passing(WorkError),
}

impl From<CatalogError> for Trouble {
    fn from(error: CatalogError) -> Self {
        Self::Passing(error.into())
    }
}

impl Trouble {
    /// The bytes of `blob` could not be read.
    pub(super) fn reading(blob: &TrustedBlob, error: BlobError) -> Self {
        match error {
            BlobError::Damaged => {
                Self::Final(format!("the bytes of {} are missing or damaged; upload them again", blob.claim.digest))
            }
            error @ (BlobError::Full(_) | BlobError::Unavailable(_)) => Self::Passing(error.into()),
        }
    }
}

/// Finds out what `step` must, outside of any transaction.
pub(super) async fn run(context: &Context, job: &PublishJob, step: StepName) -> Result<Outcome, WorkError> {
    let found = match step {
        StepName::ValidateCatalog => validate::run(context, job).await.map(Outcome::Validated),
        StepName::IncusIndex => match manifest(context, job).await {
            Ok(manifest) => index::run(context, &manifest).await.map(Outcome::Indexed),
            Err(trouble) => Err(trouble),
        },
        StepName::FinalizePublish => Ok(Outcome::Ready),
    };
    match found {
        Ok(outcome) => Ok(outcome),
        Err(Trouble::Final(reason)) => Ok(Outcome::Failed(reason)),
        Err(Trouble::Passing(error)) => Err(error),
    }
}

/// Records what the current step of `job` found out; `Err` of the inner result fails the step for good.
pub(super) async fn record(
    context: &Context,
    tx: &mut dyn CatalogTx,
    job: &PublishJob,
    outcome: &Outcome,
    actor: &Actor,
) -> Result<Result<(), String>, CatalogError> {
    match outcome {
        Outcome::Failed(reason) => Ok(Err(reason.clone())),
        Outcome::Indexed(indexed) => index::record(tx, job.version_id, indexed).await.map(Ok),
        Outcome::Validated(validated) => {
            if let Some(why) = unpublishable(tx, job.version_id).await? {
                return Ok(Err(why.to_string()));
            }
            validate::record(tx, job.version_id, validated).await.map(Ok)
        }
        Outcome::Ready => finalize(context, tx, job, actor).await,
    }
}

async fn finalize(
    context: &Context,
    tx: &mut dyn CatalogTx,
    job: &PublishJob,
    actor: &Actor,
) -> Result<Result<(), String>, CatalogError> {
    if let Some(why) = unpublishable(tx, job.version_id).await? {
        return Ok(Err(why.to_string()));
    }
    let Some(version) = tx.lock_version_by_id(job.version_id).await? else {
        return Ok(Err("the version is gone".to_owned()));
    };
    let (version, event) = match version.publish(tx.now()) {
        Ok(published) => published,
        Err(illegal) => return Ok(Err(illegal.to_string())),
    };
    tx.bump_catalog_revision(version.image_id).await?;
    tx.publish_stream_rows(version.id).await?;
    tx.update_version(&version).await?;
    audit::record(tx, actor, event).await?;
    context.follow_publication(tx, job.id, &version).await?;
    Ok(Ok(()))
}

/// Why the manifest of `version` cannot be published as it stands.
pub(super) async fn unpublishable(
    tx: &mut dyn CatalogTx,
    version: VersionId,
) -> Result<Option<Unpublishable>, CatalogError> {
    if tx.count_artifacts(version).await? == 0 {
        return Ok(Some(Unpublishable::Empty));
    }
    let untrusted = tx.list_untrusted_digests(version).await?;
    Ok((!untrusted.is_empty()).then_some(Unpublishable::Untrusted(untrusted)))
}

/// The frozen manifest that `job` publishes.
pub(super) async fn manifest(context: &Context, job: &PublishJob) -> Result<Manifest, Trouble> {
    let found = context.catalog.get_manifest(&job.image, &job.version, Visibility::All).await?;
    let found = found.filter(|manifest| manifest.version.id == job.version_id);
    found.ok_or_else(|| Trouble::Final("the version is gone".to_owned()))
}
