//! Reads for the operation of the catalog: health, identity, statistics and time.

use crate::{
    core::{
        catalog::{SqlCatalog, SqlDatabase},
        connection::{row, rows},
        value::values,
    },
    queries::streams::revision,
    rows::{Corrupt, WaitRow, statistics},
};
use async_trait::async_trait;
use imgsrv_domain::{
    ports::{CatalogError, CatalogIdentity, OperationsQueries, Statistics},
    time::Timestamp,
};

const IDENTITY: &str = "SELECT id, store FROM catalog_identity";
const COUNTERS: &str = "SELECT name, CAST(sum(value) AS BIGINT) AS value FROM counters GROUP BY name";
const WAITS: &str = "SELECT 'ingest' AS work, u.state,
        min(CASE u.state WHEN 'completed' THEN w.wanted_since ELSE u.updated_at END) AS since
    FROM work_items w JOIN upload_sessions u ON u.id = w.subject
    WHERE w.kind = 'ingest' AND w.parked_at IS NULL AND u.state IN ('completed', 'ingesting') GROUP BY u.state
    UNION ALL SELECT s.name, s.state, min(CASE s.state WHEN 'queued' THEN w.wanted_since ELSE s.started_at END)
    FROM work_items w JOIN publish_jobs j ON j.id = w.subject JOIN publish_steps s ON s.job_id = j.id
    WHERE w.kind = 'publish' AND w.parked_at IS NULL AND s.state IN ('queued', 'running') GROUP BY s.name, s.state";
const PARKED: &str = "SELECT kind, count(*) FROM work_items WHERE parked_at IS NOT NULL GROUP BY kind";
pub(crate) const STATEMENTS: &[&str] = &[IDENTITY, COUNTERS, WAITS, PARKED];

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
        let parked: Vec<(String, i64)> = rows(&mut snapshot, PARKED, values![]).await?;
        Ok(statistics(counters, waits, parked, now))
    }

    async fn free_bytes(&self) -> Result<Option<u64>, CatalogError> {
        self.database.free_bytes().await
    }

    async fn catalog_time(&self) -> Result<Timestamp, CatalogError> {
        self.now().await
    }
}
