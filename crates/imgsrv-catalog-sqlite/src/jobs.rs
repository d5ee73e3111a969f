//! Publish jobs and their steps.

use crate::{
    connection::{row, rows},
    tx::{SqliteTx, run},
};
use async_trait::async_trait;
use imgsrv_catalog_sql::{JobRow, SqlTime, StepRow, WorkColumns};
use imgsrv_domain::{
    ids::{JobId, VersionId},
    ports::{CatalogError, JobRepo},
    publish::{JobState, PublishJob},
};
use sqlx::{SqliteConnection, query, query_as};

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
const FIND_LIVE: &str = select!("WHERE version_id = $1 AND state <> 'abandoned'");
const FIND_CLAIMABLE: &str = select!("WHERE state IN ('queued', 'running') AND due_at <= $1 ORDER BY due_at LIMIT 1");
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
    &[FIND, FIND_LIVE, FIND_CLAIMABLE, LIST_STEPS, INSERT, INSERT_STEP, UPDATE, UPDATE_STEP];

/// The job that `select` finds, with its steps.
pub(crate) async fn find_with_steps(
    connection: &mut SqliteConnection,
    select: crate::connection::Select<'_, JobRow>,
) -> Result<Option<PublishJob>, CatalogError> {
    let Some(job) = row(connection, select).await? else { return Ok(None) };
    let steps: Vec<StepRow> = rows(connection, query_as(LIST_STEPS).bind(job.id)).await?;
    Ok(Some(job.with_steps(steps)?))
}

fn work(job: &PublishJob) -> WorkColumns {
    match &job.state {
        JobState::Queued(queued) => queued.into(),
        JobState::Running(running) => running.into(),
        JobState::Succeeded | JobState::Failed | JobState::Abandoned => WorkColumns::default(),
    }
}

#[async_trait]
impl JobRepo for SqliteTx {
    async fn find_job(&mut self, id: JobId) -> Result<Option<PublishJob>, CatalogError> {
        let found = find_with_steps(self.connection(), query_as(FIND).bind(id.uuid())).await;
        self.doom(found)
    }

    async fn find_live_job(&mut self, version: VersionId) -> Result<Option<PublishJob>, CatalogError> {
        let found = find_with_steps(self.connection(), query_as(FIND_LIVE).bind(version.uuid())).await;
        self.doom(found)
    }

    async fn insert_job(&mut self, job: &PublishJob) -> Result<(), CatalogError> {
        let work = work(job);
        let statement = query(INSERT)
            .bind(job.id.uuid())
            .bind(job.version_id.uuid())
            .bind(job.image.as_str())
            .bind(job.version.as_str())
            .bind(job.state.name())
            .bind(work.wanted_since)
            .bind(work.due_at)
            .bind(work.attempts)
            .bind(work.owner)
            .bind(SqlTime::from(job.created_at))
            .bind(SqlTime::from(job.updated_at))
            .bind(job.started_at.map(SqlTime::from))
            .bind(job.finished_at.map(SqlTime::from));
        run!(self, execute, statement)?;
        for (sequence, step) in (1_i64..).zip(&job.steps) {
            let statement = query(INSERT_STEP)
                .bind(job.id.uuid())
                .bind(sequence)
                .bind(step.name.as_str())
                .bind(step.state.name())
                .bind(step.state.reason())
                .bind(step.attempts)
                .bind(step.started_at.map(SqlTime::from))
                .bind(step.finished_at.map(SqlTime::from));
            run!(self, execute, statement)?;
        }
        Ok(())
    }

    async fn update_job(&mut self, job: &PublishJob) -> Result<(), CatalogError> {
        let work = work(job);
        let statement = query(UPDATE)
            .bind(job.id.uuid())
            .bind(job.revision.get())
            .bind(job.state.name())
            .bind(work.wanted_since)
            .bind(work.due_at)
            .bind(work.attempts)
            .bind(work.owner)
            .bind(SqlTime::from(job.updated_at))
            .bind(job.started_at.map(SqlTime::from))
            .bind(job.finished_at.map(SqlTime::from))
            .bind(work.failing_since);
        run!(self, execute_held, statement)?;
        for (sequence, step) in (1_i64..).zip(&job.steps) {
            let statement = query(UPDATE_STEP)
                .bind(job.id.uuid())
                .bind(sequence)
                .bind(step.state.name())
                .bind(step.state.reason())
                .bind(step.attempts)
                .bind(step.started_at.map(SqlTime::from))
                .bind(step.finished_at.map(SqlTime::from));
            run!(self, execute_held, statement)?;
        }
        Ok(())
    }

    async fn find_claimable_job(&mut self) -> Result<Option<PublishJob>, CatalogError> {
        let select = query_as(FIND_CLAIMABLE).bind(SqlTime::from(self.time()));
        let found = find_with_steps(self.connection(), select).await;
        self.doom(found)
    }
}
