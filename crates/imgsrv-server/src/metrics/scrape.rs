//! The response to a scrape: the process's metrics, and those of the catalog.

use super::{
    ProcessMetrics,
    encoding::{by_state, counter, gauge, single},
    machine::MachineMetrics,
};
use crate::storage::OpenCatalog;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use imgsrv_app::{CollectionCounts, Services};
use imgsrv_catalog::postgres::PoolStatus;
use imgsrv_domain::{
    error_chain,
    lifecycle::LifecycleState,
    node::NodeState,
    ports::{CatalogError, Statistics, Unwritable, VerificationTotals},
    publish::{JobState, StepName},
    time::Timestamp,
    upload::UploadState,
    work::WorkKind,
};
use imgsrv_http::{Degradation, SendBudget};
use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder,
        prometheus_text::{self, CONTENT_TYPE},
    },
    metrics::MetricType,
    registry::Registry,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

/// How long statistics of the catalog are reused.
const MAX_AGE: Duration = Duration::from_secs(1);
/// The time of which the verifications are counted.
const DAY: Duration = Duration::from_hours(24);
/// Timeout of reading statistics from the catalog.
const DEADLINE: Duration = Duration::from_secs(5);

/// The documented states of publish steps. No step is `skipped` at present.
const STEP_STATES: [&str; 5] = ["queued", "running", "succeeded", "failed", "skipped"];

/// The sources of a scrape.
pub(crate) struct Scrape {
    process: Arc<ProcessMetrics>,
    catalog: OpenCatalog,
    services: Services,
    send_budget: Arc<SendBudget>,
    degradation: Arc<Degradation>,
    machine: MachineMetrics,
    last: Mutex<Option<(Instant, Statistics, VerificationTotals)>>,
}

impl Scrape {
    pub(crate) fn new(
        process: Arc<ProcessMetrics>,
        catalog: OpenCatalog,
        services: Services,
        send_budget: Arc<SendBudget>,
        degradation: Arc<Degradation>,
        machine: MachineMetrics,
    ) -> Self {
        Self { process, catalog, services, send_budget, degradation, machine, last: Mutex::default() }
    }

    /// Statistics of the catalog, at most a second old.
    async fn statistics(&self) -> Result<(Statistics, VerificationTotals), CatalogError> {
        let mut last = self.last.lock().await;
        if let Some((since, statistics, verification)) = &*last
            && since.elapsed() < MAX_AGE
        {
            return Ok((statistics.clone(), *verification));
        }
        let late = |late: tokio::time::error::Elapsed| CatalogError::Unavailable(Box::new(late));
        let catalog = self.catalog.port();
        let statistics = tokio::time::timeout(DEADLINE, catalog.statistics()).await.map_err(late)??;
        let since = statistics.now.minus(DAY);
        let verification = tokio::time::timeout(DEADLINE, catalog.verification_totals(since)).await.map_err(late)??;
        *last = Some((Instant::now(), statistics.clone(), verification));
        Ok((statistics, verification))
    }

    async fn text(&self) -> Result<String, fmt::Error> {
        let mut catalog = Registry::default();
        catalog.register_collector(Box::new(SendMetrics {
            used: self.send_budget.used(),
            limit: self.send_budget.limit(),
        }));
        catalog.register_collector(Box::new(DegradedMetrics(self.degradation.reasons())));
        catalog.register_collector(Box::new(self.machine.measure(&self.services).await));
        if let Some(pool) = self.catalog.pool_status() {
            catalog.register_collector(Box::new(PoolMetrics(pool)));
        }
        catalog.register_collector(Box::new(UndecodableRows(self.catalog.port().undecodable_rows())));
        catalog.register_collector(Box::new(CollectionMetrics(self.services.collection_counts())));
        match self.statistics().await {
            Ok((statistics, verification)) => {
                catalog.register_collector(Box::new(VerificationMetrics(verification)));
                catalog.register_collector(Box::new(CatalogMetrics(statistics)));
            }
            Err(error) => {
                tracing::warn!(error = error_chain::text(&error), "catalog metrics omitted from a scrape");
            }
        }
        let mut text = String::new();
        self.process.encode(&mut text)?;
        prometheus_text::encode(&mut text, &catalog)?;
        Ok(text)
    }
}

