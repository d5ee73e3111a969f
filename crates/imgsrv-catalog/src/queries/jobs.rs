//! Reads of publish jobs.

use crate::{
    core::{Connection, SqlCatalog, SqlDatabase, values},
    repos::jobs::{columns, report},
};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::JobId,
    ports::{CatalogError, JobQueries, JobReport},
};

// The warnings of a version are those of its live job.
const REPORT: &str = concat!(
    "SELECT ",
    columns!(),
    ", w.artifact_id AS warning_artifact_id, w.reason AS warning_reason
    FROM publish_jobs j JOIN publish_steps s ON s.job_id = j.id
    LEFT JOIN publish_warnings w ON w.version_id = j.version_id AND w.step = s.name AND j.state <> 'abandoned'
    WHERE j.id = $1 ORDER BY s.sequence, w.sequence"
);
pub(crate) const STATEMENTS: &[&str] = &[REPORT];

#[async_trait]
impl<D: SqlDatabase> JobQueries for SqlCatalog<D> {
    async fn get_job(&self, id: JobId) -> Result<Option<JobReport>, CatalogError> {
        let mut reader = self.reader().await?;
        let rows = reader.list(REPORT, values![id]).await?;
        report(rows).map_err(|corrupt| reader.corrupt(corrupt))
    }
}
