//! Publish jobs and their steps.

use crate::core::{Connection, Corrupt, Record, Row, SqlTx, Value, values};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::{JobId, VersionId},
    inspection::Warning,
    ports::{CatalogError, JobRepo, JobReport, JobWork},
    publish::{JobRecord, PublishJob, Step, StepName, StepState},
    time::Timestamp,
};

/// The columns of a job and its step, from `publish_jobs j JOIN publish_steps s`.
macro_rules! columns {
    () => {
        "j.id, j.version_id, j.image_name, j.version_name, j.state, j.created_at, j.updated_at, j.started_at,
        j.finished_at, j.revision,
        s.name AS step_name, s.state AS step_state, s.reason AS step_reason, s.attempts AS step_attempts,
        s.started_at AS step_started_at, s.finished_at AS step_finished_at"
    };
}
pub(crate) use columns;

/// Jobs that `rest` selects, each with its steps.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            ", CAST(NULL AS timestamptz) AS next_attempt_at, NULL AS work_error, CAST(NULL AS timestamptz) AS parked_at,
            CAST(NULL AS uuid) AS warning_artifact_id, NULL AS warning_reason
            FROM publish_jobs j JOIN publish_steps s ON s.job_id = j.id ",
            $rest,
            " ORDER BY s.sequence"
        )
    };
}

const GET: &str = select!("WHERE j.id = $1");
// Not locked: its version is, and a worker locks the job before the version.
const GET_LIVE: &str = select!("WHERE j.version_id = $1 AND j.state <> 'abandoned'");
// Locked first and read afterwards: a statement that waits for the lock would join older steps.
const LOCK: &str = "SELECT id FROM publish_jobs WHERE id = $1 FOR NO KEY UPDATE";
const INSERT: &str = "INSERT INTO publish_jobs (id, state, updated_at, started_at, finished_at, version_id, image_name,
    version_name, created_at, revision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)";
const UPDATE: &str = "UPDATE publish_jobs SET state = $2, updated_at = $3, started_at = $4, finished_at = $5,
    revision = revision + 1 WHERE id = $1 AND revision = $6";

const _: () = assert!(StepName::ALL.len() == 3, "the statements below have three steps");
/// Three steps: sequence, name, state, reason, attempts, start and end of each.
macro_rules! steps {
    () => {
        "(VALUES (CAST($2 AS bigint), CAST($3 AS text), CAST($4 AS text), CAST($5 AS text), CAST($6 AS bigint),
            CAST($7 AS timestamptz), CAST($8 AS timestamptz)),
            ($9, $10, $11, $12, $13, $14, $15), ($16, $17, $18, $19, $20, $21, $22)) AS step"
    };
}
const INSERT_STEPS: &str = concat!(
    "INSERT INTO publish_steps (job_id, sequence, name, state, reason, attempts, started_at, finished_at)
    SELECT $1, column1, column2, column3, column4, column5, column6, column7 FROM ",
    steps!()
);
const UPDATE_STEPS: &str = concat!(
    "UPDATE publish_steps SET state = column3, reason = column4, attempts = column5, started_at = column6,
    finished_at = column7 FROM ",
    steps!(),
    " WHERE job_id = $1 AND sequence = column1 AND name = column2"
);
pub(crate) const STATEMENTS: &[&str] = &[GET, GET_LIVE, INSERT, INSERT_STEPS, UPDATE, UPDATE_STEPS];
pub(crate) const POSTGRES: &[&str] = &[LOCK];

/// The values that `INSERT` and `UPDATE` both store, followed by `own`.
fn job_values(job: &PublishJob, own: Vec<Value>) -> Vec<Value> {
    let state = values![job.id, job.state, job.updated_at, job.started_at, job.finished_at()];
    [state, own].concat()
}

fn step_values(job: &PublishJob) -> Vec<Value> {
    let mut values = values![job.id];
    for (sequence, Step { name, state, attempts }) in (1_i64..).zip(&job.steps) {
        values.extend(values![sequence, name, state.name(), state.reason(), attempts]);
        values.extend(values![state.started_at(), state.finished_at()]);
    }
    values
}

