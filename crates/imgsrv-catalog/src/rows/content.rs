//! Rows of images, versions, manifests, aliases, blobs and publish jobs.

use crate::rows::{Corrupt, SqlTime, WorkColumns, convert, parse, parse_optional};
use imgsrv_domain::{
    digest::BlobClaim,
    ids::{AliasId, ArtifactId, AttachmentId, ImageId, JobId, VersionId},
    image::{Alias, Image},
    manifest::{Artifact, Attachment, Untrusted},
    ports::{BlobName, PublishedFile, TrustedBlob},
    publish::{JobRecord, JobState, PublishJob, Step, StepState},
    transition::Revision,
    version::{Version, VersionRecord, VersionState},
};
use uuid::Uuid;

/// A row of `images`.
#[derive(Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "columns")]
pub struct ImageRow {
    pub id: Uuid,
    pub name: String,
    pub display_name: Option<String>,
    pub description: Option<String>,
    pub created_at: SqlTime,
    pub updated_at: SqlTime,
    pub revision: i64,
}

impl TryFrom<ImageRow> for Image {
    type Error = Corrupt;

    fn try_from(row: ImageRow) -> Result<Self, Corrupt> {
        Ok(Self {
            id: ImageId::new(row.id),
            name: parse("image", &row.name)?,
            display_name: parse_optional("image", row.display_name.as_deref())?,
            description: parse_optional("image", row.description.as_deref())?,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            revision: Revision::new(row.revision),
        })
    }
}

/// A row of `versions` with the name of its image.
#[derive(Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "columns")]
pub struct VersionRow {
    pub id: Uuid,
    pub image_id: Uuid,
    pub image_name: String,
    pub name: String,
    pub state: String,
    pub published_at: Option<SqlTime>,
    pub created_at: SqlTime,
    pub updated_at: SqlTime,
    pub revision: i64,
}

impl TryFrom<VersionRow> for Version {
    type Error = Corrupt;

    fn try_from(row: VersionRow) -> Result<Self, Corrupt> {
        let state = match (row.state.as_str(), row.published_at) {
            ("draft", None) => VersionState::Draft,
            ("publishing", None) => VersionState::Publishing,
            ("published", Some(at)) => VersionState::Published { at: at.into() },
            _ => return Err(Corrupt::new("version", "its state and publication time disagree")),
        };
        Ok(Self::restore(VersionRecord {
            id: VersionId::new(row.id),
            image_id: ImageId::new(row.image_id),
            image: parse("version", &row.image_name)?,
            name: parse("version", &row.name)?,
            state,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            revision: Revision::new(row.revision),
        }))
    }
}

/// A row of `artifacts`.
#[derive(Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "columns")]
pub struct ArtifactRow {
    pub id: Uuid,
    pub version_id: Uuid,
    pub operating_system: String,
    pub architecture: String,
    pub variant: String,
    pub format: String,
    pub primary_blob_digest: String,
    pub primary_blob_size_bytes: i64,
    pub primary_media_type: String,
    pub created_at: SqlTime,
}

impl TryFrom<ArtifactRow> for Artifact {
    type Error = Corrupt;

    fn try_from(row: ArtifactRow) -> Result<Self, Corrupt> {
        Ok(Self {
            id: ArtifactId::new(row.id),
            version_id: VersionId::new(row.version_id),
            variant: parse("artifact", &row.variant)?,
            operating_system: parse("artifact", &row.operating_system)?,
            architecture: parse("artifact", &row.architecture)?,
            format: parse("artifact", &row.format)?,
            primary: claim("artifact", &row.primary_blob_digest, row.primary_blob_size_bytes)?,
            media_type: parse("artifact", &row.primary_media_type)?,
            created_at: row.created_at.into(),
        })
    }
}

/// A row of `attachments`.
#[derive(Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "columns")]
pub struct AttachmentRow {
    pub id: Uuid,
    pub artifact_id: Uuid,
    pub name: String,
    pub media_type: String,
    pub blob_digest: String,
    pub blob_size_bytes: i64,
    pub created_at: SqlTime,
}

impl TryFrom<AttachmentRow> for Attachment {
    type Error = Corrupt;

    fn try_from(row: AttachmentRow) -> Result<Self, Corrupt> {
        Ok(Self {
            id: AttachmentId::new(row.id),
            artifact_id: ArtifactId::new(row.artifact_id),
            name: parse("attachment", &row.name)?,
            media_type: parse("attachment", &row.media_type)?,
            blob: claim("attachment", &row.blob_digest, row.blob_size_bytes)?,
            created_at: row.created_at.into(),
        })
    }
}

/// A row of `aliases` with the name of its version.
#[derive(Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "columns")]
pub struct AliasRow {
    pub id: Uuid,
    pub image_id: Uuid,
    pub name: String,
    pub version_id: Uuid,
    pub version_name: String,
    pub created_at: SqlTime,
    pub updated_at: SqlTime,
    pub revision: i64,
}

impl TryFrom<AliasRow> for Alias {
    type Error = Corrupt;

    fn try_from(row: AliasRow) -> Result<Self, Corrupt> {
        Ok(Self {
            id: AliasId::new(row.id),
            image_id: ImageId::new(row.image_id),
            name: parse("alias", &row.name)?,
            version_id: VersionId::new(row.version_id),
            version: parse("alias", &row.version_name)?,
            created_at: row.created_at.into(),
            updated_at: row.updated_at.into(),
            revision: Revision::new(row.revision),
        })
    }
}

