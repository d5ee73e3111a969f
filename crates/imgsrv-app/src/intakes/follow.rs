//! The later stages of an intake: its version when its bytes are trusted, and its aliases when the version is published.

use crate::{
    audit,
    content::{
        aliases,
        drafts::{self, NewArtifact},
        images::{self, NewImage},
    },
    context::Context,
    error::blocked_upload,
    publishing::queue::queue,
    work::queued::Queued,
};
use imgsrv_domain::{
    access::{Action, Claimed, Grants, ImageScope, Rights, Sender, Target},
    audit::{Actor, AuditAction, Event},
    claims::Binding,
    digest::BlobClaim,
    ids::{JobId, VersionId},
    intake::{Intake, IntakeState, NewIntake},
    names::ImageName,
    ports::{CatalogError, CatalogTx, Conflict},
    publish::{JobState, PublishJob},
    upload::{UploadKind, UploadSession, UploadState},
    version::Version,
};

/// Continues the intake of an upload, if it has one, in the transaction in which the upload becomes ready. Returns the publish
/// job that was queued for it.
pub(crate) async fn upload_ready(
    context: &Context,
    tx: &mut dyn CatalogTx,
    session: &UploadSession,
) -> Result<Option<Queued>, CatalogError> {
    let Some(intake) = receiving(tx, session).await? else { return Ok(None) };
    let UploadState::Ready(claim) = &session.state else { return Ok(None) };
    match freeze(context, tx, claim.blob(), &session.created_by, &intake).await? {
        Ok((job, queued)) => {
            if let Ok(publishing) = intake.publish(job, tx.now()) {
                tx.update_intake(&publishing).await?;
            }
            Ok(Some(queued))
        }
        Err(reason) => fail(tx, intake, reason).await.map(|()| None),
    }
}

/// Fails the intake of an upload, if it has one, in the transaction in which the upload ends without becoming ready.
pub(crate) async fn upload_failed(tx: &mut dyn CatalogTx, session: &UploadSession) -> Result<(), CatalogError> {
    let reason = match &session.state {
        UploadState::Failed { reason, .. } => reason.clone(),
        UploadState::Aborted { .. } => "the upload was aborted".to_owned(),
        UploadState::Ready(_) | UploadState::Receiving(_) | UploadState::Completed(_) | UploadState::Ingesting(_) => {
            return Ok(());
        }
    };
    match receiving(tx, session).await? {
        Some(intake) => fail(tx, intake, reason).await,
        None => Ok(()),
    }
}

/// The intake of an upload, locked, if its bytes were still expected.
async fn receiving(tx: &mut dyn CatalogTx, session: &UploadSession) -> Result<Option<Intake>, CatalogError> {
    if session.declared().kind() != UploadKind::Append {
        return Ok(None);
    }
    Ok(tx.lock_intake(session.id).await?.filter(|intake| intake.state == IntakeState::Receiving))
}

async fn fail(tx: &mut dyn CatalogTx, intake: Intake, reason: String) -> Result<(), CatalogError> {
    let upload = intake.id;
    match intake.fail(reason.clone(), tx.now()) {
        Ok(failed) => {
            tracing::warn!(upload.id = %upload, reason, "intake failed");
            tx.update_intake(&failed).await
        }
        Err(_) => Ok(()),
    }
}

/// Creates the image, if it does not exist, and the version with its one artifact, and queues the job that publishes it.
/// `Err` of the inner result is why that is impossible.
async fn freeze(
    context: &Context,
    tx: &mut dyn CatalogTx,
    primary: BlobClaim,
    sender: &Sender,
    intake: &Intake,
) -> Result<Result<(JobId, Queued), String>, CatalogError> {
    let (now, wanted) = (tx.now(), &intake.wanted);
    let (actor, permit) = creator(tx, intake).await?;
    let Some(Permit { binding }) = permit else { return Ok(Err(may_not_write(&wanted.image))) };
    let image = match tx.lock_image(&wanted.image).await? {
        Some(image) => image,
        None => {
            let new = NewImage { name: wanted.image.clone(), display_name: None, description: None, visibility: None };
            retry_if_taken(images::insert_image(context, tx, &actor, new, binding.as_ref()).await)?
        }
    };
    let is_taken = tx.lock_version(&image.name, &wanted.version).await?.is_some();
    let is_alias = match wanted.version.as_str().parse() {
        Ok(alias) => tx.lock_alias(image.id, &alias).await?.is_some(),
        Err(_) => false,
    };
    if is_taken || is_alias {
        let what = if is_alias { "an alias" } else { "a version" };
        return Ok(Err(format!("{} already has {what} named {}", image.name, wanted.version)));
    }
    if tx.get_blocked_digest(&primary.digest, Some(&wanted.image)).await?.is_some() {
        return Ok(Err(blocked_upload(&primary.digest)));
    }
    let id = VersionId::new(context.ids.next());
    let (version, event) = Version::draft(id, image.id, image.name, wanted.version.clone(), now);
    retry_if_taken(tx.insert_version(&version).await)?;
    audit::record(tx, &actor, event).await?;
    let NewIntake { variant, operating_system, architecture, format, media_type, .. } = wanted.clone();
    let artifact = NewArtifact { variant, operating_system, architecture, format, primary, media_type };
    drafts::insert_artifact(context, tx, &actor, &version, artifact).await?;
    tx.record_citation(version.id, &primary.digest, sender).await?;
    let Ok((version, event)) = version.freeze(now) else { return Ok(Err("the version is not a draft".to_owned())) };
    let job = PublishJob::enqueue(JobId::new(context.ids.next()), &version, now);
    let id = job.id;
    let queued = queue(context, tx, job).await?;
    tx.update_version(&version).await?;
    audit::record(tx, &actor, event.with(id)).await?;
    Ok(Ok((id, queued)))
}

