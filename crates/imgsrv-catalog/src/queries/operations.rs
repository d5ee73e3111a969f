//! Reads for the operation of the catalog: health, identity, statistics and time.

use crate::{
    core::{Connection, Corrupt, Record, Row, SqlCatalog, SqlDatabase, values},
    queries::streams::revision,
    repos::nodes::LIST as NODES,
};
use async_trait::async_trait;
use imgsrv_domain::{
    node::SeenNode,
    ports::{CatalogError, CatalogIdentity, Oldest, OperationsQueries, Statistics},
    time::Timestamp,
};
use std::collections::BTreeMap;

const IDENTITY: &str = "SELECT id, store FROM catalog_identity";
const COUNTERS: &str = "SELECT name, CAST(sum(value) AS BIGINT) AS value FROM counters GROUP BY name";
const WAITS: &str = "SELECT 'ingest' AS work, u.state,
        min(CASE u.state WHEN 'completed' THEN w.wanted_since ELSE u.updated_at END) AS since
    FROM work_items w JOIN upload_sessions u ON u.id = w.subject
    WHERE w.kind = 'ingest' AND w.parked_at IS NULL AND u.state IN ('completed', 'ingesting') GROUP BY u.state
    UNION ALL SELECT s.name, s.state, min(CASE s.state WHEN 'queued' THEN w.wanted_since ELSE s.started_at END)
    FROM work_items w JOIN publish_jobs j ON j.id = w.subject JOIN publish_steps s ON s.job_id = j.id
    WHERE w.kind = 'publish' AND w.parked_at IS NULL AND s.state IN ('queued', 'running') GROUP BY s.name, s.state";
const PARKED: &str = "SELECT kind AS name, count(*) AS value FROM work_items WHERE parked_at IS NOT NULL GROUP BY kind";
pub(crate) const STATEMENTS: &[&str] = &[IDENTITY, COUNTERS, WAITS, PARKED];

#[async_trait]
impl<D: SqlDatabase> OperationsQueries for SqlCatalog<D> {
    async fn check(&self) -> Result<(), CatalogError> {
        self.database.check().await?;
        revision(&mut self.reader().await?).await.map(drop)
    }

    async fn identity(&self) -> Result<CatalogIdentity, CatalogError> {
        self.reader().await?.get(IDENTITY, values![]).await
    }

    async fn list_nodes(&self) -> Result<(Vec<SeenNode>, Timestamp), CatalogError> {
        let (mut snapshot, now) = self.database.snapshot().await?;
        Ok((snapshot.list_decodable(NODES, values![]).await?, now))
    }

    async fn statistics(&self) -> Result<Statistics, CatalogError> {
        let (mut snapshot, now) = self.database.snapshot().await?;
        let counters = snapshot.list_decodable(COUNTERS, values![]).await?;
        let waits = snapshot.list_decodable(WAITS, values![]).await?;
        let parked = snapshot.list_decodable(PARKED, values![]).await?;
        let nodes: Vec<SeenNode> = snapshot.list_decodable(NODES, values![]).await?;
        Ok(statistics(counters, waits, parked, &nodes, now))
    }

    fn undecodable_rows(&self) -> BTreeMap<String, u64> {
        self.database.undecodable().counts()
    }

    async fn free_bytes(&self) -> Result<Option<u64>, CatalogError> {
        self.database.free_bytes().await
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

struct Counter {
    name: String,
    value: i64,
}

impl Record for Counter {
    const WHAT: &'static str = "counter";
    const ID: &'static str = "name";

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
    const ID: &'static str = "work";

    fn read(row: &Row<'_>) -> Result<Self, Corrupt> {
        Ok(Self { work: row.get("work")?, state: row.get("state")?, since: row.optional("since")? })
    }
}

/// Counters are named `kind` or `kind:value:...`, as the triggers write them.
fn statistics(
    counters: Vec<Counter>,
    waits: Vec<Wait>,
    parked: Vec<Counter>,
    nodes: &[SeenNode],
    now: Timestamp,
) -> Statistics {
    let mut statistics = Statistics {
        uploads: BTreeMap::new(),
        jobs: BTreeMap::new(),
        steps: BTreeMap::new(),
        versions: BTreeMap::new(),
        lifecycles: BTreeMap::new(),
        blobs: 0,
        blob_bytes: 0,
        unreferenced_bytes: 0,
        incus_rows: 0,
        ingest: Oldest::default(),
        oldest_steps: BTreeMap::new(),
        nodes: BTreeMap::new(),
        parked: parked.into_iter().map(|kind| (kind.name, u64::try_from(kind.value).unwrap_or(0))).collect(),
        now,
    };
    for node in nodes {
        *statistics.nodes.entry(node.state(now)).or_default() += 1;
    }
    for Counter { name, value } in counters {
        let value = u64::try_from(value).unwrap_or(0);
        let kind: Vec<&str> = name.split(':').collect();
        let counter = match *kind.as_slice() {
            ["uploads", state] => statistics.uploads.entry(state.to_owned()).or_default(),
            ["jobs", state] => statistics.jobs.entry(state.to_owned()).or_default(),
            ["steps", step, state] => statistics.steps.entry((step.to_owned(), state.to_owned())).or_default(),
            ["versions", state] => statistics.versions.entry(state.to_owned()).or_default(),
            ["lifecycles", state] => statistics.lifecycles.entry(state.to_owned()).or_default(),
            ["blobs"] => &mut statistics.blobs,
            ["blob_bytes"] => &mut statistics.blob_bytes,
            ["unreferenced_bytes"] => &mut statistics.unreferenced_bytes,
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