impl<C: Connection> SqlTx<C> {
    async fn job(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Option<PublishJob>, CatalogError> {
        let steps = self.list(sql, values).await?;
        let report = report(steps).map_err(|corrupt| self.corrupt(corrupt))?;
        Ok(report.map(|report| report.job))
    }
}

#[async_trait]
impl<C: Connection> JobRepo for SqlTx<C> {
    async fn lock_job(&mut self, id: JobId) -> Result<Option<PublishJob>, CatalogError> {
        self.lock(LOCK, values![id]).await?;
        self.job(GET, values![id]).await
    }

    async fn get_live_job(&mut self, version: VersionId) -> Result<Option<PublishJob>, CatalogError> {
        self.job(GET_LIVE, values![version]).await
    }

    async fn insert_job(&mut self, job: &PublishJob) -> Result<(), CatalogError> {
        let own = values![job.version_id, job.image, job.version, job.created_at];
        self.execute(INSERT, job_values(job, own)).await?;
        self.execute(INSERT_STEPS, step_values(job)).await.map(drop)
    }

    async fn update_job(&mut self, job: &PublishJob) -> Result<(), CatalogError> {
        self.execute_fenced(UPDATE, job_values(job, values![job.revision])).await?;
        self.execute_fenced(UPDATE_STEPS, step_values(job)).await
    }
}

/// A job with one of its steps, and one of that step's warnings if it has any.
pub(crate) struct JobStep {
    /// The job, without steps.
    job: JobRecord,
    finished_at: Option<Timestamp>,
    work: JobWork,
    step: Step,
    warning: Option<Warning>,
}

impl Record for JobStep {
    const WHAT: &'static str = "publish job";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let step: Step = row.record()?;
        let warning = row.optional("warning_artifact_id")?.zip(row.optional("warning_reason")?);
        Ok(Self {
            job: JobRecord {
                id: row.get("id")?,
                version_id: row.get("version_id")?,
                image: row.get("image_name")?,
                version: row.get("version_name")?,
                state: row.get("state")?,
                steps: Vec::new(),
                created_at: row.get("created_at")?,
                updated_at: row.get("updated_at")?,
                started_at: row.optional("started_at")?,
                revision: row.get("revision")?,
            },
            finished_at: row.optional("finished_at")?,
            work: JobWork {
                next_attempt_at: row.optional("next_attempt_at")?,
                error: row.optional("work_error")?,
                is_parked: row.optional::<Timestamp>("parked_at")?.is_some(),
            },
            warning: warning.map(|(artifact, reason)| Warning { step: step.name, artifact, reason }),
            step,
        })
    }
}

impl Record for Step {
    const WHAT: &'static str = "publish step";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        let (started_at, finished_at) = (row.optional("step_started_at")?, row.optional("step_finished_at")?);
        let state: String = row.get("step_state")?;
        let state = match (state.as_str(), started_at, finished_at, row.optional("step_reason")?) {
            ("queued", started_at, None, None) => StepState::Queued { started_at },
            ("running", Some(started_at), None, None) => StepState::Running { started_at },
            ("succeeded", Some(started_at), Some(finished_at), None) => {
                StepState::Succeeded { started_at, finished_at }
            }
            ("failed", Some(started_at), Some(finished_at), Some(reason)) => {
                StepState::Failed { started_at, finished_at, reason }
            }
            _ => return Err(row.corrupt("its state, times and reason do not match")),
        };
        Ok(Self { name: row.get("step_name")?, state, attempts: row.get("step_attempts")? })
    }
}

/// The job, its work and the warnings of rows that have its steps and their warnings in order.
pub(crate) fn report(rows: Vec<JobStep>) -> Result<Option<JobReport>, Corrupt> {
    let (mut job, mut steps, mut warnings) = (None, Vec::<Step>::new(), Vec::new());
    for row in rows {
        warnings.extend(row.warning);
        if steps.last().is_none_or(|last| last.name != row.step.name) {
            steps.push(row.step);
        }
        job = Some((row.job, row.finished_at, row.work));
    }
    let Some((record, finished_at, work)) = job else { return Ok(None) };
    let id = record.id;
    let job = PublishJob::restore(JobRecord { steps, ..record });
    let job = job.map_err(|why| Corrupt::new(JobStep::WHAT, why).of(id))?;
    if job.finished_at() != finished_at {
        return Err(Corrupt::new(JobStep::WHAT, "its end does not match that of its last step").of(id));
    }
    Ok(Some(JobReport { job, work, warnings }))
}