/// A row of `blobs`.
#[derive(Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "columns")]
pub struct BlobRow {
    pub digest: String,
    pub size_bytes: i64,
    pub storage_name: String,
    pub created_at: SqlTime,
}

impl TryFrom<BlobRow> for TrustedBlob {
    type Error = Corrupt;

    fn try_from(row: BlobRow) -> Result<Self, Corrupt> {
        Ok(Self {
            claim: claim("blob", &row.digest, row.size_bytes)?,
            name: BlobName::restore(row.storage_name),
            created_at: row.created_at.into(),
        })
    }
}

/// What serving an artifact or one of its attachments needs.
#[derive(Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "columns")]
pub struct PublishedFileRow {
    #[sqlx(flatten)]
    pub artifact: ArtifactRow,
    pub digest: String,
    pub size_bytes: i64,
    pub storage_name: String,
    pub media_type: String,
    pub published_at: SqlTime,
    pub attachment_name: Option<String>,
}

impl TryFrom<PublishedFileRow> for PublishedFile {
    type Error = Corrupt;

    fn try_from(row: PublishedFileRow) -> Result<Self, Corrupt> {
        Ok(Self {
            claim: claim("blob", &row.digest, row.size_bytes)?,
            name: BlobName::restore(row.storage_name),
            media_type: parse("artifact", &row.media_type)?,
            published_at: row.published_at.into(),
            artifact: row.artifact.try_into()?,
            attachment: parse_optional("attachment", row.attachment_name.as_deref())?,
        })
    }
}

/// A row of `publish_jobs`.
#[derive(Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "columns")]
pub struct JobRow {
    pub id: Uuid,
    pub version_id: Uuid,
    pub image_name: String,
    pub version_name: String,
    pub state: String,
    #[sqlx(flatten)]
    pub work: WorkColumns,
    pub created_at: SqlTime,
    pub updated_at: SqlTime,
    pub started_at: Option<SqlTime>,
    pub finished_at: Option<SqlTime>,
    pub revision: i64,
}

impl JobRow {
    /// The job, given the rows of its steps in order.
    pub fn with_steps(self, steps: Vec<StepRow>) -> Result<PublishJob, Corrupt> {
        let state = match self.state.as_str() {
            "queued" => JobState::Queued(self.work.queued()?),
            "running" => JobState::Running(self.work.running()?),
            "succeeded" => JobState::Succeeded,
            "failed" => JobState::Failed,
            "abandoned" => JobState::Abandoned,
            _ => return Err(Corrupt::new("publish job", "unknown state")),
        };
        let job = PublishJob::restore(JobRecord {
            id: JobId::new(self.id),
            version_id: VersionId::new(self.version_id),
            image: parse("publish job", &self.image_name)?,
            version: parse("publish job", &self.version_name)?,
            state,
            steps: steps.into_iter().map(Step::try_from).collect::<Result<_, _>>()?,
            created_at: self.created_at.into(),
            updated_at: self.updated_at.into(),
            started_at: self.started_at.map(Into::into),
            revision: Revision::new(self.revision),
        });
        let job = job.map_err(|why| Corrupt::new("publish job", why))?;
        if job.finished_at() == self.finished_at.map(Into::into) {
            Ok(job)
        } else {
            Err(Corrupt::new("publish job", "it did not finish with its last step"))
        }
    }
}

/// A row of `publish_steps`.
#[derive(Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "columns")]
pub struct StepRow {
    pub name: String,
    pub state: String,
    pub reason: Option<String>,
    pub attempts: i64,
    pub started_at: Option<SqlTime>,
    pub finished_at: Option<SqlTime>,
}

impl TryFrom<StepRow> for Step {
    type Error = Corrupt;

    fn try_from(row: StepRow) -> Result<Self, Corrupt> {
        let (started_at, finished_at) = (row.started_at.map(Into::into), row.finished_at.map(Into::into));
        let state = match (row.state.as_str(), started_at, finished_at, row.reason) {
            ("queued", started_at, None, None) => StepState::Queued { started_at },
            ("running", Some(started_at), None, None) => StepState::Running { started_at },
            ("succeeded", Some(started_at), Some(finished_at), None) => {
                StepState::Succeeded { started_at, finished_at }
            }
            ("failed", Some(started_at), Some(finished_at), Some(reason)) => {
                StepState::Failed { started_at, finished_at, reason }
            }
            _ => return Err(Corrupt::new("publish step", "its state, times and reason disagree")),
        };
        Ok(Self { name: parse("publish step", &row.name)?, state, attempts: convert("publish step", row.attempts)? })
    }
}

/// A digest that a manifest names, beside the trusted blob if there is one.
#[derive(Debug, sqlx::FromRow)]
#[expect(missing_docs, reason = "columns")]
pub struct UntrustedRow {
    pub digest: String,
    pub declared: i64,
    pub trusted: Option<i64>,
}

impl TryFrom<UntrustedRow> for Untrusted {
    type Error = Corrupt;

    fn try_from(row: UntrustedRow) -> Result<Self, Corrupt> {
        Ok(Self {
            digest: parse("manifest", &row.digest)?,
            declared: convert("manifest", row.declared)?,
            trusted: row.trusted.map(|size| convert("blob", size)).transpose()?,
        })
    }
}

pub(super) fn claim(what: &'static str, digest: &str, size: i64) -> Result<BlobClaim, Corrupt> {
    Ok(BlobClaim { digest: parse(what, digest)?, size: convert(what, size)? })
}
