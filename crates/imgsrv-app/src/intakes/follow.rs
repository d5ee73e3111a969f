//! What follows for an intake: the version, once its bytes are trusted; the aliases, once that is published.

use crate::{
    audit,
    content::{
        aliases,
        drafts::{self, NewArtifact},
    },
    context::Context,
    work::{retry::retrying, runtime::WorkError},
};
use imgsrv_domain::{
    audit::{Actor, AuditAction, Event},
    digest::BlobClaim,
    ids::{ImageId, JobId, UploadId, VersionId},
    image::Image,
    intake::{Intake, IntakeState, NewIntake},
    ports::{CatalogError, CatalogTx, Conflict},
    publish::{JobState, PublishJob},
    transition::Revision,
    upload::{UploadKind, UploadSession, UploadState},
    version::Version,
};

/// Intakes that are looked after at once.
const BATCH: u16 = 50;

impl Context {
    /// In the transaction in which an upload has ended: what follows for its intake, if it has one. Says whether a job was
    /// queued.
    pub(crate) async fn follow_upload(
        &self,
        tx: &mut dyn CatalogTx,
        session: &UploadSession,
    ) -> Result<bool, CatalogError> {
        if session.declared().kind() != UploadKind::Append {
            return Ok(false);
        }
        let Some(intake) = tx.lock_intake(session.id).await? else { return Ok(false) };
        if intake.state != IntakeState::Receiving {
            return Ok(false);
        }
        let now = tx.now();
        let next = match &session.state {
            UploadState::Ready(claim) => match self.freeze(tx, session, claim.blob(), &intake.wanted).await? {
                Ok(job) => intake.publish(job, now),
                Err(reason) => intake.fail(reason, now),
            },
            UploadState::Failed { reason, .. } => intake.fail(reason.clone(), now),
            UploadState::Aborted { .. } => intake.fail("the upload was aborted".to_owned(), now),
            UploadState::Receiving(_) | UploadState::Completed { .. } | UploadState::Ingesting { .. } => {
                return Ok(false);
            }
        };
        let Ok(next) = next else { return Ok(false) };
        if let IntakeState::Failed { reason, .. } = &next.state {
            tracing::warn!(upload.id = %session.id, reason, "an intake failed");
        }
        tx.update_intake(&next).await?;
        Ok(matches!(next.state, IntakeState::Publishing(_)))
    }

    /// Makes the image, if it is not there, and the version with its one artifact, and queues the job that publishes it.
    /// `Err` of the inner result says why that cannot be.
    async fn freeze(
        &self,
        tx: &mut dyn CatalogTx,
        session: &UploadSession,
        primary: BlobClaim,
        wanted: &NewIntake,
    ) -> Result<Result<JobId, String>, CatalogError> {
        let now = tx.now();
        let actor = Actor::Principal { id: session.created_by, request_id: None, address: None };
        let image = match tx.lock_image(&wanted.image).await? {
            Some(image) => image,
            None => {
                let image = Image {
                    id: ImageId::new(self.ids.next()),
                    name: wanted.image.clone(),
                    display_name: None,
                    description: None,
                    created_at: now,
                    updated_at: now,
                    revision: Revision::FIRST,
                };
                again(tx.insert_image(&image).await)?;
                audit::record(tx, &actor, Event::new(AuditAction::ImageCreated, &image.name)).await?;
                image
            }
        };
        let is_taken = tx.lock_version(&image.name, &wanted.version).await?.is_some();
        let alias = wanted.version.as_str().parse().ok();
        let is_alias = match alias {
            Some(alias) => tx.lock_alias(image.id, &alias).await?.is_some(),
            None => false,
        };
        if is_taken || is_alias {
            let what = if is_alias { "an alias" } else { "a version" };
            return Ok(Err(format!("{} has {what} of the name {} by now", image.name, wanted.version)));
        }
        let id = VersionId::new(self.ids.next());
        let (version, event) = Version::draft(id, image.id, image.name, wanted.version.clone(), now);
        again(tx.insert_version(&version).await)?;
        audit::record(tx, &actor, event).await?;
        let artifact = NewArtifact {
            variant: wanted.variant.clone(),
            operating_system: wanted.operating_system.clone(),
            architecture: wanted.architecture.clone(),
            format: wanted.format,
            primary,
            media_type: wanted.media_type.clone(),
        };
        drafts::insert_artifact(self, tx, &actor, &version, artifact).await?;
        let Ok((version, event)) = version.freeze(now) else { return Ok(Err("it is no draft".to_owned())) };
        let job = PublishJob::enqueue(JobId::new(self.ids.next()), &version, now);
        tx.update_version(&version).await?;
        tx.insert_job(&job).await?;
        audit::record(tx, &actor, event.with(job.id)).await?;
        Ok(Ok(job.id))
    }

