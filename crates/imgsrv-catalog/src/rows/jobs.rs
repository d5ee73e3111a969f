//! Rows of publish jobs, their steps and warnings.

use crate::rows::decode::{Corrupt, convert, parse};
use crate::rows::time::SqlTime;
use imgsrv_domain::{
    ids::{ArtifactId, JobId, VersionId},
    inspection::Warning,
    ports::JobReport,
    publish::{JobRecord, JobState, PublishJob, Step, StepName, StepState},
    transition::Revision,
};
use uuid::Uuid;

/// A row of `publish_jobs`.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct JobRow {
    id: Uuid,
    version_id: Uuid,
    image_name: String,
    version_name: String,
    state: String,
    created_at: SqlTime,
    updated_at: SqlTime,
    started_at: Option<SqlTime>,
    finished_at: Option<SqlTime>,
    revision: i64,
}

impl JobRow {
    fn decode(self, steps: Vec<Step>) -> Result<PublishJob, Corrupt> {
        const WHAT: &str = "publish job";
        let state = match self.state.as_str() {
            "queued" => JobState::Queued,
            "running" => JobState::Running,
            "succeeded" => JobState::Succeeded,
            "failed" => JobState::Failed,
            "abandoned" => JobState::Abandoned,
            _ => return Err(Corrupt::new(WHAT, "unknown state")),
        };
        let job = PublishJob::restore(JobRecord {
            id: JobId::new(self.id),
            version_id: VersionId::new(self.version_id),
            image: parse(WHAT, &self.image_name)?,
            version: parse(WHAT, &self.version_name)?,
            state,
            steps,
            created_at: self.created_at.into(),
            updated_at: self.updated_at.into(),
            started_at: self.started_at.map(Into::into),
            revision: Revision::new(self.revision),
        });
        let job = job.map_err(|why| Corrupt::new(WHAT, why))?;
        if job.finished_at() == self.finished_at.map(Into::into) {
            Ok(job)
        } else {
            Err(Corrupt::new(WHAT, "it did not finish with its last step"))
        }
    }
}

/// A row of `publish_steps`.
#[derive(Debug, sqlx::FromRow)]
#[expect(clippy::struct_field_names, reason = "the columns of a join")]
pub(crate) struct StepRow {
    step_name: String,
    step_state: String,
    step_reason: Option<String>,
    step_attempts: i64,
    step_started_at: Option<SqlTime>,
    step_finished_at: Option<SqlTime>,
}

impl TryFrom<StepRow> for Step {
    type Error = Corrupt;

    fn try_from(row: StepRow) -> Result<Self, Corrupt> {
        const WHAT: &str = "publish step";
        let (started_at, finished_at) = (row.step_started_at.map(Into::into), row.step_finished_at.map(Into::into));
        let state = match (row.step_state.as_str(), started_at, finished_at, row.step_reason) {
            ("queued", started_at, None, None) => StepState::Queued { started_at },
            ("running", Some(started_at), None, None) => StepState::Running { started_at },
            ("succeeded", Some(started_at), Some(finished_at), None) => {
                StepState::Succeeded { started_at, finished_at }
            }
            ("failed", Some(started_at), Some(finished_at), Some(reason)) => {
                StepState::Failed { started_at, finished_at, reason }
            }
            _ => return Err(Corrupt::new(WHAT, "its state, times and reason disagree")),
        };
        Ok(Self { name: parse(WHAT, &row.step_name)?, state, attempts: convert(WHAT, row.step_attempts)? })
    }
}

/// A job with one of its steps.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct JobStepRow {
    #[sqlx(flatten)]
    job: JobRow,
    #[sqlx(flatten)]
    step: StepRow,
}

/// A job with one of its steps, and one of that step's warnings if it has any.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct JobReportRow {
    #[sqlx(flatten)]
    job: JobRow,
    #[sqlx(flatten)]
    step: StepRow,
    warning_artifact_id: Option<Uuid>,
    warning_reason: Option<String>,
}

/// The job of rows that have its steps in order.
pub(crate) fn job(rows: Vec<JobStepRow>) -> Result<Option<PublishJob>, Corrupt> {
    let (mut job, mut steps) = (None, Vec::new());
    for row in rows {
        steps.push(row.step.try_into()?);
        job = Some(row.job);
    }
    job.map(|job: JobRow| job.decode(steps)).transpose()
}

/// The job and the warnings of rows that have its steps and their warnings in order.
pub(crate) fn job_report(rows: Vec<JobReportRow>) -> Result<Option<JobReport>, Corrupt> {
    let (mut job, mut steps, mut warnings): (Option<JobRow>, Vec<Step>, Vec<Warning>) = (None, Vec::new(), Vec::new());
    for row in rows {
        let step: Step = row.step.try_into()?;
        warnings.extend(warning(step.name, row.warning_artifact_id, row.warning_reason));
        if steps.last().is_none_or(|last| last.name != step.name) {
            steps.push(step);
        }
        job = Some(row.job);
    }
    let Some(job) = job else { return Ok(None) };
    Ok(Some(JobReport { job: job.decode(steps)?, warnings }))
}

fn warning(step: StepName, artifact: Option<Uuid>, reason: Option<String>) -> Option<Warning> {
    Some(Warning { step, artifact: ArtifactId::new(artifact?), reason: reason? })
}
