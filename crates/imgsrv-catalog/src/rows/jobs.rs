//! Rows of publish jobs, their steps and warnings.

use crate::rows::decode::{Corrupt, convert, parse};
use crate::rows::time::SqlTime;
use crate::rows::work::WorkColumns;
use imgsrv_domain::{
    ids::{ArtifactId, JobId, VersionId},
    inspection::Warning,
    publish::{JobRecord, JobState, PublishJob, Step, StepState},
    transition::Revision,
};
use uuid::Uuid;

/// A row of `publish_jobs`.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct JobRow {
    pub(crate) id: Uuid,
    pub(crate) version_id: Uuid,
    pub(crate) image_name: String,
    pub(crate) version_name: String,
    pub(crate) state: String,
    pub(crate) wanted_since: Option<SqlTime>,
    pub(crate) failing_since: Option<SqlTime>,
    pub(crate) due_at: Option<SqlTime>,
    pub(crate) lease_attempts: Option<i64>,
    pub(crate) lease_owner: Option<String>,
    pub(crate) created_at: SqlTime,
    pub(crate) updated_at: SqlTime,
    pub(crate) started_at: Option<SqlTime>,
    pub(crate) finished_at: Option<SqlTime>,
    pub(crate) revision: i64,
}

impl JobRow {
    /// The job, given the rows of its steps in order.
    pub(crate) fn with_steps(self, steps: Vec<StepRow>) -> Result<PublishJob, Corrupt> {
        let work = WorkColumns {
            wanted_since: self.wanted_since,
            failing_since: self.failing_since,
            due_at: self.due_at,
            attempts: self.lease_attempts,
            owner: self.lease_owner,
        };
        let state = match self.state.as_str() {
            "queued" => JobState::Queued(work.queued()?),
            "running" => JobState::Running(work.running()?),
            "succeeded" => JobState::Succeeded,
            "failed" => JobState::Failed,
            "abandoned" => JobState::Abandoned,
            _ => return Err(Corrupt::new("publish job", "unknown state")),
        };
        Ok(PublishJob::restore(JobRecord {
            id: JobId::new(self.id),
            version_id: VersionId::new(self.version_id),
            image: parse("publish job", &self.image_name)?,
            version: parse("publish job", &self.version_name)?,
            state,
            steps: steps.into_iter().map(Step::try_from).collect::<Result<_, _>>()?,
            created_at: self.created_at.into(),
            updated_at: self.updated_at.into(),
            started_at: self.started_at.map(Into::into),
            finished_at: self.finished_at.map(Into::into),
            revision: Revision::new(self.revision),
        }))
    }
}

/// A row of `publish_steps`.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct StepRow {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    pub(crate) attempts: i64,
    pub(crate) started_at: Option<SqlTime>,
    pub(crate) finished_at: Option<SqlTime>,
}

impl TryFrom<StepRow> for Step {
    type Error = Corrupt;

    fn try_from(row: StepRow) -> Result<Self, Corrupt> {
        let state = match (row.state.as_str(), row.reason) {
            ("queued", None) => StepState::Queued,
            ("running", None) => StepState::Running,
            ("succeeded", None) => StepState::Succeeded,
            ("failed", Some(reason)) => StepState::Failed { reason },
            ("skipped", Some(reason)) => StepState::Skipped { reason },
            _ => return Err(Corrupt::new("publish step", "its state and reason disagree")),
        };
        Ok(Self {
            name: parse("publish step", &row.name)?,
            state,
            attempts: convert("publish step", row.attempts)?,
            started_at: row.started_at.map(Into::into),
            finished_at: row.finished_at.map(Into::into),
        })
    }
}

/// A row of `publish_warnings`.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct WarningRow {
    pub(crate) step: String,
    pub(crate) artifact_id: Uuid,
    pub(crate) reason: String,
}

impl TryFrom<WarningRow> for Warning {
    type Error = Corrupt;

    fn try_from(row: WarningRow) -> Result<Self, Corrupt> {
        Ok(Self { step: parse("warning", &row.step)?, artifact: ArtifactId::new(row.artifact_id), reason: row.reason })
    }
}
