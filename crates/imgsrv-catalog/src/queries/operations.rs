//! Reads for the operation of the catalog: health, identity, statistics and time.

use crate::{
    core::{Connection, Corrupt, Dialects, Record, Row, SqlCatalog, SqlDatabase, timed, values},
    queries::streams::revision,
};
use async_trait::async_trait;
use imgsrv_domain::{
    ports::{CatalogError, CatalogIdentity, LeasedWork, Oldest, OperationsQueries, Statistics},
    time::Timestamp,
};
use std::{collections::BTreeMap, time::Duration};

const IDENTITY: &str = "SELECT id, store FROM catalog_identity";
const NEXT_INGEST: Dialects =
    timed!("SELECT min(due_at) AS due, ", " FROM upload_sessions WHERE state IN ('completed', 'ingesting')");
const NEXT_PUBLISH: Dialects =
    timed!("SELECT min(due_at) AS due, ", " FROM publish_jobs WHERE state IN ('queued', 'running')");
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
        self.reader().await?.get(IDENTITY, values![]).await
    }

    async fn statistics(&self) -> Result<Statistics, CatalogError> {
        let (mut snapshot, now) = self.database.snapshot().await?;
        let counters = snapshot.list(COUNTERS, values![]).await?;
        let waits = snapshot.list(WAITS, values![]).await?;
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
        let (Due(due), now) = self.reader().await?.get(sql, values![]).await?;
        due.map(|due| Ok(due.since(self.database.clock(now)?))).transpose()
    }

    async fn catalog_time(&self) -> Result<Timestamp, CatalogError> {
        self.database.now().await
    }
}

impl Record for CatalogIdentity {
    const WHAT: &'static str = "catalog identity";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self { catalog: row.get("id")?, store: row.optional("store")? })
    }
}

/// When the next piece of work is due, if there is one.
struct Due(Option<Timestamp>);

impl Record for Due {
    const WHAT: &'static str = "work";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        row.optional("due").map(Self)
    }
}

struct Counter {
    name: String,
    value: i64,
}

impl Record for Counter {
    const WHAT: &'static str = "counter";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self { name: row.get("name")?, value: row.get("value")? })
    }
}

/// The oldest of the work of one kind in one state.
struct Wait {
    work: String,
    state: String,
    since: Option<Timestamp>,
}

impl Record for Wait {
    const WHAT: &'static str = "work";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self { work: row.get("work")?, state: row.get("state")?, since: row.optional("since")? })
    }
}

/// Counters are named `kind` or `kind:value:...`, as the triggers write them.
fn statistics(counters: Vec<Counter>, waits: Vec<Wait>, now: Timestamp) -> Statistics {
    let mut statistics = Statistics {
        uploads: BTreeMap::new(),
        jobs: BTreeMap::new(),
        steps: BTreeMap::new(),
        versions: BTreeMap::new(),
        blobs: 0,
        blob_bytes: 0,
        incus_rows: 0,
        ingest: Oldest::default(),
        oldest_steps: BTreeMap::new(),
        now,
    };
    for Counter { name, value } in counters {
        let value = u64::try_from(value).unwrap_or(0);
        let kind: Vec<&str> = name.split(':').collect();
        let counter = match *kind.as_slice() {
            ["uploads", state] => statistics.uploads.entry(state.to_owned()).or_default(),
            ["jobs", state] => statistics.jobs.entry(state.to_owned()).or_default(),
            ["steps", step, state] => statistics.steps.entry((step.to_owned(), state.to_owned())).or_default(),
            ["versions", state] => statistics.versions.entry(state.to_owned()).or_default(),
            ["blobs"] => &mut statistics.blobs,
            ["blob_bytes"] => &mut statistics.blob_bytes,
            ["incus_rows"] => &mut statistics.incus_rows,
            // A newer program counts more.
            _ => continue,
        };
        *counter = value;
    }
    for Wait { work, state, since } in waits {
        let oldest = match work.as_str() {
            "ingest" => &mut statistics.ingest,
            _ => statistics.oldest_steps.entry(work).or_default(),
        };
        match state.as_str() {
            "completed" | "queued" => oldest.queued = since,
            _ => oldest.running = since,
        }
    }
    statistics
}