    /// In the transaction in which `version` is published: its aliases, if an intake wants some.
    pub(crate) async fn follow_publication(
        &self,
        tx: &mut dyn CatalogTx,
        job: JobId,
        version: &Version,
    ) -> Result<(), CatalogError> {
        let Some(intake) = tx.lock_intake_of_job(job).await? else { return Ok(()) };
        let actor = Actor::Principal { id: intake.created_by, request_id: None, address: None };
        let mut missed = Vec::new();
        for alias in &intake.wanted.aliases {
            let is_taken = match alias.as_str().parse() {
                Ok(name) => tx.lock_version(&version.image, &name).await?.is_some(),
                Err(_) => false,
            };
            if is_taken {
                missed.push(alias.as_str());
                continue;
            }
            again(aliases::point(self, tx, alias, version).await)?;
            let event = Event::new(AuditAction::AliasSet, format!("{}/{alias}", version.image)).with(&version.name);
            audit::record(tx, &actor, event).await?;
        }
        let now = tx.now();
        let next = if missed.is_empty() {
            intake.finish(now)
        } else {
            let names = missed.join(", ");
            intake.fail(format!("it is published, but these aliases are names of versions by now: {names}"), now)
        };
        match next {
            Ok(next) => tx.update_intake(&next).await,
            Err(_) => Ok(()),
        }
    }

    /// Looks after intakes that wait for what has happened already: a node of an earlier version made it happen.
    pub(crate) async fn follow_stranded(&self) -> Result<usize, WorkError> {
        let stranded = {
            let mut tx = self.catalog.begin().await?;
            tx.list_stranded_intakes(BATCH).await?
        };
        for id in &stranded {
            let queued = retrying(|| self.follow_one(*id)).await?;
            if queued {
                self.wakeups.publish.notify_one();
            }
        }
        Ok(stranded.len())
    }

    async fn follow_one(&self, id: UploadId) -> Result<bool, CatalogError> {
        let mut tx = self.catalog.begin().await?;
        let Some(session) = tx.lock_upload(id).await? else { return Ok(false) };
        let Some(intake) = tx.lock_intake(id).await? else { return Ok(false) };
        let mut queued = false;
        match &intake.state {
            IntakeState::Receiving => queued = self.follow_upload(&mut *tx, &session).await?,
            IntakeState::Publishing(job) => self.follow_job(&mut *tx, intake.clone(), *job).await?,
            IntakeState::Published(_) | IntakeState::Failed { .. } => {}
        }
        tx.commit().await?;
        Ok(queued)
    }

    async fn follow_job(&self, tx: &mut dyn CatalogTx, intake: Intake, job: JobId) -> Result<(), CatalogError> {
        let Some(job) = tx.lock_job(job).await? else { return Ok(()) };
        match job.state {
            JobState::Succeeded => {
                let Some(version) = tx.lock_version_by_id(job.version_id).await? else { return Ok(()) };
                tx.bump_catalog_revision(version.image_id).await?;
                self.follow_publication(tx, job.id, &version).await
            }
            JobState::Abandoned => match intake.fail(why_unpublished(&job), tx.now()) {
                Ok(failed) => tx.update_intake(&failed).await,
                Err(_) => Ok(()),
            },
            JobState::Queued(_) | JobState::Running(_) | JobState::Failed => Ok(()),
        }
    }
}

/// Why a job that has failed, or was abandoned then, has not published.
pub(super) fn why_unpublished(job: &PublishJob) -> String {
    let reason = job.failed_step().and_then(|step| step.state.reason()).unwrap_or("the publish job failed");
    match job.state {
        JobState::Abandoned => format!("{reason}; the publish job was abandoned"),
        JobState::Queued(_) | JobState::Running(_) | JobState::Succeeded | JobState::Failed => reason.to_owned(),
    }
}

/// A name that was taken between looking and writing: a fresh transaction sees it, and says so.
fn again<T>(written: Result<T, CatalogError>) -> Result<T, CatalogError> {
    written.map_err(|error| match error {
        CatalogError::Conflict(Conflict::ImageName | Conflict::RefName) => {
            CatalogError::Conflict(Conflict::StaleRevision)
        }
        error => error,
    })
}