/// Serves metrics at `path`.
pub(crate) fn router(path: &str, scrape: Scrape) -> Router {
    Router::new().route(path, get(respond)).with_state(Arc::new(scrape))
}

async fn respond(State(scrape): State<Arc<Scrape>>) -> Response {
    match scrape.text().await {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics could not be encoded");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[derive(Debug)]
struct SendMetrics {
    used: u64,
    limit: u64,
}

impl Collector for SendMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let help = "Response data in memory that clients have not received yet.";
        single(&mut encoder, "imgsrv_send_buffer_bytes", help, Some(self.used))?;
        let help = "Maximum of response data in memory that clients have not received yet.";
        single(&mut encoder, "imgsrv_send_buffer_limit_bytes", help, Some(self.limit))
    }
}

#[derive(Debug)]
struct DegradedMetrics(BTreeSet<Unwritable>);

impl Collector for DegradedMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let states = Unwritable::ALL.iter().map(|why| ([("reason", why.as_str())], u64::from(self.0.contains(why))));
        gauge(
            &mut encoder,
            "imgsrv_degraded",
            "1 if the storage accepts no writes for this reason, otherwise 0.",
            states,
        )
    }
}

#[derive(Debug)]
struct PoolMetrics(PoolStatus);

impl Collector for PoolMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let PoolStatus { idle, used, acquires, waited } = self.0;
        let connections = [([("state", "idle")], idle), ([("state", "used")], used)];
        gauge(&mut encoder, "imgsrv_postgres_pool_connections", "Connections to PostgreSQL.", connections)?;
        let help = "Number of requests for a connection to PostgreSQL.";
        counter(&mut encoder, "imgsrv_postgres_pool_acquires", help, acquires)?;
        let help = "Total time that requests waited for a connection to PostgreSQL.";
        counter(&mut encoder, "imgsrv_postgres_pool_acquire_duration_seconds", help, waited.as_secs_f64())
    }
}

#[derive(Debug)]
struct UndecodableRows(BTreeMap<String, u64>);

impl Collector for UndecodableRows {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let (name, help) =
            ("imgsrv_catalog_undecodable_rows", "Number of reads of catalog rows that could not be decoded.");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        self.0.iter().try_for_each(|(kind, count)| {
            family.encode_family(&[("kind", kind.as_str())])?.encode_counter::<[(&str, &str); 0], _, u64>(count, None)
        })
    }
}

#[derive(Debug)]
struct CollectionMetrics(CollectionCounts);

impl Collector for CollectionMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let CollectionCounts { succeeded, failed, freed_blobs, freed_bytes, last_success } = self.0;
        let mut runs = encoder.encode_descriptor(
            "imgsrv_gc_runs",
            "Garbage collections of this process.",
            None,
            MetricType::Counter,
        )?;
        for (outcome, count) in [("success", succeeded), ("error", failed)] {
            runs.encode_family(&[("outcome", outcome)])?.encode_counter::<[(&str, &str); 0], _, u64>(&count, None)?;
        }
        let help = "Stored blobs that garbage collections of this process have deleted.";
        counter(&mut encoder, "imgsrv_gc_freed_blobs", help, freed_blobs)?;
        let help = "Bytes in blobs that garbage collections of this process have deleted.";
        counter(&mut encoder, "imgsrv_gc_freed_bytes", help, freed_bytes)?;
        let help = "Time of the last successful garbage collection of this process.";
        let time = last_success.map(|time| time.since(Timestamp::from_micros(0)).as_secs_f64());
        single(&mut encoder, "imgsrv_gc_last_success_timestamp_seconds", help, time)
    }
}

#[derive(Debug)]
struct VerificationMetrics(VerificationTotals);

impl Collector for VerificationMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let VerificationTotals { quarantined, oldest_verified_at, verified_bytes, .. } = self.0;
        let help = "Quarantined blobs: their stored content is missing or damaged, and is not served.";
        single(&mut encoder, "imgsrv_blobs_quarantined", help, Some(quarantined))?;
        let help = "Time when the blob that was verified least recently was last verified.";
        let time = oldest_verified_at.map(|time| time.since(Timestamp::from_micros(0)).as_secs_f64());
        single(&mut encoder, "imgsrv_scrub_oldest_verified_timestamp_seconds", help, time)?;
        let help = "Bytes in blobs that were verified again in the last 24 hours.";
        single(&mut encoder, "imgsrv_scrub_last_day_bytes", help, Some(verified_bytes))
    }
}

