//! Metrics of this process.

use imgsrv_app::{Ran, WorkObserver};
use imgsrv_blobs::{Observer, Operation, Outcome};
use imgsrv_domain::{time::Timestamp, work::WorkKind};
use imgsrv_http::{CompletedRequest, METHODS, RequestObserver};
use prometheus_client::{
    encoding::prometheus_text,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Metric, Registry},
};
use std::{fmt, sync::atomic::AtomicU64, time::Duration};

/// Upper bounds in seconds, up to downloads of gigabytes.
const REQUEST_BUCKETS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0, 1800.0];
/// Upper bounds in seconds, up to copies of gigabytes.
const OPERATION_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];

type Labels<const N: usize, V = &'static str> = [(&'static str, V); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The metrics of this process.
pub(crate) struct ProcessMetrics {
    registry: Registry,
    requests: Histograms<Labels<4, String>>,
    /// In the order of [`METHODS`].
    active_requests: [Gauge; METHODS.len()],
    operations: Counters<2>,
    operation_durations: Histograms<Labels<2>>,
    operation_bytes: Counters<2>,
    attempts: Counters<2>,
    errors: Counters<1>,
    circuit_open: Counters<1>,
    consecutive_failures: Family<Labels<1>, Gauge>,
    last_success: Family<Labels<1>, Gauge<f64, AtomicU64>>,
    last_error: Family<Labels<1>, Gauge<f64, AtomicU64>>,
}

impl ProcessMetrics {
    /// Metrics that are all zero. Every value of a bounded label is shown from the start.
    pub(crate) fn new() -> Self {
        // The registry appends a period to each help, and `_total` to names of counters.
        let mut registry = Registry::default();
        let into = &mut registry;
        let metrics = Self {
            requests: register(
                into,
                "http_server_request_duration_seconds",
                "Duration of requests, from the header to the end of the response",
                Histograms::new_with_constructor(|| Histogram::new(REQUEST_BUCKETS)),
            ),
            active_requests: {
                let requests: Family<Labels<1>, Gauge> =
                    new(into, "http_server_active_requests", "Requests in progress");
                METHODS.map(|method| requests.get_or_create(&method_label(method)).clone())
            },
            operations: new(into, "imgsrv_objectstore_operations", "Operations of the blob store"),
            operation_durations: register(
                into,
                "imgsrv_objectstore_operation_duration_seconds",
                "Duration of operations of the blob store, including retries",
                Histograms::new_with_constructor(|| Histogram::new(OPERATION_BUCKETS)),
            ),
            operation_bytes: new(into, "imgsrv_objectstore_bytes", "Bytes read from and written to the blob store"),
            attempts: job(into, "attempts", "Attempts of background workers"),
            errors: job(into, "errors", "Failed attempts of background workers"),
            circuit_open: job(
                into,
                "circuit_open",
                "Number of times that background workers paused after consecutive failures",
            ),
            consecutive_failures: job(
                into,
                "consecutive_failures",
                "Consecutive failures of the background worker that made the last attempt",
            ),
            last_success: job(
                into,
                "last_success_timestamp_seconds",
                "Time of the last successful attempt of a background worker; 0 if there was none",
            ),
            last_error: job(
                into,
                "last_error_timestamp_seconds",
                "Time of the last failed attempt of a background worker; 0 if there was none",
            ),
            registry,
        };
        metrics.create_zeros();
        metrics
    }

    fn create_zeros(&self) {
        for operation in Operation::ALL {
            for outcome in Outcome::ALL {
                let labels = operation_labels(*operation, *outcome);
                drop(self.operations.get_or_create(&labels));
                drop(self.operation_durations.get_or_create(&labels));
            }
        }
        for operation in [Operation::Get, Operation::Put, Operation::PutPart] {
            drop(self.operation_bytes.get_or_create(&bytes_labels(operation)));
        }
        for job in WorkKind::ALL.iter().map(|kind| job_name(*kind)) {
            for outcome in ["worked", "idle", "error"] {
                drop(self.attempts.get_or_create(&attempt_labels(job, outcome)));
            }
            drop(self.errors.get_or_create(&job_label(job)));
            drop(self.circuit_open.get_or_create(&job_label(job)));
            drop(self.consecutive_failures.get_or_create(&job_label(job)));
            drop(self.last_success.get_or_create(&job_label(job)));
            drop(self.last_error.get_or_create(&job_label(job)));
        }
    }

