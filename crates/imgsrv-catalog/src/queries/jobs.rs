//! Reads of publish jobs.

use crate::{
    core::{Connection, Corrupt, List, Listed, Record, Row, SqlCatalog, SqlDatabase, values},
    repos::jobs::{JobStep, columns, report},
};
use async_trait::async_trait;
use imgsrv_domain::{
    ids::JobId,
    page::{Page, PageRequest},
    ports::{CatalogError, JobQueries, JobReport},
    publish::{JobFilter, JobState},
};
use uuid::Uuid;

// Jobs without steps are read as well, because a list must know the keys of rows that it leaves out. The warnings of a
// version are those of its live job.
macro_rules! reports {
    ($first:expr, $rest:expr) => {
        concat!(
            "SELECT ",
            columns!(),
            ", CASE WHEN q.owner IS NULL AND q.parked_at IS NULL THEN q.due_at END AS next_attempt_at,
            q.error AS work_error, q.parked_at, w.artifact_id AS warning_artifact_id, w.reason AS warning_reason
            FROM ",
            $first,
            "publish_jobs j LEFT JOIN publish_steps s ON s.job_id = j.id
            LEFT JOIN work_items q ON q.kind = 'publish' AND q.subject = j.id
            LEFT JOIN publish_warnings w ON w.version_id = j.version_id AND w.step = s.name AND j.state <> 'abandoned' ",
            $rest,
            "s.sequence, w.sequence"
        )
    };
}
const REPORT: &str = reports!("", "WHERE j.id = $1 ORDER BY ");

/// The newest `$2` jobs before `$1` in one state.
macro_rules! in_state {
    ($state:literal, $image:literal) => {
        concat!(
            "SELECT id FROM (SELECT id FROM publish_jobs WHERE state = ",
            $state,
            $image,
            " AND id < $1 ORDER BY id DESC LIMIT $2) AS of_state"
        )
    };
}
// Each state is read in the order of an index, so that the cost depends on the size of the page alone.
macro_rules! list {
    ($image:literal) => {
        reports!(
            concat!(
                "(SELECT id FROM (",
                in_state!("$3", $image),
                " UNION ALL ",
                in_state!("$4", $image),
                " UNION ALL ",
                in_state!("$5", $image),
                " UNION ALL ",
                in_state!("$6", $image),
                " UNION ALL ",
                in_state!("$7", $image),
                ") AS of_states ORDER BY id DESC LIMIT $2) AS page CROSS JOIN "
            ),
            "WHERE j.id = page.id ORDER BY j.id DESC, "
        )
    };
}
const _: () = assert!(JobState::ALL.len() == 5, "a list reads five states");
const LIST: &str = list!("");
const LIST_BY_IMAGE: &str = list!(" AND image_name = $8");
pub(crate) const STATEMENTS: &[&str] = &[REPORT, LIST, LIST_BY_IMAGE];

#[async_trait]
impl<D: SqlDatabase> JobQueries for SqlCatalog<D> {
    async fn get_job(&self, id: JobId) -> Result<Option<JobReport>, CatalogError> {
        let mut reader = self.reader().await?;
        let rows = reader.list(REPORT, values![id]).await?;
        report(rows).map_err(|corrupt| reader.corrupt(corrupt))
    }

    async fn list_jobs(&self, filter: &JobFilter, page: &PageRequest) -> Result<Page<JobReport>, CatalogError> {
        let list = List::open(format!("jobs:{filter:?}"), page, Uuid::max())?;
        let JobFilter { states, image } = filter;
        let sql = if image.is_some() { LIST_BY_IMAGE } else { LIST };
        let values = |after: &Uuid, limit: i64| {
            let mut values = values![after, limit];
            for state in JobState::ALL {
                values.extend(values![Some(*state).filter(|state| states.is_empty() || states.contains(state))]);
            }
            values.extend(image.iter().flat_map(|image| values![image]));
            values
        };
        let job = |rows| report(rows)?.ok_or_else(|| Corrupt::new(JobStep::WHAT, "it has no steps"));
        list.read_groups(&mut self.reader().await?, sql, values, job).await
    }
}

impl Listed for JobStep {
    type Key = Uuid;

    fn key(row: &Row<'_>) -> Result<Uuid, Corrupt> {
        row.get("id")
    }
}