/// The creator of an intake may still write to its image.
struct Permit {
    /// What the image is bound to if it does not exist yet.
    binding: Option<Binding>,
}

/// The principal that an intake acts for, with its present name, and whether it may still write to the image: by the roles
/// that it has now, or by the rule that admitted its token, as that is now.
async fn creator(tx: &mut dyn CatalogTx, intake: &Intake) -> Result<(Actor, Option<Permit>), CatalogError> {
    let (id, image) = (intake.created_by, &intake.wanted.image);
    let principal = tx.get_principal(id).await?;
    let permit = match principal.as_ref().filter(|principal| principal.is_active()) {
        Some(principal) if Rights::of(principal.grants.clone()).allow(Action::ContentWrite, Target::Image(image)) => {
            Some(Permit { binding: None })
        }
        Some(_) => permit_by_rule(tx, intake).await?,
        None => None,
    };
    let name = principal.map(|principal| principal.display_name);
    Ok((Actor::Principal { id, name, request_id: None, address: None }, permit))
}

async fn permit_by_rule(tx: &mut dyn CatalogTx, intake: &Intake) -> Result<Option<Permit>, CatalogError> {
    let (image, Some(admitted_by)) = (&intake.wanted.image, &intake.admitted_by) else { return Ok(None) };
    let Some(rule) = tx.get_granting_rule(&admitted_by.rule, intake.created_by).await? else { return Ok(None) };
    let mut grants = Grants::default();
    grants.add(rule.terms.role, ImageScope::without_claims(&rule.terms));
    let rights = Rights { claimed: Claimed::new(&rule, admitted_by.claims.clone()), ..Rights::of(grants) };
    let existing = tx.get_binding(image).await?;
    Ok(rights.creates(Action::ContentWrite, image, existing).map(|binding| Permit { binding }))
}

fn may_not_write(image: &ImageName) -> String {
    format!("the principal that sent it may no longer write to the image {image}")
}

/// Sets the aliases of the intake that publishes `version`, in the transaction in which that is published. The intake, the
/// image and the version are locked.
pub(crate) async fn version_published(
    context: &Context,
    tx: &mut dyn CatalogTx,
    intake: Intake,
    version: &Version,
) -> Result<(), CatalogError> {
    let (actor, permit) = creator(tx, &intake).await?;
    if permit.is_none() {
        // The version was published on its behalf before; its aliases stay where they are.
        let failed = intake.fail(may_not_write(&version.image), tx.now());
        return match failed {
            Ok(failed) => tx.update_intake(&failed).await,
            Err(_) => Ok(()),
        };
    }
    let (mut free, mut missed) = (Vec::new(), Vec::new());
    // Versions are locked before aliases.
    for alias in &intake.wanted.aliases {
        let is_taken = match alias.as_str().parse() {
            Ok(name) => tx.lock_version(&version.image, &name).await?.is_some(),
            Err(_) => false,
        };
        if is_taken {
            missed.push(alias.as_str());
        } else {
            free.push(alias);
        }
    }
    for alias in free {
        retry_if_taken(aliases::point(context, tx, alias, version).await)?;
        let event = Event::new(AuditAction::AliasSet, format!("{}/{alias}", version.image)).with(&version.name);
        audit::record(tx, &actor, event).await?;
    }
    let now = tx.now();
    let next = if missed.is_empty() {
        intake.finish(now)
    } else {
        let names = missed.join(", ");
        intake.fail(format!("the version is published, but versions have the names of these aliases: {names}"), now)
    };
    match next {
        Ok(next) => tx.update_intake(&next).await,
        Err(_) => Ok(()),
    }
}

/// Fails the intake that an abandoned job publishes, if there is one, in the transaction in which the job is abandoned.
pub(crate) async fn job_abandoned(tx: &mut dyn CatalogTx, job: &PublishJob) -> Result<(), CatalogError> {
    let Some(intake) = tx.lock_intake_of_job(job.id).await? else { return Ok(()) };
    match intake.fail(why_unpublished(job), tx.now()) {
        Ok(failed) => tx.update_intake(&failed).await,
        Err(_) => Ok(()),
    }
}

/// Why a job that has failed, or was abandoned after that, has not published.
pub(super) fn why_unpublished(job: &PublishJob) -> String {
    let reason = job.failed_step().and_then(|step| step.state.reason()).unwrap_or("the publish job failed");
    match job.state {
        JobState::Abandoned => format!("{reason}; the publish job was abandoned"),
        JobState::Queued | JobState::Running | JobState::Succeeded | JobState::Failed => reason.to_owned(),
    }
}

/// Makes a conflict with a name that was taken after it was looked up transient: a fresh transaction reports it.
fn retry_if_taken<T>(written: Result<T, CatalogError>) -> Result<T, CatalogError> {
    written.map_err(|error| match error {
        CatalogError::Conflict(Conflict::ImageName | Conflict::RefName) => {
            CatalogError::Conflict(Conflict::StaleRevision)
        }
        error => error,
    })
}
