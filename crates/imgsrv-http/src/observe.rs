//! Telling how requests went, for metrics.

use axum::{
    extract::MatchedPath,
    http::{Method, StatusCode},
};
use std::{
    sync::Arc,
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
    status: StatusCode,
}

impl UnderWay {
    pub(crate) fn begin(observer: &Arc<dyn RequestObserver>, method: &Method, route: Option<MatchedPath>) -> Self {
        let method = method_word(method);
        observer.began(method);
        // 499 is what proxies log for a client that did not wait.
        let status = StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT);
        Self { observer: Arc::clone(observer), started: Instant::now(), method, route, status }
    }

    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = status;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let route = self.route.as_ref().map_or("", MatchedPath::as_str);
        let (method, status) = (self.method, self.status);
        self.observer.ended(&Answered { method, route, status, took: self.started.elapsed() });
    }
}
