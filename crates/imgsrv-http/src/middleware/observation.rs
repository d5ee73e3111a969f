//! Telling how requests went, for metrics.

use crate::request::Transport;
use axum::{
    body::{Body, Bytes, HttpBody},
    extract::MatchedPath,
    http::{Method, StatusCode},
};
use http_body::{Frame, SizeHint};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// A request that was answered, in words of which there are few.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered<'a> {
    /// The method; `_OTHER` for one that the API does not know.
    pub method: &'static str,
    /// The route's pattern, such as `/v1/images/{name}`; empty when none matched.
    pub route: &'a str,
    /// The status.
    pub status: StatusCode,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// From the request's head to the end of the answer's body.
    pub took: Duration,
}

/// Is told of every request.
pub trait RequestObserver: Send + Sync {
    /// A request has come in.
    fn began(&self, method: &'static str);
    /// Its answer was sent to the end, or given up.
    fn ended(&self, answered: &Answered<'_>);
}

pub(crate) struct Unobserved;

impl RequestObserver for Unobserved {
    fn began(&self, _: &'static str) {}
    fn ended(&self, _: &Answered<'_>) {}
}

/// The methods that the API knows, and a word for all others.
pub const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "_OTHER"];

fn method_word(method: &Method) -> &'static str {
    METHODS.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

/// A request under way; it ends when this is dropped.
pub(crate) struct UnderWay {
    observer: Arc<dyn RequestObserver>,
    started: Instant,
    method: &'static str,
    route: Option<MatchedPath>,
    scheme: &'static str,
    status: StatusCode,
}

impl UnderWay {
    pub(crate) fn begin(
        observer: &Arc<dyn RequestObserver>,
        method: &Method,
        route: Option<MatchedPath>,
        transport: Transport,
    ) -> Self {
        let method = method_word(method);
        observer.began(method);
        // 499 is what proxies log for a client that did not wait.
        let status = StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT);
        let scheme = match transport {
            Transport::Plain | Transport::PlainBesideTls => "http",
            Transport::Tls => "https",
        };
        Self { observer: Arc::clone(observer), started: Instant::now(), method, route, scheme, status }
    }

    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = status;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let route = self.route.as_ref().map_or("", MatchedPath::as_str);
        let (method, status, scheme) = (self.method, self.status, self.scheme);
        self.observer.ended(&Answered { method, route, status, scheme, took: self.started.elapsed() });
    }
}

/// A body that ends its request when it is dropped.
pub(crate) struct Watched {
    body: Body,
    _under_way: UnderWay,
}

impl Watched {
    pub(crate) const fn new(body: Body, under_way: UnderWay) -> Self {
        Self { body, _under_way: under_way }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
