//! Reads of publish jobs.

use crate::{
    core::{
        catalog::{SqlCatalog, SqlDatabase},
        connection::list,
        value::values,
    },
    repos::jobs,
    rows::WarningRow,
};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::JobId,
    inspection::Warning,
    ports::{CatalogError, JobQueries, JobReport},
    publish::JobState,
};

const WARNINGS: &str =
    "SELECT step, artifact_id, reason FROM publish_warnings WHERE version_id = $1 ORDER BY step, sequence";
pub(crate) const STATEMENTS: &[&str] = &[WARNINGS];

#[async_trait]
impl<D: SqlDatabase> JobQueries for SqlCatalog<D> {
    async fn get_job(&self, id: JobId) -> Result<Option<JobReport>, CatalogError> {
        let (mut snapshot, _) = self.snapshot().await?;
        let Some(job) = jobs::find_with_steps(&mut snapshot, jobs::FIND, values![id.uuid()]).await? else {
            return Ok(None);
        };
        // The warnings of a version are those of its live job.
        let mut warnings: Vec<Warning> = match job.state {
            JobState::Abandoned => Vec::new(),
            JobState::Queued(_) | JobState::Running(_) | JobState::Succeeded | JobState::Failed => {
                list::<WarningRow, _, _>(&mut snapshot, WARNINGS, values![job.version_id.uuid()]).await?
            }
        };
        warnings.sort_by_key(|warning| warning.step);
        Ok(Some(JobReport { job, warnings }))
    }
}