    /// The number of requests in progress with that method.
    fn active(&self, method: &'static str) -> Option<&Gauge> {
        METHODS.iter().zip(&self.active_requests).find_map(|(known, requests)| (*known == method).then_some(requests))
    }

    /// Appends all metrics in Prometheus' text format.
    pub(crate) fn encode(&self, into: &mut String) -> fmt::Result {
        prometheus_text::encode(into, &self.registry)
    }
}

fn register<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

fn new<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    register(registry, name, help, M::default())
}

/// A metric of background jobs.
fn job<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    new(registry, &format!("imgsrv_background_job_{name}"), help)
}

const fn method_label(method: &'static str) -> Labels<1> {
    [("http_request_method", method)]
}

const fn operation_labels(operation: Operation, outcome: Outcome) -> Labels<2> {
    [("operation", operation.as_str()), ("outcome", outcome.as_str())]
}

const fn bytes_labels(operation: Operation) -> Labels<2> {
    [("direction", operation.direction()), ("operation", operation.as_str())]
}

const fn attempt_labels(job: &'static str, outcome: &'static str) -> Labels<2> {
    [("job", job), ("outcome", outcome)]
}

const fn job_label(job: &'static str) -> Labels<1> {
    [("job", job)]
}

#[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 fit a double for centuries")]
fn seconds(time: Timestamp) -> f64 {
    time.micros() as f64 / 1e6
}

/// The label of a kind of work. That of ingests is older than their name.
const fn job_name(kind: WorkKind) -> &'static str {
    match kind {
        WorkKind::Ingest => "cas-promotion",
        WorkKind::Publish
        | WorkKind::Clear
        | WorkKind::Sweep
        | WorkKind::Collect
        | WorkKind::Tombstone
        | WorkKind::Retention
        | WorkKind::Scrub => kind.as_str(),
    }
}

impl WorkObserver for ProcessMetrics {
    fn ran(&self, kind: WorkKind, ran: Ran, now: Timestamp) {
        let job = job_name(kind);
        let outcome = match ran {
            Ran::Worked => "worked",
            Ran::Idle => "idle",
        };
        self.attempts.get_or_create(&attempt_labels(job, outcome)).inc();
        self.last_success.get_or_create(&job_label(job)).set(seconds(now));
        if ran == Ran::Worked {
            self.consecutive_failures.get_or_create(&job_label(job)).set(0);
        }
    }

    fn failed(&self, kind: WorkKind, failures: u32, paused: bool, now: Timestamp) {
        let job = job_name(kind);
        self.attempts.get_or_create(&attempt_labels(job, "error")).inc();
        self.errors.get_or_create(&job_label(job)).inc();
        self.consecutive_failures.get_or_create(&job_label(job)).set(failures.into());
        self.last_error.get_or_create(&job_label(job)).set(seconds(now));
        if paused {
            self.circuit_open.get_or_create(&job_label(job)).inc();
        }
    }
}

impl Observer for ProcessMetrics {
    fn operation(&self, operation: Operation, outcome: Outcome, took: Duration) {
        let labels = operation_labels(operation, outcome);
        self.operations.get_or_create(&labels).inc();
        self.operation_durations.get_or_create(&labels).observe(took.as_secs_f64());
    }

    fn bytes(&self, operation: Operation, bytes: u64) {
        self.operation_bytes.get_or_create(&bytes_labels(operation)).inc_by(bytes);
    }
}

impl RequestObserver for ProcessMetrics {
    fn began(&self, method: &'static str) {
        if let Some(requests) = self.active(method) {
            requests.inc();
        }
    }

    fn ended(&self, request: &CompletedRequest<'_>) {
        if let Some(requests) = self.active(request.method) {
            requests.dec();
        }
        let labels = [
            ("http_request_method", request.method.to_owned()),
            ("http_response_status_code", request.status.as_str().to_owned()),
            ("http_route", request.route.to_owned()),
            ("url_scheme", request.scheme.to_owned()),
        ];
        self.requests.get_or_create(&labels).observe(request.took.as_secs_f64());
    }
}
