//! Reads for the operation of the catalog: health, identity, statistics and time.

use crate::{
    core::{
        catalog::{SqlCatalog, SqlDatabase},
        connection::{Dialects, row, rows},
        value::values,
    },
    queries::streams::revision,
    rows::{Corrupt, SqlTime, WaitRow, statistics},
};
use async_trait::async_trait;
use imgsrv_domain::{
    ports::{CatalogError, CatalogIdentity, LeasedWork, OperationsQueries, Statistics},
    time::Timestamp,
};
use std::time::Duration;

const IDENTITY: &str = "SELECT id, store FROM catalog_identity";
macro_rules! next {
    ($now:literal, $rest:literal) => {
        concat!("SELECT min(due_at), ", $now, " FROM ", $rest)
    };
}
macro_rules! next_ingest {
    ($now:literal) => {
        next!($now, "upload_sessions WHERE state IN ('completed', 'ingesting')")
    };
}
macro_rules! next_publish {
    ($now:literal) => {
        next!($now, "publish_jobs WHERE state IN ('queued', 'running')")
    };
}
const NEXT_INGEST: Dialects = Dialects { sqlite: next_ingest!("NULL"), postgres: next_ingest!("catalog_now()") };
const NEXT_PUBLISH: Dialects = Dialects { sqlite: next_publish!("NULL"), postgres: next_publish!("catalog_now()") };
const COUNTERS: &str = "SELECT name, CAST(sum(value) AS BIGINT) AS value FROM counters GROUP BY name";
const WAITS: &str = "SELECT 'ingest' AS work, state,
        min(CASE state WHEN 'completed' THEN wanted_since ELSE updated_at END) AS since
    FROM upload_sessions WHERE state IN ('completed', 'ingesting') GROUP BY state
    UNION ALL SELECT s.name, s.state, min(CASE s.state WHEN 'queued' THEN j.wanted_since ELSE s.started_at END)
    FROM publish_jobs j JOIN publish_steps s ON s.job_id = j.id
    WHERE j.state IN ('queued', 'running') AND s.state IN ('queued', 'running') GROUP BY s.name, s.state";
pub(crate) const STATEMENTS: &[&str] = &[IDENTITY, NEXT_INGEST.sqlite, NEXT_PUBLISH.sqlite, COUNTERS, WAITS];
pub(crate) const POSTGRES: &[&str] = &[NEXT_INGEST.postgres, NEXT_PUBLISH.postgres];

#[async_trait]
impl<D: SqlDatabase> OperationsQueries for SqlCatalog<D> {
    async fn check(&self) -> Result<(), CatalogError> {
        revision(&mut self.reader().await?).await.map(drop)
    }

    async fn identity(&self) -> Result<CatalogIdentity, CatalogError> {
        let found = row(&mut self.reader().await?, IDENTITY, values![]).await?;
        let (catalog, store) = found.ok_or_else(|| Corrupt::new("catalog identity", "it is missing"))?;
        Ok(CatalogIdentity { catalog, store })
    }

    async fn statistics(&self) -> Result<Statistics, CatalogError> {
        let (mut snapshot, now) = self.snapshot().await?;
        let counters: Vec<(String, i64)> = rows(&mut snapshot, COUNTERS, values![]).await?;
        let waits: Vec<WaitRow> = rows(&mut snapshot, WAITS, values![]).await?;
        Ok(statistics(counters, waits, now))
    }

    async fn free_bytes(&self) -> Result<Option<u64>, CatalogError> {
        self.database.free_bytes().await
    }

    async fn next_due(&self, work: LeasedWork) -> Result<Option<Duration>, CatalogError> {
        let sql = match work {
            LeasedWork::Ingest => NEXT_INGEST,
            LeasedWork::Publish => NEXT_PUBLISH,
        };
        let found: Option<(Option<SqlTime>, Option<SqlTime>)> =
            row(&mut self.reader().await?, sql.on::<D::Connection>(), values![]).await?;
        let Some((Some(due), now)) = found else { return Ok(None) };
        Ok(Some(Timestamp::from(due).since(self.database.clock(now)?)))
    }

    async fn catalog_time(&self) -> Result<Timestamp, CatalogError> {
        self.now().await
    }
}
