//! Answering a scrape: the process's counters, and what the catalog holds.

use super::ProcessMetrics;
use crate::storage::OpenCatalog;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use imgsrv_catalog::postgres::PoolStatus;
use imgsrv_domain::{
    ports::{CatalogError, Statistics},
    publish::{JobState, StepName},
    time::Timestamp,
    upload::UploadState,
};
use prometheus::{Counter, Encoder, Gauge, GaugeVec, IntCounter, Opts, Registry, TextEncoder};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

/// How long an answer of the catalog stands.
const CACHED: Duration = Duration::from_secs(1);
/// How long the catalog may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// The documented states of publish steps. No step is `skipped` at present.
const STEP_STATES: [&str; 5] = ["queued", "running", "succeeded", "failed", "skipped"];

/// What a scrape is answered from.
pub(crate) struct Scrape {
    process: Arc<ProcessMetrics>,
    catalog: OpenCatalog,
    last: Mutex<Option<(Instant, Statistics)>>,
}

impl Scrape {
    pub(crate) fn new(process: Arc<ProcessMetrics>, catalog: OpenCatalog) -> Self {
        Self { process, catalog, last: Mutex::default() }
    }

    /// What the catalog holds, at most a second ago.
    async fn statistics(&self) -> Result<Statistics, CatalogError> {
        let mut last = self.last.lock().await;
        if let Some((since, statistics)) = &*last
            && since.elapsed() < CACHED
        {
            return Ok(statistics.clone());
        }
        let late = |late| CatalogError::Unavailable(Box::new(late));
        let catalog = self.catalog.port();
        let statistics = tokio::time::timeout(DEADLINE, catalog.statistics()).await.map_err(late)??;
        *last = Some((Instant::now(), statistics.clone()));
        Ok(statistics)
    }

    async fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        self.process.encode(&mut text)?;
        let registry = Registry::new();
        if let Some(pool) = self.catalog.pool_status() {
            tell_pool(&registry, pool)?;
        }
        match self.statistics().await {
            Ok(statistics) => tell_catalog(&registry, &statistics)?,
            Err(error) => tracing::warn!(%error, "metrics of the catalog are missing"),
        }
        TextEncoder::new().encode(&registry.gather(), &mut text)?;
        Ok(text)
    }
}

/// Serves metrics at `path`.
pub(crate) fn router(path: &str, scrape: Scrape) -> Router {
    Router::new().route(path, get(answer)).with_state(Arc::new(scrape))
}

async fn answer(State(scrape): State<Arc<Scrape>>) -> Response {
    match scrape.text().await {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics cannot be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

type Told = Result<(), prometheus::Error>;

fn tell_pool(registry: &Registry, pool: PoolStatus) -> Told {
    let connections = labelled(registry, "imgsrv_postgres_pool_connections", "Connections to PostgreSQL.", &["state"])?;
    connections.with_label_values(&["idle"]).set(pool.idle.into());
    connections.with_label_values(&["used"]).set(pool.used.into());
    let help = "How often a connection to PostgreSQL was asked for.";
    let acquires = IntCounter::new("imgsrv_postgres_pool_acquires_total", help)?;
    acquires.inc_by(pool.acquires);
    registry.register(Box::new(acquires))?;
    let help = "How long getting connections to PostgreSQL took in all.";
    let waited = Counter::new("imgsrv_postgres_pool_acquire_duration_seconds_total", help)?;
    waited.inc_by(pool.waited.as_secs_f64());
    registry.register(Box::new(waited))
}

fn tell_catalog(registry: &Registry, statistics: &Statistics) -> Told {
    let Statistics { uploads, jobs, steps, versions, blobs, blob_bytes, incus_rows, ingest, oldest_steps, now } =
        statistics;
    let by_state = |name: &str, help: &str, counts: &BTreeMap<String, u64>, states: &[(&str, &str)]| -> Told {
        let gauge = labelled(registry, name, help, &["state"])?;
        for (state, shown) in states {
            gauge.with_label_values(&[shown]).set(float(counts.get(*state).copied().unwrap_or(0)));
        }
        Ok(())
    };
    by_state("imgsrv_upload_sessions", "Upload sessions.", uploads, &UploadState::NAMES.map(|state| (state, state)))?;
    let ingest_states = [("completed", "queued"), ("ingesting", "running"), ("failed", "failed")];
    by_state("imgsrv_cas_ingest_jobs", "Ingests of completed uploads.", uploads, &ingest_states)?;
    by_state("imgsrv_publish_jobs", "Publish jobs.", jobs, &JobState::NAMES.map(|state| (state, state)))?;
    single(registry, "imgsrv_cas_blobs", "Trusted blobs.", float(*blobs))?;
    single(registry, "imgsrv_cas_blob_bytes", "Bytes in trusted blobs.", float(*blob_bytes))?;
    let publishing = float(versions.get("publishing").copied().unwrap_or(0));
    let rows = float(*incus_rows);
    single(registry, "imgsrv_incus_projection_rows", "Artifacts that Simple Streams list.", rows)?;
    single(registry, "imgsrv_publish_versions_publishing", "Versions that are frozen and not published.", publishing)?;
    let help = "Age of the ingest that has waited longest.";
    age(registry, "imgsrv_cas_ingest_oldest_queued_age_seconds", help, ingest.queued, *now)?;
    let help = "Age of the ingest that has run longest.";
    age(registry, "imgsrv_cas_ingest_oldest_running_age_seconds", help, ingest.running, *now)?;

    let count = labelled(registry, "imgsrv_publish_steps", "Steps of publish jobs.", &["step", "state"])?;
    let help = "Age of the publish step that has waited longest.";
    let queued = labelled(registry, "imgsrv_publish_step_oldest_queued_age_seconds", help, &["step"])?;
    let help = "Age of the publish step that has run longest.";
    let running = labelled(registry, "imgsrv_publish_step_oldest_running_age_seconds", help, &["step"])?;
    for step in StepName::ALL.iter().map(|step| step.as_str()) {
        for state in STEP_STATES {
            let counted = steps.get(&(step.to_owned(), state.to_owned())).copied().unwrap_or(0);
            count.with_label_values(&[step, state]).set(float(counted));
        }
        let oldest = oldest_steps.get(step).copied().unwrap_or_default();
        for (gauge, since) in [(&queued, oldest.queued), (&running, oldest.running)] {
            if let Some(since) = since {
                gauge.with_label_values(&[step]).set(now.since(since).as_secs_f64());
            }
        }
    }
    Ok(())
}

fn labelled(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, prometheus::Error> {
    let gauge = GaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn single(registry: &Registry, name: &str, help: &str, value: f64) -> Told {
    let gauge = Gauge::new(name, help)?;
    gauge.set(value);
    registry.register(Box::new(gauge))
}

/// Absent when there is nothing that could have an age.
fn age(registry: &Registry, name: &str, help: &str, since: Option<Timestamp>, now: Timestamp) -> Told {
    since.map_or(Ok(()), |since| single(registry, name, help, now.since(since).as_secs_f64()))
}

#[expect(clippy::cast_precision_loss, reason = "gauges are doubles")]
const fn float(count: u64) -> f64 {
    count as f64
}
