//! Observation of requests, for metrics.

use crate::{middleware::frames, request::Transport};
use axum::{
    body::{Body, HttpBody},
    extract::MatchedPath,
    http::{Method, StatusCode},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tracing::Span;

/// A completed request, in labels of bounded cardinality.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompletedRequest<'a> {
    /// The method; `_OTHER` for methods that the API does not use.
    pub method: &'static str,
    /// The route's pattern, such as `/v1/images/{name}`; empty when none matched.
    pub route: &'a str,
    /// The status; 499 when the client disconnected before the response.
    pub status: StatusCode,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// From the request's head to the end of the response's body.
    pub took: Duration,
}

/// Observes every request.
pub trait RequestObserver: Send + Sync {
    /// A request has arrived.
    fn began(&self, method: &'static str);
    /// Its response was sent completely, or the connection ended before that.
    fn ended(&self, request: &CompletedRequest<'_>);
}

/// Observes nothing.
pub(crate) struct NoObserver;

impl RequestObserver for NoObserver {
    fn began(&self, _: &'static str) {}
    fn ended(&self, _: &CompletedRequest<'_>) {}
}

/// The methods that the API uses, and the label of all others.
pub const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "_OTHER"];

fn method_label(method: &Method) -> &'static str {
    METHODS.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

/// The observation of one request, reported as completed when this is dropped.
pub(crate) struct Observation {
    observer: Arc<dyn RequestObserver>,
    started: Instant,
    method: &'static str,
    route: Option<MatchedPath>,
    scheme: &'static str,
    status: StatusCode,
}

impl Observation {
    pub(crate) fn begin(
        observer: Arc<dyn RequestObserver>,
        method: &Method,
        route: Option<MatchedPath>,
        transport: Transport,
    ) -> Self {
        let method = method_label(method);
        observer.began(method);
        // What reverse proxies log for a client that disconnected.
        let status = StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT);
        let scheme = match transport {
            Transport::Plaintext | Transport::PlaintextOnTlsPort => "http",
            Transport::Tls => "https",
        };
        Self { observer, started: Instant::now(), method, route, scheme, status }
    }

    pub(crate) fn responded(&mut self, status: StatusCode) {
        self.status = status;
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let route = self.route.as_ref().map_or("", MatchedPath::as_str);
        let (method, status, scheme) = (self.method, self.status, self.scheme);
        self.observer.ended(&CompletedRequest { method, route, status, scheme, took: self.started.elapsed() });
    }
}

/// The body of a response: it is produced in the request's span, and ends the request's observation when it is dropped.
pub(super) fn observed(body: Body, span: Span, observation: Observation) -> Body {
    frames::through(body, move |body, context| {
        let _observation = &observation;
        let _entered = span.enter();
        body.poll_frame(context)
    })
}
