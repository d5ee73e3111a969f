//! Publish jobs and their steps.

use crate::{
    core::{
        connection::{Connection, Dialects, row, rows},
        tx::SqlTx,
        value::{Value, values},
    },
    rows::{JobRow, StepRow, WorkColumns},
};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::{JobId, VersionId},
    ports::{CatalogError, JobRepo},
    publish::{JobState, PublishJob},
};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, version_id, image_name, version_name, state, wanted_since, failing_since, due_at,
            lease_attempts, lease_owner, created_at, updated_at, started_at, finished_at, revision FROM publish_jobs ",
            $rest
        )
    };
}

pub(crate) const FIND: &str = select!("WHERE id = $1");
const FIND_TO_CHANGE: Dialects = Dialects { sqlite: FIND, postgres: select!("WHERE id = $1 FOR NO KEY UPDATE") };
// Not locked: its version is, and a worker locks job and version the other way round.
const FIND_LIVE: &str = select!("WHERE version_id = $1 AND state <> 'abandoned'");
const CLAIMABLE: Dialects = Dialects {
    sqlite: select!("WHERE state IN ('queued', 'running') AND due_at <= $1 ORDER BY due_at LIMIT 1"),
    postgres: select!(
        "WHERE state IN ('queued', 'running') AND due_at <= $1 ORDER BY due_at LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED"
    ),
};
const LIST_STEPS: &str = "SELECT name, state, reason, attempts, started_at, finished_at
    FROM publish_steps WHERE job_id = $1 ORDER BY sequence";
const INSERT: &str = "INSERT INTO publish_jobs (id, version_id, image_name, version_name, state, wanted_since, due_at,
    lease_attempts, lease_owner, created_at, updated_at, started_at, finished_at, revision)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1)";
const INSERT_STEP: &str = "INSERT INTO publish_steps (job_id, sequence, name, state, reason, attempts, started_at,
    finished_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const UPDATE: &str = "UPDATE publish_jobs SET state = $3, wanted_since = $4, due_at = $5, lease_attempts = $6,
    lease_owner = $7, updated_at = $8, started_at = $9, finished_at = $10, failing_since = $11, revision = revision + 1
    WHERE id = $1 AND revision = $2";
const UPDATE_STEP: &str = "UPDATE publish_steps SET state = $3, reason = $4, attempts = $5, started_at = $6,
    finished_at = $7 WHERE job_id = $1 AND sequence = $2";
pub(crate) const STATEMENTS: &[&str] =
    &[FIND, FIND_LIVE, CLAIMABLE.sqlite, LIST_STEPS, INSERT, INSERT_STEP, UPDATE, UPDATE_STEP];
pub(crate) const POSTGRES: &[&str] = &[FIND_TO_CHANGE.postgres, CLAIMABLE.postgres];

/// The job that `sql` finds, with its steps.
pub(crate) async fn find_with_steps<C: Connection>(
    connection: &mut C,
    sql: &'static str,
    values: Vec<Value>,
) -> Result<Option<PublishJob>, CatalogError> {
    let Some(job) = row::<JobRow, _>(connection, sql, values).await? else { return Ok(None) };
    let steps: Vec<StepRow> = rows(connection, LIST_STEPS, values![job.id]).await?;
    Ok(Some(job.with_steps(steps)?))
}

fn work(job: &PublishJob) -> WorkColumns {
    match &job.state {
        JobState::Queued(queued) => queued.into(),
        JobState::Running(running) => running.into(),
        JobState::Succeeded | JobState::Failed | JobState::Abandoned => WorkColumns::default(),
    }
}

impl<C: Connection> SqlTx<C> {
    async fn job(&mut self, sql: &'static str, values: Vec<Value>) -> Result<Option<PublishJob>, CatalogError> {
        let found = find_with_steps(self.connection(), sql, values).await;
        self.doom(found)
    }
}

#[async_trait]
impl<C: Connection> JobRepo for SqlTx<C> {
    async fn lock_job(&mut self, id: JobId) -> Result<Option<PublishJob>, CatalogError> {
        self.job(FIND_TO_CHANGE.on::<C>(), values![id.uuid()]).await
    }

    async fn get_live_job(&mut self, version: VersionId) -> Result<Option<PublishJob>, CatalogError> {
        self.job(FIND_LIVE, values![version.uuid()]).await
    }

    async fn insert_job(&mut self, job: &PublishJob) -> Result<(), CatalogError> {
        let work = work(job);
        let values = values![
            job.id.uuid(),
            job.version_id.uuid(),
            job.image.as_str(),
            job.version.as_str(),
            job.state.name(),
            work.wanted_since,
            work.due_at,
            work.attempts,
            work.owner,
            job.created_at,
            job.updated_at,
            job.started_at,
            job.finished_at,
        ];
        self.execute(INSERT, values).await?;
        for (sequence, step) in (1_i64..).zip(&job.steps) {
            let values = values![
                job.id.uuid(),
                sequence,
                step.name.as_str(),
                step.state.name(),
                step.state.reason(),
                step.attempts,
                step.started_at,
                step.finished_at,
            ];
            self.execute(INSERT_STEP, values).await?;
        }
        Ok(())
    }

    async fn update_job(&mut self, job: &PublishJob) -> Result<(), CatalogError> {
        let work = work(job);
        let values = values![
            job.id.uuid(),
            job.revision.get(),
            job.state.name(),
            work.wanted_since,
            work.due_at,
            work.attempts,
            work.owner,
            job.updated_at,
            job.started_at,
            job.finished_at,
            work.failing_since,
        ];
        self.execute_fenced(UPDATE, values).await?;
        for (sequence, step) in (1_i64..).zip(&job.steps) {
            let values = values![
                job.id.uuid(),
                sequence,
                step.state.name(),
                step.state.reason(),
                step.attempts,
                step.started_at,
                step.finished_at,
            ];
            self.execute_fenced(UPDATE_STEP, values).await?;
        }
        Ok(())
    }

    async fn lock_due_job(&mut self) -> Result<Option<PublishJob>, CatalogError> {
        self.job(CLAIMABLE.on::<C>(), values![self.time()]).await
    }
}
