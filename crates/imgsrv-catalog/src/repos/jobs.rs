//! Publish jobs and their steps.

use crate::{
    core::{
        connection::Connection,
        tx::SqlTx,
        value::{Value, values},
    },
    rows::{JobStepRow, job},
};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::{JobId, VersionId},
    ports::{CatalogError, JobRepo},
    publish::{PublishJob, StepName},
};

/// The columns of a job, from `publish_jobs j`.
macro_rules! columns {
    () => {
        "j.id, j.version_id, j.image_name, j.version_name, j.state, j.created_at, j.updated_at, j.started_at,
        j.finished_at, j.revision"
    };
}
pub(crate) use columns;

/// The columns of a step, from `publish_steps s`.
macro_rules! step_columns {
    () => {
        "s.name AS step_name, s.state AS step_state, s.reason AS step_reason, s.attempts AS step_attempts,
        s.started_at AS step_started_at, s.finished_at AS step_finished_at"
    };
}
pub(crate) use step_columns;

/// Jobs that `rest` selects, each with its steps.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            ", ",
            step_columns!(),
            " FROM publish_jobs j JOIN publish_steps s ON s.job_id = j.id ",
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
const INSERT: &str = "INSERT INTO publish_jobs (id, version_id, image_name, version_name, state, created_at,
    updated_at, started_at, finished_at, revision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)";
const UPDATE: &str = "UPDATE publish_jobs SET state = $3, updated_at = $4, started_at = $5, finished_at = $6,
    revision = revision + 1 WHERE id = $1 AND revision = $2";

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

fn step_values(job: &PublishJob) -> Vec<Value> {
    let mut values = values![job.id.uuid()];
    for (sequence, step) in (1_i64..).zip(&job.steps) {
        values.extend(values![
            sequence,
            step.name.as_str(),
            step.state.name(),
            step.state.reason(),
            step.attempts,
            step.state.started_at(),
            step.state.finished_at(),
        ]);
    }
    values
}

impl<C: Connection> SqlTx<C> {
    async fn job(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Option<PublishJob>, CatalogError> {
        let rows: Vec<JobStepRow> = self.rows(sql, values).await?;
        self.doom(job(rows).map_err(Into::into))
    }
}

#[async_trait]
impl<C: Connection> JobRepo for SqlTx<C> {
    async fn lock_job(&mut self, id: JobId) -> Result<Option<PublishJob>, CatalogError> {
        self.lock(LOCK, values![id.uuid()]).await?;
        self.job(GET, values![id.uuid()]).await
    }

    async fn get_live_job(&mut self, version: VersionId) -> Result<Option<PublishJob>, CatalogError> {
        self.job(GET_LIVE, values![version.uuid()]).await
    }

    async fn insert_job(&mut self, job: &PublishJob) -> Result<(), CatalogError> {
        let values = values![
            job.id.uuid(),
            job.version_id.uuid(),
            job.image.as_str(),
            job.version.as_str(),
            job.state.name(),
            job.created_at,
            job.updated_at,
            job.started_at,
            job.finished_at(),
        ];
        self.execute(INSERT, values).await?;
        self.execute(INSERT_STEPS, step_values(job)).await.map(drop)
    }

    async fn update_job(&mut self, job: &PublishJob) -> Result<(), CatalogError> {
        let values = values![
            job.id.uuid(),
            job.revision.get(),
            job.state.name(),
            job.updated_at,
            job.started_at,
            job.finished_at(),
        ];
        self.execute_fenced(UPDATE, values).await?;
        self.execute_fenced(UPDATE_STEPS, step_values(job)).await
    }
}
