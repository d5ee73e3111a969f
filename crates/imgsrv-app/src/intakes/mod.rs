//! Intakes: creating a version in one request. Its bytes arrive in an append upload; when that is complete, the version is
//! published and its aliases are moved, by the same workers as all others.

mod active;
mod append;
pub(crate) mod follow;
mod pieces;

pub(crate) use active::ActiveAppends;
pub use append::{AppendBody, Appended};

use crate::{
    audit,
    auth::caller::Writer,
    bytes::{
        admission::{check_free_space, check_quota, check_size},
        blocks::require_unblocked,
        uploads::is_own,
    },
    context::Context,
    error::{Existing, Missing, Result, UseCaseError},
    work::retry::retrying,
};
use imgsrv_domain::{
    claims::Binding,
    digest::{ByteSize, Digest},
    ids::UploadId,
    intake::{Intake, IntakeState, MAX_ALIASES, NewIntake},
    ports::{Conflict, View},
    publish::JobState,
    upload::{IdempotencyKey, NewAppendUpload, UploadSession, UploadState},
};
use std::sync::Arc;

/// The use cases of intakes.
#[derive(Clone)]
pub struct Intakes {
    pub(crate) context: Arc<Context>,
    pub(crate) active: Arc<ActiveAppends>,
}

/// The status of an intake.
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

impl Intakes {
    /// Creates an intake that waits for `size` bytes, which must have `digest` if one is given.
    ///
    /// With a key, the same request by the same caller creates no further intake but finds the one that the first created,
    /// in whatever state it is by then. This holds for concurrent requests as well.
    #[tracing::instrument(name = "intake.create", level = "debug", skip_all, err(level = "debug"),
        fields(image.name = %new.image, version.name = %new.version))]
    pub async fn create(
        &self,
        who: &Writer,
        new: NewIntake,
        size: ByteSize,
        digest: Option<Digest>,
        key: Option<&IdempotencyKey>,
    ) -> Result<Intake> {
        let (actor, _) = who.creates(&self.context, &new.image).await?;
        if new.aliases.len() > MAX_ALIASES {
            return Err(UseCaseError::invalid("aliases", format!("must have at most {MAX_ALIASES} entries")));
        }
        if new.aliases.iter().any(|alias| alias.as_str() == new.version.as_str()) {
            return Err(UseCaseError::invalid("aliases", "must not contain the name of the version"));
        }
        check_size(&self.context, size)?;
        let context = &self.context;
        let upload = NewAppendUpload { size, digest, media_type_hint: Some(new.media_type.clone()) };
        retrying(|| async {
            let (id, upload) = (UploadId::new(context.ids.next()), upload.clone());
            let free = check_free_space(context, size.get()).await;
            let names = self.check_names(&new).await;
            let mut tx = context.catalog.begin().await?;
            if let Some(key) = key
                && let Some(opened) = tx.get_upload_by_key(who.id(), key).await?
            {
                let intake = tx.lock_intake(opened.id).await?;
                let is_same = |intake: &Intake| opened.was_opened_to_append(&upload) && intake.wanted == new;
                let intake = intake.filter(|intake| is_own(who, &opened) && is_same(intake));
                return intake.ok_or_else(|| UseCaseError::KeyReused(key.clone()));
            }
            // Only now: the intake that a repeated request finds may have taken the names.
            names?;
            free?;
            if let Some(digest) = digest {
                match who.reuse_blob(&mut *tx, &digest).await? {
                    Some(blob) if blob.claim.size != size => {
                        return Err(UseCaseError::OtherSize { digest, size: blob.claim.size });
                    }
                    Some(_) | None => {}
                }
                require_unblocked(&mut *tx, who, &digest, Some(&new.image)).await?;
            }
            check_quota(context, &mut *tx, who.id(), size).await?;
            let now = tx.now();
            let (session, event) =
                UploadSession::open_append(id, who.sender().clone(), upload, now, context.settings.upload_ttl);
            let intake = Intake::open(id, who.id(), who.admitted_by().cloned(), new.clone(), now);
            tx.insert_upload(&session, key).await?;
            tx.insert_intake(&intake).await?;
            audit::commit(tx, actor, event).await?;
            Ok(intake)
        })
        .await
    }

    /// Refuses names that are taken now; a name that is taken later fails the intake.
    async fn check_names(&self, new: &NewIntake) -> Result<()> {
        let catalog = &self.context.catalog;
        let taken = |existing| UseCaseError::taken(Conflict::RefName, Some(existing));
        if let Some(found) = catalog.resolve_version(&new.image, &new.version, View::All).await? {
            return Err(taken(Existing::Version(found.version.id, new.image.clone(), new.version.clone())));
        }
        if let Ok(alias) = new.version.as_str().parse()
            && let Some(found) = catalog.get_alias(&new.image, &alias, View::All).await?
        {
            return Err(taken(Existing::Alias(found.id, new.image.clone(), alias)));
        }
        for alias in &new.aliases {
            let Ok(version) = alias.as_str().parse() else { continue };
            if let Some(found) = catalog.resolve_version(&new.image, &version, View::All).await? {
                return Err(taken(Existing::Version(found.version.id, new.image.clone(), version)));
            }
        }
        Ok(())
    }

    /// The status of an intake of the caller, if it may write to the image.
    #[tracing::instrument(name = "intake.get", level = "debug", skip_all, fields(upload.id = %id), err(level = "debug"))]
    pub async fn get(&self, who: &Writer, id: UploadId) -> Result<IntakeStatus> {
        let catalog = &self.context.catalog;
        let session = catalog.get_upload(id).await?.filter(|session| is_own(who, session));
        let session = session.ok_or(Missing::Upload(id))?;
        // After its upload, so that it includes what the end of the upload has changed.
        let intake = catalog.get_intake(id).await?.ok_or(Missing::Upload(id))?;
        // Its image may not exist yet. Repositories can have one principal, if their tokens have one subject.
        let binding = who.binding_of_new(&self.context, &intake.wanted.image).await?.ok_or(Missing::Upload(id))?;
        let is_own = |own: &Binding, opened: &Binding| own.rule == opened.rule && opened.claims.agree_with(&own.claims);
        if let (Some(own), Some(opened)) = (&binding, &intake.admitted_by)
            && !is_own(own, opened)
        {
            return Err(Missing::Upload(id).into());
        }
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
                // Expired, but not swept yet.
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