#[derive(Debug)]
struct CatalogMetrics(Statistics);

impl Collector for CatalogMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Statistics {
            uploads,
            jobs,
            steps,
            versions,
            lifecycles,
            blobs,
            blob_bytes,
            unreferenced_bytes,
            incus_rows,
            ingest,
            oldest_steps,
            nodes,
            parked,
            now,
        } = &self.0;
        let encoder = &mut encoder;
        let upload_states = UploadState::NAMES.map(|state| (state, state));
        by_state(encoder, "imgsrv_upload_sessions", "Upload sessions.", uploads, &upload_states)?;
        let ingest_states = [("completed", "queued"), ("ingesting", "running"), ("failed", "failed")];
        by_state(encoder, "imgsrv_cas_ingest_jobs", "Ingests of completed uploads.", uploads, &ingest_states)?;
        let job_states: Vec<_> = JobState::ALL.iter().map(|state| (state.as_str(), state.as_str())).collect();
        by_state(encoder, "imgsrv_publish_jobs", "Publish jobs.", jobs, &job_states)?;
        single(encoder, "imgsrv_cas_blobs", "Trusted blobs.", Some(*blobs))?;
        single(encoder, "imgsrv_cas_blob_bytes", "Bytes in trusted blobs.", Some(*blob_bytes))?;
        let help = "Bytes in blobs that no version refers to, including those in their grace period.";
        single(encoder, "imgsrv_gc_reclaimable_bytes", help, Some(*unreferenced_bytes))?;
        let help = "Artifacts that are listed in Simple Streams.";
        single(encoder, "imgsrv_incus_projection_rows", help, Some(*incus_rows))?;
        let states = LifecycleState::ALL.iter().map(|state| state.as_str());
        let counts = states.map(|state| ([("lifecycle", state)], lifecycles.get(state).copied().unwrap_or(0)));
        gauge(encoder, "imgsrv_versions", "Published versions by the state of their lifecycle.", counts)?;
        let publishing = versions.get("publishing").copied().unwrap_or(0);
        let help = "Versions that are being published.";
        single(encoder, "imgsrv_publish_versions_publishing", help, Some(publishing))?;
        let help = "Nodes that share the catalog.";
        let counts =
            NodeState::ALL.iter().map(|state| ([("state", state.as_str())], nodes.get(state).copied().unwrap_or(0)));
        gauge(encoder, "imgsrv_nodes", help, counts)?;
        let help = "Work items that are parked until a retry is requested.";
        let kinds = WorkKind::ALL.iter().map(|kind| kind.as_str());
        let counts = kinds.map(|kind| ([("kind", kind)], parked.get(kind).copied().unwrap_or(0)));
        gauge(encoder, "imgsrv_work_parked", help, counts)?;

        // An age is absent when nothing has one.
        let age = |since: Timestamp| now.since(since).as_secs_f64();
        let help = "Age of the oldest queued ingest.";
        single(encoder, "imgsrv_cas_ingest_oldest_queued_age_seconds", help, ingest.queued.map(age))?;
        let help = "Age of the oldest running ingest.";
        single(encoder, "imgsrv_cas_ingest_oldest_running_age_seconds", help, ingest.running.map(age))?;

        let names: Vec<_> = StepName::ALL.iter().map(|step| step.as_str()).collect();
        let counts = names.iter().flat_map(|step| {
            STEP_STATES.map(|state| {
                let count = steps.get(&((*step).to_owned(), state.to_owned())).copied().unwrap_or(0);
                ([("state", state), ("step", *step)], count)
            })
        });
        gauge(encoder, "imgsrv_publish_steps", "Steps of publish jobs.", counts)?;
        let oldest = |step: &'static str| oldest_steps.get(step).copied().unwrap_or_default();
        let queued = names.iter().filter_map(|step| Some(([("step", *step)], age(oldest(step).queued?))));
        let help = "Age of the oldest queued publish step.";
        gauge(encoder, "imgsrv_publish_step_oldest_queued_age_seconds", help, queued)?;
        let running = names.iter().filter_map(|step| Some(([("step", *step)], age(oldest(step).running?))));
        let help = "Age of the oldest running publish step.";
        gauge(encoder, "imgsrv_publish_step_oldest_running_age_seconds", help, running)
    }
}
