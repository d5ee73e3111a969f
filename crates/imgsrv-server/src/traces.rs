//! Traces to a collector, as OpenTelemetry over HTTP.

use async_trait::async_trait;
use axum::body::Bytes;
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::{Layer, registry::LookupSpan};

/// How long the collector may take to accept spans.
const LIMIT: Duration = Duration::from_secs(5);

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TracesError {
    #[error("cannot set up HTTP for traces: {0}")]
    Http(#[from] reqwest::Error),
    #[error("cannot set up the export of traces: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Sends spans in batches, from a thread of its own. Spans are dropped if the collector does not keep up.
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// Begins to send spans to the collector at `endpoint`; `node` names this node.
    pub(crate) fn start(endpoint: &str, node: &str) -> Result<Self, TracesError> {
        let http = reqwest::Client::builder().timeout(LIMIT).build()?;
        let collector = Collector { http, runtime: Handle::current(), fails: AtomicBool::new(false) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(collector)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{endpoint}/v1/traces"))
            .build()?;
        let attributes = [
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", node.to_owned()),
        ];
        let resource = Resource::builder().with_service_name("imgsrv").with_attributes(attributes).build();
        Ok(Self(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build()))
    }

    /// The layer that records spans.
    pub(crate) fn layer<S: Subscriber + for<'s> LookupSpan<'s>>(&self) -> impl Layer<S> + use<S> {
        tracing_opentelemetry::layer().with_tracer(self.0.tracer("imgsrv"))
    }

    /// Sends the spans that are left.
    pub(crate) async fn end(self) {
        let ended = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(LIMIT)).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::warn!("the last traces could not be sent");
        }
    }
}

/// Sends requests with the HTTP client of the program, whose connections need its runtime.
#[derive(Debug)]
struct Collector {
    http: reqwest::Client,
    runtime: Handle,
    /// Whether the last batch was refused, so that only the first of several is logged.
    fails: AtomicBool,
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let http = self.http.clone();
        let sending = self.runtime.spawn(async move {
            let response = http.execute(request).await?.error_for_status()?;
            let status = response.status();
            Ok::<_, reqwest::Error>((status, response.bytes().await?))
        });
        let sent = sending.await?;
        let is_failure = sent.is_err();
        if let Err(error) = &sent
            && !self.fails.load(Ordering::Relaxed)
        {
            tracing::warn!(error = imgsrv_domain::error_chain::text(error), "traces could not be sent");
        }
        self.fails.store(is_failure, Ordering::Relaxed);
        let (status, body) = sent?;
        let mut response = Response::new(body);
        *response.status_mut() = status;
        Ok(response)
    }
}
