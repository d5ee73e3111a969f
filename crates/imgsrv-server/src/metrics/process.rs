//! What this process does.

use imgsrv_app::Ran;
use imgsrv_blobs::{Direction, Observer, Operation, Outcome};
use imgsrv_domain::time::Timestamp;
use imgsrv_http::{CompletedRequest, METHODS, RequestObserver};
use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::time::Duration;

/// Seconds; requests may be downloads of gigabytes.
const REQUEST_BUCKETS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0, 1800.0];
/// Seconds; a piece of some megabytes, or a copy of gigabytes.
const OPERATION_BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0];

/// Every kind of background job.
const JOBS: [&str; 3] = ["cas-promotion", "publish", "sweep"];

/// The counters of this process.
pub(crate) struct ProcessMetrics {
    registry: Registry,
    requests: HistogramVec,
    active_requests: IntGaugeVec,
    operations: IntCounterVec,
    operation_durations: HistogramVec,
    operation_bytes: IntCounterVec,
    attempts: IntCounterVec,
    errors: IntCounterVec,
    circuit_open: IntCounterVec,
    consecutive_failures: IntGaugeVec,
    last_success: GaugeVec,
    last_error: GaugeVec,
}

impl ProcessMetrics {
    /// Counters that all stand at zero.
    pub(crate) fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counter.clone())).map(|()| counter)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauge.clone())).map(|()| gauge)
        };
        let timestamp = |name: &str, help: &str| {
            let gauge = GaugeVec::new(Opts::new(name, help), &["job"])?;
            registry.register(Box::new(gauge.clone())).map(|()| gauge)
        };
        let histogram = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            let histogram = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?;
            registry.register(Box::new(histogram.clone())).map(|()| histogram)
        };
        let metrics = Self {
            requests: histogram(
                "http_server_request_duration_seconds",
                "From the head of a request to the end of its answer.",
                &["http_request_method", "http_response_status_code", "http_route", "url_scheme"],
                &REQUEST_BUCKETS,
            )?,
            active_requests: gauge(
                "http_server_active_requests",
                "Requests that are being answered.",
                &["http_request_method"],
            )?,
            operations: counter(
                "imgsrv_objectstore_operations_total",
                "Operations of the blob store.",
                &["operation", "outcome"],
            )?,
            operation_durations: histogram(
                "imgsrv_objectstore_operation_duration_seconds",
                "How long operations of the blob store took, retries included.",
                &["operation", "outcome"],
                &OPERATION_BUCKETS,
            )?,
            operation_bytes: counter(
                "imgsrv_objectstore_bytes_total",
                "Bytes read from and written to the blob store.",
                &["operation", "direction"],
            )?,
            attempts: counter(
                "imgsrv_background_job_attempts_total",
                "Attempts of background workers at a piece of work.",
                &["job", "outcome"],
            )?,
            errors: counter(
                "imgsrv_background_job_errors_total",
                "Attempts of background workers that failed.",
                &["job"],
            )?,
            circuit_open: counter(
                "imgsrv_background_job_circuit_open_total",
                "How often background workers paused because every attempt failed.",
                &["job"],
            )?,
            consecutive_failures: gauge(
                "imgsrv_background_job_consecutive_failures",
                "Failures in a row of the background worker that last made an attempt.",
                &["job"],
            )?,
            last_success: timestamp(
                "imgsrv_background_job_last_success_timestamp_seconds",
                "When a background worker last made an attempt that did not fail; 0 is never.",
            )?,
            last_error: timestamp(
                "imgsrv_background_job_last_error_timestamp_seconds",
                "When an attempt of a background worker last failed; 0 is never.",
            )?,
            registry,
        };
        metrics.show_zeros();
        Ok(metrics)
    }

    /// Every value of a bounded label is shown from the start.
    fn show_zeros(&self) {
        for method in METHODS {
            self.active_requests.with_label_values(&[method]);
        }
        for operation in Operation::ALL {
            for outcome in Outcome::ALL {
                self.operations.with_label_values(&[operation.as_str(), outcome.as_str()]);
                self.operation_durations.with_label_values(&[operation.as_str(), outcome.as_str()]);
            }
        }
        for (operation, direction) in [
            (Operation::Get, Direction::Read),
            (Operation::Put, Direction::Write),
            (Operation::PutPart, Direction::Write),
        ] {
            self.operation_bytes.with_label_values(&[operation.as_str(), direction.as_str()]);
        }
        for job in JOBS {
            for outcome in ["worked", "idle", "error"] {
                self.attempts.with_label_values(&[job, outcome]);
            }
            self.errors.with_label_values(&[job]);
            self.circuit_open.with_label_values(&[job]);
            self.consecutive_failures.with_label_values(&[job]);
            self.last_success.with_label_values(&[job]);
            self.last_error.with_label_values(&[job]);
        }
    }

    /// A worker has made an attempt that did not fail.
    pub(crate) fn ran(&self, job: &str, ran: Ran, now: Timestamp) {
        let outcome = match ran {
            Ran::Worked | Ran::Finished => "worked",
            Ran::Idle => "idle",
        };
        self.attempts.with_label_values(&[job, outcome]).inc();
        self.last_success.with_label_values(&[job]).set(seconds(now));
        if ran != Ran::Idle {
            self.consecutive_failures.with_label_values(&[job]).set(0);
        }
    }

    /// A worker has failed so often in a row, which may have made it pause.
    pub(crate) fn failed(&self, job: &str, failures: u32, paused: bool, now: Timestamp) {
        self.attempts.with_label_values(&[job, "error"]).inc();
        self.errors.with_label_values(&[job]).inc();
        self.consecutive_failures.with_label_values(&[job]).set(failures.into());
        self.last_error.with_label_values(&[job]).set(seconds(now));
        if paused {
            self.circuit_open.with_label_values(&[job]).inc();
        }
    }

    /// All of it in Prometheus's text format.
    pub(crate) fn encode(&self, into: &mut Vec<u8>) -> Result<(), prometheus::Error> {
        TextEncoder::new().encode(&self.registry.gather(), into)
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds since 1970 fit a double for centuries")]
fn seconds(time: Timestamp) -> f64 {
    time.micros() as f64 / 1e6
}

impl Observer for ProcessMetrics {
    fn operation(&self, operation: Operation, outcome: Outcome, took: Duration) {
        let labels = [operation.as_str(), outcome.as_str()];
        self.operations.with_label_values(&labels).inc();
        self.operation_durations.with_label_values(&labels).observe(took.as_secs_f64());
    }

    fn bytes(&self, operation: Operation, direction: Direction, bytes: u64) {
        self.operation_bytes.with_label_values(&[operation.as_str(), direction.as_str()]).inc_by(bytes);
    }
}

impl RequestObserver for ProcessMetrics {
    fn began(&self, method: &'static str) {
        self.active_requests.with_label_values(&[method]).inc();
    }

    fn ended(&self, request: &CompletedRequest<'_>) {
        self.active_requests.with_label_values(&[request.method]).dec();
        let labels = [request.method, request.status.as_str(), request.route, request.scheme];
        self.requests.with_label_values(&labels).observe(request.took.as_secs_f64());
    }
}
