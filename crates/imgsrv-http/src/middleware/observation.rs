//! Observation of requests, for metrics and the access log.

use crate::{
    middleware::frames,
    request::{Sender, Transport},
};
use axum::{
    body::{Body, Bytes, HttpBody},
    extract::MatchedPath,
    http::{Method, StatusCode},
};
use std::{
    net::IpAddr,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};
use tracing::{Span, field};

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

/// What the access log has of a request beside its metrics. Never its path: that may be a credential.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) request_id: String,
    pub(crate) client: Option<IpAddr>,
    pub(crate) sender: Sender,
}

/// The observation of one request, reported as completed when this is dropped.
pub(crate) struct Observation {
    observer: Arc<dyn RequestObserver>,
    access: Access,
    bytes: u64,
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
        access: Access,
    ) -> Self {
        let method = method_label(method);
        observer.began(method);
        // What reverse proxies log for a client that disconnected.
        let status = StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT);
        let scheme = match transport {
            Transport::Plaintext | Transport::PlaintextOnTlsPort => "http",
            Transport::Tls => "https",
        };
        Self { observer, access, bytes: 0, started: Instant::now(), method, route, scheme, status }
    }

    pub(crate) fn responded(&mut self, status: StatusCode) {
        self.status = status;
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let route = self.route.as_ref().map_or("", MatchedPath::as_str);
        let (method, status, scheme) = (self.method, self.status, self.scheme);
        let took = self.started.elapsed();
        self.observer.ended(&CompletedRequest { method, route, status, scheme, took });
        let Access { request_id, client, sender } = &self.access;
        let principal = sender.get();
        tracing::info!(
            target: "imgsrv::access",
            {
                http.method = method,
                http.route = route,
                http.status = status.as_u16(),
                bytes = self.bytes,
                duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
                principal.id = principal.map(|(id, _)| field::display(id)),
                principal.name = principal.map(|(_, name)| name.as_str()),
                client.address = client.map(field::display),
                request.id = request_id,
            },
            "request served"
        );
    }
}

/// The body of a response: it is produced in the request's span, and ends the request's observation when it is dropped.
pub(super) fn observed(body: Body, span: Span, mut observation: Observation) -> Body {
    frames::through(body, move |body, context| {
        let observation = &mut observation;
        let _entered = span.enter();
        let polled = body.poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            observation.bytes += u64::try_from(bytes).unwrap_or(0);
        }
        polled
    })
}
