//! Intakes: a version in one request. Its bytes come as a stream, beneath which is an upload like any other; with the last
//! of them the version is published and the aliases are moved, by the same jobs as everything else.

mod follow;
mod receive;
mod receivers;

pub use receive::{Appended, StreamBody};
pub(crate) use receivers::Receivers;

use crate::{
    audit,
    auth::caller::Writer,
    context::Context,
    error::{Existing, Missing, UseCaseError},
    work::retry::retrying,
};
use imgsrv_domain::{
    digest::{ByteSize, Digest},
    ids::{JobId, UploadId},
    intake::{Intake, IntakeState, MAX_ALIASES, NewIntake},
    ports::Visibility,
    publish::JobState,
    upload::{NewAppendUpload, UploadSession, UploadState},
};
use std::sync::Arc;

/// The use cases of intakes.
#[derive(Clone)]
pub struct Intakes {
    context: Arc<Context>,
    receivers: Arc<Receivers>,
}

/// How far an intake has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntakeStatus {
    /// Its upload.
    pub session: UploadSession,
    /// The intake itself.
    pub intake: Intake,
    /// The state as clients see it: `created`, `uploading`, `ingesting`, `publishing`, `published`, `failed` or `aborted`.
    pub state: &'static str,
    /// Why it failed.
    pub reason: Option<String>,
}

impl IntakeStatus {
    /// The job that publishes its version, if there is one yet.
    pub fn job(&self) -> Option<JobId> {
        self.intake.state.job()
    }
}

impl Intakes {
    pub(crate) const fn new(context: Arc<Context>, receivers: Arc<Receivers>) -> Self {
        Self { context, receivers }
    }

    /// Makes an intake that waits for `size` bytes, of `digest` if that is told.
    pub async fn create(
        &self,
        who: &Writer,
        new: NewIntake,
        size: ByteSize,
        digest: Option<Digest>,
    ) -> Result<Intake, UseCaseError> {
        if new.aliases.len() > MAX_ALIASES {
            return Err(UseCaseError::invalid("aliases", format!("must be at most {MAX_ALIASES}")));
        }
        if new.aliases.iter().any(|alias| alias.as_str() == new.version.as_str()) {
            return Err(UseCaseError::invalid("aliases", "must not be the name of the version"));
        }
        self.context.check_upload_size(size)?;
        self.context.check_free_space(size.get()).await?;
        self.check_names(&new).await?;
        retrying(|| self.create_once(who, &new, size, digest)).await
    }

    /// Refuses names that are taken now; what is taken meanwhile fails the intake in the end.
    async fn check_names(&self, new: &NewIntake) -> Result<(), UseCaseError> {
        let catalog = &self.context.catalog;
        let taken = |existing| UseCaseError::ref_name_taken(Some(existing));
        if let Some(found) = catalog.get_manifest(&new.image, &new.version, Visibility::All).await? {
            return Err(taken(Existing::Version(found.version.id, new.image.clone(), new.version.clone())));
        }
        if let Ok(alias) = new.version.as_str().parse()
            && let Some(found) = catalog.get_alias(&new.image, &alias).await?
        {
            return Err(taken(Existing::Alias(found.id, new.image.clone(), alias)));
        }
        for alias in &new.aliases {
            let Ok(version) = alias.as_str().parse() else { continue };
            if let Some(found) = catalog.get_manifest(&new.image, &version, Visibility::All).await? {
                return Err(taken(Existing::Version(found.version.id, new.image.clone(), version)));
            }
        }
        Ok(())
    }

    async fn create_once(
        &self,
        who: &Writer,
        new: &NewIntake,
        size: ByteSize,
        digest: Option<Digest>,
    ) -> Result<Intake, UseCaseError> {
        let context = &self.context;
        let id = UploadId::new(context.ids.next());
        let mut tx = context.catalog.begin().await?;
        if let Some(digest) = digest
            && let Some(blob) = tx.get_blob(&digest).await?.filter(|blob| blob.claim.size != size)
        {
            return Err(UseCaseError::OtherSize { digest, size: blob.claim.size });
        }
        context.check_admission(&mut *tx, size).await?;
        let now = tx.now();
        let stream = NewAppendUpload { size, digest, media_type_hint: Some(new.media_type.clone()) };
        let (session, event) = UploadSession::open_append(id, who.id(), stream, now, context.settings.upload_ttl);
        let intake = Intake::open(id, who.id(), new.clone(), now);
        tx.insert_upload(&session).await?;
        tx.insert_intake(&intake).await?;
        audit::record(&mut *tx, who.actor(), event).await?;
        tx.commit().await?;
        Ok(intake)
    }

    /// How far an intake of the caller's has come.
    pub async fn get(&self, who: &Writer, id: UploadId) -> Result<IntakeStatus, UseCaseError> {
        let catalog = &self.context.catalog;
        let missing = || UseCaseError::NotFound(Missing::Upload);
        let session = catalog.get_upload(id).await?.filter(|session| session.created_by == who.id());
        let session = session.ok_or_else(missing)?;
        // Read after its session: what followed from that is in it.
        let intake = catalog.get_intake(id).await?.ok_or_else(missing)?;
        let (state, reason) = match &intake.state {
            IntakeState::Published(_) => ("published", None),
            IntakeState::Failed { .. } if matches!(session.state, UploadState::Aborted { .. }) => ("aborted", None),
            IntakeState::Failed { reason, .. } => ("failed", Some(reason.clone())),
            IntakeState::Publishing(job) => match catalog.get_job(*job).await?.map(|report| report.job) {
                Some(job) if matches!(job.state, JobState::Failed | JobState::Abandoned) => {
                    ("failed", Some(follow::why_unpublished(&job)))
                }
                _ => ("publishing", None),
            },
            IntakeState::Receiving => match &session.state {
                // Nobody has swept it up yet.
                UploadState::Receiving(_) if session.expires_at <= self.context.clock.now() => ("aborted", None),
                UploadState::Receiving(_) => (session.state.name(), None),
                UploadState::Completed { .. } | UploadState::Ingesting { .. } | UploadState::Ready(_) => {
                    ("ingesting", None)
                }
                UploadState::Failed { reason, .. } => ("failed", Some(reason.clone())),
                UploadState::Aborted { .. } => ("aborted", None),
            },
        };
        Ok(IntakeStatus { session, intake, state, reason })
    }
}
